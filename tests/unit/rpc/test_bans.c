/*
 * Who has flooded stays out: for how long, and who else does not.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "rpc/bans.h"

#define T0 UINT64_C(1000000)

static void test_a_source_is_kept_out_and_no_other(void **state)
{
	struct cg_bans bans = {0};

	(void)state;
	assert_false(cg_bans_hold(&bans, 7, T0));
	cg_bans_add(&bans, 7, T0);
	assert_true(cg_bans_hold(&bans, 7, T0));
	assert_true(cg_bans_hold(&bans, 7, T0 + CG_BAN_FIRST_MS - 1));
	assert_false(cg_bans_hold(&bans, 7, T0 + CG_BAN_FIRST_MS));
	assert_false(cg_bans_hold(&bans, 8, T0));
}

static void test_nobody_in_particular_is_never_kept_out(void **state)
{
	struct cg_bans bans = {0};

	(void)state;
	cg_bans_add(&bans, 0, T0);
	assert_int_equal(bans.count, 0);
	assert_false(cg_bans_hold(&bans, 0, T0));
}

static void test_each_time_is_twice_the_one_before(void **state)
{
	static const uint64_t lengths_ms[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
	struct cg_bans bans = {0};
	uint64_t now_ms = T0;

	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(lengths_ms); i++) {
		cg_bans_add(&bans, 7, now_ms);
		/* Others of its connections that are cut meanwhile are the same time. */
		cg_bans_add(&bans, 7, now_ms + 1);
		assert_true(cg_bans_hold(&bans, 7, now_ms + lengths_ms[i] - 1));
		now_ms += lengths_ms[i];
		assert_false(cg_bans_hold(&bans, 7, now_ms));
	}
	now_ms += CG_BAN_LAST_MS; /* It has behaved. */
	cg_bans_add(&bans, 7, now_ms);
	assert_false(cg_bans_hold(&bans, 7, now_ms + CG_BAN_FIRST_MS));
}

static void test_where_there_is_no_room_the_first_to_end_makes_it(void **state)
{
	struct cg_bans bans = {0};

	(void)state;
	for (uint64_t source = 1; source <= CG_BANS_MAX; source++) {
		cg_bans_add(&bans, source, T0 + (source == 100 ? 0 : source));
	}
	cg_bans_add(&bans, 5000, T0 + 400);
	assert_int_equal(bans.count, CG_BANS_MAX);
	assert_true(cg_bans_hold(&bans, 5000, T0 + 401));
	assert_false(cg_bans_hold(&bans, 100, T0 + 401));
	assert_true(cg_bans_hold(&bans, 1, T0 + 401));
	assert_true(cg_bans_hold(&bans, CG_BANS_MAX, T0 + 401));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_source_is_kept_out_and_no_other),
	    cmocka_unit_test(test_nobody_in_particular_is_never_kept_out),
	    cmocka_unit_test(test_each_time_is_twice_the_one_before),
	    cmocka_unit_test(test_where_there_is_no_room_the_first_to_end_makes_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
