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
 * A stream is one call of two batches: one that begins it and completes with its end, and
 * one read after another.  The next read starts when dispatch has delivered the message of
 * the one before: so a caller that does not dispatch holds one message, and the server's
 * next ones wait where flow control stops them.  Meanwhile the stream may end and the next
 * one begin; only its first read waits.
 *
 * Everything here is guarded by the client's lock, except where a message is decoded: from
 * the completion of a read until it is due the arena is the poller's, from then until the
 * next read starts the caller's.  A watch that is closed lives on until gRPC has given both
 * of its batches back.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "client/client_internal.h"

#include <stdlib.h>

#include <grpc/byte_buffer.h>

enum watch_state {
	STREAMING, /* a call is under way; waits for a message or its end */
	PAUSING,   /* between two streams; waits for `retry_at_ms` */
	ENDED,     /* `error` says why; waits for dispatch */
};

enum {
	/* Whatever a server asks for: one that is back is found within a minute. */
	PAUSE_MAX_MS = 60 * 1000,
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

	enum watch_state state;
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

/* Where nothing of it is with gRPC or dispatch.  The lock may be held. */
static void free_if_done(struct callgate_watch *watch)
{
	struct callgate_client *client = watch->client;

	if (!watch->is_closed || watch->is_reading || watch->has_begun || watch->is_delivering) {
		return;
	}
	cg_arena_reset(&watch->request_arena);
	cg_arena_reset(&watch->arena);
	cg_arena_reset(&watch->error_arena);
	free(watch->next_token);
	free(watch->token);
	free(watch);
	(void)atomic_fetch_sub(&client->watch_count, 1);
}

/* Whether the caller must be woken. */
static bool push_due_locked(struct callgate_watch *watch)
{
	if (watch->is_due || watch->is_closed) {
		return false;
	}
	watch->is_due = true;
	return cg_client__push_due_locked(watch->client, &watch->due);
}

static void start_read_locked(struct callgate_watch *watch)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = &watch->received;
	watch->received = NULL;
	watch->is_reading = true;
	watch->silent_at_ms = cg_client__now_ms() + watch->client->options.watch_silence_ms;
	CG_HAND_OVER(&watch->read_tag);
	CG_ASSERT(
	    grpc_call_start_batch(watch->call, &op, 1, &watch->read_tag, NULL) == GRPC_CALL_OK);
}

/* The last token that was received, though its message may not have been delivered. */
static bool pack_request(struct callgate_watch *watch, grpc_slice *ret_bytes)
{
	struct callgate_watch_request request = watch->request;

	if (watch->next_token != NULL) {
		request.resume_token = watch->next_token;
	} else if (watch->token[0] != '\0') {
		request.resume_token = watch->token;
	}
	return cg_operations__pack(CG_CODEC_WATCH, &request, ret_bytes);
}

/* False where there is no memory to begin with. */
static bool start_stream_locked(struct callgate_watch *watch)
{
	struct callgate_client *client = watch->client;
	grpc_op ops[CG_CALL_BEGIN_OPS] = {0};
	grpc_byte_buffer *message;
	grpc_slice bytes;

	if (!pack_request(watch, &bytes)) {
		return false;
	}
	message = grpc_raw_byte_buffer_create(&bytes, 1);
	watch->call = grpc_channel_create_registered_call(client->channel, NULL,
	    GRPC_PROPAGATE_DEFAULTS, client->queue, client->registered[CG_CODEC_WATCH],
	    gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	watch->state = STREAMING;
	watch->attempts++;
	watch->failures++;
	watch->is_silent = false;
	watch->is_readable = true;
	watch->has_begun = true;
	cg_call__begin_ops(client, &watch->end, message, ops);
	CG_HAND_OVER(&watch->end_tag);
	CG_ASSERT(grpc_call_start_batch(
	              watch->call, ops, CG_COUNT_OF(ops), &watch->end_tag, NULL) == GRPC_CALL_OK);
	grpc_byte_buffer_destroy(message);
	grpc_slice_unref(bytes);
	if (watch->message == NULL && !watch->is_delivering) {
		start_read_locked(watch);
	}
	return true;
}

static void set_error(
    struct callgate_watch *watch, enum callgate_status status, const char *message)
{
	watch->error = (struct callgate_error){
	    .status = status,
	    .message = message,
	    .detail = {.field = "", .bound = ""},
	};
}

/* Whether the watch goes on; else `error` says why not. */
static bool read_end(struct callgate_watch *watch)
{
	cg_arena_reset(&watch->error_arena);
	set_error(watch, CALLGATE_STATUS_INTERNAL, "the server ended the watch and said not why");
	if (!watch->is_readable) {
		watch->error.message = "the server's message cannot be read";
		return false;
	}
	if (watch->is_silent) {
		return true;
	}
	if (watch->end.code != GRPC_STATUS_OK) {
		cg_call__read_error(&watch->end, &watch->error_arena, &watch->error);
	}
	return watch->error.status == CALLGATE_STATUS_UNAVAILABLE;
}

/*
 * On the poller's thread, once both batches are back.  Whether the caller must be woken.
 * Where the client is being closed, what pauses now is ended when the poller is gone.
 */
static bool end_stream_locked(struct callgate_watch *watch)
{
	struct callgate_client *client = watch->client;
	bool goes_on = read_end(watch);
	int64_t pause_ms;

	cg_call__free_end(&watch->end);
	grpc_call_unref(watch->call);
	watch->call = NULL;
	if (watch->is_closed) {
		return false;
	}
	if (!goes_on) {
		watch->state = ENDED;
		watch->error.attempts = (int)watch->attempts;
		return push_due_locked(watch);
	}
	pause_ms =
	    cg_call__backoff_ms(client, watch->failures > 0 ? watch->failures : 1, &watch->error);
	watch->state = PAUSING;
	watch->retry_at_ms =
	    cg_client__now_ms() + (pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS);
	return false;
}

/* A batch is back, and accounted for.  Gives the lock up. */
static void settle_and_unlock(struct callgate_watch *watch, bool wake)
{
	struct callgate_client *client = watch->client;

	if (watch->call != NULL && !watch->is_reading && !watch->has_begun) {
		wake = end_stream_locked(watch) || wake;
	}
	free_if_done(watch);
	(void)pthread_mutex_unlock(&client->lock);
	if (wake) {
		cg_client__wake(client);
	}
}

/* A copy that outlives the message; *ret_copy is NULL where the message has no token. */
static bool copy_token(const struct callgate_watch_response *message, char **ret_copy)
{
	*ret_copy = NULL;
	if (message->resume_token[0] == '\0') {
		return true;
	}
	*ret_copy = strdup(message->resume_token);
	return *ret_copy != NULL;
}

/* NULL where it cannot be read, or held. */
static const struct callgate_watch_response *decode(struct callgate_watch *watch, char **ret_token)
{
	const struct callgate_watch_response *message;
	grpc_slice bytes;

	if (!cg_call__read_bytes(watch->received, &bytes)) {
		return NULL;
	}
	cg_arena_reset(&watch->arena);
	message = cg_codec_decode(CG_CODEC_WATCH,
	    (struct cg_view){(const char *)GRPC_SLICE_START_PTR(bytes), GRPC_SLICE_LENGTH(bytes)},
	    &watch->arena);
	grpc_slice_unref(bytes);
	return message != NULL && copy_token(message, ret_token) ? message : NULL;
}

/* Without a message the stream has ended, and its end follows. */
static void on_read(struct cg_tag *tag)
{
	struct callgate_watch *watch = CG_CONTAINER_OF(tag, struct callgate_watch, read_tag);
	const struct callgate_watch_response *message = NULL;
	char *token = NULL;
	bool wake = false;

	if (watch->received != NULL) {
		message = decode(watch, &token);
	}
	(void)pthread_mutex_lock(&watch->client->lock);
	watch->is_reading = false;
	if (message != NULL) {
		watch->failures = 0;
		watch->message = message;
		watch->next_token = token;
		wake = push_due_locked(watch);
	} else if (watch->received != NULL) {
		watch->is_readable = false;
		(void)grpc_call_cancel(watch->call, NULL);
	}
	grpc_byte_buffer_destroy(watch->received);
	watch->received = NULL;
	settle_and_unlock(watch, wake);
}

static void on_stream_end(struct cg_tag *tag)
{
	struct callgate_watch *watch = CG_CONTAINER_OF(tag, struct callgate_watch, end_tag);

	(void)pthread_mutex_lock(&watch->client->lock);
	watch->has_begun = false;
	settle_and_unlock(watch, false);
}

/* Takes the message that is due, if one is, and lets its token count. */
static const struct callgate_watch_response *take_message_locked(struct callgate_watch *watch)
{
	const struct callgate_watch_response *message = watch->message;

	watch->message = NULL;
	if (watch->next_token != NULL) {
		free(watch->token);
		watch->token = watch->next_token;
		watch->next_token = NULL;
	}
	return message;
}

/* The stream that follows may have begun while the message was being delivered. */
static void read_on_locked(struct callgate_watch *watch)
{
	if (watch->state == STREAMING && watch->has_begun && !watch->is_reading &&
	    !watch->is_closed && !watch->client->closing) {
		start_read_locked(watch);
	}
}

static void deliver_end(struct callgate_watch *watch)
{
	watch->client->in_callback = true;
	watch->on_end(watch->context, &watch->error);
	watch->client->in_callback = false;
}

/* An end that comes while the message is being delivered makes it due again. */
static void deliver(struct cg_due *due)
{
	struct callgate_watch *watch = CG_CONTAINER_OF(due, struct callgate_watch, due);
	struct callgate_client *client = watch->client;
	const struct callgate_watch_response *message;
	bool has_ended;

	(void)pthread_mutex_lock(&client->lock);
	watch->is_due = false;
	watch->is_delivering = true;
	message = take_message_locked(watch);
	has_ended = watch->state == ENDED;
	(void)pthread_mutex_unlock(&client->lock);
	if (message != NULL) {
		client->in_callback = true;
		watch->on_message(watch->context, message);
		client->in_callback = false;
	}
	if (has_ended && !watch->is_closed) {
		deliver_end(watch);
	}
	(void)pthread_mutex_lock(&client->lock);
	watch->is_delivering = false;
	if (has_ended && !watch->is_closed) {
		watch->is_closed = true;
		cg_list_remove(&watch->link);
	}
	read_on_locked(watch);
	free_if_done(watch);
	(void)pthread_mutex_unlock(&client->lock);
}

/* A terminated copy; NULL where there is no memory. */
static const char *keep_text(struct cg_arena *arena, const char *text)
{
	size_t bytes = text == NULL ? 1 : strlen(text) + 1;
	char *copy = cg_arena_take(arena, 1, bytes);

	if (copy != NULL && text != NULL) {
		memcpy(copy, text, bytes);
	}
	return copy;
}

static bool keep_request(struct callgate_watch *watch, const struct callgate_watch_request *request)
{
	struct cg_arena *arena = &watch->request_arena;
	enum callgate_event_type *types = NULL;

	if (request->type_count > 0) {
		types = cg_arena_take(arena, request->type_count, sizeof(*types));
		if (types == NULL) {
			return false;
		}
		memcpy(types, request->types, request->type_count * sizeof(*types));
	}
	watch->request.types = types;
	watch->request.type_count = request->type_count;
	watch->request.company_id = keep_text(arena, request->company_id);
	watch->request.resume_token = keep_text(arena, request->resume_token);
	return watch->request.company_id != NULL && watch->request.resume_token != NULL;
}

/* Not yet begun, and known to nobody; NULL where there is no memory. */
static struct callgate_watch *create(
    struct callgate_client *client, const struct callgate_watch_request *request)
{
	struct callgate_watch *watch = calloc(1, sizeof(*watch));

	if (watch == NULL) {
		return NULL;
	}
	(void)atomic_fetch_add(&client->watch_count, 1);
	watch->client = client;
	watch->read_tag.completed = on_read;
	watch->end_tag.completed = on_stream_end;
	watch->due.deliver = deliver;
	cg_list_init(&watch->due.link);
	cg_list_init(&watch->link);
	cg_arena_init(&watch->request_arena);
	cg_arena_init(&watch->arena);
	cg_arena_init(&watch->error_arena);
	watch->token = calloc(1, 1);
	if (watch->token == NULL || !keep_request(watch, request)) {
		watch->is_closed = true;
		free_if_done(watch);
		return NULL;
	}
	return watch;
}

enum callgate_submit callgate_watch_open(struct callgate_client *client,
    const struct callgate_watch_request *request, callgate_watch_on_message on_message,
    callgate_watch_on_end on_end, void *context, struct callgate_watch **ret_watch)
{
	struct callgate_watch *watch;
	bool has_begun;

	if (client->closing) {
		return CALLGATE_CLOSING;
	}
	watch = create(client, request);
	if (watch == NULL) {
		return CALLGATE_FULL;
	}
	watch->on_message = on_message;
	watch->on_end = on_end;
	watch->context = context;
	(void)pthread_mutex_lock(&client->lock);
	has_begun = start_stream_locked(watch);
	if (has_begun) {
		cg_list_append(&client->watches, &watch->link);
	} else {
		watch->is_closed = true;
		free_if_done(watch);
	}
	(void)pthread_mutex_unlock(&client->lock);
	if (!has_begun) {
		return CALLGATE_FULL;
	}
	*ret_watch = watch;
	return CALLGATE_ACCEPTED;
}

const char *callgate_watch_token(const struct callgate_watch *watch)
{
	return watch->token;
}

void callgate_watch_close(struct callgate_watch *watch)
{
	struct callgate_client *client = watch->client;

	(void)pthread_mutex_lock(&client->lock);
	watch->is_closed = true;
	cg_list_remove(&watch->link);
	cg_list_remove(&watch->due.link);
	if (watch->call != NULL) {
		(void)grpc_call_cancel(watch->call, NULL);
	}
	free_if_done(watch);
	(void)pthread_mutex_unlock(&client->lock);
}

static int64_t poll_one_locked(struct callgate_watch *watch, int64_t now_ms)
{
	if (watch->state == PAUSING && watch->retry_at_ms <= now_ms &&
	    !start_stream_locked(watch)) {
		watch->retry_at_ms = now_ms + watch->client->options.backoff_ms;
	}
	if (watch->state == PAUSING) {
		return watch->retry_at_ms;
	}
	if (watch->state != STREAMING || !watch->is_reading || watch->is_silent) {
		return INT64_MAX;
	}
	if (watch->silent_at_ms > now_ms) {
		return watch->silent_at_ms;
	}
	watch->is_silent = true;
	(void)grpc_call_cancel(watch->call, NULL);
	return INT64_MAX;
}

int64_t cg_watch__poll_locked(struct callgate_client *client, int64_t now_ms)
{
	int64_t next_at_ms = INT64_MAX;

	for (struct cg_list *link = client->watches.next; link != &client->watches;
	     link = link->next) {
		int64_t at_ms =
		    poll_one_locked(CG_CONTAINER_OF(link, struct callgate_watch, link), now_ms);

		next_at_ms = at_ms < next_at_ms ? at_ms : next_at_ms;
	}
	return next_at_ms;
}

void cg_watch__cancel_all_locked(struct callgate_client *client)
{
	for (struct cg_list *link = client->watches.next; link != &client->watches;
	     link = link->next) {
		struct callgate_watch *watch = CG_CONTAINER_OF(link, struct callgate_watch, link);

		if (watch->call != NULL) {
			(void)grpc_call_cancel(watch->call, NULL);
		}
	}
}

void cg_watch__end_all_locked(struct callgate_client *client)
{
	for (struct cg_list *link = client->watches.next; link != &client->watches;
	     link = link->next) {
		struct callgate_watch *watch = CG_CONTAINER_OF(link, struct callgate_watch, link);

		if (watch->state == PAUSING) {
			set_error(watch, CALLGATE_STATUS_CANCELLED, "the client was closed");
			watch->error.attempts = (int)watch->attempts;
			watch->state = ENDED;
			(void)push_due_locked(watch);
		}
	}
}
