/*
 * What the gate decided, counted by result.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include "gate/gate_internal.h"

/* As the contract has them. */
static const char *const decision_names[CG_DECISION_COUNT] = {
    [CG_DECISION_ALLOWED] = "allowed",
    [CG_DECISION_INSUFFICIENT_FUNDS] = "denied_insufficient_funds",
    [CG_DECISION_CONCURRENCY_LIMIT] = "denied_concurrency_limit",
    [CG_DECISION_SUSPENDED] = "denied_suspended",
    [CG_DECISION_NO_PRICE] = "denied_no_price",
    [CG_DECISION_BARRED] = "denied_barred",
};

static const char *const asked_names[CG_ASKED_COUNT] = {
    [CG_ASKED_AUTHORIZE] = "authorize",
    [CG_ASKED_REPLAY] = "replay",
    [CG_ASKED_VALIDATE] = "validate_only",
    [CG_ASKED_START] = "start",
    [CG_ASKED_DEGRADED] = "degraded",
};

static void count(struct cg_gate_counts *counts, enum cg_asked asked, enum cg_decision decision)
{
	if ((unsigned)decision < CG_DECISION_COUNT) {
		counts->decisions[asked][decision]++;
	}
}

void cg_measure__answered(struct cg_request *req)
{
	struct cg_gate_counts *counts = &req->work.gate->counts;

	if (req->status != CG_OK) {
		return;
	}
	if (req->method == CG_METHOD_AUTHORIZE) {
		const struct cg_store_authorize_out *out = &req->out.authorize.store;
		enum cg_asked asked = req->in.authorize.validate_only ? CG_ASKED_VALIDATE
		    : out->replayed                                   ? CG_ASKED_REPLAY
		    : req->out.authorize.degraded                     ? CG_ASKED_DEGRADED
		                                                      : CG_ASKED_AUTHORIZE;
		count(counts, asked, out->decision);
		if (asked == CG_ASKED_AUTHORIZE &&
		    (unsigned)out->shadow_decision < CG_DECISION_COUNT) {
			counts->shadow_decisions[out->shadow_decision]++;
		}
	} else if (req->method == CG_METHOD_START && !req->out.start.store.replayed) {
		count(counts, CG_ASKED_START, req->out.start.store.decision);
	}
}

static void put_decisions(void *owner, struct cg_metrics_out *out)
{
	const struct cg_gate *gate = owner;
	char labels[96];

	for (int asked = 0; asked < CG_ASKED_COUNT; asked++) {
		for (int i = CG_DECISION_ALLOWED; i < CG_DECISION_COUNT; i++) {
			(void)snprintf(labels, sizeof labels, "decision=\"%s\",asked=\"%s\"",
			    decision_names[i], asked_names[asked]);
			cg_metrics_put(out, labels, (int64_t)gate->counts.decisions[asked][i]);
		}
	}
}

static void put_shadow(void *owner, struct cg_metrics_out *out)
{
	const struct cg_gate *gate = owner;
	char labels[64];

	for (int i = CG_DECISION_INSUFFICIENT_FUNDS; i < CG_DECISION_COUNT; i++) {
		(void)snprintf(labels, sizeof labels, "decision=\"%s\"", decision_names[i]);
		cg_metrics_put(out, labels, (int64_t)gate->counts.shadow_decisions[i]);
	}
}

static void put_inflight(void *owner, struct cg_metrics_out *out)
{
	const struct cg_gate *gate = owner;

	cg_metrics_put(out, NULL, gate->inflight_count);
}

static void put_degraded(void *owner, struct cg_metrics_out *out)
{
	const struct cg_gate *gate = owner;

	cg_metrics_put(out, NULL, cg_slab_taken_count(&gate->outage.calls));
}

void cg_gate_measure(struct cg_gate *gate, struct cg_metrics *metrics, bool looks_at_holds)
{
	static const struct cg_metric_family decisions = {.name = "callgate_decisions_total",
	    .help =
	        "Decisions of Authorize and Start by result; asked tells new ones from replays, "
	        "trials (validate_only), calls that Start decided anew or found allowed, and new "
	        "ones decided by the outage policy (degraded).",
	    .kind = CG_METRIC_COUNTER};
	static const struct cg_metric_family shadow = {.name = "callgate_shadow_denials_total",
	    .help = "New calls allowed in shadow mode alone, by what would have been decided.",
	    .kind = CG_METRIC_COUNTER};
	static const struct cg_metric_family inflight = {.name = "callgate_requests_in_flight",
	    .help = "Requests that the gate has and has not answered yet.",
	    .kind = CG_METRIC_GAUGE};

	static const struct cg_metric_family degraded = {.name = "callgate_degraded_calls",
	    .help = "Calls admitted by the outage policy that are not known to have ended.",
	    .kind = CG_METRIC_GAUGE};

	cg_metrics_add(metrics, &decisions, put_decisions, gate);
	cg_metrics_add(metrics, &shadow, put_shadow, gate);
	cg_metrics_add(metrics, &inflight, put_inflight, gate);
	cg_metrics_add(metrics, &degraded, put_degraded, gate);
	cg_metrics_add_limit(metrics, "limit=\"outage_calls\"", &gate->outage.refused_plan);
	cg_metrics_add_limit(metrics, "limit=\"degraded_calls\"", &gate->outage.refused_full);
	if (looks_at_holds) {
		cg_holds__measure(gate, metrics);
	}
}
