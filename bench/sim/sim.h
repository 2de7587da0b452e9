/*
 * callgate-sim: companies that speak the domain with running sidecars, in real time.
 *
 * Companies prepay, calls arrive, ring, talk, hang up; requests are repeated, late or lost;
 * wallets run dry all the time and are topped up in the middle.  A call of an exhausted
 * wallet ends its talk a reaction time after its CUT_OFF came, and in no other way before
 * its natural end.  In the end everything is settled, and what the gate says of money, holds
 * and costs is held against the simulator's own model.  Which of this keeps the premises of
 * the meter's Promise stands in sim_schedule.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BENCH_SIM_H
#define CG_BENCH_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <callgate/client.h>

#include "histogram.h"
#include "sim/sim_schedule.h"

enum {
	SIM_ADDRESSES_MAX = 4,
	SIM_DECISION_COUNT = CALLGATE_DECISION_DENIED_BARRED + 1,
	SIM_STATUS_COUNT = CALLGATE_STATUS_UNAUTHENTICATED + 1,
};

struct sim_options {
	const char *addresses[SIM_ADDRESSES_MAX];
	unsigned address_count;
	const char *token;
	const char *plan;
	struct sim_habits habits;
	double seconds;
	int64_t reaction_ms; /* from a CUT_OFF's arrival to the end of the talk */
	double kill_second;  /* kill -9 the last address's sidecar then; 0: nobody */
	bool json;
};

/* What is wrong with the gate; each is counted, the first few are told on stderr. */
enum sim_fault {
	SIM_FAULT_OVERSPENT,  /* wallets that no hostile act excuses */
	SIM_FAULT_LEAKED,     /* wallets that hold money or count calls after the last has ended */
	SIM_FAULT_POSTED,     /* wallets whose posted balance is not credits less costs */
	SIM_FAULT_COST,       /* settles with another cost, duration or state than the model's */
	SIM_FAULT_TWICE,      /* calls with a second ledger entry */
	SIM_FAULT_UNSETTLED,  /* settled calls of which the watch never told */
	SIM_FAULT_NOT_CUT,    /* calls metered on a dry wallet that no CUT_OFF reached */
	SIM_FAULT_EARLY,      /* CUT_OFFs before T* */
	SIM_FAULT_UNEXPECTED, /* answers that the contract does not allow there */
	SIM_FAULT_WATCH,      /* streams that ended for good */
	SIM_FAULT_UNFINISHED, /* calls that could not be brought to an end */
	SIM_FAULT_COUNT,
};

extern const char *const sim_fault_names[SIM_FAULT_COUNT];

struct sim_result {
	double seconds; /* of traffic, without the drain */
	uint64_t calls;
	uint64_t talks;
	uint64_t settled;
	uint64_t credits;
	uint64_t copies;  /* requests sent twice on purpose */
	uint64_t retries; /* UNAVAILABLE and the like, sent again */
	uint64_t acts[SIM_ACT_COUNT];
	uint64_t starts[SIM_LOST + 1]; /* by fate */
	uint64_t settles[SIM_LOST + 1];
	uint64_t decisions[SIM_DECISION_COUNT];
	struct cg_histogram authorize; /* how long an answer took */

	int64_t credited_micros;
	int64_t charged_micros;
	int64_t overspent_micros; /* unexcused; sum and greatest of the wallets */
	int64_t overspent_max_micros;
	uint64_t excused_wallets; /* overspent after an act that drops a premise */
	int64_t excused_micros;
	int64_t leaked_micros;
	uint64_t leaked_calls;

	uint64_t cut_offs; /* first ones */
	uint64_t repeats;
	uint64_t warnings;
	uint64_t lows;
	uint64_t expired;
	uint64_t leases_over;         /* silent calls whose lease ended in time to be told */
	struct cg_histogram lateness; /* of the first CUT_OFF after T* */
	struct cg_histogram outlived; /* how long the talk went on after T* */

	uint64_t faults[SIM_FAULT_COUNT];
};

struct sim;

/* NULL after having said why on stderr. */
struct sim *sim_create(const struct sim_options *options);
void sim_destroy(struct sim *sim);

/* Makes the wallets and opens the watches.  False after having said why on stderr. */
bool sim_prepare(struct sim *sim);

/* The traffic, the drain, the reckoning. */
void sim_run(struct sim *sim, struct sim_result *ret_result);

bool sim_is_sound(const struct sim_result *result);

void sim_print(FILE *to, const struct sim_options *options, const struct sim_result *result);

#endif /* CG_BENCH_SIM_H */
