/*
 * What a watcher is told next: one message per step, and a bounded number of steps per turn
 * of the loop.  A step looks at a bounded number of the ring's slots.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "events/events_internal.h"

#define STEPS_PER_TURN 512
#define LOOKS_PER_STEP 1024

static void take_greater(struct cg_position *position, const struct cg_position *other)
{
	if (cg_position_reaches(other, position)) {
		*position = *other;
	}
}

/* How far it is in one partition, from what the ring says; false: that is not known yet. */
static bool is_told_up_to(
    struct cg_watcher *watcher, uint32_t partition, struct cg_position *position)
{
	const struct cg_part *part = &watcher->events->parts[partition];

	if (watcher->marks == NULL) {
		return part->is_known;
	}
	const struct cg_mark *mark = cg_watcher__mark(watcher, partition);
	if (watcher->state != CG_WATCHER_IN_RING || mark->is_missing || !part->is_known) {
		*position = mark->at;
	} else {
		take_greater(position, &mark->at);
	}
	return true;
}

/* Marks that the ring has gone past say nothing any more. */
static void drop_marks(struct cg_watcher *watcher)
{
	struct cg_events *events = watcher->events;
	uint32_t count = watcher->all_companies ? events->store->partition_count : 1;

	if (watcher->marks == NULL || watcher->state != CG_WATCHER_IN_RING) {
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		const struct cg_part *part =
		    &events->parts[watcher->all_companies ? i : watcher->partition];
		if (watcher->marks[i].is_missing || !part->is_known ||
		    !cg_position_reaches(&part->head, &watcher->marks[i].at)) {
			return;
		}
	}
	if (watcher->marks != &watcher->mark) {
		free(watcher->marks);
	}
	watcher->marks = NULL;
}

/* Whoever watches all companies and is at the head has the same token: it is made once. */
static bool is_shared(const struct cg_watcher *watcher)
{
	return watcher->is_at_head && watcher->marks == NULL;
}

static bool has_head_token(const struct cg_watcher *watcher)
{
	const struct cg_events *events = watcher->events;

	return is_shared(watcher) && events->head_token_len > 0 &&
	    events->head_token_version == events->head_version;
}

static struct cg_view token_of_all(struct cg_watcher *watcher)
{
	struct cg_events *events = watcher->events;
	uint32_t count = events->store->partition_count;

	if (has_head_token(watcher)) {
		return (struct cg_view){events->head_token_text, events->head_token_len};
	}
	for (uint32_t i = 0; i < count; i++) {
		if (!is_told_up_to(watcher, i, &events->scratch[i])) {
			return (struct cg_view){0};
		}
	}
	char *text = is_shared(watcher) ? events->head_token_text : events->token_text;
	size_t len = cg_token_format(count, CG_TOKEN_ALL, events->scratch, text);
	if (is_shared(watcher)) {
		events->head_token_len = len;
		events->head_token_version = events->head_version;
	}
	return (struct cg_view){text, len};
}

/* Where the ring says that this watcher is, into events->scratch; false: nowhere any more. */
static bool find_positions(struct cg_watcher *watcher, const struct cg_event *event)
{
	struct cg_events *events = watcher->events;

	if (watcher->state != CG_WATCHER_IN_RING) {
		return true; /* The marks alone count. */
	}
	if (!watcher->is_at_head && !watcher->all_companies && event != NULL) {
		events->scratch[watcher->partition] = event->position;
		return true;
	}
	if (!watcher->is_at_head) {
		if (watcher->cursor < events->ring.oldest) {
			return false;
		}
		cg_ring__positions(events, watcher->cursor);
		return true;
	}
	drop_marks(watcher);
	if (!watcher->all_companies) {
		events->scratch[watcher->partition] = events->parts[watcher->partition].head;
	} else if (!has_head_token(watcher)) {
		cg_ring__positions(events, events->ring.next);
	}
	return true;
}

/*
 * For a message with this event, or none: up to what has been delivered with it, and not
 * what the cursor points to.  Empty: that is not known yet.
 */
static struct cg_view token_with(struct cg_watcher *watcher, const struct cg_event *event)
{
	struct cg_events *events = watcher->events;

	if (!find_positions(watcher, event)) {
		return (struct cg_view){0};
	}
	if (watcher->all_companies) {
		return token_of_all(watcher);
	}
	struct cg_position *position = &events->scratch[watcher->partition];
	if (!is_told_up_to(watcher, watcher->partition, position)) {
		return (struct cg_view){0};
	}
	size_t len = cg_token_format(
	    events->store->partition_count, watcher->partition, position, events->token_text);
	return (struct cg_view){events->token_text, len};
}

/* Last: the watcher may be gone afterwards. */
static void deliver(struct cg_watcher *watcher, const struct cg_event *event, struct cg_view token)
{
	struct cg_watch_message message = {
	    .event = event, .resume_token = token, .as_of_ms = watcher->events->now_ms};

	watcher->is_under_way = true;
	watcher->is_token_owed = token.len == 0;
	cg_timing__delivered(watcher);
	if (token.len > 0) {
		watcher->token_at_ms = watcher->delivered_at_ms;
	}
	watcher->sink.deliver(watcher->owner, &message);
}

static void beat(struct cg_watcher *watcher)
{
	deliver(watcher, NULL, token_with(watcher, NULL));
}

/* A token for all partitions is long: not with every event, but as often as heartbeats. */
static bool wants_token(const struct cg_watcher *watcher, bool has_caught_up)
{
	return has_caught_up || !watcher->all_companies ||
	    cg_loop_now_ms(watcher->events->loop) - watcher->token_at_ms >=
	    watcher->events->config.heartbeat_ms;
}

static void deliver_event(
    struct cg_watcher *watcher, const struct cg_event *event, bool has_caught_up)
{
	bool is_wanted = wants_token(watcher, has_caught_up);

	deliver(watcher, event, is_wanted ? token_with(watcher, event) : (struct cg_view){0});
}

/*
 * Moves the cursor to the next event that is for this watcher, or to the head.  False: there
 * was more to look at than one step may.
 */
static bool look(struct cg_watcher *watcher)
{
	struct cg_events *events = watcher->events;

	for (uint32_t looks = 0; looks < LOOKS_PER_STEP; looks++) {
		if (watcher->cursor == events->ring.next) {
			watcher->is_at_head = true;
			return true;
		}
		if (cg_watcher__matches(watcher, cg_ring__slot(events, watcher->cursor))) {
			return true;
		}
		watcher->cursor++;
	}
	return false;
}

static bool owes_beat(struct cg_watcher *watcher)
{
	return watcher->is_beat_due ||
	    (watcher->is_token_owed && token_with(watcher, NULL).len > 0);
}

static void step_in_ring(struct cg_watcher *watcher)
{
	struct cg_events *events = watcher->events;

	if (!watcher->is_at_head && watcher->cursor < events->ring.oldest) {
		cg_watcher__end(watcher, CG_WATCH_END_TOO_SLOW);
		return;
	}
	if (!watcher->is_at_head && !look(watcher)) {
		cg_watcher__make_ready(watcher);
		return;
	}
	if (watcher->is_at_head) {
		if (owes_beat(watcher)) {
			beat(watcher);
		}
		return;
	}
	const struct cg_event *event = &cg_ring__slot(events, watcher->cursor)->kept->event;
	watcher->cursor++;
	(void)look(watcher); /* Whether it is the last one, and what the ring must keep for it. */
	deliver_event(watcher, event, watcher->is_at_head);
}

/* Past this event, or past all that was read where it was the last of the batch. */
static void move_mark(struct cg_watcher *watcher, const struct cg_event *event)
{
	cg_watcher__mark(watcher, watcher->batch_partition)->at =
	    cg_list_is_empty(&watcher->batch) ? watcher->batch_after : event->position;
}

static void step_catching_up(struct cg_watcher *watcher)
{
	struct cg_kept *kept = cg_catchup__take(watcher);

	if (kept != NULL) {
		move_mark(watcher, &kept->event);
		deliver_event(watcher, &kept->event, cg_list_is_empty(&watcher->batch));
		free(kept);
		return;
	}
	if (cg_catchup__begin(watcher)) {
		if (watcher->is_beat_due) {
			beat(watcher);
		}
		return;
	}
	cg_catchup__join(watcher);
	step_in_ring(watcher);
}

static void step(struct cg_watcher *watcher)
{
	switch (watcher->state) {
	case CG_WATCHER_NEW:
		watcher->state =
		    watcher->marks == NULL ? CG_WATCHER_IN_RING : CG_WATCHER_CATCHING_UP;
		beat(watcher);
		return;
	case CG_WATCHER_CATCHING_UP:
		step_catching_up(watcher);
		return;
	case CG_WATCHER_IN_RING:
		step_in_ring(watcher);
		return;
	}
	CG_UNREACHABLE();
}

void cg_telling__on_turn(void *owner)
{
	struct cg_events *events = owner;

	for (uint32_t steps = 0; steps < STEPS_PER_TURN; steps++) {
		struct cg_list *link = cg_list_pop(&events->ready);
		if (link == NULL) {
			return;
		}
		step(CG_CONTAINER_OF(link, struct cg_watcher, ready_link));
	}
	if (!cg_list_is_empty(&events->ready)) {
		cg_hook_request(events->pump);
	}
}
