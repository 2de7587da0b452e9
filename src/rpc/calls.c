/*
 * A request of the contract: checked, handed to the gate, answered.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <grpc/slice.h>
#include <grpc/support/time.h>

#include "rpc/encode.h"
#include "rpc/rpc_internal.h"

void cg_slot__refuse(struct cg_rpc_slot *slot, enum cg_status status, enum cg_reason reason)
{
	cg_slot__fail(slot, &(struct cg_rpc_failure){.status = status, .reason = reason});
}

void cg_slot__refuse_field(struct cg_rpc_slot *slot, const char *field, const char *bound)
{
	cg_slot__fail(slot,
	    &(struct cg_rpc_failure){.status = CG_INVALID,
	        .reason = CG_REASON_INVALID_FIELD,
	        .field = field,
	        .bound = bound});
}

static void fail_unimplemented(struct cg_rpc_slot *slot)
{
	cg_slot__fail(slot, &(struct cg_rpc_failure){.status = CG_INVALID, .unimplemented = true});
}

/* Gives the body back; what the slot answers must have left it. */
static void drop_body(struct cg_rpc_slot *slot)
{
	struct cg_rpc_body *body = slot->body;

	cg_listing__drop(body);
	cg_credentials_unref(body->credentials);
	slot->body = NULL;
	cg_slab_give(&slot->server->bodies, body);
}

static grpc_slice pack(const ProtobufCMessage *message)
{
	grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));

	(void)protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
	return slice;
}

struct cg_rpc_failure cg_calls__failure_of(
    struct cg_rpc_server *server, const struct cg_rpc_body *body)
{
	const struct cg_request *req = &body->req;

	return (struct cg_rpc_failure){
	    .status = req->status,
	    .reason = req->reason,
	    .field = req->reason == CG_REASON_INVALID_FIELD ? req->field : NULL,
	    .bound = req->bound,
	    .state = req->reason == CG_REASON_WRONG_STATE ? req->state : CG_CALL_NONE,
	    .settled = req->has_settled ? &req->out.settle : NULL,
	    .deadline_passed = body->caller_has_deadline &&
	        body->caller_deadline_at_ms <= cg_loop_now_ms(server->loop),
	};
}

static void answer_failure(struct cg_rpc_slot *slot)
{
	struct cg_rpc_failure failure = cg_calls__failure_of(slot->server, slot->body);

	cg_slot__fail(slot, &failure);
}

static void answer(struct cg_rpc_slot *slot)
{
	struct cg_rpc_body *body = slot->body;

	if (body->req.status != CG_OK) {
		answer_failure(slot);
		return;
	}
	if (body->listing.too_large) {
		cg_slot__refuse_field(
		    slot, "page_size", "smaller: the calls of this page are more than 4 MiB");
		return;
	}
	if (body->listing.no_room) {
		cg_server__note_refusal(slot->server, CG_REFUSAL_LISTING);
		cg_slot__refuse(slot, CG_FULL, CG_REASON_TOO_MANY_IN_FLIGHT);
		return;
	}
	const ProtobufCMessage *message = cg_rpc_encode(&body->req, &slot->server->decoder.arena);
	if (message == NULL) {
		cg_slot__refuse(slot, CG_INTERNAL, CG_REASON_NONE);
		return;
	}
	cg_slot__reply(slot,
	    body->req.method == CG_METHOD_LIST_CALLS ? cg_listing__take(body, message)
	                                             : pack(message));
}

/*
 * One line for each request where somebody debugs; else one a second for those that failed by no
 * fault of their callers.
 */
void cg_calls__log(
    struct cg_rpc_server *server, const struct cg_rpc_body *body, uint64_t arrived_at_ns)
{
	enum cg_status status = body->req.status;
	bool is_failure = status == CG_INTERNAL || status == CG_TIMEOUT || status == CG_LOST ||
	    status == CG_UNAVAILABLE || status == CG_RECOVERING;
	enum cg_log_level level = CG_LOG_DEBUG;
	uint64_t held_back = 0;

	if (is_failure &&
	    cg_log_limit_admits(
	        &server->failures, cg_loop_now_ms(server->loop), 1000, &held_back)) {
		level = CG_LOG_WARN;
	} else if (!cg_log_is_on(CG_LOG_DEBUG)) {
		return;
	}
	char company[CG_UUID_TEXT_LEN + 1];
	cg_uuid_format(&body->req.company, company);
	cg_log(level, is_failure ? "request failed" : "request answered", "method",
	    server->doors[0].lines[body->req.method].path + 1, "status", cg_status_name(status),
	    "company", company, "traceparent", body->traceparent, "took_us",
	    cg_log_int((int64_t)((cg_loop_clock_ns() - arrived_at_ns) / 1000)), "held_back",
	    cg_log_int((int64_t)held_back), NULL);
}

static void on_done(struct cg_request *req)
{
	struct cg_rpc_body *body = CG_CONTAINER_OF(req, struct cg_rpc_body, req);
	struct cg_rpc_slot *slot = body->slot;

	cg_calls__log(slot->server, body, slot->arrived_at_ns);
	answer(slot);
	drop_body(slot);
}

/*
 * An answer at the caller's deadline is one that he does not see: it has to leave earlier, by
 * a tenth of what is left and 20 ms at most.
 */
static int64_t way_back_ms(int64_t left_ms)
{
	return left_ms < 200 ? left_ms / 10 : 20;
}

/* The earlier of the caller's deadline and ours; false where the caller's has passed. */
bool cg_calls__set_deadline(
    struct cg_rpc_server *server, gpr_timespec deadline, struct cg_rpc_body *body)
{
	/* As fresh as what is left: the loop's time stands still during a turn. */
	uint64_t now_ms = cg_loop_clock_ns() / 1000000;
	int64_t left_ms = server->config.deadline_max_ms;

	deadline = gpr_convert_clock_type(deadline, GPR_CLOCK_MONOTONIC);
	body->caller_has_deadline =
	    gpr_time_cmp(deadline, gpr_inf_future(GPR_CLOCK_MONOTONIC)) != 0;
	if (body->caller_has_deadline) {
		gpr_timespec left = gpr_time_sub(deadline, gpr_now(GPR_CLOCK_MONOTONIC));
		int64_t caller_ms =
		    left.tv_sec >= INT32_MAX ? INT32_MAX : (int64_t)gpr_time_to_millis(left);
		if (caller_ms <= 0) {
			return false;
		}
		body->caller_deadline_at_ms = now_ms + (uint64_t)caller_ms;
		caller_ms -= way_back_ms(caller_ms);
		left_ms = caller_ms < left_ms ? caller_ms : left_ms;
	}
	body->req.deadline_at_ms = now_ms + (uint64_t)left_ms;
	return true;
}

/* A listing of all companies is one of those that the caller's credential is bound to. */
static void bind_listing(struct cg_rpc_slot *slot, struct cg_rpc_body *body)
{
	struct cg_list_calls_in *in = &body->req.in.list_calls;
	const struct cg_credential *credential = slot->caller.credential;

	in->on_call = cg_listing__on_call;
	if (in->all_companies && credential != NULL && credential->companies != NULL) {
		body->credentials = cg_credentials_ref(slot->server->credentials);
		in->companies = credential->companies;
		in->company_count = credential->company_count;
	}
}

/* The company is not the caller's, or asks too often; else what the request lacks is added. */
static bool refuse_by_content(struct cg_rpc_slot *slot)
{
	struct cg_request *req = &slot->body->req;
	struct cg_rpc_failure failure;

	if (req->method == CG_METHOD_LIST_CALLS) {
		bind_listing(slot, slot->body);
		if (req->in.list_calls.all_companies) {
			return false;
		}
	}
	if (!cg_guard__denies_request(slot->server, &slot->caller, req, &failure)) {
		return false;
	}
	cg_slot__fail(slot, &failure);
	return true;
}

/* Keeps the caller's trace context; one that stands there twice is none. */
static void take_trace(struct cg_rpc_slot *slot)
{
	static const struct cg_view key = {CG_TRACE_KEY, sizeof CG_TRACE_KEY - 1};
	struct cg_rpc_body *body = slot->body;
	struct cg_view found = {NULL, 0};
	size_t count = 0;

	for (size_t i = 0; i < slot->metadata.count; i++) {
		const grpc_metadata *pair = &slot->metadata.metadata[i];
		if (GRPC_SLICE_LENGTH(pair->key) == key.len &&
		    memcmp(GRPC_SLICE_START_PTR(pair->key), key.data, key.len) == 0) {
			found = (struct cg_view){(const char *)GRPC_SLICE_START_PTR(pair->value),
			    GRPC_SLICE_LENGTH(pair->value)};
			count++;
		}
	}
	if (count == 1 && cg_trace_is_parent(found)) {
		memcpy(body->traceparent, found.data, CG_TRACE_BYTES); /* Zeroed behind it. */
	}
	slot->server->decoder.traceparent = cg_view_of(body->traceparent);
}

static void submit(struct cg_rpc_slot *slot)
{
	struct cg_rpc_server *server = slot->server;
	struct cg_rpc_body *body = slot->body;
	struct cg_rpc_fault fault;
	struct cg_buffer text;
	grpc_slice whole;

	take_trace(slot);
	cg_buffer_init(&text, body->text, sizeof body->text);
	struct cg_view bytes = cg_slot__payload(slot, &whole);
	bool good =
	    cg_rpc_decode(&server->decoder, slot->line->method, bytes, &text, &body->req, &fault);
	grpc_slice_unref(whole);
	if (!good) {
		cg_slot__refuse_field(slot, fault.field, fault.bound);
		drop_body(slot);
		return;
	}
	if (refuse_by_content(slot)) {
		drop_body(slot);
		return;
	}
	body->req.done = on_done;
	cg_gate_submit(server->gate, &body->req);
}

struct cg_rpc_body *cg_calls__take_body(struct cg_rpc_server *server)
{
	struct cg_rpc_body *body = cg_slab_take(&server->bodies);

	if (body != NULL) {
		/* All but the text, which is written before it is read. */
		memset(body, 0, offsetof(struct cg_rpc_body, text));
	}
	return body;
}

/* Takes a body for the request; only what has one may fail to fit. */
static bool take_body(struct cg_rpc_slot *slot)
{
	struct cg_rpc_body *body = cg_calls__take_body(slot->server);

	if (body == NULL) {
		return false;
	}
	body->slot = slot;
	slot->body = body;
	return true;
}

bool cg_calls__refuse_unread(struct cg_rpc_slot *slot, unsigned roles, const char *message_name)
{
	struct cg_rpc_server *server = slot->server;

	server->request_at_ms = cg_loop_now_ms(server->loop);
	if (server->draining) {
		cg_server__note_refusal(server, CG_REFUSAL_CLOSING);
		cg_slot__refuse(slot, CG_CLOSING, CG_REASON_SHUTTING_DOWN);
	} else if (roles != 0 && cg_guard__refuse(slot, roles)) {
		return true;
	} else if (slot->payload == NULL) {
		server->counters.refused_no_message++;
		cg_slot__refuse_field(
		    slot, message_name, "sent: the call ended without its message");
	} else if (slot->payload->data.raw.compression != GRPC_COMPRESS_NONE) {
		cg_server__note_refusal(server, CG_REFUSAL_COMPRESSED);
		fail_unimplemented(slot);
	} else {
		return false;
	}
	return true;
}

void cg_calls__on_request(struct cg_rpc_slot *slot)
{
	struct cg_rpc_server *server = slot->server;

	enum cg_method method = slot->line->method;

	if (cg_calls__refuse_unread(
	        slot, cg_roles_of(method), cg_rpc_decode_message(method)->short_name)) {
		return;
	}
	if (!take_body(slot)) {
		cg_server__note_refusal(server, CG_REFUSAL_IN_FLIGHT);
		cg_slot__refuse(slot, CG_FULL, CG_REASON_TOO_MANY_IN_FLIGHT);
	} else if (!cg_calls__set_deadline(server, slot->deadline, slot->body)) {
		cg_slot__fail(
		    slot, &(struct cg_rpc_failure){.status = CG_TIMEOUT, .deadline_passed = true});
		drop_body(slot);
	} else {
		submit(slot);
	}
}

void cg_calls__on_unknown(struct cg_rpc_slot *slot)
{
	fail_unimplemented(slot);
}
