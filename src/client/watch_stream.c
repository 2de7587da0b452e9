/*
 * One stream of a watch: how it is read, how it ends, and how the next one begins.
 *
 * A stream is one call of two batches: one that begins it and completes with its end, and
 * one read after another.  The next read starts when dispatch has delivered the message of
 * the one before: so a caller that does not dispatch holds one message, and the server's
 * next ones wait where flow control stops them.  Meanwhile the stream may end and the next
 * one begin; only its first read waits.
 *
 * Completions and pauses are the poller's.  The caller's thread begins the first stream, and
 * reads on.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "client/watch_internal.h"

#include <stdlib.h>

#include <grpc/byte_buffer.h>

enum {
	/* Whatever a server asks for: one that is back is found within a minute. */
	PAUSE_MAX_MS = 60 * 1000,
};

/* Whether the watch goes on; else `error` says why not. */
static bool read_end(struct callgate_watch *watch)
{
	cg_arena_reset(&watch->error_arena);
	cg_watch__set_error(
	    watch, CALLGATE_STATUS_INTERNAL, "the server ended the watch and said not why");
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
		return cg_watch__end_locked(watch);
	}
	pause_ms =
	    cg_call__backoff_ms(client, watch->failures > 0 ? watch->failures : 1, &watch->error);
	watch->state = CG_WATCH_PAUSING;
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
	cg_watch__free_if_done(watch);
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
		wake = cg_watch__push_due_locked(watch);
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

static void start_read_locked(struct callgate_watch *watch)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = &watch->received;
	watch->received = NULL;
	watch->is_reading = true;
	watch->silent_at_ms = cg_client__now_ms() + watch->client->options.watch_silence_ms;
	watch->read_tag.completed = on_read;
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

bool cg_watch_stream__start_locked(struct callgate_watch *watch)
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
	watch->state = CG_WATCH_STREAMING;
	watch->attempts++;
	watch->failures++;
	watch->is_silent = false;
	watch->is_readable = true;
	watch->has_begun = true;
	cg_call__begin_ops(client, &watch->end, message, ops);
	watch->end_tag.completed = on_stream_end;
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

/* The stream that follows may have begun while the message was being delivered. */
void cg_watch_stream__read_on_locked(struct callgate_watch *watch)
{
	if (watch->state == CG_WATCH_STREAMING && watch->has_begun && !watch->is_reading &&
	    !watch->is_closed && !watch->client->closing) {
		start_read_locked(watch);
	}
}

int64_t cg_watch_stream__poll_locked(struct callgate_watch *watch, int64_t now_ms)
{
	if (watch->state == CG_WATCH_PAUSING && watch->retry_at_ms <= now_ms &&
	    !cg_watch_stream__start_locked(watch)) {
		watch->retry_at_ms = now_ms + watch->client->options.backoff_ms;
	}
	if (watch->state == CG_WATCH_PAUSING) {
		return watch->retry_at_ms;
	}
	if (watch->state != CG_WATCH_STREAMING || !watch->is_reading || watch->is_silent) {
		return INT64_MAX;
	}
	if (watch->silent_at_ms > now_ms) {
		return watch->silent_at_ms;
	}
	watch->is_silent = true;
	(void)grpc_call_cancel(watch->call, NULL);
	return INT64_MAX;
}
