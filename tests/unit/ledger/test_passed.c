/*
 * What may be trimmed: it was passed by the cursor a margin ago, and not much longer ago than that.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/random.h"
#include "ledger/passed.h"

#define MOMENTS 4000

static struct cg_entry_id id_of(uint64_t epoch, uint64_t n)
{
	return (struct cg_entry_id){.partition = 3, .epoch = epoch, .n = n};
}

static void test_nothing_is_trimmable_before_the_margin_is_over(void **state)
{
	(void)state;
	struct cg_passed passed = {0};

	for (uint64_t ms = 0; ms < 800; ms++) {
		cg_passed_note(&passed, id_of(1, ms), 800, 1 + ms);
		assert_int_equal(passed.trimmable.epoch, 0);
	}
	cg_passed_note(&passed, id_of(1, 800), 800, 801);
	assert_int_equal(passed.trimmable.epoch, 1);
	assert_int_equal(passed.trimmable.n, 0);
	assert_int_equal(passed.trimmable.partition, 3);
}

static void test_without_a_margin_all_that_was_passed_is_trimmable(void **state)
{
	(void)state;
	struct cg_passed passed = {0};

	for (uint64_t n = 0; n < 20; n++) {
		cg_passed_note(&passed, id_of(1, n), 0, 7);
		assert_int_equal(passed.trimmable.n, n);
	}
}

/* `n` is the moment at which the cursor was there: what is trimmable says itself when it was passed. */
static void check_margin(struct cg_random *random, uint64_t margin_ms, uint64_t pause_most)
{
	struct cg_passed passed = {0};
	uint64_t now_ms = 1;
	uint64_t step_ms = margin_ms / CG_PASSED_STEPS + pause_most;
	uint64_t longest_ms = (CG_PASSED_STEPS + 1) * (step_ms + 1);

	for (int moment = 0; moment < MOMENTS; moment++) {
		now_ms += cg_random_below(random, pause_most + 1);
		cg_passed_note(&passed, id_of(1, now_ms), margin_ms, now_ms);
		if (passed.trimmable.epoch == 0) {
			assert_true(now_ms < 2 + longest_ms);
		} else {
			assert_true(passed.trimmable.n + margin_ms <= now_ms);
			assert_true(passed.trimmable.n + longest_ms >= now_ms);
		}
	}
}

/*
 * Goal: whatever the margin and however irregularly it is told, what is trimmable was passed a
 * margin ago; and where it is told often, no more than two steps longer ago.
 */
static void test_what_is_trimmable_was_passed_a_margin_ago(void **state)
{
	(void)state;
	static const uint64_t margins[] = {1, 2, 7, 8, 9, 15, 100, 803};
	struct cg_random random;

	cg_random_init(&random, 5);
	for (size_t i = 0; i < sizeof margins / sizeof margins[0]; i++) {
		for (uint64_t pause_most = 1; pause_most <= 3 * margins[i]; pause_most *= 3) {
			check_margin(&random, margins[i], pause_most);
		}
	}
}

static void test_a_cursor_that_went_back_passes_everything_anew(void **state)
{
	(void)state;
	static const struct cg_entry_id backs[] = {
	    {.partition = 3, .epoch = 2, .n = 1099}, {.partition = 3, .epoch = 1, .n = 5000}};

	for (size_t i = 0; i < 2; i++) {
		struct cg_passed passed = {0};
		for (uint64_t ms = 0; ms <= 1100; ms++) {
			cg_passed_note(&passed, id_of(2, ms), 800, 1 + ms);
		}
		assert_int_equal(passed.trimmable.n, 300);
		for (uint64_t ms = 1101; ms < 1901; ms++) {
			cg_passed_note(&passed, backs[i], 800, 1 + ms);
			assert_int_equal(passed.trimmable.epoch, 0);
		}
		cg_passed_note(&passed, backs[i], 800, 1902);
		assert_int_equal(passed.trimmable.epoch, backs[i].epoch);
		assert_int_equal(passed.trimmable.n, backs[i].n);
	}
}

/* It stands still while Postgres is away, and goes on by more than a margin at once. */
static void test_what_waited_longer_than_the_margin_waits_a_margin_all_the_same(void **state)
{
	(void)state;
	struct cg_passed passed = {0};

	for (uint64_t ms = 0; ms < 5000; ms++) {
		cg_passed_note(&passed, id_of(1, 1), 800, 1 + ms);
	}
	for (uint64_t ms = 5000; ms < 5800; ms++) {
		cg_passed_note(&passed, id_of(4, 1000), 800, 1 + ms);
		assert_int_equal(passed.trimmable.epoch, 1);
	}
	for (uint64_t ms = 5800; ms < 5901; ms++) {
		cg_passed_note(&passed, id_of(4, 1000), 800, 1 + ms);
	}
	assert_int_equal(passed.trimmable.epoch, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_nothing_is_trimmable_before_the_margin_is_over),
	    cmocka_unit_test(test_without_a_margin_all_that_was_passed_is_trimmable),
	    cmocka_unit_test(test_what_is_trimmable_was_passed_a_margin_ago),
	    cmocka_unit_test(test_a_cursor_that_went_back_passes_everything_anew),
	    cmocka_unit_test(test_what_waited_longer_than_the_margin_waits_a_margin_all_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
