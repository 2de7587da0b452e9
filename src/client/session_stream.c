/*
 * The stream of a session: begun, written to, read from, ended.
 *
 * Messages that wait are handed to gRPC one behind the other, all but the last with the hint that
 * more follow, so that they go to the socket together.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "client/session_internal.h"

#include <grpc/byte_buffer.h>

static void start_batch(
    struct callgate_session *session, struct cg_tag *tag, const grpc_op *ops, size_t op_count)
{
	CG_HAND_OVER(tag);
	CG_ASSERT(grpc_call_start_batch(session->call, ops, op_count, tag, NULL) == GRPC_CALL_OK);
}

static struct cg_op *first_of(const struct cg_list *list)
{
	return CG_CONTAINER_OF(list->next, struct cg_op, session_link);
}

void cg_session_stream__write_locked(struct callgate_session *session)
{
	grpc_op write = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
	grpc_byte_buffer *message = NULL;

	if (session->is_writing || session->call == NULL || !session->has_begun) {
		return;
	}
	if (!cg_list_is_empty(&session->unsent)) {
		struct cg_op *op = first_of(&session->unsent);

		cg_list_remove(&op->session_link);
		cg_list_append(&session->sent, &op->session_link);
		message = grpc_raw_byte_buffer_create(&op->request, 1);
		write = (grpc_op){.op = GRPC_OP_SEND_MESSAGE,
		    .flags = cg_list_is_empty(&session->unsent) ? 0 : GRPC_WRITE_BUFFER_HINT,
		    .data.send_message.send_message = message};
	} else if (session->state == CG_SESSION_FINISHING && !session->has_closed) {
		session->has_closed = true;
	} else {
		return;
	}
	session->is_writing = true;
	start_batch(session, &session->write_tag, &write, 1);
	grpc_byte_buffer_destroy(message);
}

static void start_read_locked(struct callgate_session *session)
{
	session->is_reading = true;
	session->received = NULL;
	start_batch(session, &session->read_tag,
	    &(grpc_op){
	        .op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &session->received},
	    1);
}

/* How the stream ended, into `error`, whose status is OK where it ended well. */
static void read_end(struct callgate_session *session)
{
	struct callgate_error *error = &session->error;

	*error = (struct callgate_error){.detail = {.field = "", .bound = ""}, .attempts = 1};
	if (!session->is_readable) {
		error->status = CALLGATE_STATUS_INTERNAL;
		error->message = "the server's answer cannot be read";
	} else if (session->is_late) {
		error->status = CALLGATE_STATUS_DEADLINE_EXCEEDED;
		error->message = "an operation of the session was not answered in time";
	} else if (session->end.code != GRPC_STATUS_OK) {
		cg_call__read_error(&session->end, &session->error_arena, error);
	}
}

/* Every operation that is left ends as its stream did, and the session behind them. */
static bool end_locked(struct callgate_session *session)
{
	struct callgate_client *client = session->client;
	struct callgate_error left = session->error;
	bool wake = false;

	session->state = CG_SESSION_ENDED;
	if (left.status == CALLGATE_STATUS_OK) {
		left.status = CALLGATE_STATUS_INTERNAL;
		left.message = "the server ended the session without an answer";
	}
	while (!cg_list_is_empty(&session->sent) || !cg_list_is_empty(&session->unsent)) {
		struct cg_op *op =
		    first_of(cg_list_is_empty(&session->sent) ? &session->unsent : &session->sent);

		cg_session__take_out_locked(op);
		op->response = NULL;
		op->error = left;
		op->state = CG_OP_DUE;
		wake = cg_client__push_due_locked(client, &op->due) || wake;
	}
	return cg_client__push_due_locked(client, &session->due) || wake;
}

/* A batch is back, and accounted for.  Gives the lock up. */
static void settle_and_unlock(struct callgate_session *session, bool wake)
{
	struct callgate_client *client = session->client;
	grpc_call *call = NULL;

	if (!session->is_reading && !session->is_writing && !session->has_begun) {
		call = session->call;
		session->call = NULL;
		read_end(session);
		cg_call__free_end(&session->end);
		wake = end_locked(session) || wake;
	}
	/* From here on dispatch may free it. */
	(void)pthread_mutex_unlock(&client->lock);
	if (wake) {
		cg_client__wake(client);
	}
	if (call != NULL) {
		grpc_call_unref(call);
	}
}

static void on_end(struct cg_tag *tag)
{
	struct callgate_session *session = CG_CONTAINER_OF(tag, struct callgate_session, end_tag);

	(void)pthread_mutex_lock(&session->client->lock);
	session->has_begun = false;
	settle_and_unlock(session, false);
}

static void on_written(struct cg_tag *tag)
{
	struct callgate_session *session = CG_CONTAINER_OF(tag, struct callgate_session, write_tag);

	(void)pthread_mutex_lock(&session->client->lock);
	session->is_writing = false;
	cg_session_stream__write_locked(session);
	settle_and_unlock(session, false);
}

/* Takes the operation that this answers out of its lists; NULL: nobody asked for that. */
static struct cg_op *take_asked(struct callgate_session *session, uint64_t tag)
{
	struct cg_op *op = NULL;

	(void)pthread_mutex_lock(&session->client->lock);
	if (tag >= 1 && tag <= session->window) {
		op = session->ops[tag - 1];
	}
	if (op != NULL) {
		cg_session__take_out_locked(op);
	}
	(void)pthread_mutex_unlock(&session->client->lock);
	return op;
}

/* The operation that a message answers, read; NULL: it cannot be. */
static struct cg_op *read_answer(struct callgate_session *session)
{
	struct cg_codec_frame frame;
	struct cg_op *op = NULL;
	grpc_slice bytes;

	if (!cg_call__read_bytes(session->received, &bytes)) {
		return NULL;
	}
	if (cg_codec_read_frame((struct cg_view){(const char *)GRPC_SLICE_START_PTR(bytes),
	                            GRPC_SLICE_LENGTH(bytes)},
	        &frame)) {
		op = take_asked(session, frame.tag);
	}
	if (op != NULL) {
		cg_call__read_frame(op, &frame);
	}
	grpc_slice_unref(bytes);
	return op;
}

/* Without a message the stream has ended, and its end follows. */
static void on_read(struct cg_tag *tag)
{
	struct callgate_session *session = CG_CONTAINER_OF(tag, struct callgate_session, read_tag);
	struct callgate_client *client = session->client;
	bool has_message = session->received != NULL;
	struct cg_op *op = has_message ? read_answer(session) : NULL;
	bool wake = false;

	grpc_byte_buffer_destroy(session->received);
	session->received = NULL;
	(void)pthread_mutex_lock(&client->lock);
	session->is_reading = false;
	if (op != NULL) {
		op->state = CG_OP_DUE;
		wake = cg_client__push_due_locked(client, &op->due);
		start_read_locked(session);
	} else if (has_message) {
		session->is_readable = false;
		(void)grpc_call_cancel(session->call, NULL);
	}
	settle_and_unlock(session, wake);
}

void cg_session_stream__start_locked(struct callgate_session *session)
{
	struct callgate_client *client = session->client;
	grpc_op ops[CG_CALL_BEGIN_OPS] = {0};
	grpc_op begin[3];

	session->call = grpc_channel_create_registered_call(client->channel, NULL,
	    GRPC_PROPAGATE_DEFAULTS, client->queue, client->registered[CG_CODEC_COUNT],
	    gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	session->is_readable = true;
	session->has_begun = true;
	session->end_tag.completed = on_end;
	session->read_tag.completed = on_read;
	session->write_tag.completed = on_written;
	cg_call__begin_ops(client, &session->end, NULL, ops);
	begin[0] = ops[0]; /* neither a message nor the half-close yet */
	begin[1] = ops[3];
	begin[2] = ops[4];
	start_batch(session, &session->end_tag, begin, CG_COUNT_OF(begin));
	start_read_locked(session);
}
