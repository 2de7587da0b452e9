/*
 * A gate's answer as the contract's message.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_ENCODE_H
#define CG_RPC_ENCODE_H

#include <callgate/v1/callgate.pb-c.h>

#include "gate/request.h"
#include "rpc/arena.h"

/*
 * The answer of a request that ended with CG_OK, LIST_CALLS's without its calls; lives in
 * the arena.  NULL where it does not fit there.
 */
const ProtobufCMessage *cg_rpc_encode(const struct cg_request *req, struct cg_arena *arena);

/* One call of a listing, and the answer of a Settle inside an error. */
const ProtobufCMessage *cg_rpc_encode_call(const struct cg_call *call, struct cg_arena *arena);
Callgate__V1__SettleResponse *cg_rpc_encode_settle(
    const struct cg_settle_out *out, struct cg_arena *arena);

struct cg_watch_message; /* events/events.h */

/*
 * What a watcher is told.  Meta that does not fit in the arena is left out (at 64 KiB of
 * pairs a byte each, it would not); the rest always fits.
 */
const ProtobufCMessage *cg_rpc_encode_watch(
    const struct cg_watch_message *told, struct cg_arena *arena);

#endif /* CG_RPC_ENCODE_H */
