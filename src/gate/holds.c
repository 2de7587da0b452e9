/*
 * What is held in all, and since when the oldest hold has been there: looked for in rounds, a few
 * wallets at a time, for metrics alone.
 *
 *   RESTING --tick--> WALLETS of a partition --> BALANCE --calls? the oldest--> CALLS --.
 *      ^                 ^      |                   ^-------------the next wallet-------'
 *      |                 |      '--none (left): the next partition
 *      '--the last partition: what was found is told--'    any failure: the round begins anew
 *
 * One question at a time, OPS_PER_TICK in a tenth of a second: about 200 a second, 0.3 % of a
 * store's core, whatever there is; with many wallets a round takes longer, and its age is told.
 * A wallet with more than CALLS_MAX calls is not asked for its oldest one, since the store would
 * look at them all.
 *
 * Amounts of different wallets are added here and nowhere else, to be looked at: no decision
 * knows of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "gate/gate_internal.h"

#define OPS_PER_TICK   20
#define CALLS_MAX      256
#define COMPANIES_MAX  65536 /* of one partition; more are left out, and counted */
#define CURRENCIES_MAX 8
#define AGAIN_MS       1000 /* after a failure */
#define COMPANY_BYTES  16u

struct findings {
	struct cg_currency currencies[CURRENCIES_MAX];
	int64_t held_micros[CURRENCIES_MAX];
	uint32_t currency_count;
	int64_t calls;
	int64_t left_out;        /* wallets whose oldest call was not asked for */
	uint64_t oldest_at_ms;   /* on the gate's clock; 0: nothing is held */
	uint64_t finished_at_ms; /* 0: no round has ended yet */
};

struct cg_holds {
	struct cg_gate *gate;
	struct cg_store_op op;
	struct cg_call call; /* CALLS: room for the oldest one */
	bool is_asking;
	uint32_t asked; /* since the last tick */
	uint64_t not_before_ms;
	uint32_t partition;
	struct cg_uuid *companies;
	uint32_t company_count;
	uint32_t company_at;
	bool has_companies; /* of `partition` */
	struct findings now;
	struct findings told;
};

static void go_on(struct cg_holds *h);

static void begin_again(struct cg_holds *h)
{
	h->partition = 0;
	h->has_companies = false;
	h->now = (struct findings){0};
}

static void ask(struct cg_holds *h, enum cg_store_verb verb, void (*done)(struct cg_store_op *op))
{
	struct cg_gate *gate = h->gate;

	h->op = (struct cg_store_op){
	    .verb = verb,
	    .deadline_at_ms = cg_round__now(gate) + gate->config.store_timeout_ms,
	    .done = done,
	};
	if (verb == CG_STORE_LIVE_WALLETS) {
		h->op.in.live.partition = h->partition;
	} else {
		h->op.company = h->companies[h->company_at];
	}
	if (verb == CG_STORE_CALLS) {
		h->op.in.calls = (struct cg_store_calls_in){.calls = &h->call, .calls_max = 1};
	}
	h->is_asking = true;
	h->asked++;
	gate->store->submit(gate->store, &h->op);
}

/* Whether there is an answer to go on with. */
static bool is_answered(struct cg_holds *h, const struct cg_store_op *op)
{
	h->is_asking = false;
	if (op->status == CG_OK) {
		return true;
	}
	h->not_before_ms = cg_round__now(h->gate) + AGAIN_MS;
	begin_again(h);
	return false;
}

static void add_held(struct findings *f, const struct cg_store_op *op)
{
	uint32_t i = 0;

	while (i < f->currency_count &&
	    memcmp(f->currencies[i].code, op->currency.code, sizeof op->currency.code) != 0) {
		i++;
	}
	if (i == CURRENCIES_MAX) {
		return; /* A deployment has one, or a few. */
	}
	if (i == f->currency_count) {
		f->currencies[i] = op->currency;
		f->currency_count++;
	}
	/* A sum of far more money than there is stays what it is: nothing is decided by it. */
	if (__builtin_add_overflow(
	        f->held_micros[i], op->out.balance.held.micros, &f->held_micros[i])) {
		f->held_micros[i] = INT64_MAX;
	}
}

static void on_calls(struct cg_store_op *op)
{
	struct cg_holds *h = CG_CONTAINER_OF(op, struct cg_holds, op);

	if (!is_answered(h, op)) {
		return;
	}
	if (op->outcome == CG_STORE_DONE && op->out.calls.count > 0) {
		int64_t age_ms = op->as_of_ms - h->call.authorized_at_ms;
		uint64_t now_ms = cg_round__now(h->gate);
		uint64_t at_ms =
		    age_ms < 0 || (uint64_t)age_ms >= now_ms ? now_ms : now_ms - (uint64_t)age_ms;
		if (h->now.oldest_at_ms == 0 || at_ms < h->now.oldest_at_ms) {
			h->now.oldest_at_ms = at_ms;
		}
	}
	h->company_at++;
	go_on(h);
}

static void on_balance(struct cg_store_op *op)
{
	struct cg_holds *h = CG_CONTAINER_OF(op, struct cg_holds, op);

	if (!is_answered(h, op)) {
		return;
	}
	int64_t calls = op->outcome == CG_STORE_DONE ? op->out.balance.active_calls : 0;
	h->now.calls += calls;
	if (calls > 0) {
		add_held(&h->now, op);
	}
	if (calls > CALLS_MAX) {
		h->now.left_out++;
	} else if (calls > 0) {
		ask(h, CG_STORE_CALLS, on_calls);
		return;
	}
	h->company_at++;
	go_on(h);
}

static void on_wallets(struct cg_store_op *op)
{
	struct cg_holds *h = CG_CONTAINER_OF(op, struct cg_holds, op);

	if (!is_answered(h, op)) {
		return;
	}
	size_t count = op->out.live.companies.len / COMPANY_BYTES;
	if (count > COMPANIES_MAX) {
		h->now.left_out += (int64_t)(count - COMPANIES_MAX);
		count = COMPANIES_MAX;
	}
	if (count > 0) {
		memcpy(h->companies, op->out.live.companies.data, count * COMPANY_BYTES);
	}
	h->company_count = (uint32_t)count;
	h->company_at = 0;
	h->has_companies = true;
	go_on(h);
}

static void finish_round(struct cg_holds *h)
{
	h->told = h->now;
	h->told.finished_at_ms = cg_round__now(h->gate);
	begin_again(h);
}

/* Asks the next thing, as far as this tick admits it. */
static void go_on(struct cg_holds *h)
{
	if (h->has_companies && h->company_at == h->company_count) {
		h->has_companies = false;
		h->partition++;
		if (h->partition == h->gate->store->partition_count) {
			finish_round(h);
			return; /* A round per tick at most: where there is little, it is soon asked. */
		}
	}
	if (h->asked >= OPS_PER_TICK) {
		return;
	}
	if (h->has_companies) {
		ask(h, CG_STORE_BALANCE, on_balance);
	} else {
		ask(h, CG_STORE_LIVE_WALLETS, on_wallets);
	}
}

void cg_holds__tick(struct cg_gate *gate)
{
	struct cg_holds *h = gate->holds;

	if (h != NULL && !h->is_asking && cg_round__now(gate) >= h->not_before_ms) {
		h->asked = 0;
		go_on(h);
	}
}

static void put_held(void *owner, struct cg_metrics_out *out)
{
	const struct cg_holds *h = owner;
	char labels[32];

	for (uint32_t i = 0; i < h->told.currency_count; i++) {
		(void)snprintf(
		    labels, sizeof labels, "currency=\"%.3s\"", h->told.currencies[i].code);
		cg_metrics_put(out, labels, h->told.held_micros[i]);
	}
}

static void put_oldest(void *owner, struct cg_metrics_out *out)
{
	const struct cg_holds *h = owner;
	uint64_t at_ms = h->told.oldest_at_ms;

	cg_metrics_put(out, NULL, at_ms == 0 ? 0 : (int64_t)(cg_round__now(h->gate) - at_ms));
}

static void put_calls(void *owner, struct cg_metrics_out *out)
{
	const struct cg_holds *h = owner;

	cg_metrics_put(out, NULL, h->told.calls);
}

static void put_left_out(void *owner, struct cg_metrics_out *out)
{
	const struct cg_holds *h = owner;

	cg_metrics_put(out, NULL, h->told.left_out);
}

static void put_age(void *owner, struct cg_metrics_out *out)
{
	const struct cg_holds *h = owner;

	if (h->told.finished_at_ms != 0) {
		cg_metrics_put(
		    out, NULL, (int64_t)(cg_round__now(h->gate) - h->told.finished_at_ms));
	}
}

void cg_holds__measure(struct cg_gate *gate, struct cg_metrics *metrics)
{
	static const struct cg_metric_family held = {.name = "callgate_held_micros",
	    .help = "Held for live calls of all companies, in micros, by currency.",
	    .kind = CG_METRIC_GAUGE};
	static const struct cg_metric_family oldest = {.name = "callgate_oldest_hold_seconds",
	    .help = "Age of the oldest call that holds money; 0: none does.",
	    .kind = CG_METRIC_GAUGE,
	    .decimals = 3};
	static const struct cg_metric_family calls = {.name = "callgate_live_calls",
	    .help = "Calls authorized, running or stopped, of all companies.",
	    .kind = CG_METRIC_GAUGE};
	static const struct cg_metric_family left_out = {.name = "callgate_holds_left_out",
	    .help = "Wallets with so many calls that the oldest one was not looked for.",
	    .kind = CG_METRIC_GAUGE};
	static const struct cg_metric_family age = {.name = "callgate_holds_age_seconds",
	    .help = "Since held, oldest hold and live calls were last looked at all through.",
	    .kind = CG_METRIC_GAUGE,
	    .decimals = 3};

	CG_ASSERT(gate->holds == NULL);
	gate->holds = calloc(1, sizeof *gate->holds);
	CG_ASSERT(gate->holds != NULL);
	gate->holds->gate = gate;
	gate->holds->companies = calloc(COMPANIES_MAX, sizeof gate->holds->companies[0]);
	CG_ASSERT(gate->holds->companies != NULL);
	_Static_assert(sizeof(struct cg_uuid) == COMPANY_BYTES, "companies are copied whole");
	cg_metrics_add(metrics, &held, put_held, gate->holds);
	cg_metrics_add(metrics, &oldest, put_oldest, gate->holds);
	cg_metrics_add(metrics, &calls, put_calls, gate->holds);
	cg_metrics_add(metrics, &left_out, put_left_out, gate->holds);
	cg_metrics_add(metrics, &age, put_age, gate->holds);
}

void cg_holds__deinit(struct cg_gate *gate)
{
	if (gate->holds != NULL) {
		CG_ASSERT(!gate->holds->is_asking);
		free(gate->holds->companies);
		free(gate->holds);
		gate->holds = NULL;
	}
}
