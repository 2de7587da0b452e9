/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/sim_model.h"

enum {
	MINUTE_MS = 60000,
	MILLISECOND_NS = 1000000,
};

int64_t sim_billed_ms(const struct callgate_price *price, int64_t duration_ms)
{
	int64_t steps = (duration_ms + price->increment_ms - 1) / price->increment_ms;
	int64_t billed_ms = steps * price->increment_ms;

	if (duration_ms == 0) {
		return 0;
	}
	return billed_ms > price->minimum_ms ? billed_ms : price->minimum_ms;
}

/* A share of a minute, rounded up; split so that no product leaves 63 bits. */
static int64_t share_micros(int64_t rate, int64_t ms)
{
	return rate / MINUTE_MS * ms + (rate % MINUTE_MS * ms + MINUTE_MS - 1) / MINUTE_MS;
}

int64_t sim_cost_micros(const struct callgate_price *price, int64_t duration_ms)
{
	if (duration_ms == 0) {
		return 0;
	}
	return price->connect_fee_micros +
	    share_micros(price->rate_micros_per_minute, sim_billed_ms(price, duration_ms));
}

int64_t sim_headroom_micros(
    const struct callgate_price *price, int64_t held_micros, int64_t reserve_ms)
{
	return held_micros - share_micros(price->rate_micros_per_minute, reserve_ms);
}

void sim_ledger_saw(struct sim_ledger *ledger, int64_t posted_micros)
{
	if (posted_micros < ledger->least_micros) {
		ledger->least_micros = posted_micros;
	}
}

int64_t sim_ledger_overspent_micros(const struct sim_ledger *ledger)
{
	int64_t floor_micros = -ledger->credit_limit_micros;

	return ledger->least_micros < floor_micros ? floor_micros - ledger->least_micros : 0;
}

void sim_clock_saw(struct sim_clock *clock, int64_t as_of_ms, int64_t sent_ns, int64_t came_ns)
{
	int64_t least_ns = as_of_ms * MILLISECOND_NS - came_ns;
	int64_t most_ns = (as_of_ms + 1) * MILLISECOND_NS - sent_ns;

	/* Bounds that contradict each other: a clock was set; what was known is worth nothing. */
	if (!clock->is_known || least_ns > clock->most_ns || most_ns < clock->least_ns) {
		*clock = (struct sim_clock){true, least_ns, most_ns};
		return;
	}
	clock->least_ns = least_ns > clock->least_ns ? least_ns : clock->least_ns;
	clock->most_ns = most_ns < clock->most_ns ? most_ns : clock->most_ns;
}

int64_t sim_clock_store_ns(const struct sim_clock *clock, int64_t local_ns)
{
	return local_ns + clock->least_ns + (clock->most_ns - clock->least_ns) / 2;
}
