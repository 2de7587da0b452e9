/*
 * One operation of a session: checked as the method of its own would be, handed to the gate, its
 * answer put into a frame under its tag.  Whatever is wrong with it is its own answer, and the
 * stream goes on.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <grpc/slice.h>

#include "rpc/encode.h"
#include "rpc/sessions_internal.h"

static struct cg_list *bucket_of(struct cg_rpc_session *session, uint64_t tag)
{
	/* Fibonacci hashing: callers count their tags, or step them by a power of two. */
	uint64_t hash = tag * UINT64_C(0x9E3779B97F4A7C15);

	return &session->buckets[hash >> 56];
}

static bool is_unanswered(struct cg_rpc_session *session, uint64_t tag)
{
	struct cg_list *bucket = bucket_of(session, tag);

	for (struct cg_list *link = bucket->next; link != bucket; link = link->next) {
		if (CG_CONTAINER_OF(link, struct cg_session_entry, same_hash)->tag == tag) {
			return true;
		}
	}
	return false;
}

static struct cg_session_entry *take_entry(
    struct cg_rpc_session *session, const struct cg_frame *frame)
{
	struct cg_list *link = cg_list_pop(&session->free);

	CG_ASSERT(link != NULL); /* Nothing is read while there is none. */
	struct cg_session_entry *entry = CG_CONTAINER_OF(link, struct cg_session_entry, link);
	entry->tag = frame->tag;
	entry->method = frame->method;
	entry->arrived_at_ns = cg_loop_clock_ns();
	cg_list_append(bucket_of(session, frame->tag), &entry->same_hash);
	return entry;
}

void cg_session__free_entry(struct cg_session_entry *entry)
{
	grpc_slice_unref(entry->answer);
	cg_inflight_leave(&entry->session->server->held, entry->session->peer);
	cg_list_remove(&entry->same_hash);
	cg_list_append(&entry->session->free, &entry->link);
}

static grpc_slice pack_failure(
    struct cg_rpc_server *server, uint64_t tag, const struct cg_rpc_failure *failure)
{
	grpc_status_code code = cg_rpc_failure_code(failure);
	char text[CG_FAILURE_MESSAGE_BYTES];

	cg_rpc_failure_message(failure, text);
	struct cg_view detail = cg_rpc_failure_detail(failure, &server->decoder.arena);
	grpc_slice slice =
	    grpc_slice_malloc(cg_frame_failure_bytes(tag, code, cg_view_of(text), detail));
	cg_frame_write_failure(tag, code, cg_view_of(text), detail, GRPC_SLICE_START_PTR(slice));
	return slice;
}

static grpc_slice pack_answer(struct cg_rpc_server *server, uint64_t tag,
    const struct cg_rpc_body *body, grpc_status_code *ret_code)
{
	const struct cg_request *req = &body->req;
	struct cg_rpc_failure failure = {.status = CG_INTERNAL};

	if (req->status != CG_OK) {
		failure = cg_calls__failure_of(server, body);
		*ret_code = cg_rpc_failure_code(&failure);
		return pack_failure(server, tag, &failure);
	}
	const ProtobufCMessage *answer = cg_rpc_encode(req, &server->decoder.arena);
	if (answer == NULL) {
		*ret_code = cg_rpc_failure_code(&failure);
		return pack_failure(server, tag, &failure);
	}
	*ret_code = GRPC_STATUS_OK;
	grpc_slice slice = grpc_slice_malloc(cg_frame_answer_bytes(tag, req->method, answer));
	cg_frame_write_answer(tag, req->method, answer, GRPC_SLICE_START_PTR(slice));
	return slice;
}

static void refuse(struct cg_session_entry *entry, const struct cg_rpc_failure *failure)
{
	struct cg_rpc_server *server = entry->session->server;

	cg_rpc_measure__operation(
	    server, entry->method, cg_rpc_failure_code(failure), entry->arrived_at_ns);
	cg_session__answered(entry, pack_failure(server, entry->tag, failure));
}

static void refuse_field(struct cg_session_entry *entry, const char *field, const char *bound)
{
	refuse(entry,
	    &(struct cg_rpc_failure){.status = CG_INVALID,
	        .reason = CG_REASON_INVALID_FIELD,
	        .field = field,
	        .bound = bound});
}

static void refuse_full(struct cg_session_entry *entry, enum cg_refusal refusal)
{
	cg_server__note_refusal(entry->session->server, refusal);
	refuse(entry,
	    &(struct cg_rpc_failure){.status = CG_FULL, .reason = CG_REASON_TOO_MANY_IN_FLIGHT});
}

static void on_done(struct cg_request *req)
{
	struct cg_rpc_body *body = CG_CONTAINER_OF(req, struct cg_rpc_body, req);
	struct cg_session_entry *entry = body->entry;
	struct cg_rpc_session *session = entry->session;
	struct cg_rpc_server *server = session->server;
	bool is_wanted = session->state != CG_SESSION_GONE;
	grpc_status_code code = GRPC_STATUS_CANCELLED;

	cg_calls__log(server, body, entry->arrived_at_ns);
	/* Of a session that is gone nobody hears what became of what it began. */
	grpc_slice answer =
	    is_wanted ? pack_answer(server, entry->tag, body, &code) : grpc_empty_slice();
	cg_rpc_measure__operation(server, entry->method, code, entry->arrived_at_ns);
	cg_slab_give(&server->bodies, body);
	session->serving_count--;
	cg_session__answered(entry, answer);
}

/* The operation is in `body`, whole and within its bounds. */
static void submit(struct cg_session_entry *entry, struct cg_rpc_body *body)
{
	struct cg_rpc_session *session = entry->session;

	body->entry = entry;
	body->req.done = on_done;
	session->serving_count++;
	cg_gate_submit(session->server->gate, &body->req);
}

/*
 * Decodes the operation into a body, and asks the guard; false: it is answered.  It has no trace
 * context: the metadata is the stream's, and what goes into a call's meta is said there.
 */
static bool decode(
    struct cg_session_entry *entry, const struct cg_frame *frame, struct cg_rpc_body *body)
{
	struct cg_rpc_session *session = entry->session;
	struct cg_rpc_server *server = session->server;
	struct cg_rpc_failure failure;
	struct cg_rpc_fault fault;
	struct cg_buffer text;

	server->decoder.traceparent = (struct cg_view){NULL, 0};
	cg_buffer_init(&text, body->text, sizeof body->text);
	if (!cg_calls__set_deadline(server, session->deadline, body)) {
		refuse(
		    entry, &(struct cg_rpc_failure){.status = CG_TIMEOUT, .deadline_passed = true});
		return false;
	}
	if (!cg_rpc_decode(&server->decoder, frame->method, frame->op, &text, &body->req, &fault)) {
		refuse_field(entry, fault.field, fault.bound);
		return false;
	}
	if (cg_guard__denies_request(server, &session->caller, &body->req, &failure)) {
		refuse(entry, &failure);
		return false;
	}
	return true;
}

bool cg_session__take(struct cg_rpc_session *session, struct cg_view bytes)
{
	struct cg_rpc_server *server = session->server;
	struct cg_rpc_fault fault;
	struct cg_frame frame;

	if (!cg_frame_read(bytes, &frame, &fault)) {
		return false;
	}
	bool is_reused = is_unanswered(session, frame.tag);
	struct cg_session_entry *entry = take_entry(session, &frame);
	uint32_t held = cg_inflight_enter(&server->held, session->peer);
	if (is_reused) {
		refuse_field(entry, "tag", "unique among the unanswered requests of its session");
		return true;
	}
	if (frame.method == CG_METHOD_COUNT) {
		refuse_field(entry, fault.field, fault.bound);
		return true;
	}
	if (held + cg_inflight_count(&server->inflight, session->peer) >
	    server->config.streams_max) {
		refuse_full(entry, CG_REFUSAL_CONNECTION_IN_FLIGHT);
		return true;
	}
	struct cg_rpc_body *body = cg_calls__take_body(server);
	if (body == NULL) {
		refuse_full(entry, CG_REFUSAL_IN_FLIGHT);
		return true;
	}
	if (decode(entry, &frame, body)) {
		submit(entry, body);
	} else {
		cg_slab_give(&server->bodies, body);
	}
	return true;
}
