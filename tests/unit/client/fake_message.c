/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned serial;

static bool is_oneof(const ProtobufCFieldDescriptor *field)
{
	return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
}

/* How many members of this field's oneof stand before it. */
static unsigned place_in_oneof(
    const ProtobufCMessageDescriptor *descriptor, const ProtobufCFieldDescriptor *field)
{
	unsigned place = 0;

	for (const ProtobufCFieldDescriptor *f = descriptor->fields; f != field; f++) {
		place += f->quantifier_offset == field->quantifier_offset && is_oneof(f);
	}
	return place;
}

static unsigned members_of_oneof(
    const ProtobufCMessageDescriptor *descriptor, const ProtobufCFieldDescriptor *field)
{
	unsigned members = 0;

	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &descriptor->fields[i];

		members += f->quantifier_offset == field->quantifier_offset && is_oneof(f);
	}
	return members;
}

static char *new_text(const char *name)
{
	char *text = malloc(128);

	(void)snprintf(text, 128, "%s-%u", name, ++serial);
	return text;
}

/* An enum gets its last value: the one that a list of known values forgets first. */
static void set_value(const ProtobufCFieldDescriptor *field, void *at)
{
	const ProtobufCEnumDescriptor *values = field->descriptor;
	void *inner;
	char *text;
	int32_t small = (int32_t)(1000 + ++serial);
	int64_t number = 5000000000 + ++serial;
	protobuf_c_boolean yes = 1;

	switch ((int)field->type) {
	case PROTOBUF_C_TYPE_INT32:
		memcpy(at, &small, sizeof(small));
		return;
	case PROTOBUF_C_TYPE_INT64:
		memcpy(at, &number, sizeof(number));
		return;
	case PROTOBUF_C_TYPE_BOOL:
		memcpy(at, &yes, sizeof(yes));
		return;
	case PROTOBUF_C_TYPE_ENUM:
		small = values->values[values->n_values - 1].value;
		memcpy(at, &small, sizeof(small));
		return;
	case PROTOBUF_C_TYPE_STRING:
		text = new_text(field->name);
		memcpy(at, &text, sizeof(text));
		return;
	case PROTOBUF_C_TYPE_MESSAGE:
		inner = fake_message_full(field->descriptor, 0);
		memcpy(at, &inner, sizeof(inner));
		return;
	default:
		abort();
	}
}

static void set_repeated(const ProtobufCFieldDescriptor *field, char *message)
{
	size_t count = 2;
	void **members = calloc(count, sizeof(*members));

	for (size_t i = 0; i < count; i++) {
		set_value(field, &members[i]);
	}
	memcpy(message + field->offset, &members, sizeof(members));
	memcpy(message + field->quantifier_offset, &count, sizeof(count));
}

ProtobufCMessage *fake_message_full(
    const ProtobufCMessageDescriptor *descriptor, unsigned oneof_member)
{
	char *message = malloc(descriptor->sizeof_message);

	protobuf_c_message_init(descriptor, message);
	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &descriptor->fields[i];

		if (field->label == PROTOBUF_C_LABEL_REPEATED) {
			set_repeated(field, message);
			continue;
		}
		if (is_oneof(field)) {
			if (place_in_oneof(descriptor, field) !=
			    oneof_member % members_of_oneof(descriptor, field)) {
				continue;
			}
			memcpy(message + field->quantifier_offset, &field->id, sizeof(field->id));
		}
		set_value(field, message + field->offset);
	}
	return (ProtobufCMessage *)(void *)message;
}

void fake_message_free(ProtobufCMessage *message)
{
	protobuf_c_message_free_unpacked(message, NULL);
}

static bool is_zero(const char *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (at[i] != 0) {
			return false;
		}
	}
	return true;
}

static bool is_set(const ProtobufCFieldDescriptor *field, const char *message)
{
	const char *text;

	if (field->label == PROTOBUF_C_LABEL_REPEATED || is_oneof(field)) {
		return !is_zero(message + field->quantifier_offset, sizeof(uint32_t));
	}
	switch ((int)field->type) {
	case PROTOBUF_C_TYPE_INT64:
		return !is_zero(message + field->offset, 8);
	case PROTOBUF_C_TYPE_STRING:
		memcpy(&text, message + field->offset, sizeof(text));
		return text != NULL && *text != '\0';
	case PROTOBUF_C_TYPE_MESSAGE:
		return !is_zero(message + field->offset, sizeof(void *));
	default:
		return !is_zero(message + field->offset, 4);
	}
}

const char *fake_message_missing(const ProtobufCMessage *message)
{
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];

		if (!is_set(field, (const char *)message)) {
			return field->name;
		}
	}
	return NULL;
}

unsigned fake_message_count(const ProtobufCMessageDescriptor *descriptor)
{
	unsigned count = 0;

	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &descriptor->fields[i];

		count += !is_oneof(field) || place_in_oneof(descriptor, field) == 0;
	}
	return count;
}
