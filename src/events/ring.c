/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "events/events_internal.h"

static struct cg_view keep(char **at, struct cg_view view)
{
	char *to = *at;

	if (view.len > 0) {
		memcpy(to, view.data, view.len);
	}
	*at += view.len;
	return (struct cg_view){to, view.len};
}

struct cg_kept *cg_kept__create(const struct cg_event *event)
{
	size_t bytes = sizeof(struct cg_kept) + event->call_id.len + event->reference_id.len +
	    event->meta.pairs.len;
	struct cg_kept *kept = malloc(bytes);

	CG_ASSERT(kept != NULL);
	kept->event = *event;
	kept->bytes = bytes;
	cg_list_init(&kept->link);
	char *at = kept->data;
	kept->event.call_id = keep(&at, event->call_id);
	kept->event.reference_id = keep(&at, event->reference_id);
	kept->event.meta.pairs = keep(&at, event->meta.pairs);
	return kept;
}

void cg_ring__init(struct cg_events *events)
{
	CG_ASSERT(events->config.kept_max > 0);
	events->ring.slots = calloc(events->config.kept_max, sizeof *events->ring.slots);
	CG_ASSERT(events->ring.slots != NULL);
}

static struct cg_ring_slot *slot_of(const struct cg_events *events, uint64_t number)
{
	return &events->ring.slots[number % events->config.kept_max];
}

const struct cg_ring_slot *cg_ring__slot(const struct cg_events *events, uint64_t number)
{
	return slot_of(events, number);
}

/* From here on the ring holds less of that partition. */
static void evict(struct cg_events *events)
{
	struct cg_ring *ring = &events->ring;
	struct cg_ring_slot *slot = slot_of(events, ring->oldest);
	struct cg_part *part = &events->parts[slot->partition];

	if (ring->oldest >= part->since) {
		part->floor = slot->kept->event.position;
	}
	ring->bytes -= slot->kept->bytes;
	free(slot->kept);
	slot->kept = NULL;
	ring->oldest++;
}

void cg_ring__deinit(struct cg_events *events)
{
	while (events->ring.oldest < events->ring.next) {
		evict(events);
	}
	free(events->ring.slots);
}

/* Of these, those who had seen everything before `number`. */
static void wake(struct cg_list *watchers, uint64_t number, const struct cg_ring_slot *slot)
{
	for (struct cg_list *link = watchers->next; link != watchers; link = link->next) {
		struct cg_watcher *watcher = CG_CONTAINER_OF(link, struct cg_watcher, index_link);

		if (watcher->is_at_head && cg_watcher__matches(watcher, slot)) {
			watcher->is_at_head = false;
			watcher->cursor = number;
			cg_watcher__make_ready(watcher);
		}
	}
}

void cg_ring__append(struct cg_events *events, const struct cg_event *event)
{
	struct cg_ring *ring = &events->ring;
	struct cg_part *part = &events->parts[event->partition];
	struct cg_kept *kept = cg_kept__create(event);

	while (ring->oldest < ring->next &&
	    (ring->next - ring->oldest >= events->config.kept_max ||
	        ring->bytes + kept->bytes > events->config.kept_bytes)) {
		evict(events);
	}

	uint64_t number = ring->next++;
	struct cg_ring_slot *slot = slot_of(events, number);
	kept->before = part->head;
	*slot = (struct cg_ring_slot){
	    .kept = kept,
	    .company = event->company,
	    .partition = event->partition,
	    .type = (uint32_t)event->type,
	};
	ring->bytes += kept->bytes;
	part->head = event->position;
	events->head_version++;
	wake(cg_watcher__bucket(events, &event->company), number, slot);
	wake(&events->watch_alls, number, slot);
}

void cg_ring__positions(struct cg_events *events, uint64_t number)
{
	CG_ASSERT(number >= events->ring.oldest);
	for (uint32_t i = 0; i < events->store->partition_count; i++) {
		events->scratch[i] = events->parts[i].head;
	}
	/* Backwards, so that the first of each partition is what remains. */
	for (uint64_t at = events->ring.next; at > number; at--) {
		const struct cg_ring_slot *slot = slot_of(events, at - 1);
		events->scratch[slot->partition] = slot->kept->before;
	}
}
