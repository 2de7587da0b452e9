/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger/params.h"

#include <stdlib.h>

static const unsigned array_types[][2] = {
    {CG_OID_BOOL, 1000},
    {CG_OID_BYTEA, 1001},
    {CG_OID_INT8, 1016},
    {CG_OID_TEXT, 1009},
    {CG_OID_UUID, 2951},
    {CG_OID_JSONB, 3807},
};

void cg_params__deinit(struct cg_params *params)
{
	free(params->memory);
	*params = (struct cg_params){0};
}

void cg_params__reset(struct cg_params *params)
{
	params->count = 0;
	params->len = 0;
}

static char *reserve(struct cg_params *params, size_t len)
{
	if (params->capacity - params->len < len) {
		size_t capacity = params->capacity < 512 ? 512 : params->capacity;

		while (capacity - params->len < len) {
			capacity *= 2;
		}
		params->memory = realloc(params->memory, capacity);
		CG_ASSERT(params->memory != NULL);
		params->capacity = capacity;
	}
	char *at = params->memory + params->len;
	params->len += len;
	return at;
}

static void put_uint(struct cg_params *params, uint64_t value, size_t width)
{
	char *at = reserve(params, width);

	for (size_t i = 0; i < width; i++) {
		at[i] = (char)(value >> (8 * (width - 1 - i)));
	}
}

static void put_bytes(struct cg_params *params, const void *data, size_t len)
{
	char *at = reserve(params, len);

	if (len > 0) {
		memcpy(at, data, len);
	}
}

/* The value's bytes follow; the length is what was written until the next begin or seal. */
static void begin(struct cg_params *params, unsigned type)
{
	CG_ASSERT(params->count < CG_PARAMS_MAX);
	params->types[params->count] = type;
	params->formats[params->count] = 1;
	params->offsets[params->count] = params->len;
	params->lengths[params->count] = 0;
	params->count++;
}

void cg_params__int4(struct cg_params *params, int32_t value)
{
	begin(params, CG_OID_INT4);
	put_uint(params, (uint32_t)value, 4);
}

void cg_params__int8(struct cg_params *params, int64_t value)
{
	begin(params, CG_OID_INT8);
	put_uint(params, (uint64_t)value, 8);
}

void cg_params__bool(struct cg_params *params, bool value)
{
	begin(params, CG_OID_BOOL);
	put_uint(params, value ? 1 : 0, 1);
}

void cg_params__text(struct cg_params *params, struct cg_view value)
{
	begin(params, CG_OID_TEXT);
	put_bytes(params, value.data, value.len);
}

void cg_params__bytes(struct cg_params *params, struct cg_view value)
{
	begin(params, CG_OID_BYTEA);
	put_bytes(params, value.data, value.len);
}

void cg_params__uuid(struct cg_params *params, const struct cg_uuid *value)
{
	begin(params, CG_OID_UUID);
	put_bytes(params, value->bytes, sizeof value->bytes);
}

void cg_params__null(struct cg_params *params, unsigned type)
{
	begin(params, type);
	params->lengths[params->count - 1] = -1;
}

static unsigned array_type_of(unsigned element_type)
{
	for (size_t i = 0; i < CG_COUNT_OF(array_types); i++) {
		if (array_types[i][0] == element_type) {
			return array_types[i][1];
		}
	}
	CG_UNREACHABLE();
}

void cg_params__array(struct cg_params *params, unsigned element_type, uint32_t count)
{
	begin(params, array_type_of(element_type));
	put_uint(params, count > 0 ? 1 : 0, 4); /* dimensions */
	put_uint(params, 1, 4);                 /* may hold nulls */
	put_uint(params, element_type, 4);
	if (count > 0) {
		put_uint(params, count, 4);
		put_uint(params, 1, 4); /* the first index */
	}
}

void cg_params__element(struct cg_params *params, struct cg_view value)
{
	put_uint(params, value.len, 4);
	put_bytes(params, value.data, value.len);
}

void cg_params__element_int8(struct cg_params *params, int64_t value)
{
	put_uint(params, 8, 4);
	put_uint(params, (uint64_t)value, 8);
}

void cg_params__element_bool(struct cg_params *params, bool value)
{
	put_uint(params, 1, 4);
	put_uint(params, value ? 1 : 0, 1);
}

void cg_params__element_jsonb(struct cg_params *params, struct cg_view text)
{
	put_uint(params, text.len + 1, 4);
	put_uint(params, 1, 1); /* the format's version */
	put_bytes(params, text.data, text.len);
}

void cg_params__element_null(struct cg_params *params)
{
	put_uint(params, UINT32_MAX, 4);
}

void cg_params__seal(struct cg_params *params)
{
	for (int i = 0; i < params->count; i++) {
		size_t end = i + 1 < params->count ? params->offsets[i + 1] : params->len;

		if (params->lengths[i] < 0) {
			params->values[i] = NULL;
			continue;
		}
		params->lengths[i] = (int)(end - params->offsets[i]);
		/* Any address will do for an empty value, but NULL would mean null. */
		params->values[i] =
		    params->memory == NULL ? "" : params->memory + params->offsets[i];
	}
}
