/*
 * The strikes.  Some are of several parts, which follow each other after a while: what a rule is
 * there for seldom is one misfortune alone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "strikes.h"

#include <stddef.h>

#include "clock.h"
#include "ledger/ledger_internal.h"
#include "network.h"
#include "pg_links.h"
#include "postgres.h"
#include "profiles.h"
#include "redis.h"
#include "sidecar.h"

#define CLOCK_MOST_MS 1500 /* the store's clock off the others */
#define LATER_MOST    3    /* what follows, of all strikes together */

struct network_stall network_stalls[NETWORK_WAYS];

static struct sim_event *returns[SIM_SIDECARS];
static struct later {
	struct sim_event *event; /* NULL: free */
	void (*strike)(void);
} laters[LATER_MOST];
static struct {
	bool is_armed;
	int phase;
	void (*strike)(void);
} trap;
static bool has_jumped;
static int64_t clock_off_ms;

static void on_later(void *arg)
{
	struct later *later = arg;

	later->event = NULL;
	later->strike();
}

/* False: too much is to follow already. */
static bool follow(uint64_t after_ms, void (*strike)(void))
{
	for (size_t i = 0; i < LATER_MOST; i++) {
		if (laters[i].event == NULL) {
			laters[i].strike = strike;
			laters[i].event = sim_after(after_ms, on_later, &laters[i]);
			return true;
		}
	}
	return false;
}

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
	return !postgres.is_behind;
}

/* The ledger alone has some of it now: no standby may be older than this. */
static void note_loss(void)
{
	postgres.not_before_ms = sim.now_ms;
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
	redis_restart(some_tail(), some_time());
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

static void promote_without(uint64_t lost)
{
	redis_promote(may_lose() ? lost : 0);
	note_loss();
	network_cut_store(sim_permille(500));
}

static void promote(void)
{
	promote_without(some_tail());
}

/* The next one to lead lacks only the last words: of a recovery, its last steps. */
static void promote_nearly(void)
{
	promote_without(1 + sim_below(5));
}

static void return_as(enum redis_return how)
{
	if ((how == REDIS_RESYNCED || may_lose()) && redis_promote_back(how)) {
		note_loss();
		network_cut_store(sim_permille(500));
	}
}

static void promote_back(void)
{
	return_as(may_lose() ? (enum redis_return)sim_below(3) : REDIS_RESYNCED);
}

static void return_resynced(void)
{
	return_as(REDIS_RESYNCED);
}

static void return_left_behind(void)
{
	return_as(REDIS_LEFT_BEHIND);
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

/* Away for longer than the margin, and hardly back when a standby takes over. */
static void long_outage(void)
{
	uint64_t down_ms = sim.profile->margin_ms + sim_below(4000);

	if (follow(down_ms + sim_below(8000), fail_over_ledger)) {
		pg_restart(down_ms);
		pg_links_cut();
	}
}

static void cut_ledger(void)
{
	sim_trace("net: connections to the ledger end");
	pg_links_cut();
}

/* The network's: what is under way now arrives when the ground has changed. */

static uint32_t one_side(void)
{
	return (uint32_t)sim_below(SIM_SIDECARS);
}

/* For so long so many of a thousand messages of this side take at least so much longer. */
static void stall_way(enum network_way way, uint64_t for_ms, struct network_stall stall)
{
	static const char *const names[NETWORK_WAYS] = {
	    "words to the store", "words to the ledger", "flushes", "answers of the ledger"};

	sim_trace("net: %s take long", names[way]);
	stall.until_ms = sim.now_ms + for_ms;
	network_stalls[way] = stall;
}

static void hold_up_flushes(uint64_t for_ms)
{
	stall_way(NETWORK_FLUSHES, for_ms,
	    (struct network_stall){.permille = 1000,
	        .least_ms = 800,
	        .extra_ms = 1 + sim_below(500),
	        .side = SIM_SIDECARS});
}

static void stall(void)
{
	stall_way(sim_permille(400) ? NETWORK_TO_STORE : NETWORK_TO_LEDGER, 30 + sim_below(200),
	    (struct network_stall){
	        .permille = 500, .extra_ms = 200 + sim_below(2500), .side = SIM_SIDECARS});
}

static void restart_or_promote(void)
{
	if (sim_permille(500)) {
		restart_store();
	} else {
		promote();
	}
}

static void stall_and_lose(void)
{
	stall();
	(void)follow(10 + sim_below(150), restart_or_promote);
}

/* Much is answered too late to those who asked, and is done all the same. */
static void slow_store(void)
{
	stall_way(NETWORK_TO_STORE, 200 + sim_below(600),
	    (struct network_stall){.permille = 300,
	        .least_ms = 500,
	        .extra_ms = 1 + sim_below(3000),
	        .side = SIM_SIDECARS});
}

/* Nobody knows anything: every wallet and every key is to be asked of the ledger. */
static void begin_anew(void)
{
	for (uint32_t i = 0; i < SIM_SIDECARS; i++) {
		crash(i, 1 + sim_below(60));
	}
	flushall();
}

/*
 * What one sidecar has asked of the ledger is on its way to the store while the other one does
 * the same, and is done with it; and then the store knows of neither.
 */
static void hold_up_words(void)
{
	stall_way(NETWORK_TO_STORE, 50 + sim_below(400),
	    (struct network_stall){.permille = 700,
	        .least_ms = 400,
	        .extra_ms = 1 + sim_below(1500),
	        .side = one_side()});
	(void)follow(250 + sim_below(500), flushall);
}

static void late_words(void)
{
	begin_anew();
	(void)follow(150 + sim_below(300), hold_up_words);
}

/* Likewise, where the answer of the ledger is what takes long. */
static void hold_up_answers(void)
{
	stall_way(NETWORK_FROM_LEDGER, 50 + sim_below(100),
	    (struct network_stall){.permille = 900,
	        .least_ms = 400,
	        .extra_ms = 1 + sim_below(800),
	        .side = one_side()});
	(void)follow(120 + sim_below(200), flushall);
}

static void late_reading(void)
{
	begin_anew();
	(void)follow(100 + sim_below(300), hold_up_answers);
}

static void lose_some(void)
{
	stall_way(NETWORK_TO_LEDGER, 300,
	    (struct network_stall){
	        .permille = 600, .extra_ms = 1 + sim_below(150), .side = SIM_SIDECARS});
	if (may_lose() && sim_permille(500)) {
		redis_restart(1 + sim_below(12), 1 + sim_below(20));
		note_loss();
		network_cut_store(false);
	} else {
		promote_without(1 + sim_below(12));
	}
}

/* Entries that the cursor has not passed yet are lost while their flush is under way. */
static void late_flush(void)
{
	stall_way(NETWORK_FLUSHES, 400,
	    (struct network_stall){.permille = 1000,
	        .least_ms = 50,
	        .extra_ms = 1 + sim_below(350),
	        .side = SIM_SIDECARS});
	(void)follow(150 + sim_below(200), lose_some);
}

/* Two masters one after the other. */

/* And the first one again at once, with what the second has: nobody has looked meanwhile. */
static void bounce(void)
{
	redis_promote(may_lose() ? 1 + sim_below(30) : 0);
	note_loss();
	network_cut_store(true);
	(void)follow(sim_below(20), return_resynced);
}

/* And the first one again later, with what the second never had. */
static void fork_store(void)
{
	if (may_lose() && follow(300 + sim_below(5000), return_left_behind)) {
		promote_without(3 + sim_below(25));
	}
}

static void promote_and_fork(void)
{
	if (may_lose() && follow(200 + sim_below(2500), return_left_behind)) {
		promote_without(3 + sim_below(25));
	}
}

/* What the second never had the ledger never had either. */
static void fork_unflushed(void)
{
	hold_up_flushes(300 + sim_below(500));
	(void)follow(200 + sim_below(400), promote_and_fork);
}

static void lose_since_recovery(void)
{
	promote_without(3 + sim_below(12));
}

static void promote_nearly_and_lose_since(void)
{
	if (may_lose() && follow(30 + sim_below(150), lose_since_recovery)) {
		promote_nearly();
	}
}

/* The next one to lead lacks a whole recovery, but has what waits for the ledger since before it. */
static void lose_recovery(void)
{
	hold_up_flushes(300 + sim_below(500));
	(void)follow(200 + sim_below(400), promote_nearly_and_lose_since);
}

static void promote_before_served(void)
{
	promote_without(1 + sim_below(2));
}

static void arm(int phase, void (*strike)(void))
{
	trap.is_armed = true;
	trap.phase = phase;
	trap.strike = strike;
}

static void return_to_be_dropped(void)
{
	return_left_behind();
	arm(CG_PART_SERVE, promote_before_served);
}

static void promote_and_fork_to_be_dropped(void)
{
	if (may_lose() && follow(200 + sim_below(2500), return_to_be_dropped)) {
		promote_without(3 + sim_below(25));
	}
}

/* And who leads next has heard of the recovery that dropped it, and not that it was dropped. */
static void fork_dropped(void)
{
	hold_up_flushes(300 + sim_below(500));
	(void)follow(200 + sim_below(400), promote_and_fork_to_be_dropped);
}

/* A standby takes over, and for a while is asked, and told nothing. */
static void lagging_standby(void)
{
	fail_over_ledger();
	hold_up_flushes(1000 + sim_below(3000));
}

/* What the first standby lacked is there again, but has not been for long. */
static void fail_over_twice(void)
{
	if (follow(2500 + sim_below(sim.profile->margin_ms), fail_over_ledger)) {
		fail_over_ledger();
	}
}

/* Some rows are refused for a while, with their texts or in every form. */
static void poison(void)
{
	postgres.poison = (struct pg_poison){.until_ms = sim.now_ms + 500 + sim_below(6000),
	    .kind = (unsigned)sim_below(PG_POISON_KINDS),
	    .is_bare = sim_permille(700)};
	sim_trace("ledger: refuses some rows%s", postgres.poison.is_bare ? " in every form" : "");
}

static void promote_whole(void)
{
	promote_without(0);
}

/* From one node to another, key by key: all of them arrive there, or go back. */
static void move_keys(void)
{
	uint64_t for_ms = 50 + sim_below(3000);

	redis_move_keys((uint32_t)sim_below(SIM_PARTITIONS), for_ms);
	if (sim_permille(600)) {
		(void)follow(for_ms, promote_whole);
	}
}

static void set_trap(void)
{
	static void (*const some[])(void) = {crash_one, crash_all, restart_store, promote,
	    promote_nearly, promote_nearly, restart_ledger, flushall, cut_store, stall};
	int phase = CG_PART_HELLO + (int)sim_below(CG_PART_SERVING - CG_PART_HELLO);

	arm(phase, some[sim_below(CG_COUNT_OF(some))]);
}

static const struct {
	unsigned weight;
	void (*strike)(void);
} strikes[STRIKE_COUNT] = {
#define X(value, function, weight) [STRIKE_##value] = {weight, function},
    STRIKES(X)
#undef X
};

void strikes_strike(enum strike strike)
{
	strikes[strike].strike();
}

enum strike strikes_any(void)
{
	unsigned total = 0, before = 0;

	for (unsigned i = 0; i < STRIKE_COUNT; i++) {
		total += strikes[i].weight;
	}
	unsigned at = (unsigned)sim_below(total);
	unsigned i = 0;
	while (at >= before + strikes[i].weight) {
		before += strikes[i++].weight;
	}
	return (enum strike)i;
}

void strikes_set_trap(void)
{
	set_trap();
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

void strikes_look(void)
{
	if (trap.is_armed && is_in_trap()) {
		sim_trace("fault: at step %d", trap.phase);
		trap.is_armed = false;
		trap.strike();
	}
}

void strikes_begin(void)
{
	clock_off_ms = 0;
	has_jumped = false;
	trap.is_armed = false;
	for (size_t i = 0; i < NETWORK_WAYS; i++) {
		network_stalls[i] = (struct network_stall){0};
	}
}

uint64_t strikes_clock_slack_ms(void)
{
	return has_jumped ? 2 * CLOCK_MOST_MS : 0;
}

void strikes_end(void)
{
	trap.is_armed = false;
	postgres.poison.until_ms = 0;
	for (size_t i = 0; i < LATER_MOST; i++) {
		if (laters[i].event != NULL) {
			sim_cancel(laters[i].event);
			laters[i].event = NULL;
		}
	}
	for (uint32_t i = 0; i < SIM_SIDECARS; i++) {
		if (returns[i] != NULL) {
			sim_cancel(returns[i]);
			on_return(&returns[i]);
		}
	}
}
