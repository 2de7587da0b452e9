/*
 * rate list|import: what a minute costs, by plan, currency, resource and the longest prefix
 * of the destination, kept in callgate.rates.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "cli/csv.h"
#include "cli/output.h"
#include "cli/sql.h"
#include "cli/table.h"

#define RATE_MAX    99999999999
#define SPAN_MAX_MS 3600000

/* The file's columns, and the table's. */
static const struct cg_flag rate_columns[] = {
    {.name = "plan_id", .kind = CG_FLAG_PLAN},
    {.name = "currency", .kind = CG_FLAG_CURRENCY},
    {.name = "resource_type", .kind = CG_FLAG_RESOURCE},
    {.name = "prefix", .kind = CG_FLAG_PREFIX},
    {.name = "rate_micros_per_minute", .kind = CG_FLAG_INT, .max = RATE_MAX},
    {.name = "connect_fee_micros", .kind = CG_FLAG_INT, .max = RATE_MAX},
    {.name = "minimum_ms", .kind = CG_FLAG_INT, .max = SPAN_MAX_MS},
    {.name = "increment_ms", .kind = CG_FLAG_INT, .min = 1, .max = SPAN_MAX_MS},
    CG_FLAGS_END,
};

static void print_rates(const json_t *rates)
{
	static const struct cg_column columns[] = {
	    {.header = "PLAN", .path = "plan_id", .shrinks = true},
	    {.header = "RESOURCE", .path = "resource_type", .shrinks = true},
	    {.header = "PREFIX", .path = "shown_prefix"},
	    {.header = "A MINUTE", .path = "rate_micros_per_minute", .right = true},
	    {.header = "MICROS", .path = "rate_micros_per_minute", .raw = true, .right = true},
	    {.header = "TO CONNECT", .path = "connect_fee_micros", .right = true},
	    {.header = "MICROS", .path = "connect_fee_micros", .raw = true, .right = true},
	    {.header = "MIN MS", .path = "minimum_ms", .raw = true, .right = true},
	    {.header = "INC MS", .path = "increment_ms", .raw = true, .right = true},
	    {.header = NULL},
	};
	json_t *rate;
	size_t i;

	json_array_foreach(rates, i, rate)
	{
		const char *prefix = json_string_value(json_object_get(rate, "prefix"));
		cg_output_add_text(rate, "shown_prefix", prefix[0] == '\0' ? "any" : prefix);
	}
	cg_table_print(columns, rates);
}

static enum cg_exit rate_list(struct cg_cli *cli)
{
	const char *params[] = {cg_args_text(&cli->args, "plan", NULL),
	    cg_args_text(&cli->args, "currency", NULL), cg_args_text(&cli->args, "resource", NULL)};
	json_t *answer = NULL;
	enum cg_exit code = cg_sql_begin(cli);

	if (code == CG_EXIT_DONE) {
		code = cg_sql_ask(cli,
		    "select json_build_object('rates', coalesce(json_agg(json_build_object("
		    "'plan_id', plan_id, 'currency', currency, 'resource_type', resource_type, "
		    "'prefix', prefix, 'rate_micros_per_minute', rate_micros_per_minute, "
		    "'connect_fee_micros', connect_fee_micros, 'minimum_ms', minimum_ms, "
		    "'increment_ms', increment_ms) "
		    "order by plan_id, currency, resource_type, prefix), '[]'::json)) "
		    "from callgate.rates where ($1::text is null or plan_id = $1) "
		    "and ($2::text is null or currency = $2) "
		    "and ($3::text is null or resource_type = $3)",
		    params, 3, &answer);
	}
	if (code != CG_EXIT_DONE) {
		return code;
	}
	if (cli->args.json) {
		cg_output_answer(cli, NULL, "", answer);
	} else {
		print_rates(json_object_get(answer, "rates"));
		json_decref(answer);
	}
	return CG_EXIT_DONE;
}

/* Two rows for one rate: which of them holds would be chance. */
static enum cg_exit check_twice(const struct cg_cli *cli, const char *path, const json_t *rows)
{
	json_t *seen = json_object();
	enum cg_exit code = CG_EXIT_DONE;
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		char key[256];
		(void)snprintf(key, sizeof key, "%s %s %s %s",
		    json_string_value(json_object_get(row, "plan_id")),
		    json_string_value(json_object_get(row, "currency")),
		    json_string_value(json_object_get(row, "resource_type")),
		    json_string_value(json_object_get(row, "prefix")));
		json_t *line = json_object_get(row, "line");
		json_t *first = json_object_get(seen, key);
		if (first != NULL) {
			code = cg_output_fail(cli, CG_EXIT_USAGE, "prefix",
			    "once per plan, currency and resource",
			    "%s line %" JSON_INTEGER_FORMAT
			    ", column prefix: the same rate stands in line "
			    "%" JSON_INTEGER_FORMAT " (%s); nothing was changed",
			    path, json_integer_value(line), json_integer_value(first), key);
			break;
		}
		json_object_set(seen, key, line);
	}
	json_decref(seen);
	return code;
}

static enum cg_exit check_plans(struct cg_cli *cli, const char *path, const char *rows)
{
	json_t *missing = NULL;
	enum cg_exit code = cg_sql_ask(cli,
	    "select json_build_object('line', min(r.line), 'plan_id', r.plan_id) "
	    "from json_to_recordset($1::json) as r(line bigint, plan_id text) "
	    "where not exists (select from callgate.plans p where p.plan_id = r.plan_id) "
	    "group by r.plan_id order by min(r.line) limit 1",
	    &rows, 1, &missing);

	if (code != CG_EXIT_DONE || missing == NULL) {
		return code;
	}
	code = cg_output_fail(cli, CG_EXIT_NOT_FOUND, "plan_id", "a plan that exists",
	    "%s line %" JSON_INTEGER_FORMAT ", column plan_id: there is no plan \"%s\" "
	    "(`callgate plan set %s --create` makes it); nothing was changed",
	    path, json_integer_value(json_object_get(missing, "line")),
	    json_string_value(json_object_get(missing, "plan_id")),
	    json_string_value(json_object_get(missing, "plan_id")));
	json_decref(missing);
	return code;
}

#define RECORDS                                                                                    \
	"json_to_recordset($1::json) as r(plan_id text, currency text, resource_type text, "       \
	"prefix text, rate_micros_per_minute bigint, connect_fee_micros bigint, "                  \
	"minimum_ms integer, increment_ms integer)"

/* Rates that are as the file says stay untouched: their plans' versions need not grow. */
#define PUT_RATES                                                                                  \
	"with put as (insert into callgate.rates as t (plan_id, currency, resource_type, "         \
	"prefix, rate_micros_per_minute, connect_fee_micros, minimum_ms, increment_ms) "           \
	"select * from " RECORDS " on conflict (plan_id, currency, resource_type, prefix) do "     \
	"update set rate_micros_per_minute = excluded.rate_micros_per_minute, "                    \
	"connect_fee_micros = excluded.connect_fee_micros, minimum_ms = excluded.minimum_ms, "     \
	"increment_ms = excluded.increment_ms where (t.rate_micros_per_minute, "                   \
	"t.connect_fee_micros, t.minimum_ms, t.increment_ms) is distinct from "                    \
	"(excluded.rate_micros_per_minute, excluded.connect_fee_micros, excluded.minimum_ms, "     \
	"excluded.increment_ms) returning xmax = 0 as is_new) "                                    \
	"select json_build_object('rates_read', json_array_length($1::json), "                     \
	"'rates_added', count(*) filter (where is_new), "                                          \
	"'rates_changed', count(*) filter (where not is_new)) from put"

#define REMOVE_OTHERS                                                                              \
	"with gone as (delete from callgate.rates t "                                              \
	"where t.plan_id in (select r.plan_id from " RECORDS ") "                                  \
	"and not exists (select from " RECORDS " where r.plan_id = t.plan_id "                     \
	"and r.currency = t.currency and r.resource_type = t.resource_type "                       \
	"and r.prefix = t.prefix) returning 1) "                                                   \
	"select to_json(count(*)) from gone"

/* All in one transaction, which is left open where something fails. */
static enum cg_exit import(struct cg_cli *cli, const char *rows, json_t **ret_answer)
{
	json_t *removed = NULL;
	enum cg_exit code = cg_sql_ask(cli, PUT_RATES, &rows, 1, ret_answer);

	if (code == CG_EXIT_DONE && cg_args_has(&cli->args, "replace")) {
		code = cg_sql_ask(cli, REMOVE_OTHERS, &rows, 1, &removed);
	}
	if (code == CG_EXIT_DONE) {
		cg_output_add_int(*ret_answer, "rates_removed", json_integer_value(removed));
		code = cg_sql_commit(cli);
	}
	json_decref(removed);
	return code;
}

static enum cg_exit rate_import(struct cg_cli *cli)
{
	const char *path = cg_args_text(&cli->args, "FILE.csv", NULL);
	const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
	json_t *rows = NULL;
	json_t *answer = NULL;
	char *text = NULL;
	enum cg_exit code = cg_csv_read(cli, path, rate_columns, &rows);

	if (code == CG_EXIT_DONE) {
		code = check_twice(cli, name, rows);
	}
	if (code == CG_EXIT_DONE) {
		text = json_dumps(rows, JSON_COMPACT);
		CG_ASSERT(text != NULL);
		code = cg_sql_begin(cli);
	}
	if (code == CG_EXIT_DONE) {
		code = check_plans(cli, name, text);
	}
	if (code == CG_EXIT_DONE) {
		code = import(cli, text, &answer);
	}
	if (code == CG_EXIT_DONE) {
		cg_output_answer(cli, "The rates are imported; in force within a second.", "",
		    json_incref(answer));
	}
	free(text);
	json_decref(answer);
	json_decref(rows);
	return code;
}

static const struct cg_flag list_flags[] = {
    {.name = "plan", .kind = CG_FLAG_PLAN, .help = "only this plan's"},
    {.name = "currency", .kind = CG_FLAG_CURRENCY, .help = "only in this currency"},
    {.name = "resource", .kind = CG_FLAG_RESOURCE, .help = "only of this resource type"},
    CG_FLAGS_END,
};

static const struct cg_flag import_flags[] = {
    {.name = "FILE.csv",
        .kind = CG_FLAG_PLAIN,
        .required = true,
        .operand = true,
        .help = "the file; \"-\" reads standard input"},
    {.name = "replace",
        .kind = CG_FLAG_SWITCH,
        .help = "also remove the rates of the file's plans that are not in the file"},
    CG_FLAGS_END,
};

const struct cg_command cg_commands_rate[] = {
    {.name = "rate list", .summary = "what a minute costs", .flags = list_flags, .run = rate_list},
    {.name = "rate import",
        .summary = "add and change rates from a file, all or nothing",
        .details =
            "The first line names the columns:\n"
            "  plan_id,currency,resource_type,prefix,rate_micros_per_minute,connect_fee_micros,\n"
            "  minimum_ms,increment_ms\n"
            "An empty prefix covers every destination. Running calls keep the price they began "
            "with.",
        .flags = import_flags,
        .run = rate_import},
    {.name = NULL},
};
