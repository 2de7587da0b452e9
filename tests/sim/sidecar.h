/*
 * A sidecar: gate, ledger, store and events room as the daemon wires them, on a loop of its
 * own.  It dies with everything it has in memory, and another one begins.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_SIDECAR_H
#define CG_SIM_SIDECAR_H

#include "gate/gate.h"
#include "sim.h"

struct cg_loop;

void sidecar_start(uint32_t number);
void sidecar_crash(uint32_t number);
bool sidecar_is_alive(uint32_t number);
uint64_t sidecar_age_ms(uint32_t number);
/* Whose loop it is. */
uint32_t sidecar_of_loop(const struct cg_loop *loop);

/* A caller's request; its deadline is made of `timeout_ms`. */
void sidecar_submit(uint32_t number, struct cg_request *request, uint64_t timeout_ms);

/* Of the ledger room's partition: enum cg_part_phase. */
int sidecar_phase(uint32_t number, uint32_t partition);
bool sidecar_serves(uint32_t number, uint32_t partition);
/* Nothing waits to be flushed, as far as it knows. */
bool sidecar_is_clean(uint32_t number);

#endif /* CG_SIM_SIDECAR_H */
