/*
 * grpc.reflection: what is served, told to tools that have no proto file.  v1 and v1alpha are the
 * same on the wire.  One request is answered before the next one is read, so that a peer that
 * does not read holds one answer.
 *
 * Messages are read and written by hand: a request has one field that matters.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <grpc/slice.h>

#include "rpc/descriptors.h"
#include "rpc/streams.h"

#define BYTES        2u
#define SYMBOL_MAX   512u /* of files and symbols; longer ones are nobody's */
#define HOST         1    /* ServerReflectionRequest */
#define BY_FILENAME  3
#define BY_SYMBOL    4
#define BY_EXTENSION 5
#define EXTENSIONS   6
#define SERVICES     7
#define VALID_HOST   1 /* ServerReflectionResponse */
#define ORIGINAL     2
#define ANSWER_FILE  4
#define ANSWER_EXT   5
#define ANSWER_LIST  6
#define ANSWER_ERROR 7
#define FIELD_MAX    11u /* what a field has beside its bytes, at most */

struct question {
	struct cg_view host;
	uint32_t number; /* which of the questions; 0: none that is known */
	struct cg_view text;
};

/* The last question holds, as in any oneof. */
static bool read_question(struct cg_view bytes, struct question *ret_question)
{
	struct cg_wire_field field;

	*ret_question = (struct question){0};
	while (bytes.len > 0) {
		if (!cg_wire_next(&bytes, &field)) {
			return false;
		}
		if (field.type == BYTES && field.number == HOST) {
			ret_question->host = field.bytes;
		} else if (field.type == BYTES && field.number >= BY_FILENAME &&
		    field.number <= SERVICES) {
			ret_question->number = field.number;
			ret_question->text = field.bytes;
		}
	}
	return true;
}

static void put_varint(struct cg_buffer *out, uint64_t value)
{
	for (; value >= 0x80; value >>= 7) {
		cg_buffer_uint(out, (value & 0x7F) | 0x80, 1);
	}
	cg_buffer_uint(out, value, 1);
}

static void put_field(struct cg_buffer *out, uint32_t number, struct cg_view bytes)
{
	put_varint(out, (uint64_t)number << 3 | BYTES);
	put_varint(out, bytes.len);
	cg_buffer_bytes(out, bytes.data, bytes.len);
}

/* The error is part of the answer: the stream goes on. */
static void put_error(struct cg_buffer *out, grpc_status_code code, const char *message)
{
	char memory[128];
	struct cg_buffer error;

	cg_buffer_init(&error, memory, sizeof memory);
	put_varint(&error, 1u << 3);
	put_varint(&error, (uint64_t)code);
	put_field(&error, 2, cg_view_of(message));
	put_field(out, ANSWER_ERROR, cg_buffer_view(&error));
}

static void put_file(struct cg_buffer *out, struct cg_view file)
{
	/* A FileDescriptorResponse is a field around the file: its length is known beforehand. */
	size_t len = file.len + 1;
	for (size_t left = file.len; left > 0; left >>= 7) {
		len++;
	}
	put_varint(out, ANSWER_FILE << 3 | BYTES);
	put_varint(out, len);
	put_field(out, 1, file);
}

static void put_service(void *owner, struct cg_view package, struct cg_view name)
{
	char memory[2 * SYMBOL_MAX];
	char full_memory[SYMBOL_MAX];
	struct cg_buffer full;
	struct cg_buffer service;

	cg_buffer_init(&full, full_memory, sizeof full_memory);
	cg_buffer_bytes(&full, package.data, package.len);
	cg_buffer_bytes(&full, ".", 1);
	cg_buffer_bytes(&full, name.data, name.len);
	cg_buffer_init(&service, memory, sizeof memory);
	put_field(&service, 1, cg_buffer_view(&full));
	put_field(owner, 1, cg_buffer_view(&service));
}

static void put_services(struct cg_buffer *out)
{
	char memory[2048];
	struct cg_buffer list;

	cg_buffer_init(&list, memory, sizeof memory);
	cg_descriptors_services(cg_descriptors_set(), put_service, &list);
	CG_ASSERT(!list.overflow);
	put_field(out, ANSWER_LIST, cg_buffer_view(&list));
}

/* None of our messages takes extensions. */
static void put_extensions(struct cg_buffer *out, struct cg_view type)
{
	char memory[2 * SYMBOL_MAX];
	struct cg_buffer numbers;

	if (!cg_descriptors_is_message(cg_descriptors_set(), type)) {
		put_error(out, GRPC_STATUS_NOT_FOUND, "no such message");
		return;
	}
	cg_buffer_init(&numbers, memory, sizeof memory);
	put_field(&numbers, 1, type);
	put_field(out, ANSWER_EXT, cg_buffer_view(&numbers));
}

static void put_answer(struct cg_buffer *out, const struct question *question)
{
	struct cg_view set = cg_descriptors_set();
	struct cg_view file;

	if (question->number != SERVICES && question->text.len > SYMBOL_MAX) {
		put_error(out, GRPC_STATUS_NOT_FOUND, "no such name: it is too long");
		return;
	}
	switch (question->number) {
	case BY_FILENAME:
		if (cg_descriptors_file(set, question->text, &file)) {
			put_file(out, file);
		} else {
			put_error(out, GRPC_STATUS_NOT_FOUND, "no such file");
		}
		return;
	case BY_SYMBOL:
		if (cg_descriptors_file_of(set, question->text, &file)) {
			put_file(out, file);
		} else {
			put_error(out, GRPC_STATUS_NOT_FOUND, "no such symbol");
		}
		return;
	case BY_EXTENSION:
		put_error(out, GRPC_STATUS_NOT_FOUND, "no such extension");
		return;
	case EXTENSIONS:
		put_extensions(out, question->text);
		return;
	case SERVICES:
		put_services(out);
		return;
	default:
		put_error(out, GRPC_STATUS_UNIMPLEMENTED, "no such question");
		return;
	}
}

static void on_received(struct cg_rpc_stream *stream, struct cg_view bytes)
{
	struct question question;

	if (!read_question(bytes, &question)) {
		cg_stream__end(stream,
		    &(struct cg_rpc_failure){.status = CG_INVALID,
		        .reason = CG_REASON_INVALID_FIELD,
		        .field = "ServerReflectionRequest",
		        .bound = "a well-formed protobuf message"});
		return;
	}
	/* The largest answer is a file; one set has them all.  And what was asked, twice. */
	size_t room = cg_descriptors_set().len + 2 * bytes.len + 2048 + (size_t)8 * FIELD_MAX;
	grpc_slice slice = grpc_slice_malloc(room);
	struct cg_buffer out;
	cg_buffer_init(&out, GRPC_SLICE_START_PTR(slice), room);
	put_field(&out, VALID_HOST, question.host);
	put_field(&out, ORIGINAL, bytes);
	put_answer(&out, &question);
	CG_ASSERT(!out.overflow);
	cg_stream__send(stream, grpc_slice_sub_no_ref(slice, 0, out.len));
}

static void on_sent(struct cg_rpc_stream *stream)
{
	cg_stream__receive(stream);
}

static void on_received_all(struct cg_rpc_stream *stream)
{
	cg_stream__end(stream, NULL);
}

static void on_drain(struct cg_rpc_stream *stream)
{
	cg_stream__end(stream,
	    &(struct cg_rpc_failure){.status = CG_CLOSING, .reason = CG_REASON_SHUTTING_DOWN});
}

#define KIND(of_line)                                                                              \
	{                                                                                          \
		.line = (of_line), .on_sent = on_sent, .on_received = on_received,                 \
		.on_received_all = on_received_all, .on_drain = on_drain                           \
	}

static const struct cg_rpc_stream_kind v1 = KIND(CG_LINE_REFLECTION);
static const struct cg_rpc_stream_kind v1alpha = KIND(CG_LINE_REFLECTION_ALPHA);

void cg_reflection__on_request(struct cg_rpc_slot *slot)
{
	if (slot->server->draining) {
		cg_slot__refuse(slot, CG_CLOSING, CG_REASON_SHUTTING_DOWN);
		return;
	}
	if (cg_guard__refuse(slot, CG_ROLES_ALL)) {
		return;
	}
	struct cg_rpc_stream *stream = cg_stream__begin(
	    slot, slot->line == &slot->line->door->lines[CG_LINE_REFLECTION] ? &v1 : &v1alpha);
	if (stream != NULL) {
		cg_stream__receive(stream);
	}
}
