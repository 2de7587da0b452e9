/*
 * Charges a call that has ended.
 *
 *   DECIDING --the provider must say--> ASKING --it answered, or not--> DECIDING
 *      | '------nothing says how long it was--> parked, looked at again
 *      '--known--> SETTLING --in the ledger--> closed here --> done
 *                     '--out of reach--> the same again, by whoever asked
 *
 * ASKING waits for the provider, SETTLING for the ledger's commit.  The point of no return is the
 * gate's: its answer says what was charged, also where somebody else was quicker, and then it is
 * compared, never charged again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "edge/service/edge.h"

/* A call that nobody can price, or whose length nobody knows: until it is tried again. */
#define PARKED_LOOK_MS 3600000

struct settling {
	struct cg_edge *edge;
	struct cg_edge_bill bill;
	struct cg_duration duration;
	bool is_waived;
	void (*done)(void *owner, enum cg_edge_billed billed);
	void *owner;
};

enum cg_edge_gate cg_edge_gate_of(const struct callgate_error *error)
{
	if (error == NULL) {
		return CG_EDGE_GATE_OK;
	}
	switch (error->status) {
	case CALLGATE_STATUS_UNAVAILABLE:
	case CALLGATE_STATUS_DEADLINE_EXCEEDED:
	case CALLGATE_STATUS_CANCELLED:
	case CALLGATE_STATUS_RESOURCE_EXHAUSTED:
	case CALLGATE_STATUS_ABORTED:
	/* Our token is wrong, or no longer good: nothing was decided, and it can be put right. */
	case CALLGATE_STATUS_UNAUTHENTICATED:
	case CALLGATE_STATUS_PERMISSION_DENIED:
		return CG_EDGE_GATE_AWAY;
	case CALLGATE_STATUS_NOT_FOUND:
		return CG_EDGE_GATE_UNKNOWN;
	case CALLGATE_STATUS_FAILED_PRECONDITION:
		return CG_EDGE_GATE_STATE;
	case CALLGATE_STATUS_ALREADY_EXISTS:
		return CG_EDGE_GATE_REUSED;
	case CALLGATE_STATUS_OK:
	case CALLGATE_STATUS_UNKNOWN:
	case CALLGATE_STATUS_INVALID_ARGUMENT:
	case CALLGATE_STATUS_OUT_OF_RANGE:
	case CALLGATE_STATUS_UNIMPLEMENTED:
	case CALLGATE_STATUS_INTERNAL:
	case CALLGATE_STATUS_DATA_LOSS:
		break;
	}
	return CG_EDGE_GATE_REFUSED;
}

void cg_edge_review(struct cg_edge *edge, const struct cg_edge_review *review)
{
	edge->counts.reviews++;
	cg_log(CG_LOG_WARN, "call to be reviewed", "call", review->call_id, "company",
	    review->company_id, "what", review->what, "said_ms", cg_log_int(review->said_ms),
	    "charged_ms", cg_log_int(review->charged_ms), "detail", review->detail, NULL);
	cg_edge_store_review(edge->store, review, NULL, NULL);
}

void cg_edge_look_soon(
    struct cg_edge *edge, const char *call_id, const char *company_id, int64_t after_ms)
{
	struct cg_edge_note note = {.call_id = call_id,
	    .state = "admitted",
	    .company_id = company_id,
	    .look_in_ms = after_ms > 0 ? after_ms : 1};

	cg_edge_store_note(edge->store, &note, NULL, NULL);
}

static void review(const struct settling *s, const char *what, const char *detail)
{
	struct cg_edge_review review = {
	    .call_id = s->bill.call_id,
	    .what = what,
	    .company_id = s->bill.company_id,
	    .said_ms = s->duration.said_ms,
	    .charged_ms = s->duration.ms,
	    .granted_ms = s->bill.facts.granted_ms,
	    .detail = detail,
	};

	cg_edge_review(s->edge, &review);
}

static void end(struct settling *s, enum cg_edge_billed billed)
{
	void (*done)(void *owner, enum cg_edge_billed billed) = s->done;
	void *owner = s->owner;

	free(s);
	done(owner, billed);
}

/* Something keeps it from being charged; it is tried again once a person may have seen to it. */
static void park(struct settling *s, const char *what, const char *detail)
{
	struct cg_edge_note note = {
	    .call_id = s->bill.call_id,
	    .state = "ended",
	    .company_id = s->bill.company_id,
	    .ended_reason = s->bill.ended_reason,
	    .outcome = what,
	    .look_in_ms = PARKED_LOOK_MS,
	};

	review(s, what, detail);
	cg_edge_store_note(s->edge->store, &note, NULL, NULL);
	end(s, CG_EDGE_PARKED);
}

static void review_doubts(const struct settling *s)
{
	if ((s->duration.doubts & CG_DOUBT_OVER_GRANT) != 0) {
		review(s, "over_grant", "charged up to what was granted");
	}
	if ((s->duration.doubts & CG_DOUBT_PAID) != 0) {
		review(s, "costs_differ", "the provider was paid for another time");
	}
	if ((s->duration.doubts & CG_DOUBT_NEGATIVE) != 0) {
		review(s, "negative", "it ended before it began");
	}
	if (s->is_waived) {
		review(s, "waived", s->bill.ended_reason);
	}
	if (cg_vapi_reason_of(s->bill.ended_reason) == CG_VAPI_REASON_TRANSFERRED) {
		review(s, "transferred", "nobody reports how long the forwarded leg talked");
	}
}

static void on_closed(
    void *owner, enum cg_status status, const struct cg_edge_row *rows, size_t count)
{
	struct settling *s = owner;

	(void)rows;
	(void)count;
	/* Charged it is; what is not kept is settled again, which changes nothing. */
	end(s, status == CG_OK ? CG_EDGE_BILLED : CG_EDGE_AGAIN);
}

static void close_call(struct settling *s, const char *outcome)
{
	struct cg_edge_note note = {
	    .call_id = s->bill.call_id,
	    .state = "closed",
	    .company_id = s->bill.company_id,
	    .started_at_ms = s->duration.started_at_ms,
	    .ended_reason = s->bill.ended_reason,
	    .outcome = outcome,
	};

	cg_live_ended(s->edge->live, s->bill.gate_id);
	cg_edge_store_note(s->edge->store, &note, on_closed, s);
}

/* Charged before, for another duration: by a poll, or a report that came first. */
static void compare(struct settling *s, const struct callgate_error *error)
{
	if (error->has_detail && error->detail.has_settled) {
		int64_t charged_ms = error->detail.settled.duration_ms;
		int64_t off_ms = charged_ms - s->duration.ms;
		off_ms = off_ms < 0 ? -off_ms : off_ms;
		if (off_ms > s->edge->settings.slack_ms) {
			char detail[96];
			(void)snprintf(
			    detail, sizeof detail, "charged before for %" PRId64 " ms", charged_ms);
			review(s, "charged_otherwise", detail);
		}
	}
	close_call(s, "charged before");
}

static void on_settled(void *context, const struct callgate_error *error,
    const struct callgate_settle_response *response)
{
	struct settling *s = context;

	switch (cg_edge_gate_of(error)) {
	case CG_EDGE_GATE_OK:
		if (s->bill.is_polled) {
			s->edge->counts.settled_polled++;
		} else {
			s->edge->counts.settled++;
		}
		cg_log(CG_LOG_INFO, "call charged", "call", s->bill.call_id, "company",
		    s->bill.company_id, "duration_ms", cg_log_int(response->duration_ms),
		    "cost_micros", cg_log_int(response->cost_micros), "ledger", response->ledger_id,
		    "late", response->late ? "yes" : "no", NULL);
		review_doubts(s);
		close_call(s, response->ledger_id);
		break;
	case CG_EDGE_GATE_REUSED:
		compare(s, error);
		break;
	case CG_EDGE_GATE_AWAY:
		end(s, CG_EDGE_AGAIN);
		break;
	case CG_EDGE_GATE_UNKNOWN:
	case CG_EDGE_GATE_STATE:
	case CG_EDGE_GATE_REFUSED:
		park(s, "not_charged", error->message);
		break;
	}
}

static void settle(struct settling *s)
{
	const struct cg_edge_bill *bill = &s->bill;
	char cost[24];
	char said[24];
	struct callgate_meta meta[5];
	size_t count = 0;

	meta[count++] = (struct callgate_meta){"provider_call_id", bill->call_id};
	if (bill->ended_reason[0] != '\0') {
		meta[count++] = (struct callgate_meta){"ended_reason", bill->ended_reason};
	}
	if (bill->cost_micros >= 0) {
		(void)snprintf(cost, sizeof cost, "%" PRId64, bill->cost_micros);
		meta[count++] = (struct callgate_meta){"provider_cost_micros", cost};
	}
	if (s->duration.said_ms != s->duration.ms) {
		(void)snprintf(said, sizeof said, "%" PRId64, s->duration.said_ms);
		meta[count++] = (struct callgate_meta){"said_ms", said};
	}
	struct callgate_settle_request request = {
	    .company_id = bill->company_id,
	    .call_id = bill->gate_id,
	    .duration = CALLGATE_SETTLE_DURATION_MS,
	    .duration_ms = s->duration.ms,
	    .resource_type = bill->resource_type,
	    .destination = bill->destination,
	    .durability = CALLGATE_DURABILITY_COMMITTED,
	    .meta = meta,
	    .meta_count = count,
	    .started_at_ms = s->duration.started_at_ms,
	    .basis = s->duration.is_polled ? CALLGATE_DURATION_BASIS_POLLED
	                                   : CALLGATE_DURATION_BASIS_REPORTED,
	};
	if (callgate_settle(s->edge->books, &request, on_settled, s) != CALLGATE_ACCEPTED) {
		end(s, CG_EDGE_AGAIN);
	}
}

static void on_told(void *owner, enum cg_snapshot_kind kind, const struct cg_vapi_call *call);

static void decide(struct settling *s)
{
	s->duration = s->bill.is_decided ? s->bill.duration : cg_duration_decide(&s->bill.facts);
	switch (s->duration.verdict) {
	case CG_DURATION_ASK:
		cg_edge_provider_get(s->edge, s->bill.call_id, on_told, s);
		return;
	case CG_DURATION_UNKNOWN:
		if (s->bill.facts.snapshot == CG_SNAPSHOT_AWAY) {
			end(s, CG_EDGE_WAITING); /* It may still say. */
		} else {
			park(s, "no_duration", "neither report nor provider says how long it was");
		}
		return;
	case CG_DURATION_KNOWN:
		break;
	}
	if (s->edge->settings.waives_faults && s->duration.ms > 0 &&
	    cg_vapi_reason_of(s->bill.ended_reason) == CG_VAPI_REASON_FAULT) {
		s->is_waived = true;
		s->duration.ms = 0;
	}
	settle(s);
}

static void on_told(void *owner, enum cg_snapshot_kind kind, const struct cg_vapi_call *call)
{
	struct settling *s = owner;
	struct cg_duration_facts *facts = &s->bill.facts;

	facts->snapshot = kind;
	facts->snapshot_started_at_ms = call->started_at_ms;
	facts->snapshot_ended_at_ms = call->ended_at_ms;
	facts->paid_ms = facts->paid_ms > 0 ? facts->paid_ms : call->paid_ms;
	if (s->bill.cost_micros < 0) {
		s->bill.cost_micros = call->cost_micros;
	}
	if (s->bill.ended_reason[0] == '\0') {
		(void)snprintf(
		    s->bill.ended_reason, sizeof s->bill.ended_reason, "%s", call->ended_reason);
	}
	decide(s);
}

void cg_edge_settle(struct cg_edge *edge, const struct cg_edge_bill *bill,
    void (*done)(void *owner, enum cg_edge_billed billed), void *owner)
{
	struct settling *s = calloc(1, sizeof *s);

	CG_ASSERT(s != NULL && bill->company_id[0] != '\0');
	s->edge = edge;
	s->bill = *bill;
	s->done = done;
	s->owner = owner;
	s->bill.facts.slack_ms = edge->settings.slack_ms;
	decide(s);
}
