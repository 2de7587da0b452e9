/*
 * margin: what calls were sold for, beside what the voice provider asked for them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/base.h"
#include "cli/output.h"
#include "cli/sql.h"
#include "cli/table.h"

/* Days are UTC's, the last one included. */
static const char read_report[] =
    "select json_build_object('from_at_ms', callgate.to_ms(s.since), "
    "'to_at_ms', callgate.to_ms(s.upto), 'days', "
    "(select coalesce(json_agg(json_build_object('day', r.day, 'company_id', r.company_id, "
    "'currency', r.currency, 'calls', r.calls, 'cost_micros', r.cost_micros, "
    "'provider_calls', r.provider_calls, 'provider_cost_micros', r.provider_cost_micros, "
    "'margin_micros', r.margin_micros, 'below_cost_calls', r.below_cost_calls)), '[]'::json) "
    "from callgate.margin_report(s.since, s.upto, $3::uuid) r "
    "where $4::text is null or r.below_cost_calls > 0)) "
    "from (select t.upto, coalesce($1::date::timestamp at time zone 'UTC', "
    "t.upto - interval '30 days') as since from (select "
    "coalesce(($2::date + 1)::timestamp at time zone 'UTC', now()) as upto) t) s";

static const struct cg_column columns[] = {
    {.header = "DAY", .path = "day"},
    {.header = "COMPANY", .path = "company_id"},
    {.header = "CALLS", .path = "calls", .right = true},
    {.header = "SOLD FOR", .path = "cost_micros", .right = true},
    {.header = "PROVIDER", .path = "provider_cost_micros", .right = true},
    {.header = "MARGIN", .path = "margin_micros", .right = true},
    {.header = "BELOW COST", .path = "below_cost_calls", .right = true},
    {.header = NULL},
};

static enum cg_exit margin(struct cg_cli *cli)
{
	const char *params[] = {cg_args_text(&cli->args, "from", NULL),
	    cg_args_text(&cli->args, "to", NULL), cg_args_text(&cli->args, "company", NULL),
	    cg_args_has(&cli->args, "below-cost") ? "yes" : NULL};
	json_t *answer = NULL;

	/* As text, days of the same form stand in their own order. */
	if (params[0] != NULL && params[1] != NULL && strcmp(params[0], params[1]) > 0) {
		return cg_output_fail(cli, CG_EXIT_USAGE, "--from", "not after --to",
		    "--from: \"%s\" is after --to \"%s\"", params[0], params[1]);
	}
	enum cg_exit code =
	    cg_sql_ask_alone(cli, read_report, params, CG_COUNT_OF(params), &answer);
	if (code != CG_EXIT_DONE) {
		return code;
	}
	if (cli->args.json) {
		cg_output_answer(cli, NULL, "", answer);
		return code;
	}
	json_t *days = json_object_get(answer, "days");
	if (json_array_size(days) == 0) {
		cg_output_say(cli, "No calls.");
	} else {
		cg_table_print(columns, days);
	}
	json_decref(answer);
	return code;
}

static const struct cg_flag flags[] = {
    {.name = "company", .kind = CG_FLAG_UUID, .help = "only this one"},
    {.name = "from",
        .kind = CG_FLAG_DATE,
        .help = "the first day, in UTC; 30 days before the end unless given"},
    {.name = "to", .kind = CG_FLAG_DATE, .help = "the last day, in UTC; until now unless given"},
    {.name = "below-cost",
        .kind = CG_FLAG_SWITCH,
        .help = "only days with calls sold below their cost"},
    CG_FLAGS_END,
};

const struct cg_command cg_commands_margin[] = {
    {.name = "margin",
        .summary = "what calls were sold for, beside what the voice provider asked for them",
        .details = "By company and day.  The provider asks in US dollars: for wallets in another\n"
                   "currency there is no margin to tell.  Calls whose cost the provider did not\n"
                   "tell count in CALLS and SOLD FOR alone.",
        .flags = flags,
        .run = margin},
    {.name = NULL},
};
