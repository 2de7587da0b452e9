/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/wirecheck.h"

#include <stdio.h>

/* Requests nest once (map entries); the contract's streams will nest twice. */
#define DEPTH_MAX 4

#define ONEOFS_MAX 8

struct walk {
	const ProtobufCMessageDescriptor *outermost;
	struct cg_rpc_fault *fault;
	uint32_t fields_left;
	uint32_t unknown_left;
};

/* One message on the way down. */
struct level {
	const ProtobufCMessageDescriptor *message;
	const char *inside; /* the field that holds it; NULL for the outermost */
	struct cg_view key; /* of a map entry, as far as it is known */
	unsigned depth;
	struct {
		unsigned quantifier; /* names a oneof within its message */
		uint32_t member;
	} oneofs[ONEOFS_MAX];
	unsigned oneof_count;
};

static bool is_malformed(struct walk *walk)
{
	return cg_rpc_fault_set(
	    walk->fault, walk->outermost->short_name, "a well-formed protobuf message");
}

bool cg_wire_varint(struct cg_cursor *rest, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t byte = (uint8_t)cg_cursor_uint(rest, 1);
		if (rest->overrun || (shift == 63 && byte > 1)) {
			return false;
		}
		value |= (uint64_t)(byte & 0x7F) << shift;
		if (byte < 0x80) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

static const ProtobufCFieldDescriptor *find_field(
    const ProtobufCMessageDescriptor *message, uint64_t id)
{
	for (unsigned i = 0; i < message->n_fields; i++) {
		if (message->fields[i].id == id) {
			return &message->fields[i];
		}
	}
	return NULL;
}

static enum cg_wire_type wire_type_of(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return CG_WIRE_32BIT;
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return CG_WIRE_64BIT;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE:
		return CG_WIRE_BYTES;
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_BOOL:
	case PROTOBUF_C_TYPE_ENUM:
		return CG_WIRE_VARINT;
	}
	CG_UNREACHABLE();
}

/* Takes a field's value; `ret_bytes` is empty unless it is one of bytes. */
static bool take_value(struct cg_cursor *rest, uint64_t wire_type, struct cg_view *ret_bytes)
{
	uint64_t value = 0;

	*ret_bytes = (struct cg_view){NULL, 0};
	switch (wire_type) {
	case CG_WIRE_VARINT:
		return cg_wire_varint(rest, &value);
	case CG_WIRE_64BIT:
		(void)cg_cursor_bytes(rest, 8);
		return !rest->overrun;
	case CG_WIRE_32BIT:
		(void)cg_cursor_bytes(rest, 4);
		return !rest->overrun;
	case CG_WIRE_BYTES:
		if (!cg_wire_varint(rest, &value) || value > rest->left) {
			return false;
		}
		*ret_bytes = cg_cursor_bytes(rest, (size_t)value);
		return true;
	default: /* groups: no client of proto3 sends them */
		return false;
	}
}

/* Of a message's field its name, of a map entry's the map's name and the key. */
static bool is_no_text(struct walk *walk, const struct level *level, const char *field)
{
	struct cg_rpc_fault *fault = walk->fault;

	fault->bound = CG_WIRE_BOUND_TEXT;
	if (level->inside == NULL) {
		return cg_rpc_fault_set(fault, field, CG_WIRE_BOUND_TEXT);
	}
	bool printable = level->key.len > 0 && level->key.len <= 64;
	for (size_t i = 0; printable && i < level->key.len; i++) {
		printable = level->key.data[i] > 0x20 && level->key.data[i] < 0x7F;
	}
	if (printable) {
		(void)snprintf(fault->field, sizeof fault->field, "%.16s[%.*s]", level->inside,
		    (int)level->key.len, level->key.data);
	} else {
		(void)snprintf(fault->field, sizeof fault->field, "%.16s", level->inside);
	}
	return false;
}

static bool is_only_member(
    struct walk *walk, struct level *level, const ProtobufCFieldDescriptor *field)
{
	for (unsigned i = 0; i < level->oneof_count; i++) {
		if (level->oneofs[i].quantifier == field->quantifier_offset) {
			return level->oneofs[i].member == field->id ||
			    cg_rpc_fault_set(
			        walk->fault, field->name, "the only one set of its oneof");
		}
	}
	CG_ASSERT(level->oneof_count < ONEOFS_MAX);
	level->oneofs[level->oneof_count].quantifier = field->quantifier_offset;
	level->oneofs[level->oneof_count++].member = field->id;
	return true;
}

static bool check_message(struct walk *walk, struct level *level, struct cg_view bytes);

static bool check_known(struct walk *walk, struct level *level,
    const ProtobufCFieldDescriptor *field, struct cg_view bytes)
{
	if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
	    !is_only_member(walk, level, field)) {
		return false;
	}
	if (field->type == PROTOBUF_C_TYPE_STRING) {
		if (!cg_view_is_text(bytes)) {
			return is_no_text(walk, level, field->name);
		}
		if (level->inside != NULL && field->id == 1) {
			level->key = bytes;
		}
		return true;
	}
	if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
		struct level inner = {
		    .message = field->descriptor, .inside = field->name, .depth = level->depth + 1};
		return inner.depth < DEPTH_MAX ? check_message(walk, &inner, bytes)
		                               : is_malformed(walk);
	}
	return true;
}

/* A list of numbers may come packed into one field of bytes. */
static bool is_packed(const ProtobufCFieldDescriptor *field, uint64_t wire_type)
{
	return field->label == PROTOBUF_C_LABEL_REPEATED && wire_type == CG_WIRE_BYTES &&
	    wire_type_of(field->type) != CG_WIRE_BYTES;
}

static bool check_message(struct walk *walk, struct level *level, struct cg_view bytes)
{
	struct cg_cursor rest;

	cg_cursor_init(&rest, bytes);
	while (rest.left > 0) {
		uint64_t tag = 0;
		struct cg_view value;
		if (!cg_wire_varint(&rest, &tag) || tag >> 3 == 0 || tag > UINT32_MAX ||
		    !take_value(&rest, tag & 7, &value)) {
			return is_malformed(walk);
		}
		const ProtobufCFieldDescriptor *field = find_field(level->message, tag >> 3);
		if (walk->fields_left-- == 0 || (field == NULL && walk->unknown_left-- == 0)) {
			return cg_rpc_fault_set(walk->fault, walk->outermost->short_name,
			    "at most 6400 fields, 64 of them unknown");
		}
		if (field == NULL) {
			continue;
		}
		if (is_packed(field, tag & 7)) {
			continue;
		}
		if (wire_type_of(field->type) != (tag & 7)) {
			return is_malformed(walk);
		}
		if (!check_known(walk, level, field, value)) {
			return false;
		}
	}
	return true;
}

bool cg_wirecheck(
    const ProtobufCMessageDescriptor *message, struct cg_view bytes, struct cg_rpc_fault *fault)
{
	struct walk walk = {
	    .outermost = message,
	    .fault = fault,
	    .fields_left = CG_WIRE_FIELDS_MAX,
	    .unknown_left = CG_WIRE_UNKNOWN_FIELDS_MAX,
	};
	struct level level = {.message = message};

	return check_message(&walk, &level, bytes);
}
