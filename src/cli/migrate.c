/*
 * migrate: brings the ledger's schema up to this version.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include "base/base.h"
#include "cli/output.h"
#include "cli/sql.h"
#include "ledger/migrate.h"

struct progress {
	const struct cg_cli *cli;
	json_t *migrations;
	bool dry_run;
};

static void on_migration(void *owner, const char *version, const char *name, bool applied)
{
	struct progress *progress = owner;
	json_t *row = json_object();

	cg_output_add_text(row, "version", version);
	cg_output_add_text(row, "name", name);
	cg_output_add_bool(row, "applied", applied);
	json_array_append_new(progress->migrations, row);
	cg_output_say(
	    progress->cli, "%s %s %s", applied ? "applied" : "would apply", version, name);
}

static enum cg_exit exit_of(enum cg_status status)
{
	if (status == CG_INVALID || status == CG_NOT_FOUND) {
		return CG_EXIT_USAGE;
	}
	if (status == CG_DENIED) {
		return CG_EXIT_FORBIDDEN;
	}
	if (status == CG_UNAVAILABLE || status == CG_TIMEOUT || status == CG_LOST) {
		return CG_EXIT_UNAVAILABLE;
	}
	return CG_EXIT_INCOMPATIBLE;
}

static enum cg_exit migrate(struct cg_cli *cli)
{
	struct progress progress = {.cli = cli, .dry_run = cg_args_has(&cli->args, "dry-run")};
	struct cg_error why = {""};
	json_t *answer;
	/* Opened only to have the address checked and its errors told as everywhere else. */
	enum cg_exit code = cg_sql_open(cli);

	if (code != CG_EXIT_DONE) {
		return code;
	}
	cg_sql_close(cli);
	progress.migrations = json_array();
	enum cg_status status =
	    cg_migrate(cli->args.database_url, progress.dry_run, on_migration, &progress, &why);
	if (status != CG_OK) {
		json_decref(progress.migrations);
		return cg_output_fail(cli, exit_of(status), NULL, NULL, "%s", why.text);
	}
	if (progress.dry_run && json_array_size(progress.migrations) > 0) {
		cg_output_say(cli, "The ledger's schema lacks %zu migrations.",
		    json_array_size(progress.migrations));
	} else {
		cg_output_say(cli, "The ledger's schema is up to date.");
	}
	answer = json_object();
	json_object_set_new(answer, "migrations", progress.migrations);
	cg_output_add_bool(answer, "dry_run", progress.dry_run);
	if (cli->args.json) {
		cg_output_answer(cli, NULL, "", answer);
	} else {
		json_decref(answer);
	}
	return CG_EXIT_DONE;
}

static const struct cg_flag migrate_flags[] = {
    {.name = "dry-run",
        .kind = CG_FLAG_SWITCH,
        .help = "say what would be applied, change nothing"},
    CG_FLAGS_END,
};

const struct cg_command cg_commands_migrate[] = {
    {.name = "migrate",
        .summary = "bring the ledger's schema up to this version",
        .details = "Safe to repeat: what is applied already is left alone.",
        .flags = migrate_flags,
        .run = migrate},
    {.name = NULL},
};
