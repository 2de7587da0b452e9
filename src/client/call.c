/*
 * One attempt of one operation: a gRPC call of six ops in one batch, so that it costs one
 * completion.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "client/client_internal.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>

/*
 * An operation passes from thread to thread through gRPC's queue, which ThreadSanitizer
 * does not see, gRPC being built without it.  This says what the queue guarantees.
 */
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define HAND_OVER(op) __tsan_release(op)
#define TAKE_OVER(op) __tsan_acquire(op)
#else
#define HAND_OVER(op) ((void)(op))
#define TAKE_OVER(op) ((void)(op))
#endif

enum {
	/* The sixth retry waits as long as the fifth: a sidecar restarts within a second. */
	BACKOFF_DOUBLINGS_MAX = 5,
};

void cg_call__start(struct cg_op *op)
{
	struct callgate_client *client = op->client;
	grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&op->request, 1);
	grpc_call *call = grpc_channel_create_registered_call(client->channel, NULL,
	    GRPC_PROPAGATE_DEFAULTS, client->queue, op->registered, op->deadline, NULL);
	grpc_op ops[6] = {0};

	op->state = CG_OP_CALLING;
	op->attempts++;
	op->answer = NULL;
	op->code = GRPC_STATUS_UNKNOWN;
	op->code_details = grpc_empty_slice();
	grpc_metadata_array_init(&op->initial_metadata);
	grpc_metadata_array_init(&op->trailing_metadata);
	op->call = call;

	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[0].data.send_initial_metadata.count = client->has_token ? 1 : 0;
	ops[0].data.send_initial_metadata.metadata = &client->authorization;
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = message;
	ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[3].data.recv_initial_metadata.recv_initial_metadata = &op->initial_metadata;
	ops[4].op = GRPC_OP_RECV_MESSAGE;
	ops[4].data.recv_message.recv_message = &op->answer;
	ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
	ops[5].data.recv_status_on_client.trailing_metadata = &op->trailing_metadata;
	ops[5].data.recv_status_on_client.status = &op->code;
	ops[5].data.recv_status_on_client.status_details = &op->code_details;

	HAND_OVER(op);
	/* The batch has its own reference to the message; anything but OK is our bug. */
	CG_ASSERT(grpc_call_start_batch(call, ops, CG_COUNT_OF(ops), op, NULL) == GRPC_CALL_OK);
	grpc_byte_buffer_destroy(message);
}

static struct cg_view view_of_slice(const grpc_slice *slice)
{
	return (struct cg_view){
	    (const char *)GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice)};
}

/* A terminated copy in the arena; "" where that is exhausted. */
static const char *copy_text(struct cg_op *op, struct cg_view text)
{
	char *copy = cg_arena_take(&op->arena, 1, text.len + 1);

	if (copy == NULL) {
		return "";
	}
	if (text.len > 0) {
		memcpy(copy, text.data, text.len);
	}
	return copy;
}

static void fail(struct cg_op *op, enum callgate_status status, const char *message)
{
	op->response = NULL;
	op->error.status = status;
	op->error.message = message;
}

/* Reads the server's details, if it sent any, into the error. */
static void read_detail(struct cg_op *op)
{
	const struct cg_view key = CG_VIEW_LITERAL("grpc-status-details-bin");

	for (size_t i = 0; i < op->trailing_metadata.count; i++) {
		const grpc_metadata *entry = &op->trailing_metadata.metadata[i];

		if (cg_view_equal(view_of_slice(&entry->key), key)) {
			op->error.has_detail = cg_codec_decode_detail(
			    view_of_slice(&entry->value), &op->arena, &op->error.detail);
			return;
		}
	}
}

/* The answer's bytes are usually in one slice, and then decoded where they are. */
static void read_answer(struct cg_op *op)
{
	grpc_slice_buffer *slices;

	if (op->answer == NULL) {
		fail(op, CALLGATE_STATUS_INTERNAL, "the server ended the call without an answer");
		return;
	}
	if (op->answer->data.raw.compression != GRPC_COMPRESS_NONE) {
		fail(op, CALLGATE_STATUS_INTERNAL, "the server's answer is compressed");
		return;
	}
	slices = &op->answer->data.raw.slice_buffer;
	if (slices->count == 1) {
		op->response = op->method->decode(op, view_of_slice(&slices->slices[0]));
	} else {
		grpc_byte_buffer_reader reader;
		grpc_slice whole;

		CG_ASSERT(grpc_byte_buffer_reader_init(&reader, op->answer) != 0);
		whole = grpc_byte_buffer_reader_readall(&reader);
		op->response = op->method->decode(op, view_of_slice(&whole));
		grpc_slice_unref(whole);
		grpc_byte_buffer_reader_destroy(&reader);
	}
	if (op->response == NULL) {
		fail(op, CALLGATE_STATUS_INTERNAL, "the server's answer cannot be read");
	}
}

/* gRPC's codes are 0 to 16; a server may send any number. */
static enum callgate_status status_of(grpc_status_code code)
{
	return (int)code >= 0 && (int)code <= CALLGATE_STATUS_UNAUTHENTICATED
	    ? (enum callgate_status)code
	    : CALLGATE_STATUS_UNKNOWN;
}

static void read_end(struct cg_op *op)
{
	cg_arena_reset(&op->arena);
	op->response = NULL;
	op->error = (struct callgate_error){0};
	op->error.attempts = (int)op->attempts;
	op->error.detail.field = "";
	op->error.detail.bound = "";
	if (op->code == GRPC_STATUS_OK) {
		read_answer(op);
		return;
	}
	fail(op, status_of(op->code), copy_text(op, view_of_slice(&op->code_details)));
	read_detail(op);
}

/* Between half of the doubled pause and all of it, and no less than the server asks for. */
static int64_t backoff_ms(struct cg_op *op)
{
	struct callgate_client *client = op->client;
	uint32_t doublings =
	    op->attempts > BACKOFF_DOUBLINGS_MAX ? BACKOFF_DOUBLINGS_MAX : op->attempts - 1;
	uint64_t pause = (uint64_t)client->options.backoff_ms << doublings;
	int64_t wanted = (int64_t)(pause / 2 + cg_random_below(&client->random, pause / 2 + 1));
	int64_t asked = op->error.detail.retry_after_ms;

	return asked > wanted ? asked : wanted;
}

/*
 * Whether the operation is worth another attempt, and if so, when.  Any operation may be
 * repeated: the server finds by its key what the first attempt did.
 */
static bool plan_retry(struct cg_op *op)
{
	int64_t now_ms;
	int64_t pause_ms;

	if (op->response != NULL || op->error.status != CALLGATE_STATUS_UNAVAILABLE ||
	    op->attempts > op->client->options.retries_max) {
		return false;
	}
	now_ms = cg_client__now_ms();
	pause_ms = backoff_ms(op);
	if (pause_ms >= op->deadline_at_ms - now_ms) {
		return false;
	}
	op->retry_at_ms = now_ms + pause_ms;
	return true;
}

static void free_attempt(struct cg_op *op)
{
	grpc_byte_buffer_destroy(op->answer);
	grpc_slice_unref(op->code_details);
	grpc_metadata_array_destroy(&op->initial_metadata);
	grpc_metadata_array_destroy(&op->trailing_metadata);
}

/* The earliest stands first; most come in the order of their times, so search from behind. */
static void insert_waiting(struct callgate_client *client, struct cg_op *op)
{
	struct cg_list *after = client->waiting.prev;

	while (after != &client->waiting &&
	    CG_CONTAINER_OF(after, struct cg_op, link)->retry_at_ms > op->retry_at_ms) {
		after = after->prev;
	}
	op->state = CG_OP_WAITING;
	cg_list_append(after->next, &op->link);
}

void cg_call__end(struct cg_op *op)
{
	struct callgate_client *client;
	grpc_call *call;
	bool wake = false;
	bool again;

	TAKE_OVER(op);
	client = op->client;
	call = op->call;
	read_end(op);
	again = plan_retry(op);
	free_attempt(op);

	/* Once it is due and the lock is free, the operation may be gone at any moment. */
	(void)pthread_mutex_lock(&client->lock);
	op->call = NULL;
	if (again) {
		insert_waiting(client, op);
	} else {
		wake = cg_client__push_due_locked(op);
	}
	(void)pthread_mutex_unlock(&client->lock);
	if (wake) {
		cg_client__wake(client);
	}
	grpc_call_unref(call);
}
