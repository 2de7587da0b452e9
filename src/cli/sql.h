/*
 * The ledger's Postgres, one blocking statement at a time, each in a transaction that
 * cg_sql_begin() opened.  Statements answer JSON that Postgres has built, so that names,
 * order and integers are the query's; amounts are turned into micros there.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_SQL_H
#define CG_CLI_SQL_H

#include <jansson.h>

#include "cli/cli.h"

#define CG_SQL_PARAMS_MAX 16

/* Opens cli->sql once; a failure has been said. */
enum cg_exit cg_sql_open(struct cg_cli *cli);

/* Whether a database was named at all, by flag or environment. */
bool cg_sql_is_configured(const struct cg_cli *cli);

/* Ends the connection; a transaction that is open is rolled back. */
void cg_sql_close(struct cg_cli *cli);

/* For statements from here on, where --timeout-ms is not the right bound. */
void cg_sql_set_statement_timeout(struct cg_cli *cli, int64_t timeout_ms);

/* Opens the connection if need be, and a transaction that --timeout-ms bounds. */
enum cg_exit cg_sql_begin(struct cg_cli *cli);

/*
 * Runs one statement with `count` texts for $1, $2, ... (NULL: null).  *ret_answer is the
 * JSON in the first column of its first row, or NULL where it has no row; the caller's.
 */
enum cg_exit cg_sql_ask(struct cg_cli *cli, const char *statement, const char *const *params,
    int count, json_t **ret_answer);

/*
 * The point of no return: what was done holds from here.  Where its outcome is not known
 * (the connection ended meanwhile) CG_EXIT_UNAVAILABLE.
 */
enum cg_exit cg_sql_commit(struct cg_cli *cli);

/* The three together: one statement in a transaction of its own. */
enum cg_exit cg_sql_ask_alone(struct cg_cli *cli, const char *statement, const char *const *params,
    int count, json_t **ret_answer);

/* Ends a transaction that only read, or failed. */
void cg_sql_rollback(struct cg_cli *cli);

#endif /* CG_CLI_SQL_H */
