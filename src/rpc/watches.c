/*
 * Wallets.Watch: one call that tells what happens, from the events room to one peer.
 *
 *   OPEN --the events room ends it--> ENDING --its status is on the way--> LEAVING
 *     |                                 |                                    |
 *     '---------the peer is gone--------+------------------------------------'--> GONE
 *
 * OPEN has a watcher at the events room, and at most one message under way: the room is
 * asked for the next one when gRPC has taken the last, so a peer that does not read makes us
 * hold one message and no more.  ENDING waits for a message that is under way, LEAVING for
 * the end of the call; neither for longer than CG_WATCH_ENDING_MAX_MS, after which the call
 * is cut off with the same status, which then overtakes what is stuck.  GONE waits for what
 * is under way, but no longer than CG_UNREAD_MAX_MS: then the connection is cut, which ends it.
 * And the watch is given back.
 *
 * The end of the call is listened for from the beginning, on its own: a peer that hangs up,
 * or whose deadline passes (gRPC itself answers DEADLINE_EXCEEDED), frees its watcher at once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <grpc/byte_buffer.h>
#include <grpc/slice.h>

#include "rpc/encode.h"
#include "rpc/rpc_internal.h"
#include "rpc/rules.h"

static const unsigned allowed[] = {
    [CG_WATCH_OPEN] = 1u << CG_WATCH_ENDING | 1u << CG_WATCH_GONE,
    [CG_WATCH_ENDING] = 1u << CG_WATCH_LEAVING | 1u << CG_WATCH_GONE,
    [CG_WATCH_LEAVING] = 1u << CG_WATCH_GONE,
    [CG_WATCH_GONE] = 0,
};

static void move(struct cg_rpc_watch *watch, enum cg_watch_state next)
{
	CG_ASSERT((allowed[watch->state] & (1u << next)) != 0);
	watch->state = next;
}

/* Never "it is over": a watch has no good end. */
static struct cg_rpc_failure failure_of(enum cg_watch_end why)
{
	switch (why) {
	case CG_WATCH_END_TOO_OLD:
		return (struct cg_rpc_failure){
		    .status = CG_OUT_OF_RANGE, .reason = CG_REASON_TOKEN_TOO_OLD};
	case CG_WATCH_END_TOO_SLOW:
		return (struct cg_rpc_failure){
		    .status = CG_FULL, .reason = CG_REASON_WATCHER_TOO_SLOW};
	case CG_WATCH_END_CLOSING:
		return (struct cg_rpc_failure){
		    .status = CG_CLOSING, .reason = CG_REASON_SHUTTING_DOWN};
	}
	CG_UNREACHABLE();
}

static void start(
    struct cg_rpc_watch *watch, struct cg_rpc_op *op, const grpc_op *ops, size_t op_count)
{
	cg_rpc_bridge_expect(watch->server->bridge);
	grpc_call_error error = grpc_call_start_batch(watch->call, ops, op_count, op, NULL);
	CG_ASSERT(error == GRPC_CALL_OK);
}

/* Sends one thing, behind the answer's headers where it is the first. */
static void send(struct cg_rpc_watch *watch, const grpc_op *op)
{
	grpc_op ops[] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, *op};
	size_t skipped = watch->has_begun ? 1 : 0;

	CG_ASSERT(!watch->is_sending);
	watch->is_sending = true;
	watch->has_begun = true;
	start(watch, &watch->sent, ops + skipped, CG_COUNT_OF(ops) - skipped);
}

static void send_status(struct cg_rpc_watch *watch)
{
	struct cg_rpc_failure failure = failure_of(watch->why);
	struct cg_rpc_ending ending;

	move(watch, CG_WATCH_LEAVING);
	cg_ending__init(&ending, &failure, &watch->server->decoder.arena);
	send(watch, &ending.op);
	cg_ending__deinit(&ending);
}

/* Gives the watch back once nothing of it is under way any more. */
static void give_back_if_over(struct cg_rpc_watch *watch)
{
	if (watch->state == CG_WATCH_GONE && !watch->is_sending) {
		cg_list_remove(&watch->link);
		grpc_call_unref(watch->call);
		cg_credentials_unref(watch->credentials);
		cg_slab_give(&watch->server->watches, watch);
	}
}

static void on_sent(struct cg_rpc_op *op, bool ok)
{
	struct cg_rpc_watch *watch = CG_CONTAINER_OF(op, struct cg_rpc_watch, sent);

	watch->is_sending = false;
	switch (watch->state) {
	case CG_WATCH_OPEN:
		/* What did not leave means that the call is over: `closed` is on its way. */
		if (ok) {
			cg_watcher_sent(watch->watcher);
		}
		return;
	case CG_WATCH_ENDING:
		send_status(watch);
		return;
	case CG_WATCH_LEAVING: /* Waits for `closed`. */
		return;
	case CG_WATCH_GONE:
		give_back_if_over(watch);
		return;
	}
}

static void on_closed(struct cg_rpc_op *op, bool ok)
{
	struct cg_rpc_watch *watch = CG_CONTAINER_OF(op, struct cg_rpc_watch, closed);

	(void)ok;
	struct cg_rpc_failure failure = failure_of(watch->why);
	cg_rpc_measure__ended(watch->server, CG_LINE_WATCH,
	    watch->state == CG_WATCH_LEAVING ? cg_rpc_failure_code(&failure)
	                                     : GRPC_STATUS_CANCELLED);
	if (watch->state == CG_WATCH_OPEN) {
		cg_watcher_close(watch->watcher);
		watch->watcher = NULL;
	}
	cg_list_remove(&watch->link);
	move(watch, CG_WATCH_GONE);
	watch->ending_at_ms = cg_loop_now_ms(watch->server->loop);
	cg_connections_use(&watch->server->connections, watch->peer, watch->ending_at_ms);
	cg_list_append(&watch->server->watches_gone, &watch->link);
	give_back_if_over(watch);
}

static void deliver(void *owner, const struct cg_watch_message *message)
{
	struct cg_rpc_watch *watch = owner;

	CG_ASSERT(watch->state == CG_WATCH_OPEN);
	const ProtobufCMessage *response =
	    cg_rpc_encode_watch(message, &watch->server->decoder.arena);
	CG_ASSERT(response != NULL);
	grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(response));
	(void)protobuf_c_message_pack(response, GRPC_SLICE_START_PTR(slice));
	grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(&slice, 1);

	send(
	    watch, &(grpc_op){.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = bytes});
	grpc_byte_buffer_destroy(bytes);
	grpc_slice_unref(slice);
}

static void end(void *owner, enum cg_watch_end why)
{
	struct cg_rpc_watch *watch = owner;
	struct cg_rpc_server *server = watch->server;

	move(watch, CG_WATCH_ENDING);
	watch->watcher = NULL;
	watch->why = why;
	watch->ending_at_ms = cg_loop_now_ms(server->loop);
	cg_list_remove(&watch->link);
	cg_list_append(&server->watches_ending, &watch->link);
	if (!watch->is_sending) {
		send_status(watch);
	}
}

/* The call is the watch's from here on; its end is listened for. */
static void begin(struct cg_rpc_watch *watch, struct cg_rpc_slot *slot)
{
	grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
	    .data.recv_close_on_server.cancelled = &watch->cancelled};

	watch->peer = slot->peer;
	watch->call = cg_slot__hand_over(slot);
	cg_list_append(&watch->server->watches_open, &watch->link);
	start(watch, &watch->closed, &close, 1);
}

static void refuse(struct cg_rpc_slot *slot, enum cg_status status, const struct cg_error *err)
{
	if (status == CG_INVALID) {
		cg_slot__fail(slot,
		    &(struct cg_rpc_failure){.status = status,
		        .reason = CG_REASON_INVALID_FIELD,
		        .field = "resume_token",
		        .bound = CG_BOUND_RESUME_TOKEN,
		        .said = err->text});
	} else if (status == CG_FULL) {
		cg_server__note_refusal(slot->server, CG_REFUSAL_WATCHERS);
		cg_slot__refuse(slot, status, CG_REASON_TOO_MANY_IN_FLIGHT);
	} else {
		cg_slot__refuse(
		    slot, status, status == CG_CLOSING ? CG_REASON_SHUTTING_DOWN : CG_REASON_NONE);
	}
}

/* Asks the events room for a watcher. */
static enum cg_status ask(
    struct cg_rpc_watch *watch, const struct cg_watch_in *in, struct cg_error *err)
{
	static const struct cg_watch_sink sink = {.deliver = deliver, .end = end};

	return cg_events_watch(watch->server->events, in, &sink, watch, &watch->watcher, err);
}

/* Keeps the credential that lets it in, to whose companies it is bound. */
static void bind(
    struct cg_rpc_watch *watch, const struct cg_rpc_caller *caller, struct cg_watch_in *in)
{
	if (caller->credential != NULL) {
		watch->credentials = cg_credentials_ref(watch->server->credentials);
		watch->credential = caller->credential;
		in->companies = caller->credential->companies;
		in->company_count = caller->credential->company_count;
	}
}

void cg_watches__on_request(struct cg_rpc_slot *slot)
{
	struct cg_rpc_server *server = slot->server;
	struct cg_rpc_failure failure;
	struct cg_rpc_fault fault;
	struct cg_watch_in in = {0};
	struct cg_error err = {{0}};
	grpc_slice whole;

	if (cg_calls__refuse_unread(slot, CG_ROLES_READ, "WatchRequest")) {
		return;
	}
	struct cg_view bytes = cg_slot__payload(slot, &whole);
	bool good = cg_rpc_decode_watch(&server->decoder, bytes, &in, &fault);
	grpc_slice_unref(whole);
	if (!good) {
		cg_slot__refuse_field(slot, fault.field, fault.bound);
		return;
	}
	if (!in.all_companies && cg_guard__denies(server, &slot->caller, &in.company, &failure)) {
		cg_slot__fail(slot, &failure);
		return;
	}
	struct cg_rpc_watch *watch = cg_slab_take(&server->watches);
	if (watch == NULL) {
		refuse(slot, CG_FULL, &err);
		return;
	}
	*watch =
	    (struct cg_rpc_watch){.server = server, .closed.done = on_closed, .sent.done = on_sent};
	cg_list_init(&watch->link);
	bind(watch, &slot->caller, &in);
	enum cg_status status = ask(watch, &in, &err);
	if (status != CG_OK) {
		cg_credentials_unref(watch->credentials);
		cg_slab_give(&server->watches, watch);
		refuse(slot, status, &err);
		return;
	}
	begin(watch, slot);
}

static void cut_those_who_do_not_read(struct cg_rpc_server *server, uint64_t now_ms)
{
	struct cg_list *link;

	while ((link = server->watches_gone.next) != &server->watches_gone) {
		struct cg_rpc_watch *watch = CG_CONTAINER_OF(link, struct cg_rpc_watch, link);
		if (watch->ending_at_ms + CG_UNREAD_MAX_MS > now_ms) {
			return;
		}
		cg_list_remove(link); /* Once is enough; `sent` follows. */
		cg_server__cut_peer(server, watch->peer, CG_REFUSAL_UNREADING);
	}
}

void cg_watches__cancel_stuck(struct cg_rpc_server *server)
{
	uint64_t now_ms = cg_loop_now_ms(server->loop);
	struct cg_list *link;

	cut_those_who_do_not_read(server, now_ms);

	while ((link = server->watches_ending.next) != &server->watches_ending) {
		struct cg_rpc_watch *watch = CG_CONTAINER_OF(link, struct cg_rpc_watch, link);
		if (watch->ending_at_ms + CG_WATCH_ENDING_MAX_MS > now_ms) {
			return;
		}
		struct cg_rpc_failure failure = failure_of(watch->why);
		char text[CG_FAILURE_MESSAGE_BYTES];
		cg_rpc_failure_message(&failure, text);
		cg_list_remove(link); /* Once is enough; `closed` follows. */
		(void)grpc_call_cancel_with_status(
		    watch->call, cg_rpc_failure_code(&failure), text, NULL);
	}
}
