/*
 * Both intervals are the same for all watchers, so that a list in the order of delivery is
 * in the order of what is due.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "events/events_internal.h"

static void wake_at(struct cg_events *events, uint64_t at_ms)
{
	uint64_t now_ms = cg_loop_now_ms(events->loop);

	if (!cg_timer_is_running(events->watch_timer) || at_ms < events->watch_timer_at_ms) {
		events->watch_timer_at_ms = at_ms;
		cg_timer_start(events->watch_timer, at_ms > now_ms ? at_ms - now_ms : 0);
	}
}

void cg_timing__delivered(struct cg_watcher *watcher)
{
	struct cg_events *events = watcher->events;
	uint64_t now_ms = cg_loop_now_ms(events->loop);

	watcher->delivered_at_ms = now_ms;
	watcher->is_beat_due = false;
	cg_list_remove(&watcher->beat_link);
	cg_list_append(&events->beats, &watcher->beat_link);
	cg_list_remove(&watcher->slow_link);
	cg_list_append(&events->slows, &watcher->slow_link);
	wake_at(events, now_ms + events->config.heartbeat_ms);
	wake_at(events, now_ms + events->config.slow_ms);
}

/* A watcher whose message is under way comes back by cg_watcher_sent(). */
static void find_due_beats(struct cg_events *events, uint64_t now_ms)
{
	while (!cg_list_is_empty(&events->beats)) {
		struct cg_watcher *watcher =
		    CG_CONTAINER_OF(events->beats.next, struct cg_watcher, beat_link);
		uint64_t due_at_ms = watcher->delivered_at_ms + events->config.heartbeat_ms;
		if (due_at_ms > now_ms) {
			wake_at(events, due_at_ms);
			return;
		}
		cg_list_remove(&watcher->beat_link);
		watcher->is_beat_due = true;
		cg_watcher__make_ready(watcher);
	}
}

static void end_slow(struct cg_events *events, uint64_t now_ms)
{
	while (!cg_list_is_empty(&events->slows)) {
		struct cg_watcher *watcher =
		    CG_CONTAINER_OF(events->slows.next, struct cg_watcher, slow_link);
		uint64_t due_at_ms = watcher->delivered_at_ms + events->config.slow_ms;
		if (due_at_ms > now_ms) {
			wake_at(events, due_at_ms);
			return;
		}
		cg_watcher__end(watcher, CG_WATCH_END_TOO_SLOW);
	}
}

void cg_timing__on_timer(void *owner)
{
	struct cg_events *events = owner;
	uint64_t now_ms = cg_loop_now_ms(events->loop);

	find_due_beats(events, now_ms);
	end_slow(events, now_ms);
}
