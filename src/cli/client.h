/*
 * The sidecar, one blocking question at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_CLIENT_H
#define CG_CLI_CLIENT_H

#include <callgate/client.h>

#include "cli/cli.h"

/* Opens cli->client once; a failure has been said. */
enum cg_exit cg_client_open(struct cg_cli *cli);
void cg_client_close(struct cg_cli *cli);

/* Says how an operation failed, and what to do about it. */
enum cg_exit cg_client_fail(const struct cg_cli *cli, const struct callgate_error *error);

/* The exit code that stands for a status. */
enum cg_exit cg_client_exit_of(enum callgate_status status);

/*
 * The currency of the company's wallet for amounts whose answer names none, asked once and
 * only where a person reads it; "" where it cannot be had.
 */
const char *cg_client_currency(struct cg_cli *cli, const char *company);

/* The --meta pairs of a command line, split. */
struct cg_client_meta {
	struct callgate_meta pairs[CG_ARGS_META_MAX];
	size_t count;
	char keys[CG_ARGS_META_MAX][65];
};

void cg_client_read_meta(const struct cg_args *args, struct cg_client_meta *ret_meta);

/* --durability; COMMITTED unless given: what an operator was told stands in the ledger. */
enum callgate_durability cg_client_durability(const struct cg_args *args);

extern const char *const cg_client_durabilities[];

#define CG_FLAG_DURABILITY                                                                         \
	{                                                                                          \
		.name = "durability", .kind = CG_FLAG_CHOICE, .choices = cg_client_durabilities,   \
		.help = "answer when the store has it, or the ledger (the default)"                \
	}
#define CG_FLAG_META_PAIRS                                                                         \
	{                                                                                          \
		.name = "meta", .kind = CG_FLAG_META,                                              \
		.help = "kept with it, ends in usage_logs.meta; may be repeated"                   \
	}

#endif /* CG_CLI_CLIENT_H */
