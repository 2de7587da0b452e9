/*
 * Goal: a call that is cut off is always being ended by something, or waited for with a timer, until
 * it is over; it is warned and told goodbye at most once; an alarm is raised once.
 *
 * Method: walk every sequence of answers up to a depth, and check the promises after each step.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "edge/calls/cut.h"

static const struct cg_cut_config config = {
    .goodbye_ms = 3000, .poll_ms = 2000, .alarm_ms = 5000, .warning_late_ms = 1500};

struct run {
	struct cg_cut cut;
	enum cg_cut_act pending; /* asked for, and not answered */
	bool has_timer;
	uint64_t now_ms;
	int warnings, goodbyes, alarms, end_calls;
};

static void take(struct run *run, struct cg_cut_step step)
{
	run->alarms += step.alarm ? 1 : 0;
	run->warnings += step.act == CG_CUT_SAY_WARNING ? 1 : 0;
	run->goodbyes += step.act == CG_CUT_SAY_GOODBYE ? 1 : 0;
	run->end_calls += step.act == CG_CUT_END_CALL ? 1 : 0;
	if (step.act != CG_CUT_NOTHING) {
		run->pending = step.act;
	}
	run->has_timer = run->has_timer || step.again_ms > 0;
}

static void check(const struct run *run)
{
	assert_true(run->warnings <= 1 && run->goodbyes <= 1 && run->alarms <= 1);
	if (run->cut.state != CG_CUT_TALKING && run->cut.state != CG_CUT_OVER) {
		assert_true(run->pending != CG_CUT_NOTHING || run->has_timer);
	}
}

/* One event: an answer to what is pending, good or bad, the timer, a repetition, a URL, the end. */
static bool happen(struct run *run, int event)
{
	enum cg_cut_act pending = run->pending;

	run->now_ms += 1000;
	switch (event) {
	case 0:
	case 1:
		if (pending == CG_CUT_NOTHING) {
			return false;
		}
		run->pending = CG_CUT_NOTHING;
		if (pending == CG_CUT_SAY_GOODBYE) {
			take(run, cg_cut_said(&run->cut, &config, event == 0));
		} else if (pending == CG_CUT_END_CALL) {
			take(run, cg_cut_end_answered(&run->cut, &config));
		} else if (pending == CG_CUT_ASK) {
			take(run, cg_cut_asked(&run->cut, &config, event == 0, run->now_ms));
		}
		return true;
	case 2:
		if (!run->has_timer) {
			return false;
		}
		run->has_timer = false;
		run->now_ms += 3000;
		take(run, cg_cut_due(&run->cut, &config));
		return true;
	case 3:
		take(run, cg_cut_begun(&run->cut, &config, run->now_ms));
		return true;
	case 4:
		take(run, cg_cut_warned(&run->cut, run->now_ms));
		return true;
	case 5:
		take(run, cg_cut_found_url(&run->cut, &config, run->now_ms));
		return true;
	default:
		cg_cut_ended(&run->cut);
		run->has_timer = false;
		return true;
	}
}

static int deepest_end_calls;

static void walk(struct run run, int depth)
{
	check(&run);
	if (run.end_calls > deepest_end_calls) {
		deepest_end_calls = run.end_calls;
	}
	for (int event = 0; depth > 0 && event < 7; event++) {
		struct run next = run;
		if (happen(&next, event)) {
			walk(next, depth - 1);
		}
	}
}

static void test_whatever_is_answered_it_is_being_ended(void **state)
{
	(void)state;
	for (int has_url = 0; has_url < 2; has_url++) {
		struct run run = {.now_ms = 1000};
		cg_cut_init(&run.cut, has_url != 0);
		walk(run, 8);
	}
	assert_true(deepest_end_calls >= 3);
}

static void test_the_usual_way(void **state)
{
	struct run run = {.now_ms = 1000};

	(void)state;
	cg_cut_init(&run.cut, true);
	assert_int_equal(cg_cut_warned(&run.cut, 1000).act, CG_CUT_SAY_WARNING);
	assert_int_equal(cg_cut_warned(&run.cut, 1000).act, CG_CUT_NOTHING);
	struct cg_cut_step step = cg_cut_begun(&run.cut, &config, 1000);
	assert_int_equal(step.act, CG_CUT_SAY_GOODBYE);
	assert_int_equal(step.again_ms, config.goodbye_ms);
	assert_int_equal(cg_cut_begun(&run.cut, &config, 1500).act, CG_CUT_NOTHING);
	assert_int_equal(cg_cut_said(&run.cut, &config, true).act, CG_CUT_NOTHING);
	assert_int_equal(cg_cut_due(&run.cut, &config).act, CG_CUT_END_CALL);
	step = cg_cut_end_answered(&run.cut, &config);
	assert_int_equal(step.again_ms, config.poll_ms);
	assert_int_equal(cg_cut_due(&run.cut, &config).act, CG_CUT_ASK);
	step = cg_cut_asked(&run.cut, &config, true, 5999);
	assert_true(step.act == CG_CUT_END_CALL && !step.alarm);
	(void)cg_cut_end_answered(&run.cut, &config);
	(void)cg_cut_due(&run.cut, &config);
	step = cg_cut_asked(&run.cut, &config, true, 6000);
	assert_true(step.act == CG_CUT_END_CALL && step.alarm);
	cg_cut_ended(&run.cut);
	assert_int_equal(cg_cut_end_answered(&run.cut, &config).again_ms, 0);
	cg_cut_ended(&run.cut);
}

static void test_a_warning_waits_for_the_control_url_but_not_long(void **state)
{
	struct cg_cut cut;

	(void)state;
	cg_cut_init(&cut, false);
	assert_int_equal(cg_cut_warned(&cut, 1000).act, CG_CUT_NOTHING);
	assert_int_equal(cg_cut_found_url(&cut, &config, 2499).act, CG_CUT_SAY_WARNING);
	assert_int_equal(cg_cut_found_url(&cut, &config, 2499).act, CG_CUT_NOTHING);
	assert_int_equal(cg_cut_warned(&cut, 2499).act, CG_CUT_NOTHING);

	cg_cut_init(&cut, false);
	(void)cg_cut_warned(&cut, 1000);
	assert_int_equal(cg_cut_found_url(&cut, &config, 2500).act, CG_CUT_NOTHING);

	/* Being cut off, it is told goodbye instead. */
	cg_cut_init(&cut, false);
	(void)cg_cut_warned(&cut, 1000);
	(void)cg_cut_begun(&cut, &config, 1000);
	assert_int_equal(cg_cut_found_url(&cut, &config, 1001).act, CG_CUT_NOTHING);
}

static void test_a_goodbye_that_was_refused_is_not_waited_for(void **state)
{
	struct cg_cut cut;

	(void)state;
	cg_cut_init(&cut, true);
	(void)cg_cut_begun(&cut, &config, 1000);
	assert_int_equal(cg_cut_said(&cut, &config, false).act, CG_CUT_END_CALL);
	/* Its time runs out a moment later: that is no second end-call. */
	assert_int_equal(cg_cut_due(&cut, &config).act, CG_CUT_NOTHING);
}

static void test_without_a_goodbye_it_is_ended_at_once(void **state)
{
	struct cg_cut_config curt = config;
	struct cg_cut cut;

	(void)state;
	curt.goodbye_ms = 0;
	cg_cut_init(&cut, true);
	assert_int_equal(cg_cut_begun(&cut, &curt, 1000).act, CG_CUT_END_CALL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_whatever_is_answered_it_is_being_ended),
	    cmocka_unit_test(test_the_usual_way),
	    cmocka_unit_test(test_a_warning_waits_for_the_control_url_but_not_long),
	    cmocka_unit_test(test_a_goodbye_that_was_refused_is_not_waited_for),
	    cmocka_unit_test(test_without_a_goodbye_it_is_ended_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
