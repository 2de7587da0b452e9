/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/tariff.h"

#include <string.h>

/* What is looked for, in the order in which rates are sorted. */
struct wanted {
	uint32_t plan;
	const struct cg_currency *currency;
	struct cg_view resource_type;
	struct cg_view prefix;
};

static struct cg_view text_of(const char *text, size_t capacity)
{
	return (struct cg_view){text, strnlen(text, capacity)};
}

static struct cg_view prefix_of(const struct cg_rate *rate)
{
	return text_of(rate->prefix, sizeof rate->prefix);
}

/* Of plan, currency and resource: 0 where the rate is of the wanted group. */
static int compare_group(const struct wanted *wanted, const struct cg_rate *rate)
{
	if (wanted->plan != rate->plan) {
		return wanted->plan < rate->plan ? -1 : 1;
	}
	int order =
	    strncmp(wanted->currency->code, rate->currency.code, sizeof rate->currency.code);
	if (order != 0) {
		return order;
	}
	return cg_view_compare(
	    wanted->resource_type, text_of(rate->resource_type, sizeof rate->resource_type));
}

static int compare(const struct wanted *wanted, const struct cg_rate *rate)
{
	int order = compare_group(wanted, rate);

	return order != 0 ? order : cg_view_compare(wanted->prefix, prefix_of(rate));
}

static struct wanted wanted_of(const struct cg_rate *rate)
{
	return (struct wanted){
	    .plan = rate->plan,
	    .currency = &rate->currency,
	    .resource_type = text_of(rate->resource_type, sizeof rate->resource_type),
	    .prefix = prefix_of(rate),
	};
}

bool cg_tariff_is_sorted(const struct cg_terms_snapshot *terms)
{
	for (uint32_t i = 1; i < terms->plan_count; i++) {
		if (strncmp(terms->plans[i - 1].plan_id, terms->plans[i].plan_id,
		        sizeof terms->plans[i].plan_id) >= 0) {
			return false;
		}
	}
	for (uint32_t i = 0; i < terms->rate_count; i++) {
		struct wanted next = wanted_of(&terms->rates[i]);
		if (next.plan >= terms->plan_count ||
		    (i > 0 && compare(&next, &terms->rates[i - 1]) <= 0)) {
			return false;
		}
	}
	return true;
}

const struct cg_plan *cg_tariff_plan(const struct cg_terms_snapshot *terms, const char *plan_id)
{
	uint32_t first = 0;
	uint32_t end = terms->plan_count;

	while (first < end) {
		uint32_t middle = first + (end - first) / 2;
		int order =
		    strncmp(plan_id, terms->plans[middle].plan_id, CG_PLAN_ID_MAX_BYTES + 1);
		if (order == 0) {
			return &terms->plans[middle];
		}
		if (order < 0) {
			end = middle;
		} else {
			first = middle + 1;
		}
	}
	return NULL;
}

/* How many of the first `end` rates are at or before `wanted`. */
static uint32_t count_upto(const struct cg_rate *rates, uint32_t end, const struct wanted *wanted)
{
	uint32_t first = 0;

	while (first < end) {
		uint32_t middle = first + (end - first) / 2;
		if (compare(wanted, &rates[middle]) < 0) {
			end = middle;
		} else {
			first = middle + 1;
		}
	}
	return first;
}

static size_t common_length(struct cg_view a, struct cg_view b)
{
	size_t shorter = a.len < b.len ? a.len : b.len;
	size_t len = 0;

	while (len < shorter && a.data[len] == b.data[len]) {
		len++;
	}
	return len;
}

const struct cg_rate *cg_tariff_find(const struct cg_terms_snapshot *terms,
    const struct cg_plan *plan, const struct cg_currency *currency, struct cg_view resource_type,
    struct cg_view destination)
{
	struct wanted wanted = {
	    .plan = (uint32_t)(plan - terms->plans),
	    .currency = currency,
	    .resource_type = resource_type,
	    .prefix = destination,
	};
	uint32_t end = terms->rate_count;

	/*
	 * Whatever is a prefix of the destination stands at or before it, and every rate in
	 * between begins with that prefix.  So the nearest rate at or before the destination
	 * either is its longest prefix, or shares with it all that any prefix could have: cut
	 * the destination to that and look again.  Each look is shorter than the one before.
	 */
	for (;;) {
		end = count_upto(terms->rates, end, &wanted);
		if (end == 0 || compare_group(&wanted, &terms->rates[end - 1]) != 0) {
			return NULL;
		}
		struct cg_view prefix = prefix_of(&terms->rates[end - 1]);
		size_t common = common_length(prefix, wanted.prefix);
		if (common == prefix.len) {
			return &terms->rates[end - 1];
		}
		wanted.prefix.len = common;
	}
}
