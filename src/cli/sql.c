/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/sql.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "cli/output.h"

struct cg_sql {
	PGconn *connection;
	int64_t statement_timeout_ms;
};

#define URL_BOUND "a connection string: postgresql://user@host/name or key=value pairs"

/* Notices (a table that exists already, ...) are not for the operator. */
static void ignore_notice(void *arg, const PGresult *result)
{
	(void)arg;
	(void)result;
}

/* libpq's messages end with a newline and may have several lines. */
static void copy_message(const char *from, char *text, size_t size)
{
	size_t len;

	(void)snprintf(text, size, "%s", from == NULL ? "" : from);
	len = strlen(text);
	while (len > 0 && text[len - 1] == '\n') {
		text[--len] = '\0';
	}
	for (char *c = text; *c != '\0'; c++) {
		if (*c == '\n' || *c == '\t') {
			*c = ' ';
		}
	}
}

bool cg_sql_is_configured(const struct cg_cli *cli)
{
	return cli->args.database_url != NULL;
}

/* The text itself is not repeated: it may hold a password. */
static enum cg_exit check_url(const struct cg_cli *cli)
{
	char *why = NULL;
	PQconninfoOption *options;

	if (cli->args.database_url == NULL) {
		return cg_output_fail(cli, CG_EXIT_USAGE, "--database-url", URL_BOUND,
		    "the ledger's address is missing: give --database-url or set "
		    "CALLGATE_DATABASE_URL (" URL_BOUND ")");
	}
	options = PQconninfoParse(cli->args.database_url, &why);
	PQfreemem(why);
	if (options == NULL) {
		return cg_output_fail(cli, CG_EXIT_USAGE, "--database-url", URL_BOUND,
		    "--database-url: cannot be read; it must be " URL_BOUND);
	}
	PQconninfoFree(options);
	return CG_EXIT_DONE;
}

static PGconn *connect_now(const struct cg_cli *cli)
{
	/* libpq counts the connection's time in whole seconds, and takes 1 for 2. */
	char connect_s[24];
	char idle_ms[24];
	const char *const names[] = {"application_name", "connect_timeout", "tcp_user_timeout",
	    "client_encoding", "dbname", NULL};
	const char *const values[] = {
	    "callgate", connect_s, idle_ms, "UTF8", cli->args.database_url, NULL};

	(void)snprintf(
	    connect_s, sizeof connect_s, "%d", (int)((cli->args.timeout_ms + 999) / 1000));
	(void)snprintf(idle_ms, sizeof idle_ms, "%d", (int)cli->args.timeout_ms);
	return PQconnectdbParams(names, values, 1);
}

enum cg_exit cg_sql_open(struct cg_cli *cli)
{
	enum cg_exit code = check_url(cli);
	char why[512];
	PGconn *connection;

	if (code != CG_EXIT_DONE || cli->sql != NULL) {
		return code;
	}
	connection = connect_now(cli);
	if (PQstatus(connection) != CONNECTION_OK) {
		copy_message(PQerrorMessage(connection), why, sizeof why);
		PQfinish(connection);
		(void)cg_output_fail(
		    cli, CG_EXIT_UNAVAILABLE, NULL, NULL, "the ledger is out of reach: %s", why);
		return CG_EXIT_UNAVAILABLE;
	}
	(void)PQsetNoticeReceiver(connection, ignore_notice, NULL);
	cli->sql = malloc(sizeof *cli->sql);
	CG_ASSERT(cli->sql != NULL);
	cli->sql->connection = connection;
	cli->sql->statement_timeout_ms = cli->args.timeout_ms;
	return CG_EXIT_DONE;
}

void cg_sql_set_statement_timeout(struct cg_cli *cli, int64_t timeout_ms)
{
	if (cli->sql != NULL) {
		cli->sql->statement_timeout_ms = timeout_ms;
	}
}

void cg_sql_close(struct cg_cli *cli)
{
	if (cli->sql != NULL) {
		PQfinish(cli->sql->connection);
		free(cli->sql);
		cli->sql = NULL;
	}
}

/* What an SQLSTATE means to whoever typed the command. */
static enum cg_exit exit_of(const char *state)
{
	static const struct {
		const char *begin;
		enum cg_exit code;
	} classes[] = {
	    {"08", CG_EXIT_UNAVAILABLE},
	    {"53", CG_EXIT_UNAVAILABLE},
	    {"57", CG_EXIT_UNAVAILABLE},
	    {"58", CG_EXIT_UNAVAILABLE},
	    {"40", CG_EXIT_UNAVAILABLE},
	    {"55", CG_EXIT_UNAVAILABLE},
	    {"25006", CG_EXIT_UNAVAILABLE}, /* a standby */
	    {"28", CG_EXIT_FORBIDDEN},
	    {"42501", CG_EXIT_FORBIDDEN},
	    {"22", CG_EXIT_USAGE},
	    {"23", CG_EXIT_USAGE},
	};

	if (state == NULL) {
		return CG_EXIT_UNAVAILABLE; /* the connection ended */
	}
	for (size_t i = 0; i < CG_COUNT_OF(classes); i++) {
		if (strncmp(state, classes[i].begin, strlen(classes[i].begin)) == 0) {
			return classes[i].code;
		}
	}
	return CG_EXIT_INCOMPATIBLE;
}

static enum cg_exit fail(const struct cg_cli *cli, const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	char why[512];

	/* No such table, column, function, schema: the migrations are missing or older. */
	if (state != NULL &&
	    (strcmp(state, "42P01") == 0 || strcmp(state, "42703") == 0 ||
	        strcmp(state, "42883") == 0 || strcmp(state, "3F000") == 0)) {
		copy_message(primary, why, sizeof why);
		return cg_output_fail(cli, CG_EXIT_INCOMPATIBLE, NULL, NULL,
		    "the ledger's schema does not fit (%s); run `callgate migrate`", why);
	}
	copy_message(
	    primary == NULL ? PQerrorMessage(cli->sql->connection) : primary, why, sizeof why);
	return cg_output_fail(cli, exit_of(state), NULL, NULL, "the ledger refused: %s%s%s%s", why,
	    state == NULL ? "" : " (", state == NULL ? "" : state, state == NULL ? "" : ")");
}

static enum cg_exit run(struct cg_cli *cli, const char *statement, const char *const *params,
    int count, PGresult **ret_result)
{
	PGresult *result =
	    PQexecParams(cli->sql->connection, statement, count, NULL, params, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
		enum cg_exit code = fail(cli, result);
		PQclear(result);
		return code;
	}
	*ret_result = result;
	return CG_EXIT_DONE;
}

enum cg_exit cg_sql_begin(struct cg_cli *cli)
{
	char timeout[24];
	const char *const params[] = {timeout};
	PGresult *result = NULL;
	enum cg_exit code = cg_sql_open(cli);

	if (code != CG_EXIT_DONE) {
		return code;
	}
	code = run(cli, "begin", NULL, 0, &result);
	if (code != CG_EXIT_DONE) {
		return code;
	}
	PQclear(result);
	(void)snprintf(timeout, sizeof timeout, "%d", (int)cli->sql->statement_timeout_ms);
	code = run(cli,
	    "select set_config('statement_timeout', $1, true), set_config('lock_timeout', $1, "
	    "true)",
	    params, 1, &result);
	if (code == CG_EXIT_DONE) {
		PQclear(result);
	}
	return code;
}

enum cg_exit cg_sql_ask(struct cg_cli *cli, const char *statement, const char *const *params,
    int count, json_t **ret_answer)
{
	PGresult *result = NULL;
	json_t *answer = NULL;
	enum cg_exit code = run(cli, statement, params, count, &result);

	if (code != CG_EXIT_DONE) {
		return code;
	}
	if (PQntuples(result) > 0 && !PQgetisnull(result, 0, 0)) {
		json_error_t why;
		answer = json_loads(PQgetvalue(result, 0, 0), JSON_DECODE_ANY, &why);
		if (answer == NULL) {
			code = cg_output_fail(cli, CG_EXIT_INCOMPATIBLE, NULL, NULL,
			    "the ledger's answer is not JSON: %s", why.text);
		}
	}
	PQclear(result);
	if (code == CG_EXIT_DONE) {
		*ret_answer = answer;
	}
	return code;
}

enum cg_exit cg_sql_commit(struct cg_cli *cli)
{
	PGresult *result = NULL;
	enum cg_exit code = run(cli, "commit", NULL, 0, &result);

	if (code != CG_EXIT_DONE) {
		return code;
	}
	/* A transaction that had failed answers COMMIT with success and the tag ROLLBACK. */
	if (strcmp(PQcmdStatus(result), "COMMIT") != 0) {
		code = cg_output_fail(cli, CG_EXIT_INCOMPATIBLE, NULL, NULL,
		    "the ledger rolled the change back; nothing changed");
	}
	PQclear(result);
	return code;
}

enum cg_exit cg_sql_ask_alone(struct cg_cli *cli, const char *statement, const char *const *params,
    int count, json_t **ret_answer)
{
	enum cg_exit code = cg_sql_begin(cli);

	if (code == CG_EXIT_DONE) {
		code = cg_sql_ask(cli, statement, params, count, ret_answer);
	}
	return code == CG_EXIT_DONE ? cg_sql_commit(cli) : code;
}

void cg_sql_rollback(struct cg_cli *cli)
{
	PQclear(PQexec(cli->sql->connection, "rollback"));
}
