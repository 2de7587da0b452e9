/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/calls/look.h"

static struct cg_look never_connected(enum cg_look_gate gate)
{
	struct cg_look look = {.act = CG_LOOK_SETTLE};

	/* A call that was metered from its admission cannot be cancelled; it is charged nothing. */
	look.duration = (struct cg_duration){.verdict = CG_DURATION_KNOWN, .is_polled = true};
	if (gate == CG_LOOK_GATE_AUTHORIZED) {
		look.act = CG_LOOK_CANCEL;
	} else if (gate == CG_LOOK_GATE_UNKNOWN) {
		look.act = CG_LOOK_DONE; /* No hold, no meter, nothing to charge. */
	}
	return look;
}

static struct cg_look ended(const struct cg_look_facts *facts)
{
	struct cg_duration duration = cg_duration_decide(&facts->duration);

	if (duration.verdict != CG_DURATION_KNOWN) {
		return (struct cg_look){.act = CG_LOOK_GIVE_UP, .duration = duration};
	}
	if (duration.said_ms == 0 && duration.started_at_ms == 0) {
		/* It connected, and the provider says nothing of when: not 0 by default. */
		return facts->was_connected
		    ? (struct cg_look){.act = CG_LOOK_GIVE_UP, .duration = duration}
		    : never_connected(facts->gate);
	}
	duration.is_polled = true;
	return (struct cg_look){.act = CG_LOOK_SETTLE, .duration = duration};
}

static struct cg_look running(const struct cg_look_facts *facts)
{
	switch (facts->gate) {
	case CG_LOOK_GATE_AUTHORIZED:
		return (struct cg_look){.act = CG_LOOK_START};
	case CG_LOOK_GATE_UNKNOWN:
		return (struct cg_look){.act = CG_LOOK_ADOPT};
	case CG_LOOK_GATE_METERING:
	case CG_LOOK_GATE_SETTLED:
		break;
	}
	return (struct cg_look){.act = CG_LOOK_RUNS};
}

struct cg_look cg_look_decide(const struct cg_look_facts *facts)
{
	if (facts->gate == CG_LOOK_GATE_SETTLED) {
		return (struct cg_look){.act = CG_LOOK_DONE};
	}
	switch (facts->duration.snapshot) {
	case CG_SNAPSHOT_ENDED:
		return ended(facts);
	case CG_SNAPSHOT_RUNNING:
		return running(facts);
	case CG_SNAPSHOT_ABSENT:
		/* Deleted, or past the provider's retention: who knows that it talked charges. */
		return facts->was_connected ? (struct cg_look){.act = CG_LOOK_GIVE_UP}
		                            : never_connected(facts->gate);
	case CG_SNAPSHOT_NOT_ASKED:
	case CG_SNAPSHOT_AWAY:
	case CG_SNAPSHOT_WAITING:
		break;
	}
	return (struct cg_look){.act = CG_LOOK_LATER};
}
