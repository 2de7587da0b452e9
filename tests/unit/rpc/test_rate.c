/*
 * Authorizes per second and company, and requests in flight per connection: bounded tables, each
 * beside a model that is not.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "rpc/inflight.h"
#include "rpc/rate.h"

#define MS UINT64_C(1000000)
#define S  (1000 * MS)

static struct cg_uuid company(uint32_t number)
{
	struct cg_uuid id = {{0}};

	memcpy(id.bytes + 8, &number, sizeof number);
	return id;
}

/* How many of `tries` at this instant are let in; the last one's advice. */
static uint32_t ask(struct cg_rate *rate, uint32_t number, uint64_t now_ns, uint32_t tries,
    int64_t *ret_retry_after_ms)
{
	struct cg_uuid id = company(number);
	uint32_t admitted = 0;

	for (uint32_t i = 0; i < tries; i++) {
		admitted += cg_rate_admits(rate, &id, now_ns, ret_retry_after_ms) ? 1 : 0;
	}
	return admitted;
}

static void test_a_quiet_company_has_its_burst_and_then_its_rate(void **state)
{
	struct cg_rate rate;
	int64_t after_ms = 0;

	(void)state;
	cg_rate_init(&rate, 10, 5, 42);
	assert_int_equal(ask(&rate, 1, 7 * S, 20, &after_ms), 5);
	assert_int_equal(after_ms, 100);
	assert_int_equal(ask(&rate, 1, 7 * S + 99 * MS, 1, &after_ms), 0);
	assert_int_equal(after_ms, 1);
	/* Whoever comes when he was told to is let in; refusals have cost him nothing. */
	assert_int_equal(ask(&rate, 1, 7 * S + 100 * MS, 20, &after_ms), 1);
	assert_int_equal(ask(&rate, 1, 8 * S + 100 * MS, 20, &after_ms), 5);
	/* Over a long time exactly the rate. */
	uint32_t admitted = 0;
	for (uint64_t ms = 0; ms < 100000; ms++) {
		admitted += ask(&rate, 1, 9 * S + ms * MS, 1, &after_ms);
	}
	assert_in_range(admitted, 1000, 1005);
	cg_rate_deinit(&rate);
}

static void test_companies_do_not_share(void **state)
{
	struct cg_rate rate;
	int64_t after_ms = 0;

	(void)state;
	cg_rate_init(&rate, 1000, 3, 42);
	assert_int_equal(ask(&rate, 1, S, 1000, &after_ms), 3);
	for (uint32_t other = 2; other < 1000; other++) {
		assert_int_equal(ask(&rate, other, S, 1, &after_ms), 1);
	}
	cg_rate_deinit(&rate);
}

/*
 * More companies than places, all of which have spent something: who asked least makes room.  The
 * one that asks without end keeps its place, and is held back all the same.
 */
static void test_a_flood_of_companies_frees_no_runaway(void **state)
{
	struct cg_rate rate;
	int64_t after_ms = 0;

	(void)state;
	cg_rate_init(&rate, 1000, 100, 42);
	assert_int_equal(ask(&rate, 0, S, 1000, &after_ms), 100);
	for (uint32_t other = 1; other < 10 * CG_RATE_SETS * CG_RATE_WAYS; other++) {
		assert_int_equal(ask(&rate, other, S, 1, &after_ms), 1);
	}
	assert_int_equal(ask(&rate, 0, S, 1000, &after_ms), 0);
	cg_rate_deinit(&rate);
}

static void test_without_a_limit_all_are_let_in(void **state)
{
	struct cg_rate rate;
	int64_t after_ms = 0;

	(void)state;
	cg_rate_init(&rate, 0, 0, 42);
	assert_int_equal(ask(&rate, 1, S, 100000, &after_ms), 100000);
	cg_rate_deinit(&rate);
}

/*
 * Random comings and goings of few connections whose places collide, beside an array of counts:
 * the table agrees at every step, and is empty at the end.
 */
static void test_requests_in_flight_are_counted_by_connection(void **state)
{
	enum {
		PEERS = 24,
		ALL_MAX = 64
	};
	struct cg_inflight inflight;
	uint32_t model[PEERS] = {0};
	uint64_t peers[PEERS];
	struct cg_random random;
	uint32_t all = 0;

	(void)state;
	cg_inflight_init(&inflight, ALL_MAX);
	cg_random_init(&random, 7);
	for (uint32_t i = 0; i < PEERS; i++) {
		/* Four homes, some at the table's end. */
		peers[i] = (uint64_t)(i % 4 == 0 ? inflight.mask : i % 4) << 32 | i;
	}
	for (uint32_t step = 0; step < 200000; step++) {
		uint32_t i = (uint32_t)cg_random_below(&random, PEERS);
		if (cg_random_below(&random, 2) == 0) {
			if (all == ALL_MAX) {
				continue;
			}
			model[i]++;
			all++;
			assert_int_equal(cg_inflight_enter(&inflight, peers[i]), model[i]);
			assert_int_equal(cg_inflight_count(&inflight, peers[i]), model[i]);
		} else if (model[i] > 0) {
			cg_inflight_leave(&inflight, peers[i]);
			model[i]--;
			all--;
		}
	}
	for (uint32_t i = 0; i < PEERS; i++) {
		for (; model[i] > 0; model[i]--) {
			cg_inflight_leave(&inflight, peers[i]);
		}
	}
	for (uint32_t i = 0; i <= inflight.mask; i++) {
		assert_int_equal(inflight.places[i].count, 0);
	}
	cg_inflight_deinit(&inflight);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_quiet_company_has_its_burst_and_then_its_rate),
	    cmocka_unit_test(test_companies_do_not_share),
	    cmocka_unit_test(test_a_flood_of_companies_frees_no_runaway),
	    cmocka_unit_test(test_without_a_limit_all_are_let_in),
	    cmocka_unit_test(test_requests_in_flight_are_counted_by_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
