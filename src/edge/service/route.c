/*
 * Which path is whose, and who may ask.
 *
 *   POST /api/webhooks/vapi   Vapi: signed, or with its secret
 *   POST /api/calls           the company's systems, by bearer: an outbound call
 *   POST /api/web-tokens      likewise: leave for a browser to start a call
 *   GET  /healthz             whether it serves
 *   GET  /metrics             for Prometheus
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include "edge/json/out.h"
#include "edge/service/edge.h"

enum path {
	PATH_WEBHOOK,
	PATH_CALLS,
	PATH_TOKENS,
	PATH_HEALTH,
	PATH_METRICS,
	PATH_NONE,
};

static const struct {
	const char *method;
	const char *path;
} paths[] = {
    [PATH_WEBHOOK] = {"POST", "/api/webhooks/vapi"},
    [PATH_CALLS] = {"POST", "/api/calls"},
    [PATH_TOKENS] = {"POST", "/api/web-tokens"},
    [PATH_HEALTH] = {"GET", "/healthz"},
    [PATH_METRICS] = {"GET", "/metrics"},
};

#define API_BYTES_MAX 16384

static enum path path_of(const char *method, const char *path)
{
	for (size_t i = 0; i < CG_COUNT_OF(paths); i++) {
		if (strcmp(path, paths[i].path) == 0 && strcmp(method, paths[i].method) == 0) {
			return (enum path)i;
		}
	}
	return PATH_NONE;
}

size_t cg_edge_body_bytes_max(void *owner, const char *method, const char *path)
{
	struct cg_edge *edge = owner;

	switch (path_of(method, path)) {
	case PATH_WEBHOOK:
		return (size_t)edge->settings.webhook_bytes_max;
	case PATH_CALLS:
	case PATH_TOKENS:
		return edge->settings.api_token[0] == '\0' ? 0 : API_BYTES_MAX;
	case PATH_HEALTH:
	case PATH_METRICS:
		return 1;
	case PATH_NONE:
		break;
	}
	return 0;
}

void cg_edge_answer_json(
    struct cg_http_request *request, unsigned status, const char *key, const char *text)
{
	char memory[1024];
	struct cg_out out;

	cg_out_init(&out, memory, sizeof memory);
	cg_out_object(&out, NULL);
	if (key != NULL) {
		cg_out_text(&out, key, text);
	}
	cg_out_end(&out, '}');
	cg_http_answer(request, status, "application/json",
	    out.buffer.overflow ? CG_VIEW_LITERAL("{}") : cg_out_view(&out));
}

static void on_health(struct cg_edge *edge, struct cg_http_request *request)
{
	/* Calls are gated while Postgres is away; before the first reading of the numbers none is. */
	bool serves = !edge->is_ending && cg_directory_version(edge->directory) > 0;

	cg_edge_answer_json(request, serves ? 200 : 503, "status",
	    edge->is_ending                               ? "ending"
	        : !serves                                 ? "starting"
	        : cg_edge_store_is_connected(edge->store) ? "serving"
	                                                  : "serving, postgres away");
}

static bool is_authentic(struct cg_edge *edge, struct cg_http_request *request)
{
	struct cg_auth_claim claim = {
	    .signature = cg_http_header(request, edge->settings.signature_header),
	    .timestamp = cg_http_header(request, edge->settings.timestamp_header),
	    .authorization = cg_http_header(request, "Authorization"),
	    .secret = cg_http_header(request, "X-Vapi-Secret"),
	};
	enum cg_auth_outcome outcome =
	    cg_auth_check(&edge->auth, &claim, cg_http_body(request), cg_edge_now_ms());

	if (outcome != CG_AUTH_GOOD) {
		edge->counts.webhooks_unauthenticated++;
		cg_log(CG_LOG_WARN, "webhook refused", "signature", cg_auth_outcome_name(outcome),
		    NULL);
	}
	return outcome == CG_AUTH_GOOD;
}

static void on_webhook(struct cg_edge *edge, struct cg_http_request *request)
{
	static struct cg_vapi_message message; /* large; each handler copies what it keeps */
	struct cg_error err = {{0}};

	edge->counts.webhooks++;
	if (!is_authentic(edge, request)) {
		cg_edge_answer_json(request, 401, "error", "not authenticated");
		return;
	}
	if (cg_vapi_read_message(cg_http_body(request), &message, &err) != CG_OK) {
		edge->counts.webhooks_poison++;
		cg_log(CG_LOG_WARN, "webhook is poison", "why", err.text, NULL);
		cg_edge_answer_json(request, 400, "error", err.text);
		return;
	}
	switch (message.kind) {
	case CG_VAPI_ASSISTANT_REQUEST:
		cg_edge_admit(edge, request, &message);
		break;
	case CG_VAPI_STATUS_UPDATE:
	case CG_VAPI_REPORT:
		cg_edge_forward_copy(edge, request, &message);
		cg_edge_take_event(edge, request, &message);
		break;
	case CG_VAPI_PREDIAL:
		cg_edge_predial(edge, request, &message);
		break;
	case CG_VAPI_TRANSFER:
	case CG_VAPI_QUESTION:
		cg_edge_forward_question(edge, request, &message);
		break;
	case CG_VAPI_NEWS:
		cg_edge_forward_copy(edge, request, &message);
		cg_edge_answer_json(request, 200, NULL, NULL);
		break;
	}
}

static void on_api(struct cg_edge *edge, struct cg_http_request *request, enum path path)
{
	if (!cg_auth_is_bearer(
	        cg_http_header(request, "Authorization"), edge->settings.api_token)) {
		cg_edge_answer_json(request, 401, "error", "not authenticated");
	} else if (path == PATH_CALLS) {
		cg_edge_place_call(edge, request);
	} else {
		cg_edge_make_token(edge, request);
	}
}

void cg_edge_on_request(void *owner, struct cg_http_request *request)
{
	struct cg_edge *edge = owner;
	enum path path = path_of(cg_http_method(request), cg_http_path(request));

	if (path == PATH_HEALTH) {
		on_health(edge, request);
		return;
	}
	if (path == PATH_METRICS) {
		cg_edge_answer_metrics(edge, request);
		return;
	}
	/* What comes while the last ones are finished may be sent again, to another edge. */
	if (edge->is_ending || cg_http_open_count(edge->http) > edge->settings.requests_max) {
		edge->counts.requests_refused++;
		cg_edge_answer_json(request, 503, "error", "too many requests at once");
		return;
	}
	if (path == PATH_WEBHOOK) {
		on_webhook(edge, request);
	} else {
		on_api(edge, request, path);
	}
}
