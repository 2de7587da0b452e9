/*
 * A look at a message's bytes before protobuf-c unpacks them, for what it lets pass
 * silently: a U+0000 inside a string (the rest would vanish), text that is not UTF-8 (the
 * ledger would refuse the whole batch), two members of one oneof, thousands of unknown
 * fields.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_WIRECHECK_H
#define CG_RPC_WIRECHECK_H

#include <protobuf-c/protobuf-c.h>

#include "base/base.h"
#include "rpc/fault.h"

/* Fields in a message, those of its map entries among them: more than any bound needs. */
#define CG_WIRE_FIELDS_MAX         6400
#define CG_WIRE_UNKNOWN_FIELDS_MAX 64

#define CG_WIRE_BOUND_TEXT "UTF-8 without U+0000"

/* How a field's value is written: the low three bits of its key. */
enum cg_wire_type {
	CG_WIRE_VARINT = 0,
	CG_WIRE_64BIT = 1,
	CG_WIRE_BYTES = 2,
	CG_WIRE_32BIT = 5,
};

/* A number of 64 bits at most, in as many bytes as that takes; false: it is none, or ends early. */
bool cg_wire_varint(struct cg_cursor *rest, uint64_t *ret_value);

/* Whether `bytes` may be unpacked as `message`; otherwise says what is wrong. */
bool cg_wirecheck(
    const ProtobufCMessageDescriptor *message, struct cg_view bytes, struct cg_rpc_fault *fault);

#endif /* CG_RPC_WIRECHECK_H */
