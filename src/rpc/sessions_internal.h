/*
 * Gate.Session's inside: sessions.c is the stream, session_ops.c the operations on it.
 *
 * An entry is one request of a session from its arrival until its answer has left:
 *
 *   FREE --a message came--> SERVING --answered--> ANSWERED --taken by gRPC--> FREE
 *                               '------refused---------^
 *
 * SERVING waits for the gate, ANSWERED for its turn to be sent.  There are as many entries as
 * the window admits: where none is FREE nothing is read, gRPC's flow control tells the peer to
 * wait, and so neither a flood nor a peer that does not read takes more memory than these.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_SESSIONS_INTERNAL_H
#define CG_RPC_SESSIONS_INTERNAL_H

#include "rpc/frames.h"
#include "rpc/rpc_internal.h"

/* By which an unanswered tag is found; most windows put less than one entry into each. */
#define CG_SESSION_BUCKETS 256

struct cg_session_entry {
	struct cg_rpc_session *session;
	uint64_t tag;
	enum cg_method method; /* CG_METHOD_COUNT: none, or several */
	uint64_t arrived_at_ns;
	grpc_slice answer;        /* ANSWERED */
	struct cg_list link;      /* in `free`, in `answered`, or in none: SERVING, or being sent */
	struct cg_list same_hash; /* while its tag is unanswered */
};

/* See sessions.c. */
enum cg_session_state {
	CG_SESSION_OPEN,
	CG_SESSION_FINISHING,
	CG_SESSION_LEAVING,
	CG_SESSION_GONE,
};

struct cg_rpc_session {
	struct cg_rpc_op read;
	struct cg_rpc_op sent;
	struct cg_rpc_op closed;
	enum cg_session_state state;
	bool is_reading;   /* `read` is under way */
	bool is_sending;   /* `sent` is under way: an answer, or the status */
	bool has_begun;    /* the answer's headers have been sent */
	bool is_cancelled; /* by us: its peer does not take its answers */
	struct cg_rpc_server *server;
	grpc_call *call;
	gpr_timespec deadline;
	uint64_t peer; /* the connection, against which all of it counts */
	struct cg_rpc_caller caller;
	struct cg_credentials
	    *credentials;              /* whose snapshot the caller's is of; NULL: he has none */
	int cancelled;                 /* written by core when the call ends */
	grpc_byte_buffer *message;     /* what `read` brings */
	struct cg_rpc_failure failure; /* FINISHING, LEAVING: status CG_OK where it ends well */
	uint64_t sending_at_ms;
	uint32_t serving_count;           /* entries that the gate has */
	struct cg_session_entry *leaving; /* the one being sent, where it is no status */
	struct cg_list link;              /* in the server's sessions */
	struct cg_list due_link;          /* in sessions_due: it has something to send */
	struct cg_list sending_link;      /* in sessions_sending: while is_sending */
	struct cg_list free;
	struct cg_list answered; /* oldest first */
	struct cg_list buckets[CG_SESSION_BUCKETS];
	struct cg_session_entry entries[]; /* as many as the window admits */
};

/*
 * session_ops.c: one message of a session.  It becomes an operation, or is answered at once.
 * False: its bytes cannot be read, so there is nothing that it could be answered under.
 */
bool cg_session__take(struct cg_rpc_session *session, struct cg_view bytes);

/* Takes the entry out of the tags; its answer has left, or never will. */
void cg_session__free_entry(struct cg_session_entry *entry);

/* sessions.c: an entry has its answer, which is the session's from here on. */
void cg_session__answered(struct cg_session_entry *entry, grpc_slice answer);

#endif /* CG_RPC_SESSIONS_INTERNAL_H */
