/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/calls/duration.h"

static bool is_span(int64_t from_ms, int64_t to_ms, unsigned *doubts)
{
	if (from_ms <= 0 || to_ms <= 0) {
		return false;
	}
	if (to_ms < from_ms) {
		*doubts |= CG_DOUBT_NEGATIVE;
		return false;
	}
	return true;
}

static struct cg_duration known(int64_t ms, bool is_polled, int64_t started_at_ms)
{
	return (struct cg_duration){.verdict = CG_DURATION_KNOWN,
	    .ms = ms,
	    .said_ms = ms,
	    .is_polled = is_polled,
	    .started_at_ms = started_at_ms};
}

static struct cg_duration from_sources(const struct cg_duration_facts *f, unsigned *doubts)
{
	if (is_span(f->started_at_ms, f->ended_at_ms, doubts)) {
		return known(f->ended_at_ms - f->started_at_ms, false, f->started_at_ms);
	}
	if (f->snapshot == CG_SNAPSHOT_NOT_ASKED) {
		return (struct cg_duration){.verdict = CG_DURATION_ASK};
	}
	if (f->snapshot == CG_SNAPSHOT_ENDED &&
	    is_span(f->snapshot_started_at_ms, f->snapshot_ended_at_ms, doubts)) {
		return known(f->snapshot_ended_at_ms - f->snapshot_started_at_ms, true,
		    f->snapshot_started_at_ms);
	}
	if (f->paid_ms > 0) {
		return known(f->paid_ms, false, 0);
	}
	if (f->stated_ms > 0) {
		return known(f->stated_ms, false, 0);
	}
	if (f->snapshot == CG_SNAPSHOT_ENDED && f->snapshot_started_at_ms == 0 &&
	    f->started_at_ms == 0) {
		return known(0, true, 0);
	}
	return (struct cg_duration){.verdict = CG_DURATION_UNKNOWN};
}

struct cg_duration cg_duration_decide(const struct cg_duration_facts *facts)
{
	unsigned doubts = 0;
	struct cg_duration d = from_sources(facts, &doubts);

	if (d.verdict == CG_DURATION_KNOWN) {
		int64_t off_ms =
		    facts->paid_ms > d.ms ? facts->paid_ms - d.ms : d.ms - facts->paid_ms;
		if (facts->paid_ms > 0 && off_ms > facts->slack_ms) {
			doubts |= CG_DOUBT_PAID;
		}
		if (facts->granted_ms > 0 && d.ms > facts->granted_ms + facts->slack_ms) {
			doubts |= CG_DOUBT_OVER_GRANT;
			d.ms = facts->granted_ms;
		}
	}
	d.doubts = doubts;
	return d;
}
