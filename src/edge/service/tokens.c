/*
 * Leave for calls that the gate cannot hold funds for before they exist: a browser's, a campaign's.
 * Such a call is metered by its webhooks from the moment at which it talks, as one that was adopted.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "edge/json/doc.h"
#include "edge/json/out.h"
#include "edge/service/edge.h"

#define VALUES_MAX 100

struct asking {
	struct cg_edge *edge;
	struct cg_http_request *request;
	char company_id[CG_UUID_TEXT_LEN + 1];
	char assistant_id[65];
	char origin[257];
};

static void answer_predial(struct asking *a, bool is_eligible)
{
	char memory[64];
	struct cg_out out;

	cg_out_init(&out, memory, sizeof memory);
	cg_out_object(&out, NULL);
	cg_out_bool(&out, "eligible", is_eligible);
	cg_out_end(&out, '}');
	cg_http_answer(a->request, 200, "application/json", cg_out_view(&out));
	free(a);
}

static void on_predial(void *context, const struct callgate_error *error,
    const struct callgate_authorize_response *response)
{
	answer_predial(context, error == NULL && response->decision == CALLGATE_DECISION_ALLOWED);
}

void cg_edge_predial(
    struct cg_edge *edge, struct cg_http_request *request, const struct cg_vapi_message *message)
{
	struct asking *a = calloc(1, sizeof *a);
	const struct cg_number *number =
	    cg_directory_number(edge->directory, message->call.phone_number_id, message->dialled);

	CG_ASSERT(a != NULL);
	a->edge = edge;
	a->request = request;
	struct callgate_authorize_request authorize = {
	    .company_id = number == NULL ? "" : number->company_id,
	    .call_id = "",
	    .resource_type = "voice_outbound",
	    .destination =
	        cg_vapi_is_e164(message->call.customer_number) ? message->call.customer_number : "",
	    .validate_only = true,
	};
	if (number == NULL || authorize.destination[0] == '\0' ||
	    callgate_authorize(edge->gate, &authorize, on_predial, a) != CALLGATE_ACCEPTED) {
		answer_predial(a, false);
	}
}

static void fail(struct asking *a, unsigned status, const char *key, const char *text)
{
	cg_edge_answer_json(a->request, status, key, text);
	free(a);
}

/* Vapi's own form: what a browser may start with it is one assistant, from one origin. */
static bool sign(const struct asking *a, char *token, size_t size)
{
	char memory[1024];
	struct cg_out out;
	int64_t now_s = cg_edge_now_ms() / 1000;

	cg_out_init(&out, memory, sizeof memory);
	cg_out_object(&out, NULL);
	cg_out_text(&out, "orgId", a->edge->settings.vapi_org_id);
	cg_out_object(&out, "token");
	cg_out_text(&out, "tag", "public");
	cg_out_object(&out, "restrictions");
	cg_out_bool(&out, "enabled", true);
	cg_out_array(&out, "allowedOrigins");
	cg_out_text(&out, NULL, a->origin);
	cg_out_end(&out, ']');
	cg_out_array(&out, "allowedAssistantIds");
	cg_out_text(&out, NULL, a->assistant_id);
	cg_out_end(&out, ']');
	cg_out_bool(&out, "allowTransientAssistant", false);
	cg_out_end(&out, '}');
	cg_out_end(&out, '}');
	cg_out_int(&out, "iat", now_s);
	cg_out_int(&out, "exp", now_s + a->edge->settings.token_seconds);
	cg_out_end(&out, '}');
	return !out.buffer.overflow &&
	    cg_auth_sign_token(cg_out_view(&out), a->edge->settings.vapi_api_key, token, size);
}

static void on_token_decided(void *context, const struct callgate_error *error,
    const struct callgate_authorize_response *response)
{
	struct asking *a = context;
	char token[2048];
	char memory[3072];
	struct cg_out out;

	if (error != NULL) {
		fail(a, cg_edge_gate_of(error) == CG_EDGE_GATE_UNKNOWN ? 404 : 503, "error",
		    error->message);
		return;
	}
	if (response->decision != CALLGATE_DECISION_ALLOWED) {
		fail(a, 200, "outcome", callgate_decision_name(response->decision));
		return;
	}
	if (!sign(a, token, sizeof token)) {
		fail(a, 500, "error", "no token");
		return;
	}
	cg_out_init(&out, memory, sizeof memory);
	cg_out_object(&out, NULL);
	cg_out_text(&out, "outcome", "allowed");
	cg_out_text(&out, "token", token);
	cg_out_int(&out, "expires_in_seconds", a->edge->settings.token_seconds);
	cg_out_end(&out, '}');
	cg_http_answer(a->request, 200, "application/json", cg_out_view(&out));
	free(a);
}

/* NULL where the request is good; else what is wrong with it. */
static const char *read_request(struct asking *a)
{
	enum {
		COMPANY,
		ASSISTANT,
		ORIGIN,
		COUNT
	};
	static const char *const names[COUNT] = {"company_id", "assistant_id", "origin"};
	struct cg_view v[COUNT];
	struct cg_view document;
	struct cg_error err;
	struct cg_uuid id;

	if (cg_doc_check(cg_http_body(a->request), VALUES_MAX, &document, &err) != CG_OK) {
		return "no JSON object";
	}
	cg_doc_members(document, names, COUNT, v);
	(void)cg_doc_string(v[COMPANY], a->company_id, sizeof a->company_id);
	(void)cg_doc_string(v[ASSISTANT], a->assistant_id, sizeof a->assistant_id);
	(void)cg_doc_string(v[ORIGIN], a->origin, sizeof a->origin);
	if (!cg_uuid_parse(cg_view_of(a->company_id), &id)) {
		return "company_id: must be a UUID";
	}
	cg_uuid_format(&id, a->company_id);
	if (strncmp(a->origin, "https://", 8) != 0 || a->origin[8] == '\0') {
		return "origin: must begin with https://";
	}
	/* Whose a web call is is told by its assistant alone: nothing else in it is not the browser's. */
	const struct cg_number *number =
	    cg_directory_assistant(a->edge->directory, a->assistant_id);
	if (number == NULL || strcmp(number->company_id, a->company_id) != 0) {
		return "assistant_id: must answer a number of this company, and of no other";
	}
	return NULL;
}

void cg_edge_make_token(struct cg_edge *edge, struct cg_http_request *request)
{
	struct asking *a = calloc(1, sizeof *a);

	CG_ASSERT(a != NULL);
	a->edge = edge;
	a->request = request;
	if (edge->settings.vapi_org_id[0] == '\0') {
		fail(a, 503, "error", "VAPI_ORG_ID is not set");
		return;
	}
	const char *wrong = read_request(a);
	if (wrong != NULL) {
		fail(a, 400, "error", wrong);
		return;
	}
	struct callgate_authorize_request authorize = {.company_id = a->company_id,
	    .call_id = "",
	    .resource_type = "voice_inbound",
	    .destination = "",
	    .validate_only = true};
	if (callgate_authorize(edge->gate, &authorize, on_token_decided, a) != CALLGATE_ACCEPTED) {
		fail(a, 503, "error", "too many requests at once");
	}
}
