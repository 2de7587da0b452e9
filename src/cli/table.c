/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/table.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "cli/output.h"

#define GAP          2
#define NARROW_GAP   1
#define SHRUNK_WIDTH 8

/* Characters, not bytes; near enough to columns for what stands in our tables. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	for (const char *c = text; *c != '\0'; c++) {
		width += ((unsigned char)*c & 0xc0) != 0x80;
	}
	return width;
}

static const char *currency_of(const json_t *row)
{
	const char *own = json_string_value(json_object_get(row, "currency"));

	if (own == NULL) {
		own = json_string_value(json_object_get(json_object_get(row, "price"), "currency"));
	}
	return own == NULL ? "" : own;
}

static void make_cell(
    const struct cg_column *column, const json_t *row, char text[CG_OUTPUT_CELL_BYTES])
{
	const char *dot = strchr(column->path, '.');
	const json_t *holder = row;
	const char *key = column->path;
	char step[32];

	if (dot != NULL) {
		(void)snprintf(step, sizeof step, "%.*s", (int)(dot - column->path), column->path);
		holder = json_object_get(row, step);
		key = dot + 1;
	}
	/* Without a unit in its name a number is printed as it is. */
	cg_output_cell(
	    column->raw ? "" : key, json_object_get(holder, key), currency_of(row), text);
}

static size_t measure(const struct cg_column *columns, const json_t *rows, size_t *widths)
{
	char text[CG_OUTPUT_CELL_BYTES];
	size_t total = 0;

	for (size_t c = 0; columns[c].header != NULL; c++) {
		CG_ASSERT(c < CG_TABLE_COLUMNS_MAX);
		widths[c] = strlen(columns[c].header);
		for (size_t r = 0; r < json_array_size(rows); r++) {
			make_cell(&columns[c], json_array_get(rows, r), text);
			size_t width = width_of(text);
			widths[c] = width > widths[c] ? width : widths[c];
		}
		total += widths[c] + (c == 0 ? 0 : GAP);
	}
	return total;
}

/* Takes what is too much from the widest column that may shrink, one by one. */
static void fit(const struct cg_column *columns, size_t *widths, size_t total)
{
	while (total > CG_OUTPUT_WIDTH) {
		size_t widest = CG_TABLE_COLUMNS_MAX;
		for (size_t c = 0; columns[c].header != NULL; c++) {
			if (columns[c].shrinks && widths[c] > SHRUNK_WIDTH &&
			    (widest == CG_TABLE_COLUMNS_MAX || widths[c] > widths[widest])) {
				widest = c;
			}
		}
		if (widest == CG_TABLE_COLUMNS_MAX) {
			return;
		}
		widths[widest]--;
		total--;
	}
}

/* Ends `text` after `width` characters, the last of them a mark. */
static void cut(char *text, size_t width)
{
	size_t at = 0;
	size_t seen = 0;

	if (width_of(text) <= width) {
		return;
	}
	while (seen + 1 < width) {
		at++;
		while (((unsigned char)text[at] & 0xc0) == 0x80) {
			at++;
		}
		seen++;
	}
	text[at] = '~';
	text[at + 1] = '\0';
}

static void print_cell(const char *text, size_t width, bool right, int gap)
{
	int pad = (int)(width - width_of(text));

	(void)printf("%*s", right ? pad : 0, "");
	cg_output_put(stdout, text);
	if (gap > 0) {
		(void)printf("%*s", (right ? 0 : pad) + gap, "");
	}
}

/* The gap after column `c`; none after the last. */
static int gap_after(const struct cg_column *columns, size_t c, int gap)
{
	return columns[c + 1].header == NULL ? 0 : gap;
}

void cg_table_print(const struct cg_column *columns, const json_t *rows)
{
	size_t widths[CG_TABLE_COLUMNS_MAX];
	char text[CG_OUTPUT_CELL_BYTES];
	size_t total = measure(columns, rows, widths);
	int gap = GAP;

	/* Narrow gaps cost less than text that is cut. */
	if (total > CG_OUTPUT_WIDTH) {
		gap = NARROW_GAP;
		for (size_t c = 1; columns[c].header != NULL; c++) {
			total -= GAP - NARROW_GAP;
		}
	}
	fit(columns, widths, total);
	for (size_t c = 0; columns[c].header != NULL; c++) {
		print_cell(
		    columns[c].header, widths[c], columns[c].right, gap_after(columns, c, gap));
	}
	(void)putchar('\n');
	for (size_t r = 0; r < json_array_size(rows); r++) {
		for (size_t c = 0; columns[c].header != NULL; c++) {
			make_cell(&columns[c], json_array_get(rows, r), text);
			cut(text, widths[c]);
			print_cell(text, widths[c], columns[c].right, gap_after(columns, c, gap));
		}
		(void)putchar('\n');
	}
}
