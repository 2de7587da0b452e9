/*
 * What is decided while the store is away: by the plan's outage policy, from cached terms.
 *
 *   Authorize --no answer of the store in time, or its partition is not served--.
 *      .------------------------------------------------------------------------'
 *      |--deny, or nothing of the company is cached, or the cap is reached--> UNAVAILABLE
 *      '--allow--> degraded: ALLOWED, or the refusals that cached terms can tell
 *
 * Of a call that is allowed so nothing is held or metered; it is charged when it is settled,
 * late, once the store is back.  What is remembered of it here is only to count: a company has
 * so many at once in this sidecar.  It counts until its Settle, Cancel or Stop comes by, or it
 * is held or metered at the store after all, or the longest that it may ring and last is over.
 * A sidecar that ends forgets the count: the cap is against the pile-up, not for the books.
 *
 * In shadow mode nothing is refused, so nothing is while the store is away: such a plan allows
 * whatever its policy says, without a cap.
 *
 * Who was answered "degraded" after waiting for the store may be held there all the same: the
 * function may have run and its answer be under way.  Then the lease gives the hold back, or the
 * call's Settle finds it, and is not late.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "gate/gate_internal.h"

#define BUCKETS          1024
#define BUCKETS_PER_TICK 32

struct outage_call {
	struct cg_list link; /* in its company's bucket */
	struct cg_uuid company;
	uint64_t ends_at_ms; /* the gate's clock: it is over then at the latest */
	struct cg_price price;
	int64_t max_duration_ms;
	char call_id[CG_CALL_ID_MAX_BYTES + 1];
	char resource_type[65];
	char destination[17];
};

void cg_outage__init(struct cg_gate *gate)
{
	struct cg_outage *outage = &gate->outage;

	outage->buckets = calloc(BUCKETS, sizeof outage->buckets[0]);
	CG_ASSERT(outage->buckets != NULL);
	for (size_t i = 0; i < BUCKETS; i++) {
		cg_list_init(&outage->buckets[i]);
	}
	CG_ASSERT(gate->config.degraded_calls_max > 0);
	CG_ASSERT(cg_slab_init(&outage->calls, sizeof(struct outage_call),
	              gate->config.degraded_calls_max) == CG_OK);
}

static void drop(struct cg_outage *outage, struct outage_call *call)
{
	cg_list_remove(&call->link);
	cg_slab_give(&outage->calls, call);
}

/* Drops those of one bucket that are over by now. */
static void sweep(struct cg_outage *outage, struct cg_list *bucket, uint64_t now_ms)
{
	struct cg_list *next = NULL;

	for (struct cg_list *link = bucket->next; link != bucket; link = next) {
		struct outage_call *call = CG_CONTAINER_OF(link, struct outage_call, link);
		next = link->next;
		if (call->ends_at_ms <= now_ms) {
			drop(outage, call);
		}
	}
}

void cg_outage__deinit(struct cg_gate *gate)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		sweep(&gate->outage, &gate->outage.buckets[i], UINT64_MAX);
	}
	cg_slab_deinit(&gate->outage.calls);
	free(gate->outage.buckets);
}

void cg_outage__tick(struct cg_gate *gate)
{
	struct cg_outage *outage = &gate->outage;

	for (uint32_t i = 0; i < BUCKETS_PER_TICK && cg_slab_taken_count(&outage->calls) > 0; i++) {
		sweep(outage, &outage->buckets[outage->swept++ % BUCKETS], cg_round__now(gate));
	}
}

static struct cg_list *bucket_of(const struct cg_outage *outage, const struct cg_uuid *company)
{
	uint32_t hash = UINT32_C(2166136261);

	for (size_t i = 0; i < sizeof company->bytes; i++) {
		hash = (hash ^ company->bytes[i]) * UINT32_C(16777619);
	}
	return &outage->buckets[hash % BUCKETS];
}

/* The call where it is remembered, and how many its company has. */
static struct outage_call *find(const struct cg_outage *outage, const struct cg_uuid *company,
    struct cg_view call_id, uint32_t *ret_count)
{
	struct cg_list *bucket = bucket_of(outage, company);
	struct outage_call *found = NULL;
	uint32_t count = 0;

	for (struct cg_list *link = bucket->next; link != bucket; link = link->next) {
		struct outage_call *call = CG_CONTAINER_OF(link, struct outage_call, link);
		if (cg_uuid_equal(&call->company, company)) {
			count++;
			found = cg_view_equal(cg_view_of(call->call_id), call_id) ? call : found;
		}
	}
	*ret_count = count;
	return found;
}

void cg_outage__forget(struct cg_request *req)
{
	struct cg_outage *outage = &req->work.gate->outage;
	struct outage_call *call = NULL;
	uint32_t count = 0;

	/* As good as always there are none. */
	if (cg_slab_taken_count(&outage->calls) > 0) {
		call = find(outage, &req->company, cg_order__call_of(req), &count);
	}
	if (call != NULL) {
		drop(outage, call);
	}
}

void cg_outage__see(struct cg_request *req)
{
	if (req->method == CG_METHOD_SETTLE || req->method == CG_METHOD_CANCEL ||
	    req->method == CG_METHOD_STOP) {
		cg_outage__forget(req);
	}
}

static void log_some(struct cg_gate *gate, struct cg_log_limit *limit, const char *what)
{
	uint64_t held_back = 0;

	if (cg_log_limit_admits(limit, cg_round__now(gate), CG_LOG_INTERVAL_MS, &held_back) != 0) {
		cg_log(CG_LOG_WARN, what, "count", cg_log_int((int64_t)held_back + 1), "running",
		    cg_log_int(cg_slab_taken_count(&gate->outage.calls)), NULL);
	}
}

/* The longest that a call admitted now may last. */
static int64_t longest_of(const struct cg_plan *plan)
{
	bool is_less = plan->outage_allows && plan->outage_longest_ms < plan->longest_call_ms;

	return is_less ? plan->outage_longest_ms : plan->longest_call_ms;
}

static void copy_text(char *text, size_t capacity, struct cg_view view)
{
	CG_ASSERT(view.len < capacity); /* the contract's bounds were checked */
	if (view.len > 0) {
		memcpy(text, view.data, view.len);
	}
	text[view.len] = '\0';
}

static void remember(struct cg_request *req, const struct cg_plan *plan)
{
	const struct cg_authorize_in *in = &req->in.authorize;
	struct cg_outage *outage = &req->work.gate->outage;
	struct outage_call *call = cg_slab_take(&outage->calls);

	if (call == NULL) {
		CG_ASSERT(plan->shadow); /* has_room() said otherwise */
		return;
	}
	uint64_t rings_ms = in->start ? 0 : plan->ring_lease_ms;
	*call = (struct outage_call){
	    .company = req->company,
	    .ends_at_ms = cg_round__now(req->work.gate) + rings_ms + (uint64_t)longest_of(plan),
	    .price = req->work.price,
	    .max_duration_ms = longest_of(plan),
	};
	copy_text(call->call_id, sizeof call->call_id, in->call_id);
	copy_text(call->resource_type, sizeof call->resource_type, in->resource_type);
	copy_text(call->destination, sizeof call->destination, in->destination);
	cg_list_append(bucket_of(outage, &req->company), &call->link);
}

/* Whether one call more of a company that has `count` may run by the policy. */
static bool has_room(struct cg_gate *gate, const struct cg_plan *plan, uint32_t count)
{
	bool is_full = gate->outage.calls.free_count == 0;

	if (plan->shadow || (count < plan->outage_calls_max && !is_full)) {
		return true;
	}
	if (is_full) {
		gate->outage.refused_full++;
	} else {
		gate->outage.refused_plan++;
	}
	log_some(gate, &gate->outage.refused_log,
	    is_full ? "call not admitted while the store is away: degraded_calls_max"
	            : "call not admitted while the store is away: its plan's cap");
	return false;
}

/* The refusals that cached terms can tell, in their order. */
static enum cg_decision verdict_of(const struct cg_request *req)
{
	if (req->work.terms.suspended) {
		return CG_DECISION_SUSPENDED;
	}
	return req->work.has_price ? CG_DECISION_ALLOWED : CG_DECISION_NO_PRICE;
}

static void answer(struct cg_request *req, const struct cg_plan *plan, enum cg_decision verdict)
{
	bool refuses_nothing = plan->shadow;
	bool has_price = req->work.has_price;

	req->out.authorize = (struct cg_authorize_out){
	    .store =
	        {
	            .decision = refuses_nothing ? CG_DECISION_ALLOWED : verdict,
	            .has_price = has_price,
	            .price = req->work.price,
	        },
	    .currency = req->work.terms.currency,
	    .degraded = true,
	};
	/* What is denied only because of the funds or the limit is not known: nothing is said. */
	if (refuses_nothing && (verdict != CG_DECISION_ALLOWED || plan->outage_allows)) {
		req->out.authorize.store.shadow_decision = verdict;
	}
	if (req->out.authorize.store.decision == CG_DECISION_ALLOWED && has_price) {
		req->out.authorize.store.max_duration_ms = longest_of(plan);
	}
	cg_answer__ok(req);
}

/* The same id again, while the store is still away. */
static void answer_again(
    struct cg_request *req, const struct cg_plan *plan, const struct outage_call *call)
{
	const struct cg_authorize_in *in = &req->in.authorize;

	if (!cg_view_equal(cg_view_of(call->resource_type), in->resource_type) ||
	    !cg_view_equal(cg_view_of(call->destination), in->destination)) {
		cg_answer__refused(req, CG_STORE_KEY_REUSED, CG_CALL_NONE);
		return;
	}
	req->out.authorize = (struct cg_authorize_out){
	    .store =
	        {
	            .decision = CG_DECISION_ALLOWED,
	            .shadow_decision = plan->shadow && plan->outage_allows ? CG_DECISION_ALLOWED
	                                                                   : CG_DECISION_NONE,
	            .has_price = true,
	            .price = call->price,
	            .max_duration_ms = call->max_duration_ms,
	            .replayed = true,
	        },
	    .currency = req->work.terms.currency,
	    .degraded = true,
	};
	cg_answer__ok(req);
}

/* The plan where it admits calls while the store is away, and the request's price is known. */
static const struct cg_plan *plan_of(struct cg_request *req)
{
	struct cg_gate *gate = req->work.gate;
	const struct cg_wallet *wallet =
	    gate->terms == NULL ? NULL : cg_terms_cache__find(gate, &req->company);
	const struct cg_plan *plan =
	    wallet == NULL ? NULL : cg_tariff_plan(gate->terms, wallet->plan_id);

	if (plan == NULL || (!plan->outage_allows && !plan->shadow)) {
		return NULL;
	}
	cg_plans__resolve_price(
	    req, wallet, req->in.authorize.resource_type, req->in.authorize.destination);
	return plan;
}

bool cg_outage__decide(struct cg_request *req)
{
	struct cg_gate *gate = req->work.gate;
	const struct cg_plan *plan = plan_of(req);
	uint32_t count = 0;

	if (plan == NULL) {
		return false;
	}
	uint64_t now_ms = cg_round__now(gate);
	sweep(&gate->outage, bucket_of(&gate->outage, &req->company), now_ms);
	const struct outage_call *call =
	    find(&gate->outage, &req->company, req->in.authorize.call_id, &count);
	if (call != NULL) {
		answer_again(req, plan, call);
		return true;
	}
	enum cg_decision verdict = verdict_of(req);
	if (verdict == CG_DECISION_ALLOWED) {
		if (!has_room(gate, plan, count)) {
			return false;
		}
		if (!req->in.authorize.validate_only) {
			remember(req, plan);
			log_some(gate, &gate->outage.admitted_log,
			    "calls admitted by outage policy: nothing is held");
		}
	}
	answer(req, plan, verdict);
	return true;
}
