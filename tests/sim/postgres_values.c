/*
 * Parameters in Postgres's binary format, results in its text format.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>

#include "postgres.h"

static uint64_t read_uint(const char *bytes, size_t width)
{
	uint64_t value = 0;

	for (size_t i = 0; i < width; i++) {
		value = value << 8 | (uint8_t)bytes[i];
	}
	return value;
}

static int64_t read_int(struct cg_view bytes)
{
	uint64_t value = read_uint(bytes.data, bytes.len);

	return bytes.len == 4 ? (int32_t)value : (int64_t)value;
}

static void copy_text(struct cg_view bytes, char *text, size_t size)
{
	size_t len = bytes.len < size - 1 ? bytes.len : size - 1;

	CG_ASSERT(bytes.len < size);
	if (len > 0) {
		memcpy(text, bytes.data, len);
	}
	text[len] = '\0';
}

int64_t pg_int(const struct pg_statement *s, int i)
{
	return read_int((struct cg_view){s->values[i], (size_t)s->lengths[i]});
}

void pg_text(const struct pg_statement *s, int i, char *text, size_t size)
{
	copy_text((struct cg_view){s->values[i], (size_t)s->lengths[i]}, text, size);
}

uint32_t pg_company(const struct pg_statement *s, int i)
{
	return sim_company_of(s->values[i]);
}

uint32_t pg_array_count(const struct pg_statement *s, int i)
{
	return read_uint(s->values[i], 4) == 0 ? 0 : (uint32_t)read_uint(s->values[i] + 12, 4);
}

/* Dimensions, whether there may be nulls, the type, the count, the first index; the elements. */
bool pg_element(const struct pg_statement *s, int i, uint32_t at, struct cg_view *ret_bytes)
{
	const char *bytes = s->values[i] + 20;

	for (;; at--) {
		uint32_t len = (uint32_t)read_uint(bytes, 4);
		bytes += 4;
		if (at == 0) {
			*ret_bytes = (struct cg_view){bytes, len == UINT32_MAX ? 0 : len};
			return len != UINT32_MAX;
		}
		bytes += len == UINT32_MAX ? 0 : len;
	}
}

int64_t pg_element_int(const struct pg_statement *s, int i, uint32_t at)
{
	struct cg_view bytes;

	return pg_element(s, i, at, &bytes) ? read_int(bytes) : 0;
}

void pg_element_text(const struct pg_statement *s, int i, uint32_t at, char *text, size_t size)
{
	struct cg_view bytes;

	(void)pg_element(s, i, at, &bytes);
	copy_text(bytes, text, size);
}

PGresult *pg_result(int columns)
{
	static char name[] = "column";
	PGresAttDesc attributes[40] = {{0}};
	PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);

	CG_ASSERT(result != NULL && columns <= 40);
	for (int i = 0; i < columns; i++) {
		attributes[i].name = name;
	}
	CG_ASSERT(PQsetResultAttrs(result, columns, attributes) != 0);
	return result;
}

void pg_put_text(PGresult *result, int row, int column, const char *text)
{
	union {
		const char *in;
		char *out;
	} value = {.in = text}; /* It is only read. */

	CG_ASSERT(PQsetvalue(result, row, column, value.out, (int)strlen(text)) != 0);
}

void pg_put_int(PGresult *result, int row, int column, int64_t value)
{
	char text[24];

	(void)snprintf(text, sizeof text, "%" PRId64, value);
	pg_put_text(result, row, column, text);
}

void pg_put_bool(PGresult *result, int row, int column, bool value)
{
	pg_put_text(result, row, column, value ? "t" : "f");
}

void pg_put_null(PGresult *result, int row, int column)
{
	CG_ASSERT(PQsetvalue(result, row, column, NULL, -1) != 0);
}

void pg_put_uuid(PGresult *result, int row, int column, const struct cg_uuid *uuid)
{
	char text[CG_UUID_TEXT_LEN + 1];

	cg_uuid_format(uuid, text);
	pg_put_text(result, row, column, text);
}
