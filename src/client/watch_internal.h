/*
 * Wallets.Watch: one stream after another, until it ends for good or is closed.
 *
 *            open                        end: UNAVAILABLE, or silent for too long
 *   (none) --------> STREAMING --------------------------------------> PAUSING
 *                     |     ^                                           |  |
 *                     |     '------------ the pause is over ------------'  |
 *                     |  any other end                the client is closed |
 *                     '------------------> ENDED <-------------------------'
 *
 * watch.c is a watch as its caller has it: opened, delivered to, closed.  watch_stream.c is
 * one stream: begun, read, ended, begun again.  Both threads come through both files, and
 * everything here is guarded by the client's lock, except where a message is decoded: from
 * the completion of a read until it is due the arena is the poller's, from then until the
 * next read starts the caller's.  A watch that is closed lives on until gRPC has given both
 * of its batches back.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLIENT_WATCH_INTERNAL_H
#define CG_CLIENT_WATCH_INTERNAL_H

#include "client/client_internal.h"

enum cg_watch_state {
	CG_WATCH_STREAMING, /* a call is under way; waits for a message or its end */
	CG_WATCH_PAUSING,   /* between two streams; waits for `retry_at_ms` */
	CG_WATCH_ENDED,     /* `error` says why; waits for dispatch */
};

struct callgate_watch {
	struct cg_tag read_tag;
	struct cg_tag end_tag;
	struct cg_due due;
	bool is_due;
	struct cg_list link; /* in the client's `watches`, until closed or ended */
	struct callgate_client *client;
	callgate_watch_on_message on_message;
	callgate_watch_on_end on_end;
	void *context;
	struct callgate_watch_request request; /* in `request_arena`; the token is not kept */
	struct cg_arena request_arena;

	enum cg_watch_state state;
	bool is_closed;     /* nobody is called any more */
	bool is_delivering; /* dispatch is inside its callback */

	/* One stream. */
	grpc_call *call;  /* NULL once it has ended */
	bool is_reading;  /* a read is with gRPC */
	bool has_begun;   /* the other batch is with gRPC */
	bool is_silent;   /* cancelled for that */
	bool is_readable; /* no message so far was malformed */
	grpc_byte_buffer *received;
	struct cg_call_end end;
	int64_t silent_at_ms;
	int64_t retry_at_ms;
	uint32_t attempts;
	uint32_t failures; /* streams in a row without a message */

	/* What dispatch delivers. */
	const struct callgate_watch_response *message; /* in `arena`; NULL: none is due */
	char *next_token;                              /* the message's; NULL: it has none */
	char *token;                                   /* of what was delivered; never NULL */
	struct cg_arena arena;
	struct callgate_error error;
	struct cg_arena error_arena;
};

/* Where nothing of it is with gRPC or dispatch, frees it.  The lock may be held. */
void cg_watch__free_if_done(struct callgate_watch *watch);

/* There is something to deliver.  Whether the caller must be woken. */
bool cg_watch__push_due_locked(struct callgate_watch *watch);

/* Replaces `error`; the message is not copied. */
void cg_watch__set_error(
    struct callgate_watch *watch, enum callgate_status status, const char *message);

/* Ends it for good, with what is in `error`.  Whether the caller must be woken. */
bool cg_watch__end_locked(struct callgate_watch *watch);

/* Begins the next stream, the first one too.  False where there is no memory to begin with. */
bool cg_watch_stream__start_locked(struct callgate_watch *watch);

/* Dispatch has delivered a message: the next read may start. */
void cg_watch_stream__read_on_locked(struct callgate_watch *watch);

/*
 * On the poller's thread: begins the stream whose pause is over, ends the one that has been
 * silent for too long.  Until when nothing of that is to be done.
 */
int64_t cg_watch_stream__poll_locked(struct callgate_watch *watch, int64_t now_ms);

#endif /* CG_CLIENT_WATCH_INTERNAL_H */
