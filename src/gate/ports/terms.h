/*
 * Every plan with its rates, as one immutable snapshot: what the gate prices by.  The
 * ledger builds it, the gate owns it afterwards and frees it with cg_terms_snapshot_free().
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_GATE_PORTS_TERMS_H
#define CG_GATE_PORTS_TERMS_H

#include "gate/ports/types.h"

#define CG_PREFIX_MAX_BYTES 16 /* '+' and up to 15 digits */

/*
 * One rate.  Rates stand sorted by (plan, currency, resource_type, prefix), so that all
 * of one plan, currency and resource are neighbours, and a prefix is found by bisection.
 */
struct cg_rate {
	uint32_t plan; /* index into plans */
	struct cg_currency currency;
	char resource_type[65];
	char prefix[CG_PREFIX_MAX_BYTES + 1]; /* "" covers every destination, also none */
	struct cg_price price;
};

struct cg_plan {
	char plan_id[CG_PLAN_ID_MAX_BYTES + 1];
	uint64_t version;
	struct cg_money credit_limit;
	bool credit_unlimited;
	bool shadow;
	uint32_t calls_max;
	uint32_t longest_call_ms;
	uint32_t ring_lease_ms;
	uint32_t default_reserve_ms;
	uint32_t guard_ms;
	uint32_t cut_warning_ms;
	uint32_t cut_repeat_ms;
	/* While the store is away: see src/gate/outage.c. */
	bool outage_allows;         /* else nothing is decided */
	uint32_t outage_longest_ms; /* of a call admitted so; never above longest_call_ms */
	uint32_t outage_calls_max;  /* of one company, running at once, in one sidecar */
};

struct cg_terms_snapshot {
	struct cg_plan *plans; /* sorted by plan_id */
	uint32_t plan_count;
	struct cg_rate *rates;
	uint32_t rate_count;
};

/* NULL is harmless.  `snapshot`, `plans` and `rates` come each from malloc(). */
void cg_terms_snapshot_free(struct cg_terms_snapshot *snapshot);

#endif /* CG_GATE_PORTS_TERMS_H */
