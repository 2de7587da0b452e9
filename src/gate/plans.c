/*
 * Plans and rates: one snapshot, replaced whole when it changes.
 *
 *   UNKNOWN --start, tick--> READING --read--> KNOWN --changed--> READING
 *      ^                        |
 *      '--------failed----------'  (a snapshot that is known stays in force meanwhile)
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "gate/gate_internal.h"

/*
 * Limits for a wallet whose plan is not in the snapshot, a matter of the moment between a
 * new plan and its arrival here.  Nothing starts under them: it has no price.
 */
static const struct cg_call_limits no_limits = {
    .reserve_ms = 60000, .longest_ms = 3600000, .lease_ms = 120000, .guard_ms = 5000};

/* At every tick for as long as the ledger is away. */
static void note_failure(struct cg_gate *gate, enum cg_status status)
{
	uint64_t held_back = 0;

	if (cg_log_limit_admits(
	        &gate->terms_log, cg_round__now(gate), CG_LOG_INTERVAL_MS, &held_back)) {
		cg_log(CG_LOG_WARN, "terms not read", "status", cg_status_name(status), "held_back",
		    cg_log_int((int64_t)held_back), NULL);
	}
}

static void on_terms_read(struct cg_ledger_op *op)
{
	struct cg_gate *gate = CG_CONTAINER_OF(op, struct cg_gate, terms_op);

	gate->is_reading_terms = false;
	if (op->status != CG_OK) {
		/* The next tick tries again. */
		gate->are_terms_due = true;
		gate->cache.is_closed = gate->cache.is_closed || op->status == CG_CLOSING;
		note_failure(gate, op->status);
		return;
	}
	if (!cg_tariff_is_sorted(op->out.terms)) {
		/* Searching it would find wrong prices; the old ones are better, and so is none. */
		gate->are_terms_due = true;
		cg_log(CG_LOG_ERROR, "terms refused: not in order", NULL);
		cg_terms_snapshot_free(op->out.terms);
		return;
	}
	bool is_change = gate->terms != NULL;
	cg_terms_snapshot_free(gate->terms);
	gate->terms = op->out.terms;
	if (is_change) {
		cg_plan_news__begin(gate);
	}
	cg_log(CG_LOG_INFO, "terms read", "plans", cg_log_int(gate->terms->plan_count), "rates",
	    cg_log_int(gate->terms->rate_count), NULL);
	if (gate->are_terms_due) {
		cg_plans__refresh(gate);
	}
}

void cg_plans__refresh(struct cg_gate *gate)
{
	if (gate->cache.is_closed) {
		return;
	}
	if (gate->is_reading_terms) {
		gate->are_terms_due = true; /* They may have changed since it was read. */
		return;
	}
	gate->is_reading_terms = true;
	gate->are_terms_due = false;
	gate->terms_op = (struct cg_ledger_op){
	    .verb = CG_LEDGER_TERMS_READ,
	    .deadline_at_ms = cg_round__now(gate) + gate->config.ledger_timeout_ms,
	    .done = on_terms_read,
	};
	gate->ledger->submit(gate->ledger, &gate->terms_op);
}

void cg_plans__tick(struct cg_gate *gate)
{
	if (gate->are_terms_due && !gate->is_reading_terms && !gate->cache.is_closed) {
		cg_plans__refresh(gate);
	}
}

static uint32_t clamp_to_u32(int64_t value)
{
	if (value < 0) {
		return 0;
	}
	return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static void fill_terms(
    struct cg_wallet_terms *terms, const struct cg_wallet *wallet, const struct cg_plan *plan)
{
	*terms = (struct cg_wallet_terms){
	    .version =
	        wallet->terms_version > plan->version ? wallet->terms_version : plan->version,
	    .credit_limit = plan->credit_limit,
	    .credit_unlimited = plan->credit_unlimited,
	    .suspended = wallet->frozen || wallet->suspended,
	    .frozen = wallet->frozen,
	    .shadow = plan->shadow,
	    .calls_max = plan->calls_max,
	    .has_low_balance = wallet->has_low_balance,
	    .low_balance = wallet->low_balance,
	    .low_balance_remaining_ms = clamp_to_u32(wallet->low_balance_remaining_ms),
	    .cut_warning_ms = plan->cut_warning_ms,
	    .cut_repeat_ms = plan->cut_repeat_ms,
	    .currency = wallet->currency,
	};
}

bool cg_plans__terms_of(
    const struct cg_gate *gate, const struct cg_wallet *wallet, struct cg_wallet_terms *ret_terms)
{
	const struct cg_plan *plan =
	    gate->terms == NULL ? NULL : cg_tariff_plan(gate->terms, wallet->plan_id);

	if (plan == NULL) {
		return false;
	}
	fill_terms(ret_terms, wallet, plan);
	return true;
}

static void on_unknown_plan(struct cg_gate *gate, const struct cg_wallet *wallet)
{
	uint64_t held_back = 0;

	gate->are_terms_due = true; /* It may have been made since the last reading. */
	if (cg_log_limit_admits(
	        &gate->plan_log, cg_round__now(gate), CG_LOG_INTERVAL_MS, &held_back)) {
		cg_log(CG_LOG_WARN, "a wallet's plan is not among the terms", "plan",
		    wallet->plan_id, "held_back", cg_log_int((int64_t)held_back), NULL);
	}
}

/* The plan, or NULL; terms and limits are copied either way. */
static const struct cg_plan *resolve(struct cg_request *req, const struct cg_wallet *wallet)
{
	struct cg_request_work *work = &req->work;
	const struct cg_plan *plan =
	    work->gate->terms == NULL ? NULL : cg_tariff_plan(work->gate->terms, wallet->plan_id);

	memcpy(work->plan_id, wallet->plan_id, sizeof work->plan_id);
	work->has_price = false;
	if (plan == NULL) {
		/* Version 0: what the wallet's record knows of its terms goes on. */
		work->terms = (struct cg_wallet_terms){
		    .suspended = wallet->frozen || wallet->suspended,
		    .frozen = wallet->frozen,
		    .currency = wallet->currency,
		};
		work->limits = no_limits;
		work->has_terms = work->gate->terms != NULL;
		on_unknown_plan(work->gate, wallet);
		return NULL;
	}
	work->has_terms = true;
	fill_terms(&work->terms, wallet, plan);
	work->limits = (struct cg_call_limits){
	    .reserve_ms = plan->default_reserve_ms > 0 ? plan->default_reserve_ms : 1,
	    .longest_ms = plan->longest_call_ms,
	    .lease_ms = plan->ring_lease_ms,
	    .guard_ms = plan->guard_ms,
	};
	return plan;
}

bool cg_plans__resolve(struct cg_request *req, const struct cg_wallet *wallet)
{
	(void)resolve(req, wallet);
	return true;
}

void cg_plans__resolve_price(struct cg_request *req, const struct cg_wallet *wallet,
    struct cg_view resource_type, struct cg_view destination)
{
	const struct cg_plan *plan = resolve(req, wallet);

	if (plan == NULL || resource_type.len == 0) {
		return;
	}
	const struct cg_rate *rate = cg_tariff_find(
	    req->work.gate->terms, plan, &wallet->currency, resource_type, destination);
	if (rate != NULL) {
		req->work.has_price = true;
		req->work.price = rate->price;
	}
}
