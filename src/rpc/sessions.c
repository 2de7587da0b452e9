/*
 * Gate.Session: many operations in flight on one stream, answered as they end.
 *
 *   OPEN --half-closed, unreadable, revoked, draining--> FINISHING --all sent--> LEAVING
 *     |                                                     |                      |
 *     '---------------the peer is gone----------------------+----------------------'--> GONE
 *
 * OPEN reads one message at a time while an entry is free, and sends one answer at a time: gRPC
 * takes no second one before.  FINISHING reads no more; it waits for the operations that have
 * begun, and for their answers to leave.  LEAVING waits for the end of the call.  GONE waits for
 * the gate, which brings what has begun to its end, and for what gRPC still has under way.
 *
 * What is ready is read before anything is sent: answers leave at the end of a turn, all but the
 * last with the hint that more follow, so that they go to the socket together.
 *
 * A peer that takes nothing for CG_REPLY_MAX_MS is cut off, as one that does not take a single
 * answer is (slots.c): its operations are done, and it finds their answers by their keys.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>

#include "rpc/sessions_internal.h"

static const unsigned allowed[] = {
    [CG_SESSION_OPEN] = 1u << CG_SESSION_FINISHING | 1u << CG_SESSION_GONE,
    [CG_SESSION_FINISHING] = 1u << CG_SESSION_LEAVING | 1u << CG_SESSION_GONE,
    [CG_SESSION_LEAVING] = 1u << CG_SESSION_GONE,
    [CG_SESSION_GONE] = 0,
};

static void move(struct cg_rpc_session *session, enum cg_session_state next)
{
	CG_ASSERT((allowed[session->state] & (1u << next)) != 0);
	session->state = next;
}

static void start(
    struct cg_rpc_session *session, struct cg_rpc_op *op, const grpc_op *ops, size_t op_count)
{
	cg_rpc_bridge_expect_stream(session->server->bridge);
	grpc_call_error error = grpc_call_start_batch(session->call, ops, op_count, op, NULL);
	CG_ASSERT(error == GRPC_CALL_OK);
}

/* Sends one thing, behind the answer's headers where it is the first. */
static void send(struct cg_rpc_session *session, const grpc_op *op)
{
	struct cg_rpc_server *server = session->server;
	grpc_op ops[] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, *op};
	size_t skipped = session->has_begun ? 1 : 0;

	CG_ASSERT(!session->is_sending);
	session->is_sending = true;
	session->has_begun = true;
	session->sending_at_ms = cg_loop_now_ms(server->loop);
	cg_list_append(&server->sessions_sending, &session->sending_link);
	start(session, &session->sent, ops + skipped, CG_COUNT_OF(ops) - skipped);
}

static void send_answer(struct cg_rpc_session *session, struct cg_session_entry *entry)
{
	grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(&entry->answer, 1);
	/* The headers leave with what is not held back; a batch with them would wait for ever. */
	bool more_follow = session->has_begun && !cg_list_is_empty(&session->answered);

	session->leaving = entry;
	send(session,
	    &(grpc_op){.op = GRPC_OP_SEND_MESSAGE,
	        .flags = more_follow ? GRPC_WRITE_BUFFER_HINT : 0,
	        .data.send_message.send_message = bytes});
	grpc_byte_buffer_destroy(bytes);
}

static void send_status(struct cg_rpc_session *session)
{
	struct cg_rpc_ending ending;

	move(session, CG_SESSION_LEAVING);
	if (session->failure.status == CG_OK) {
		send(session,
		    &(grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
		        .data.send_status_from_server.status = GRPC_STATUS_OK});
		return;
	}
	cg_ending__init(&ending, &session->failure, &session->server->decoder.arena);
	send(session, &ending.op);
	cg_ending__deinit(&ending);
}

/* The next answer, or where there is none to come any more the end. */
static void send_next(struct cg_rpc_session *session)
{
	if (session->is_sending ||
	    (session->state != CG_SESSION_OPEN && session->state != CG_SESSION_FINISHING)) {
		return;
	}
	struct cg_list *link = cg_list_pop(&session->answered);
	if (link != NULL) {
		send_answer(session, CG_CONTAINER_OF(link, struct cg_session_entry, link));
	} else if (session->state == CG_SESSION_FINISHING && session->serving_count == 0) {
		send_status(session);
	}
}

/* It has something to send: at the end of the turn, with what else there is by then. */
static void send_soon(struct cg_rpc_session *session)
{
	struct cg_rpc_server *server = session->server;

	if (!session->is_sending && cg_list_is_empty(&session->due_link)) {
		cg_list_append(&server->sessions_due, &session->due_link);
		cg_rpc_bridge_wake(server->bridge);
	}
}

static void drop_answers(struct cg_rpc_session *session)
{
	struct cg_list *link;

	while ((link = cg_list_pop(&session->answered)) != NULL) {
		cg_session__free_entry(CG_CONTAINER_OF(link, struct cg_session_entry, link));
	}
}

static void give_back_if_over(struct cg_rpc_session *session)
{
	struct cg_rpc_server *server = session->server;

	if (session->state != CG_SESSION_GONE || session->is_sending || session->is_reading ||
	    session->serving_count > 0) {
		return;
	}
	cg_list_remove(&session->link);
	cg_list_remove(&session->due_link);
	cg_inflight_leave(&server->held, session->peer);
	cg_credentials_unref(session->credentials);
	grpc_call_unref(session->call);
	server->session_count--;
	free(session);
}

void cg_session__answered(struct cg_session_entry *entry, grpc_slice answer)
{
	struct cg_rpc_session *session = entry->session;

	entry->answer = answer;
	if (session->state == CG_SESSION_GONE) {
		cg_session__free_entry(entry);
		give_back_if_over(session);
		return;
	}
	cg_list_append(&session->answered, &entry->link);
	send_soon(session);
}

static void read_next(struct cg_rpc_session *session)
{
	if (session->is_reading || session->state != CG_SESSION_OPEN ||
	    cg_list_is_empty(&session->free)) {
		return;
	}
	session->is_reading = true;
	session->message = NULL;
	start(session, &session->read,
	    &(grpc_op){
	        .op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &session->message},
	    1);
}

/* Nothing more is read; `failure` of status CG_OK: the peer has said all. */
static void finish(struct cg_rpc_session *session, const struct cg_rpc_failure *failure)
{
	move(session, CG_SESSION_FINISHING);
	session->failure = *failure;
	send_soon(session);
}

/* What is no message of the contract ends the stream, since no tag says which it was. */
static void take(struct cg_rpc_session *session, grpc_byte_buffer *message)
{
	struct cg_rpc_server *server = session->server;
	grpc_slice whole;

	server->request_at_ms = cg_loop_now_ms(server->loop);
	if (message->data.raw.compression != GRPC_COMPRESS_NONE) {
		cg_server__note_refusal(server, CG_REFUSAL_COMPRESSED);
		finish(
		    session, &(struct cg_rpc_failure){.status = CG_INVALID, .unimplemented = true});
		return;
	}
	struct cg_view bytes = cg_slot__bytes(message, &whole);
	bool good = cg_session__take(session, bytes);
	grpc_slice_unref(whole);
	if (!good) {
		finish(session,
		    &(struct cg_rpc_failure){.status = CG_INVALID,
		        .reason = CG_REASON_INVALID_FIELD,
		        .field = "SessionRequest",
		        .bound = "a well-formed protobuf message"});
	}
}

static void on_read(struct cg_rpc_op *op, bool ok)
{
	struct cg_rpc_session *session = CG_CONTAINER_OF(op, struct cg_rpc_session, read);
	grpc_byte_buffer *message = session->message;

	session->is_reading = false;
	session->message = NULL;
	/* What comes once nothing is read any more has not begun, and its sender is told so. */
	if (session->state == CG_SESSION_OPEN && ok && message != NULL) {
		cg_connections_use(&session->server->connections, session->peer,
		    cg_loop_now_ms(session->server->loop));
		take(session, message);
		read_next(session);
	} else if (session->state == CG_SESSION_OPEN) {
		finish(session, &(struct cg_rpc_failure){.status = CG_OK});
	}
	if (message != NULL) {
		grpc_byte_buffer_destroy(message);
	}
	give_back_if_over(session);
}

static void on_sent(struct cg_rpc_op *op, bool ok)
{
	struct cg_rpc_session *session = CG_CONTAINER_OF(op, struct cg_rpc_session, sent);
	struct cg_session_entry *entry = session->leaving;

	/* What did not leave means that the call is over: `closed` is on its way. */
	session->is_sending = false;
	session->leaving = NULL;
	cg_list_remove(&session->sending_link);
	if (entry != NULL) {
		cg_session__free_entry(entry);
	}
	if (ok) {
		send_next(session);
		read_next(session);
	}
	give_back_if_over(session);
}

/* What its peer has heard of its end. */
static grpc_status_code code_of(const struct cg_rpc_session *session)
{
	if (session->is_cancelled) {
		return GRPC_STATUS_RESOURCE_EXHAUSTED;
	}
	if (session->state != CG_SESSION_LEAVING) {
		return GRPC_STATUS_CANCELLED;
	}
	return session->failure.status == CG_OK ? GRPC_STATUS_OK
	                                        : cg_rpc_failure_code(&session->failure);
}

static void on_closed(struct cg_rpc_op *op, bool ok)
{
	struct cg_rpc_session *session = CG_CONTAINER_OF(op, struct cg_rpc_session, closed);
	struct cg_rpc_server *server = session->server;

	(void)ok;
	cg_rpc_measure__ended(server, CG_LINE_SESSION, code_of(session));
	cg_connections_use(&server->connections, session->peer, cg_loop_now_ms(server->loop));
	move(session, CG_SESSION_GONE);
	drop_answers(session);
	give_back_if_over(session);
}

static struct cg_rpc_session *create(struct cg_rpc_server *server)
{
	uint32_t window = server->config.session_window;
	struct cg_rpc_session *session =
	    calloc(1, sizeof *session + window * sizeof session->entries[0]);

	CG_ASSERT(session != NULL);
	session->server = server;
	session->read.done = on_read;
	session->sent.done = on_sent;
	session->closed.done = on_closed;
	cg_list_init(&session->due_link);
	cg_list_init(&session->sending_link);
	cg_list_init(&session->free);
	cg_list_init(&session->answered);
	for (size_t i = 0; i < CG_SESSION_BUCKETS; i++) {
		cg_list_init(&session->buckets[i]);
	}
	for (uint32_t i = 0; i < window; i++) {
		session->entries[i].session = session;
		cg_list_init(&session->entries[i].same_hash);
		cg_list_append(&session->free, &session->entries[i].link);
	}
	return session;
}

/* The call is the session's from here on; its end is listened for. */
static void begin(struct cg_rpc_session *session, struct cg_rpc_slot *slot)
{
	struct cg_rpc_server *server = session->server;
	grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
	    .data.recv_close_on_server.cancelled = &session->cancelled};

	session->deadline = slot->deadline;
	session->peer = slot->peer;
	session->caller = slot->caller;
	if (session->caller.credential != NULL) {
		session->credentials = cg_credentials_ref(server->credentials);
	}
	(void)cg_inflight_enter(&server->held, session->peer);
	session->call = cg_slot__hand_over(slot);
	server->session_count++;
	cg_list_append(&server->sessions, &session->link);
	start(session, &session->closed, &close, 1);
	read_next(session);
}

void cg_sessions__on_request(struct cg_rpc_slot *slot)
{
	struct cg_rpc_server *server = slot->server;

	server->request_at_ms = cg_loop_now_ms(server->loop);
	if (server->draining) {
		cg_server__note_refusal(server, CG_REFUSAL_CLOSING);
		cg_slot__refuse(slot, CG_CLOSING, CG_REASON_SHUTTING_DOWN);
	} else if (cg_guard__refuse(slot, CG_ROLE_GATE)) {
		return;
	} else if (server->session_count >= server->config.sessions_max) {
		cg_server__note_refusal(server, CG_REFUSAL_SESSIONS);
		cg_slot__refuse(slot, CG_FULL, CG_REASON_TOO_MANY_IN_FLIGHT);
	} else {
		begin(create(server), slot);
	}
}

void cg_sessions__drain(struct cg_rpc_server *server)
{
	for (struct cg_list *link = server->sessions.next; link != &server->sessions;
	     link = link->next) {
		struct cg_rpc_session *session = CG_CONTAINER_OF(link, struct cg_rpc_session, link);
		if (session->state == CG_SESSION_OPEN) {
			finish(session,
			    &(struct cg_rpc_failure){
			        .status = CG_CLOSING, .reason = CG_REASON_SHUTTING_DOWN});
		}
	}
}

void cg_sessions__end_revoked(struct cg_rpc_server *server)
{
	for (struct cg_list *link = server->sessions.next; link != &server->sessions;
	     link = link->next) {
		struct cg_rpc_session *session = CG_CONTAINER_OF(link, struct cg_rpc_session, link);
		if (session->state == CG_SESSION_OPEN &&
		    cg_guard__is_revoked(server, session->caller.credential)) {
			server->counters.sessions_revoked++;
			finish(session,
			    &(struct cg_rpc_failure){.status = CG_DENIED,
			        .unauthenticated = true,
			        .said = "the credential was taken away or changed"});
		}
	}
}

static void cut_if_stuck(struct cg_rpc_session *session, uint64_t now_ms)
{
	if (!session->is_cancelled) {
		session->is_cancelled = true;
		(void)grpc_call_cancel_with_status(session->call, GRPC_STATUS_RESOURCE_EXHAUSTED,
		    "the answers of this session are not read", NULL);
	} else if (session->sending_at_ms + CG_REPLY_MAX_MS + CG_UNREAD_MAX_MS <= now_ms) {
		cg_server__cut_peer(session->server, session->peer, CG_REFUSAL_UNREADING);
	}
}

void cg_sessions__on_turn(struct cg_rpc_server *server)
{
	uint64_t now_ms = cg_loop_now_ms(server->loop);
	struct cg_list *link;

	while ((link = cg_list_pop(&server->sessions_due)) != NULL) {
		send_next(CG_CONTAINER_OF(link, struct cg_rpc_session, due_link));
	}
	for (link = server->sessions_sending.next; link != &server->sessions_sending;
	     link = link->next) {
		struct cg_rpc_session *session =
		    CG_CONTAINER_OF(link, struct cg_rpc_session, sending_link);
		if (session->sending_at_ms + CG_REPLY_MAX_MS > now_ms) {
			break;
		}
		cut_if_stuck(session, now_ms);
	}
}
