/*
 * A list for people: rows of JSON objects in columns, never wider than CG_OUTPUT_WIDTH as
 * long as the columns that may shrink can give way.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_TABLE_H
#define CG_CLI_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define CG_TABLE_COLUMNS_MAX 12

struct cg_column {
	const char *header;
	const char *path; /* of the field in a row, one step down at most: "price.minimum_ms" */
	bool raw;         /* the number as it is, without its unit's form */
	bool right;
	bool shrinks; /* gives way where the table is too wide; cut with "~" */
};

/* Columns end with a NULL header.  Amounts take their row's currency. */
void cg_table_print(const struct cg_column *columns, const json_t *rows);

#endif /* CG_CLI_TABLE_H */
