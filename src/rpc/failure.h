/*
 * What is answered where there is no answer: a gRPC status, a sentence for people, and the
 * contract's ErrorDetail for programs, inside a google.rpc.Status.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_FAILURE_H
#define CG_RPC_FAILURE_H

#include <grpc/status.h>

#include "gate/request.h"
#include "rpc/arena.h"

#define CG_FAILURE_MESSAGE_BYTES 256

struct cg_rpc_failure {
	enum cg_status status; /* not CG_OK */
	enum cg_reason reason;
	const char *field; /* INVALID_FIELD; else NULL */
	const char *bound;
	const char *said; /* the sentence for people, where there is a better one; else NULL */
	enum cg_call_state state;            /* WRONG_STATE */
	const struct cg_settle_out *settled; /* KEY_REUSED by Settle; else NULL */
	int64_t retry_after_ms;              /* 0: no advice */
	bool unauthenticated;                /* no valid credential */
	bool forbidden;                      /* without the role, or for another company */
	bool deadline_passed;                /* the caller's own */
	bool unimplemented;                  /* the method, or a compressed message */
};

/* The one place where a status of ours becomes one of gRPC's. */
grpc_status_code cg_rpc_failure_code(const struct cg_rpc_failure *failure);

/* The sentence for people, terminated. */
void cg_rpc_failure_message(
    const struct cg_rpc_failure *failure, char text[CG_FAILURE_MESSAGE_BYTES]);

/*
 * The bytes of grpc-status-details-bin, in the arena; empty where they do not fit, which
 * costs the caller the details and not the status.
 */
struct cg_view cg_rpc_failure_details(const struct cg_rpc_failure *failure, struct cg_arena *arena);

/* The ErrorDetail alone, packed, as a Session's answer carries it; likewise. */
struct cg_view cg_rpc_failure_detail(const struct cg_rpc_failure *failure, struct cg_arena *arena);

#endif /* CG_RPC_FAILURE_H */
