/*
 * The words of one command line, checked against the command's flags before anything is
 * opened: what gets past here is within the contract's bounds.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_ARGS_H
#define CG_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/command.h"

#define CG_ARGS_FLAGS_MAX 24
#define CG_ARGS_META_MAX  64

/* What every command takes. */
#define CG_ARGS_TIMEOUT_DEFAULT_MS 5000
#define CG_ARGS_TIMEOUT_MAX_MS     600000

struct cg_arg {
	const char *text; /* NULL: not given */
	int64_t number;   /* INT, ON_OFF, CHOICE and EVENTS */
};

/* How the sidecar is to be reached; each NULL where neither flag nor environment gives it. */
struct cg_access {
	const char *token; /* of the environment alone: a command line is for all to see */
	const char *token_file;
	const char *ca_file;
	const char *client_cert_file;
	const char *client_key_file;
	const char *server_name;
};

struct cg_args {
	const struct cg_command *command;
	struct cg_arg values[CG_ARGS_FLAGS_MAX]; /* by index into the command's flags */
	const char *meta[CG_ARGS_META_MAX];      /* "KEY=VALUE", as given */
	size_t meta_count;
	const char *address;      /* NULL: neither flag nor environment */
	const char *database_url; /* likewise */
	const char *redis_url;    /* likewise */
	struct cg_access access;
	int64_t timeout_ms;
	bool json;
	bool help;
};

/* Why a command line was refused. */
struct cg_args_error {
	char field[80]; /* "--amount-micros", "CALL_ID"; empty: the line as a whole */
	char bound[160];
	char text[512];
};

/*
 * Reads the words after the command's name, argv[0] being skipped.  False: `ret_error` says
 * why, and args->json is set if --json stood anywhere in the line.
 */
bool cg_args_parse(struct cg_args *args, int argc, char **argv, struct cg_args_error *ret_error);

/* By the flag's name, which must be one of the command's. */
bool cg_args_has(const struct cg_args *args, const char *name);
const char *cg_args_text(const struct cg_args *args, const char *name, const char *fallback);
int64_t cg_args_int(const struct cg_args *args, const char *name, int64_t fallback);

/* The flags that every command takes, for --help. */
const struct cg_flag *cg_args_common(size_t *ret_count);

#endif /* CG_CLI_ARGS_H */
