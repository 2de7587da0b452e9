/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/help.h"

#include <string.h>

#include "cli/args.h"
#include "cli/bounds.h"

#define FORM_WIDTH 30
#define NAME_WIDTH 19

static void print_usage(const struct cg_command *command)
{
	char form[80];

	(void)printf("usage: callgate %s", command->name);
	for (const struct cg_flag *flag = command->flags; flag->name != NULL; flag++) {
		cg_bounds_form(flag, form, sizeof form);
		if (flag->required) {
			(void)printf(" %s", form);
		}
	}
	(void)printf(" [FLAG...]\n\n%s.\n", command->summary);
	if (command->details != NULL) {
		(void)printf("%s\n", command->details);
	}
}

/* Where a number or one of some words is asked for, its bounds are half of the help. */
static void print_flag(const struct cg_flag *flag)
{
	char form[80];
	char bound[160];

	cg_bounds_form(flag, form, sizeof form);
	(void)printf("  %-*s %s\n", FORM_WIDTH, form, flag->help);
	if (flag->kind == CG_FLAG_INT || flag->kind == CG_FLAG_CHOICE) {
		cg_bounds_describe(flag, bound, sizeof bound);
		(void)printf("  %-*s %s\n", FORM_WIDTH, "", bound);
	}
}

static void print_flags(const char *title, const struct cg_flag *flags, size_t count, bool required)
{
	bool any = false;

	for (size_t i = 0; i < count; i++) {
		if (flags[i].required == required) {
			(void)printf("%s", any ? "" : title);
			any = true;
			print_flag(&flags[i]);
		}
	}
}

void cg_help_command(const struct cg_command *command)
{
	size_t common_count;
	const struct cg_flag *common = cg_args_common(&common_count);
	size_t count = 0;

	while (command->flags[count].name != NULL) {
		count++;
	}
	print_usage(command);
	print_flags("\nrequired:\n", command->flags, count, true);
	print_flags("\noptional:\n", command->flags, count, false);
	print_flags("\nof every command:\n", common, common_count, false);
}

static bool belongs(const struct cg_command *command, const char *word)
{
	size_t len = word == NULL ? 0 : strlen(word);

	return word == NULL ||
	    (strncmp(command->name, word, len) == 0 && command->name[len] == ' ');
}

static const char intro[] = "callgate, the operator's command.\n"
                            "\n"
                            "usage: callgate COMMAND [FLAG...] [--json]\n"
                            "       callgate help COMMAND\n"
                            "\n";

static const char outro[] =
    "\n"
    "CALLGATE_ADDRESS (--address) is the sidecar's, CALLGATE_DATABASE_URL (--database-url) the "
    "ledger's,\n"
    "CALLGATE_REDIS_URL (--redis-url) the store's.\n"
    "exit codes: 0 done, 1 denied or refused, 2 usage, 3 not found, 4 unavailable, 5 forbidden,\n"
    "            6 incompatible or a bug, 7 audit or doctor found something wrong, 8 doctor "
    "warns\n";

bool cg_help_family(FILE *to, const struct cg_command *const *families,
    const struct cg_command *last, const char *word)
{
	bool any = false;

	for (size_t f = 0; families[f] != NULL; f++) {
		for (const struct cg_command *c = families[f]; c->name != NULL; c++) {
			if (!belongs(c, word)) {
				continue;
			}
			(void)fprintf(
			    to, "%s  %-*s %s\n", any ? "" : intro, NAME_WIDTH, c->name, c->summary);
			any = true;
		}
	}
	if (any && word == NULL) {
		(void)fprintf(to, "  %-*s %s\n", NAME_WIDTH, last->name, last->summary);
		(void)fprintf(
		    to, "  %-*s %s\n", NAME_WIDTH, "help", "this, or one command's flags");
	}
	if (any) {
		(void)fputs(outro, to);
	}
	return any;
}
