/*
 * One run of the command: its checked arguments, and the connections it may open.
 *
 * A command function answers an exit code.  Whatever is not CG_EXIT_DONE has been said by
 * the time it returns: a denial as an answer on standard output, everything else as one
 * error on standard error.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_CLI_H
#define CG_CLI_CLI_H

#include "base/base.h"
#include "cli/args.h"
#include "cli/command.h"

struct callgate_client;
struct cg_sql;
struct cg_store_link;

struct cg_cli {
	struct cg_args args;
	struct callgate_client *client; /* NULL until cg_client_open() */
	struct cg_sql *sql;             /* NULL until cg_sql_open() */
	struct cg_store_link *store;    /* NULL until cg_store_open() */
	struct cg_error *kept;          /* not NULL: errors are not printed, but put here */
	char currency[4];               /* of the company, once cg_client_currency() asked */
};

#endif /* CG_CLI_CLI_H */
