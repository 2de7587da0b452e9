/*
 * Differences of clocks, known within bounds: what is certain, and what is not.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "ledger/clocks.h"

struct row {
	int64_t said_ms, asked_ms, heard_ms, max_ms;
	bool is_off;
};

/* A clock said so, asked and heard at these instants of ours: is it off by more than that? */
static const struct row rows[] = {
    {10000, 10000, 10000, 2000, false},
    {12000, 10000, 10000, 2000, false},
    {12001, 10000, 10000, 2000, false}, /* a millisecond is lost in rounding */
    {12002, 10000, 10000, 2000, true},
    {7999, 10000, 10000, 2000, false},
    {7998, 10000, 10000, 2000, true},
    /* A slow answer: it may have been given at its beginning or at its end. */
    {12500, 10000, 10600, 2000, false},
    {12602, 10000, 10600, 2000, true},
    {8500, 10000, 10600, 2000, false},
    {7998, 10000, 10600, 2000, true},
    {3610000, 10000, 10001, 2000, true},
    {10000, 3610000, 3610001, 2000, true},
    {3610000, 10000, 10001, 3600000, false},
};

static void test_off_is_what_is_certain(void **state)
{
	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		const struct row *row = &rows[i];
		struct cg_ahead ahead = cg_ahead_of(row->said_ms, row->asked_ms, row->heard_ms);

		if (cg_ahead_is_off(ahead, row->max_ms) != row->is_off) {
			fail_msg("row %zu", i);
		}
	}
}

static void test_two_clocks_are_compared_by_way_of_a_third(void **state)
{
	(void)state;
	/* The third shows 500 when both say 1000, then when the first is 9 s ahead. */
	struct cg_ahead second = cg_ahead_of(1000, 495, 500);
	struct cg_ahead same = cg_ahead_between(cg_ahead_of(1000, 498, 503), second);
	struct cg_ahead ahead = cg_ahead_between(cg_ahead_of(10000, 498, 503), second);

	assert_true(same.least_ms <= 0 && same.most_ms >= 0);
	assert_true(ahead.least_ms <= 9000 && ahead.most_ms >= 9000);
	assert_true(ahead.most_ms - ahead.least_ms <= 20);
	assert_false(cg_ahead_is_off(same, 2000));
	assert_true(cg_ahead_is_off(ahead, 2000));
	assert_true(cg_ahead_is_off(cg_ahead_between(second, cg_ahead_of(10000, 498, 503)), 2000));
}

static void test_what_was_known_long_ago_says_less(void **state)
{
	(void)state;
	struct cg_ahead known = {4000, 4010};

	assert_true(cg_ahead_is_off(cg_ahead_after(known, 0), 2000));
	assert_true(cg_ahead_is_off(cg_ahead_after(known, 300000), 2000)); /* five minutes */
	assert_false(cg_ahead_is_off(cg_ahead_after(known, 3600000), 2000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_off_is_what_is_certain),
	    cmocka_unit_test(test_two_clocks_are_compared_by_way_of_a_third),
	    cmocka_unit_test(test_what_was_known_long_ago_says_less),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
