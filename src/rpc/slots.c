/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>

#include "rpc/rpc_internal.h"

static const unsigned allowed[] = {
    [CG_SLOT_FREE] = 1u << CG_SLOT_POSTED,
    [CG_SLOT_POSTED] = 1u << CG_SLOT_RECEIVING | 1u << CG_SLOT_SERVING | 1u << CG_SLOT_FREE,
    [CG_SLOT_RECEIVING] = 1u << CG_SLOT_SERVING | 1u << CG_SLOT_REPLYING,
    [CG_SLOT_SERVING] = 1u << CG_SLOT_REPLYING | 1u << CG_SLOT_FREE,
    [CG_SLOT_REPLYING] = 1u << CG_SLOT_FREE,
};

static void move(struct cg_rpc_slot *slot, enum cg_slot_state next)
{
	CG_ASSERT((allowed[slot->state] & (1u << next)) != 0);
	slot->state = next;
}

static void give_back(struct cg_rpc_slot *slot)
{
	move(slot, CG_SLOT_FREE);
	cg_list_append(&slot->server->free_slots, &slot->link);
	slot->server->free_count++;
}

static void on_arrived(struct cg_rpc_op *op, bool ok);

static void post(struct cg_rpc_line *line, struct cg_rpc_slot *slot)
{
	struct cg_rpc_server *server = line->server;
	grpc_server *grpc = line->door->grpc;
	grpc_completion_queue *replies = line->reads_itself ? cg_rpc_bridge_streams(server->bridge)
	                                                    : cg_rpc_bridge_replies(server->bridge);
	grpc_completion_queue *arrivals = cg_rpc_bridge_arrivals(server->bridge);
	grpc_call_error error;

	move(slot, CG_SLOT_POSTED);
	slot->line = line;
	slot->op.done = on_arrived;
	slot->metadata.count = 0;
	line->posted_count++;
	if (line->registered != NULL) {
		error = grpc_server_request_registered_call(grpc, line->registered, &slot->call,
		    &slot->deadline, &slot->metadata, NULL, replies, arrivals, &slot->op);
	} else {
		error = grpc_server_request_call(grpc, &slot->call, &slot->details, &slot->metadata,
		    replies, arrivals, &slot->op);
	}
	CG_ASSERT(error == GRPC_CALL_OK);
}

static void post_line(struct cg_rpc_line *line)
{
	struct cg_rpc_server *server = line->server;

	while (line->posted_count < line->posted_wanted && server->state <= CG_SERVER_LINGERING) {
		struct cg_list *link = cg_list_pop(&server->free_slots);
		if (link == NULL) {
			return; /* The next slot that comes back is posted. */
		}
		server->free_count--;
		post(line, CG_CONTAINER_OF(link, struct cg_rpc_slot, link));
	}
}

void cg_slots__post(struct cg_rpc_server *server)
{
	for (uint32_t d = 0; d < server->door_count; d++) {
		for (size_t i = 0; i < CG_LINE_COUNT; i++) {
			post_line(&server->doors[d].lines[i]);
		}
	}
}

bool cg_slot__is_waste(struct cg_rpc_slot *slot)
{
	struct cg_rpc_server *server = slot->server;

	return cg_connections_waste(&server->connections, slot->peer, cg_loop_now_ms(server->loop));
}

static void on_received(struct cg_rpc_op *op, bool ok);

/*
 * The message nearly always came with the headers.  It is asked for here and not left to gRPC,
 * which tells nothing of a call until it has its message: without this nobody would know of those
 * whose message never comes, and no limit would hold for them.
 */
static void receive(struct cg_rpc_slot *slot)
{
	struct cg_rpc_server *server = slot->server;
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &slot->payload};

	move(slot, CG_SLOT_RECEIVING);
	slot->op.done = on_received;
	slot->is_cancelled = false;
	slot->arrived_at_ms = cg_loop_now_ms(server->loop);
	cg_list_append(&server->receiving, &slot->link);
	cg_rpc_bridge_expect(server->bridge);
	grpc_call_error error = grpc_call_start_batch(slot->call, &op, 1, &slot->op, NULL);
	CG_ASSERT(error == GRPC_CALL_OK);
}

/* Its call is somebody else's, or ended: the slot is for the next one. */
static void empty(struct cg_rpc_slot *slot)
{
	struct cg_rpc_server *server = slot->server;
	bool some_missing = server->free_count == 0;

	cg_inflight_leave(&server->inflight, slot->peer);
	if (slot->payload != NULL) {
		grpc_byte_buffer_destroy(slot->payload);
		slot->payload = NULL;
	}
	slot->call = NULL;
	give_back(slot);
	if (some_missing) {
		cg_slots__post(server);
	}
}

static void unref_details(struct cg_rpc_slot *slot)
{
	if (slot->line->registered == NULL) {
		grpc_slice_unref(slot->details.method);
		grpc_slice_unref(slot->details.host);
	}
}

/* Without an answer: its connection has been cut. */
static void drop(struct cg_rpc_slot *slot)
{
	(void)grpc_call_cancel(slot->call, NULL);
	grpc_call_unref(slot->call);
	unref_details(slot);
	empty(slot);
}

static void on_received(struct cg_rpc_op *op, bool ok)
{
	struct cg_rpc_slot *slot = CG_CONTAINER_OF(op, struct cg_rpc_slot, op);
	struct cg_rpc_server *server = slot->server;

	(void)ok;
	cg_list_remove(&slot->link);
	move(slot, CG_SLOT_SERVING);
	if (slot->payload != NULL || grpc_call_failed_before_recv_message(slot->call) == 0) {
		slot->line->on_request(
		    slot); /* Without a message: it was said that there is none. */
		return;
	}
	/* Nobody waits for an answer: it was ended here, or its peer hung up or reset it. */
	cg_rpc_measure__answered(
	    slot, slot->is_cancelled ? GRPC_STATUS_UNAVAILABLE : GRPC_STATUS_CANCELLED);
	if (cg_slot__is_waste(slot)) {
		cg_server__cut_peer(server, slot->peer, CG_REFUSAL_FLOOD);
	}
	drop(slot);
}

/*
 * Counts it against its connection, until its answer has left.  One that has --streams-max, its
 * sessions and what they have asked included, is refused the next; one that has more than it was
 * told it may open, watches included, is cut, as gRPC itself does as soon as the peer has
 * acknowledged the limit.
 */
static bool refuse_flood(struct cg_rpc_slot *slot)
{
	struct cg_rpc_server *server = slot->server;

	cg_connections_use(&server->connections, slot->peer, cg_loop_now_ms(server->loop));
	uint32_t count = cg_inflight_enter(&server->inflight, slot->peer);
	if (count + cg_inflight_count(&server->held, slot->peer) <= server->config.streams_max &&
	    !cg_connections_is_cut(&server->connections, slot->peer)) {
		return false;
	}
	move(slot, CG_SLOT_SERVING);
	/* Of one that has been cut, gRPC may have as many more as it had read by then. */
	if (cg_connections_is_cut(&server->connections, slot->peer) ||
	    count > cg_rpc_streams_told(&server->config) + CG_SLOTS_SPARE ||
	    cg_slot__is_waste(slot)) {
		cg_server__cut_peer(server, slot->peer, CG_REFUSAL_FLOOD);
		drop(slot);
		return true;
	}
	cg_server__note_refusal(server, CG_REFUSAL_CONNECTION_IN_FLIGHT);
	cg_slot__refuse(slot, CG_FULL, CG_REASON_TOO_MANY_IN_FLIGHT);
	return true;
}

static void on_arrived(struct cg_rpc_op *op, bool ok)
{
	struct cg_rpc_slot *slot = CG_CONTAINER_OF(op, struct cg_rpc_slot, op);
	struct cg_rpc_line *line = slot->line;

	line->posted_count--;
	if (!ok) { /* The server ends: there is no call. */
		give_back(slot);
		return;
	}
	/* First of all: calls that find none posted pile up inside gRPC without a limit. */
	post_line(line);
	slot->arrived_at_ns = cg_loop_clock_ns();
	slot->peer = cg_server__peer(line, slot->call);
	if (refuse_flood(slot)) {
		return;
	}
	if (line->registered != NULL && !line->reads_itself) {
		receive(slot);
		return;
	}
	move(slot, CG_SLOT_SERVING);
	line->on_request(slot);
}

grpc_call *cg_slot__hand_over(struct cg_rpc_slot *slot)
{
	grpc_call *call = slot->call;

	CG_ASSERT(slot->body == NULL);
	empty(slot);
	return call;
}

static void on_replied(struct cg_rpc_op *op, bool ok)
{
	struct cg_rpc_slot *slot = CG_CONTAINER_OF(op, struct cg_rpc_slot, op);

	/*
	 * Whether the answer reached the caller is not looked at: what was decided stays, and
	 * the caller finds it again under the same key.
	 */
	(void)ok;
	unref_details(slot);
	grpc_call_unref(slot->call);
	cg_list_remove(&slot->link);
	empty(slot);
}

/* The one place from which a call is answered. */
static void start_reply(
    struct cg_rpc_slot *slot, const grpc_op *ops, size_t op_count, grpc_status_code code)
{
	struct cg_rpc_server *server = slot->server;

	cg_rpc_measure__answered(slot, code);
	move(slot, CG_SLOT_REPLYING);
	slot->op.done = on_replied;
	slot->replied_at_ms = cg_loop_now_ms(server->loop);
	server->request_at_ms = slot->replied_at_ms;
	slot->is_cancelled = false;
	cg_list_append(&server->replying, &slot->link);
	if (slot->line->reads_itself) {
		cg_rpc_bridge_expect_stream(server->bridge);
	} else {
		cg_rpc_bridge_expect(server->bridge);
	}
	grpc_call_error error = grpc_call_start_batch(slot->call, ops, op_count, &slot->op, NULL);
	CG_ASSERT(error == GRPC_CALL_OK);
}

void cg_slot__reply(struct cg_rpc_slot *slot, grpc_slice message)
{
	grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(&message, 1);
	grpc_op ops[] = {
	    {.op = GRPC_OP_SEND_INITIAL_METADATA},
	    {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = bytes},
	    {.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
	        .data.send_status_from_server.status = GRPC_STATUS_OK},
	    {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
	        .data.recv_close_on_server.cancelled = &slot->cancelled},
	};

	start_reply(slot, ops, CG_COUNT_OF(ops), GRPC_STATUS_OK);
	grpc_byte_buffer_destroy(bytes);
	grpc_slice_unref(message);
}

void cg_ending__init(
    struct cg_rpc_ending *ending, const struct cg_rpc_failure *failure, struct cg_arena *arena)
{
	char text[CG_FAILURE_MESSAGE_BYTES];

	cg_rpc_failure_message(failure, text);
	struct cg_view details = cg_rpc_failure_details(failure, arena);
	ending->message = grpc_slice_from_copied_string(text);
	ending->trailer = (grpc_metadata){
	    .key = grpc_slice_from_static_string("grpc-status-details-bin"),
	    .value = grpc_slice_from_copied_buffer(details.data, details.len),
	};
	ending->op = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
	    .data.send_status_from_server = {
	        .status = cg_rpc_failure_code(failure),
	        .status_details = &ending->message,
	        .trailing_metadata_count = details.len > 0 ? 1 : 0,
	        .trailing_metadata = &ending->trailer,
	    }};
}

void cg_ending__deinit(struct cg_rpc_ending *ending)
{
	grpc_slice_unref(ending->trailer.value);
	grpc_slice_unref(ending->message);
}

void cg_slot__fail(struct cg_rpc_slot *slot, const struct cg_rpc_failure *failure)
{
	struct cg_rpc_ending ending;

	cg_ending__init(&ending, failure, &slot->server->decoder.arena);
	grpc_op ops[] = {
	    {.op = GRPC_OP_SEND_INITIAL_METADATA},
	    ending.op,
	    {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
	        .data.recv_close_on_server.cancelled = &slot->cancelled},
	};

	start_reply(slot, ops, CG_COUNT_OF(ops), cg_rpc_failure_code(failure));
	cg_ending__deinit(&ending);
}

struct cg_view cg_slot__bytes(grpc_byte_buffer *message, grpc_slice *ret_whole)
{
	grpc_slice_buffer *pieces = &message->data.raw.slice_buffer;

	if (pieces->count == 1) {
		/* A pointer into the stored slice: short ones live inside it. */
		*ret_whole = grpc_empty_slice();
		return (struct cg_view){(const char *)GRPC_SLICE_START_PTR(pieces->slices[0]),
		    GRPC_SLICE_LENGTH(pieces->slices[0])};
	}
	grpc_byte_buffer_reader reader;
	if (pieces->count == 0 || !grpc_byte_buffer_reader_init(&reader, message)) {
		*ret_whole = grpc_empty_slice();
		return (struct cg_view){NULL, 0};
	}
	*ret_whole = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	return (struct cg_view){
	    (const char *)GRPC_SLICE_START_PTR(*ret_whole), GRPC_SLICE_LENGTH(*ret_whole)};
}

struct cg_view cg_slot__payload(struct cg_rpc_slot *slot, grpc_slice *ret_whole)
{
	return cg_slot__bytes(slot->payload, ret_whole);
}

bool cg_slots__are_scarce(const struct cg_rpc_server *server)
{
	return server->free_count < server->slot_count / 4;
}

/*
 * Where few slots are free, connections have a share each of half of them all: one that has more,
 * and lets them wait for it, takes others' room, whether it means it or not.  0: there are enough.
 */
static uint32_t share_of_each(const struct cg_rpc_server *server)
{
	uint32_t connections = server->connections.count > 0 ? server->connections.count : 1;

	return cg_slots__are_scarce(server) ? server->slot_count / 2 / connections + 1 : 0;
}

/* Whether a slot has waited for its peer long enough: `max_ms`, or much less beyond the share. */
static bool has_waited(
    const struct cg_rpc_slot *slot, uint64_t waits_ms, uint64_t max_ms, uint32_t share)
{
	return waits_ms >= max_ms ||
	    (share > 0 && waits_ms >= CG_SCARCE_MAX_MS &&
	        cg_inflight_count(&slot->server->inflight, slot->peer) > share);
}

/* Ends calls whose message does not come; where there are many, the rest in the next turn. */
static void end_stalled(struct cg_rpc_server *server, uint64_t now_ms)
{
	uint32_t share = share_of_each(server);
	uint32_t ended = 0;

	for (struct cg_list *link = server->receiving.next; link != &server->receiving;
	     link = link->next) {
		struct cg_rpc_slot *slot = CG_CONTAINER_OF(link, struct cg_rpc_slot, link);
		uint64_t waits_ms = now_ms - slot->arrived_at_ms;
		if (waits_ms < CG_SCARCE_MAX_MS || (share == 0 && waits_ms < CG_MESSAGE_MAX_MS)) {
			return; /* And so have all that came later. */
		}
		if (!slot->is_cancelled && has_waited(slot, waits_ms, CG_MESSAGE_MAX_MS, share)) {
			if (ended++ == CG_ENDED_PER_TURN) {
				cg_rpc_bridge_wake(server->bridge);
				return;
			}
			slot->is_cancelled = true; /* `on_received` follows. */
			cg_server__note_refusal(server, CG_REFUSAL_STALLED);
			(void)grpc_call_cancel_with_status(slot->call, GRPC_STATUS_UNAVAILABLE,
			    "the request's message did not come in time", NULL);
		}
	}
}

/* Ends calls whose answer is not read, and then their connections. */
static void end_unread(struct cg_rpc_server *server, uint64_t now_ms)
{
	uint32_t share = share_of_each(server);
	uint32_t ended = 0;

	for (struct cg_list *link = server->replying.next; link != &server->replying;
	     link = link->next) {
		struct cg_rpc_slot *slot = CG_CONTAINER_OF(link, struct cg_rpc_slot, link);
		uint64_t waits_ms = now_ms - slot->replied_at_ms;
		if (waits_ms < CG_SCARCE_MAX_MS || (share == 0 && waits_ms < CG_REPLY_MAX_MS)) {
			return;
		}
		if (has_waited(slot, waits_ms, CG_REPLY_MAX_MS + CG_UNREAD_MAX_MS, share)) {
			cg_server__cut_peer(server, slot->peer, CG_REFUSAL_UNREADING);
		} else if (waits_ms >= CG_REPLY_MAX_MS && !slot->is_cancelled) {
			if (ended++ == CG_ENDED_PER_TURN) {
				cg_rpc_bridge_wake(server->bridge);
				return;
			}
			slot->is_cancelled = true;
			(void)grpc_call_cancel(slot->call, NULL);
		}
	}
}

void cg_slots__cancel_stuck(struct cg_rpc_server *server)
{
	uint64_t now_ms = cg_loop_now_ms(server->loop);

	end_stalled(server, now_ms);
	end_unread(server, now_ms);
}

void cg_slots__init(struct cg_rpc_server *server)
{
	cg_list_init(&server->free_slots);
	cg_list_init(&server->receiving);
	cg_list_init(&server->replying);
	server->slot_count = server->config.calls_max + CG_SLOTS_SPARE;
	for (uint32_t d = 0; d < server->door_count; d++) {
		for (size_t i = 0; i < CG_LINE_COUNT; i++) {
			server->slot_count += server->doors[d].lines[i].posted_wanted;
		}
	}
	server->slots = calloc(server->slot_count, sizeof server->slots[0]);
	CG_ASSERT(server->slots != NULL);
	for (uint32_t i = 0; i < server->slot_count; i++) {
		struct cg_rpc_slot *slot = &server->slots[i];
		slot->server = server;
		grpc_metadata_array_init(&slot->metadata);
		grpc_call_details_init(&slot->details);
		cg_list_append(&server->free_slots, &slot->link);
	}
	server->free_count = server->slot_count;
}

void cg_slots__deinit(struct cg_rpc_server *server)
{
	CG_ASSERT(server->free_count == server->slot_count);
	for (uint32_t i = 0; i < server->slot_count; i++) {
		grpc_metadata_array_destroy(&server->slots[i].metadata);
	}
	free(server->slots);
}
