/*
 * The store's clock, as its answers tell it: so that an instant of ours can be named on it
 * (not_after), and never a later one than is meant.
 *
 * An answer that says "it is S" to a question asked at A and answered at B, on our clock,
 * proves that the store's clock is ahead of ours by S - B at least, and S - A at most.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_STORE_CLOCK_H
#define CG_STORE_CLOCK_H

#include "base/base.h"

struct cg_store_clock {
	bool is_known;
	int64_t ahead_ms; /* the store's clock less ours: rather too little than too much */
};

/*
 * `is_certain`: S is the clock itself.  Else it may be a wallet's last instant, which is ahead
 * of a clock that was set back; what is more than a second ahead of all before is not believed.
 */
void cg_store_clock_learn(struct cg_store_clock *clock, int64_t said_ms, uint64_t asked_at_ms,
    uint64_t answered_at_ms, bool is_certain);

/* `at_ms` of our clock on the store's, or 0 where that is not known. */
int64_t cg_store_clock_at(const struct cg_store_clock *clock, uint64_t at_ms);

#endif /* CG_STORE_CLOCK_H */
