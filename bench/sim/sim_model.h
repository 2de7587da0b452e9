/*
 * What the simulator believes of money and clocks, in integers: prices as the contract has
 * them, what a wallet must come to, and the store's clock as answers tell it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BENCH_SIM_MODEL_H
#define CG_BENCH_SIM_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include <callgate/client.h>

/* cost(d) of the contract. */
int64_t sim_cost_micros(const struct callgate_price *price, int64_t duration_ms);

/* What is billed of it: after minimum and increment; 0 of 0. */
int64_t sim_billed_ms(const struct callgate_price *price, int64_t duration_ms);

/* What a call that was authorized with `held` for `reserve_ms` keeps held once it runs. */
int64_t sim_headroom_micros(
    const struct callgate_price *price, int64_t held_micros, int64_t reserve_ms);

/* One wallet: what was answered about it. */
struct sim_ledger {
	int64_t credit_limit_micros;
	int64_t credited_micros;
	int64_t charged_micros;
	int64_t least_micros; /* of every posted balance that was answered */
};

void sim_ledger_saw(struct sim_ledger *ledger, int64_t posted_micros);

/* How far it was driven below -credit; 0: never. */
int64_t sim_ledger_overspent_micros(const struct sim_ledger *ledger);

/*
 * The store's clock over this machine's monotonic one, in nanoseconds: an answer that says
 * t was made no sooner than its request was sent and no later than it came back, so each
 * narrows the bounds.  All zeros knows nothing yet.
 */
struct sim_clock {
	bool is_known;
	int64_t least_ns;
	int64_t most_ns;
};

void sim_clock_saw(struct sim_clock *clock, int64_t as_of_ms, int64_t sent_ns, int64_t came_ns);

/* `local_ns` on the store's clock. */
int64_t sim_clock_store_ns(const struct sim_clock *clock, int64_t local_ns);

#endif /* CG_BENCH_SIM_MODEL_H */
