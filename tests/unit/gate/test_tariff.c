/*
 * The tariff, as a table: one look-up per line.
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

#include "gate/tariff.h"

static struct cg_plan plans[] = {
    {.plan_id = "growth"}, {.plan_id = "scale"}, {.plan_id = "starter"}};

#define PER_MINUTE(micros)                                                                         \
	{                                                                                          \
		.rate_per_minute = {(micros) }                                                     \
	}

/* Sorted by plan, currency, resource, prefix. */
static struct cg_rate rates[] = {
    {0, {"eur"}, "voice_outbound", "", PER_MINUTE(10)},
    {0, {"usd"}, "voice_inbound", "", PER_MINUTE(20)},
    {0, {"usd"}, "voice_outbound", "", PER_MINUTE(30)},
    {0, {"usd"}, "voice_outbound", "+1", PER_MINUTE(31)},
    {0, {"usd"}, "voice_outbound", "+1242", PER_MINUTE(32)},
    {0, {"usd"}, "voice_outbound", "+4", PER_MINUTE(33)},
    {0, {"usd"}, "voice_outbound", "+44", PER_MINUTE(34)},
    {0, {"usd"}, "voice_outbound", "+4420", PER_MINUTE(35)},
    {0, {"usd"}, "voice_outbound", "+447", PER_MINUTE(36)},
    {0, {"usd"}, "voice_outbound", "+4479", PER_MINUTE(37)},
    {0, {"usd"}, "voice_outbound", "+49", PER_MINUTE(38)},
    {2, {"usd"}, "voice", "", PER_MINUTE(40)},
    {2, {"usd"}, "voice_outbound", "+49", PER_MINUTE(41)},
    {2, {"usd"}, "voice_outbound", "+4930", PER_MINUTE(42)},
};

static const struct cg_terms_snapshot terms = {.plans = plans,
    .plan_count = CG_COUNT_OF(plans),
    .rates = rates,
    .rate_count = CG_COUNT_OF(rates)};

static const struct {
	const char *plan;
	const char *currency;
	const char *resource;
	const char *destination;
	int64_t rate; /* 0: none covers it */
} rows[] = {
    /* The longest prefix. */
    {"growth", "usd", "voice_outbound", "+12125550100", 31},
    {"growth", "usd", "voice_outbound", "+12425550100", 32},
    {"growth", "usd", "voice_outbound", "+442071234567", 35},
    {"growth", "usd", "voice_outbound", "+447911123456", 37},
    {"growth", "usd", "voice_outbound", "+447811123456", 36},
    {"growth", "usd", "voice_outbound", "+443011123456", 34},
    {"growth", "usd", "voice_outbound", "+4930123456", 38},
    {"growth", "usd", "voice_outbound", "+4512345678", 33},
    {"growth", "usd", "voice_outbound", "+1242", 32},
    {"growth", "usd", "voice_outbound", "+124", 31},
    /* '' covers the rest, also no destination at all. */
    {"growth", "usd", "voice_outbound", "+33123456789", 30},
    {"growth", "usd", "voice_outbound", "+99", 30},
    {"growth", "usd", "voice_outbound", "", 30},
    {"growth", "usd", "voice_inbound", "+447911123456", 20},
    /* Another currency, resource, plan: its own rates, or none. */
    {"growth", "eur", "voice_outbound", "+447911123456", 10},
    {"growth", "eur", "voice_inbound", "+447911123456", 0},
    {"growth", "gbp", "voice_outbound", "+447911123456", 0},
    {"growth", "usd", "voice", "+447911123456", 0},
    {"growth", "usd", "voice_outbound_x", "+447911123456", 0},
    {"scale", "usd", "voice_outbound", "+49", 0},
    {"starter", "usd", "voice_outbound", "+4930123456", 42},
    {"starter", "usd", "voice_outbound", "+4931123456", 41},
    {"starter", "usd", "voice_outbound", "+447911123456", 0},
    {"starter", "usd", "voice_outbound", "", 0},
    {"starter", "usd", "voice", "", 40},
};

static void test_the_longest_prefix_prices_the_call(void **state)
{
	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		struct cg_currency currency;
		memcpy(currency.code, rows[i].currency, sizeof currency.code);
		const struct cg_rate *rate =
		    cg_tariff_find(&terms, cg_tariff_plan(&terms, rows[i].plan), &currency,
		        cg_view_of(rows[i].resource), cg_view_of(rows[i].destination));
		int64_t found = rate == NULL ? 0 : rate->price.rate_per_minute.micros;
		if (found != rows[i].rate) {
			fail_msg("row %u: %s %s %s '%s': %d", (unsigned)i, rows[i].plan,
			    rows[i].currency, rows[i].resource, rows[i].destination, (int)found);
		}
	}
}

/* The plain way: every rate of the group, the longest that fits. */
static const struct cg_rate *find_plainly(const struct cg_terms_snapshot *t, struct cg_view to)
{
	const struct cg_rate *best = NULL;

	for (uint32_t i = 0; i < t->rate_count; i++) {
		struct cg_view prefix = cg_view_of(t->rates[i].prefix);
		if (prefix.len <= to.len && memcmp(prefix.data, to.data, prefix.len) == 0 &&
		    (best == NULL || prefix.len > strlen(best->prefix))) {
			best = &t->rates[i];
		}
	}
	return best;
}

static int compare_rates(const void *a, const void *b)
{
	return strcmp(((const struct cg_rate *)a)->prefix, ((const struct cg_rate *)b)->prefix);
}

static void make_number(struct cg_random *random, char text[16], size_t len)
{
	text[0] = '+';
	for (size_t i = 1; i < len; i++) {
		text[i] = (char)('1' + cg_random_below(random, 3));
	}
	text[len] = '\0';
}

static void test_bisection_finds_what_a_plain_search_finds(void **state)
{
	(void)state;
	struct cg_random random;
	struct cg_rate many[40];
	const struct cg_currency usd = {"usd"};

	cg_random_init(&random, 42);
	for (unsigned round = 0; round < 300; round++) {
		struct cg_terms_snapshot t = {.plans = plans, .plan_count = 3, .rates = many};
		uint32_t count = (uint32_t)cg_random_below(&random, CG_COUNT_OF(many));
		for (uint32_t i = 0; i < count; i++) {
			many[i] =
			    (struct cg_rate){.plan = 1, .currency = usd, .resource_type = "v"};
			make_number(
			    &random, many[i].prefix, 1 + (size_t)cg_random_below(&random, 6));
		}
		qsort(many, count, sizeof many[0], compare_rates);
		for (uint32_t i = 0; i < count; i++) {
			if (t.rate_count == 0 ||
			    strcmp(many[t.rate_count - 1].prefix, many[i].prefix) != 0) {
				many[t.rate_count++] = many[i];
			}
		}
		assert_true(cg_tariff_is_sorted(&t));
		for (unsigned look = 0; look < 50; look++) {
			char to[16];
			make_number(&random, to, 1 + (size_t)cg_random_below(&random, 9));
			assert_ptr_equal(cg_tariff_find(&t, &plans[1], &usd, CG_VIEW_LITERAL("v"),
			                     cg_view_of(to)),
			    find_plainly(&t, cg_view_of(to)));
		}
	}
}

static void test_order_is_checked(void **state)
{
	(void)state;
	struct cg_rate copy[CG_COUNT_OF(rates)];
	struct cg_terms_snapshot t = terms;

	t.rates = copy;
	assert_true(cg_tariff_is_sorted(&terms));
	for (size_t i = 1; i < CG_COUNT_OF(rates); i++) {
		memcpy(copy, rates, sizeof rates);
		copy[i - 1] = rates[i];
		copy[i] = rates[i - 1];
		assert_false(cg_tariff_is_sorted(&t));
		copy[i - 1] = rates[i - 1];
		copy[i] = rates[i - 1];
		assert_false(cg_tariff_is_sorted(&t)); /* Twice the same would be two prices. */
	}
	memcpy(copy, rates, sizeof rates);
	copy[CG_COUNT_OF(rates) - 1].plan = CG_COUNT_OF(plans);
	assert_false(cg_tariff_is_sorted(&t)); /* A plan that is not there. */

	struct cg_plan swapped[] = {plans[1], plans[0]};
	struct cg_terms_snapshot u = {.plans = swapped, .plan_count = 2};
	assert_false(cg_tariff_is_sorted(&u));
}

static void test_plans_are_found_by_their_whole_id(void **state)
{
	(void)state;
	assert_ptr_equal(cg_tariff_plan(&terms, "growth"), &plans[0]);
	assert_ptr_equal(cg_tariff_plan(&terms, "scale"), &plans[1]);
	assert_ptr_equal(cg_tariff_plan(&terms, "starter"), &plans[2]);
	assert_null(cg_tariff_plan(&terms, "start"));
	assert_null(cg_tariff_plan(&terms, "starter2"));
	assert_null(cg_tariff_plan(&terms, ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_longest_prefix_prices_the_call),
	    cmocka_unit_test(test_bisection_finds_what_a_plain_search_finds),
	    cmocka_unit_test(test_order_is_checked),
	    cmocka_unit_test(test_plans_are_found_by_their_whole_id),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
