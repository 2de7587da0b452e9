/*
 * Between the public structs and protobuf-c's.  One entry per operation, type-erased: the
 * typed functions of client.h (operations.c) are the only ones that call them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLIENT_CODEC_H
#define CG_CLIENT_CODEC_H

#include <stdbool.h>
#include <stdint.h>

#include <callgate/client.h>
#include <protobuf-c/protobuf-c.h>

#include "base/base.h"
#include "client/arena.h"
#include "client/fields.h"

enum cg_codec {
#define X(name, NAME, Type, service) CG_CODEC_##NAME,
	METHODS(X)
#undef X
	CG_CODEC_COUNT
};

/*
 * The request as a message ready to be packed.  It points into `request` and the arena.
 * NULL where the arena is exhausted.
 */
const ProtobufCMessage *cg_codec_encode(
    enum cg_codec codec, const void *request, struct cg_arena *arena);

/*
 * The answer as the operation's public struct, in the arena.  An enum's value that this
 * version does not know is read as UNSPECIFIED.  NULL where the bytes are no such message
 * or need more memory than an arena gives.
 */
const void *cg_codec_decode(enum cg_codec codec, struct cg_view bytes, struct cg_arena *arena);

/*
 * Reads what grpc-status-details-bin carries: a google.rpc.Status whose first detail is an
 * ErrorDetail.  False, with *ret_detail unchanged, where it is anything else.
 */
bool cg_codec_decode_detail(
    struct cg_view bytes, struct cg_arena *arena, struct callgate_error_detail *ret_detail);

/* The same of an ErrorDetail that stands alone. */
bool cg_codec_decode_plain_detail(
    struct cg_view bytes, struct cg_arena *arena, struct callgate_error_detail *ret_detail);

/* A SessionRequest around an operation's own message: how long, and its bytes. */
size_t cg_codec_frame_bytes(const ProtobufCMessage *message, uint64_t tag);
void cg_codec_write_frame(
    enum cg_codec codec, const ProtobufCMessage *message, uint64_t tag, uint8_t *to);

/* A SessionResponse, taken apart; the views point into its bytes. */
struct cg_codec_frame {
	uint64_t tag;
	int32_t status_code;
	struct cg_view status_message;
	struct cg_view error; /* an ErrorDetail; empty: none */
	bool has_op;          /* `op` is the answer of a `codec` */
	enum cg_codec codec;
	struct cg_view op;
};

/* False where the bytes are no such message. */
bool cg_codec_read_frame(struct cg_view bytes, struct cg_codec_frame *ret_frame);

#endif /* CG_CLIENT_CODEC_H */
