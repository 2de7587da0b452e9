/*
 * The store as a server: it runs the function library on its memory, one call at a time,
 * and can lose what it acknowledged in every way that a Redis can.
 *
 * Every state after a write has a number.  What is lost is remembered by these numbers, so
 * that the invariants can tell what had to survive from what may be gone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_REDIS_H
#define CG_SIM_REDIS_H

#include "memory.h"
#include "sim.h"

void redis_begin(void);
void redis_end(void);

bool redis_is_up(void);

/* One command as RESP; the reply is valid until the next one. */
struct cg_view redis_execute(struct cg_view command);
/* The length of the first command; 0: it is not whole. */
size_t redis_command_bytes(struct cg_view bytes);

/* A new process on what was kept: all but the last `lost` writes. Down for so long. */
void redis_restart(uint64_t lost, uint64_t down_ms);
/* A new process on an old copy. */
void redis_restore_snapshot(uint64_t down_ms);
/* A replica that lacks the last `lost` writes takes over; what it replaces is set aside. */
void redis_promote(uint64_t lost);
/*
 * The former master is master again: resynchronized whole (its functions' memory is gone),
 * or in part (it is not, where nothing was lost), or, cut off meanwhile, with what it had.
 */
enum redis_return {
	REDIS_RESYNCED,
	REDIS_RESYNCED_IN_PART,
	REDIS_LEFT_BEHIND
};
bool redis_promote_back(enum redis_return how); /* false: there is no former master */
void redis_flushall(void);
void redis_reload_library(void);
void redis_jump_clock(int64_t ms);
/* For so long the partition's keys move to another node, one after the other; then back. */
void redis_move_keys(uint32_t partition, uint64_t for_ms);

/* By the store's clock. */
int64_t redis_now_ms(void);

const struct mem *redis_memory(void);
uint64_t redis_version(void);
/* Whether the write by which this entry came into being was ever lost; true where there is none. */
bool redis_entry_was_lost(uint32_t partition, uint64_t epoch, uint64_t n);
/* When the store last lost anything, and 0 where it never did. */
uint64_t redis_lost_at_ms(void);

/*
 * Whether a master that was left behind leads, with what its successor never had (from before, or
 * written since), and the partition was not recovered since: what of it waited for the ledger is
 * dropped with the rest.
 */
bool redis_is_fork(uint32_t partition);
void redis_was_recovered(uint32_t partition, uint64_t epoch);

#endif /* CG_SIM_REDIS_H */
