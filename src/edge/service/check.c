/*
 * callgate-edge check: reads the account at Vapi, and says what would pass by the gate, or get lost on
 * its way here.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include "edge/json/doc.h"
#include "edge/service/edge.h"

#define VALUES_MAX 8000000
#define WEBHOOK    "/api/webhooks/vapi"
/* Fewer do not outlast a restart of Postgres. */
#define RETRIES_MIN 3
#define PATIENCE_MS 30000

enum {
	EXIT_GOOD = 0,
	EXIT_AWAY = 1,
	EXIT_FOUND = 7,
};

struct check {
	struct cg_edge edge;
	struct cg_timer *patience;
	int found;
	bool is_done;
};

static void say(struct check *check, const char *what, const char *id, const char *said)
{
	(void)printf("%s %s: %s\n", what, id, said);
	check->found++;
}

static void give_up(struct check *check, const char *why)
{
	(void)fprintf(stderr, "callgate-edge: check: %s\n", why);
	cg_loop_stop(check->edge.loop);
}

static bool is_set(struct cg_view value)
{
	enum cg_doc_type type = cg_doc_type(value);

	return type == CG_DOC_OBJECT || (type == CG_DOC_STRING && value.len > 2);
}

static bool leads_here(struct cg_view url)
{
	char text[1024];
	size_t len = sizeof WEBHOOK - 1;

	if (!cg_doc_string(url, text, sizeof text)) {
		return false;
	}
	size_t text_len = strlen(text);
	return strncmp(text, "https://", 8) == 0 && text_len > len &&
	    strcmp(text + text_len - len, WEBHOOK) == 0;
}

static void check_server(
    struct check *check, struct cg_view server, const char *what, const char *id)
{
	enum {
		URL,
		CREDENTIAL,
		SECRET,
		BACKOFF,
		COUNT
	};
	static const char *const names[COUNT] = {"url", "credentialId", "secret", "backoffPlan"};
	struct cg_view v[COUNT];
	int64_t retries = 0;

	cg_doc_members(server, names, COUNT, v);
	if (!leads_here(v[URL])) {
		say(check, what, id, "its server.url does not end with https://..." WEBHOOK);
	}
	if (!is_set(v[CREDENTIAL]) && !is_set(v[SECRET])) {
		say(check, what, id, "its server has no credential: webhooks will be refused");
	}
	if (!cg_doc_decimal(cg_doc_member(v[BACKOFF], "maxRetries"), 0, &retries) ||
	    retries < RETRIES_MIN) {
		say(check, what, id,
		    "its server.backoffPlan does not retry: a report that is not taken is lost");
	}
}

static void check_number(struct check *check, struct cg_view object)
{
	enum {
		ID,
		NUMBER,
		ASSISTANT,
		SQUAD,
		WORKFLOW,
		FALLBACK,
		SERVER,
		COUNT
	};
	static const char *const names[COUNT] = {"id", "number", "assistantId", "squadId",
	    "workflowId", "fallbackDestination", "server"};
	struct cg_view v[COUNT];
	char id[65];
	char number[40];

	cg_doc_members(object, names, COUNT, v);
	(void)cg_doc_string(v[ID], id, sizeof id);
	(void)cg_doc_string(v[NUMBER], number, sizeof number);
	if (cg_directory_number(check->edge.directory, id, number) == NULL) {
		say(check, "number", id, "is nobody's here: its calls are refused, or pass by");
	}
	if (is_set(v[ASSISTANT]) || is_set(v[SQUAD]) || is_set(v[WORKFLOW])) {
		say(check, "number", id,
		    "has a fixed assistant, squad or workflow: no assistant-request comes, its "
		    "calls "
		    "pass by the gate");
	}
	if (is_set(v[FALLBACK])) {
		say(check, "number", id,
		    "has a fallbackDestination: while the gate is away its calls pass by");
	}
	check_server(check, v[SERVER], "number", id);
}

static bool asks_for(struct cg_view messages, const char *kind)
{
	struct cg_doc_walk walk;
	struct cg_view key;
	struct cg_view value;

	cg_doc_walk(&walk, messages);
	while (cg_doc_next(&walk, &key, &value)) {
		if (cg_doc_is(value, kind)) {
			return true;
		}
	}
	return false;
}

static void check_assistant(struct check *check, struct cg_view object)
{
	enum {
		ID,
		SERVER,
		MESSAGES,
		COUNT
	};
	static const char *const names[COUNT] = {"id", "server", "serverMessages"};
	struct cg_view v[COUNT];
	char id[65];

	cg_doc_members(object, names, COUNT, v);
	(void)cg_doc_string(v[ID], id, sizeof id);
	/* Its own server goes before the number's. */
	if (cg_doc_type(v[SERVER]) == CG_DOC_OBJECT) {
		check_server(check, v[SERVER], "assistant", id);
	}
	if (cg_doc_type(v[MESSAGES]) == CG_DOC_ARRAY &&
	    !(asks_for(v[MESSAGES], "status-update") &&
	        asks_for(v[MESSAGES], "end-of-call-report"))) {
		say(check, "assistant", id,
		    "its serverMessages lack status-update or end-of-call-report");
	}
}

/* False where it is no list; each of its objects is given to `look`. */
static bool read_list(struct check *check, const struct cg_fetch_answer *answer,
    void (*look)(struct check *check, struct cg_view object))
{
	struct cg_view document;
	struct cg_error err;
	struct cg_doc_walk walk;
	struct cg_view key;
	struct cg_view value;

	if (answer->status != CG_OK || answer->code != 200 ||
	    cg_doc_check(answer->body, VALUES_MAX, &document, &err) != CG_OK ||
	    cg_doc_type(document) != CG_DOC_ARRAY) {
		return false;
	}
	cg_doc_walk(&walk, document);
	while (cg_doc_next(&walk, &key, &value)) {
		look(check, value);
	}
	return true;
}

static void on_assistants(void *owner, const struct cg_fetch_answer *answer)
{
	struct check *check = owner;

	if (!read_list(check, answer, check_assistant)) {
		give_up(check, "the provider does not list its assistants");
		return;
	}
	check->is_done = true;
	cg_loop_stop(check->edge.loop);
}

static void on_numbers(void *owner, const struct cg_fetch_answer *answer)
{
	struct check *check = owner;

	if (!read_list(check, answer, check_number)) {
		give_up(check, "the provider does not list its phone numbers");
		return;
	}
	cg_edge_provider_ask(&check->edge, "GET", "/assistant?limit=1000",
	    (struct cg_view){NULL, 0}, on_assistants, check);
}

static void on_settings(void *owner, enum cg_status status, int64_t version, struct cg_view numbers,
    struct cg_view sentences)
{
	struct check *check = owner;
	struct cg_error err = {{0}};

	if (status == CG_CLOSING) {
		return;
	}
	if (status != CG_OK ||
	    cg_directory_load(check->edge.directory, version, numbers, sentences, &err) != CG_OK) {
		give_up(check, "Postgres does not tell the numbers");
		return;
	}
	cg_edge_provider_ask(&check->edge, "GET", "/phone-number?limit=1000",
	    (struct cg_view){NULL, 0}, on_numbers, check);
}

static void on_patience(void *owner)
{
	give_up(owner, "no answer in time");
}

int cg_edge_check(const struct cg_edge_settings *settings)
{
	static struct check check; /* large */
	struct cg_edge *edge = &check.edge;

	edge->settings = *settings;
	cg_log_set_level(CG_LOG_ERROR);
	edge->loop = cg_loop_create();
	edge->directory = cg_directory_create();
	edge->store = cg_edge_store_create(edge->loop,
	    &(struct cg_edge_store_config){.database_url = edge->settings.database_url,
	        .connections = 1,
	        .connect_timeout_ms = (uint32_t)settings->store_ms,
	        .timeout_ms = (uint32_t)settings->store_ms});
	edge->fetch = cg_fetch_create(edge->loop,
	    &(struct cg_fetch_config){.ca_file = edge->settings.ca_file,
	        .allow_private = settings->allow_private != 0,
	        .in_flight_max = 4});
	check.patience = cg_timer_create(edge->loop, on_patience, &check);
	cg_timer_start(check.patience, PATIENCE_MS);
	cg_edge_store_start(edge->store);
	cg_edge_store_settings(edge->store, 0, on_settings, &check);
	cg_loop_run(edge->loop);
	cg_timer_close(check.patience);
	cg_fetch_close(edge->fetch);
	cg_edge_store_close(edge->store);
	cg_loop_destroy(edge->loop);
	cg_edge_store_destroy(edge->store);
	cg_directory_destroy(edge->directory);
	if (!check.is_done) {
		return EXIT_AWAY;
	}
	if (check.found == 0) {
		(void)printf("nothing passes by the gate\n");
	}
	return check.found == 0 ? EXIT_GOOD : EXIT_FOUND;
}
