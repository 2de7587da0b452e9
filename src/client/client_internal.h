/*
 * The client's insides, for this room and for the benches.
 *
 * Two threads meet here.  The caller's submits (it starts the gRPC batch itself, so that a
 * request reaches the socket without a hand-over), dispatches and closes.  The poller
 * waits for gRPC's completions, decodes, and tries again what may be tried again.  What
 * both touch is guarded by `lock`: `due`, `waiting`, `closing`, each operation's `call`,
 * and the watches (watch_internal.h).  An operation belongs to the poller from submit until
 * it is in `due`.
 *
 *              submit               completion
 *   (free) -----------> CALLING ------------------> DUE --dispatch--> (free)
 *                        ^    |  UNAVAILABLE, may    ^
 *                        |    |  be tried again      | closed, or no time left
 *                        |    '-------> WAITING -----'
 *                        '--backoff over---'
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLIENT_CLIENT_INTERNAL_H
#define CG_CLIENT_CLIENT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include <callgate/client.h>
#include <grpc/grpc.h>

#include "base/base.h"
#include "client/arena.h"
#include "client/codec.h"

/*
 * What is handed to gRPC passes from thread to thread through its queue, which
 * ThreadSanitizer does not see, gRPC being built without it.  This says what the queue
 * guarantees.
 */
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define CG_HAND_OVER(what) __tsan_release(what)
#define CG_TAKE_OVER(what) __tsan_acquire(what)
#else
#define CG_HAND_OVER(what) ((void)(what))
#define CG_TAKE_OVER(what) ((void)(what))
#endif

struct cg_op;

/* What gRPC's queue gives back when a batch has completed; in its owner. */
struct cg_tag {
	void (*completed)(struct cg_tag *tag);
};

/* What waits for dispatch: an operation that has ended, or a watch with something to say. */
struct cg_due {
	struct cg_list link; /* in `due`; an operation's is in `waiting` before */
	void (*deliver)(struct cg_due *due);
};

/* How gRPC says that a call ended: where its batch puts it. */
struct cg_call_end {
	grpc_metadata_array initial_metadata;
	grpc_metadata_array trailing_metadata;
	grpc_status_code code;
	grpc_slice code_details;
};

/* What the machinery needs to know of a method; of the contract's, and of a bench's. */
struct cg_method {
	const char *path;

	/*
	 * What `deliver` will be given, in the arena or in the op; NULL where the bytes
	 * cannot be read.  On the poller's thread.
	 */
	const void *(*decode)(struct cg_op *op, struct cg_view bytes);

	/* Runs the operation's `done` with op->response or, where that is NULL, op->error. */
	void (*deliver)(struct cg_op *op);

	enum cg_codec codec; /* of the contract's methods */
};

enum cg_op_state {
	CG_OP_CALLING, /* a batch is with gRPC; waits for its completion */
	CG_OP_WAITING, /* between two attempts; waits for `retry_at_ms` */
	CG_OP_DUE,     /* ended; waits for dispatch */
};

struct cg_op {
	struct cg_tag tag;
	struct cg_due due;
	struct cg_list live_link; /* in `live`; the caller's thread alone */
	struct callgate_client *client;
	const struct cg_method *method;
	void *registered; /* gRPC's handle of the method */
	void (*done)(void);
	void *context;
	enum cg_op_state state;
	bool kept;      /* a *_sync() call's: its result lives on in it, nobody is called */
	bool delivered; /* dispatch is done with it */

	grpc_slice request; /* packed; the same bytes for every attempt */
	gpr_timespec deadline;
	int64_t deadline_at_ms;
	int64_t retry_at_ms;
	uint32_t attempts;

	/* One attempt; `call` is NULL between attempts. */
	grpc_call *call;
	struct cg_call_end end;
	grpc_byte_buffer *answer;

	/* How it ended; in the arena. */
	const void *response;
	struct callgate_error error;

	/* Of a session's: see session_internal.h. */
	struct callgate_session *session;
	struct cg_list session_link;
	uint32_t session_place;

	struct cg_arena arena;
};

struct callgate_client {
	grpc_channel *channel;
	grpc_completion_queue *queue;
	void *registered[CG_CODEC_COUNT + 1]; /* the last is Session's */
	grpc_metadata authorization;
	bool has_token;
	struct callgate_options options; /* its texts are not kept */
	struct cg_slab ops;
	struct cg_list live;
	size_t in_flight_count;
	struct cg_op *kept; /* the last *_sync() call's */
	struct callgate_error refusal;
	bool in_callback;
	struct cg_random random; /* the poller's */
	int descriptor;
	pthread_t poller;

	pthread_mutex_t lock;
	struct cg_list due;
	struct cg_list waiting; /* by retry_at_ms */
	struct cg_list watches; /* open and not ended; only the caller's thread changes it */
	struct cg_list
	    sessions; /* until dispatch has told their end; only the caller's thread changes it */
	bool closing;

	atomic_uint watch_count;   /* those whose memory is not free yet, closed or not */
	atomic_uint session_count; /* in `sessions` */
};

int64_t cg_client__now_ms(void);

/*
 * Takes an operation on; cg_call__start() sends it.  When it has ended, dispatch calls
 * method->deliver(), which finds there what the submitter put into `done` and `context`.
 * Where it is accepted, the packed request belongs to it, else it remains the caller's.
 */
enum callgate_submit cg_client__submit(struct callgate_client *client,
    const struct cg_method *method, void *registered, grpc_slice request, struct cg_op **ret_op);

/* Frees a client whose poller has ended and that has no operation. */
void cg_client__free(struct callgate_client *client);

/* Makes the contract's methods known to the channel. */
void cg_operations__register(struct callgate_client *client);

/* Gives a delivered operation back to the slab. */
void cg_client__release(struct cg_op *op);

/* Puts it into `due` and says whether the caller must be woken for it. */
bool cg_client__push_due_locked(struct callgate_client *client, struct cg_due *due);

/* Makes the descriptor readable. */
void cg_client__wake(struct callgate_client *client);

/*
 * One attempt.  Only its owner may start it: submit, before anybody else knows of it, or
 * the poller, under the lock, since closing cancels whatever has a call.
 */
void cg_call__start(struct cg_op *op);

/* The attempt's batch has completed: from here the operation is DUE or WAITING. */
void cg_call__completed(struct cg_tag *tag);

/* The operations that begin a call with one message and await its end, told in `end`. */
#define CG_CALL_BEGIN_OPS 5
void cg_call__begin_ops(struct callgate_client *client, struct cg_call_end *end,
    grpc_byte_buffer *message, grpc_op ops[CG_CALL_BEGIN_OPS]);
void cg_call__free_end(struct cg_call_end *end);

/* Reads an end other than OK; the texts go into the arena. */
void cg_call__read_error(
    const struct cg_call_end *end, struct cg_arena *arena, struct callgate_error *error);

/* The message's bytes in one piece, to be given back; false where they are compressed. */
bool cg_call__read_bytes(grpc_byte_buffer *message, grpc_slice *ret_bytes);

/* A pause before an attempt after `failures` (>= 1) of them, with jitter.  The poller's. */
int64_t cg_call__backoff_ms(
    struct callgate_client *client, uint32_t failures, const struct callgate_error *error);

/* The packed request; false where it is beyond any bound. */
bool cg_operations__pack(enum cg_codec codec, const void *request, grpc_slice *ret_slice);

/*
 * Under the lock, on the poller's thread: starts the attempts whose pause is over and ends
 * those that have been silent for too long.  Until when nothing of that is to be done.
 */
int64_t cg_watch__poll_locked(struct callgate_client *client, int64_t now_ms);

/* Closing, under the lock: first what has a call is cancelled, later what has none ends. */
void cg_watch__cancel_all_locked(struct callgate_client *client);
void cg_watch__end_all_locked(struct callgate_client *client);

/* The same of a request on a session, under its tag. */
bool cg_operations__pack_framed(
    enum cg_codec codec, const void *request, uint64_t tag, grpc_slice *ret_slice);

/* An answer that came in a frame, as cg_call__read_error() and the method's decode() do it. */
void cg_call__read_frame(struct cg_op *op, const struct cg_codec_frame *frame);

/* Submits an operation on a session, whose method is one of Gate's. */
enum callgate_submit cg_session__submit(struct callgate_session *session,
    const struct cg_method *method, const void *request, void (*done)(void), void *context);

/* What callbacks have submitted leaves. */
void cg_session__flush(struct callgate_client *client);

/* As cg_watch__poll_locked(); closing, as cg_watch__cancel_all_locked(). */
int64_t cg_session__poll_locked(struct callgate_client *client, int64_t now_ms);
void cg_session__cancel_all_locked(struct callgate_client *client);

/* What gRPC's queue gave back. */
void cg_poll__complete(struct cg_tag *tag);

/* The poller's thread; `argument` is its client. */
void *cg_poll__run(void *argument);

/*
 * Starts the attempts whose backoff is over.  Until when the queue may be waited for: the
 * next one's time, or `latest` if that is earlier.
 */
gpr_timespec cg_poll__retry(struct callgate_client *client, gpr_timespec latest);

#endif /* CG_CLIENT_CLIENT_INTERNAL_H */
