/*
 * An assistant-request: may this call start, and who answers it.
 *
 *   ASKING --allowed, own assistant-----------------------------> answered
 *     |  '---allowed, upstream--> UPSTREAM --its answer---------> answered
 *     |                              '--refused or no use-------> answered, charged nothing
 *     '--denied, gate away--------------------------------------> answered
 *
 * ASKING waits for the gate, at most gate_ms; UPSTREAM for the company's own handler, until
 * hard_stop_ms after the request came.  Every answer is HTTP 200: anything else lets Vapi use
 * the number's fallback, which nobody gates.  What is kept about the call is written beside the
 * answer, not before it: the gate has the call, and Postgres may be away.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "edge/service/edge.h"
#include "edge/vapi/answer.h"

#define SENTENCE_BYTES 4096
/* Until a refused call is looked at whose authorization may have happened all the same. */
#define DOUBT_LOOK_MS 5000

struct admission {
	struct cg_edge *edge;
	struct cg_http_request *request;
	struct cg_number number;
	char call_id[CG_VAPI_ID_BYTES];
	char destination[CG_VAPI_NUMBER_BYTES];
	uint64_t began_at_ms;
	int64_t granted_ms;
	int64_t max_seconds;
	bool is_degraded;
};

static void finish(struct admission *a, struct cg_view answer)
{
	CG_ASSERT(answer.len > 0);
	cg_http_answer(a->request, 200, "application/json", answer);
	free(a);
}

static void refuse(struct admission *a, enum cg_situation situation)
{
	struct cg_edge *edge = a->edge;
	char memory[SENTENCE_BYTES];
	const char *sentence = cg_directory_sentence(
	    edge->directory, a->number.company_id, a->number.language, situation);

	edge->counts.calls_refused++;
	cg_log(CG_LOG_INFO, "call refused", "call", a->call_id, "company", a->number.company_id,
	    "why", cg_situation_name(situation), NULL);
	finish(a,
	    a->number.transfer_to[0] != '\0'
	        ? cg_vapi_transfer(memory, sizeof memory, a->number.transfer_to, sentence)
	        : cg_vapi_refuse(memory, sizeof memory, sentence));
}

static void note(const struct admission *a, const char *state, int64_t look_in_ms)
{
	struct cg_edge_note note = {
	    .call_id = a->call_id,
	    .state = state,
	    .company_id = a->number.company_id,
	    .kind = "inboundPhoneCall",
	    .phone_number_id = a->number.phone_number_id,
	    .resource_type = "voice_inbound",
	    .destination = a->destination,
	    .granted_ms = a->granted_ms,
	    .is_degraded = a->is_degraded,
	    .look_in_ms = look_in_ms,
	};

	/* One that the gate does not know of has no other trace than its row. */
	if (strcmp(state, "admitted") == 0 && !a->is_degraded) {
		cg_edge_store_admitted(a->edge->store, &note);
	} else {
		cg_edge_store_note(a->edge->store, &note, NULL, NULL);
	}
}

static struct cg_vapi_grant grant_of(const struct admission *a)
{
	return (struct cg_vapi_grant){.max_seconds = a->max_seconds,
	    .company_id = a->number.company_id,
	    .reservation_id = a->call_id};
}

static void on_let_go(void *context, const struct callgate_error *error,
    const struct callgate_settle_response *response)
{
	(void)context;
	(void)error; /* The look that was noted finds it, and does the same. */
	(void)response;
}

/* It will not talk, and is metered from its admission: charged nothing, and its hold given back. */
static void let_go(const struct admission *a)
{
	struct callgate_settle_request settle = {
	    .company_id = a->number.company_id,
	    .call_id = a->call_id,
	    .duration = CALLGATE_SETTLE_DURATION_MS,
	    .duration_ms = 0,
	    .durability = CALLGATE_DURABILITY_ACCEPTED,
	};

	note(a, "ended", DOUBT_LOOK_MS);
	(void)callgate_settle(a->edge->books, &settle, on_let_go, NULL);
}

static void log_admitted(const struct admission *a)
{
	cg_log(CG_LOG_INFO, a->is_degraded ? "call admitted without the gate" : "call admitted",
	    "call", a->call_id, "company", a->number.company_id, "seconds",
	    cg_log_int(a->max_seconds), NULL);
}

static void on_upstream(void *owner, const struct cg_fetch_answer *answer)
{
	struct admission *a = owner;
	struct cg_vapi_grant grant = grant_of(a);
	struct cg_view merged = {NULL, 0};
	char *memory = malloc(CG_VAPI_ANSWER_BYTES + 4096);
	enum cg_vapi_upstream verdict = CG_VAPI_UPSTREAM_BROKEN;

	CG_ASSERT(memory != NULL);
	if (answer->status == CG_OK && answer->code == 200) {
		verdict = cg_vapi_merge(
		    memory, CG_VAPI_ANSWER_BYTES + 4096, answer->body, &grant, &merged);
	}
	if (verdict == CG_VAPI_UPSTREAM_FORWARDS && !a->number.allow_transfer) {
		verdict = CG_VAPI_UPSTREAM_BROKEN;
	}
	switch (verdict) {
	case CG_VAPI_UPSTREAM_ADMITS:
		a->edge->counts.calls_admitted++;
		note(a, "admitted", a->granted_ms + a->edge->settings.look_after_ms);
		log_admitted(a);
		finish(a, merged);
		break;
	case CG_VAPI_UPSTREAM_REFUSES:
	case CG_VAPI_UPSTREAM_FORWARDS:
		a->edge->counts.calls_refused++;
		let_go(a);
		finish(a, merged);
		break;
	case CG_VAPI_UPSTREAM_BROKEN:
		a->edge->counts.upstream_broken++;
		cg_log(CG_LOG_WARN, "upstream handler gave no answer that can be used", "company",
		    a->number.company_id, "code", cg_log_int(answer->code), "why", answer->why,
		    NULL);
		let_go(a);
		refuse(a, CG_SITUATION_UNAVAILABLE);
		break;
	}
	free(memory);
}

/* What the company's handler checks a webhook by goes along, over the very bytes. */
static void ask_upstream(struct admission *a)
{
	struct cg_edge *edge = a->edge;
	uint64_t gone_ms = cg_loop_now_ms(edge->loop) - a->began_at_ms;
	uint64_t hard_stop_ms = (uint64_t)edge->settings.hard_stop_ms;
	struct cg_fetch_ask ask = {
	    .timeout_ms = gone_ms < hard_stop_ms ? (uint32_t)(hard_stop_ms - gone_ms) : 1,
	    .answer_bytes_max = CG_VAPI_ANSWER_BYTES,
	    .done = on_upstream,
	    .owner = a,
	};

	cg_edge_upstream_submit(edge, a->request, &a->number, &ask);
}

static void admit(struct admission *a)
{
	struct cg_vapi_grant grant = grant_of(a);
	char memory[1024];

	if (a->number.upstream_url[0] != '\0') {
		ask_upstream(a);
		return;
	}
	a->edge->counts.calls_admitted++;
	note(a, "admitted", a->granted_ms + a->edge->settings.look_after_ms);
	log_admitted(a);
	finish(a, cg_vapi_admit(memory, sizeof memory, a->number.assistant_id, &grant));
}

/* The gate cannot be asked: closed, unless somebody decided otherwise for this very number. */
static void on_outage(struct admission *a)
{
	if (a->number.outage_seconds < CG_VAPI_SECONDS_MIN) {
		/* It may have been decided, and only the answer was lost. */
		note(a, "ended", DOUBT_LOOK_MS);
		refuse(a, CG_SITUATION_UNAVAILABLE);
		return;
	}
	a->edge->counts.calls_degraded++;
	a->is_degraded = true;
	a->max_seconds = a->number.outage_seconds;
	a->granted_ms = a->max_seconds * 1000;
	admit(a);
}

static enum cg_situation situation_of(enum callgate_decision decision)
{
	switch (decision) {
	case CALLGATE_DECISION_DENIED_INSUFFICIENT_FUNDS:
		return CG_SITUATION_FUNDS;
	case CALLGATE_DECISION_DENIED_CONCURRENCY_LIMIT:
		return CG_SITUATION_CONCURRENCY;
	case CALLGATE_DECISION_DENIED_SUSPENDED:
		return CG_SITUATION_SUSPENDED;
	case CALLGATE_DECISION_DENIED_NO_PRICE:
		return CG_SITUATION_NO_PRICE;
	case CALLGATE_DECISION_DENIED_BARRED:
		return CG_SITUATION_BARRED;
	case CALLGATE_DECISION_UNSPECIFIED:
	case CALLGATE_DECISION_ALLOWED:
		break;
	}
	return CG_SITUATION_UNAVAILABLE;
}

static void on_decided(void *context, const struct callgate_error *error,
    const struct callgate_authorize_response *response)
{
	struct admission *a = context;

	if (error != NULL) {
		enum cg_edge_gate gate = cg_edge_gate_of(error);
		cg_log(CG_LOG_WARN, "the gate does not decide", "call", a->call_id, "company",
		    a->number.company_id, "status", callgate_status_name(error->status), "why",
		    error->message, NULL);
		if (gate == CG_EDGE_GATE_AWAY) {
			on_outage(a);
		} else {
			refuse(a,
			    gate == CG_EDGE_GATE_UNKNOWN ? CG_SITUATION_SUSPENDED
			                                 : CG_SITUATION_UNAVAILABLE);
		}
		return;
	}
	if (response->decision != CALLGATE_DECISION_ALLOWED) {
		refuse(a, situation_of(response->decision));
		return;
	}
	const struct cg_edge_settings *settings = &a->edge->settings;
	a->granted_ms = response->max_duration_ms;
	a->is_degraded = response->degraded;
	a->max_seconds = (response->max_duration_ms - settings->margin_ms) / 1000;
	if (a->max_seconds > CG_VAPI_SECONDS_MAX) {
		a->max_seconds = CG_VAPI_SECONDS_MAX;
	}
	if (a->max_seconds < settings->least_seconds) {
		let_go(a);
		refuse(a, CG_SITUATION_FUNDS);
		return;
	}
	admit(a);
}

static void ask_gate(struct admission *a)
{
	struct callgate_meta meta[] = {
	    {"provider", "vapi"}, {"phone_number_id", a->number.phone_number_id}};
	struct callgate_authorize_request authorize = {
	    .company_id = a->number.company_id,
	    .call_id = a->call_id,
	    .resource_type = "voice_inbound",
	    .destination = a->destination,
	    /* Metered from here: a lost in-progress must not make it free. */
	    .start = true,
	    .meta = meta,
	    .meta_count = CG_COUNT_OF(meta),
	};

	if (callgate_authorize(a->edge->gate, &authorize, on_decided, a) != CALLGATE_ACCEPTED) {
		on_outage(a);
	}
}

void cg_edge_admit(
    struct cg_edge *edge, struct cg_http_request *request, const struct cg_vapi_message *message)
{
	struct admission *a = calloc(1, sizeof *a);
	const struct cg_number *number =
	    cg_directory_number(edge->directory, message->call.phone_number_id, message->dialled);

	CG_ASSERT(a != NULL);
	a->edge = edge;
	a->request = request;
	a->began_at_ms = cg_loop_now_ms(edge->loop);
	(void)snprintf(a->call_id, sizeof a->call_id, "%s", message->call.id);
	if (number == NULL) {
		bool is_loaded = cg_directory_version(edge->directory) > 0;
		edge->counts.calls_unmatched += is_loaded ? 1 : 0;
		cg_log(CG_LOG_WARN, "nobody's number was dialled", "phone_number_id",
		    message->call.phone_number_id, "loaded", is_loaded ? "yes" : "no", NULL);
		refuse(a, is_loaded ? CG_SITUATION_UNKNOWN_NUMBER : CG_SITUATION_UNAVAILABLE);
		return;
	}
	a->number = *number;
	(void)snprintf(a->destination, sizeof a->destination, "%s", number->number);
	ask_gate(a);
}
