/*
 * The operations that wait for an answer, in the order in which they were sent: the store
 * answers in that order, and says nothing else about which answer is whose.
 *
 * An operation whose time is over is answered and leaves its slot behind, since its reply
 * will still come and must not be taken for the next one's.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_STORE_RING_H
#define CG_STORE_RING_H

#include "base/base.h"

#define CG_RING_NEVER UINT64_MAX

enum cg_slot_kind {
	CG_SLOT_OVER, /* nobody waits any more, or ever did (a ping) */
	CG_SLOT_STORE,
	CG_SLOT_PARTITION,
	CG_SLOT_EVENTS,
	CG_SLOT_KIND_COUNT
};

struct cg_slot {
	void *op; /* by kind: struct cg_store_op, struct cg_partition_op, struct cg_events_op */
	uint64_t deadline_at_ms;
	uint64_t pushed_at_ms;
	uint64_t epoch; /* under which it was sent */
	uint32_t partition;
	uint32_t followers; /* so many slots behind it are answered by the same reply */
	enum cg_slot_kind kind;
};

struct cg_ring {
	struct cg_slot *slots;
	uint32_t mask;
	uint32_t limit;
	/* Counted from the beginning of the process; slot n is slots[n & mask]. */
	uint64_t first;  /* the oldest unanswered */
	uint64_t unsent; /* the oldest of those not handed to the kernel */
	uint64_t next;
	/* No deadline is before this; it may be too early, never too late. */
	uint64_t earliest_ms;
};

/* `limit` slots for operations, and one more for a ping. */
void cg_ring_init(struct cg_ring *ring, uint32_t limit);
void cg_ring_deinit(struct cg_ring *ring);

static inline bool cg_ring_is_empty(const struct cg_ring *ring)
{
	return ring->first == ring->next;
}

static inline bool cg_ring_is_full(const struct cg_ring *ring)
{
	return ring->next - ring->first >= ring->limit;
}

/* When the oldest unanswered one, of whatever kind, was pushed; the ring must not be empty. */
static inline uint64_t cg_ring_oldest_at_ms(const struct cg_ring *ring)
{
	return ring->slots[ring->first & ring->mask].pushed_at_ms;
}

/* A full ring takes one ping more, no operation. */
void cg_ring_push(struct cg_ring *ring, const struct cg_slot *slot);

/* Everything pushed so far is on its way. */
static inline void cg_ring_sent(struct cg_ring *ring)
{
	ring->unsent = ring->next;
}

/* Takes the oldest out; false where there is none. */
bool cg_ring_pop(struct cg_ring *ring, struct cg_slot *ret_slot, bool *ret_was_sent);

/*
 * Walks over the slots: hands out one whose deadline is at or before `now_ms` and leaves an
 * OVER slot in its place.  *cursor is 0 at first; between two calls the ring may change.
 * False at the end; then earliest_ms is exact again.
 */
bool cg_ring_next_overdue(
    struct cg_ring *ring, uint64_t now_ms, uint64_t *cursor, struct cg_slot *ret_slot);

#endif /* CG_STORE_RING_H */
