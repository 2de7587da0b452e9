/* SPDX-License-Identifier: Apache-2.0 */
#include "overspend.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "callers.h"
#include "postgres.h"
#include "prices.h"
#include "redis.h"
#include "store_records.h"

/* Each is named early by as much as a look may come late, and messages take. */
#define SLACK_MS    (UINT64_C(2) * OVERSPEND_LOOK_MS)
#define START_BY_MS ((uint64_t)strtoull(PRICES_RESERVE_MS, NULL, 10) - SLACK_MS)
#define LEASE_BY_MS ((uint64_t)strtoull(PRICES_LEASE_MS, NULL, 10) - SLACK_MS)
#define END_BY_MS   ((uint64_t)strtoull(PRICES_GUARD_MS, NULL, 10) - SLACK_MS)
#define CLOCK_REST_MS                                                                              \
	4000 /* meters stand still after the clock was set back, for less than so long */

struct watched {
	uint64_t seen_at_ms; /* first; 0: not yet */
	bool is_excused;
	bool lives_again;
	bool was_metering;
	bool was_booked; /* at the last look */
};

static struct watched watched[CALLERS_DEEDS_MAX];
static uint64_t exhausted_at_ms[SIM_COMPANIES]; /* 0: something is available */
static uint64_t epochs[SIM_PARTITIONS];
static uint64_t looked_at_ms;
static uint64_t clock_set_at_ms;
static int64_t clock_ahead_ms;

void overspend_begin(void)
{
	memset(watched, 0, sizeof watched);
	memset(exhausted_at_ms, 0, sizeof exhausted_at_ms);
	memset(epochs, 0, sizeof epochs);
	looked_at_ms = 0;
	clock_set_at_ms = 0;
	clock_ahead_ms = redis_now_ms() - (int64_t)sim.now_ms;
}

static void look_at_clock(void)
{
	int64_t ahead_ms = redis_now_ms() - (int64_t)sim.now_ms;

	if (ahead_ms != clock_ahead_ms) {
		clock_ahead_ms = ahead_ms;
		clock_set_at_ms = sim.now_ms;
	}
}

static bool is_clock_restless(void)
{
	return clock_set_at_ms > 0 && sim.now_ms < clock_set_at_ms + CLOCK_REST_MS;
}

/* Whether what it holds may have been taken back since the last look. */
static bool has_lost(uint32_t company)
{
	uint32_t partition = store_partition_of(company);
	struct store_head head;
	bool is_there = store_head_read(partition, &head);

	return redis_lost_at_ms() > looked_at_ms || (looked_at_ms == 0 && redis_lost_at_ms() > 0) ||
	    !is_there || head.epoch != epochs[partition];
}

static void look_at_wallet(uint32_t company)
{
	struct store_wallet wallet;

	if (!store_wallet_read(company, &wallet)) {
		exhausted_at_ms[company] = 0;
		return;
	}
	int64_t since_ms = redis_now_ms() - wallet.as_of;
	int64_t accruing = wallet.burn * (since_ms > 0 ? since_ms : 0) + wallet.rem;
	int64_t available =
	    wallet.posted - wallet.held - wallet.accrued - (accruing + 59999) / 60000;
	if (available > 0) {
		exhausted_at_ms[company] = 0;
	} else if (exhausted_at_ms[company] == 0) {
		exhausted_at_ms[company] = sim.now_ms;
	}
}

/* Since when it cannot go on for longer than the guard: T*, or its own beginning behind it. */
static bool talks_too_long(const struct deed *deed)
{
	uint64_t end_ms = exhausted_at_ms[deed->company];

	if (end_ms == 0) {
		return false;
	}
	end_ms = end_ms > deed->talk_began_ms ? end_ms : deed->talk_began_ms;
	return sim.now_ms > end_ms + END_BY_MS;
}

static bool is_started_late(const struct deed *deed, const struct watched *w, bool is_metering)
{
	if (w->was_metering) {
		return false;
	}
	return is_metering ? sim.now_ms > w->seen_at_ms + LEASE_BY_MS
	                   : sim.now_ms > deed->talk_began_ms + START_BY_MS;
}

/* What can be said of a call at any time; what follows it only until it is in the ledger. */
static bool is_no_held_call(const struct deed *deed, const struct watched *w)
{
	return deed->plan == CALL_LATE || deed->plan == CALL_ADOPTED || deed->is_adopted ||
	    w->lives_again || (deed->is_settling && !w->was_metering);
}

static bool has_gone_wrong(const struct deed *deed, const struct watched *w, bool is_metering)
{
	bool talks = deed->talk_began_ms > 0 && deed->talk_ended_ms == 0 && !deed->is_settling;

	if (has_lost(deed->company) || is_clock_restless()) {
		return true;
	}
	return talks &&
	    (talks_too_long(deed) || is_started_late(deed, w, is_metering) ||
	        (w->was_metering && !is_metering));
}

static void look_at_call(const struct deed *deed, struct watched *w)
{
	bool is_metering =
	    store_call_state(deed->company, cg_view_of(deed->id)) == STORE_CALL_METERING;

	w->is_excused = w->is_excused || is_no_held_call(deed, w) ||
	    (!w->was_booked && has_gone_wrong(deed, w, is_metering));
	w->was_metering = w->was_metering || is_metering;
	w->was_booked = pg_key_find(deed->company, "usage", deed->id) != NULL;
}

/* Whether what it takes was held for it: of a usage, and of the correction of one. */
static bool is_held(const struct pg_row *row)
{
	static const char corrects[] = "correction:";
	const char *id = row->reference;

	if (strncmp(id, corrects, strlen(corrects)) == 0) {
		id += strlen(corrects);
	} else if (strcmp(row->type, "usage") != 0) {
		return false; /* dup: the same once more */
	}
	const struct deed *deed = callers_find(row->company, cg_view_of(id));
	return deed != NULL && deed->kind == DEED_CALL && !watched[deed->number].is_excused;
}

/*
 * How far below zero the balance may be: by what was let through, less what came in since.  What
 * comes in while nothing was let through makes room for calls, not for more.
 */
static void check(uint32_t company)
{
	int64_t least = 0;

	for (size_t i = 0; i < postgres.now.row_count; i++) {
		const struct pg_row *row = &postgres.rows[i];
		if (row->company != company) {
			continue;
		}
		if (row->amount > 0) {
			least = least + row->amount < 0 ? least + row->amount : 0;
		} else if (!is_held(row)) {
			least += row->amount;
		}
		if (row->balance_after < least) {
			sim_violated("company %" PRIu32 " has %" PRId64 " after %s, and %" PRId64
			             " at least without an overspend",
			    company, row->balance_after, row->reference, least);
			return;
		}
	}
}

void overspend_look(void)
{
	struct store_head head;

	look_at_clock();
	for (uint32_t i = 0; i < SIM_COMPANIES; i++) {
		look_at_wallet(i);
	}
	for (uint32_t i = 0; i < callers_count(); i++) {
		const struct deed *deed = callers_deed(i);
		struct watched *w = &watched[i];
		if (w->seen_at_ms == 0) {
			w->seen_at_ms = sim.now_ms;
			w->lives_again = deed->lives_again;
		}
		if (deed->kind == DEED_CALL) {
			look_at_call(deed, w);
		}
	}
	for (uint32_t i = 0; i < SIM_COMPANIES; i++) {
		check(i);
	}
	for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
		epochs[p] = store_head_read(p, &head) ? head.epoch : 0;
	}
	looked_at_ms = sim.now_ms;
}
