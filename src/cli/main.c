/*
 * callgate, the operator's command: finds the command, has its words checked, opens what
 * it needs, runs it, and closes everything.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "cli/client.h"
#include "cli/help.h"
#include "cli/output.h"
#include "cli/sql.h"
#include "cli/store.h"

static const struct cg_command *const families[] = {cg_commands_migrate, cg_commands_plan,
    cg_commands_rate, cg_commands_wallet, cg_commands_account, cg_commands_gate, cg_commands_calls,
    cg_commands_explain, cg_commands_watch, cg_commands_shadow, cg_commands_margin,
    cg_commands_audit, cg_commands_doctor, cg_commands_quarantine, cg_commands_token,
    cg_commands_demo, NULL};

static const struct cg_flag no_flags[] = {CG_FLAGS_END};

static enum cg_exit version(struct cg_cli *cli)
{
	json_t *answer;

	if (!cli->args.json) {
		(void)printf("callgate %s\n", CG_VERSION);
		return CG_EXIT_DONE;
	}
	answer = json_object();
	cg_output_add_text(answer, "version", CG_VERSION);
	cg_output_answer(cli, NULL, "", answer);
	return CG_EXIT_DONE;
}

static const struct cg_command version_command = {
    .name = "version", .summary = "this command's version", .flags = no_flags, .run = version};

/* How many words of the line `name` matches; 0: it does not. */
static int match(const char *name, int argc, char **argv)
{
	const char *space = strchr(name, ' ');
	size_t first = space == NULL ? strlen(name) : (size_t)(space - name);

	if (argc < 1 || strlen(argv[0]) != first || strncmp(argv[0], name, first) != 0) {
		return 0;
	}
	if (space == NULL) {
		return 1;
	}
	return argc >= 2 && strcmp(argv[1], space + 1) == 0 ? 2 : 0;
}

static const struct cg_command *find(int argc, char **argv, int *ret_words)
{
	for (size_t f = 0; families[f] != NULL; f++) {
		for (const struct cg_command *c = families[f]; c->name != NULL; c++) {
			int words = match(c->name, argc, argv);
			if (words > 0) {
				*ret_words = words;
				return c;
			}
		}
	}
	*ret_words = 1;
	return match(version_command.name, argc, argv) > 0 ? &version_command : NULL;
}

static enum cg_exit run_command(struct cg_cli *cli, int argc, char **argv)
{
	struct cg_args_error error;
	enum cg_exit code = CG_EXIT_DONE;

	if (!cg_args_parse(&cli->args, argc, argv, &error)) {
		json_t *more = json_object();
		cg_output_add_text(more, "field", error.field);
		cg_output_add_text(more, "bound", error.bound);
		return cg_output_error(cli, CG_EXIT_USAGE, more, error.text);
	}
	if (cli->args.help) {
		cg_help_command(cli->args.command);
		return CG_EXIT_DONE;
	}
	if (cli->args.command->uses_gate) {
		code = cg_client_open(cli);
	}
	if (code == CG_EXIT_DONE) {
		code = cli->args.command->run(cli);
	}
	cg_client_close(cli);
	cg_sql_close(cli);
	cg_store_close(cli);
	return code;
}

static bool is_help_word(const char *word)
{
	return strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static bool is_json_asked(int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			return true;
		}
	}
	return false;
}

/* `help`, `help wallet`, `help wallet create`, `wallet --help`. */
static enum cg_exit help(struct cg_cli *cli, int argc, char **argv)
{
	int words;
	const struct cg_command *command = find(argc, argv, &words);

	if (command != NULL) {
		cg_help_command(command);
		return CG_EXIT_DONE;
	}
	if (cg_help_family(stdout, families, &version_command, argc < 1 ? NULL : argv[0])) {
		return CG_EXIT_DONE;
	}
	return cg_output_fail(cli, CG_EXIT_USAGE, argv[0], NULL,
	    "there is no command \"%s\"; `callgate help` lists them", argv[0]);
}

static enum cg_exit unknown_command(struct cg_cli *cli, int argc, char **argv)
{
	cli->args.json = is_json_asked(argc, argv);
	if (argc >= 2 && argv[1][0] != '-') {
		return cg_output_fail(cli, CG_EXIT_USAGE, argv[0], NULL,
		    "there is no command \"%s %s\"; `callgate help` lists them", argv[0], argv[1]);
	}
	return cg_output_fail(cli, CG_EXIT_USAGE, argv[0], NULL,
	    "there is no command \"%s\"; `callgate help` lists them", argv[0]);
}

static enum cg_exit dispatch(struct cg_cli *cli, int argc, char **argv)
{
	int words;

	if (argc < 1) {
		(void)cg_help_family(stderr, families, &version_command, NULL);
		return CG_EXIT_USAGE;
	}
	if (is_help_word(argv[0])) {
		return help(cli, argc - 1, argv + 1);
	}
	if (argc == 2 && is_help_word(argv[1]) &&
	    cg_help_family(stdout, families, &version_command, argv[0])) {
		return CG_EXIT_DONE;
	}
	cli->args.command =
	    strcmp(argv[0], "--version") == 0 ? &version_command : find(argc, argv, &words);
	if (cli->args.command == NULL) {
		return unknown_command(cli, argc, argv);
	}
	if (cli->args.command == &version_command) {
		words = 1;
	}
	/* The last word of the name stands where getopt expects the program's. */
	return run_command(cli, argc - words + 1, argv + words - 1);
}

int main(int argc, char **argv)
{
	struct cg_cli cli = {.client = NULL};

	/* The client's gRPC may complain when it ends, of its own timers: no word of the command's. */
	(void)setenv("GRPC_VERBOSITY", "NONE", 0);
	enum cg_exit code = dispatch(&cli, argc - 1, argv + 1);

	/* An answer that could not be written has not been given. */
	if (fflush(stdout) != 0 || ferror(stdout) != 0) {
		(void)fprintf(stderr, "callgate: standard output could not be written\n");
		return CG_EXIT_INCOMPATIBLE;
	}
	return (int)code;
}
