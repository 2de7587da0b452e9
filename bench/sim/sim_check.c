/*
 * The reckoning: who should have been cut off, and what every wallet came to.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sim/sim_internal.h"

#include <inttypes.h>

enum {
	SCAN_MS = 100,
	TOLD_WITHIN_MS = 2000, /* how long a machine under load may take over a CUT_OFF */
	EVEN_WITHIN_MS = 5000, /* a lease that has just ended waits for its tick */
	MINUTE_MS = 60000,
};

static bool is_burning(const struct sim_call *call)
{
	return call->metered_from_ms != 0 && call->stopped_at_ms == 0;
}

/* What the gate keeps of one call, as far as its answers told. */
static int64_t held_micros(const struct sim_call *call, int64_t reserve_ms, int64_t now_ms)
{
	if (call->metered_from_ms != 0) {
		return sim_headroom_micros(&call->price, call->held_micros, reserve_ms);
	}
	return now_ms < call->expires_at_ms ? call->held_micros : 0;
}

static int64_t available_micros(const struct sim_wallet *wallet, int64_t now_ms)
{
	const struct sim *sim = wallet->sim;
	int64_t available = wallet->ledger.credited_micros - wallet->ledger.charged_micros +
	    wallet->ledger.credit_limit_micros;
	int64_t micros_ms = 0;

	for (const struct cg_list *at = wallet->live.next; at != &wallet->live; at = at->next) {
		const struct sim_call *call = CG_CONTAINER_OF(at, struct sim_call, link);
		int64_t until_ms = call->stopped_at_ms != 0 ? call->stopped_at_ms : now_ms;

		available -= held_micros(call, sim->options.habits.reserve_ms, now_ms);
		if (call->metered_from_ms != 0) {
			micros_ms +=
			    call->price.rate_micros_per_minute * (until_ms - call->metered_from_ms);
		}
	}
	return available - (micros_ms + MINUTE_MS - 1) / MINUTE_MS;
}

static void find_missed(struct sim_wallet *wallet, int64_t now_ms)
{
	for (struct cg_list *at = wallet->live.next; at != &wallet->live; at = at->next) {
		struct sim_call *call = CG_CONTAINER_OF(at, struct sim_call, link);

		if (is_burning(call) && call->price.rate_micros_per_minute > 0 &&
		    call->cut_at_ns == 0 && !call->is_missed &&
		    now_ms - call->start_as_of_ms > TOLD_WITHIN_MS) {
			call->is_missed = true;
			sim_fault(wallet->sim, SIM_FAULT_NOT_CUT,
			    "call %" PRIu32 " of %s: dry for %d ms", call->serial, wallet->company,
			    TOLD_WITHIN_MS);
		}
	}
}

/* While a request is under way nobody but the gate knows what the wallet has. */
static void check_cuts(struct sim_wallet *wallet)
{
	int64_t now_ns = sim_now_ns();
	int64_t now_ms = sim_store_ms(wallet->sim);

	if (wallet->asking_count > 0) {
		return;
	}
	if (cg_list_is_empty(&wallet->live) || available_micros(wallet, now_ms) > 0) {
		wallet->dry_since_ns = 0;
		return;
	}
	if (wallet->dry_since_ns == 0) {
		wallet->dry_since_ns = now_ns;
	} else if (now_ns - wallet->dry_since_ns > (int64_t)TOLD_WITHIN_MS * SIM_MILLISECOND_NS) {
		find_missed(wallet, now_ms);
	}
}

void sim_check_cuts(void *context)
{
	struct sim *sim = context;

	for (uint32_t i = 0; i < sim->options.habits.companies; i++) {
		check_cuts(&sim->wallets[i]);
	}
	if (!sim->drains) {
		sim_after(sim, SCAN_MS, sim_check_cuts, sim);
	}
}

static void note_posted(struct sim_wallet *wallet, int64_t posted_micros)
{
	int64_t model = wallet->ledger.credited_micros - wallet->ledger.charged_micros;

	sim_ledger_saw(&wallet->ledger, posted_micros);
	if (posted_micros != model) {
		sim_fault(wallet->sim, SIM_FAULT_POSTED,
		    "%s: posted %" PRId64 ", credits less costs are %" PRId64, wallet->company,
		    posted_micros, model);
	}
}

static void note_overspent(struct sim_wallet *wallet)
{
	struct sim_result *result = wallet->sim->result;
	int64_t overspent = sim_ledger_overspent_micros(&wallet->ledger);

	result->credited_micros += wallet->ledger.credited_micros;
	result->charged_micros += wallet->ledger.charged_micros;
	if (overspent == 0) {
		return;
	}
	if (wallet->is_excused) {
		result->excused_wallets++;
		result->excused_micros += overspent;
		return;
	}
	result->overspent_micros += overspent;
	if (overspent > result->overspent_max_micros) {
		result->overspent_max_micros = overspent;
	}
	sim_fault(wallet->sim, SIM_FAULT_OVERSPENT, "%s: %" PRId64 " micros below its credit",
	    wallet->company, overspent);
}

/* Whether nothing is held any more; the last time, whatever is counts as leaked. */
static bool is_even(struct sim_wallet *wallet, bool is_last)
{
	struct sim *sim = wallet->sim;
	const struct callgate_get_balance_response *balance;
	const struct callgate_error *error;
	struct callgate_get_balance_request request = {wallet->company};
	unsigned address = 0;

	while ((sim->dead_addresses & 1u << address) != 0) {
		address++;
	}
	(void)callgate_get_balance_sync(sim->clients[address], &request, &balance, &error);
	if (error != NULL) {
		if (is_last) {
			sim_fault(sim, SIM_FAULT_UNEXPECTED, "%s: balance: %s", wallet->company,
			    error->message);
		}
		return false;
	}
	if (!is_last && (balance->held_micros != 0 || balance->active_calls != 0)) {
		return false;
	}
	if (balance->held_micros != 0 || balance->active_calls != 0 ||
	    balance->accrued_micros != 0 || balance->burn_micros_per_minute != 0) {
		sim->result->leaked_micros += balance->held_micros;
		sim->result->leaked_calls += (uint64_t)balance->active_calls;
		sim_fault(sim, SIM_FAULT_LEAKED,
		    "%s: held %" PRId64 ", accrued %" PRId64 ", %" PRId64 " calls", wallet->company,
		    balance->held_micros, balance->accrued_micros, balance->active_calls);
	}
	note_posted(wallet, balance->posted_micros);
	return true;
}

static void find_unsettled(struct sim *sim)
{
	for (uint32_t i = 0; i < sim->call_count; i++) {
		const struct sim_call *call = sim->calls[i];

		if (call->is_settled && !call->told_settled) {
			sim_fault(sim, SIM_FAULT_UNSETTLED, "call %" PRIu32, call->serial);
		}
	}
}

void sim_check_wallets(struct sim *sim)
{
	int64_t end_ns = sim_now_ns() + (int64_t)EVEN_WITHIN_MS * SIM_MILLISECOND_NS;
	bool are_even = false;

	while (!are_even) {
		bool is_last = sim_now_ns() >= end_ns;

		are_even = true;
		for (uint32_t i = 0; i < sim->options.habits.companies; i++) {
			struct sim_wallet *wallet = &sim->wallets[i];

			wallet->is_even = wallet->is_even || is_even(wallet, is_last);
			are_even = are_even && (wallet->is_even || is_last);
		}
		sim_turn(sim, sim_now_ns() + (int64_t)SCAN_MS * SIM_MILLISECOND_NS);
	}
	for (uint32_t i = 0; i < sim->options.habits.companies; i++) {
		note_overspent(&sim->wallets[i]);
	}
	find_unsettled(sim);
}
