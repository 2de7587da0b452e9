/*
 * grpc-status-details-bin: google.rpc.Status { int32 code = 1; string message = 2;
 * repeated google.protobuf.Any details = 3; } with Any { string type_url = 1; bytes
 * value = 2; }.  Two levels of three fields: read by hand rather than with generated code
 * for two more files of the contract.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "client/codec.h"
#include "client/codec_internal.h"

enum {
	WIRE_VARINT = 0,
	WIRE_FIXED64 = 1,
	WIRE_BYTES = 2,
	WIRE_FIXED32 = 5,

	STATUS_DETAILS = 3,
	ANY_TYPE_URL = 1,
	ANY_VALUE = 2,
};

/* At most 10 bytes of 7 bits each; overrun where it does not end. */
static uint64_t read_varint(struct cg_cursor *cursor)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint64_t byte = cg_cursor_uint(cursor, 1);

		if (shift < 64) {
			value |= (byte & 0x7f) << shift;
		}
		if ((byte & 0x80) == 0) {
			return value;
		}
	}
	cursor->overrun = true;
	return 0;
}

bool cg_codec__read_field(struct cg_cursor *cursor, struct cg_codec_field *ret_field)
{
	uint64_t key;

	if (cursor->left == 0) {
		return false;
	}
	key = read_varint(cursor);
	ret_field->number = key >> 3;
	ret_field->value = 0;
	ret_field->bytes = (struct cg_view){NULL, 0};
	switch (key & 7) {
	case WIRE_VARINT:
		ret_field->value = read_varint(cursor);
		break;
	case WIRE_FIXED64:
		(void)cg_cursor_uint(cursor, 8);
		break;
	case WIRE_FIXED32:
		(void)cg_cursor_uint(cursor, 4);
		break;
	case WIRE_BYTES: {
		uint64_t len = read_varint(cursor);

		if (len > cursor->left) {
			cursor->overrun = true;
			return false;
		}
		ret_field->bytes = cg_cursor_bytes(cursor, (size_t)len);
		break;
	}
	default:
		cursor->overrun = true;
		return false;
	}
	return !cursor->overrun;
}

static bool ends_with(struct cg_view text, struct cg_view end)
{
	return text.len >= end.len &&
	    memcmp(text.data + text.len - end.len, end.data, end.len) == 0;
}

/* Only the first detail is ours, and only if it says so. */
bool cg_codec_decode_detail(
    struct cg_view bytes, struct cg_arena *arena, struct callgate_error_detail *ret_detail)
{
	struct cg_cursor cursor;
	struct cg_codec_field field;
	struct cg_view type_url = {NULL, 0};
	struct cg_view value = {NULL, 0};

	cg_cursor_init(&cursor, bytes);
	do {
		if (!cg_codec__read_field(&cursor, &field)) {
			return false;
		}
	} while (field.number != STATUS_DETAILS);

	cg_cursor_init(&cursor, field.bytes);
	while (cg_codec__read_field(&cursor, &field)) {
		if (field.number == ANY_TYPE_URL) {
			type_url = field.bytes;
		} else if (field.number == ANY_VALUE) {
			value = field.bytes;
		}
	}
	return ends_with(type_url, CG_VIEW_LITERAL("/callgate.v1.ErrorDetail")) &&
	    cg_codec__fill_detail(value, arena, ret_detail);
}

bool cg_codec_decode_plain_detail(
    struct cg_view bytes, struct cg_arena *arena, struct callgate_error_detail *ret_detail)
{
	return cg_codec__fill_detail(bytes, arena, ret_detail);
}
