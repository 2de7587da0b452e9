/* SPDX-License-Identifier: Apache-2.0 */
#include "faults.h"

#include <stddef.h>

#include "clock.h"
#include "invariants.h"
#include "postgres.h"
#include "profiles.h"
#include "strikes.h"

#define FIRST_MS 1500

static struct sim_event *next_fault;

static void on_next(void *arg);

static void wait_for_next(uint64_t least_ms)
{
	uint64_t most_ms = 2 * sim.profile->strikes_every_ms;

	next_fault = sim_after(least_ms + sim_below(most_ms), on_next, NULL);
}

static void on_next(void *arg)
{
	bool is_favoured = sim.profile->favour > 0 && sim_permille(sim.profile->favour);

	(void)arg;
	wait_for_next(1);
	strikes_strike(is_favoured ? sim.profile->favoured : strikes_any());
}

void faults_begin(void)
{
	strikes_begin();
	wait_for_next(FIRST_MS);
	if (sim.profile == profile_usual && sim_permille(300)) {
		strikes_set_trap(); /* for the very first recovery */
	}
}

void faults_look(void)
{
	/* A request under way may still go by a receipt that the standby lacks. */
	if (postgres.is_behind && sim.now_ms > postgres.up_at_ms + 3000 &&
	    invariants_are_drained()) {
		postgres.is_behind = false;
	}
	if (sim.has_faults) {
		strikes_look();
	}
}

uint64_t faults_clock_slack_ms(void)
{
	return strikes_clock_slack_ms();
}

void faults_heal(void)
{
	sim_trace("everything heals");
	if (next_fault != NULL) {
		sim_cancel(next_fault);
		next_fault = NULL;
	}
	strikes_end();
}
