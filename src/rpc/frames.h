/*
 * The messages of a Session around the operations that they carry: SessionRequest taken apart,
 * SessionResponse put together.  What is inside is read and written by the same code as that of
 * the methods of their own (decode.h, encode.h).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_FRAMES_H
#define CG_RPC_FRAMES_H

#include "gate/request.h"
#include "rpc/arena.h"
#include "rpc/failure.h"
#include "rpc/fault.h"

/* A SessionRequest, as far as it is not the operation's. */
struct cg_frame {
	uint64_t tag;
	enum cg_method method; /* CG_METHOD_COUNT: it holds none, or more than one */
	struct cg_view op;     /* the request's bytes, within those of the frame */
};

/*
 * False: the bytes are no protobuf message, so there is no tag to answer under.  Else what is
 * wrong, if anything, is *ret_fault's, and `method` is CG_METHOD_COUNT.
 */
bool cg_frame_read(
    struct cg_view bytes, struct cg_frame *ret_frame, struct cg_rpc_fault *ret_fault);

/* How long an answer's frame is, and that many bytes at `to`. */
size_t cg_frame_answer_bytes(uint64_t tag, enum cg_method method, const ProtobufCMessage *answer);
void cg_frame_write_answer(
    uint64_t tag, enum cg_method method, const ProtobufCMessage *answer, uint8_t *to);

/*
 * The same for a failure, whose packed detail is `detail` (cg_rpc_failure_detail()); the text
 * is what cg_rpc_failure_message() says.
 */
size_t cg_frame_failure_bytes(
    uint64_t tag, grpc_status_code code, struct cg_view text, struct cg_view detail);
void cg_frame_write_failure(
    uint64_t tag, grpc_status_code code, struct cg_view text, struct cg_view detail, uint8_t *to);

#endif /* CG_RPC_FRAMES_H */
