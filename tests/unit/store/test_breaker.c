/*
 * The store's clock as answers tell it, and whether the server answers at all.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/breaker.h"
#include "store/clock.h"

#define AHEAD INT64_C(1700000000000)

/* What the store says of an instant, asked so long before it and answered so long after. */
static void hear(struct cg_store_clock *clock, uint64_t at_ms, uint64_t before_ms,
    uint64_t after_ms, int64_t ahead_ms)
{
	cg_store_clock_learn(
	    clock, (int64_t)at_ms + ahead_ms, at_ms - before_ms, at_ms + after_ms, false);
}

static void test_an_unknown_clock_names_nothing(void **state)
{
	(void)state;
	struct cg_store_clock clock = {0};

	assert_int_equal(cg_store_clock_at(&clock, 5000), 0);
	/* A wallet's instant is not the clock's. */
	hear(&clock, 5000, 1, 1, AHEAD);
	assert_int_equal(cg_store_clock_at(&clock, 5000), 0);
	cg_store_clock_learn(&clock, AHEAD + 5000, 4999, 5002, true);
	assert_int_equal(cg_store_clock_at(&clock, 9000), AHEAD + 9000 - 2);
}

/*
 * Whatever the ways take, and however the clock is set: never later than is meant, but for as
 * little as the fastest question took since the clock was set back.
 */
static void test_an_instant_is_not_named_too_late(void **state)
{
	static const int64_t moves[] = {0, 3, 0, 700, -1, 0, -400, 0, 700, 0, -3600000, 0, 900};
	(void)state;
	struct cg_store_clock clock = {0};
	int64_t ahead_ms = AHEAD;
	int64_t fastest_ms = 0;
	uint64_t now_ms = 1000000;
	uint32_t chance = 1;

	cg_store_clock_learn(&clock, AHEAD + 1000000, 999990, 1000010, true);
	for (size_t i = 0; i < sizeof moves / sizeof moves[0]; i++) {
		int64_t over_ms = 0;

		ahead_ms += moves[i];
		fastest_ms = moves[i] < 0 ? INT64_MAX : fastest_ms;
		for (unsigned n = 0; n < 50; n++) {
			chance = chance * 1103515245u + 12345u;
			int64_t before_ms = (int64_t)((chance >> 16) % 200);

			now_ms += 300;
			hear(&clock, now_ms, (uint64_t)before_ms, (chance >> 8) % 50, ahead_ms);
			fastest_ms = before_ms < fastest_ms ? before_ms : fastest_ms;
			over_ms = cg_store_clock_at(&clock, now_ms) - (int64_t)now_ms - ahead_ms;
			assert_true(over_ms <= fastest_ms);
		}
		assert_true(over_ms >= -10); /* And after some answers hardly too early. */
	}
}

static void test_only_the_clock_itself_is_believed_far_ahead(void **state)
{
	(void)state;
	struct cg_store_clock clock = {0};

	cg_store_clock_learn(&clock, AHEAD + 1000, 1000, 1000, true);
	hear(&clock, 2000, 0, 0, AHEAD + 1001);
	assert_int_equal(cg_store_clock_at(&clock, 3000), AHEAD + 3000);
	hear(&clock, 2000, 0, 0, AHEAD + 900);
	assert_int_equal(cg_store_clock_at(&clock, 3000), AHEAD + 3900);
	cg_store_clock_learn(&clock, AHEAD + 9002000, 2000, 2000, true);
	assert_int_equal(cg_store_clock_at(&clock, 3000), AHEAD + 9003000);
	hear(&clock, 2000, 5, 0, AHEAD);
	assert_int_equal(cg_store_clock_at(&clock, 3000), AHEAD + 3000);
}

/* One line per look: the breaker before, what is seen, and what it does. */
static void test_the_breaker_opens_and_closes_by_what_is_owed(void **state)
{
	enum {
		CLOSED,
		SILENT,
		SLOW
	};
	static const struct {
		int was;
		bool owes;
		uint64_t oldest_ms; /* ago, as the next */
		uint64_t heard_ms;
		uint64_t closed_ms;
		int is;
	} rows[] = {
	    {CLOSED, false, 0, 9000, 9000, CLOSED},
	    {CLOSED, true, 0, 0, 9000, CLOSED},
	    {CLOSED, true, 249, 249, 9000, CLOSED},
	    {CLOSED, true, 250, 250, 9000, SILENT},
	    {CLOSED, true, 250, 249, 9000, SLOW},
	    {CLOSED, true, 9000, 0, 9000, SLOW},
	    {CLOSED, true, 9000, 9000, 9000, SILENT},
	    /* It was given as much time again when it closed. */
	    {CLOSED, true, 9000, 0, 249, CLOSED},
	    {CLOSED, true, 9000, 0, 250, SLOW},
	    {SLOW, true, 125, 0, 9000, SLOW},
	    {SLOW, true, 124, 0, 9000, CLOSED},
	    {SLOW, false, 0, 0, 9000, CLOSED},
	    {SILENT, true, 600, 600, 9000, SILENT},
	    {SILENT, false, 0, 600, 9000, CLOSED},
	};
	(void)state;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const uint64_t now_ms = 10000;
		struct cg_breaker breaker = {.what = "test",
		    .is_open = rows[i].was != CLOSED,
		    .is_silent = rows[i].was == SILENT,
		    .closed_at_ms = now_ms - rows[i].closed_ms};
		const struct cg_breaker_sight sight = {
		    .now_ms = now_ms,
		    .patience_ms = 250,
		    .owes = rows[i].owes,
		    .oldest_at_ms = rows[i].owes ? now_ms - rows[i].oldest_ms : 0,
		    .heard_at_ms = now_ms - rows[i].heard_ms,
		};

		cg_breaker_look(&breaker, &sight);
		assert_int_equal(breaker.is_open, rows[i].is != CLOSED);
		assert_int_equal(cg_breaker_admits(&breaker), rows[i].is == CLOSED);
		if (rows[i].is != CLOSED) {
			assert_int_equal(breaker.is_silent, rows[i].is == SILENT);
		}
		/* A byte ends a silence, and is nothing new from one who is only slow. */
		cg_breaker_heard(&breaker, now_ms);
		assert_int_equal(breaker.is_open, rows[i].is == SLOW);
	}
}

static void test_a_new_connection_begins_closed(void **state)
{
	(void)state;
	struct cg_breaker breaker = {.what = "test"};
	const struct cg_breaker_sight sight = {
	    .now_ms = 10000, .patience_ms = 250, .owes = true, .oldest_at_ms = 1, .heard_at_ms = 1};

	cg_breaker_look(&breaker, &sight);
	assert_false(cg_breaker_admits(&breaker));
	cg_breaker_reset(&breaker);
	assert_true(cg_breaker_admits(&breaker));
	assert_string_equal(breaker.what, "test");
	/* And the log is told of the same again only after a while. */
	cg_breaker_look(&breaker, &sight);
	assert_false(breaker.is_told);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_an_unknown_clock_names_nothing),
	    cmocka_unit_test(test_an_instant_is_not_named_too_late),
	    cmocka_unit_test(test_only_the_clock_itself_is_believed_far_ahead),
	    cmocka_unit_test(test_the_breaker_opens_and_closes_by_what_is_owed),
	    cmocka_unit_test(test_a_new_connection_begins_closed),
	};
	cg_log_set_level(CG_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
