/*
 * Answers and errors.  Every answer is built once, as JSON with the contract's field names;
 * --json prints it as it is, and without it the same object is printed for people, whose
 * units are read off the field names (`_micros`, `_at_ms`, `_ms`).  So the two cannot differ.
 *
 * Text from outside is never printed raw: control characters would reach the terminal.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_OUTPUT_H
#define CG_CLI_OUTPUT_H

#include <jansson.h>

#include "cli/cli.h"

#define CG_OUTPUT_WIDTH      100
#define CG_OUTPUT_CELL_BYTES 256

/* Building: a text that is not UTF-8 becomes one that says so; NULL becomes null. */
void cg_output_add_text(json_t *object, const char *key, const char *text);
void cg_output_add_int(json_t *object, const char *key, int64_t value);
void cg_output_add_bool(json_t *object, const char *key, bool value);

/*
 * Prints the answer and frees it.  Without --json: `headline`, if not NULL, then a line per
 * field; `currency` is for amounts whose object names none.
 */
void cg_output_answer(
    const struct cg_cli *cli, const char *headline, const char *currency, json_t *answer);

/* A line for people; nothing with --json. */
__attribute__((format(printf, 2, 3))) void cg_output_say(
    const struct cg_cli *cli, const char *format, ...);

/*
 * Prints an error on standard error and answers `code`.  `more`, if not NULL, holds further
 * fields of the JSON form (status, reason, field, bound, ...) and is freed.
 */
enum cg_exit cg_output_error(
    const struct cg_cli *cli, enum cg_exit code, json_t *more, const char *text);

/* As above, the text formatted, with `field` and `bound` where they are not NULL. */
__attribute__((format(printf, 5, 6))) enum cg_exit cg_output_fail(const struct cg_cli *cli,
    enum cg_exit code, const char *field, const char *bound, const char *format, ...);

/* One value as a person reads it, its unit taken from `key`; for tables and fields alike. */
void cg_output_cell(
    const char *key, const json_t *value, const char *currency, char text[CG_OUTPUT_CELL_BYTES]);

/* Prints bytes with control characters made visible. */
void cg_output_put(FILE *to, const char *text);

#endif /* CG_CLI_OUTPUT_H */
