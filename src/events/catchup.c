/*
 * A watcher whose token lies before what the ring holds reads for himself, one partition
 * after the other and a batch at a time, and the next batch only when he has taken the one
 * before.  A few readings are under way at once for all of them together, and what they
 * hold is bounded.  Who waits for the same records takes them from the same reading: after a
 * restart everybody comes back at about the same place.
 *
 * A watcher that waits is in `hungry` (for a lane), has a lane (for the store), or is in
 * `resting` (after a reading that failed, until the ticker's next beat).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "events/events_internal.h"

#define READ_WAIT_MS    2000
#define BATCH_MAX       64
#define BATCH_BYTES_MAX (16u << 10)
#define BYTES_MAX       (4u << 20) /* of all batches: then no more is read */
#define PARTITION_NONE  UINT32_MAX
#define SHARERS_MAX     64 /* of one reading, beside the watcher whose it is */

static void on_read(struct cg_events_op *op);

/*
 * Whether what follows the mark is not in the ring, and can be read.  A mark that is ahead of
 * the reader may be of a history that is gone: the store knows.
 */
static bool lacks(struct cg_watcher *watcher, uint32_t partition)
{
	struct cg_events *events = watcher->events;
	const struct cg_part *part = &events->parts[partition];
	const struct cg_position *at = &cg_watcher__mark(watcher, partition)->at;

	return part->is_known && events->store->epoch(events->store, partition) != 0 &&
	    (!cg_position_reaches(at, &part->floor) || !cg_position_reaches(&part->head, at));
}

static uint32_t wanted_partition(struct cg_watcher *watcher)
{
	if (!watcher->all_companies) {
		return lacks(watcher, watcher->partition) ? watcher->partition : PARTITION_NONE;
	}
	for (uint32_t i = 0; i < watcher->events->store->partition_count; i++) {
		if (lacks(watcher, i)) {
			return i;
		}
	}
	return PARTITION_NONE;
}

bool cg_catchup__begin(struct cg_watcher *watcher)
{
	if (watcher->lane != NULL || !cg_list_is_empty(&watcher->hungry_link)) {
		return true;
	}
	if (wanted_partition(watcher) == PARTITION_NONE) {
		return false;
	}
	cg_list_append(&watcher->events->hungry, &watcher->hungry_link);
	cg_catchup__pump(watcher->events);
	return true;
}

static void read_for(struct cg_lane *lane, struct cg_watcher *watcher, uint32_t partition)
{
	struct cg_events *events = lane->events;

	lane->is_busy = true;
	lane->watcher = watcher;
	watcher->lane = lane;
	lane->op = (struct cg_events_op){
	    .verb = CG_EVENTS_READ,
	    .partition = partition,
	    .deadline_at_ms = cg_loop_now_ms(events->loop) + READ_WAIT_MS,
	    .in.read = {.after = cg_watcher__mark(watcher, partition)->at,
	        .events = events->batch,
	        .events_max = CG_READ_MAX},
	    .done = on_read,
	};
	events->store->submit(events->store, &lane->op);
}

static struct cg_lane *free_lane(struct cg_events *events)
{
	for (uint32_t i = 0; i < CG_CATCHUP_LANES; i++) {
		if (!events->lanes[i].is_busy) {
			return &events->lanes[i];
		}
	}
	return NULL;
}

void cg_catchup__pump(struct cg_events *events)
{
	while (!events->is_closed && !cg_list_is_empty(&events->hungry) &&
	    events->batches_bytes < BYTES_MAX) {
		struct cg_lane *lane = free_lane(events);
		if (lane == NULL) {
			return;
		}
		struct cg_watcher *watcher =
		    CG_CONTAINER_OF(cg_list_pop(&events->hungry), struct cg_watcher, hungry_link);
		uint32_t partition = wanted_partition(watcher);
		if (partition == PARTITION_NONE) {
			cg_watcher__make_ready(watcher);
		} else {
			read_for(lane, watcher, partition);
		}
	}
}

void cg_catchup__wake_resting(struct cg_events *events)
{
	for (struct cg_list *link = cg_list_pop(&events->resting); link != NULL;
	     link = cg_list_pop(&events->resting)) {
		cg_list_append(&events->hungry, link);
	}
	cg_catchup__pump(events);
}

static void give_back(struct cg_watcher *watcher, const struct cg_kept *kept)
{
	watcher->batch_bytes -= kept->bytes;
	watcher->events->batches_bytes -= kept->bytes;
}

struct cg_kept *cg_catchup__take(struct cg_watcher *watcher)
{
	struct cg_list *link = cg_list_pop(&watcher->batch);

	if (link == NULL) {
		return NULL;
	}
	struct cg_kept *kept = CG_CONTAINER_OF(link, struct cg_kept, link);
	give_back(watcher, kept);
	cg_catchup__pump(watcher->events);
	return kept;
}

void cg_catchup__drop(struct cg_watcher *watcher)
{
	struct cg_list *next = NULL;

	for (struct cg_list *link = watcher->batch.next; link != &watcher->batch; link = next) {
		struct cg_kept *kept = CG_CONTAINER_OF(link, struct cg_kept, link);
		next = link->next;
		give_back(watcher, kept);
		free(kept);
	}
	cg_list_init(&watcher->batch);
	cg_list_remove(&watcher->hungry_link);
	if (watcher->lane != NULL) {
		watcher->lane->watcher = NULL; /* It is free when the store has answered. */
		watcher->lane = NULL;
	}
	cg_catchup__pump(watcher->events);
}

/*
 * Copies what is for this watcher, as far as there is room for it: where there is more, the
 * next reading begins after the last one copied.
 */
static void take_batch(struct cg_watcher *watcher, const struct cg_events_op *op)
{
	uint32_t count = 0;

	const struct cg_position *at = &cg_watcher__mark(watcher, op->partition)->at;
	watcher->batch_partition = op->partition;
	watcher->batch_after = op->out.read.position;
	for (uint32_t i = 0; i < op->out.read.count; i++) {
		const struct cg_event *event = &op->in.read.events[i];
		if (!cg_watcher__wants(watcher, &event->company, event->type) ||
		    cg_position_reaches(at, &event->position)) {
			continue;
		}
		if (count == BATCH_MAX || watcher->batch_bytes >= BATCH_BYTES_MAX) {
			watcher->batch_after =
			    CG_CONTAINER_OF(watcher->batch.prev, struct cg_kept, link)
			        ->event.position;
			return;
		}
		struct cg_kept *kept = cg_kept__create(event);
		cg_list_append(&watcher->batch, &kept->link);
		watcher->batch_bytes += kept->bytes;
		watcher->events->batches_bytes += kept->bytes;
		count++;
	}
}

static void take_answer(struct cg_watcher *watcher, const struct cg_events_op *op)
{
	take_batch(watcher, op);
	if (cg_list_is_empty(&watcher->batch)) {
		cg_watcher__mark(watcher, op->partition)->at = watcher->batch_after;
	}
	cg_watcher__make_ready(watcher);
}

/* Whether the reading begins where this watcher is or before, and leads farther. */
static bool may_share(struct cg_watcher *watcher, const struct cg_events_op *op)
{
	if (wanted_partition(watcher) != op->partition) {
		return false;
	}
	const struct cg_position *at = &cg_watcher__mark(watcher, op->partition)->at;
	return cg_position_reaches(at, &op->in.read.after) &&
	    cg_position_reaches(&op->out.read.position, at) &&
	    !cg_position_equal(&op->out.read.position, at);
}

static void share(struct cg_events *events, const struct cg_events_op *op)
{
	struct cg_list *next = NULL;
	uint32_t looks = 0;

	for (struct cg_list *link = events->hungry.next;
	     link != &events->hungry && looks < SHARERS_MAX && events->batches_bytes < BYTES_MAX;
	     link = next, looks++) {
		struct cg_watcher *watcher = CG_CONTAINER_OF(link, struct cg_watcher, hungry_link);
		next = link->next;
		if (may_share(watcher, op)) {
			cg_list_remove(link);
			take_answer(watcher, op);
		}
	}
}

static void on_answer(struct cg_watcher *watcher, const struct cg_events_op *op)
{
	const struct cg_mark *mark = cg_watcher__mark(watcher, op->partition);

	if (op->status == CG_OUT_OF_RANGE) {
		cg_watcher__end(watcher, CG_WATCH_END_TOO_OLD);
		return;
	}
	/* Nothing, and no farther: the store is behind what the reader saw.  It will pass. */
	if (op->status != CG_OK ||
	    (op->out.read.count == 0 && cg_position_reaches(&mark->at, &op->out.read.position))) {
		cg_list_append(&watcher->events->resting, &watcher->hungry_link);
		return;
	}
	cg_ticker__saw_clock(watcher->events, op->now_ms);
	take_answer(watcher, op);
}

static void on_read(struct cg_events_op *op)
{
	struct cg_lane *lane = CG_CONTAINER_OF(op, struct cg_lane, op);
	struct cg_watcher *watcher = lane->watcher;

	lane->is_busy = false;
	lane->watcher = NULL;
	if (lane->events->is_closed) {
		return;
	}
	cg_reader__note_unreadable(lane->events, op);
	if (watcher != NULL) {
		watcher->lane = NULL;
		on_answer(watcher, op);
	}
	if (op->status == CG_OK) {
		share(lane->events, op);
	}
	cg_catchup__pump(lane->events);
}

void cg_catchup__join(struct cg_watcher *watcher)
{
	struct cg_events *events = watcher->events;

	watcher->state = CG_WATCHER_IN_RING;
	watcher->is_at_head = false;
	watcher->cursor = events->ring.oldest;
	for (uint32_t i = 0; i < events->store->partition_count; i++) {
		struct cg_part *part = &events->parts[i];
		if (!cg_watcher__follows(watcher, i)) {
			continue;
		}
		struct cg_mark *mark = cg_watcher__mark(watcher, i);
		mark->is_missing = !part->is_known || !cg_position_reaches(&mark->at, &part->floor);
		if (mark->is_missing) {
			part->was_served = false; /* The next tick that is answered tells us. */
		}
	}
}

void cg_catchup__leave_ring(struct cg_watcher *watcher)
{
	struct cg_events *events = watcher->events;

	if (!watcher->is_at_head && watcher->cursor < events->ring.oldest) {
		return; /* He has fallen out of it, and will be told so. */
	}
	cg_ring__positions(events, watcher->is_at_head ? events->ring.next : watcher->cursor);
	for (uint32_t i = 0; i < events->store->partition_count; i++) {
		if (!cg_watcher__follows(watcher, i) || !events->parts[i].is_known) {
			continue;
		}
		struct cg_mark *mark = cg_watcher__mark(watcher, i);
		if (!mark->is_missing && cg_position_reaches(&events->scratch[i], &mark->at)) {
			mark->at = events->scratch[i];
		}
	}
	watcher->state = CG_WATCHER_CATCHING_UP;
	watcher->is_at_head = false;
}
