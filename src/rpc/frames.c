/*
 * By hand: unpacked as a whole, an operation's bytes would be walked and copied once more each
 * way, and a frame whose operation is malformed would have no tag to be answered under.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "rpc/frames.h"

#include <callgate/v1/callgate.pb-c.h>

#include "rpc/wirecheck.h"

/* More than any client sends; each is skipped, none is kept. */
#define UNKNOWN_FIELDS_MAX 64

#define BOUND_OP "set: authorize, start, stop, settle, cancel or adopt"

/* The fields of both frames. */
enum {
	FIELD_TAG = 1,
	FIELD_STATUS_CODE = 2,
	FIELD_STATUS_MESSAGE = 3,
	FIELD_ERROR = 9,
};

static const struct {
	const char *name;
	uint8_t request;
	uint8_t response;
} fields[] = {
    [CG_METHOD_AUTHORIZE] = {"authorize", 2, 4},
    [CG_METHOD_START] = {"start", 3, 5},
    [CG_METHOD_STOP] = {"stop", 7, 10},
    [CG_METHOD_SETTLE] = {"settle", 4, 6},
    [CG_METHOD_CANCEL] = {"cancel", 5, 7},
    [CG_METHOD_ADOPT] = {"adopt", 6, 8},
};

/* A field's value: a number, or bytes. */
static bool take_value(
    struct cg_cursor *rest, uint64_t wire_type, uint64_t *ret_number, struct cg_view *ret_bytes)
{
	*ret_number = 0;
	*ret_bytes = (struct cg_view){NULL, 0};
	switch (wire_type) {
	case CG_WIRE_VARINT:
		return cg_wire_varint(rest, ret_number);
	case CG_WIRE_64BIT:
		(void)cg_cursor_bytes(rest, 8);
		return !rest->overrun;
	case CG_WIRE_32BIT:
		(void)cg_cursor_bytes(rest, 4);
		return !rest->overrun;
	case CG_WIRE_BYTES:
		if (!cg_wire_varint(rest, ret_number) || *ret_number > rest->left) {
			return false;
		}
		*ret_bytes = cg_cursor_bytes(rest, (size_t)*ret_number);
		return true;
	default: /* groups: no client of proto3 sends them */
		return false;
	}
}

static enum cg_method method_of(uint64_t field)
{
	for (size_t i = 0; i < CG_COUNT_OF(fields); i++) {
		if (fields[i].request == field) {
			return (enum cg_method)i;
		}
	}
	return CG_METHOD_COUNT;
}

bool cg_frame_read(struct cg_view bytes, struct cg_frame *ret_frame, struct cg_rpc_fault *ret_fault)
{
	struct cg_frame frame = {.method = CG_METHOD_COUNT};
	struct cg_cursor rest;
	unsigned op_count = 0;
	unsigned unknown_count = 0;

	cg_cursor_init(&rest, bytes);
	while (rest.left > 0) {
		uint64_t key = 0;
		uint64_t number = 0;
		struct cg_view value;
		if (!cg_wire_varint(&rest, &key) || key >> 3 == 0 || key > UINT32_MAX ||
		    !take_value(&rest, key & 7, &number, &value)) {
			return false;
		}
		enum cg_method method = method_of(key >> 3);
		if (method != CG_METHOD_COUNT && (key & 7) == CG_WIRE_BYTES) {
			frame.method = method;
			frame.op = value;
			op_count++;
		} else if (key >> 3 == FIELD_TAG && (key & 7) == CG_WIRE_VARINT) {
			frame.tag = number;
		} else if (method != CG_METHOD_COUNT || key >> 3 == FIELD_TAG ||
		    ++unknown_count > UNKNOWN_FIELDS_MAX) {
			return false;
		}
	}
	if (op_count != 1) {
		(void)cg_rpc_fault_set(ret_fault, op_count == 0 ? "op" : fields[frame.method].name,
		    op_count == 0 ? BOUND_OP : "the only one set of its oneof");
		frame.method = CG_METHOD_COUNT;
	}
	*ret_frame = frame;
	return true;
}

static size_t varint_bytes(uint64_t value)
{
	size_t bytes = 1;

	for (; value >= 0x80; value >>= 7) {
		bytes++;
	}
	return bytes;
}

static uint8_t *put_varint(uint8_t *to, uint64_t value)
{
	for (; value >= 0x80; value >>= 7) {
		*to++ = (uint8_t)(value | 0x80);
	}
	*to++ = (uint8_t)value;
	return to;
}

/* A number, which is left out where it is 0, as proto3 does. */
static size_t number_bytes(uint64_t value)
{
	return value == 0 ? 0 : 1 + varint_bytes(value);
}

static uint8_t *put_number(uint8_t *to, unsigned field, uint64_t value)
{
	if (value == 0) {
		return to;
	}
	*to++ = (uint8_t)(field << 3 | CG_WIRE_VARINT);
	return put_varint(to, value);
}

static size_t field_bytes(size_t len)
{
	return 1 + varint_bytes(len) + len;
}

static uint8_t *put_bytes(uint8_t *to, unsigned field, struct cg_view bytes)
{
	*to++ = (uint8_t)(field << 3 | CG_WIRE_BYTES);
	to = put_varint(to, bytes.len);
	if (bytes.len > 0) {
		memcpy(to, bytes.data, bytes.len);
	}
	return to + bytes.len;
}

size_t cg_frame_answer_bytes(uint64_t tag, enum cg_method method, const ProtobufCMessage *answer)
{
	CG_ASSERT((size_t)method < CG_COUNT_OF(fields));
	return number_bytes(tag) + field_bytes(protobuf_c_message_get_packed_size(answer));
}

void cg_frame_write_answer(
    uint64_t tag, enum cg_method method, const ProtobufCMessage *answer, uint8_t *to)
{
	to = put_number(to, FIELD_TAG, tag);
	*to++ = (uint8_t)(fields[method].response << 3 | CG_WIRE_BYTES);
	to = put_varint(to, protobuf_c_message_get_packed_size(answer));
	(void)protobuf_c_message_pack(answer, to);
}

size_t cg_frame_failure_bytes(
    uint64_t tag, grpc_status_code code, struct cg_view text, struct cg_view detail)
{
	return number_bytes(tag) + number_bytes((uint64_t)code) + field_bytes(text.len) +
	    (detail.len > 0 ? field_bytes(detail.len) : 0);
}

void cg_frame_write_failure(
    uint64_t tag, grpc_status_code code, struct cg_view text, struct cg_view detail, uint8_t *to)
{
	to = put_number(to, FIELD_TAG, tag);
	to = put_number(to, FIELD_STATUS_CODE, (uint64_t)code);
	to = put_bytes(to, FIELD_STATUS_MESSAGE, text);
	if (detail.len > 0) {
		(void)put_bytes(to, FIELD_ERROR, detail);
	}
}
