/*
 * RFC 4180 as spreadsheets write it: quotes, doubled quotes, CR LF, a byte order mark.  A
 * field with a line break in it has no meaning in our files and is refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/csv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "cli/bounds.h"
#include "cli/output.h"

struct reader {
	const struct cg_cli *cli;
	const char *path;
	const struct cg_flag *columns;
	const char *at;
	const char *end;
	long line;
};

enum ending {
	ENDS_FIELD,
	ENDS_LINE,
	IS_MALFORMED,
};

static enum cg_exit refuse(
    const struct reader *reader, const char *column, const char *bound, const char *what)
{
	return cg_output_fail(reader->cli, CG_EXIT_USAGE, column, bound,
	    "%s line %ld%s%s: %s; nothing was changed", reader->path, reader->line,
	    column == NULL ? "" : ", column ", column == NULL ? "" : column, what);
}

/* Takes what ends a field: a comma, a line's end, or the end of the file. */
static enum ending take_end(struct reader *reader)
{
	if (reader->at < reader->end && *reader->at == ',') {
		reader->at++;
		return ENDS_FIELD;
	}
	if (reader->at < reader->end && *reader->at == '\r') {
		reader->at++;
	}
	if (reader->at == reader->end) {
		return ENDS_LINE;
	}
	return *reader->at++ == '\n' ? ENDS_LINE : IS_MALFORMED;
}

static bool is_plain(char c, bool quoted)
{
	return quoted ? c != '"' : (c != ',' && c != '\r' && c != '\n' && c != '"');
}

/* Takes one field into `text`; IS_MALFORMED also where it is too long. */
static enum ending take_field(struct reader *reader, char text[CG_CSV_FIELD_MAX])
{
	bool quoted = reader->at < reader->end && *reader->at == '"';
	size_t len = 0;

	reader->at += quoted;
	while (reader->at < reader->end) {
		char c = *reader->at;
		bool doubled =
		    quoted && c == '"' && reader->at + 1 < reader->end && reader->at[1] == '"';
		if (!doubled && !is_plain(c, quoted)) {
			break;
		}
		if (len + 1 == CG_CSV_FIELD_MAX || c == '\0' || c == '\n') {
			return IS_MALFORMED;
		}
		text[len++] = c;
		reader->at += doubled ? 2 : 1;
	}
	text[len] = '\0';
	if (quoted && (reader->at == reader->end || *reader->at++ != '"')) {
		return IS_MALFORMED;
	}
	return take_end(reader);
}

static enum cg_exit check_ending(const struct reader *reader, enum ending ending, bool is_last)
{
	if (ending == IS_MALFORMED) {
		return refuse(reader, NULL, "comma-separated fields of up to 255 bytes",
		    "is not comma-separated fields of up to 255 bytes");
	}
	if ((ending == ENDS_LINE) != is_last) {
		return refuse(reader, NULL, "as many fields as the first line names",
		    is_last ? "has more fields than the first line names"
		            : "has fewer fields than the first line names");
	}
	return CG_EXIT_DONE;
}

static enum cg_exit read_header(struct reader *reader)
{
	char text[CG_CSV_FIELD_MAX];
	char what[160 + CG_CSV_FIELD_MAX];

	reader->line = 1;
	for (size_t i = 0; reader->columns[i].name != NULL; i++) {
		const char *name = reader->columns[i].name;
		enum ending ending = take_field(reader, text);
		if (ending != IS_MALFORMED && strcmp(text, name) != 0) {
			(void)snprintf(what, sizeof what,
			    "the first line must name the columns; \"%s\" stands where \"%s\" "
			    "belongs",
			    text, name);
			return refuse(reader, name, NULL, what);
		}
		enum cg_exit code =
		    check_ending(reader, ending, reader->columns[i + 1].name == NULL);
		if (code != CG_EXIT_DONE) {
			return code;
		}
	}
	return CG_EXIT_DONE;
}

static enum cg_exit add_field(
    const struct reader *reader, const struct cg_flag *column, const char *text, json_t *row)
{
	int64_t number = 0;
	char bound[160];
	char what[200 + CG_CSV_FIELD_MAX];

	if (!cg_bounds_check(column, text, &number)) {
		cg_bounds_describe(column, bound, sizeof bound);
		(void)snprintf(what, sizeof what, "\"%s\" is refused; it must be %s", text, bound);
		return refuse(reader, column->name, bound, what);
	}
	if (column->kind == CG_FLAG_INT) {
		cg_output_add_int(row, column->name, number);
	} else {
		cg_output_add_text(row, column->name, text);
	}
	return CG_EXIT_DONE;
}

static enum cg_exit read_row(struct reader *reader, json_t *row)
{
	char text[CG_CSV_FIELD_MAX];

	for (size_t i = 0; reader->columns[i].name != NULL; i++) {
		enum cg_exit code = check_ending(
		    reader, take_field(reader, text), reader->columns[i + 1].name == NULL);
		if (code == CG_EXIT_DONE) {
			code = add_field(reader, &reader->columns[i], text, row);
		}
		if (code != CG_EXIT_DONE) {
			return code;
		}
	}
	return CG_EXIT_DONE;
}

/* An empty line, as editors leave it at the end. */
static bool skip_empty_line(struct reader *reader)
{
	const char *at = reader->at;

	if (*at == '\r' && at + 1 < reader->end) {
		at++;
	}
	if (*at != '\n') {
		return false;
	}
	reader->at = at + 1;
	return true;
}

static enum cg_exit read_rows(struct reader *reader, json_t *rows)
{
	enum cg_exit code = read_header(reader);

	while (code == CG_EXIT_DONE && reader->at < reader->end) {
		reader->line++;
		if (!skip_empty_line(reader)) {
			json_t *row = json_object();
			cg_output_add_int(row, "line", reader->line);
			json_array_append_new(rows, row);
			code = read_row(reader, row);
		}
	}
	if (code == CG_EXIT_DONE && json_array_size(rows) == 0) {
		return refuse(reader, NULL, "at least one row", "is the end, and there is no row");
	}
	return code;
}

/* The whole file; NULL with errno where it cannot be had. */
static char *load(FILE *file, size_t *ret_len)
{
	char *bytes = malloc(CG_CSV_BYTES_MAX + 1);

	if (bytes != NULL) {
		*ret_len = fread(bytes, 1, CG_CSV_BYTES_MAX + 1, file);
		if (ferror(file) != 0) {
			free(bytes);
			return NULL;
		}
	}
	return bytes;
}

static enum cg_exit parse(const struct cg_cli *cli, const char *path, const struct cg_flag *columns,
    struct cg_view bytes, json_t **ret_rows)
{
	struct reader reader = {.cli = cli,
	    .path = strcmp(path, "-") == 0 ? "standard input" : path,
	    .columns = columns,
	    .line = 1};
	json_t *rows;
	enum cg_exit code;

	if (bytes.len > CG_CSV_BYTES_MAX) {
		return cg_output_fail(cli, CG_EXIT_USAGE, "FILE.csv", "at most 32 MiB",
		    "%s: is larger than 32 MiB; nothing was changed", path);
	}
	reader.at = bytes.data;
	reader.end = bytes.data + bytes.len;
	if (bytes.len >= 3 && memcmp(bytes.data, "\xef\xbb\xbf", 3) == 0) {
		reader.at += 3;
	}
	rows = json_array();
	code = read_rows(&reader, rows);
	if (code == CG_EXIT_DONE) {
		*ret_rows = rows;
	} else {
		json_decref(rows);
	}
	return code;
}

enum cg_exit cg_csv_read(
    const struct cg_cli *cli, const char *path, const struct cg_flag *columns, json_t **ret_rows)
{
	bool from_stdin = strcmp(path, "-") == 0;
	FILE *file = from_stdin ? stdin : fopen(path, "rbe");
	size_t len = 0;
	char *bytes = file == NULL ? NULL : load(file, &len);
	enum cg_exit code;

	if (bytes == NULL) {
		char why[128] = "cannot be read";
		(void)strerror_r(errno, why, sizeof why);
		code =
		    cg_output_fail(cli, CG_EXIT_NOT_FOUND, "FILE.csv", NULL, "%s: %s", path, why);
	} else {
		code = parse(cli, path, columns, (struct cg_view){bytes, len}, ret_rows);
	}
	free(bytes);
	if (file != NULL && !from_stdin) {
		(void)fclose(file);
	}
	return code;
}
