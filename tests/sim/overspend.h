/*
 * The Promise (meter.md) as far as a world keeps its premises: what a wallet goes below its credit
 * by is what was let through where a premise failed, and nothing else.
 *
 * A deed is excused, and what it takes is let through, where the premises do not hold of it: a
 * charge; a call that was settled late, adopted, or revived; one that the store had not in the
 * ledger when it lost something or began to serve anew; whose Start did not come in time; that
 * went on after T* and the guard; and all that ran while the store's clock was set.  Of every
 * other call nothing is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_OVERSPEND_H
#define CG_SIM_OVERSPEND_H

void overspend_begin(void);
/* To be called every OVERSPEND_LOOK_MS: looks at every call, and checks every wallet. */
void overspend_look(void);

#define OVERSPEND_LOOK_MS 100

#endif /* CG_SIM_OVERSPEND_H */
