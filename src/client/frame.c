/*
 * What a Session puts around an operation: SessionRequest { uint64 tag = 1; oneof op } and
 * SessionResponse { uint64 tag = 1; int32 status_code = 2; string status_message = 3; oneof op;
 * ErrorDetail error = 9; }.  By hand, so that no message is walked or copied twice.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "client/codec.h"
#include "client/codec_internal.h"

enum {
	WIRE_VARINT = 0,
	WIRE_BYTES = 2,

	FIELD_TAG = 1,
	FIELD_STATUS_CODE = 2,
	FIELD_STATUS_MESSAGE = 3,
	FIELD_ERROR = 9,
};

static const struct {
	uint8_t request;
	uint8_t response;
} fields[] = {
    [CG_CODEC_AUTHORIZE] = {2, 4},
    [CG_CODEC_START] = {3, 5},
    [CG_CODEC_STOP] = {7, 10},
    [CG_CODEC_SETTLE] = {4, 6},
    [CG_CODEC_CANCEL] = {5, 7},
    [CG_CODEC_ADOPT] = {6, 8},
};

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

/* A tag is never 0 here, which proto3 would leave out. */
size_t cg_codec_frame_bytes(const ProtobufCMessage *message, uint64_t tag)
{
	size_t inner = protobuf_c_message_get_packed_size(message);

	CG_ASSERT(tag != 0);
	return 1 + varint_bytes(tag) + 1 + varint_bytes(inner) + inner;
}

void cg_codec_write_frame(
    enum cg_codec codec, const ProtobufCMessage *message, uint64_t tag, uint8_t *to)
{
	CG_ASSERT((size_t)codec < CG_COUNT_OF(fields) && fields[codec].request != 0);
	*to++ = FIELD_TAG << 3 | WIRE_VARINT;
	to = put_varint(to, tag);
	*to++ = (uint8_t)(fields[codec].request << 3 | WIRE_BYTES);
	to = put_varint(to, protobuf_c_message_get_packed_size(message));
	(void)protobuf_c_message_pack(message, to);
}

static void take_op(const struct cg_codec_field *field, struct cg_codec_frame *frame)
{
	for (size_t i = 0; i < CG_COUNT_OF(fields); i++) {
		if (fields[i].response != 0 && fields[i].response == field->number) {
			frame->has_op = true;
			frame->codec = (enum cg_codec)i;
			frame->op = field->bytes;
		}
	}
}

/* What this version does not know is skipped. */
bool cg_codec_read_frame(struct cg_view bytes, struct cg_codec_frame *ret_frame)
{
	struct cg_codec_frame frame = {0};
	struct cg_codec_field field;
	struct cg_cursor cursor;

	cg_cursor_init(&cursor, bytes);
	while (cg_codec__read_field(&cursor, &field)) {
		if (field.number == FIELD_TAG) {
			frame.tag = field.value;
		} else if (field.number == FIELD_STATUS_CODE) {
			frame.status_code = (int32_t)field.value;
		} else if (field.number == FIELD_STATUS_MESSAGE) {
			frame.status_message = field.bytes;
		} else if (field.number == FIELD_ERROR) {
			frame.error = field.bytes;
		} else {
			take_op(&field, &frame);
		}
	}
	*ret_frame = frame;
	return !cursor.overrun;
}
