/*
 * What the simulator has to do later: a heap by due time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BENCH_SIM_TIMERS_H
#define CG_BENCH_SIM_TIMERS_H

#include <stddef.h>
#include <stdint.h>

struct sim_timer {
	int64_t due_ns;
	uint64_t number; /* equal times fire in the order in which they were set */
	void (*fire)(void *context);
	void *context;
};

/* All zeros is an empty one. */
struct sim_timers {
	struct sim_timer *heap;
	size_t count;
	size_t room;
	uint64_t set_count;
};

void sim_timers_deinit(struct sim_timers *timers);

/* It fires once and cannot be taken back: what it finds then tells it whether it is still wanted. */
void sim_timers_set(
    struct sim_timers *timers, int64_t due_ns, void (*fire)(void *context), void *context);

/* When the next one is due; INT64_MAX where there is none. */
int64_t sim_timers_next_ns(const struct sim_timers *timers);

/* Fires what is due by `now_ns`, in order; those set meanwhile wait for the next time. */
void sim_timers_fire(struct sim_timers *timers, int64_t now_ns);

#endif /* CG_BENCH_SIM_TIMERS_H */
