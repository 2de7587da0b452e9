/*
 * shadow: what shadow mode let pass, by the ledger.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "cli/output.h"
#include "cli/sql.h"
#include "cli/table.h"

/* Days are UTC's, the last one included. */
static const char read_report[] =
    "select json_build_object('from_at_ms', callgate.to_ms(s.since), "
    "'to_at_ms', callgate.to_ms(s.upto), 'companies', "
    "(select coalesce(json_agg(json_build_object('company_id', r.company_id, "
    "'currency', r.currency, 'calls', r.calls, 'cost_micros', r.cost_micros, "
    "'denied_calls', r.denied_calls, 'denied_funds', r.denied_funds, "
    "'denied_concurrency', r.denied_concurrency, 'denied_suspended', r.denied_suspended, "
    "'denied_micros', r.denied_micros, 'cut_calls', r.cut_calls, 'cut_micros', r.cut_micros, "
    "'saved_micros', r.denied_micros + r.cut_micros)), '[]'::json) "
    "from callgate.shadow_report(s.since, s.upto, $3::uuid) r)) "
    "from (select t.upto, coalesce($1::date::timestamp at time zone 'UTC', "
    "t.upto - interval '30 days') as since from (select "
    "coalesce(($2::date + 1)::timestamp at time zone 'UTC', now()) as upto) t) s";

static const struct cg_column columns[] = {
    {.header = "COMPANY", .path = "company_id"},
    {.header = "CALLS", .path = "calls", .right = true},
    {.header = "COST", .path = "cost_micros", .right = true},
    {.header = "DENIED", .path = "denied_calls", .right = true},
    {.header = "CUT", .path = "cut_calls", .right = true},
    {.header = "SAVED", .path = "saved_micros", .right = true},
    {.header = NULL},
};

static void print_report(const struct cg_cli *cli, json_t *answer)
{
	json_t *companies = json_object_get(answer, "companies");
	char since[CG_OUTPUT_CELL_BYTES];
	char upto[CG_OUTPUT_CELL_BYTES];

	cg_output_cell("from_at_ms", json_object_get(answer, "from_at_ms"), "", since);
	cg_output_cell("to_at_ms", json_object_get(answer, "to_at_ms"), "", upto);
	if (json_array_size(companies) == 0) {
		cg_output_say(
		    cli, "Nothing would have been denied or cut off from %s to %s.", since, upto);
		return;
	}
	cg_output_say(cli, "Without shadow mode, from %s to %s:", since, upto);
	if (cg_args_has(&cli->args, "company")) {
		cg_output_answer(cli, NULL, "", json_incref(json_array_get(companies, 0)));
		return;
	}
	cg_table_print(columns, companies);
	cg_output_say(cli, "Why, of one: callgate shadow --company UUID");
}

/* As text, days of the same form stand in their own order. */
static enum cg_exit check_span(const struct cg_cli *cli, const char *from, const char *upto)
{
	if (from == NULL || upto == NULL || strcmp(from, upto) <= 0) {
		return CG_EXIT_DONE;
	}
	return cg_output_fail(cli, CG_EXIT_USAGE, "--from", "not after --to",
	    "--from: \"%s\" is after --to \"%s\"", from, upto);
}

static enum cg_exit shadow(struct cg_cli *cli)
{
	const char *params[] = {cg_args_text(&cli->args, "from", NULL),
	    cg_args_text(&cli->args, "to", NULL), cg_args_text(&cli->args, "company", NULL)};
	json_t *answer = NULL;
	enum cg_exit code = check_span(cli, params[0], params[1]);

	if (code == CG_EXIT_DONE) {
		code = cg_sql_ask_alone(cli, read_report, params, CG_COUNT_OF(params), &answer);
	}
	if (code == CG_EXIT_DONE && cli->args.json) {
		cg_output_answer(cli, NULL, "", answer);
		return code;
	}
	if (code == CG_EXIT_DONE) {
		print_report(cli, answer);
	}
	json_decref(answer);
	return code;
}

static const struct cg_flag flags[] = {
    {.name = "company", .kind = CG_FLAG_UUID, .help = "only this one, with the reasons"},
    {.name = "from",
        .kind = CG_FLAG_DATE,
        .help = "the first day, in UTC; 30 days before the end unless given"},
    {.name = "to", .kind = CG_FLAG_DATE, .help = "the last day, in UTC; until now unless given"},
    CG_FLAGS_END,
};

const struct cg_command cg_commands_shadow[] = {
    {.name = "shadow",
        .summary = "what shadow mode would have denied or cut off, and saved",
        .details = "Companies for which there is anything to tell, by what it would have saved.",
        .flags = flags,
        .run = shadow},
    {.name = NULL},
};
