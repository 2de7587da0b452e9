/* SPDX-License-Identifier: Apache-2.0 */
#include "faults.h"

#include <stddef.h>

#include "clock.h"
#include "invariants.h"
#include "ledger/ledger_internal.h"
#include "network.h"
#include "pg_links.h"
#include "postgres.h"
#include "redis.h"
#include "sidecar.h"

#define EVERY_MS      2500 /* on average */
#define CLOCK_MOST_MS 1500 /* the store's clock off the others */

struct network_stall network_store_stall, network_ledger_stall;

static struct sim_event *next_fault;
static struct sim_event *returns[SIM_SIDECARS];
static struct sim_event *late_failover, *late_strike;
static bool has_jumped;
static int64_t clock_off_ms;
/* A crash that waits for a sidecar to come to this step of a recovery. */
static struct {
	bool is_armed;
	int phase;
	void (*strike)(void);
} trap;

static void on_return(void *arg)
{
	struct sim_event **place = arg;
	uint32_t number = (uint32_t)(place - returns);

	*place = NULL;
	sidecar_start(number);
}

static void crash(uint32_t number, uint64_t down_ms)
{
	if (sidecar_is_alive(number)) {
		sidecar_crash(number);
		returns[number] = sim_after(down_ms, on_return, &returns[number]);
	}
}

static void crash_one(void)
{
	crash((uint32_t)sim_below(SIM_SIDECARS), 1 + sim_below(3000));
}

static void crash_all(void)
{
	for (uint32_t i = 0; i < SIM_SIDECARS; i++) {
		crash(i, 1 + sim_below(2000));
	}
}

/* The store's. */

static bool may_lose(void)
{
	return !pg.is_behind;
}

/* The ledger alone has some of it now: no standby may be older than this. */
static void note_loss(void)
{
	pg.not_before_ms = sim.now_ms;
}

static uint64_t some_tail(void)
{
	return may_lose() && sim_permille(700) ? 1 + sim_below(30) : 0;
}

static uint64_t some_time(void)
{
	return sim_permille(700) ? 1 + sim_below(100) : sim_below(2500);
}

static void restart_store(void)
{
	uint64_t lost = some_tail();

	redis_restart(lost, some_time());
	note_loss();
	network_cut_store(false);
}

static void restore_store(void)
{
	if (may_lose()) {
		redis_restore_snapshot(some_time());
		note_loss();
		network_cut_store(sim_permille(500));
	}
}

static void promote(void)
{
	redis_promote(some_tail());
	note_loss();
	network_cut_store(sim_permille(500));
}

static void promote_back(void)
{
	enum redis_return how = may_lose() ? (enum redis_return)sim_below(3) : REDIS_RESYNCED;

	if (redis_promote_back(how)) {
		note_loss();
		network_cut_store(sim_permille(500));
	}
}

static void flushall(void)
{
	if (may_lose()) {
		redis_flushall();
		note_loss();
	}
}

static void reload(void)
{
	redis_reload_library();
}

static void jump_clock(void)
{
	int64_t to_ms = (int64_t)sim_below(2 * CLOCK_MOST_MS + 1) - CLOCK_MOST_MS;

	redis_jump_clock(to_ms - clock_off_ms);
	clock_off_ms = to_ms;
	has_jumped = true;
}

static void cut_store(void)
{
	sim_trace("net: connections to the store end");
	network_cut_store(true);
}

/* The ledger's. */

static void restart_ledger(void)
{
	pg_restart(sim_permille(600) ? 1 + sim_below(200) : sim_below(15000));
	pg_links_cut();
}

static void fail_over_ledger(void)
{
	pg_fail_over(1 + sim_below(2000));
	pg_links_cut();
}

static void on_late_failover(void *arg)
{
	late_failover = NULL;
	(void)arg;
	fail_over_ledger();
}

/* Away for longer than the margin, and hardly back when a standby takes over. */
static void long_outage(void)
{
	uint64_t down_ms = SIM_MARGIN_MS + sim_below(4000);

	if (late_failover == NULL) {
		pg_restart(down_ms);
		pg_links_cut();
		late_failover = sim_after(down_ms + sim_below(8000), on_late_failover, NULL);
	}
}

static void cut_ledger(void)
{
	sim_trace("net: connections to the ledger end");
	pg_links_cut();
}

/* What is under way now arrives when the ground has changed. */
static void stall(void)
{
	bool is_store = sim_permille(400);
	struct network_stall *stalled = is_store ? &network_store_stall : &network_ledger_stall;

	sim_trace("net: what is said to the %s takes long", is_store ? "store" : "ledger");
	*stalled = (struct network_stall){sim.now_ms + 30 + sim_below(200), 200 + sim_below(2500)};
}

static void on_stalled(void *arg)
{
	(void)arg;
	late_strike = NULL;
	if (sim_permille(500)) {
		restart_store();
	} else {
		promote();
	}
}

static void stall_and_lose(void)
{
	stall();
	if (late_strike == NULL) {
		late_strike = sim_after(10 + sim_below(150), on_stalled, NULL);
	}
}

/* The next one to lead lacks only the last words: of a recovery, its last steps. */
static void promote_nearly(void)
{
	redis_promote(may_lose() ? 1 + sim_below(5) : 0);
	note_loss();
	network_cut_store(sim_permille(500));
}

static void on_fork_ends(void *arg)
{
	(void)arg;
	late_strike = NULL;
	if (may_lose() && redis_promote_back(REDIS_LEFT_BEHIND)) {
		note_loss();
		network_cut_store(sim_permille(500));
	}
}

/* Two masters one after the other, and the first one with what the second never had. */
static void fork_store(void)
{
	if (may_lose() && late_strike == NULL) {
		redis_promote(3 + sim_below(25));
		note_loss();
		network_cut_store(sim_permille(500));
		late_strike = sim_after(300 + sim_below(5000), on_fork_ends, NULL);
	}
}

static void set_trap(void)
{
	static void (*const strikes[])(void) = {crash_one, crash_all, restart_store, promote,
	    promote_nearly, promote_nearly, restart_ledger, flushall, cut_store, stall};

	trap.is_armed = true;
	trap.phase = CG_PART_HELLO + (int)sim_below(CG_PART_SERVING - CG_PART_HELLO);
	trap.strike = strikes[sim_below(CG_COUNT_OF(strikes))];
}

static const struct {
	unsigned weight;
	void (*strike)(void);
} faults[] = {
    {9, crash_one},
    {3, crash_all},
    {12, restart_store},
    {5, restore_store},
    {8, promote},
    {6, promote_back},
    {5, flushall},
    {3, reload},
    {5, jump_clock},
    {6, cut_store},
    {8, restart_ledger},
    {8, fail_over_ledger},
    {4, cut_ledger},
    {3, long_outage},
    {4, stall},
    {9, stall_and_lose},
    {6, fork_store},
    {3, promote_nearly},
    {20, set_trap},
};

static void strike(void)
{
	unsigned total = 0;

	for (size_t i = 0; i < CG_COUNT_OF(faults); i++) {
		total += faults[i].weight;
	}
	unsigned at = (unsigned)sim_below(total);
	for (size_t i = 0;; i++) {
		if (at < faults[i].weight) {
			faults[i].strike();
			return;
		}
		at -= faults[i].weight;
	}
}

static void on_next(void *arg)
{
	(void)arg;
	next_fault = sim_after(1 + sim_below(2 * EVERY_MS), on_next, NULL);
	strike();
}

void faults_begin(void)
{
	clock_off_ms = 0;
	has_jumped = false;
	network_store_stall = network_ledger_stall = (struct network_stall){0, 0};
	trap.is_armed = false;
	next_fault = sim_after(1500 + sim_below(2 * EVERY_MS), on_next, NULL);
	if (sim_permille(300)) {
		set_trap(); /* for the very first recovery */
	}
}

static bool is_in_trap(void)
{
	for (uint32_t i = 0; i < SIM_SIDECARS; i++) {
		for (uint32_t p = 0; p < SIM_PARTITIONS && sidecar_is_alive(i); p++) {
			if (sidecar_phase(i, p) == trap.phase) {
				return true;
			}
		}
	}
	return false;
}

void faults_look(void)
{
	/* A request under way may still go by a receipt that the standby lacks. */
	if (pg.is_behind && sim.now_ms > pg.up_at_ms + 3000 && invariants_are_drained()) {
		pg.is_behind = false;
	}
	if (trap.is_armed && sim.has_faults && is_in_trap()) {
		sim_trace("fault: at step %d", trap.phase);
		trap.is_armed = false;
		trap.strike();
	}
}

uint64_t faults_clock_slack_ms(void)
{
	return has_jumped ? 2 * CLOCK_MOST_MS : 0;
}

void faults_heal(void)
{
	sim_trace("everything heals");
	if (next_fault != NULL) {
		sim_cancel(next_fault);
		next_fault = NULL;
	}
	if (late_failover != NULL) {
		sim_cancel(late_failover);
		late_failover = NULL;
	}
	if (late_strike != NULL) {
		sim_cancel(late_strike);
		late_strike = NULL;
	}
	trap.is_armed = false;
	for (uint32_t i = 0; i < SIM_SIDECARS; i++) {
		if (returns[i] != NULL) {
			sim_cancel(returns[i]);
			on_return(&returns[i]);
		}
	}
}
