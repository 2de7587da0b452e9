/*
 * plan list|show|set: what a company may do, kept in callgate.plans.  Triggers there give
 * every change a version and announce it; the sidecars listen.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "cli/output.h"
#include "cli/sql.h"
#include "cli/table.h"

/* A plan in the field order in which people read it. */
#define PLAN_JSON                                                                                  \
	"json_build_object('plan_id', p.plan_id, 'version', p.version, "                           \
	"'credit_limit_micros', p.credit_limit_micros, 'credit_unlimited', p.credit_unlimited, "   \
	"'shadow', p.shadow, 'calls_max', p.calls_max, 'longest_call_ms', p.longest_call_ms, "     \
	"'ring_lease_ms', p.ring_lease_ms, 'default_reserve_ms', p.default_reserve_ms, "           \
	"'guard_ms', p.guard_ms, 'cut_warning_ms', p.cut_warning_ms, "                             \
	"'cut_repeat_ms', p.cut_repeat_ms, 'outage_policy', p.outage_policy, "                     \
	"'outage_longest_ms', p.outage_longest_ms, 'outage_calls_max', p.outage_calls_max, "       \
	"'rates_count', (select count(*) from callgate.rates r where r.plan_id = p.plan_id), "     \
	"'updated_at_ms', callgate.to_ms(p.updated_at))"

/* What can be set, with the bounds that the table has as well. */
#define INT_FLAG(flag, lowest, highest, words)                                                     \
	{                                                                                          \
		.name = (flag), .kind = CG_FLAG_INT, .min = (lowest), .max = (highest),            \
		.help = (words)                                                                    \
	}

static const char *const outage_policies[] = {"deny", "allow", NULL};

static const struct cg_flag set_flags[] = {
    {.name = "PLAN", .kind = CG_FLAG_PLAN, .required = true, .operand = true, .help = "its id"},
    {.name = "create", .kind = CG_FLAG_SWITCH, .help = "make the plan if there is none"},
    INT_FLAG("credit-limit-micros", 0, CG_MONEY_REQUEST_MAX_MICROS,
        "how far below zero a wallet may go, in its currency"),
    {.name = "credit-unlimited",
        .kind = CG_FLAG_ON_OFF,
        .help = "no call is refused, warned or cut off for funds"},
    {.name = "shadow", .kind = CG_FLAG_ON_OFF, .help = "decide as usual, answer ALLOWED"},
    INT_FLAG("calls-max", 0, 1000000, "calls at once"),
    INT_FLAG("longest-call-ms", 1000, 604800000, "the longest one call may last"),
    INT_FLAG("ring-lease-ms", 1000, 3600000, "how long a hold waits for its call to start"),
    INT_FLAG("default-reserve-ms", 1000, 86400000, "talk time held unless the request says"),
    INT_FLAG("guard-ms", 0, 600000, "the longest from exhaustion to the end of talk"),
    INT_FLAG("cut-warning-ms", 0, 3600000, "CUT_WARNING this long before exhaustion"),
    INT_FLAG("cut-repeat-ms", 1000, 3600000, "CUT_OFF again after this long"),
    {.name = "outage-policy",
        .kind = CG_FLAG_CHOICE,
        .choices = outage_policies,
        .help = "while the store is away: deny, or allow (degraded; settled late)"},
    INT_FLAG("outage-longest-ms", 1000, 604800000, "the longest such a call may last"),
    INT_FLAG("outage-calls-max", 0, 1000, "such calls at once, per company and sidecar"),
    CG_FLAGS_END,
};

static enum cg_exit plan_list(struct cg_cli *cli)
{
	static const struct cg_column columns[] = {
	    {.header = "PLAN", .path = "plan_id", .shrinks = true},
	    {.header = "CREDIT", .path = "credit", .right = true},
	    {.header = "CREDIT MICROS", .path = "credit_limit_micros", .raw = true, .right = true},
	    {.header = "CALLS", .path = "calls_max", .right = true},
	    {.header = "LONGEST", .path = "longest_call_ms", .right = true},
	    {.header = "LEASE", .path = "ring_lease_ms", .right = true},
	    {.header = "RESERVE", .path = "default_reserve_ms", .right = true},
	    {.header = "GUARD", .path = "guard_ms", .right = true},
	    {.header = "SHADOW", .path = "shadow"},
	    {.header = "OUTAGE", .path = "outage_policy"},
	    {.header = "RATES", .path = "rates_count", .right = true},
	    {.header = NULL},
	};
	json_t *answer = NULL;
	json_t *plan;
	size_t i;
	enum cg_exit code = cg_sql_begin(cli);

	if (code == CG_EXIT_DONE) {
		code = cg_sql_ask(cli,
		    "select json_build_object('plans', coalesce(json_agg(" PLAN_JSON
		    " order by p.plan_id), '[]'::json)) from callgate.plans p",
		    NULL, 0, &answer);
	}
	if (code != CG_EXIT_DONE) {
		return code;
	}
	if (cli->args.json) {
		cg_output_answer(cli, NULL, "", answer);
		return CG_EXIT_DONE;
	}
	json_array_foreach(json_object_get(answer, "plans"), i, plan)
	{
		/* A plan has no currency of its own: its limit counts in each wallet's. */
		bool unlimited = json_is_true(json_object_get(plan, "credit_unlimited"));
		char text[CG_OUTPUT_CELL_BYTES];
		cg_output_cell(
		    "credit_limit_micros", json_object_get(plan, "credit_limit_micros"), "", text);
		cg_output_add_text(plan, "credit", unlimited ? "unlimited" : text);
	}
	cg_table_print(columns, json_object_get(answer, "plans"));
	json_decref(answer);
	return CG_EXIT_DONE;
}

static enum cg_exit no_such_plan(const struct cg_cli *cli, const char *plan)
{
	return cg_output_fail(cli, CG_EXIT_NOT_FOUND, "PLAN", NULL,
	    "there is no plan \"%s\"; `callgate plan list` shows those there are", plan);
}

static enum cg_exit plan_show(struct cg_cli *cli)
{
	const char *plan = cg_args_text(&cli->args, "PLAN", NULL);
	json_t *answer = NULL;
	enum cg_exit code = cg_sql_begin(cli);

	if (code == CG_EXIT_DONE) {
		code = cg_sql_ask(cli,
		    "select " PLAN_JSON " from callgate.plans p where p.plan_id = $1", &plan, 1,
		    &answer);
	}
	if (code != CG_EXIT_DONE) {
		return code;
	}
	if (answer == NULL) {
		return no_such_plan(cli, plan);
	}
	cg_output_answer(cli, NULL, "", answer);
	return CG_EXIT_DONE;
}

/* Beyond what single bounds can say.  Nothing has been committed yet. */
static enum cg_exit check_plan(const struct cg_cli *cli, const json_t *plan)
{
	json_int_t longest = json_integer_value(json_object_get(plan, "longest_call_ms"));
	json_int_t reserve = json_integer_value(json_object_get(plan, "default_reserve_ms"));

	if (reserve > longest) {
		return cg_output_fail(cli, CG_EXIT_USAGE, "--default-reserve-ms",
		    "at most the plan's longest call",
		    "--default-reserve-ms: would be %" JSON_INTEGER_FORMAT
		    ", more than the longest call of %" JSON_INTEGER_FORMAT " ms",
		    reserve, longest);
	}
	return CG_EXIT_DONE;
}

/* Inserts the plan with the table's defaults, if it was asked for and there is none. */
static enum cg_exit create_plan(struct cg_cli *cli, const char *plan, bool *ret_created)
{
	json_t *created = NULL;
	enum cg_exit code;

	if (!cg_args_has(&cli->args, "create")) {
		*ret_created = false;
		return CG_EXIT_DONE;
	}
	code = cg_sql_ask(cli,
	    "insert into callgate.plans (plan_id) values ($1) on conflict do nothing "
	    "returning 'true'::json",
	    &plan, 1, &created);
	*ret_created = created != NULL;
	json_decref(created);
	return code;
}

/* In the order of $2, $3, ... in set_plan(). */
static const char *const settable[] = {"credit-limit-micros", "credit-unlimited", "shadow",
    "calls-max", "longest-call-ms", "ring-lease-ms", "default-reserve-ms", "guard-ms",
    "cut-warning-ms", "cut-repeat-ms", "outage-policy", "outage-longest-ms", "outage-calls-max"};

static enum cg_exit set_plan(struct cg_cli *cli, const char *plan, json_t **ret_answer)
{
	const char *params[CG_COUNT_OF(settable) + 1] = {plan};

	for (size_t i = 0; i < CG_COUNT_OF(settable); i++) {
		params[i + 1] = cg_args_text(&cli->args, settable[i], NULL);
	}
	return cg_sql_ask(cli,
	    "update callgate.plans p set "
	    "credit_limit_micros = coalesce($2::bigint, credit_limit_micros), "
	    "credit_unlimited = coalesce($3::boolean, credit_unlimited), "
	    "shadow = coalesce($4::boolean, shadow), "
	    "calls_max = coalesce($5::integer, calls_max), "
	    "longest_call_ms = coalesce($6::integer, longest_call_ms), "
	    "ring_lease_ms = coalesce($7::integer, ring_lease_ms), "
	    "default_reserve_ms = coalesce($8::integer, default_reserve_ms), "
	    "guard_ms = coalesce($9::integer, guard_ms), "
	    "cut_warning_ms = coalesce($10::integer, cut_warning_ms), "
	    "cut_repeat_ms = coalesce($11::integer, cut_repeat_ms), "
	    "outage_policy = coalesce($12::text, outage_policy), "
	    "outage_longest_ms = coalesce($13::integer, outage_longest_ms), "
	    "outage_calls_max = coalesce($14::integer, outage_calls_max) "
	    "where plan_id = $1 returning " PLAN_JSON,
	    params, (int)CG_COUNT_OF(params), ret_answer);
}

static bool sets_something(const struct cg_args *args)
{
	bool something = cg_args_has(args, "create");

	for (size_t i = 0; i < CG_COUNT_OF(settable); i++) {
		something = something || cg_args_has(args, settable[i]);
	}
	return something;
}

static enum cg_exit change_plan(
    struct cg_cli *cli, const char *plan, bool *ret_created, json_t **ret_answer)
{
	enum cg_exit code = create_plan(cli, plan, ret_created);

	if (code == CG_EXIT_DONE) {
		code = set_plan(cli, plan, ret_answer);
	}
	if (code == CG_EXIT_DONE && *ret_answer == NULL) {
		return no_such_plan(cli, plan);
	}
	if (code == CG_EXIT_DONE) {
		code = check_plan(cli, *ret_answer);
	}
	return code == CG_EXIT_DONE ? cg_sql_commit(cli) : code;
}

static enum cg_exit plan_set(struct cg_cli *cli)
{
	const char *plan = cg_args_text(&cli->args, "PLAN", NULL);
	json_t *answer = NULL;
	bool created = false;
	char headline[160];
	enum cg_exit code;

	if (!sets_something(&cli->args)) {
		return cg_output_fail(cli, CG_EXIT_USAGE, NULL, NULL,
		    "nothing to set: give at least one of the flags that `callgate help plan set` "
		    "lists");
	}
	code = cg_sql_begin(cli);
	if (code == CG_EXIT_DONE) {
		code = change_plan(cli, plan, &created, &answer);
	}
	if (code != CG_EXIT_DONE) {
		json_decref(answer);
		return code;
	}
	cg_output_add_bool(answer, "created", created);
	(void)snprintf(headline, sizeof headline, "Plan %s is %s; in force within a second.", plan,
	    created ? "created" : "changed");
	cg_output_answer(cli, headline, "", answer);
	return CG_EXIT_DONE;
}

static const struct cg_flag no_flags[] = {CG_FLAGS_END};

static const struct cg_flag show_flags[] = {
    {.name = "PLAN", .kind = CG_FLAG_PLAN, .required = true, .operand = true, .help = "its id"},
    CG_FLAGS_END,
};

const struct cg_command cg_commands_plan[] = {
    {.name = "plan list", .summary = "every plan", .flags = no_flags, .run = plan_list},
    {.name = "plan show", .summary = "one plan", .flags = show_flags, .run = plan_show},
    {.name = "plan set",
        .summary = "change what is given of a plan, or make one",
        .details = "What is not given stays. Calls that run keep the terms they began with.",
        .flags = set_flags,
        .run = plan_set},
    {.name = NULL},
};
