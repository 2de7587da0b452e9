/*
 * The invariants of ledger.md, in one place.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_INVARIANTS_H
#define CG_SIM_INVARIANTS_H

#include "sim.h"

/* What is true at every instant at which store and ledger are of one history. */
void invariants_check_now(void);

/* Nothing waits any more; nobody has repeated anything yet: what was acknowledged is there. */
void invariants_check_acknowledged(void);

/* Everything was said again and answered: both stores hold exactly what it amounts to. */
void invariants_check_end(void);

/* Whether every entry of the store is in the ledger, and every receipt has its entry. */
bool invariants_are_drained(void);

#endif /* CG_SIM_INVARIANTS_H */
