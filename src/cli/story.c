/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/story.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "cli/money.h"
#include "cli/output.h"

void cg_story_init(struct cg_story *story, const struct cg_cli *cli)
{
	story->cli = cli;
	story->lines = json_array();
}

void cg_story_tell(struct cg_story *story, const char *format, ...)
{
	char line[1024];
	va_list args;
	json_t *text;

	va_start(args, format);
	(void)vsnprintf(line, sizeof line, format, args);
	va_end(args);
	text = json_string(line);
	json_array_append_new(
	    story->lines, text == NULL ? json_string("(not printable text)") : text);
	cg_output_say(story->cli, "%s", line);
	(void)fflush(stdout);
}

static int64_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/*
 * ceil(rate * ms / 60000) without leaving 64 bits: the whole minutes' worth first.  rate is
 * below 10^11 and ms at most 7 days and an hour.
 */
static int64_t cost_of(int64_t rate, int64_t ms)
{
	return rate / 60000 * ms + (rate % 60000 * ms + 59999) / 60000;
}

int64_t cg_story_tell_price(struct cg_story *story, const json_t *price, int64_t duration_ms)
{
	int64_t rate = number(price, "rate_micros_per_minute");
	int64_t fee = number(price, "connect_fee_micros");
	int64_t minimum = number(price, "minimum_ms");
	int64_t increment = number(price, "increment_ms");
	const char *currency = json_string_value(json_object_get(price, "currency"));
	char text[CG_MONEY_TEXT_BYTES];

	if (duration_ms == 0) {
		cg_story_tell(story, "    A call of 0 ms never connected and costs nothing.");
		return 0;
	}
	if (increment < 1 || increment > 3600000 || duration_ms < 0 ||
	    duration_ms > INT64_C(604800000) || rate < 0 || rate > INT64_C(99999999999)) {
		cg_story_tell(story, "    (its price or duration is out of bounds)");
		return -1;
	}
	int64_t steps = (duration_ms + increment - 1) / increment;
	int64_t rounded = steps * increment;
	int64_t billed = rounded > minimum ? rounded : minimum;
	int64_t talk = cost_of(rate, billed);
	cg_story_tell(story,
	    "    connect fee + ceil(rate * max(minimum, ceil(d / increment) "
	    "* increment) / 60000)");
	cg_story_tell(story,
	    "    = %" PRId64 " + ceil(%" PRId64 " * max(%" PRId64 ", ceil(%" PRId64 " / %" PRId64
	    ") * %" PRId64 ") / 60000)",
	    fee, rate, minimum, duration_ms, increment, increment);
	cg_story_tell(story,
	    "    = %" PRId64 " + ceil(%" PRId64 " * max(%" PRId64 ", %" PRId64 " * %" PRId64
	    " = %" PRId64 ") / 60000)",
	    fee, rate, minimum, steps, increment, rounded);
	cg_story_tell(story, "    = %" PRId64 " + ceil(%" PRId64 " * %" PRId64 " / 60000)", fee,
	    rate, billed);
	cg_money_format(fee + talk, currency == NULL ? "" : currency, text);
	cg_story_tell(story, "    = %" PRId64 " + %" PRId64 " = %" PRId64 " micros = %s", fee, talk,
	    fee + talk, text);
	return fee + talk;
}

static void tell_usage(struct cg_story *story, const json_t *usage, const char *currency)
{
	const char *quantity = json_string_value(json_object_get(usage, "quantity"));
	const char *resource = json_string_value(json_object_get(usage, "resource_type"));
	char text[CG_MONEY_TEXT_BYTES];

	cg_money_format(number(usage, "cost_micros"), currency, text);
	cg_story_tell(story, "            usage_logs: %s, quantity %s, cost %s",
	    resource == NULL ? "" : resource, quantity == NULL ? "" : quantity, text);
	cg_story_tell(story, "            id %s", json_string_value(json_object_get(usage, "id")));
}

/* In words what an adjustment under the reference "correction:<call>" is. */
static void tell_correction(struct cg_story *story, const json_t *entry, const char *currency)
{
	static const char prefix[] = "correction:";
	const char *reference = json_string_value(json_object_get(entry, "reference_id"));
	int64_t amount = number(entry, "amount_micros");
	char text[CG_MONEY_TEXT_BYTES];

	if (reference == NULL || strncmp(reference, prefix, strlen(prefix)) != 0) {
		return;
	}
	cg_money_format(amount < 0 ? -amount : amount, currency, text);
	cg_story_tell(story, "            The call's late bill corrects what was assumed: %s %s.",
	    text, amount < 0 ? "more is charged" : "is given back");
}

static void tell_entry(struct cg_story *story, const char *label, json_t *entry)
{
	const char *currency = json_string_value(json_object_get(entry, "currency"));
	json_t *usage = json_object_get(entry, "usage_log");
	char amount[CG_MONEY_TEXT_BYTES];
	char after[CG_MONEY_TEXT_BYTES];
	char at[CG_TIME_TEXT_BYTES];

	cg_money_format(number(entry, "amount_micros"), currency, amount);
	cg_money_format(number(entry, "balance_after_micros"), currency, after);
	cg_time_format(number(entry, "created_at_ms"), at);
	cg_story_tell(story, "%-11s Entry %s, number %" PRId64 " of its wallet, at %s:", label,
	    json_string_value(json_object_get(entry, "entry_id")), number(entry, "version"), at);
	cg_story_tell(story, "            wallet_transactions: %s, %s, balance after %s",
	    json_string_value(json_object_get(entry, "type")), amount, after);
	cg_story_tell(story, "            id %s", json_string_value(json_object_get(entry, "id")));
	tell_correction(story, entry, currency == NULL ? "" : currency);
	if (json_is_object(usage)) {
		tell_usage(story, usage, currency);
	}
}

void cg_story_tell_entries(struct cg_story *story, const char *label, json_t *entries)
{
	json_t *entry;
	size_t i;

	json_array_foreach(entries, i, entry)
	{
		tell_entry(story, i == 0 ? label : "", entry);
	}
}
