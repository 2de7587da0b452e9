/*
 * One attempt of one operation: a gRPC call of six ops in one batch, so that it costs one
 * completion.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "client/client_internal.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>

enum {
	/* The sixth retry waits as long as the fifth: a sidecar restarts within a second. */
	BACKOFF_DOUBLINGS_MAX = 5,
};

void cg_call__begin_ops(struct callgate_client *client, struct cg_call_end *end,
    grpc_byte_buffer *message, grpc_op ops[CG_CALL_BEGIN_OPS])
{
	end->code = GRPC_STATUS_UNKNOWN;
	end->code_details = grpc_empty_slice();
	grpc_metadata_array_init(&end->initial_metadata);
	grpc_metadata_array_init(&end->trailing_metadata);

	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[0].data.send_initial_metadata.count = client->has_token ? 1 : 0;
	ops[0].data.send_initial_metadata.metadata = &client->authorization;
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = message;
	ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[3].data.recv_initial_metadata.recv_initial_metadata = &end->initial_metadata;
	ops[4].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
	ops[4].data.recv_status_on_client.trailing_metadata = &end->trailing_metadata;
	ops[4].data.recv_status_on_client.status = &end->code;
	ops[4].data.recv_status_on_client.status_details = &end->code_details;
}

void cg_call__free_end(struct cg_call_end *end)
{
	grpc_slice_unref(end->code_details);
	grpc_metadata_array_destroy(&end->initial_metadata);
	grpc_metadata_array_destroy(&end->trailing_metadata);
}

void cg_call__start(struct cg_op *op)
{
	struct callgate_client *client = op->client;
	grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&op->request, 1);
	grpc_call *call = grpc_channel_create_registered_call(client->channel, NULL,
	    GRPC_PROPAGATE_DEFAULTS, client->queue, op->registered, op->deadline, NULL);
	grpc_op ops[CG_CALL_BEGIN_OPS + 1] = {0};

	op->state = CG_OP_CALLING;
	op->attempts++;
	op->answer = NULL;
	op->call = call;
	cg_call__begin_ops(client, &op->end, message, ops);
	ops[CG_CALL_BEGIN_OPS].op = GRPC_OP_RECV_MESSAGE;
	ops[CG_CALL_BEGIN_OPS].data.recv_message.recv_message = &op->answer;

	CG_HAND_OVER(&op->tag);
	/* The batch has its own reference to the message; anything but OK is our bug. */
	CG_ASSERT(
	    grpc_call_start_batch(call, ops, CG_COUNT_OF(ops), &op->tag, NULL) == GRPC_CALL_OK);
	grpc_byte_buffer_destroy(message);
}

static struct cg_view view_of_slice(const grpc_slice *slice)
{
	return (struct cg_view){
	    (const char *)GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice)};
}

/* A terminated copy in the arena; "" where that is exhausted. */
static const char *copy_text(struct cg_arena *arena, struct cg_view text)
{
	char *copy = cg_arena_take(arena, 1, text.len + 1);

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

/* The bytes are usually in one slice, and then stay where they are. */
bool cg_call__read_bytes(grpc_byte_buffer *message, grpc_slice *ret_bytes)
{
	grpc_slice_buffer *slices;
	grpc_byte_buffer_reader reader;

	if (message->data.raw.compression != GRPC_COMPRESS_NONE) {
		return false;
	}
	slices = &message->data.raw.slice_buffer;
	if (slices->count == 1) {
		*ret_bytes = grpc_slice_ref(slices->slices[0]);
		return true;
	}
	CG_ASSERT(grpc_byte_buffer_reader_init(&reader, message) != 0);
	*ret_bytes = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	return true;
}

static void read_answer(struct cg_op *op)
{
	grpc_slice bytes;

	if (op->answer == NULL) {
		fail(op, CALLGATE_STATUS_INTERNAL, "the server ended the call without an answer");
		return;
	}
	if (!cg_call__read_bytes(op->answer, &bytes)) {
		fail(op, CALLGATE_STATUS_INTERNAL, "the server's answer is compressed");
		return;
	}
	op->response = op->method->decode(op, view_of_slice(&bytes));
	grpc_slice_unref(bytes);
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

/* With the server's details, if it sent any. */
void cg_call__read_error(
    const struct cg_call_end *end, struct cg_arena *arena, struct callgate_error *error)
{
	const struct cg_view key = CG_VIEW_LITERAL("grpc-status-details-bin");

	error->status = status_of(end->code);
	error->message = copy_text(arena, view_of_slice(&end->code_details));
	for (size_t i = 0; i < end->trailing_metadata.count; i++) {
		const grpc_metadata *entry = &end->trailing_metadata.metadata[i];

		if (cg_view_equal(view_of_slice(&entry->key), key)) {
			error->has_detail = cg_codec_decode_detail(
			    view_of_slice(&entry->value), arena, &error->detail);
			return;
		}
	}
}

static void read_end(struct cg_op *op)
{
	cg_arena_reset(&op->arena);
	op->response = NULL;
	op->error = (struct callgate_error){0};
	op->error.attempts = (int)op->attempts;
	op->error.detail.field = "";
	op->error.detail.bound = "";
	if (op->end.code == GRPC_STATUS_OK) {
		read_answer(op);
	} else {
		cg_call__read_error(&op->end, &op->arena, &op->error);
	}
}

void cg_call__read_frame(struct cg_op *op, const struct cg_codec_frame *frame)
{
	cg_arena_reset(&op->arena);
	op->response = NULL;
	op->error = (struct callgate_error){
	    .attempts = (int)op->attempts, .detail = {.field = "", .bound = ""}};
	if (frame->status_code != 0) {
		op->error.status = status_of((grpc_status_code)frame->status_code);
		op->error.message = copy_text(&op->arena, frame->status_message);
		op->error.has_detail = frame->error.len > 0 &&
		    cg_codec_decode_plain_detail(frame->error, &op->arena, &op->error.detail);
		return;
	}
	op->response = frame->has_op && frame->codec == op->method->codec
	    ? op->method->decode(op, frame->op)
	    : NULL;
	if (op->response == NULL) {
		fail(op, CALLGATE_STATUS_INTERNAL, "the server's answer cannot be read");
	}
}

/* Between half of the doubled pause and all of it, and no less than the server asks for. */
int64_t cg_call__backoff_ms(
    struct callgate_client *client, uint32_t failures, const struct callgate_error *error)
{
	uint32_t doublings =
	    failures > BACKOFF_DOUBLINGS_MAX ? BACKOFF_DOUBLINGS_MAX : failures - 1;
	uint64_t pause = (uint64_t)client->options.backoff_ms << doublings;
	int64_t wanted = (int64_t)(pause / 2 + cg_random_below(&client->random, pause / 2 + 1));
	int64_t asked = error->detail.retry_after_ms;

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
	pause_ms = cg_call__backoff_ms(op->client, op->attempts, &op->error);
	if (pause_ms >= op->deadline_at_ms - now_ms) {
		return false;
	}
	op->retry_at_ms = now_ms + pause_ms;
	return true;
}

static void free_attempt(struct cg_op *op)
{
	grpc_byte_buffer_destroy(op->answer);
	cg_call__free_end(&op->end);
}

/* The earliest stands first; most come in the order of their times, so search from behind. */
static void insert_waiting(struct callgate_client *client, struct cg_op *op)
{
	struct cg_list *after = client->waiting.prev;

	while (after != &client->waiting &&
	    CG_CONTAINER_OF(after, struct cg_op, due.link)->retry_at_ms > op->retry_at_ms) {
		after = after->prev;
	}
	op->state = CG_OP_WAITING;
	cg_list_append(after->next, &op->due.link);
}

void cg_call__completed(struct cg_tag *tag)
{
	struct cg_op *op = CG_CONTAINER_OF(tag, struct cg_op, tag);
	struct callgate_client *client;
	grpc_call *call;
	bool wake = false;
	bool again;

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
		op->state = CG_OP_DUE;
		wake = cg_client__push_due_locked(client, &op->due);
	}
	(void)pthread_mutex_unlock(&client->lock);
	if (wake) {
		cg_client__wake(client);
	}
	grpc_call_unref(call);
}
