/* SPDX-License-Identifier: Apache-2.0 */
#include "store/ring.h"

#include <stdlib.h>

void cg_ring_init(struct cg_ring *ring, uint32_t limit)
{
	uint32_t slot_count = 2;

	CG_ASSERT(limit > 0 && limit < UINT32_MAX / 4);
	while (slot_count < limit + 1) {
		slot_count *= 2;
	}
	*ring = (struct cg_ring){
	    .slots = calloc(slot_count, sizeof *ring->slots),
	    .mask = slot_count - 1,
	    .limit = limit,
	    .earliest_ms = CG_RING_NEVER,
	};
	CG_ASSERT(ring->slots != NULL);
}

void cg_ring_deinit(struct cg_ring *ring)
{
	free(ring->slots);
}

static struct cg_slot *slot_at(struct cg_ring *ring, uint64_t n)
{
	return &ring->slots[n & ring->mask];
}

static void note_deadline(struct cg_ring *ring, const struct cg_slot *slot)
{
	if (slot->kind != CG_SLOT_OVER && slot->deadline_at_ms < ring->earliest_ms) {
		ring->earliest_ms = slot->deadline_at_ms;
	}
}

void cg_ring_push(struct cg_ring *ring, const struct cg_slot *slot)
{
	CG_ASSERT(ring->next - ring->first <= ring->mask);
	*slot_at(ring, ring->next++) = *slot;
	note_deadline(ring, slot);
}

bool cg_ring_pop(struct cg_ring *ring, struct cg_slot *ret_slot, bool *ret_was_sent)
{
	if (cg_ring_is_empty(ring)) {
		return false;
	}
	*ret_was_sent = ring->first < ring->unsent;
	*ret_slot = *slot_at(ring, ring->first++);
	if (ring->unsent < ring->first) {
		ring->unsent = ring->first;
	}
	if (cg_ring_is_empty(ring)) {
		ring->earliest_ms = CG_RING_NEVER;
	}
	return true;
}

static void look_again(struct cg_ring *ring)
{
	ring->earliest_ms = CG_RING_NEVER;
	for (uint64_t n = ring->first; n < ring->next; n++) {
		note_deadline(ring, slot_at(ring, n));
	}
}

bool cg_ring_next_overdue(
    struct cg_ring *ring, uint64_t now_ms, uint64_t *cursor, struct cg_slot *ret_slot)
{
	uint64_t n = *cursor < ring->first ? ring->first : *cursor;

	for (; n < ring->next; n++) {
		struct cg_slot *slot = slot_at(ring, n);

		if (slot->kind != CG_SLOT_OVER && slot->deadline_at_ms <= now_ms) {
			*ret_slot = *slot;
			slot->kind = CG_SLOT_OVER;
			slot->op = NULL;
			*cursor = n + 1;
			return true;
		}
	}
	look_again(ring);
	return false;
}
