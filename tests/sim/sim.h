/*
 * The simulation: callgate's own state machines on a virtual clock, before a store and a
 * ledger that lose, delay and forget.  One seed is one world; equal seeds give equal worlds.
 *
 * What every file here shares: the numbers of a seed, the trace, and the list of what went
 * wrong.  One world at a time, in one thread: so it is one variable.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_SIM_H
#define CG_SIM_SIM_H

#include "base/base.h"
#include "base/random.h"
#include "rules.h"

#define SIM_PARTITIONS 2
#define SIM_COMPANIES  4
#define SIM_SIDECARS   2

struct profile;

struct sim {
	uint64_t seed;
	const struct profile *profile; /* what its world is like */
	struct cg_random random;
	uint64_t now_ms;
	bool has_faults;     /* false while everything heals at the end */
	bool is_traced;      /* every line as it comes, not only the last ones of a failed seed */
	uint32_t violations; /* of invariants */
	struct cg_uuid companies[SIM_COMPANIES];
	uint64_t events;  /* fired */
	uint64_t answers; /* requests of callers that were answered */
};

extern struct sim sim;

/* A number in [0, bound). */
uint64_t sim_below(uint64_t bound);
/* True in so many of a thousand cases. */
bool sim_permille(unsigned chances);
/* True in so many of a thousand cases while there are faults, else never. */
bool sim_fault(unsigned chances);

/* Where the company stands in sim.companies; SIM_COMPANIES: nowhere. */
uint32_t sim_company_of(const void *bytes);

/* trace.c */
__attribute__((format(printf, 1, 2))) void sim_trace(const char *format, ...);
/* An invariant does not hold: the seed fails, and goes on. */
__attribute__((format(printf, 1, 2))) void sim_violated(const char *format, ...);
/* The first violations and the last lines of the trace. */
void sim_trace_print(void);
void sim_trace_reset(void);

#endif /* CG_SIM_SIM_H */
