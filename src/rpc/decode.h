/*
 * A request's bytes, checked against every bound of the contract, as the gate takes them.
 * Nothing of gRPC here: this is what the fuzzer drives.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_DECODE_H
#define CG_RPC_DECODE_H

#include "gate/request.h"
#include "rpc/arena.h"
#include "rpc/fault.h"

/* What a request's texts and meta need at most: 4096 bytes of meta in 2080 pairs, and the ids. */
#define CG_RPC_TEXT_BYTES 12288

#define CG_DECODER_SEEN_SLOTS 8192 /* a power of two, above twice the keys that fit in meta */

/* Scratch for one message at a time, shared by all requests of a server. */
struct cg_rpc_decoder {
	struct cg_arena arena;
	uint64_t seed; /* of the keys' hash: callers must not be able to make them collide */
	uint16_t seen[CG_DECODER_SEEN_SLOTS];
	/*
	 * Of the request that is decoded next: added to its meta, unless that has the key or has
	 * no room.  Empty: none.  Not to a Settle's: its pairs would replace those that the call
	 * was authorized with.
	 */
	struct cg_view traceparent;
};

void cg_rpc_decoder_init(struct cg_rpc_decoder *decoder, uint64_t seed);
void cg_rpc_decoder_deinit(struct cg_rpc_decoder *decoder);

/* The message that a method takes. */
const ProtobufCMessageDescriptor *cg_rpc_decode_message(enum cg_method method);

/*
 * Fills in `method`, `company` and `in` of `req`, with views into `text`, which must have
 * CG_RPC_TEXT_BYTES and outlive the request.  False: nothing may be submitted, and
 * *ret_fault says why.  Nothing points into `bytes` afterwards.
 */
bool cg_rpc_decode(struct cg_rpc_decoder *decoder, enum cg_method method, struct cg_view bytes,
    struct cg_buffer *text, struct cg_request *req, struct cg_rpc_fault *ret_fault);

struct cg_watch_in; /* events/events.h */

/* A WatchRequest; the token's view lives in the decoder until its next message. */
bool cg_rpc_decode_watch(struct cg_rpc_decoder *decoder, struct cg_view bytes,
    struct cg_watch_in *ret_in, struct cg_rpc_fault *ret_fault);

#endif /* CG_RPC_DECODE_H */
