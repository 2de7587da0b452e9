/*
 * The client's insides, for this room and for the benches.
 *
 * Two threads meet here.  The caller's submits (it starts the gRPC batch itself, so that a
 * request reaches the socket without a hand-over), dispatches and closes.  The poller
 * waits for gRPC's completions, decodes, and tries again what may be tried again.  What
 * both touch is guarded by `lock`: `due`, `waiting`, `closing`, and each operation's
 * `call`.  An operation belongs to the poller from submit until it is in `due`.
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

#include <callgate/client.h>
#include <grpc/grpc.h>

#include "base/base.h"
#include "client/arena.h"
#include "client/codec.h"

struct cg_op;

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
	struct cg_list link;      /* in `due` or `waiting` */
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
	grpc_metadata_array initial_metadata;
	grpc_metadata_array trailing_metadata;
	grpc_byte_buffer *answer;
	grpc_status_code code;
	grpc_slice code_details;

	/* How it ended; in the arena. */
	const void *response;
	struct callgate_error error;
	struct cg_arena arena;
};

struct callgate_client {
	grpc_channel *channel;
	grpc_completion_queue *queue;
	void *registered[CG_CODEC_COUNT];
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
	bool closing;
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

/* Puts an ended operation into `due` and says whether the caller must be woken for it. */
bool cg_client__push_due_locked(struct cg_op *op);

/* Makes the descriptor readable. */
void cg_client__wake(struct callgate_client *client);

/*
 * One attempt.  Only its owner may start it: submit, before anybody else knows of it, or
 * the poller, under the lock, since closing cancels whatever has a call.
 */
void cg_call__start(struct cg_op *op);

/* The attempt's batch has completed: from here the operation is DUE or WAITING. */
void cg_call__end(struct cg_op *op);

/* The poller's thread; `argument` is its client. */
void *cg_poll__run(void *argument);

/*
 * Starts the attempts whose backoff is over.  Until when the queue may be waited for: the
 * next one's time, or `latest` if that is earlier.
 */
gpr_timespec cg_poll__retry(struct callgate_client *client, gpr_timespec latest);

#endif /* CG_CLIENT_CLIENT_INTERNAL_H */
