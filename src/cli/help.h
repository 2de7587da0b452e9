/*
 * What the command says of itself, from the commands' own tables.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_HELP_H
#define CG_CLI_HELP_H

#include <stdio.h>

#include "cli/command.h"

/* One command with its flags, on standard output. */
void cg_help_command(const struct cg_command *command);

/*
 * Every command whose first word is `word`, or all of them where it is NULL, as a list.
 * `families` ends with NULL.  False where there is none; then nothing was printed.
 */
bool cg_help_family(FILE *to, const struct cg_command *const *families,
    const struct cg_command *last, const char *word);

#endif /* CG_CLI_HELP_H */
