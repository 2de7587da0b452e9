/*
 * What lies between the parts.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_NETWORK_H
#define CG_SIM_NETWORK_H

#include "sim.h"

/* How long a message takes: mostly nothing, sometimes some milliseconds. */
static inline uint64_t network_delay_ms(void)
{
	return sim_permille(800) ? sim_below(2) : sim_below(15);
}

/* Whether the store stands behind a proxy that outlives it, in this seed. */
static inline bool network_has_proxy(void)
{
	return sim.seed % 3 == 0;
}

/* conn.c: every connection to the store ends; those through a proxy only where it says so. */
void network_cut_store(bool proxies_too);
void network_forget_store(void);

#endif /* CG_SIM_NETWORK_H */
