/*
 * What a single value must look like: shared by the flags of a command line and the
 * columns of a file, so that both refuse the same things with the same words.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_BOUNDS_H
#define CG_CLI_BOUNDS_H

#include <stddef.h>

#include "cli/command.h"

/* Whether `text` is within the flag's bounds; then *ret_number is its number, if it has one. */
bool cg_bounds_check(const struct cg_flag *flag, const char *text, int64_t *ret_number);

/* What a value must be, as the end of "must be ...": "a whole number, 1..9". */
void cg_bounds_describe(const struct cg_flag *flag, char *text, size_t size);

/* How the flag stands in a line of help: "--company UUID", "CALL_ID". */
void cg_bounds_form(const struct cg_flag *flag, char *text, size_t size);

#endif /* CG_CLI_BOUNDS_H */
