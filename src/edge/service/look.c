/*
 * One look at a call that nobody reported: asked for at the provider, and brought to what is true.
 *
 *   row --> the gate: how does it have the call --> the provider: what is it --> cg_look_decide()
 *
 * A look that comes to nothing is repeated: its row is due again (looks.c).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "edge/calls/look.h"
#include "edge/service/edge.h"

#define RUNNING_LOOK_MS 30000
#define NAMED_LOOKS_MIN 3

struct look {
	struct cg_edge *edge;
	void (*done)(void *owner);
	void *owner;
	struct cg_edge_row row;
	struct cg_look_facts facts;
	struct cg_vapi_call told;
};

static void end(struct look *look)
{
	void (*done)(void *owner) = look->done;
	void *owner = look->owner;

	free(look);
	done(owner);
}

static void note(
    const struct look *look, const char *state, const char *outcome, int64_t look_in_ms)
{
	struct cg_edge_note note = {
	    .call_id = look->row.call_id,
	    .state = state,
	    .company_id = look->row.company_id,
	    .started_at_ms = look->told.started_at_ms,
	    .ended_at_ms = look->told.ended_at_ms,
	    .ended_reason = look->told.ended_reason,
	    .control_url = strcmp(state, "running") == 0 &&
	            cg_edge_control_is_allowed(look->edge, look->told.control_url)
	        ? look->told.control_url
	        : NULL,
	    .outcome = outcome,
	    .look_in_ms = look_in_ms,
	};

	cg_edge_store_note(look->edge->store, &note, NULL, NULL);
}

static const char *gate_id_of(const struct look *look)
{
	return look->row.name[0] != '\0' ? look->row.name : look->row.call_id;
}

static void on_billed(void *owner, enum cg_edge_billed billed)
{
	(void)billed; /* It has noted what it came to; where it could not, the row is due again. */
	end(owner);
}

static void charge(struct look *look, const struct cg_duration *duration)
{
	struct cg_edge_bill bill = {
	    .cost_micros = look->told.cost_micros,
	    .facts = look->facts.duration,
	    .is_polled = true,
	    .is_decided = true,
	    .duration = *duration,
	};

	(void)snprintf(bill.call_id, sizeof bill.call_id, "%s", look->row.call_id);
	(void)snprintf(bill.gate_id, sizeof bill.gate_id, "%s", gate_id_of(look));
	(void)snprintf(bill.company_id, sizeof bill.company_id, "%s", look->row.company_id);
	(void)snprintf(
	    bill.resource_type, sizeof bill.resource_type, "%s", look->row.resource_type);
	(void)snprintf(bill.destination, sizeof bill.destination, "%s", look->row.destination);
	(void)snprintf(bill.ended_reason, sizeof bill.ended_reason, "%s", look->told.ended_reason);
	cg_edge_settle(look->edge, &bill, on_billed, look);
}

static void on_cancelled(void *context, const struct callgate_error *error,
    const struct callgate_cancel_response *response)
{
	struct look *look = context;

	(void)response;
	if (cg_edge_gate_of(error) != CG_EDGE_GATE_AWAY) {
		note(look, "closed", "never connected", 0);
	}
	end(look);
}

static void cancel(struct look *look)
{
	struct callgate_cancel_request request = {
	    .company_id = look->row.company_id, .call_id = gate_id_of(look)};

	if (callgate_cancel(look->edge->books, &request, on_cancelled, look) != CALLGATE_ACCEPTED) {
		end(look);
	}
}

static void on_running(struct look *look)
{
	struct cg_edge *edge = look->edge;

	note(look, "running", NULL, RUNNING_LOOK_MS);
	cg_live_add(edge->live, &look->row, gate_id_of(look), look->told.control_url);
	/* Longer than it was granted, and its provider does not end it. */
	int64_t talked_ms = cg_edge_now_ms() - look->told.started_at_ms;
	if (look->row.granted_ms > 0 && look->told.started_at_ms > 0 &&
	    talked_ms > look->row.granted_ms + edge->settings.slack_ms) {
		cg_live_cut(edge->live, look->row.call_id, gate_id_of(look), look->row.company_id);
	}
}

static void on_started(void *context, const struct callgate_error *error,
    const struct callgate_start_response *response)
{
	struct look *look = context;

	if (error == NULL && response->decision != CALLGATE_DECISION_ALLOWED) {
		cg_live_cut(
		    look->edge->live, look->row.call_id, gate_id_of(look), look->row.company_id);
	}
	end(look);
}

static void on_adopted(void *context, const struct callgate_error *error,
    const struct callgate_adopt_response *response)
{
	struct look *look = context;

	(void)response;
	if (error == NULL) {
		look->edge->counts.adopted++;
		cg_log(CG_LOG_WARN, "running call adopted", "call", look->row.call_id, "company",
		    look->row.company_id, NULL);
	} else if (cg_edge_gate_of(error) != CG_EDGE_GATE_AWAY) {
		struct cg_edge_review review = {.call_id = look->row.call_id,
		    .what = "not_metered",
		    .company_id = look->row.company_id,
		    .detail = error->message};
		cg_edge_review(look->edge, &review);
	}
	end(look);
}

static void start(struct look *look)
{
	struct callgate_start_request request = {.company_id = look->row.company_id,
	    .call_id = gate_id_of(look),
	    .started_at_ms = look->told.started_at_ms};

	on_running(look);
	if (callgate_start(look->edge->books, &request, on_started, look) != CALLGATE_ACCEPTED) {
		end(look);
	}
}

static void adopt(struct look *look)
{
	struct callgate_adopt_request request = {.company_id = look->row.company_id,
	    .call_id = gate_id_of(look),
	    .resource_type = look->row.resource_type,
	    .destination = look->row.destination,
	    .started_at_ms =
	        look->told.started_at_ms > 0 ? look->told.started_at_ms : cg_edge_now_ms() - 1};

	on_running(look);
	if (callgate_adopt(look->edge->books, &request, on_adopted, look) != CALLGATE_ACCEPTED) {
		end(look);
	}
}

static void give_up(struct look *look)
{
	struct cg_edge_review review = {.call_id = look->row.call_id,
	    .what = "no_duration",
	    .company_id = look->row.company_id,
	    .granted_ms = look->row.granted_ms,
	    .detail = "it talked, and the provider does not say how long"};

	cg_edge_review(look->edge, &review);
	/* The gate charges what it assumes, 15 minutes past the longest duration; a person corrects it. */
	note(look, "closed", "given up", 0);
	end(look);
}

static void decide(struct look *look)
{
	struct cg_look verdict = cg_look_decide(&look->facts);

	switch (verdict.act) {
	case CG_LOOK_LATER:
		end(look); /* Its row is due again. */
		break;
	case CG_LOOK_DONE:
		note(look, "closed", "nothing owed", 0);
		end(look);
		break;
	case CG_LOOK_SETTLE:
		charge(look, &verdict.duration);
		break;
	case CG_LOOK_CANCEL:
		cancel(look);
		break;
	case CG_LOOK_START:
		start(look);
		break;
	case CG_LOOK_ADOPT:
		adopt(look);
		break;
	case CG_LOOK_RUNS:
		on_running(look);
		end(look);
		break;
	case CG_LOOK_GIVE_UP:
		give_up(look);
		break;
	}
}

static void on_told(void *owner, enum cg_snapshot_kind kind, const struct cg_vapi_call *told)
{
	struct look *look = owner;
	struct cg_duration_facts *duration = &look->facts.duration;

	look->told = *told;
	duration->snapshot = kind;
	duration->snapshot_started_at_ms = told->started_at_ms;
	duration->snapshot_ended_at_ms = told->ended_at_ms;
	duration->paid_ms = told->paid_ms;
	duration->granted_ms =
	    look->row.granted_ms > 0 ? look->row.granted_ms : told->max_seconds * 1000;
	duration->slack_ms = look->edge->settings.slack_ms;
	decide(look);
}

/*
 * A call that was asked for, and of which the provider did not say whether it made it.  It is in
 * the list within seconds, or it was not made.
 */
static void on_named(void *owner, enum cg_snapshot_kind kind, const struct cg_vapi_call *told)
{
	struct look *look = owner;
	struct cg_edge *edge = look->edge;

	if (kind == CG_SNAPSHOT_AWAY ||
	    (kind == CG_SNAPSHOT_ABSENT && look->row.looks < NAMED_LOOKS_MIN)) {
		end(look); /* Its row is due again. */
		return;
	}
	if (kind == CG_SNAPSHOT_ABSENT) {
		cancel(look); /* What has its name for an id is closed with it. */
		return;
	}
	struct cg_edge_note note = {
	    .call_id = told->id,
	    .state = "admitted",
	    .company_id = look->row.company_id,
	    .kind = told->type,
	    .phone_number_id = look->row.phone_number_id,
	    .name = look->row.name,
	    .resource_type = look->row.resource_type,
	    .destination = look->row.destination,
	    .granted_ms = look->row.granted_ms,
	    .look_in_ms = 1,
	};
	cg_edge_store_note(edge->store, &note, NULL, NULL);
	note.call_id = look->row.call_id;
	note.state = "closed";
	note.outcome = "made";
	cg_edge_store_note(edge->store, &note, NULL, NULL);
	end(look);
}

static enum cg_look_gate gate_of(enum callgate_call_state state)
{
	switch (state) {
	case CALLGATE_CALL_STATE_AUTHORIZED:
		return CG_LOOK_GATE_AUTHORIZED;
	case CALLGATE_CALL_STATE_METERING:
	case CALLGATE_CALL_STATE_STOPPED:
		return CG_LOOK_GATE_METERING;
	case CALLGATE_CALL_STATE_SETTLED:
		return CG_LOOK_GATE_SETTLED;
	case CALLGATE_CALL_STATE_UNSPECIFIED:
	case CALLGATE_CALL_STATE_CANCELLED:
	case CALLGATE_CALL_STATE_EXPIRED:
		break;
	/* Charged for what was assumed: the true duration corrects it. */
	case CALLGATE_CALL_STATE_ABANDONED:
		return CG_LOOK_GATE_METERING;
	}
	return CG_LOOK_GATE_UNKNOWN;
}

static void on_gate(void *context, const struct callgate_error *error,
    const struct callgate_get_call_response *response)
{
	struct look *look = context;
	enum cg_edge_gate gate = cg_edge_gate_of(error);

	if (gate != CG_EDGE_GATE_OK && gate != CG_EDGE_GATE_UNKNOWN) {
		end(look); /* Its row is due again. */
		return;
	}
	look->facts.gate = gate == CG_EDGE_GATE_OK && response->has_call
	    ? gate_of(response->call.state)
	    : CG_LOOK_GATE_UNKNOWN;
	if (look->row.name[0] != '\0' && strcmp(look->row.call_id, look->row.name) == 0) {
		cg_edge_find_named(look->edge, &look->row, on_named, look);
		return;
	}
	cg_edge_provider_get(look->edge, look->row.call_id, on_told, look);
}

static void ask_gate(struct look *look)
{
	struct callgate_get_call_request request = {
	    .company_id = look->row.company_id, .call_id = gate_id_of(look)};

	if (callgate_get_call(look->edge->books, &request, on_gate, look) != CALLGATE_ACCEPTED) {
		end(look);
	}
}

/* Nobody's when it was told of: its number may have been entered since, or not been read then. */
static void on_whose(void *owner, enum cg_snapshot_kind kind, const struct cg_vapi_call *told)
{
	struct look *look = owner;
	struct cg_vapi_call call = *told;
	struct cg_edge_owner whose;

	if (kind == CG_SNAPSHOT_ABSENT) {
		(void)snprintf(call.type, sizeof call.type, "%s", look->row.kind);
		(void)snprintf(call.phone_number_id, sizeof call.phone_number_id, "%s",
		    look->row.phone_number_id);
	}
	switch (kind == CG_SNAPSHOT_AWAY ? CG_EDGE_WHOSE_LATER
	                                 : cg_edge_whose(look->edge, &call, "", &whose)) {
	case CG_EDGE_WHOSE_LATER:
		end(look); /* Its row is due again. */
		break;
	case CG_EDGE_WHOSE_NOBODYS:
		cg_edge_park_unmatched(look->edge, look->row.call_id, told->started_at_ms,
		    told->ended_at_ms, call.phone_number_id);
		note(look, "closed", "unmatched", 0);
		end(look);
		break;
	case CG_EDGE_WHOSE_FOUND:
		memcpy(look->row.company_id, whose.company_id, sizeof look->row.company_id);
		(void)snprintf(look->row.resource_type, sizeof look->row.resource_type, "%s",
		    whose.resource_type);
		(void)snprintf(look->row.destination, sizeof look->row.destination, "%.16s",
		    whose.destination);
		ask_gate(look);
		break;
	}
}

void cg_edge_look(
    struct cg_edge *edge, const struct cg_edge_row *row, void (*done)(void *owner), void *owner)
{
	struct look *look = calloc(1, sizeof *look);

	CG_ASSERT(look != NULL);
	look->edge = edge;
	look->done = done;
	look->owner = owner;
	look->row = *row;
	look->facts.was_connected = row->is_connected;
	if (row->company_id[0] == '\0') {
		cg_edge_provider_get(edge, row->call_id, on_whose, look);
	} else {
		ask_gate(look);
	}
}
