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

/* Until then half of what is said to the store, or to the ledger, takes so much longer. */
struct network_stall {
	uint64_t until_ms, extra_ms;
};
extern struct network_stall network_store_stall, network_ledger_stall;

static inline uint64_t network_stalled_ms(const struct network_stall *stall)
{
	return sim.now_ms < stall->until_ms && sim_fault(500) ? 1 + sim_below(stall->extra_ms) : 0;
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
