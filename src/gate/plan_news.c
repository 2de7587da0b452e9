/*
 * A change of plans, told to the store: running calls go by the terms in their wallet's record,
 * and those of a wallet that nobody asks about would otherwise stay as they were.
 *
 *   IDLE --a snapshot came--> WALKING the buckets of the terms cache --the last one--> IDLE
 *
 * WALKING tells a bounded number of wallets at once, and goes on at every tick; another snapshot
 * begins it anew.  Only wallets that are cached here are told, and only those that the store has:
 * any other meets its new terms with its next operation.  However a telling ends, so will it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "gate/gate_internal.h"

#define TELLINGS_MAX     256 /* under way at once */
#define BUCKETS_PER_STEP 8192

struct telling {
	struct cg_store_op op;
	struct cg_gate *gate;
};

void cg_plan_news__init(struct cg_gate *gate)
{
	CG_ASSERT(
	    cg_slab_init(&gate->news.tellings, sizeof(struct telling), TELLINGS_MAX) == CG_OK);
}

void cg_plan_news__deinit(struct cg_gate *gate)
{
	cg_slab_deinit(&gate->news.tellings);
}

static void on_told(struct cg_store_op *op)
{
	struct telling *telling = CG_CONTAINER_OF(op, struct telling, op);

	cg_slab_give(&telling->gate->news.tellings, telling);
}

/* False where as many are under way as may be. */
static bool tell(struct cg_gate *gate, const struct cg_cached_wallet *cached)
{
	struct cg_wallet_terms terms;

	if (!cached->is_known || !cg_plans__terms_of(gate, &cached->wallet, &terms)) {
		return true;
	}
	struct telling *telling = cg_slab_take(&gate->news.tellings);
	if (telling == NULL) {
		return false;
	}
	*telling = (struct telling){
	    .op =
	        {
	            .verb = CG_STORE_LOAD,
	            .company = cached->company,
	            .deadline_at_ms = cg_round__now(gate) + gate->config.store_timeout_ms,
	            .terms = terms,
	            .in.load.only_present = true,
	            .done = on_told,
	        },
	    .gate = gate,
	};
	gate->store->submit(gate->store, &telling->op);
	return true;
}

static bool tell_bucket(struct cg_gate *gate, uint32_t bucket)
{
	for (const struct cg_cached_wallet *cached = gate->cache.buckets[bucket]; cached != NULL;
	     cached = cached->next) {
		if (!tell(gate, cached)) {
			return false; /* From its first again, at the next tick: a repeat says nothing new. */
		}
	}
	return true;
}

void cg_plan_news__tick(struct cg_gate *gate)
{
	for (uint32_t i = 0; i < BUCKETS_PER_STEP && gate->news.is_walking; i++) {
		if (!tell_bucket(gate, gate->news.bucket)) {
			return;
		}
		gate->news.is_walking = gate->news.bucket++ < gate->cache.bucket_mask;
	}
}

void cg_plan_news__begin(struct cg_gate *gate)
{
	gate->news.bucket = 0;
	gate->news.is_walking = !gate->cache.is_closed;
	cg_plan_news__tick(gate);
}
