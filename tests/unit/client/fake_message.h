/*
 * Messages with every field set, each to a value of its own, made from protobuf-c's
 * descriptors: what the contract holds, not what the codec's lists say it holds.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_TESTS_FAKE_MESSAGE_H
#define CG_TESTS_FAKE_MESSAGE_H

#include <stdbool.h>

#include <protobuf-c/protobuf-c.h>

/*
 * Of every oneof the member `oneof_member` (0: its first; counted around) is set.  A
 * repeated field gets two members.  Freed with fake_message_free().
 */
ProtobufCMessage *fake_message_full(
    const ProtobufCMessageDescriptor *descriptor, unsigned oneof_member);

void fake_message_free(ProtobufCMessage *message);

/* The first field that is unset or has its default, of a oneof the first none of whose
 * members is set; NULL where there is none. */
const char *fake_message_missing(const ProtobufCMessage *message);

/* Fields, each oneof counted once. */
unsigned fake_message_count(const ProtobufCMessageDescriptor *descriptor);

#endif /* CG_TESTS_FAKE_MESSAGE_H */
