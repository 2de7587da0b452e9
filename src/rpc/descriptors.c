/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/descriptors.h"

extern const char cg_rpc_descriptors[];
extern const size_t cg_rpc_descriptors_len;

/* Field numbers of google/protobuf/descriptor.proto. */
#define SET_FILE        1
#define FILE_NAME       1
#define FILE_PACKAGE    2
#define FILE_MESSAGE    4
#define FILE_ENUM       5
#define FILE_SERVICE    6
#define ANY_NAME        1 /* of a message, a field, an enum, its value, a service, a method */
#define MESSAGE_FIELD   2
#define MESSAGE_NESTED  3
#define MESSAGE_ENUM    4
#define MESSAGE_ONEOF   8
#define ENUM_VALUE      2
#define SERVICE_METHOD  2
#define BYTES           2u
#define NESTED_MAX      8 /* messages within messages; ours have two */
#define VARINT_MAX_BITS 64

static bool take_varint(struct cg_view *rest, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < VARINT_MAX_BITS && rest->len > 0; shift += 7) {
		unsigned char byte = (unsigned char)*rest->data;
		rest->data++;
		rest->len--;
		value |= (uint64_t)(byte & 0x7F) << shift;
		if (byte < 0x80) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

static bool take_bytes(struct cg_view *rest, uint64_t len, struct cg_view *ret_bytes)
{
	if (len > rest->len) {
		return false;
	}
	*ret_bytes = (struct cg_view){rest->data, (size_t)len};
	rest->data += len;
	rest->len -= (size_t)len;
	return true;
}

bool cg_wire_next(struct cg_view *rest, struct cg_wire_field *ret_field)
{
	struct cg_wire_field field = {0};
	uint64_t tag = 0;
	uint64_t len = 0;

	if (!take_varint(rest, &tag) || tag >> 3 == 0 || tag >> 3 > INT32_MAX) {
		return false;
	}
	field.number = (uint32_t)(tag >> 3);
	field.type = (unsigned)(tag & 7);
	switch (field.type) {
	case 0:
		if (!take_varint(rest, &field.value)) {
			return false;
		}
		break;
	case 1:
	case 5:
		if (!take_bytes(rest, field.type == 1 ? 8 : 4, &field.bytes)) {
			return false;
		}
		break;
	case BYTES:
		if (!take_varint(rest, &len) || !take_bytes(rest, len, &field.bytes)) {
			return false;
		}
		break;
	default:
		return false;
	}
	*ret_field = field;
	return true;
}

struct cg_view cg_descriptors_set(void)
{
	return (struct cg_view){cg_rpc_descriptors, cg_rpc_descriptors_len};
}

/* The first field of this number, which is bytes; empty where there is none. */
static struct cg_view bytes_of(struct cg_view message, uint32_t number)
{
	struct cg_wire_field field;

	while (cg_wire_next(&message, &field)) {
		if (field.number == number && field.type == BYTES) {
			return field.bytes;
		}
	}
	return (struct cg_view){NULL, 0};
}

/* Takes the next field of this number off `rest`. */
static bool next_of(struct cg_view *rest, uint32_t number, struct cg_view *ret_bytes)
{
	struct cg_wire_field field;

	while (cg_wire_next(rest, &field)) {
		if (field.number == number && field.type == BYTES) {
			*ret_bytes = field.bytes;
			return true;
		}
	}
	return false;
}

bool cg_descriptors_file(struct cg_view set, struct cg_view name, struct cg_view *ret_file)
{
	struct cg_view file;

	while (next_of(&set, SET_FILE, &file)) {
		if (cg_view_equal(bytes_of(file, FILE_NAME), name)) {
			*ret_file = file;
			return true;
		}
	}
	return false;
}

/* Takes "name" off "name" or "name.rest"; false where the path begins otherwise. */
static bool take_name(struct cg_view *path, struct cg_view name)
{
	if (name.len == 0 || path->len < name.len || memcmp(path->data, name.data, name.len) != 0) {
		return false;
	}
	if (path->len == name.len) {
		*path = (struct cg_view){NULL, 0};
		return true;
	}
	if (path->data[name.len] != '.' || path->len == name.len + 1) {
		return false;
	}
	*path = (struct cg_view){path->data + name.len + 1, path->len - name.len - 1};
	return true;
}

/* Whether one of these parts is called exactly so. */
static bool has_part(struct cg_view of, uint32_t number, struct cg_view name)
{
	struct cg_view part;

	while (next_of(&of, number, &part)) {
		if (cg_view_equal(bytes_of(part, ANY_NAME), name)) {
			return true;
		}
	}
	return false;
}

/* An enum of this name among these; its values stand beside it, not in it. */
static bool has_enum(struct cg_view of, uint32_t number, struct cg_view name)
{
	struct cg_view part;

	while (next_of(&of, number, &part)) {
		if (cg_view_equal(bytes_of(part, ANY_NAME), name) ||
		    has_part(part, ENUM_VALUE, name)) {
			return true;
		}
	}
	return false;
}

struct sought {
	bool messages_alone;
};

/*
 * Whether the path names one of these messages, or something in one.  Messages nest, so it
 * goes down with the path, one name at a time.
 */
static bool has_message(
    struct cg_view of, uint32_t number, struct cg_view path, const struct sought *sought)
{
	struct cg_view parts[NESTED_MAX]; /* the messages on the way down */
	struct cg_view lists[NESTED_MAX]; /* what is left of those beside them */
	struct cg_view paths[NESTED_MAX];
	size_t depth = 0;

	lists[0] = of;
	paths[0] = path;
	for (;;) {
		uint32_t list_number = depth == 0 ? number : MESSAGE_NESTED;
		if (!next_of(&lists[depth], list_number, &parts[depth])) {
			if (depth == 0) {
				return false;
			}
			depth--;
			continue;
		}
		struct cg_view rest = paths[depth];
		if (!take_name(&rest, bytes_of(parts[depth], ANY_NAME))) {
			continue;
		}
		if (rest.len == 0) {
			return true;
		}
		if (!sought->messages_alone &&
		    (has_part(parts[depth], MESSAGE_FIELD, rest) ||
		        has_part(parts[depth], MESSAGE_ONEOF, rest) ||
		        has_enum(parts[depth], MESSAGE_ENUM, rest))) {
			return true;
		}
		if (depth + 1 < NESTED_MAX) {
			lists[depth + 1] = parts[depth];
			paths[depth + 1] = rest;
			depth++;
		}
	}
}

static bool has_service(struct cg_view file, struct cg_view path)
{
	struct cg_view service;

	while (next_of(&file, FILE_SERVICE, &service)) {
		struct cg_view rest = path;
		if (take_name(&rest, bytes_of(service, ANY_NAME)) &&
		    (rest.len == 0 || has_part(service, SERVICE_METHOD, rest))) {
			return true;
		}
	}
	return false;
}

static bool has_symbol(struct cg_view file, struct cg_view symbol, const struct sought *sought)
{
	struct cg_view package = bytes_of(file, FILE_PACKAGE);
	struct cg_view path = symbol;

	if (package.len > 0 && (!take_name(&path, package) || path.len == 0)) {
		return false;
	}
	return has_message(file, FILE_MESSAGE, path, sought) ||
	    (!sought->messages_alone &&
	        (has_service(file, path) || has_enum(file, FILE_ENUM, path)));
}

static bool find(struct cg_view set, struct cg_view symbol, const struct sought *sought,
    struct cg_view *ret_file)
{
	struct cg_view file;

	while (symbol.len > 0 && next_of(&set, SET_FILE, &file)) {
		if (has_symbol(file, symbol, sought)) {
			*ret_file = file;
			return true;
		}
	}
	return false;
}

bool cg_descriptors_file_of(struct cg_view set, struct cg_view symbol, struct cg_view *ret_file)
{
	return find(set, symbol, &(struct sought){.messages_alone = false}, ret_file);
}

bool cg_descriptors_is_message(struct cg_view set, struct cg_view name)
{
	struct cg_view file;

	return find(set, name, &(struct sought){.messages_alone = true}, &file);
}

void cg_descriptors_services(struct cg_view set,
    void (*each)(void *owner, struct cg_view package, struct cg_view name), void *owner)
{
	struct cg_view file;

	while (next_of(&set, SET_FILE, &file)) {
		struct cg_view package = bytes_of(file, FILE_PACKAGE);
		struct cg_view rest = file;
		struct cg_view service;
		while (next_of(&rest, FILE_SERVICE, &service)) {
			each(owner, package, bytes_of(service, ANY_NAME));
		}
	}
}
