/*
 * A simulation's traffic, and how it ends.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sim/sim_internal.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	DRAIN_WITHIN_MS = 60000,
	DRAIN_STEP_MS = 50,
	TOLD_WITHIN_MS = 5000,
	SECOND_MS = 1000,
	SECOND_NS = 1000000000,
};

int64_t sim_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec;
}

int64_t sim_store_ms(const struct sim *sim)
{
	return sim_clock_store_ns(&sim->clock, sim_now_ns()) / SIM_MILLISECOND_NS;
}

void sim_after(struct sim *sim, int64_t ms, void (*fire)(void *context), void *context)
{
	sim_timers_set(&sim->timers, sim_now_ns() + ms * SIM_MILLISECOND_NS, fire, context);
}

void sim_turn(struct sim *sim, int64_t until_ns)
{
	struct pollfd watched[SIM_ADDRESSES_MAX];
	int64_t next_ns = sim_timers_next_ns(&sim->timers);
	int64_t left_ns;
	struct timespec timeout;

	next_ns = next_ns < until_ns ? next_ns : until_ns;
	left_ns = next_ns - sim_now_ns();
	left_ns = left_ns > 0 ? left_ns : 0;
	timeout = (struct timespec){left_ns / SECOND_NS, left_ns % SECOND_NS};
	for (unsigned i = 0; i < sim->options.address_count; i++) {
		watched[i] = (struct pollfd){
		    .fd = callgate_client_descriptor(sim->clients[i]), .events = POLLIN};
	}
	(void)ppoll(watched, sim->options.address_count, &timeout, NULL);
	/* Answers first: a CUT_OFF that came is older than a timer that is due only now. */
	for (unsigned i = 0; i < sim->options.address_count; i++) {
		(void)callgate_client_dispatch(sim->clients[i]);
	}
	sim_timers_fire(&sim->timers, sim_now_ns());
}

static void on_arrival(void *context);

/* Instants count from the one before, not from now: the schedule does not drift. */
static void set_arrival(struct sim_wallet *wallet, int64_t from_ns)
{
	int64_t gap_ms = sim_next_arrival_ms(&wallet->sim->options.habits, &wallet->arrivals);
	int64_t due_ns = from_ns + gap_ms * SIM_MILLISECOND_NS;

	if (due_ns < wallet->sim->end_ns) {
		wallet->next_arrival_ns = due_ns;
		sim_timers_set(&wallet->sim->timers, due_ns, on_arrival, wallet);
	}
}

static void on_arrival(void *context)
{
	struct sim_wallet *wallet = context;

	sim_call_begin(wallet);
	set_arrival(wallet, wallet->next_arrival_ns);
}

static void on_topup(void *context);

static void set_topup(struct sim_wallet *wallet, int64_t from_ns)
{
	const struct sim_habits *habits = &wallet->sim->options.habits;
	int64_t gap_ms = sim_random_exponential(&wallet->topups, (double)habits->topup_mean_ms);
	int64_t due_ns = from_ns + gap_ms * SIM_MILLISECOND_NS;

	if (due_ns < wallet->sim->end_ns) {
		wallet->next_topup_ns = due_ns;
		sim_timers_set(&wallet->sim->timers, due_ns, on_topup, wallet);
	}
}

static void on_topup(void *context)
{
	struct sim_wallet *wallet = context;
	bool is_repeated =
	    sim_random_share(&wallet->topups) < wallet->sim->options.habits.duplicate;

	sim_ask_credit(wallet, sim_topup_micros(wallet), is_repeated);
	set_topup(wallet, wallet->next_topup_ns);
}

/* kill -9 for whoever listens on the last address, as the kernel names it. */
static void on_kill(void *context)
{
	struct sim *sim = context;
	unsigned last = sim->options.address_count - 1;
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	struct ucred peer;
	socklen_t bytes = sizeof(peer);
	int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(name.sun_path, sizeof(name.sun_path), "%s",
	    sim->options.addresses[last] + strlen("unix:"));
	if (descriptor >= 0 &&
	    connect(descriptor, (const struct sockaddr *)&name, sizeof(name)) == 0 &&
	    getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
	    kill(peer.pid, SIGKILL) == 0) {
		sim->dead_addresses |= 1u << last;
	} else {
		(void)fprintf(stderr, "callgate-sim: %s: cannot be killed\n", name.sun_path);
	}
	if (descriptor >= 0) {
		(void)close(descriptor);
	}
}

/* Calls of before the drain, brought to their end one after the other. */
static void drain(struct sim *sim)
{
	int64_t end_ns = sim_now_ns() + (int64_t)DRAIN_WITHIN_MS * SIM_MILLISECOND_NS;
	uint32_t left_count;

	sim->drains = true;
	do {
		int64_t step_ns = sim_now_ns() + (int64_t)DRAIN_STEP_MS * SIM_MILLISECOND_NS;

		left_count = 0;
		for (uint32_t i = 0; i < sim->call_count; i++) {
			sim_call_drain(sim->calls[i]);
			left_count += sim->calls[i]->state != SIM_CALL_ENDED;
		}
		while (sim_now_ns() < step_ns) {
			sim_turn(sim, step_ns);
		}
	} while ((left_count > 0 || !cg_list_is_empty(&sim->asks)) && sim_now_ns() < end_ns);
	if (left_count > 0) {
		sim_fault(sim, SIM_FAULT_UNFINISHED, "%" PRIu32 " calls after %d s", left_count,
		    DRAIN_WITHIN_MS / SECOND_MS);
	}
}

static bool are_all_told(const struct sim *sim)
{
	for (uint32_t i = 0; i < sim->call_count; i++) {
		if (sim->calls[i]->is_settled && !sim->calls[i]->told_settled) {
			return false;
		}
	}
	return true;
}

static void hear_out(struct sim *sim)
{
	int64_t end_ns = sim_now_ns() + (int64_t)TOLD_WITHIN_MS * SIM_MILLISECOND_NS;

	while (!are_all_told(sim) && sim_now_ns() < end_ns) {
		sim_turn(sim, sim_now_ns() + (int64_t)DRAIN_STEP_MS * SIM_MILLISECOND_NS);
	}
}

/* What each stream told alike; one may have been killed half way. */
static void note_streams(struct sim *sim)
{
	struct sim_result *result = sim->result;

	for (unsigned i = 0; i < sim->options.address_count; i++) {
		const struct sim_watch *watch = &sim->watches[i];

		result->repeats =
		    watch->repeats > result->repeats ? watch->repeats : result->repeats;
		result->warnings =
		    watch->warnings > result->warnings ? watch->warnings : result->warnings;
		result->lows = watch->lows > result->lows ? watch->lows : result->lows;
		result->expired =
		    watch->expired > result->expired ? watch->expired : result->expired;
	}
}

void sim_run(struct sim *sim, struct sim_result *ret_result)
{
	memset(ret_result, 0, sizeof(*ret_result));
	sim->result = ret_result;
	sim->begun_ns = sim_now_ns();
	sim->end_ns = sim->begun_ns + (int64_t)(sim->options.seconds * SECOND_NS);
	for (uint32_t i = 0; i < sim->options.habits.companies; i++) {
		set_arrival(&sim->wallets[i], sim->begun_ns);
		set_topup(&sim->wallets[i], sim->begun_ns);
	}
	if (sim->options.kill_second > 0) {
		sim_after(sim, (int64_t)(sim->options.kill_second * SECOND_MS), on_kill, sim);
	}
	sim_check_cuts(sim);
	while (sim_now_ns() < sim->end_ns) {
		sim_turn(sim, sim->end_ns);
	}
	ret_result->seconds = (double)(sim_now_ns() - sim->begun_ns) / SECOND_NS;
	drain(sim);
	hear_out(sim);
	sim_check_wallets(sim);
	note_streams(sim);
}

bool sim_is_sound(const struct sim_result *result)
{
	for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
		if (result->faults[i] > 0) {
			return false;
		}
	}
	return true;
}
