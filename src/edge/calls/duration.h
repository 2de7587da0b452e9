/*
 * How long a call is charged for: the rule of the vendor's reports, where each source may be
 * missing and one may contradict another.  Never 0 because nothing was said.
 *
 *   1. the report's own endedAt - startedAt
 *   2. those of the provider's call, asked for it
 *   3. the minutes that the provider itself was paid for
 *   4. the duration that the report states
 *   5. none: not known; the call waits for the provider
 *
 * A call that ended, of which nobody knows a start or a cost, was never connected: 0.
 * What is more than was granted is charged up to the grant and doubted.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EDGE_CALLS_DURATION_H
#define CG_EDGE_CALLS_DURATION_H

#include "base/base.h"

/* What the provider answered when it was asked for the call. */
enum cg_snapshot_kind {
	CG_SNAPSHOT_NOT_ASKED,
	CG_SNAPSHOT_AWAY,   /* no answer */
	CG_SNAPSHOT_ABSENT, /* it has no such call */
	CG_SNAPSHOT_RUNNING,
	CG_SNAPSHOT_ENDED,
	CG_SNAPSHOT_WAITING, /* queued, ringing, scheduled */
};

struct cg_duration_facts {
	int64_t started_at_ms; /* of the report; 0: not said */
	int64_t ended_at_ms;
	enum cg_snapshot_kind snapshot;
	int64_t snapshot_started_at_ms;
	int64_t snapshot_ended_at_ms;
	int64_t paid_ms;    /* costs[type=vapi].minutes, of either; 0: not said */
	int64_t stated_ms;  /* durationSeconds; 0: not said */
	int64_t granted_ms; /* 0: not known */
	int64_t slack_ms;   /* how much more than granted, or than paid for, is believed */
};

enum cg_duration_verdict {
	CG_DURATION_KNOWN,
	CG_DURATION_ASK,     /* ask the provider for the call, then decide again */
	CG_DURATION_UNKNOWN, /* nothing says it */
};

/* What somebody should look at. */
#define CG_DOUBT_NEGATIVE   1u /* it ended before it began */
#define CG_DOUBT_OVER_GRANT 2u /* longer than granted; charged up to the grant */
#define CG_DOUBT_PAID       4u /* the provider was paid for another time */

struct cg_duration {
	enum cg_duration_verdict verdict;
	int64_t ms;            /* to be charged */
	int64_t said_ms;       /* before it was cut to the grant */
	bool is_polled;        /* the provider was asked, rather than reported */
	int64_t started_at_ms; /* 0: not known */
	unsigned doubts;
};

struct cg_duration cg_duration_decide(const struct cg_duration_facts *facts);

#endif /* CG_EDGE_CALLS_DURATION_H */
