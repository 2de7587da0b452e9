/* SPDX-License-Identifier: Apache-2.0 */
#include "store/clock.h"

/* A wallet's instant may be ahead of the clock by less than this without being noticed. */
#define BELIEVED_MS 1000

void cg_store_clock_learn(struct cg_store_clock *clock, int64_t said_ms, uint64_t asked_at_ms,
    uint64_t answered_at_ms, bool is_certain)
{
	int64_t least_ms = said_ms - (int64_t)answered_at_ms;
	int64_t most_ms = said_ms - (int64_t)asked_at_ms;

	if (!clock->is_known && !is_certain) {
		return;
	}
	/* Above the most it can be: the clock was set back, or runs slower than ours. */
	bool is_above = clock->ahead_ms > most_ms;
	bool is_below =
	    clock->ahead_ms < least_ms && (is_certain || least_ms - clock->ahead_ms <= BELIEVED_MS);
	if (!clock->is_known || is_above || is_below) {
		clock->is_known = true;
		clock->ahead_ms = least_ms;
	}
}

int64_t cg_store_clock_at(const struct cg_store_clock *clock, uint64_t at_ms)
{
	return clock->is_known ? (int64_t)at_ms + clock->ahead_ms : 0;
}
