/*
 * Calls that we make.
 *
 *   AUTHORIZING --allowed--> NOTING --kept--> MAKING --made--------------> 201
 *        | '--the same request before--> FINDING --found---------------> 200, the same call
 *        '--denied-----------------> 200, not placed     '--not found--> 202
 *                                             MAKING --refused---------> 502, its hold given back
 *                                             MAKING --who knows-------> 202
 *
 * AUTHORIZING waits for the gate, NOTING for Postgres, MAKING and FINDING for the provider.  The point of
 * no return is the request to make it: Vapi knows no idempotency key, so it is never repeated.  What
 * came of one that was not answered is found by the call's name (look.c), and until then its hold stays.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "edge/json/doc.h"
#include "edge/json/out.h"
#include "edge/service/edge.h"
#include "edge/vapi/answer.h"

#define VALUES_MAX  100
#define FIND_IN_MS  10000
#define LIST_VALUES 8000000
/* The provider's clock may be behind ours. */
#define FIND_BACK_MS 60000

struct placing {
	struct cg_edge *edge;
	struct cg_http_request *request;
	char name[65];
	char company_id[CG_UUID_TEXT_LEN + 1];
	char phone_number_id[65];
	char assistant_id[65];
	char customer_number[CG_VAPI_NUMBER_BYTES];
	int64_t granted_ms;
	int64_t max_seconds;
};

bool cg_edge_is_named(const struct cg_vapi_call *call)
{
	return strcmp(call->type, "outboundPhoneCall") == 0 &&
	    strncmp(call->name, CG_EDGE_NAME, strlen(CG_EDGE_NAME)) == 0;
}

/* `call_id` may be NULL: not known. */
static void answer(struct placing *p, unsigned status, const char *outcome, const char *call_id)
{
	char memory[512];
	struct cg_out out;

	cg_out_init(&out, memory, sizeof memory);
	cg_out_object(&out, NULL);
	cg_out_text(&out, "outcome", outcome);
	cg_out_text(&out, "name", p->name);
	if (call_id != NULL) {
		cg_out_text(&out, "call_id", call_id);
	}
	if (p->max_seconds > 0) {
		cg_out_int(&out, "max_seconds", p->max_seconds);
	}
	cg_out_end(&out, '}');
	CG_ASSERT(!out.buffer.overflow);
	cg_log(CG_LOG_INFO, "outbound call", "outcome", outcome, "name", p->name, "company",
	    p->company_id, "call", call_id, NULL);
	cg_http_answer(p->request, status, "application/json", cg_out_view(&out));
	free(p);
}

static void note(struct placing *p, const char *call_id, const char *state, const char *outcome,
    int64_t look_in_ms, cg_edge_rows_done done)
{
	struct cg_edge_note note = {
	    .call_id = call_id,
	    .state = state,
	    .company_id = p->company_id,
	    .kind = "outboundPhoneCall",
	    .phone_number_id = p->phone_number_id,
	    .name = p->name,
	    .resource_type = "voice_outbound",
	    .destination = p->customer_number,
	    .granted_ms = p->granted_ms,
	    .outcome = outcome,
	    .look_in_ms = look_in_ms,
	};

	cg_edge_store_note(p->edge->store, &note, done, p);
}

static void on_let_go(void *context, const struct callgate_error *error,
    const struct callgate_cancel_response *response)
{
	(void)context;
	(void)error; /* Its lease gives the hold back. */
	(void)response;
}

static void let_go(const struct placing *p)
{
	struct callgate_cancel_request cancel = {.company_id = p->company_id, .call_id = p->name};

	(void)callgate_cancel(p->edge->books, &cancel, on_let_go, NULL);
}

/* Whether nothing can have been made of it. */
static bool was_refused(const struct cg_fetch_answer *said)
{
	if (said->status != CG_OK) {
		return said->status == CG_UNAVAILABLE || said->status == CG_FULL;
	}
	return said->code >= 400 && said->code < 500 && said->code != 408;
}

static void on_made(void *owner, const struct cg_fetch_answer *said)
{
	struct placing *p = owner;
	struct cg_vapi_call call;
	struct cg_error err;

	if (said->status == CG_OK && (said->code == 201 || said->code == 200) &&
	    cg_vapi_read_answer(said->body, &call, &err) == CG_OK) {
		p->edge->counts.calls_placed++;
		note(p, call.id, "admitted", NULL, p->granted_ms + p->edge->settings.look_after_ms,
		    NULL);
		note(p, p->name, "closed", "made", 0, NULL);
		answer(p, 201, "placed", call.id);
		return;
	}
	if (was_refused(said)) {
		cg_log(CG_LOG_WARN, "the provider does not make a call", "code",
		    cg_log_int(said->code), "why", said->why, NULL);
		note(p, p->name, "closed", "refused by the provider", 0, NULL);
		let_go(p);
		answer(p, 502, "refused_by_provider", NULL);
		return;
	}
	p->edge->counts.calls_unknown++;
	answer(p, 202, "unknown", NULL);
}

static void on_noted(
    void *owner, enum cg_status status, const struct cg_edge_row *rows, size_t count)
{
	struct placing *p = owner;
	char memory[2048];

	(void)rows;
	(void)count;
	if (status != CG_OK) {
		/* Nobody would find out what became of it. */
		let_go(p);
		answer(p, 503, "unavailable", NULL);
		return;
	}
	struct cg_vapi_create create = {
	    .name = p->name,
	    .assistant_id = p->assistant_id,
	    .phone_number_id = p->phone_number_id,
	    .customer_number = p->customer_number,
	    .external_id = p->company_id,
	    .grant = {.max_seconds = p->max_seconds,
	        .company_id = p->company_id,
	        .reservation_id = p->name},
	};
	cg_edge_provider_ask(
	    p->edge, "POST", "/call", cg_vapi_create(memory, sizeof memory, &create), on_made, p);
}

static void on_found_again(void *owner, enum cg_snapshot_kind kind, const struct cg_vapi_call *call)
{
	bool is_found = kind != CG_SNAPSHOT_AWAY && kind != CG_SNAPSHOT_ABSENT;

	answer(owner, is_found ? 200 : 202, is_found ? "placed" : "unknown",
	    is_found ? call->id : NULL);
}

/* The same request came before: whatever became of it, it is not made a second time. */
static void on_row(void *owner, enum cg_status status, const struct cg_edge_row *rows, size_t count)
{
	struct placing *p = owner;

	if (status != CG_OK) {
		answer(p, 503, "unavailable", NULL);
	} else if (count == 1 && strcmp(rows[0].call_id, p->name) != 0) {
		answer(p, 200, "placed", rows[0].call_id);
	} else if (count == 1) {
		cg_edge_find_named(p->edge, &rows[0], on_found_again, p);
	} else {
		/*
		 * Held, and not noted: it is being made this moment, or the edge died before it was.
		 * Only who was decided first makes it; the look gives the hold back if nobody did.
		 */
		note(p, p->name, "admitted", NULL, FIND_IN_MS, NULL);
		answer(p, 202, "unknown", NULL);
	}
}

static void on_decided(void *context, const struct callgate_error *error,
    const struct callgate_authorize_response *response)
{
	struct placing *p = context;

	if (error != NULL) {
		switch (cg_edge_gate_of(error)) {
		case CG_EDGE_GATE_AWAY:
			answer(p, 503, "unavailable", NULL);
			break;
		case CG_EDGE_GATE_UNKNOWN:
			answer(p, 404, "no_wallet", NULL);
			break;
		case CG_EDGE_GATE_REUSED:
			answer(p, 409, "request_id_reused", NULL);
			break;
		case CG_EDGE_GATE_OK:
		case CG_EDGE_GATE_STATE:
		case CG_EDGE_GATE_REFUSED:
			answer(p, 400, "invalid", NULL);
			break;
		}
		return;
	}
	if (response->replayed) {
		cg_edge_store_read(p->edge->store, p->name, on_row, p);
		return;
	}
	if (response->decision != CALLGATE_DECISION_ALLOWED) {
		answer(p, 200, callgate_decision_name(response->decision), NULL);
		return;
	}
	const struct cg_edge_settings *settings = &p->edge->settings;
	p->granted_ms = response->max_duration_ms;
	p->max_seconds = (response->max_duration_ms - settings->margin_ms) / 1000;
	if (p->max_seconds > CG_VAPI_SECONDS_MAX) {
		p->max_seconds = CG_VAPI_SECONDS_MAX;
	}
	/* Without a hold nobody could find an unknown outcome out; such calls wait for the gate. */
	if (p->max_seconds < settings->least_seconds || response->degraded) {
		let_go(p);
		answer(p, response->degraded ? 503 : 200,
		    response->degraded ? "unavailable" : "denied_insufficient_funds", NULL);
		return;
	}
	note(p, p->name, "admitted", NULL, FIND_IN_MS, on_noted);
}

/* NULL where the request is good; else what is wrong with it. */
static const char *read_request(struct placing *p)
{
	enum {
		COMPANY,
		NUMBER,
		ASSISTANT,
		CUSTOMER,
		REQUEST,
		COUNT
	};
	static const char *const names[COUNT] = {
	    "company_id", "phone_number_id", "assistant_id", "customer_number", "request_id"};
	struct cg_view v[COUNT];
	struct cg_view document;
	struct cg_error err;
	struct cg_uuid id;
	char request_id[CG_UUID_TEXT_LEN + 1];

	if (cg_doc_check(cg_http_body(p->request), VALUES_MAX, &document, &err) != CG_OK) {
		return "no JSON object";
	}
	cg_doc_members(document, names, COUNT, v);
	(void)cg_doc_string(v[COMPANY], p->company_id, sizeof p->company_id);
	(void)cg_doc_string(v[NUMBER], p->phone_number_id, sizeof p->phone_number_id);
	(void)cg_doc_string(v[ASSISTANT], p->assistant_id, sizeof p->assistant_id);
	(void)cg_doc_string(v[CUSTOMER], p->customer_number, sizeof p->customer_number);
	(void)cg_doc_string(v[REQUEST], request_id, sizeof request_id);
	if (!cg_uuid_parse(cg_view_of(request_id), &id)) {
		return "request_id: must be a UUID; the same one makes the same call";
	}
	cg_uuid_format(&id, request_id);
	(void)snprintf(p->name, sizeof p->name, CG_EDGE_NAME "%s", request_id);
	if (!cg_uuid_parse(cg_view_of(p->company_id), &id)) {
		return "company_id: must be a UUID";
	}
	cg_uuid_format(&id, p->company_id);
	if (!cg_vapi_is_e164(p->customer_number)) {
		return "customer_number: must be E.164 with '+'";
	}
	const struct cg_number *number =
	    cg_directory_number(p->edge->directory, p->phone_number_id, "");
	if (number == NULL || strcmp(number->company_id, p->company_id) != 0) {
		return "phone_number_id: must be one of the company's numbers";
	}
	if (p->assistant_id[0] == '\0') {
		memcpy(p->assistant_id, number->assistant_id, sizeof p->assistant_id);
	}
	return p->assistant_id[0] == '\0' ? "assistant_id: missing" : NULL;
}

void cg_edge_place_call(struct cg_edge *edge, struct cg_http_request *request)
{
	struct placing *p = calloc(1, sizeof *p);

	CG_ASSERT(p != NULL);
	p->edge = edge;
	p->request = request;
	const char *wrong = read_request(p);
	if (wrong != NULL) {
		cg_edge_answer_json(request, 400, "error", wrong);
		free(p);
		return;
	}
	struct callgate_meta meta[] = {
	    {"provider", "vapi"}, {"phone_number_id", p->phone_number_id}};
	struct callgate_authorize_request authorize = {
	    .company_id = p->company_id,
	    .call_id = p->name,
	    .resource_type = "voice_outbound",
	    .destination = p->customer_number,
	    .meta = meta,
	    .meta_count = CG_COUNT_OF(meta),
	};
	if (callgate_authorize(edge->gate, &authorize, on_decided, p) != CALLGATE_ACCEPTED) {
		answer(p, 503, "unavailable", NULL);
	}
}

struct finding {
	char name[65];
	cg_edge_call_done done;
	void *owner;
};

static void on_listed(void *owner, const struct cg_fetch_answer *said)
{
	struct finding *finding = owner;
	cg_edge_call_done done = finding->done;
	void *whose = finding->owner;
	enum cg_snapshot_kind kind = CG_SNAPSHOT_AWAY;
	struct cg_vapi_call call = {.cost_micros = -1};
	struct cg_view document;
	struct cg_error err;

	if (said->status == CG_OK && said->code == 200 &&
	    cg_doc_check(said->body, LIST_VALUES, &document, &err) == CG_OK &&
	    cg_doc_type(document) == CG_DOC_ARRAY) {
		struct cg_doc_walk walk;
		struct cg_view key;
		struct cg_view value;
		kind = CG_SNAPSHOT_ABSENT;
		cg_doc_walk(&walk, document);
		while (kind == CG_SNAPSHOT_ABSENT && cg_doc_next(&walk, &key, &value)) {
			cg_vapi_read_call(value, &call);
			if (strcmp(call.name, finding->name) == 0) {
				kind = cg_vapi_snapshot_of(&call);
			}
		}
	}
	free(finding);
	done(whose, kind, &call);
}

void cg_edge_find_named(
    struct cg_edge *edge, const struct cg_edge_row *row, cg_edge_call_done done, void *owner)
{
	struct finding *finding = calloc(1, sizeof *finding);
	char path[256];
	char since[32];

	CG_ASSERT(finding != NULL);
	*finding = (struct finding){.done = done, .owner = owner};
	(void)snprintf(finding->name, sizeof finding->name, "%s", row->name);
	cg_vapi_format_time(row->created_at_ms - FIND_BACK_MS, since);
	edge->counts.looks++;
	(void)snprintf(path, sizeof path, "/call?limit=1000&createdAtGt=%s&phoneNumberId=%s", since,
	    row->phone_number_id);
	cg_edge_provider_ask(edge, "GET", path, (struct cg_view){NULL, 0}, on_listed, finding);
}
