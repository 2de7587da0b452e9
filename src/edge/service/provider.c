/*
 * Vapi's REST API and its control URLs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "edge/service/edge.h"
#include "edge/vapi/answer.h"

/* A call carries its transcript, a list many of them. */
#define ANSWER_BYTES_MAX  33554432
#define CONTROL_BYTES_MAX 65536

struct getting {
	cg_edge_call_done done;
	void *owner;
};

void cg_edge_provider_ask(struct cg_edge *edge, const char *method, const char *path,
    struct cg_view body, void (*done)(void *owner, const struct cg_fetch_answer *answer),
    void *owner)
{
	char url[1536];
	char authorization[CG_SETTING_TEXT_BYTES + 32];
	struct cg_fetch_ask ask = {
	    .method = method,
	    .url = url,
	    .headers = {authorization, "Content-Type: application/json"},
	    .body = body,
	    .timeout_ms = (uint32_t)edge->settings.provider_ms,
	    .answer_bytes_max = ANSWER_BYTES_MAX,
	    .done = done,
	    .owner = owner,
	};

	(void)snprintf(url, sizeof url, "%s%s", edge->settings.vapi_url, path);
	(void)snprintf(authorization, sizeof authorization, "Authorization: Bearer %s",
	    edge->settings.vapi_api_key);
	cg_fetch_submit(edge->fetch, &ask);
}

static void on_call(void *owner, const struct cg_fetch_answer *answer)
{
	struct getting *getting = owner;
	cg_edge_call_done done = getting->done;
	void *whose = getting->owner;
	struct cg_vapi_call call = {.cost_micros = -1};
	struct cg_error err = {{0}};
	enum cg_snapshot_kind kind = CG_SNAPSHOT_AWAY;

	free(getting);
	if (answer->status == CG_OK && answer->code == 404) {
		kind = CG_SNAPSHOT_ABSENT;
	} else if (answer->status == CG_OK && answer->code == 200 &&
	    cg_vapi_read_answer(answer->body, &call, &err) == CG_OK) {
		kind = cg_vapi_snapshot_of(&call);
	} else {
		cg_log(CG_LOG_WARN, "the provider does not tell of a call", "code",
		    cg_log_int(answer->code), "why",
		    answer->status == CG_OK ? err.text : answer->why, NULL);
	}
	done(whose, kind, &call);
}

/* Ids are the provider's; what is no id of a URL's path is none of its calls. */
static bool is_path_word(const char *text)
{
	static const char allowed[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

	return text[0] != '\0' && strspn(text, allowed) == strlen(text);
}

void cg_edge_provider_get(
    struct cg_edge *edge, const char *call_id, cg_edge_call_done done, void *owner)
{
	struct getting *getting = calloc(1, sizeof *getting);
	char path[160];

	CG_ASSERT(getting != NULL);
	*getting = (struct getting){.done = done, .owner = owner};
	edge->counts.looks++;
	(void)snprintf(
	    path, sizeof path, "/call/%s", is_path_word(call_id) ? call_id : "no-such-call");
	cg_edge_provider_ask(edge, "GET", path, (struct cg_view){NULL, 0}, on_call, getting);
}

bool cg_edge_control_is_allowed(const struct cg_edge *edge, const char *url)
{
	return cg_url_is_allowed(
	    url, edge->settings.control_hosts, edge->settings.allow_private != 0);
}

void cg_edge_provider_control(struct cg_edge *edge, const char *url, struct cg_view body,
    void (*done)(void *owner, const struct cg_fetch_answer *answer), void *owner)
{
	struct cg_fetch_ask ask = {
	    .method = "POST",
	    /* Refused by the room that fetches, since it is no URL; so `done` comes later, as ever. */
	    .url = cg_edge_control_is_allowed(edge, url) ? url : "refused:",
	    .headers = {"Content-Type: application/json"},
	    .body = body,
	    .timeout_ms = (uint32_t)edge->settings.provider_ms,
	    .answer_bytes_max = CONTROL_BYTES_MAX,
	    .done = done,
	    .owner = owner,
	};

	cg_fetch_submit(edge->fetch, &ask);
}
