/*
 * Gate.Session: one stream, and the operations on it.
 *
 *            open                        finish                its end
 *   (none) --------> OPEN ------------------------> FINISHING ---------> ENDED
 *                     '--cancelled, late, or the stream's own end----------^
 *
 * An operation is the client's own (client_internal.h), CALLING until it is answered.  It waits in
 * `unsent` until gRPC takes its message, one at a time, and then in `sent`; the server names it by
 * its tag, which is its place in `ops`, from 1.
 *
 * session.c is what the caller does, session_stream.c what the poller does.  Everything here is
 * guarded by the client's lock, except where an answer is decoded: its operation is in no list
 * then, and the poller's alone until it is due.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLIENT_SESSION_INTERNAL_H
#define CG_CLIENT_SESSION_INTERNAL_H

#include "client/client_internal.h"

enum cg_session_state {
	CG_SESSION_OPEN,
	CG_SESSION_FINISHING, /* nothing more is said, the server is told so */
	CG_SESSION_ENDED,     /* `error` says why; waits for dispatch */
};

struct callgate_session {
	struct cg_tag read_tag;
	struct cg_tag write_tag;
	struct cg_tag end_tag;
	struct cg_due due;   /* its end, behind those of its operations */
	struct cg_list link; /* in the client's `sessions`; only the caller's thread changes it */
	struct callgate_client *client;
	callgate_session_on_end on_end;
	void *context;

	enum cg_session_state state;
	grpc_call *call;   /* NULL once it has ended */
	bool is_reading;   /* a read is with gRPC */
	bool is_writing;   /* a write is with gRPC */
	bool has_begun;    /* the batch that ends with the stream is with gRPC */
	bool has_closed;   /* the half-close has been handed to gRPC */
	bool is_late;      /* cancelled, since an operation was not answered in time */
	bool is_readable;  /* no message so far was malformed */
	bool is_cancelled; /* by the caller */
	grpc_byte_buffer *received;
	struct cg_call_end end;
	struct callgate_error error;
	struct cg_arena error_arena;

	struct cg_list unsent; /* by cg_op.session_link, oldest first */
	struct cg_list sent;
	struct cg_op **ops;  /* by tag; NULL: the tag is free */
	uint32_t *free_tags; /* a stack of places */
	uint32_t free_tag_count;
	uint32_t window;
};

/* Starts the next write, if one waits and none is under way: a message, or the half-close. */
void cg_session_stream__write_locked(struct callgate_session *session);

/* Begins the stream. */
void cg_session_stream__start_locked(struct callgate_session *session);

/* An operation whose answer has come, or never will, leaves the session. */
void cg_session__take_out_locked(struct cg_op *op);

#endif /* CG_CLIENT_SESSION_INTERNAL_H */
