/*
 * What can go wrong, one by one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_STRIKES_H
#define CG_SIM_STRIKES_H

#include <stdint.h>

/* X(value, function, of so many among all where none is favoured) */
#define STRIKES(X)                                                                                 \
	X(CRASH_ONE, crash_one, 9)                                                                 \
	X(CRASH_ALL, crash_all, 3)                                                                 \
	X(RESTART_STORE, restart_store, 12)                                                        \
	X(RESTORE_STORE, restore_store, 5)                                                         \
	X(PROMOTE, promote, 8)                                                                     \
	X(PROMOTE_BACK, promote_back, 6)                                                           \
	X(FLUSHALL, flushall, 5)                                                                   \
	X(RELOAD, reload, 3)                                                                       \
	X(JUMP_CLOCK, jump_clock, 5)                                                               \
	X(CUT_STORE, cut_store, 6)                                                                 \
	X(RESTART_LEDGER, restart_ledger, 8)                                                       \
	X(FAIL_OVER_LEDGER, fail_over_ledger, 8)                                                   \
	X(CUT_LEDGER, cut_ledger, 4)                                                               \
	X(LONG_OUTAGE, long_outage, 3)                                                             \
	X(STALL, stall, 4)                                                                         \
	X(STALL_AND_LOSE, stall_and_lose, 9)                                                       \
	X(FORK_STORE, fork_store, 6)                                                               \
	X(PROMOTE_NEARLY, promote_nearly, 3)                                                       \
	X(SET_TRAP, set_trap, 20)                                                                  \
	X(LATE_WORDS, late_words, 3)                                                               \
	X(LATE_READING, late_reading, 3)                                                           \
	X(BOUNCE, bounce, 3)                                                                       \
	X(LAGGING_STANDBY, lagging_standby, 3)                                                     \
	X(SLOW_STORE, slow_store, 3)                                                               \
	X(FORK_UNFLUSHED, fork_unflushed, 3)                                                       \
	X(FORK_DROPPED, fork_dropped, 3)                                                           \
	X(LATE_FLUSH, late_flush, 3)                                                               \
	X(LOSE_RECOVERY, lose_recovery, 3)                                                         \
	X(FAIL_OVER_TWICE, fail_over_twice, 3)                                                     \
	X(POISON, poison, 4)                                                                       \
	X(MOVE_KEYS, move_keys, 3)

enum strike {
#define X(value, function, weight) STRIKE_##value,
	STRIKES(X)
#undef X
	STRIKE_COUNT
};

void strikes_begin(void);
void strikes_strike(enum strike strike);
/* One of all, by their weights. */
enum strike strikes_any(void);
/* A strike that waits for a sidecar to come to some step of a recovery. */
void strikes_set_trap(void);
/* Where a sidecar has come to the step that a trap waits for, it strikes. */
void strikes_look(void);
/* Nothing that was begun goes on, and whoever is down comes back. */
void strikes_end(void);
/* How far a sidecar's idea of the store's clock may be off by now. */
uint64_t strikes_clock_slack_ms(void);

#endif /* CG_SIM_STRIKES_H */
