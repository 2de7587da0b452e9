/*
 * calls: those that live, oldest first, a page at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/base.h"
#include "cli/answers.h"
#include "cli/client.h"
#include "cli/money.h"
#include "cli/output.h"
#include "cli/table.h"

static const struct cg_column of_one_company[] = {
    {.header = "CALL", .path = "call_id", .shrinks = true},
    {.header = "STATE", .path = "state"},
    {.header = "RESOURCE", .path = "resource_type", .shrinks = true},
    {.header = "DESTINATION", .path = "destination", .shrinks = true},
    {.header = "SINCE", .path = "age", .right = true},
    {.header = "ACCRUED", .path = "accrued_micros", .right = true},
    {.header = "MICROS", .path = "accrued_micros", .raw = true, .right = true},
    {.header = NULL},
};

static const struct cg_column of_all_companies[] = {
    {.header = "COMPANY", .path = "company_id"},
    {.header = "CALL", .path = "call_id", .shrinks = true},
    {.header = "STATE", .path = "state"},
    {.header = "SINCE", .path = "age", .right = true},
    {.header = "ACCRUED", .path = "accrued_micros", .right = true},
    {.header = "MICROS", .path = "accrued_micros", .raw = true, .right = true},
    {.header = NULL},
};

/* For people a call's age says more than its instants: "42s", "12m05s", "3h20m". */
static void add_age(json_t *call, int64_t now_ms)
{
	json_int_t since = json_integer_value(json_object_get(call, "started_at_ms"));
	char text[32];

	if (since == 0) {
		since = json_integer_value(json_object_get(call, "authorized_at_ms"));
	}
	int64_t seconds = now_ms < since ? 0 : (now_ms - since) / 1000;
	if (seconds < 60) {
		(void)snprintf(text, sizeof text, "%" PRId64 "s", seconds);
	} else if (seconds < 3600) {
		(void)snprintf(
		    text, sizeof text, "%" PRId64 "m%02" PRId64 "s", seconds / 60, seconds % 60);
	} else {
		(void)snprintf(text, sizeof text, "%" PRId64 "h%02" PRId64 "m", seconds / 3600,
		    seconds / 60 % 60);
	}
	cg_output_add_text(call, "age", text);
}

static void print_calls(const struct cg_cli *cli, json_t *answer)
{
	json_t *calls = json_object_get(answer, "calls");
	const char *token = json_string_value(json_object_get(answer, "next_page_token"));
	int64_t now_ms = cg_time_now_ms();
	json_t *call;
	size_t i;

	if (json_array_size(calls) == 0) {
		cg_output_say(cli, "No call is authorized or running.");
		return;
	}
	json_array_foreach(calls, i, call)
	{
		add_age(call, now_ms);
	}
	cg_table_print(
	    cg_args_has(&cli->args, "company") ? of_one_company : of_all_companies, calls);
	if (token != NULL && token[0] != '\0') {
		cg_output_say(cli, "There are more: repeat with --page-token %s", token);
	}
}

static enum cg_exit calls(struct cg_cli *cli)
{
	struct callgate_list_calls_request request = {
	    .company_id = cg_args_text(&cli->args, "company", NULL),
	    .page_size = (int32_t)cg_args_int(&cli->args, "page-size", 0),
	    .page_token = cg_args_text(&cli->args, "page-token", NULL),
	};
	const struct callgate_list_calls_response *response;
	const struct callgate_error *error;

	if (callgate_list_calls_sync(cli->client, &request, &response, &error) !=
	    CALLGATE_STATUS_OK) {
		return cg_client_fail(cli, error);
	}
	json_t *list = json_array();
	for (size_t i = 0; i < response->calls_count; i++) {
		json_array_append_new(list, cg_answers_call(&response->calls[i]));
	}
	json_t *answer = json_object();
	json_object_set_new(answer, "calls", list);
	cg_output_add_text(answer, "next_page_token", response->next_page_token);
	if (cli->args.json) {
		cg_output_answer(cli, NULL, "", answer);
	} else {
		print_calls(cli, answer);
		json_decref(answer);
	}
	return CG_EXIT_DONE;
}

static const struct cg_flag flags[] = {
    {.name = "company", .kind = CG_FLAG_UUID, .help = "only this company's"},
    {.name = "page-size", .kind = CG_FLAG_INT, .min = 1, .max = 1000, .help = "100 unless given"},
    {.name = "page-token", .kind = CG_FLAG_PLAIN, .help = "as the page before ended with"},
    CG_FLAGS_END,
};

const struct cg_command cg_commands_calls[] = {
    {.name = "calls",
        .summary = "the calls that are authorized, running or stopped",
        .flags = flags,
        .uses_gate = true,
        .run = calls},
    {.name = NULL},
};
