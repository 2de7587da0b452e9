/*
 * quarantine: entries that the ledger refused, and how they leave.
 *
 * An entry of kind "wallet" is money that waits, with all later entries of its wallet: `retry` books
 * them once what was wrong is mended.  Of kind "payload" is text that was taken from an entry whose
 * money is in the ledger; rows are append-only, so it can only be read, and dismissed.
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

static const char read_list[] =
    "select json_build_object('wallets', (select coalesce(json_agg(g.o order by g.first), "
    "'[]'::json) from (select min(q.id) as first, json_build_object('company_id', q.company_id, "
    "'currency', max(w.currency), 'ledger_version', max(w.version), "
    "'ledger_balance_micros', max(callgate.to_micros(w.balance, w.currency)), "
    "'obstacle', case when bool_or(q.kind = 'wallet') then "
    "callgate.quarantine_obstacle(q.company_id) end, "
    "'entries', json_agg(json_build_object('entry_id', q.entry_id, 'kind', q.kind, "
    "'version', q.version, 'type', q.type, 'amount_micros', q.amount_micros, "
    "'balance_after_micros', q.balance_after_micros, 'at_ms', q.at_ms, "
    "'currency', w.currency, "
    "'age_ms', (extract(epoch from now() - q.created_at) * 1000)::bigint, "
    "'reference_id', coalesce(r.ret_entry->>'reference_id', q.reference_id), "
    "'description', coalesce(r.ret_entry->>'description', q.description), "
    "'meta', coalesce(r.ret_entry->'meta', q.meta->'meta'), "
    "'unreadable', r.ret_lost, 'reason', q.reason) order by q.id)) as o "
    "from callgate.quarantine q left join public.wallets w on w.company_id = q.company_id "
    "cross join lateral callgate.raw_read(q.raw) r "
    "where $1::uuid is null or q.company_id = $1::uuid group by q.company_id) g))";

static const char read_waiting[] =
    "select coalesce(json_agg(g.company_id order by g.first), '[]'::json) from "
    "(select q.company_id, min(q.id) as first from callgate.quarantine q "
    "where q.kind = 'wallet' group by q.company_id) g";

static const char retry_wallet[] =
    "select json_build_object('company_id', $1::uuid, 'outcome', r.ret_outcome, "
    "'applied', r.ret_applied, 'duplicates', r.ret_duplicates, 'incomplete', r.ret_lost, "
    "'why', r.ret_why) from callgate.quarantine_retry($1::uuid) r";

static const char dismiss_entry[] = "select to_json(callgate.quarantine_dismiss($1, $2))";

static const struct cg_column columns[] = {
    {.header = "ENTRY", .path = "entry_id"},
    {.header = "KIND", .path = "kind"},
    {.header = "VERSION", .path = "version", .right = true},
    {.header = "TYPE", .path = "type"},
    {.header = "AMOUNT", .path = "amount_micros", .right = true},
    {.header = "BALANCE AFTER", .path = "balance_after_micros", .right = true},
    {.header = "AGE", .path = "age_ms", .right = true},
    {.header = "REASON", .path = "reason", .shrinks = true},
    {.header = NULL},
};

static bool has_text(const json_t *value)
{
	return json_is_string(value) && json_string_length(value) > 0;
}

/* What was taken from entries whose money went through; there is no other place to read it. */
static void print_taken(const struct cg_cli *cli, const json_t *entries)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(entries, i, entry)
	{
		const json_t *description = json_object_get(entry, "description");
		json_t *meta = json_object_get(entry, "meta");
		const char *id = json_string_value(json_object_get(entry, "entry_id"));
		const char *key;
		json_t *value;

		if (strcmp(json_string_value(json_object_get(entry, "kind")), "payload") != 0) {
			continue;
		}
		if (has_text(description)) {
			cg_output_say(
			    cli, "  %s lacks description: %s", id, json_string_value(description));
		}
		json_object_foreach(meta, key, value)
		{
			cg_output_say(cli, "  %s lacks meta %s=%s", id, key,
			    json_is_string(value) ? json_string_value(value) : "");
		}
	}
}

static void print_list(const struct cg_cli *cli, const json_t *wallets)
{
	const json_t *wallet;
	size_t i;

	if (json_array_size(wallets) == 0) {
		cg_output_say(cli, "Nothing is in quarantine.");
	}
	json_array_foreach(wallets, i, wallet)
	{
		const json_t *entries = json_object_get(wallet, "entries");
		const json_t *obstacle = json_object_get(wallet, "obstacle");

		cg_output_say(cli, "%sCompany %s", i == 0 ? "" : "\n",
		    json_string_value(json_object_get(wallet, "company_id")));
		cg_table_print(columns, entries);
		print_taken(cli, entries);
		if (json_is_string(obstacle)) {
			cg_output_say(cli, "  retry would say: %s", json_string_value(obstacle));
		}
	}
}

static enum cg_exit list(struct cg_cli *cli)
{
	const char *params[] = {cg_args_text(&cli->args, "company", NULL)};
	json_t *answer = NULL;
	enum cg_exit code = cg_sql_ask_alone(cli, read_list, params, 1, &answer);

	if (code != CG_EXIT_DONE) {
		return code;
	}
	if (cli->args.json) {
		cg_output_answer(cli, NULL, "", answer);
		return code;
	}
	print_list(cli, json_object_get(answer, "wallets"));
	json_decref(answer);
	return code;
}

static void say_outcome(const struct cg_cli *cli, const json_t *told)
{
	const char *company = json_string_value(json_object_get(told, "company_id"));
	const char *outcome = json_string_value(json_object_get(told, "outcome"));
	const json_t *why = json_object_get(told, "why");
	json_int_t applied = json_integer_value(json_object_get(told, "applied"));
	json_int_t duplicates = json_integer_value(json_object_get(told, "duplicates"));
	json_int_t incomplete = json_integer_value(json_object_get(told, "incomplete"));

	if (strcmp(outcome, "applied") != 0) {
		cg_output_say(cli, "%s: %s", company,
		    json_is_string(why) ? json_string_value(why) : "nothing of it waits");
		return;
	}
	cg_output_say(
	    cli, "%s: %" JSON_INTEGER_FORMAT " entries are in the ledger", company, applied);
	if (duplicates > 0) {
		cg_output_say(cli,
		    "  %" JSON_INTEGER_FORMAT
		    " under keys that it had already: booked, and being taken back",
		    duplicates);
	}
	if (incomplete > 0) {
		cg_output_say(cli,
		    "  of %" JSON_INTEGER_FORMAT
		    " something is lost: callgate.quarantine_log says what",
		    incomplete);
	}
}

/* Each wallet is a transaction of its own: all of its entries, or none. */
static enum cg_exit retry_one(struct cg_cli *cli, const char *company, json_t *told)
{
	json_t *answer = NULL;
	enum cg_exit code = cg_sql_ask_alone(cli, retry_wallet, &company, 1, &answer);

	if (code == CG_EXIT_DONE) {
		if (strcmp(json_string_value(json_object_get(answer, "outcome")), "refused") == 0) {
			code = CG_EXIT_REFUSED;
		}
		say_outcome(cli, answer);
		json_array_append_new(told, answer);
	}
	return code;
}

static enum cg_exit retry_all(struct cg_cli *cli, json_t *told)
{
	json_t *companies = NULL;
	enum cg_exit code = cg_sql_ask_alone(cli, read_waiting, NULL, 0, &companies);
	enum cg_exit worst = code;

	for (size_t i = 0; i < json_array_size(companies); i++) {
		code = retry_one(cli, json_string_value(json_array_get(companies, i)), told);
		if (code != CG_EXIT_DONE) {
			worst = code;
		}
		if (code != CG_EXIT_DONE && code != CG_EXIT_REFUSED) {
			break;
		}
	}
	if (worst == CG_EXIT_DONE && json_array_size(companies) == 0) {
		cg_output_say(cli, "No money waits in quarantine.");
	}
	json_decref(companies);
	return worst;
}

static enum cg_exit retry(struct cg_cli *cli)
{
	const char *company = cg_args_text(&cli->args, "company", NULL);
	json_t *told;
	enum cg_exit code;

	if ((company != NULL) == cg_args_has(&cli->args, "all")) {
		return cg_output_fail(cli, CG_EXIT_USAGE, "--company", "either --company or --all",
		    "give either --company or --all");
	}
	told = json_array();
	code = company != NULL ? retry_one(cli, company, told) : retry_all(cli, told);
	if (cli->args.json && (code == CG_EXIT_DONE || code == CG_EXIT_REFUSED)) {
		json_t *answer = json_object();
		json_object_set(answer, "wallets", told);
		cg_output_answer(cli, NULL, "", answer);
	}
	json_decref(told);
	return code;
}

static enum cg_exit dismiss(struct cg_cli *cli)
{
	const char *params[] = {
	    cg_args_text(&cli->args, "ENTRY_ID", NULL), cg_args_text(&cli->args, "reason", NULL)};
	json_t *answer = NULL;
	enum cg_exit code =
	    cg_sql_ask_alone(cli, dismiss_entry, params, CG_COUNT_OF(params), &answer);
	const char *outcome = code == CG_EXIT_DONE ? json_string_value(answer) : "";

	if (code != CG_EXIT_DONE) {
		return code;
	}
	if (strcmp(outcome, "no_entry") == 0) {
		code = cg_output_fail(cli, CG_EXIT_NOT_FOUND, "ENTRY_ID", NULL,
		    "entry %s is not in quarantine", params[0]);
	} else if (strcmp(outcome, "money_waits") == 0) {
		code = cg_output_fail(cli, CG_EXIT_REFUSED, "ENTRY_ID", NULL,
		    "entry %s is money that waits: mend what is wrong, then `callgate quarantine "
		    "retry`",
		    params[0]);
	} else if (cli->args.json) {
		json_t *told = json_object();
		cg_output_add_text(told, "entry_id", params[0]);
		cg_output_add_text(told, "outcome", outcome);
		cg_output_answer(cli, NULL, "", told);
	} else {
		cg_output_say(cli,
		    "Entry %s has left the quarantine; callgate.quarantine_log has it.", params[0]);
	}
	json_decref(answer);
	return code;
}

static const struct cg_flag list_flags[] = {
    {.name = "company", .kind = CG_FLAG_UUID, .help = "only this one"},
    CG_FLAGS_END,
};

static const struct cg_flag retry_flags[] = {
    {.name = "company", .kind = CG_FLAG_UUID, .help = "this one's wallet"},
    {.name = "all", .kind = CG_FLAG_SWITCH, .help = "every wallet that has entries there"},
    CG_FLAGS_END,
};

static const struct cg_flag dismiss_flags[] = {
    {.name = "ENTRY_ID",
        .kind = CG_FLAG_ID,
        .required = true,
        .operand = true,
        .help = "as `quarantine list` shows it"},
    {.name = "reason",
        .kind = CG_FLAG_TEXT,
        .required = true,
        .help = "why it may go; kept in callgate.quarantine_log"},
    CG_FLAGS_END,
};

const struct cg_command cg_commands_quarantine[] = {
    {.name = "quarantine list",
        .summary = "entries that the ledger refused, and why",
        .flags = list_flags,
        .run = list},
    {.name = "quarantine retry",
        .summary = "book a wallet's entries in quarantine, all of them or none",
        .details =
            "Once what was wrong is mended. 1 where any wallet's are refused, with the reason.",
        .flags = retry_flags,
        .run = retry},
    {.name = "quarantine dismiss",
        .summary = "let a text go that was taken from an entry",
        .details = "The entry's money is in the ledger; money that waits is never dismissed.",
        .flags = dismiss_flags,
        .run = dismiss},
    {.name = NULL},
};
