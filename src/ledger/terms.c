/*
 * Plans and rates as one snapshot, and word of their changes: by LISTEN where the server
 * sends it, and by looking every terms_poll_ms in any case, since a notification can be
 * missed while the connection is made anew, and no pooler in transaction mode passes them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "gate/ports/terms.h"
#include "ledger/ledger_internal.h"

#define CHANGES_MOST 1000

/* One statement, hence one snapshot: the plans (kind 0) first, then the rates, in order. */
static const char terms_statement[] =
    "select kind, plan_id, a, b, c, d, e, f, g, h, i, j, k, l, m, n from ("
    "select 0 as kind, plan_id, '' as currency, '' as resource, '' as prefix,"
    " version::text as a, credit_limit_micros::text as b, credit_unlimited::text as c,"
    " shadow::text as d, calls_max::text as e, longest_call_ms::text as f,"
    " ring_lease_ms::text as g, default_reserve_ms::text as h, guard_ms::text as i,"
    " cut_warning_ms::text as j, cut_repeat_ms::text as k,"
    " (outage_policy = 'allow')::text as l, outage_longest_ms::text as m,"
    " outage_calls_max::text as n from callgate.plans"
    " union all "
    "select 1, plan_id, currency, resource_type, prefix, currency, resource_type, prefix,"
    " rate_micros_per_minute::text, connect_fee_micros::text, minimum_ms::text,"
    " increment_ms::text, '', '', '', '', '', '', '' from callgate.rates"
    ") t order by kind, plan_id collate \"C\", currency collate \"C\", resource collate \"C\","
    " prefix collate \"C\"";

static const char *prepare_read(struct cg_op_job *work, struct cg_params *params)
{
	(void)work;
	(void)params;
	return terms_statement;
}

static void copy_text(char *to, size_t size, const PGresult *result, int row, int column)
{
	(void)snprintf(to, size, "%s", PQgetvalue(result, row, column));
}

static void decode_plan(struct cg_plan *plan, const PGresult *result, int row)
{
	*plan = (struct cg_plan){
	    .version = (uint64_t)cg_result__int(result, row, 2),
	    .credit_limit = {cg_result__int(result, row, 3)},
	    .credit_unlimited = cg_result__bool(result, row, 4),
	    .shadow = cg_result__bool(result, row, 5),
	    .calls_max = (uint32_t)cg_result__int(result, row, 6),
	    .longest_call_ms = (uint32_t)cg_result__int(result, row, 7),
	    .ring_lease_ms = (uint32_t)cg_result__int(result, row, 8),
	    .default_reserve_ms = (uint32_t)cg_result__int(result, row, 9),
	    .guard_ms = (uint32_t)cg_result__int(result, row, 10),
	    .cut_warning_ms = (uint32_t)cg_result__int(result, row, 11),
	    .cut_repeat_ms = (uint32_t)cg_result__int(result, row, 12),
	    .outage_allows = cg_result__bool(result, row, 13),
	    .outage_longest_ms = (uint32_t)cg_result__int(result, row, 14),
	    .outage_calls_max = (uint32_t)cg_result__int(result, row, 15),
	};
	copy_text(plan->plan_id, sizeof plan->plan_id, result, row, 1);
}

static void decode_rate(struct cg_rate *rate, uint32_t plan, const PGresult *result, int row)
{
	*rate = (struct cg_rate){
	    .plan = plan,
	    .price = {.rate_per_minute = {cg_result__int(result, row, 5)},
	        .connect_fee = {cg_result__int(result, row, 6)},
	        .minimum_ms = (uint32_t)cg_result__int(result, row, 7),
	        .increment_ms = (uint32_t)cg_result__int(result, row, 8)},
	};
	copy_text(rate->currency.code, sizeof rate->currency.code, result, row, 2);
	copy_text(rate->resource_type, sizeof rate->resource_type, result, row, 3);
	copy_text(rate->prefix, sizeof rate->prefix, result, row, 4);
}

/* Rates follow the plans' order, so their plan is found by going on from the last one. */
static void fill(struct cg_terms_snapshot *snapshot, const PGresult *result)
{
	int count = PQntuples(result);
	uint32_t plan = 0;

	for (int row = 0; row < count; row++) {
		if (cg_result__int(result, row, 0) == 0) {
			decode_plan(&snapshot->plans[snapshot->plan_count++], result, row);
			continue;
		}
		while (plan < snapshot->plan_count &&
		    !cg_result__is(result, row, 1, snapshot->plans[plan].plan_id)) {
			plan++;
		}
		CG_ASSERT(plan < snapshot->plan_count); /* the foreign key says so */
		decode_rate(&snapshot->rates[snapshot->rate_count++], plan, result, row);
	}
}

static bool decode_read(struct cg_op_job *work, const PGresult *result)
{
	struct cg_terms_snapshot *snapshot = calloc(1, sizeof *snapshot);
	size_t room = (size_t)PQntuples(result) + 1;

	CG_ASSERT(snapshot != NULL);
	snapshot->plans = calloc(room, sizeof *snapshot->plans);
	snapshot->rates = calloc(room, sizeof *snapshot->rates);
	CG_ASSERT(snapshot->plans != NULL && snapshot->rates != NULL);
	fill(snapshot, result);
	work->op->out.terms = snapshot;
	work->op->outcome = CG_LEDGER_DONE;
	return false;
}

const struct cg_op_verb cg_terms__read = {prepare_read, decode_read};

/*
 *   away --connected--> LISTENING --> ASKING (latest version) --> IDLE <--> LOOKING
 */
enum watch_state {
	WATCH_AWAY,
	WATCH_LISTENING,
	WATCH_ASKING,
	WATCH_IDLE,
	WATCH_LOOKING
};

struct cg_terms_watch {
	struct cg_ledger *ledger;
	struct cg_pg *pg;
	struct cg_timer *timer;
	struct cg_params params;
	enum watch_state state;
	bool knows_latest;
	int64_t plans_version;
	int64_t wallets_version;
};

static void announce(struct cg_ledger *ledger, const struct cg_uuid *company)
{
	if (ledger->listener.on_terms_changed != NULL && !ledger->is_stopping) {
		ledger->listener.on_terms_changed(ledger->listener.owner, company);
	}
}

static void ask(struct cg_terms_watch *watch)
{
	watch->state = WATCH_ASKING;
	cg_params__reset(&watch->params);
	cg_pg__run(watch->pg, "select callgate.terms_latest()", &watch->params);
}

static void look(struct cg_terms_watch *watch)
{
	watch->state = WATCH_LOOKING;
	cg_params__reset(&watch->params);
	cg_params__int8(&watch->params, watch->plans_version);
	cg_params__int8(&watch->params, watch->wallets_version);
	cg_params__int4(&watch->params, CHANGES_MOST);
	cg_pg__run(watch->pg,
	    "select c.company_id, c.version, c.company_id is null"
	    " from callgate.terms_changes($1, $2, $3) c",
	    &watch->params);
}

static void on_open(void *owner)
{
	struct cg_terms_watch *watch = owner;

	watch->state = WATCH_LISTENING;
	cg_params__reset(&watch->params);
	cg_pg__run(watch->pg, "listen callgate_terms", &watch->params);
}

static void on_away(void *owner)
{
	struct cg_terms_watch *watch = owner;

	watch->state = WATCH_AWAY;
	cg_timer_cancel(watch->timer);
}

static void take_changes(struct cg_terms_watch *watch, const PGresult *result)
{
	for (int row = 0; row < PQntuples(result); row++) {
		int64_t version = cg_result__int(result, row, 1);

		if (cg_result__bool(result, row, 2)) {
			watch->plans_version = version;
			announce(watch->ledger, NULL);
		} else {
			struct cg_uuid company = cg_result__uuid(result, row, 0);

			watch->wallets_version = version;
			announce(watch->ledger, &company);
		}
	}
}

static void on_result(void *owner, enum cg_status status, const PGresult *result)
{
	struct cg_terms_watch *watch = owner;

	if (status == CG_LOST && result == NULL) {
		return; /* on_away follows */
	}
	/* A pooler may refuse LISTEN, and an old schema the rest: looking goes on. */
	if (watch->state == WATCH_LISTENING && !watch->knows_latest) {
		ask(watch);
		return;
	}
	if (watch->state == WATCH_ASKING && status == CG_OK) {
		/* What was read before this is not known to be new enough: read it again. */
		watch->plans_version = watch->wallets_version = cg_result__int(result, 0, 0);
		watch->knows_latest = true;
		announce(watch->ledger, NULL);
	} else if (watch->state == WATCH_LOOKING && status == CG_OK) {
		take_changes(watch, result);
	}
	watch->state = WATCH_IDLE;
	cg_timer_start(watch->timer, watch->ledger->config.terms_poll_ms);
}

static void on_timer(void *owner)
{
	struct cg_terms_watch *watch = owner;

	if (watch->state != WATCH_IDLE || !cg_pg__is_ready(watch->pg)) {
		return;
	}
	if (watch->knows_latest) {
		look(watch);
	} else {
		ask(watch);
	}
}

static void on_notify(void *owner, const char *payload)
{
	struct cg_terms_watch *watch = owner;
	struct cg_uuid company;

	if (cg_uuid_parse(cg_view_of(payload), &company)) {
		announce(watch->ledger, &company);
	} else {
		announce(watch->ledger, NULL);
	}
}

void cg_terms__create(struct cg_ledger *ledger)
{
	struct cg_terms_watch *watch = calloc(1, sizeof *watch);
	struct cg_pg_events events = {.on_open = on_open,
	    .on_away = on_away,
	    .on_result = on_result,
	    .on_notify = on_notify,
	    .owner = watch};

	CG_ASSERT(watch != NULL);
	watch->ledger = ledger;
	watch->pg = cg_pg__create(
	    ledger->loop, ledger->url, "terms", ledger->config.connect_timeout_ms, &events);
	watch->timer = cg_timer_create(ledger->loop, on_timer, watch);
	ledger->terms = watch;
}

void cg_terms__start(struct cg_ledger *ledger)
{
	cg_pg__start(ledger->terms->pg);
}

void cg_terms__close(struct cg_ledger *ledger)
{
	cg_pg__close(ledger->terms->pg);
	cg_timer_close(ledger->terms->timer);
	cg_params__deinit(&ledger->terms->params);
	free(ledger->terms);
	ledger->terms = NULL;
}
