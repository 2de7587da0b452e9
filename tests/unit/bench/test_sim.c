/*
 * The simulator's schedule, model and timers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/sim_model.h"
#include "sim/sim_schedule.h"
#include "sim/sim_timers.h"

static const struct sim_habits habits = {
    .seed = 7,
    .companies = 10,
    .calls_per_second = 100,
    .talk_mean_ms = 15000,
    .ring_max_ms = 2000,
    .reserve_ms = 10000,
    .topup_mean_ms = 10000,
    .topup_mean_micros = 100000,
    .duplicate = 0.05,
    .late = 0.05,
    .lost = 0.02,
    .hangup = 0.05,
    .silent = 0.02,
};

enum {
	CALLS = 20000,
	LEASE_MS = 120000,
};

/* The table of the meter's design: r, f, m, i, d, cost. */
static void test_a_call_costs_what_the_contract_says(void **state)
{
	static const struct {
		struct callgate_price price;
		int64_t duration_ms;
		int64_t cost_micros;
	} rows[] = {
	    {{90000, 0, 0, 1000, NULL}, 61001, 93000},
	    {{90000, 0, 0, 1000, NULL}, 1, 1500},
	    {{100000, 20000, 60000, 6000, NULL}, 7000, 120000},
	    {{100000, 0, 0, 6000, NULL}, 7000, 20000},
	    {{50000, 0, 0, 1000, NULL}, 1000, 834},
	    {{70000, 5000, 30000, 30000, NULL}, 0, 0},
	    {{2600123457, 0, 0, 1, NULL}, 15751779, 682609501124},
	};

	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		assert_int_equal(
		    sim_cost_micros(&rows[i].price, rows[i].duration_ms), rows[i].cost_micros);
	}
}

static void test_billed_is_after_minimum_and_increment(void **state)
{
	struct callgate_price price = {100000, 0, 30000, 6000, NULL};

	(void)state;
	assert_int_equal(sim_billed_ms(&price, 0), 0);
	assert_int_equal(sim_billed_ms(&price, 1), 30000);
	assert_int_equal(sim_billed_ms(&price, 30001), 36000);
	assert_int_equal(sim_billed_ms(&price, 36000), 36000);
}

/* Authorize holds A = H + ceil(r * R / 60000). */
static void test_headroom_is_the_hold_without_the_reserved_talk(void **state)
{
	struct callgate_price price = {100000, 0, 0, 1000, NULL};

	(void)state;
	assert_int_equal(sim_headroom_micros(&price, 10001 + 16667, 10000), 10001);
}

static void test_overspend_counts_from_the_lowest_balance_below_the_credit(void **state)
{
	struct sim_ledger ledger = {.credit_limit_micros = 100};

	(void)state;
	sim_ledger_saw(&ledger, 50);
	sim_ledger_saw(&ledger, -100);
	assert_int_equal(sim_ledger_overspent_micros(&ledger), 0);
	sim_ledger_saw(&ledger, -130);
	sim_ledger_saw(&ledger, 20);
	assert_int_equal(sim_ledger_overspent_micros(&ledger), 30);
}

static void test_the_clock_narrows_with_every_answer(void **state)
{
	struct sim_clock clock = {0};
	int64_t offset_ns = 5000000000;

	(void)state;
	/* The store's millisecond 7 lasts from 7 to 8: local 2 ms and more, less than 3 ms. */
	sim_clock_saw(&clock, 5002, 1000000, 4000000);
	assert_true(clock.least_ns <= offset_ns && clock.most_ns >= offset_ns);
	sim_clock_saw(&clock, 5010, 9900000, 10100000);
	assert_true(clock.most_ns - clock.least_ns <= 1200000);
	assert_true(clock.least_ns <= offset_ns && clock.most_ns >= offset_ns);
	assert_in_range((uintmax_t)sim_clock_store_ns(&clock, 20000000), 5019000000, 5021000000);
}

static void test_a_clock_that_was_set_is_learned_anew(void **state)
{
	struct sim_clock clock = {0};

	(void)state;
	sim_clock_saw(&clock, 5000, 0, 100000);
	sim_clock_saw(&clock, 95000, 1000000, 1100000);
	assert_in_range((uintmax_t)sim_clock_store_ns(&clock, 1000000), 94999000000, 95002000000);
}

static void test_equal_seeds_plan_equal_calls_and_others_do_not(void **state)
{
	struct sim_habits other = habits;
	unsigned differing = 0;

	(void)state;
	other.seed = 8;
	for (uint32_t serial = 0; serial < 100; serial++) {
		struct sim_call_plan one = {0};
		struct sim_call_plan two = {0};

		sim_plan_call(&habits, 3, serial, &one);
		sim_plan_call(&habits, 3, serial, &two);
		assert_int_equal(one.talk_ms, two.talk_ms);
		assert_int_equal(one.route, two.route);
		assert_int_equal(one.start_delay_ms, two.start_delay_ms);
		sim_plan_call(&other, 3, serial, &two);
		differing += one.route != two.route;
		sim_plan_call(&habits, 4, serial, &two);
		differing += one.route != two.route;
	}
	assert_true(differing > 190);
}

/* Company 3's calls come when they come, whoever else there is. */
static void test_arrivals_are_each_company_s_own(void **state)
{
	struct sim_habits more = habits;
	struct cg_random one;
	struct cg_random two;
	int64_t sum_ms = 0;

	(void)state;
	more.companies *= 2;
	more.calls_per_second *= 2;
	sim_random_of(&one, habits.seed, 3, SIM_ARRIVALS);
	sim_random_of(&two, more.seed, 3, SIM_ARRIVALS);
	for (int i = 0; i < CALLS; i++) {
		int64_t gap_ms = sim_next_arrival_ms(&habits, &one);

		assert_int_equal(gap_ms, sim_next_arrival_ms(&more, &two));
		sum_ms += gap_ms;
	}
	/* Ten calls per second and company: a mean of 100 ms, rounded down each. */
	assert_in_range((uintmax_t)(sum_ms / CALLS), 96, 103);
}

static void test_shares_come_as_they_were_asked_for(void **state)
{
	unsigned late = 0;
	unsigned lost = 0;
	unsigned hangup = 0;
	unsigned silent = 0;
	unsigned repeated = 0;

	(void)state;
	for (uint32_t serial = 0; serial < CALLS; serial++) {
		struct sim_call_plan plan;

		sim_plan_call(&habits, 1, serial, &plan);
		late += plan.settle == SIM_LATE;
		lost += plan.settle == SIM_LOST;
		hangup += plan.ending == SIM_HANGUP;
		silent += plan.ending == SIM_SILENT;
		repeated += plan.copies[SIM_SETTLE].is_repeated;
	}
	assert_in_range(late, CALLS * 4 / 100, CALLS * 6 / 100);
	assert_in_range(lost, CALLS * 15 / 1000, CALLS * 25 / 1000);
	assert_in_range(hangup, CALLS * 4 / 100, CALLS * 6 / 100);
	assert_in_range(silent, CALLS * 15 / 1000, CALLS * 25 / 1000);
	assert_in_range(repeated, CALLS * 4 / 100, CALLS * 6 / 100);
}

/* What an honest Start may be: never later than R, never lost from a talk that is longer. */
static void test_honest_calls_keep_the_premises(void **state)
{
	unsigned lost = 0;

	(void)state;
	for (uint32_t serial = 0; serial < CALLS; serial++) {
		struct sim_call_plan plan;
		enum sim_fate fate;

		sim_plan_call(&habits, 0, serial, &plan);
		fate = sim_start_fate(&habits, &plan, LEASE_MS);
		assert_int_equal(plan.act, SIM_HONEST);
		assert_true(plan.start_delay_ms < habits.reserve_ms);
		if (fate == SIM_LOST) {
			assert_true(plan.talk_ms <= habits.reserve_ms);
			assert_true(plan.talk_ms + plan.settle_delay_ms < LEASE_MS);
			lost++;
		}
		fate = sim_start_fate(&habits, &plan, 3000);
		assert_true(fate != SIM_LOST || plan.talk_ms + plan.settle_delay_ms < 3000);
		assert_true(fate != SIM_LATE || plan.start_delay_ms < 3000);
	}
	assert_true(lost > CALLS / 1000);
}

static void test_hostile_acts_are_those_of_every_fourth_company(void **state)
{
	struct sim_habits full = habits;
	unsigned acts[SIM_ACT_COUNT] = {0};

	(void)state;
	full.hostile = 0.2;
	for (uint32_t serial = 0; serial < CALLS; serial++) {
		struct sim_call_plan plan;

		sim_plan_call(&full, 4, serial, &plan);
		acts[plan.act]++;
		if (plan.act == SIM_LOST_START) {
			assert_int_equal(sim_start_fate(&full, &plan, LEASE_MS), SIM_LOST);
		}
		sim_plan_call(&full, 5, serial, &plan);
		assert_int_equal(plan.act, SIM_HONEST);
	}
	for (unsigned i = 1; i < SIM_ACT_COUNT; i++) {
		assert_in_range(acts[i], CALLS * 4 / 100, CALLS * 6 / 100);
	}
}

static char fired[8];

static void fire(void *context)
{
	strncat(fired, context, 1);
}

static void test_timers_fire_in_order_and_not_too_soon(void **state)
{
	struct sim_timers timers = {0};

	(void)state;
	fired[0] = '\0';
	assert_int_equal(sim_timers_next_ns(&timers), INT64_MAX);
	sim_timers_set(&timers, 30, fire, "d");
	sim_timers_set(&timers, 10, fire, "a");
	sim_timers_set(&timers, 20, fire, "b");
	sim_timers_set(&timers, 20, fire, "c");
	sim_timers_set(&timers, 31, fire, "e");
	sim_timers_fire(&timers, 9);
	assert_string_equal(fired, "");
	assert_int_equal(sim_timers_next_ns(&timers), 10);
	sim_timers_fire(&timers, 30);
	assert_string_equal(fired, "abcd");
	assert_int_equal(sim_timers_next_ns(&timers), 31);
	sim_timers_deinit(&timers);
}

static void test_many_timers_fire_in_order(void **state)
{
	struct sim_timers timers = {0};
	struct cg_random random;
	int64_t last_ns = 0;

	(void)state;
	cg_random_init(&random, 1);
	for (int i = 0; i < 5000; i++) {
		sim_timers_set(&timers, (int64_t)cg_random_below(&random, 1000), fire, "");
	}
	while (timers.count > 0) {
		int64_t next_ns = sim_timers_next_ns(&timers);

		assert_true(next_ns >= last_ns);
		last_ns = next_ns;
		sim_timers_fire(&timers, next_ns);
	}
	sim_timers_deinit(&timers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_call_costs_what_the_contract_says),
	    cmocka_unit_test(test_billed_is_after_minimum_and_increment),
	    cmocka_unit_test(test_headroom_is_the_hold_without_the_reserved_talk),
	    cmocka_unit_test(test_overspend_counts_from_the_lowest_balance_below_the_credit),
	    cmocka_unit_test(test_the_clock_narrows_with_every_answer),
	    cmocka_unit_test(test_a_clock_that_was_set_is_learned_anew),
	    cmocka_unit_test(test_equal_seeds_plan_equal_calls_and_others_do_not),
	    cmocka_unit_test(test_arrivals_are_each_company_s_own),
	    cmocka_unit_test(test_shares_come_as_they_were_asked_for),
	    cmocka_unit_test(test_honest_calls_keep_the_premises),
	    cmocka_unit_test(test_hostile_acts_are_those_of_every_fourth_company),
	    cmocka_unit_test(test_timers_fire_in_order_and_not_too_soon),
	    cmocka_unit_test(test_many_timers_fire_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
