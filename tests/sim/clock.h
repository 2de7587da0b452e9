/*
 * The virtual clock: what is to happen, in order, and the loops of the sidecars on it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_CLOCK_H
#define CG_SIM_CLOCK_H

#include "loop/loop.h"
#include "sim.h"

struct sim_event;

/* Fires once, after so long; what is due at one instant fires in the order in which it was asked for. */
struct sim_event *sim_after(uint64_t delay_ms, void (*fire)(void *arg), void *arg);
/* Not once it has fired. */
void sim_cancel(struct sim_event *event);

/* Fires the next event and then every loop's hooks; false where there is none. */
bool sim_step(void);
/* The same, where there is one up to then. */
bool sim_step_before(uint64_t at_ms);

/* Forgets every event without firing it. */
void sim_clock_reset(void);

#endif /* CG_SIM_CLOCK_H */
