/*
 * The company's own handler, where callgate-edge stands before one: it is asked what only it can
 * answer, and hears of the rest.  It gets the very bytes that came, with what they are signed by.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "edge/service/edge.h"
#include "edge/vapi/answer.h"

/* Vapi waits 20 s for the answer to a tool call, unless told otherwise. */
#define QUESTION_MS 18000
#define COPY_MS     8000

struct question {
	struct cg_edge *edge;
	struct cg_http_request *request;
};

void cg_edge_upstream_submit(struct cg_edge *edge, struct cg_http_request *request,
    const struct cg_number *number, struct cg_fetch_ask *ask)
{
	const char *const names[] = {edge->settings.signature_header,
	    edge->settings.timestamp_header, "Authorization", "X-Vapi-Secret"};
	char headers[CG_COUNT_OF(names)][1024];
	size_t count = 0;

	ask->method = "POST";
	ask->url = cg_url_is_allowed(number->upstream_url, edge->settings.upstream_hosts,
	               edge->settings.allow_private != 0)
	    ? number->upstream_url
	    : "refused:";
	ask->headers[count++] = "Content-Type: application/json";
	for (size_t i = 0; i < CG_COUNT_OF(names); i++) {
		const char *said = cg_http_header(request, names[i]);
		if (said == NULL) {
			continue;
		}
		/* One that does not fit is left out: its check will say that it is missing. */
		int len = snprintf(headers[i], sizeof headers[i], "%s: %s", names[i], said);
		if (len > 0 && (size_t)len < sizeof headers[i]) {
			ask->headers[count++] = headers[i];
		}
	}
	ask->body = cg_http_body(request);
	cg_fetch_submit(edge->fetch, ask);
}

static const struct cg_number *number_of(
    const struct cg_edge *edge, const struct cg_vapi_message *message)
{
	const struct cg_number *number =
	    cg_directory_number(edge->directory, message->call.phone_number_id, message->dialled);

	return number != NULL && number->upstream_url[0] != '\0' ? number : NULL;
}

static void on_answer(void *owner, const struct cg_fetch_answer *answer)
{
	struct question *question = owner;

	if (answer->status == CG_OK) {
		cg_http_answer(question->request, answer->code, "application/json", answer->body);
	} else {
		question->edge->counts.upstream_broken++;
		cg_edge_answer_json(question->request, 502, "error", "no answer");
	}
	free(question);
}

static void refuse_transfer(
    struct cg_edge *edge, struct cg_http_request *request, const struct cg_vapi_message *message)
{
	const struct cg_number *number =
	    cg_directory_number(edge->directory, message->call.phone_number_id, message->dialled);
	char memory[4096];

	/* Nobody reports how long the forwarded leg talks, so it is not sold by the second. */
	struct cg_view answer = cg_vapi_refuse(memory, sizeof memory,
	    cg_directory_sentence(edge->directory, number == NULL ? "" : number->company_id,
	        number == NULL ? "" : number->language, CG_SITUATION_TRANSFER));
	cg_http_answer(request, 200, "application/json", answer);
}

void cg_edge_forward_question(
    struct cg_edge *edge, struct cg_http_request *request, const struct cg_vapi_message *message)
{
	const struct cg_number *number = number_of(edge, message);

	if (message->kind == CG_VAPI_TRANSFER && (number == NULL || !number->allow_transfer)) {
		refuse_transfer(edge, request, message);
		return;
	}
	if (number == NULL) {
		cg_edge_answer_json(request, 200, NULL, NULL);
		return;
	}
	struct question *question = calloc(1, sizeof *question);
	CG_ASSERT(question != NULL);
	*question = (struct question){.edge = edge, .request = request};
	struct cg_fetch_ask ask = {
	    .timeout_ms = QUESTION_MS,
	    .answer_bytes_max = CG_VAPI_ANSWER_BYTES,
	    .done = on_answer,
	    .owner = question,
	};
	cg_edge_upstream_submit(edge, request, number, &ask);
}

static void on_copied(void *owner, const struct cg_fetch_answer *answer)
{
	struct cg_edge *edge = owner;

	if (answer->status != CG_OK || answer->code >= 300) {
		edge->counts.upstream_broken++;
	}
}

/* Once, and whatever comes of it: the gate's own work does not wait for it. */
void cg_edge_forward_copy(
    struct cg_edge *edge, struct cg_http_request *request, const struct cg_vapi_message *message)
{
	const struct cg_number *number = number_of(edge, message);
	struct cg_fetch_ask ask = {
	    .timeout_ms = COPY_MS,
	    .answer_bytes_max = CG_VAPI_ANSWER_BYTES,
	    .done = on_copied,
	    .owner = edge,
	};

	if (number != NULL) {
		cg_edge_upstream_submit(edge, request, number, &ask);
	}
}
