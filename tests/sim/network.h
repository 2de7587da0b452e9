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

enum network_way {
	NETWORK_TO_STORE,
	NETWORK_TO_LEDGER,
	NETWORK_FLUSHES,
	NETWORK_FROM_LEDGER,
	NETWORK_WAYS
};

/* Until then so many of a thousand messages take longer: by `least_ms`, and up to `extra_ms` more. */
struct network_stall {
	uint64_t until_ms, least_ms, extra_ms;
	unsigned permille;
	uint32_t side; /* of this sidecar's; SIM_SIDECARS: of all */
};
extern struct network_stall network_stalls[NETWORK_WAYS];

static inline uint64_t network_stalled_ms(enum network_way way, uint32_t side)
{
	const struct network_stall *stall = &network_stalls[way];
	bool is_of_it = stall->side == SIM_SIDECARS || stall->side == side;

	return sim.now_ms < stall->until_ms && is_of_it && sim_fault(stall->permille)
	    ? stall->least_ms + 1 + sim_below(stall->extra_ms)
	    : 0;
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
