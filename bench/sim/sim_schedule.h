/*
 * What happens to the simulator's companies and calls, apart from what the gate answers.
 *
 * Every company has a generator for each purpose, and every call one of its own, all of
 * them drawn from the seed: equal options give the same arrivals, talks, faults and top-ups
 * in every run, whatever the gate decides and however long it takes.
 *
 * Hostile acts, and the Promise of the meter (posted >= -credit).  Its premises: every talk
 * ends by T* + guard; a Start reaches the gate at most R (the reserved talk time) after the
 * talk began; no charged duration is longer than its talk; nothing but calls that are held
 * takes from the wallet.
 *
 * These keep every premise (--hostile honest, the default):
 *   - anything repeated: every step is idempotent;
 *   - a Start that is late by less than R, names the instant of its start and comes within the
 *     ring lease;
 *   - a Start that is lost, of a talk no longer than R whose Settle comes within the lease:
 *     the hold, which is there until then, pays for the whole of it;
 *   - Settles that are late, or lost until the provider is asked; Stops that never come;
 *   - hang-ups while it rings, and silence: the lease gives the hold back;
 *   - top-ups at any time; any wallet running dry; any sidecar killed.
 *
 * These drop a premise (--hostile full: every fourth company), and excuse an overspend of
 * their wallet, of nobody else's:
 *   DEAF    does not obey CUT_OFF: the talk ends past T* + guard
 *   UNSAID  the late Start does not name its instant: seconds of talk that nobody accrues
 *   LOST    the Start is lost however long the talk: nothing burns, nothing is cut off
 *   UNHELD  the call was never authorized: its Settle charges what nobody held
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BENCH_SIM_SCHEDULE_H
#define CG_BENCH_SIM_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

struct sim_habits {
	uint64_t seed;
	uint32_t companies;
	double calls_per_second; /* of all companies together */
	int64_t talk_mean_ms;
	int64_t ring_max_ms;
	int64_t reserve_ms; /* R */
	int64_t topup_mean_ms;
	int64_t topup_mean_micros;

	/* Shares, 0..1. */
	double duplicate; /* of all requests */
	double late;      /* of Starts, of Settles */
	double lost;      /* of Starts, of Settles */
	double hangup;    /* of calls: while it rings */
	double silent;    /* of calls: nobody answers, and nobody says so */
	double hostile;   /* of calls: one of the acts above that drop a premise */
};

enum sim_ending {
	SIM_ANSWERED, /* there is a talk */
	SIM_HANGUP,   /* cancelled while it rings */
	SIM_SILENT,   /* left to its ring lease */
};

enum sim_fate {
	SIM_ON_TIME,
	SIM_LATE,
	SIM_LOST,
};

enum sim_act {
	SIM_HONEST,
	SIM_DEAF,
	SIM_UNSAID,
	SIM_LOST_START,
	SIM_UNHELD,
	SIM_ACT_COUNT,
};

/* What one step of a call has coming; each is asked of sim_call_plan, below. */
enum sim_step {
	SIM_AUTHORIZE,
	SIM_START,
	SIM_STOP,
	SIM_SETTLE,
	SIM_CANCEL,
	SIM_CREDIT,
	SIM_STEP_COUNT,
};

extern const char *const sim_step_names[SIM_STEP_COUNT];

/* One call, drawn before it begins. */
struct sim_call_plan {
	enum sim_ending ending;
	enum sim_act act;
	unsigned destination; /* index into sim_destinations */
	bool starts_at_once;  /* Authorize with start */
	bool stops;           /* the end of the talk is told before the bill */
	int64_t ring_ms;
	int64_t talk_ms; /* where nobody cuts it off */
	enum sim_fate start;
	int64_t start_delay_ms; /* below R, of a late one */
	enum sim_fate settle;
	int64_t settle_delay_ms; /* after the talk */
	uint32_t route;          /* a bit for each step: by which sidecar */
	struct {
		bool is_repeated;
		int64_t after_ms;
	} copies[SIM_STEP_COUNT];
};

extern const char *const sim_destinations[];
unsigned sim_destination_count(void);

/* Of one purpose of one company; draws are only comparable between equal builds. */
enum sim_purpose {
	SIM_ARRIVALS,
	SIM_TOPUPS,
	SIM_CALLS,
};
void sim_random_of(
    struct cg_random *random, uint64_t seed, uint32_t company, enum sim_purpose purpose);

/* In [0, 1). */
double sim_random_share(struct cg_random *random);

/* Exponential, rounded down, at most 50 times the mean. */
int64_t sim_random_exponential(struct cg_random *random, double mean);

/* The gap before a company's next call: Poisson arrivals. */
int64_t sim_next_arrival_ms(const struct sim_habits *habits, struct cg_random *arrivals);

/* The `serial`th call of a company, which depends on nothing else. */
void sim_plan_call(const struct sim_habits *habits, uint32_t company, uint32_t serial,
    struct sim_call_plan *ret_plan);

/*
 * A Start that was to be lost is late instead where that would drop a premise: the talk is
 * longer than R, or its Settle would come after the lease.  `lease_left_ms` counts from the
 * beginning of the talk.
 */
enum sim_fate sim_start_fate(
    const struct sim_habits *habits, const struct sim_call_plan *plan, int64_t lease_left_ms);

#endif /* CG_BENCH_SIM_SCHEDULE_H */
