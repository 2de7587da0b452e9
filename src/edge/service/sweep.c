/*
 * What runs or ran, and has no row here: started past the gate, or its webhooks and its row are lost.
 *
 * The provider's list has no pages: it is walked from the newest creation to the oldest, each part
 * asked for below the oldest creation of the one before, with one millisecond of overlap.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "edge/json/doc.h"
#include "edge/service/edge.h"

#define LIST_LIMIT      50
#define PARTS_MAX       400
#define VALUES_MAX      8000000
#define GATE_PAGE       500
#define LOOK_AT_ONCE_MS 1

struct sweep {
	struct cg_edge *edge;
	int64_t since_ms;
	int64_t below_ms; /* 0: from the newest on */
	uint32_t parts;
	bool ok;
	void (*done)(void *owner, bool ok);
	void *owner;
	struct cg_vapi_call *calls; /* of the part being looked at */
	size_t count;
	bool is_last;
	char page_token[512];
};

static void list(struct sweep *s);
static void list_gate(struct sweep *s);

static void end(struct sweep *s)
{
	void (*done)(void *owner, bool ok) = s->done;
	void *owner = s->owner;
	bool ok = s->ok;

	free(s->calls);
	free(s);
	done(owner, ok);
}

static void note(struct sweep *s, const struct cg_vapi_call *call, bool is_known)
{
	struct cg_edge *edge = s->edge;
	struct cg_edge_owner whose;
	enum cg_snapshot_kind kind = cg_vapi_snapshot_of(call);

	if (cg_edge_whose(edge, call, "", &whose) != CG_EDGE_WHOSE_FOUND) {
		return; /* Another's of the account, who does not pass the gate. */
	}
	struct cg_edge_note note = {
	    .call_id = call->id,
	    .state = kind == CG_SNAPSHOT_ENDED ? "ended"
	        : kind == CG_SNAPSHOT_RUNNING  ? "running"
	                                       : "admitted",
	    .company_id = whose.company_id,
	    .kind = call->type,
	    .phone_number_id = call->phone_number_id,
	    .name = cg_edge_is_named(call) ? call->name : NULL,
	    .resource_type = whose.resource_type,
	    .destination = whose.destination,
	    .granted_ms = call->max_seconds * 1000,
	    /* Its report may be on its way. */
	    .look_in_ms = is_known ? edge->settings.look_after_ms : LOOK_AT_ONCE_MS,
	};
	cg_log(CG_LOG_INFO,
	    is_known ? "call found to have ended" : "call found that nobody told of", "call",
	    call->id, "company", whose.company_id, "status", call->status, NULL);
	cg_edge_store_note(edge->store, &note, NULL, NULL);
}

static void on_missed(
    void *owner, enum cg_status status, const struct cg_edge_row *rows, size_t count)
{
	struct sweep *s = owner;

	s->ok = s->ok && status == CG_OK;
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < s->count; j++) {
			if (strcmp(rows[i].call_id, s->calls[j].id) == 0) {
				note(s, &s->calls[j], rows[i].is_known);
				break;
			}
		}
	}
	if (s->ok && !s->is_last && s->parts < PARTS_MAX) {
		list(s);
	} else {
		s->ok = s->ok && s->is_last;
		list_gate(s);
	}
}

/* False where it is no list of calls. */
static bool read_part(struct sweep *s, struct cg_view body)
{
	struct cg_view document;
	struct cg_error err;
	struct cg_doc_walk walk;
	struct cg_view key;
	struct cg_view value;
	int64_t oldest_ms = 0;

	s->count = 0;
	if (cg_doc_check(body, VALUES_MAX, &document, &err) != CG_OK ||
	    cg_doc_type(document) != CG_DOC_ARRAY) {
		return false;
	}
	cg_doc_walk(&walk, document);
	while (s->count < LIST_LIMIT && cg_doc_next(&walk, &key, &value)) {
		struct cg_vapi_call *call = &s->calls[s->count++];
		cg_vapi_read_call(value, call);
		if (oldest_ms == 0 ||
		    (call->created_at_ms > 0 && call->created_at_ms < oldest_ms)) {
			oldest_ms = call->created_at_ms;
		}
	}
	/* A part that brings nothing older would be asked for for ever. */
	s->is_last = s->count < LIST_LIMIT || oldest_ms == 0 ||
	    (s->below_ms != 0 && oldest_ms >= s->below_ms);
	s->below_ms = oldest_ms;
	return true;
}

static void on_part(void *owner, const struct cg_fetch_answer *answer)
{
	struct sweep *s = owner;
	const char *ids[LIST_LIMIT];
	bool ended[LIST_LIMIT];

	if (answer->status != CG_OK || answer->code != 200 || !read_part(s, answer->body)) {
		cg_log(CG_LOG_WARN, "the provider does not list its calls", "code",
		    cg_log_int(answer->code), "why", answer->why, NULL);
		s->ok = false;
		list_gate(s);
		return;
	}
	for (size_t i = 0; i < s->count; i++) {
		ids[i] = s->calls[i].id;
		ended[i] = cg_vapi_snapshot_of(&s->calls[i]) == CG_SNAPSHOT_ENDED;
	}
	cg_edge_store_missed(s->edge->store, ids, ended, s->count, on_missed, s);
}

static void list(struct sweep *s)
{
	char path[256];
	char since[32];
	char below[32];

	s->parts++;
	cg_vapi_format_time(s->since_ms, since);
	if (s->below_ms == 0) {
		(void)snprintf(
		    path, sizeof path, "/call?limit=%d&updatedAtGt=%s", LIST_LIMIT, since);
	} else {
		cg_vapi_format_time(s->below_ms + 1, below);
		(void)snprintf(path, sizeof path, "/call?limit=%d&updatedAtGt=%s&createdAtLt=%s",
		    LIST_LIMIT, since, below);
	}
	cg_edge_provider_ask(s->edge, "GET", path, (struct cg_view){NULL, 0}, on_part, s);
}

static bool is_by_vapi(const struct callgate_call *call)
{
	for (size_t i = 0; i < call->meta_count; i++) {
		if (strcmp(call->meta[i].key, "provider") == 0) {
			return strcmp(call->meta[i].value, "vapi") == 0;
		}
	}
	return false;
}

/* Its row may have been lost with Postgres away, when it was let in all the same. */
static void note_live(struct sweep *s, const struct callgate_call *call)
{
	struct cg_edge_note note = {
	    .call_id = call->call_id,
	    .state = "admitted",
	    .company_id = call->company_id,
	    .resource_type = call->resource_type,
	    .destination = call->destination,
	};

	cg_edge_store_note(s->edge->store, &note, NULL, NULL);
}

static void on_gate_page(void *context, const struct callgate_error *error,
    const struct callgate_list_calls_response *response)
{
	struct sweep *s = context;

	if (error != NULL) {
		end(s);
		return;
	}
	for (size_t i = 0; i < response->calls_count; i++) {
		/* An outbound one is known by its name, and has a row of its own. */
		if (is_by_vapi(&response->calls[i]) &&
		    strncmp(response->calls[i].call_id, CG_EDGE_NAME, strlen(CG_EDGE_NAME)) != 0) {
			note_live(s, &response->calls[i]);
		}
	}
	if (response->next_page_token[0] == '\0' ||
	    strlen(response->next_page_token) >= sizeof s->page_token) {
		end(s);
		return;
	}
	(void)snprintf(s->page_token, sizeof s->page_token, "%s", response->next_page_token);
	list_gate(s);
}

static void list_gate(struct sweep *s)
{
	struct callgate_list_calls_request request = {
	    .page_size = GATE_PAGE, .page_token = s->page_token};

	if (callgate_list_calls(s->edge->books, &request, on_gate_page, s) != CALLGATE_ACCEPTED) {
		end(s);
	}
}

void cg_edge_sweep(
    struct cg_edge *edge, int64_t since_ms, void (*done)(void *owner, bool ok), void *owner)
{
	struct sweep *s = calloc(1, sizeof *s);

	CG_ASSERT(s != NULL);
	*s = (struct sweep){
	    .edge = edge, .since_ms = since_ms, .ok = true, .done = done, .owner = owner};
	s->calls = calloc(LIST_LIMIT, sizeof *s->calls);
	CG_ASSERT(s->calls != NULL);
	list(s);
}
