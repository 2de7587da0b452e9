/*
 * The gate's clock: monotonic milliseconds, for deadlines.  Instants of calls and money
 * are on the store's clock, and only the store reads that one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_GATE_PORTS_CLOCK_H
#define CG_GATE_PORTS_CLOCK_H

#include <stdint.h>

struct cg_clock_port {
	uint64_t (*now_ms)(struct cg_clock_port *self);
};

#endif /* CG_GATE_PORTS_CLOCK_H */
