/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include "asks.h"
#include "callers.h"
#include "clock.h"
#include "faults.h"
#include "invariants.h"
#include "network.h"
#include "operator.h"
#include "overspend.h"
#include "pg_links.h"
#include "postgres.h"
#include "redis.h"
#include "sidecar.h"
#include "store_records.h"

#define BUSY_MS  45000
#define CHECK_MS OVERSPEND_LOOK_MS
/* Some thirty times what a seed takes: it goes in circles. */
#define EVENTS_MOST 600000 /* between two looks at what is true at every instant */

/* Companies such that every partition has some. */
static void make_companies(void)
{
	for (uint32_t i = 0; i < SIM_COMPANIES; i++) {
		do {
			for (size_t j = 0; j < sizeof sim.companies[i].bytes; j++) {
				sim.companies[i].bytes[j] = (uint8_t)sim_below(256);
			}
		} while (store_partition_of(i) != i % SIM_PARTITIONS);
	}
}

static void begin(uint64_t seed, const struct profile *profile, bool is_traced)
{
	sim = (struct sim){
	    .seed = seed, .profile = profile, .is_traced = is_traced, .has_faults = true};
	/* Hashed: neighbours would be one sequence, begun at neighbouring places. */
	cg_random_init(&sim.random, seed ^ UINT64_C(0xD1342543DE82EF95));
	cg_random_init(&sim.random, cg_random_next(&sim.random));
	sim_trace_reset();
	make_companies();
	redis_begin();
	pg_begin();
	for (uint32_t i = 0; i < SIM_SIDECARS; i++) {
		sidecar_start(i);
	}
	overspend_begin();
	operator_begin();
	callers_begin();
}

static bool is_stuck(void)
{
	return sim.events > EVENTS_MOST;
}

static void run_checked(uint64_t ms)
{
	uint64_t end_ms = sim.now_ms + ms;

	while (sim.now_ms < end_ms && !is_stuck()) {
		uint64_t look_ms = sim.now_ms + CHECK_MS;
		while (!is_stuck() && sim_step_before(look_ms)) {
			faults_look();
		}
		sim.now_ms = look_ms;
		invariants_check_now();
		overspend_look();
	}
}

static bool run_until(bool (*holds)(void), uint64_t most_ms, const char *what)
{
	uint64_t end_ms = sim.now_ms + most_ms;

	while (!holds()) {
		if (sim.now_ms >= end_ms || is_stuck()) {
			sim_violated("after everything has healed: %s", what);
			return false;
		}
		run_checked(200);
	}
	return true;
}

static bool is_served(void)
{
	for (uint32_t i = 0; i < SIM_SIDECARS; i++) {
		for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
			if (!sidecar_serves(i, p)) {
				return false;
			}
		}
	}
	return true;
}

static void finish(void)
{
	sim.has_faults = false;
	faults_heal();
	callers_stop();
	if (!run_until(is_served, 150000, "partitions are not served")) {
		return;
	}
	callers_remind();
	(void)run_until(callers_are_done, 120000, "callers have no answers");
	(void)run_until(invariants_are_drained, 60000, "entries or receipts wait for ever");
	invariants_check_acknowledged();
	callers_repeat();
	(void)run_until(callers_are_done, 120000, "repeated requests have no answers");
	(void)run_until(invariants_are_drained, 60000, "entries or receipts wait for ever");
	run_checked(12000); /* leases run out */
	invariants_check_end();
}

/*
 * The ledger comes back from a backup that is older than what the store has kept: no rule can
 * mend that.  Nothing may be flushed then, least of all with a gap.  (Not from before a loss of the
 * store that was mended from the ledger: what then is nowhere shows as an entry that is set aside.)
 */
static bool ends_with_old_backup(void)
{
	struct store_head head;

	bool is_wanted = sim.profile->is_to_go_back || sim.seed % 8 == 0;
	if (!is_wanted || !store_head_read(0, &head) || head.trimmed_epoch == 0 ||
	    !pg_fail_far_back(0, head.trimmed_epoch, head.trimmed_n)) {
		return false;
	}
	sim.has_faults = false;
	faults_heal();
	pg_links_cut();
	for (uint64_t end_ms = sim.now_ms + 20000;
	     sim.now_ms < end_ms && sim_step_before(end_ms);) {
	}
	return true;
}

static void end(void)
{
	for (uint32_t i = 0; i < SIM_SIDECARS; i++) {
		if (sidecar_is_alive(i)) {
			sidecar_crash(i);
		}
	}
	callers_end();
	operator_end();
	/* What is under way arrives, and finds nobody. */
	while (sim_step()) {
	}
	if (asks_under_way() != 0) {
		sim_violated("%u requests were never answered", asks_under_way());
	}
	redis_end();
	pg_end();
	network_forget_store();
	sim_clock_reset();
}

struct world_end world_run(uint64_t seed, const struct profile *profile, bool is_traced)
{
	begin(seed, profile, is_traced);
	faults_begin();
	run_checked(BUSY_MS);
	if (!ends_with_old_backup()) {
		finish();
	}
	struct world_end result = {
	    .events = sim.events, .answers = sim.answers, .virtual_ms = sim.now_ms};
	end();
	result.violations = sim.violations;
	return result;
}
