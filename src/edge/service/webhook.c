/*
 * What Vapi says of a call after it was let in: that it talks, that it ended, how long it was.
 *
 *   TAKING --kept in Postgres--> ACTING --the gate did it--> NOTING --kept--> 200
 *      |  '--its effect took place before------------------------------------> 200
 *      '--not kept-------> 503      '--out of reach--> 503
 *
 * A 2xx promises that nothing of it is owed any more, or that Postgres knows what is.  Whatever
 * order they come in, each message does what it alone can tell, and a call only ever goes forward.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "edge/json/out.h"
#include "edge/service/edge.h"

#define CONTENT_BYTES 4096
/* How far the provider's clock may be off before its times of events are not believed. */
#define CLOCK_MS 60000
/* A call that never connected sends no report: it is asked for at once. */
#define NOT_CONNECTED_LOOK_MS 2000

struct event {
	struct cg_edge *edge;
	struct cg_http_request *request;
	struct cg_vapi_message message;
	struct cg_edge_row row;
	struct cg_edge_owner whose;
	bool is_whose_known; /* or it is known that it is nobody's */
	char gate_id[CG_VAPI_ID_BYTES];
};

static void answer(struct event *e, unsigned status)
{
	if (status == 503) {
		e->edge->counts.webhooks_retried++;
	}
	cg_edge_answer_json(e->request, status, status == 503 ? "error" : NULL, "try again");
	free(e);
}

static void on_noted(
    void *owner, enum cg_status status, const struct cg_edge_row *rows, size_t count)
{
	(void)rows;
	(void)count;
	answer(owner, status == CG_OK ? 200 : 503);
}

static void note_done(struct event *e, const char *outcome)
{
	cg_edge_store_event_done(e->edge->store, e->row.event_id, outcome, on_noted, e);
}

static void on_adopted(void *context, const struct callgate_error *error,
    const struct callgate_adopt_response *response)
{
	struct event *e = context;
	enum cg_edge_gate gate = cg_edge_gate_of(error);

	(void)response;
	if (gate == CG_EDGE_GATE_AWAY) {
		answer(e, 503);
		return;
	}
	e->edge->counts.adopted += gate == CG_EDGE_GATE_OK ? 1 : 0;
	note_done(e, gate == CG_EDGE_GATE_OK ? "adopted" : "not metered");
}

static int64_t believed(const struct event *e)
{
	int64_t at_ms = e->message.sent_at_ms;
	int64_t off_ms = cg_edge_now_ms() - at_ms;

	return off_ms > -CLOCK_MS && off_ms < CLOCK_MS ? at_ms : 0;
}

static void adopt(struct event *e)
{
	int64_t at_ms = believed(e);
	struct callgate_adopt_request request = {
	    .company_id = e->whose.company_id,
	    .call_id = e->gate_id,
	    .resource_type = e->whose.resource_type,
	    .destination = e->whose.destination,
	    .started_at_ms = at_ms > 0 && at_ms < cg_edge_now_ms() ? at_ms : cg_edge_now_ms() - 1,
	};

	if (callgate_adopt(e->edge->books, &request, on_adopted, e) != CALLGATE_ACCEPTED) {
		answer(e, 503);
	}
}

static void on_started(void *context, const struct callgate_error *error,
    const struct callgate_start_response *response)
{
	struct event *e = context;

	switch (cg_edge_gate_of(error)) {
	case CG_EDGE_GATE_OK:
		if (response->decision != CALLGATE_DECISION_ALLOWED) {
			/* Its hold had expired, and there is nothing left to talk on. */
			cg_live_cut(
			    e->edge->live, e->message.call.id, e->gate_id, e->whose.company_id);
		}
		note_done(e, "started");
		break;
	case CG_EDGE_GATE_AWAY:
		answer(e, 503);
		break;
	case CG_EDGE_GATE_UNKNOWN:
		adopt(e); /* Started past the gate, or the gate has forgotten it. */
		break;
	case CG_EDGE_GATE_STATE:
	case CG_EDGE_GATE_REUSED:
	case CG_EDGE_GATE_REFUSED:
		note_done(e, "had ended");
		break;
	}
}

static void on_in_progress(struct event *e)
{
	struct callgate_start_request request = {
	    .company_id = e->whose.company_id, .call_id = e->gate_id, .started_at_ms = believed(e)};

	if (strcmp(e->row.state, "running") == 0) {
		cg_live_add(e->edge->live, &e->row, e->gate_id, e->row.control_url);
	}
	if (callgate_start(e->edge->books, &request, on_started, e) != CALLGATE_ACCEPTED) {
		answer(e, 503);
	}
}

static void on_stopped(void *context, const struct callgate_error *error,
    const struct callgate_stop_response *response)
{
	struct event *e = context;

	(void)response;
	/* A courtesy to the wallet: what was not stopped is settled all the same. */
	note_done(e, error == NULL ? "stopped" : "not stopped");
}

static void on_ended(struct event *e)
{
	struct callgate_stop_request request = {
	    .company_id = e->whose.company_id, .call_id = e->gate_id, .ended_at_ms = believed(e)};

	cg_live_ended(e->edge->live, e->gate_id);
	if (cg_vapi_reason_of(e->message.ended_reason) == CG_VAPI_REASON_ACCOUNT) {
		e->edge->counts.account_alarms++;
		cg_log(CG_LOG_ERROR, "our account at the provider is empty or blocked", "reason",
		    e->message.ended_reason, NULL);
	}
	if (callgate_stop(e->edge->books, &request, on_stopped, e) != CALLGATE_ACCEPTED) {
		note_done(e, "not stopped");
	}
}

static void on_billed(void *owner, enum cg_edge_billed billed)
{
	struct event *e = owner;

	switch (billed) {
	case CG_EDGE_BILLED:
		note_done(e, "charged");
		break;
	case CG_EDGE_PARKED:
		note_done(e, "parked");
		break;
	case CG_EDGE_WAITING:
		note_done(e, "duration awaited"); /* The call's row wants a look. */
		break;
	case CG_EDGE_AGAIN:
		answer(e, 503);
		break;
	}
}

static void on_report(struct event *e)
{
	const struct cg_vapi_message *m = &e->message;
	struct cg_edge_bill bill = {
	    .cost_micros = m->cost_micros,
	    .facts =
	        {
	            .started_at_ms = m->started_at_ms,
	            .ended_at_ms = m->ended_at_ms,
	            .paid_ms = m->paid_ms,
	            .stated_ms = m->stated_ms,
	            .granted_ms = e->row.granted_ms,
	        },
	};

	if (bill.facts.granted_ms == 0 && m->call.max_seconds > 0) {
		bill.facts.granted_ms = m->call.max_seconds * 1000;
	}
	(void)snprintf(bill.call_id, sizeof bill.call_id, "%s", m->call.id);
	(void)snprintf(bill.gate_id, sizeof bill.gate_id, "%s", e->gate_id);
	(void)snprintf(bill.company_id, sizeof bill.company_id, "%s", e->whose.company_id);
	(void)snprintf(bill.resource_type, sizeof bill.resource_type, "%s", e->whose.resource_type);
	(void)snprintf(bill.destination, sizeof bill.destination, "%.16s", e->whose.destination);
	(void)snprintf(bill.ended_reason, sizeof bill.ended_reason, "%s", m->ended_reason);
	cg_edge_settle(e->edge, &bill, on_billed, e);
}

/* The row is what we wrote ourselves; else the number, which the gate was keyed by. */
static void identify(struct event *e)
{
	const struct cg_vapi_message *m = &e->message;

	if (e->row.company_id[0] != '\0') {
		memcpy(e->whose.company_id, e->row.company_id, sizeof e->whose.company_id);
	}
	if (e->row.name[0] != '\0') {
		(void)snprintf(e->gate_id, sizeof e->gate_id, "%s", e->row.name);
	} else if (cg_edge_is_named(&m->call)) {
		(void)snprintf(e->gate_id, sizeof e->gate_id, "%s", m->call.name);
	} else {
		(void)snprintf(e->gate_id, sizeof e->gate_id, "%s", m->call.id);
	}
	if (e->row.resource_type[0] != '\0') {
		e->whose.resource_type = e->row.resource_type;
		(void)snprintf(
		    e->whose.destination, sizeof e->whose.destination, "%s", e->row.destination);
	}
}

/* Its row wants a look all the same: should it not come again, its owner is looked for then. */
static void settle_nobodys(struct event *e)
{
	const struct cg_vapi_message *m = &e->message;

	if (!e->is_whose_known) {
		answer(e, 503);
		return;
	}
	cg_edge_park_unmatched(
	    e->edge, m->call.id, m->started_at_ms, m->ended_at_ms, m->call.phone_number_id);
	note_done(e, "unmatched");
}

static void on_taken(
    void *owner, enum cg_status status, const struct cg_edge_row *rows, size_t count)
{
	struct event *e = owner;

	if (status != CG_OK || count != 1) {
		/* What Postgres will never take must not come again and again. */
		answer(e, status == CG_INVALID ? 400 : 503);
		return;
	}
	e->row = rows[0];
	if (e->row.event_done) {
		e->edge->counts.webhooks_repeated++;
		answer(e, 200);
		return;
	}
	identify(e);
	if (e->whose.company_id[0] == '\0') {
		settle_nobodys(e);
	} else if (e->message.kind == CG_VAPI_REPORT) {
		on_report(e);
	} else if (strcmp(e->message.status, "in-progress") == 0) {
		on_in_progress(e);
	} else if (strcmp(e->message.status, "ended") == 0) {
		on_ended(e);
	} else {
		note_done(e, "noted");
	}
}

/* What a person, or a later version, may want to know; no word of what was said. */
static struct cg_view content_of(const struct cg_vapi_message *m, char *memory, size_t size)
{
	struct cg_out out;

	cg_out_init(&out, memory, size);
	cg_out_object(&out, NULL);
	cg_out_text(&out, "call_type", m->call.type);
	cg_out_text(&out, "phone_number_id", m->call.phone_number_id);
	cg_out_text(&out, "assistant_id", m->call.assistant_id);
	cg_out_text(&out, "ended_reason", m->ended_reason);
	cg_out_int(&out, "started_at_ms", m->started_at_ms);
	cg_out_int(&out, "ended_at_ms", m->ended_at_ms);
	cg_out_int(&out, "paid_ms", m->paid_ms);
	cg_out_int(&out, "stated_ms", m->stated_ms);
	cg_out_int(&out, "cost_micros", m->cost_micros);
	cg_out_int(&out, "max_seconds", m->call.max_seconds);
	cg_out_end(&out, '}');
	CG_ASSERT(!out.buffer.overflow);
	return cg_out_view(&out);
}

static const char *state_of(const struct cg_vapi_message *m)
{
	if (m->kind == CG_VAPI_REPORT || strcmp(m->status, "ended") == 0) {
		return "ended";
	}
	return strcmp(m->status, "in-progress") == 0 ? "running" : NULL;
}

static int64_t look_in_ms_of(const struct event *e, const char *state)
{
	enum cg_vapi_reason reason = cg_vapi_reason_of(e->message.ended_reason);

	if (state == NULL || strcmp(state, "running") == 0) {
		return 0;
	}
	bool is_silent = reason == CG_VAPI_REASON_NOT_CONNECTED || reason == CG_VAPI_REASON_GATE ||
	    reason == CG_VAPI_REASON_START || reason == CG_VAPI_REASON_ACCOUNT;
	return is_silent ? NOT_CONNECTED_LOOK_MS : e->edge->settings.look_after_ms;
}

void cg_edge_take_event(
    struct cg_edge *edge, struct cg_http_request *request, const struct cg_vapi_message *message)
{
	struct event *e = calloc(1, sizeof *e);
	char memory[CONTENT_BYTES];

	CG_ASSERT(e != NULL);
	e->edge = edge;
	e->request = request;
	e->message = *message;
	e->is_whose_known =
	    cg_edge_whose(edge, &message->call, message->dialled, &e->whose) != CG_EDGE_WHOSE_LATER;
	const char *state = state_of(message);
	const char *url = message->call.control_url;
	if (url[0] != '\0' && !cg_edge_control_is_allowed(edge, url)) {
		edge->counts.control_refused++;
		cg_log(CG_LOG_WARN, "control URL refused", "call", message->call.id, NULL);
		url = "";
	}
	struct cg_edge_event event = {
	    .dedupe_key = message->dedupe_key,
	    .call_id = message->call.id,
	    .type = message->type,
	    .status = message->status,
	    .sent_at_ms = message->sent_at_ms,
	    .content = content_of(message, memory, sizeof memory),
	    .state = state,
	    .company_id = e->whose.company_id,
	    .kind = message->call.type,
	    .phone_number_id = message->call.phone_number_id,
	    .resource_type = e->whose.resource_type,
	    .destination = e->whose.destination,
	    .control_url = url,
	    .ended_reason = message->ended_reason,
	    .look_in_ms = look_in_ms_of(e, state),
	    .name = cg_edge_is_named(&message->call) ? message->call.name : NULL,
	};
	cg_edge_store_take(edge->store, &event, on_taken, e);
}
