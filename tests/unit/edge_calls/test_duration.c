/*
 * How long a call is charged for: one row for each way in which the sources can be there or not.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "edge/calls/duration.h"
#include "edge/calls/look.h"

#define T INT64_C(1787300000000)

/* from, to: seconds after T of the report, of the snapshot; -1: not said */
struct row {
	const char *what;
	int from, to;
	enum cg_snapshot_kind snapshot;
	int of, until;
	int paid_ms, stated_ms, granted_ms;
	enum cg_duration_verdict verdict;
	int ms;
	bool polled;
	unsigned doubts;
};

#define ASK     CG_DURATION_ASK
#define KNOWN   CG_DURATION_KNOWN
#define UNKNOWN CG_DURATION_UNKNOWN
#define NOT     CG_SNAPSHOT_NOT_ASKED
#define ENDED   CG_SNAPSHOT_ENDED
#define AWAY    CG_SNAPSHOT_AWAY
#define ABSENT  CG_SNAPSHOT_ABSENT
#define RUNNING CG_SNAPSHOT_RUNNING

static const struct row rows[] = {
    {"the report's own times", 0, 60, NOT, -1, -1, 0, 0, 0, KNOWN, 60000, false, 0},
    {"they beat all others", 0, 60, ENDED, 0, 50, 60000, 70000, 0, KNOWN, 60000, false, 0},
    {"a start alone: ask", 0, -1, NOT, -1, -1, 60000, 60000, 0, ASK, 0, false, 0},
    {"nothing: ask", -1, -1, NOT, -1, -1, 0, 0, 0, ASK, 0, false, 0},
    {"a stated duration: ask first", -1, -1, NOT, -1, -1, 0, 60000, 0, ASK, 0, false, 0},
    {"the provider's times", -1, -1, ENDED, 5, 65, 0, 0, 0, KNOWN, 60000, true, 0},
    {"away: what was paid for", -1, -1, AWAY, -1, -1, 61002, 99000, 0, KNOWN, 61002, false, 0},
    {"away: what is stated", -1, -1, AWAY, -1, -1, 0, 61000, 0, KNOWN, 61000, false, 0},
    {"away, and nothing: unknown, not 0", -1, -1, AWAY, -1, -1, 0, 0, 0, UNKNOWN, 0, false, 0},
    {"absent, and nothing: unknown, not 0", -1, -1, ABSENT, -1, -1, 0, 0, 0, UNKNOWN, 0, false, 0},
    {"it still runs: unknown", -1, -1, RUNNING, 5, -1, 0, 0, 0, UNKNOWN, 0, false, 0},
    {"it runs there, and was paid for", -1, -1, RUNNING, 5, -1, 9000, 0, 0, KNOWN, 9000, false, 0},
    {"ended and never started", -1, -1, ENDED, -1, -1, 0, 0, 0, KNOWN, 0, true, 0},
    {"ended, never started, paid for", -1, -1, ENDED, -1, -1, 7000, 0, 0, KNOWN, 7000, false, 0},
    {"a start and no end is no 0", 5, -1, ENDED, -1, -1, 0, 0, 0, UNKNOWN, 0, false, 0},
    {"a start there and no end is no 0", -1, -1, ENDED, 5, -1, 0, 0, 0, UNKNOWN, 0, false, 0},
    {"ended before it began: ask", 60, 0, NOT, -1, -1, 0, 0, 0, ASK, 0, false, CG_DOUBT_NEGATIVE},
    {"and the provider knows", 60, 0, ENDED, 0, 20, 0, 0, 0, KNOWN, 20000, true, CG_DOUBT_NEGATIVE},
    {"no time at all passed", 10, 10, NOT, -1, -1, 0, 0, 0, KNOWN, 0, false, 0},
    {"within the slack", 0, 75, NOT, -1, -1, 0, 0, 60000, KNOWN, 75000, false, 0},
    {"beyond it", 0, 76, NOT, -1, -1, 0, 0, 60000, KNOWN, 60000, false, CG_DOUBT_OVER_GRANT},
    {"paid for about that", 0, 60, NOT, -1, -1, 75000, 0, 0, KNOWN, 60000, false, 0},
    {"paid for much less", 0, 60, NOT, -1, -1, 15000, 0, 0, KNOWN, 60000, false, CG_DOUBT_PAID},
    {"paid for much more", 0, 60, NOT, -1, -1, 267000, 0, 0, KNOWN, 60000, false, CG_DOUBT_PAID},
};

static int64_t at(int seconds)
{
	return seconds < 0 ? 0 : T + (int64_t)seconds * 1000;
}

static struct cg_duration_facts facts_of(const struct row *row)
{
	return (struct cg_duration_facts){
	    .started_at_ms = at(row->from),
	    .ended_at_ms = at(row->to),
	    .snapshot = row->snapshot,
	    .snapshot_started_at_ms = at(row->of),
	    .snapshot_ended_at_ms = at(row->until),
	    .paid_ms = row->paid_ms,
	    .stated_ms = row->stated_ms,
	    .granted_ms = row->granted_ms,
	    .slack_ms = 15000,
	};
}

static void test_each_source_in_its_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		struct cg_duration_facts facts = facts_of(&rows[i]);
		struct cg_duration d = cg_duration_decide(&facts);
		if (d.verdict != rows[i].verdict || d.ms != rows[i].ms ||
		    d.doubts != rows[i].doubts || d.is_polled != rows[i].polled) {
			fail_msg("%s: verdict %d, %d ms, doubts %u", rows[i].what, d.verdict,
			    (int)d.ms, d.doubts);
		}
	}
}

/*
 * Whatever is missing: 0 only where the provider says that it ended and nobody says that it began,
 * never more than the grant and its slack, never negative.
 */
static void test_zero_is_never_a_default(void **state)
{
	static const int64_t times[] = {0, T, T + 20000};
	static const int64_t spans[] = {0, 5000, 90000};

	(void)state;
	for (unsigned n = 0; n < 3u * 3 * 3 * 3 * 3 * 3 * 6; n++) {
		unsigned rest = n;
		struct cg_duration_facts f = {.slack_ms = 15000, .granted_ms = 60000};
		f.started_at_ms = times[rest % 3], rest /= 3;
		f.ended_at_ms = times[rest % 3], rest /= 3;
		f.snapshot_started_at_ms = times[rest % 3], rest /= 3;
		f.snapshot_ended_at_ms = times[rest % 3], rest /= 3;
		f.paid_ms = spans[rest % 3], rest /= 3;
		f.stated_ms = spans[rest % 3], rest /= 3;
		f.snapshot = (enum cg_snapshot_kind)rest;
		struct cg_duration d = cg_duration_decide(&f);

		assert_true(d.ms >= 0 && d.ms <= f.granted_ms + f.slack_ms);
		if (d.verdict == CG_DURATION_KNOWN && d.ms == 0) {
			bool own = f.started_at_ms != 0 && f.started_at_ms == f.ended_at_ms;
			bool theirs = f.snapshot == CG_SNAPSHOT_ENDED &&
			    f.snapshot_started_at_ms == f.snapshot_ended_at_ms;
			bool never = f.snapshot == CG_SNAPSHOT_ENDED && f.started_at_ms == 0 &&
			    f.snapshot_started_at_ms == 0 && f.paid_ms == 0 && f.stated_ms == 0;
			assert_true(own || theirs || never);
		}
		if (f.snapshot != CG_SNAPSHOT_NOT_ASKED) {
			assert_int_not_equal(d.verdict, CG_DURATION_ASK);
		}
	}
}

/* In the order in which a row is read. */
/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
static const struct {
	const char *what;
	enum cg_look_gate gate;
	bool connected;
	enum cg_snapshot_kind snapshot;
	bool has_times;
	enum cg_look_act act;
} looks[] = {
    {"charged already", CG_LOOK_GATE_SETTLED, true, ENDED, true, CG_LOOK_DONE},
    {"ended, with times", CG_LOOK_GATE_METERING, true, ENDED, true, CG_LOOK_SETTLE},
    {"ended, and the gate lost it", CG_LOOK_GATE_UNKNOWN, true, ENDED, true, CG_LOOK_SETTLE},
    {"ended, never started, metered", CG_LOOK_GATE_METERING, false, ENDED, false, CG_LOOK_SETTLE},
    {"ended, never started, held", CG_LOOK_GATE_AUTHORIZED, false, ENDED, false, CG_LOOK_CANCEL},
    {"ended, never started, nowhere", CG_LOOK_GATE_UNKNOWN, false, ENDED, false, CG_LOOK_DONE},
    {"ended, talked, and no times", CG_LOOK_GATE_METERING, true, ENDED, false, CG_LOOK_GIVE_UP},
    {"absent, talked", CG_LOOK_GATE_METERING, true, ABSENT, false, CG_LOOK_GIVE_UP},
    {"absent, held", CG_LOOK_GATE_AUTHORIZED, false, ABSENT, false, CG_LOOK_CANCEL},
    {"absent, metered, never talked", CG_LOOK_GATE_METERING, false, ABSENT, false, CG_LOOK_SETTLE},
    {"talks, held", CG_LOOK_GATE_AUTHORIZED, false, RUNNING, false, CG_LOOK_START},
    {"talks, nowhere", CG_LOOK_GATE_UNKNOWN, false, RUNNING, false, CG_LOOK_ADOPT},
    {"talks, metered", CG_LOOK_GATE_METERING, true, RUNNING, false, CG_LOOK_RUNS},
    {"rings", CG_LOOK_GATE_AUTHORIZED, false, CG_SNAPSHOT_WAITING, false, CG_LOOK_LATER},
    {"away", CG_LOOK_GATE_METERING, true, AWAY, false, CG_LOOK_LATER},
};

static void test_what_becomes_of_a_call_that_nobody_reported(void **state)
{
	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(looks); i++) {
		struct cg_look_facts facts = {
		    .gate = looks[i].gate,
		    .was_connected = looks[i].connected,
		    .duration = {.snapshot = looks[i].snapshot, .slack_ms = 15000},
		};
		if (looks[i].has_times) {
			facts.duration.snapshot_started_at_ms = T;
			facts.duration.snapshot_ended_at_ms = T + 30000;
		}
		struct cg_look look = cg_look_decide(&facts);
		if (look.act != looks[i].act) {
			fail_msg("%s: %d", looks[i].what, look.act);
		}
		if (look.act == CG_LOOK_SETTLE) {
			assert_int_equal(look.duration.ms, looks[i].has_times ? 30000 : 0);
			assert_true(look.duration.is_polled);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_each_source_in_its_order),
	    cmocka_unit_test(test_zero_is_never_a_default),
	    cmocka_unit_test(test_what_becomes_of_a_call_that_nobody_reported),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
