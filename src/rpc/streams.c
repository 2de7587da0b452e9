/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/streams.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>

static const unsigned allowed[] = {
    [CG_STREAM_OPEN] = 1u << CG_STREAM_ENDING | 1u << CG_STREAM_GONE,
    [CG_STREAM_ENDING] = 1u << CG_STREAM_LEAVING | 1u << CG_STREAM_GONE,
    [CG_STREAM_LEAVING] = 1u << CG_STREAM_GONE,
    [CG_STREAM_GONE] = 0,
};

static void move(struct cg_rpc_stream *stream, enum cg_rpc_stream_state next)
{
	CG_ASSERT((allowed[stream->state] & (1u << next)) != 0);
	stream->state = next;
}

static void start(
    struct cg_rpc_stream *stream, struct cg_rpc_op *op, const grpc_op *ops, size_t op_count)
{
	if (stream->reads_itself) {
		cg_rpc_bridge_expect_stream(stream->server->bridge);
	} else {
		cg_rpc_bridge_expect(stream->server->bridge);
	}
	grpc_call_error error = grpc_call_start_batch(stream->call, ops, op_count, op, NULL);
	CG_ASSERT(error == GRPC_CALL_OK);
}

/* Sends one thing, behind the answer's headers where it is the first. */
static void send(struct cg_rpc_stream *stream, const grpc_op *op)
{
	grpc_op ops[] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, *op};
	size_t skipped = stream->has_begun ? 1 : 0;

	CG_ASSERT(!stream->is_sending);
	stream->is_sending = true;
	stream->has_begun = true;
	start(stream, &stream->sent, ops + skipped, CG_COUNT_OF(ops) - skipped);
}

static void send_status(struct cg_rpc_stream *stream)
{
	grpc_op well = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
	    .data.send_status_from_server.status = GRPC_STATUS_OK};
	struct cg_rpc_ending ending;

	move(stream, CG_STREAM_LEAVING);
	if (stream->why.status == CG_OK) {
		send(stream, &well);
		return;
	}
	cg_ending__init(&ending, &stream->why, &stream->server->decoder.arena);
	send(stream, &ending.op);
	cg_ending__deinit(&ending);
}

static void give_back_if_over(struct cg_rpc_stream *stream)
{
	if (stream->state == CG_STREAM_GONE && !stream->is_sending && !stream->is_receiving) {
		cg_list_remove(&stream->link);
		grpc_call_unref(stream->call);
		cg_slab_give(&stream->server->streams, stream);
	}
}

static void on_sent(struct cg_rpc_op *op, bool ok)
{
	struct cg_rpc_stream *stream = CG_CONTAINER_OF(op, struct cg_rpc_stream, sent);

	stream->is_sending = false;
	switch (stream->state) {
	case CG_STREAM_OPEN:
		/* What did not leave means that the call is over: `closed` is on its way. */
		if (ok) {
			stream->kind->on_sent(stream);
		}
		return;
	case CG_STREAM_ENDING:
		if (ok && stream->kind->on_ending != NULL) {
			stream->kind->on_ending(stream);
		}
		if (!stream->is_sending) {
			send_status(stream);
		}
		return;
	case CG_STREAM_LEAVING: /* Waits for `closed`. */
		return;
	case CG_STREAM_GONE:
		give_back_if_over(stream);
		return;
	}
}

/* A compressed message is none that is served here, as in a request. */
static void take_message(struct cg_rpc_stream *stream, grpc_byte_buffer *message)
{
	grpc_byte_buffer_reader reader;

	if (message->data.raw.compression != GRPC_COMPRESS_NONE ||
	    !grpc_byte_buffer_reader_init(&reader, message)) {
		cg_server__note_refusal(stream->server, CG_REFUSAL_COMPRESSED);
		cg_stream__end(
		    stream, &(struct cg_rpc_failure){.status = CG_INVALID, .unimplemented = true});
		return;
	}
	grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	stream->kind->on_received(stream,
	    (struct cg_view){(const char *)GRPC_SLICE_START_PTR(whole), GRPC_SLICE_LENGTH(whole)});
	grpc_slice_unref(whole);
}

static void on_received(struct cg_rpc_op *op, bool ok)
{
	struct cg_rpc_stream *stream = CG_CONTAINER_OF(op, struct cg_rpc_stream, received);
	grpc_byte_buffer *message = stream->message;

	stream->is_receiving = false;
	stream->message = NULL;
	if (stream->state != CG_STREAM_OPEN) {
		give_back_if_over(stream);
	} else if (message != NULL) {
		take_message(stream, message);
	} else if (ok) {
		stream->kind->on_received_all(stream);
	}
	grpc_byte_buffer_destroy(message);
}

static void on_closed(struct cg_rpc_op *op, bool ok)
{
	struct cg_rpc_stream *stream = CG_CONTAINER_OF(op, struct cg_rpc_stream, closed);

	(void)ok;
	cg_rpc_measure__ended(stream->server, stream->kind->line,
	    stream->state != CG_STREAM_LEAVING ? GRPC_STATUS_CANCELLED
	        : stream->why.status == CG_OK  ? GRPC_STATUS_OK
	                                       : cg_rpc_failure_code(&stream->why));
	cg_list_remove(&stream->link);
	move(stream, CG_STREAM_GONE);
	stream->ending_at_ms = cg_loop_now_ms(stream->server->loop);
	cg_connections_use(&stream->server->connections, stream->peer, stream->ending_at_ms);
	cg_list_append(&stream->server->streams_gone, &stream->link);
	give_back_if_over(stream);
}

/* How many a connection has; they are few, and begin rarely. */
static uint32_t count_of(const struct cg_rpc_server *server, uint64_t peer)
{
	uint32_t count = 0;

	for (struct cg_list *link = server->streams_open.next; link != &server->streams_open;
	     link = link->next) {
		count += CG_CONTAINER_OF(link, struct cg_rpc_stream, link)->peer == peer ? 1 : 0;
	}
	return count;
}

struct cg_rpc_stream *cg_stream__begin(
    struct cg_rpc_slot *slot, const struct cg_rpc_stream_kind *kind)
{
	struct cg_rpc_server *server = slot->server;

	if (count_of(server, slot->peer) >= CG_CONNECTION_STREAMS_MAX) {
		cg_server__note_refusal(server, CG_REFUSAL_CONNECTION_STREAMS);
		cg_slot__refuse(slot, CG_FULL, CG_REASON_TOO_MANY_IN_FLIGHT);
		return NULL;
	}
	struct cg_rpc_stream *stream = cg_slab_take(&server->streams);
	if (stream == NULL) {
		cg_server__note_refusal(server, CG_REFUSAL_STREAMS);
		cg_slot__refuse(slot, CG_FULL, CG_REASON_TOO_MANY_IN_FLIGHT);
		return NULL;
	}
	*stream = (struct cg_rpc_stream){
	    .server = server,
	    .kind = kind,
	    .closed.done = on_closed,
	    .sent.done = on_sent,
	    .received.done = on_received,
	    .peer = slot->peer,
	    .reads_itself = slot->line->reads_itself,
	    .health.told = -1,
	};
	stream->call = cg_slot__hand_over(slot);
	cg_list_append(&server->streams_open, &stream->link);
	grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
	    .data.recv_close_on_server.cancelled = &stream->cancelled};
	start(stream, &stream->closed, &close, 1);
	return stream;
}

void cg_stream__send(struct cg_rpc_stream *stream, grpc_slice message)
{
	CG_ASSERT(stream->state == CG_STREAM_OPEN || stream->state == CG_STREAM_ENDING);
	grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(&message, 1);
	send(stream,
	    &(grpc_op){.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = bytes});
	grpc_byte_buffer_destroy(bytes);
	grpc_slice_unref(message);
}

void cg_stream__receive(struct cg_rpc_stream *stream)
{
	CG_ASSERT(stream->state == CG_STREAM_OPEN && !stream->is_receiving);
	grpc_op op = {
	    .op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &stream->message};

	stream->is_receiving = true;
	start(stream, &stream->received, &op, 1);
}

void cg_stream__end(struct cg_rpc_stream *stream, const struct cg_rpc_failure *failure)
{
	struct cg_rpc_server *server = stream->server;

	move(stream, CG_STREAM_ENDING);
	stream->why = failure != NULL ? *failure : (struct cg_rpc_failure){.status = CG_OK};
	stream->ending_at_ms = cg_loop_now_ms(server->loop);
	cg_list_remove(&stream->link);
	cg_list_append(&server->streams_ending, &stream->link);
	if (!stream->is_sending) {
		send_status(stream);
	}
}

void cg_streams__drain(struct cg_rpc_server *server)
{
	struct cg_list open;
	struct cg_list *link;

	/* Each is taken out and put back: ending one moves it to another list. */
	cg_list_init(&open);
	while ((link = cg_list_pop(&server->streams_open)) != NULL) {
		cg_list_append(&open, link);
	}
	while ((link = cg_list_pop(&open)) != NULL) {
		struct cg_rpc_stream *stream = CG_CONTAINER_OF(link, struct cg_rpc_stream, link);
		cg_list_append(&server->streams_open, link);
		stream->kind->on_drain(stream);
	}
}

static void cut_those_who_do_not_read(struct cg_rpc_server *server, uint64_t now_ms)
{
	struct cg_list *link;

	while ((link = server->streams_gone.next) != &server->streams_gone) {
		struct cg_rpc_stream *stream = CG_CONTAINER_OF(link, struct cg_rpc_stream, link);
		if (stream->ending_at_ms + CG_UNREAD_MAX_MS > now_ms) {
			return;
		}
		cg_list_remove(link); /* Once is enough; `sent` follows. */
		cg_server__cut_peer(server, stream->peer, CG_REFUSAL_UNREADING);
	}
}

void cg_streams__cancel_stuck(struct cg_rpc_server *server)
{
	uint64_t now_ms = cg_loop_now_ms(server->loop);
	struct cg_list *link;

	cut_those_who_do_not_read(server, now_ms);

	while ((link = server->streams_ending.next) != &server->streams_ending) {
		struct cg_rpc_stream *stream = CG_CONTAINER_OF(link, struct cg_rpc_stream, link);
		if (stream->ending_at_ms + CG_WATCH_ENDING_MAX_MS > now_ms) {
			return;
		}
		cg_list_remove(link); /* Once is enough; `closed` follows. */
		(void)grpc_call_cancel(stream->call, NULL);
	}
}
