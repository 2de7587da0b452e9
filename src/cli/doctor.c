/*
 * doctor: what is set otherwise than callgate needs it, and what to change.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/sql.h"
#include "cli/store.h"

#define INDENT 30

static const char *const state_names[] = {
    [CG_DOCTOR_OK] = "ok",
    [CG_DOCTOR_UNKNOWN] = "unknown",
    [CG_DOCTOR_WARNING] = "warning",
    [CG_DOCTOR_ERROR] = "error",
};

/* A check's line for people, its text broken between words and set under itself. */
static void say(const struct cg_cli *cli, const char *state, const char *name, const char *text)
{
	const int width = CG_OUTPUT_WIDTH - INDENT;

	do {
		int len = (int)strlen(text);
		if (len > width) {
			for (len = width; len > 1 && text[len] != ' '; len--) {
			}
		}
		cg_output_say(cli, "%-8s %-*s %.*s", state, INDENT - 10, name, len, text);
		text += len;
		text += strspn(text, " ");
		state = name = "";
	} while (*text != '\0');
}

void cg_doctor_note(struct cg_doctor *doctor, const char *name, enum cg_doctor_state state,
    const char *advice, const char *format, ...)
{
	json_t *check = json_object();
	char found[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(found, sizeof found, format, args);
	va_end(args);
	doctor->warnings += state == CG_DOCTOR_WARNING ? 1 : 0;
	doctor->errors += state == CG_DOCTOR_ERROR ? 1 : 0;
	cg_output_add_text(check, "name", name);
	cg_output_add_text(check, "state", state_names[state]);
	cg_output_add_text(check, "found", found);
	cg_output_add_text(check, "advice", state == CG_DOCTOR_OK ? NULL : advice);
	json_array_append_new(doctor->checks, check);
	say(doctor->cli, state_names[state], name, found);
	if (state != CG_DOCTOR_OK && advice != NULL) {
		say(doctor->cli, "", "->", advice);
	}
}

json_t *cg_doctor_sql(
    struct cg_doctor *doctor, const char *statement, const char *const *params, int count)
{
	json_t *answer = NULL;
	enum cg_exit code = cg_sql_begin(doctor->cli);

	if (code == CG_EXIT_DONE) {
		code = cg_sql_ask(doctor->cli, statement, params, count, &answer);
		/* A question that was refused must not spoil the next one. */
		cg_sql_rollback(doctor->cli);
	}
	if (code != CG_EXIT_DONE) {
		json_decref(answer);
		return NULL;
	}
	return answer == NULL ? json_null() : answer;
}

json_t *cg_doctor_redis(struct cg_doctor *doctor, const char *const *words, size_t count)
{
	json_t *answer = NULL;

	if (cg_store_ask(doctor->cli, words, count, &answer) != CG_EXIT_DONE) {
		return NULL;
	}
	if (json_is_object(answer)) {
		cg_error_set(
		    &doctor->why, "%s", json_string_value(json_object_get(answer, "error")));
		json_decref(answer);
		return NULL;
	}
	return answer;
}

/* A listing of all companies asks every partition. */
static void check_sidecar(struct cg_doctor *doctor)
{
	struct callgate_list_calls_request request = {.page_size = 1};
	const struct callgate_list_calls_response *response;
	const struct callgate_error *error;
	struct cg_cli *cli = doctor->cli;

	if (cli->args.address == NULL) {
		cg_doctor_note(doctor, "sidecar", CG_DOCTOR_UNKNOWN,
		    "give --address or set CALLGATE_ADDRESS to have it asked",
		    "no address is given");
	} else if (cg_client_open(cli) != CG_EXIT_DONE) {
		cg_doctor_note(
		    doctor, "sidecar", CG_DOCTOR_ERROR, "mend the address", "%s", doctor->why.text);
	} else if (callgate_list_calls_sync(cli->client, &request, &response, &error) !=
	    CALLGATE_STATUS_OK) {
		cg_doctor_note(doctor, "sidecar", CG_DOCTOR_ERROR,
		    "see whether callgated runs, and what it logs", "%s does not serve: %s",
		    cli->args.address, error->message);
	} else {
		cg_doctor_note(doctor, "sidecar", CG_DOCTOR_OK, NULL, "%s serves every partition",
		    cli->args.address);
	}
}

static void check_all(struct cg_doctor *doctor)
{
	struct cg_cli *cli = doctor->cli;

	doctor->has_store = cg_store_open(cli) == CG_EXIT_DONE;
	if (doctor->has_store) {
		cg_doctor_note(doctor, "store-reachable", CG_DOCTOR_OK, NULL, "%s answers",
		    cg_store_address(cli));
		cg_doctor_store(doctor);
	} else {
		cg_doctor_note(doctor, "store-reachable", CG_DOCTOR_ERROR,
		    "see whether redis-server runs there, and whether the credentials are right",
		    "%s", doctor->why.text);
	}
	doctor->has_ledger = cg_sql_open(cli) == CG_EXIT_DONE;
	if (doctor->has_ledger) {
		cg_doctor_note(
		    doctor, "ledger-reachable", CG_DOCTOR_OK, NULL, "the database answers");
		cg_doctor_ledger(doctor);
		cg_doctor_books(doctor);
		cg_doctor_edge(doctor);
	} else {
		cg_doctor_note(doctor, "ledger-reachable", CG_DOCTOR_ERROR,
		    "see whether Postgres runs there, and whether the credentials are right", "%s",
		    doctor->why.text);
	}
	if (doctor->has_store && doctor->has_ledger) {
		cg_doctor_partitions(doctor);
	}
	cg_doctor_clocks(doctor);
	check_sidecar(doctor);
}

static enum cg_exit doctor_run(struct cg_cli *cli)
{
	struct cg_doctor doctor = {.cli = cli, .checks = json_array()};
	size_t count;

	cli->kept = &doctor.why;
	check_all(&doctor);
	cli->kept = NULL;
	count = json_array_size(doctor.checks);
	cg_output_say(cli, "%zu checks: %zu error%s, %zu warning%s", count, doctor.errors,
	    doctor.errors == 1 ? "" : "s", doctor.warnings, doctor.warnings == 1 ? "" : "s");
	if (cli->args.json) {
		json_t *answer = json_object();
		json_object_set(answer, "checks", doctor.checks);
		cg_output_add_int(answer, "errors", (int64_t)doctor.errors);
		cg_output_add_int(answer, "warnings", (int64_t)doctor.warnings);
		cg_output_answer(cli, NULL, "", answer);
	}
	json_decref(doctor.checks);
	json_decref(doctor.cursors);
	return doctor.errors > 0  ? CG_EXIT_WRONG
	    : doctor.warnings > 0 ? CG_EXIT_WARNED
	                          : CG_EXIT_DONE;
}

static const struct cg_flag flags[] = {CG_FLAGS_END};

const struct cg_command cg_commands_doctor[] = {
    {.name = "doctor",
        .summary = "check how store, ledger and sidecar are set, and say what to change",
        .details = "Reads, changes nothing. Ends with 0: all is well; 8: warnings; 7: errors.",
        .flags = flags,
        .run = doctor_run},
    {.name = NULL},
};
