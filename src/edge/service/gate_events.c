/*
 * What the gate tells of calls: which to warn and to cut off, which have ended, which to look at.
 *
 * A stream that ends is opened again, from now on: what is still exhausted is told again within
 * seconds, and what was overdue meanwhile is found by its row.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "edge/service/edge.h"

#define REOPEN_MS 1000

struct cg_gate_events {
	struct cg_edge *edge;
	struct callgate_watch *watch;
	struct cg_timer *reopen;
	bool is_stopped;
};

static const enum callgate_event_type watched[] = {CALLGATE_EVENT_TYPE_CUT_OFF,
    CALLGATE_EVENT_TYPE_CUT_WARNING, CALLGATE_EVENT_TYPE_CALL_OVERDUE,
    CALLGATE_EVENT_TYPE_CALL_EXPIRED, CALLGATE_EVENT_TYPE_CALL_STOPPED,
    CALLGATE_EVENT_TYPE_CALL_SETTLED, CALLGATE_EVENT_TYPE_CALL_CANCELLED};

static bool is_end(enum callgate_event_type type)
{
	return type == CALLGATE_EVENT_TYPE_CALL_STOPPED ||
	    type == CALLGATE_EVENT_TYPE_CALL_SETTLED || type == CALLGATE_EVENT_TYPE_CALL_CANCELLED;
}

static void on_event(struct cg_edge *edge, const struct callgate_event *event)
{
	/* Not all enumerators: others were not asked for. */
	if (event->type == CALLGATE_EVENT_TYPE_CALL_OVERDUE ||
	    event->type == CALLGATE_EVENT_TYPE_CALL_EXPIRED) {
		cg_edge_look_soon(edge, event->call_id, event->company_id, 1);
	} else if (is_end(event->type)) {
		cg_live_ended(edge->live, event->call_id);
	} else if (event->shadow) {
		return; /* To record, not to obey. */
	} else if (event->type == CALLGATE_EVENT_TYPE_CUT_OFF) {
		cg_live_cut(edge->live, event->call_id, event->call_id, event->company_id);
	} else if (event->type == CALLGATE_EVENT_TYPE_CUT_WARNING) {
		cg_live_warn(edge->live, event->call_id, event->call_id, event->company_id);
	}
}

static void on_message(void *context, const struct callgate_watch_response *message)
{
	const struct cg_gate_events *events = context;

	if (message->event != NULL) {
		on_event(events->edge, message->event);
	}
}

static void on_end(void *context, const struct callgate_error *error)
{
	struct cg_gate_events *events = context;

	events->watch = NULL;
	if (!events->is_stopped) {
		cg_log(CG_LOG_WARN, "the gate's events stopped", "why", error->message, NULL);
		cg_timer_start(events->reopen, REOPEN_MS);
	}
}

static void open_watch(void *owner)
{
	struct cg_gate_events *events = owner;
	struct callgate_watch_request request = {
	    .types = watched, .type_count = CG_COUNT_OF(watched)};

	if (callgate_watch_open(events->edge->books, &request, on_message, on_end, events,
	        &events->watch) != CALLGATE_ACCEPTED) {
		cg_timer_start(events->reopen, REOPEN_MS);
	}
}

struct cg_gate_events *cg_gate_events_create(struct cg_edge *edge)
{
	struct cg_gate_events *events = calloc(1, sizeof *events);

	CG_ASSERT(events != NULL);
	events->edge = edge;
	events->reopen = cg_timer_create(edge->loop, open_watch, events);
	return events;
}

void cg_gate_events_start(struct cg_gate_events *events)
{
	open_watch(events);
}

void cg_gate_events_stop(struct cg_gate_events *events)
{
	events->is_stopped = true;
	cg_timer_close(events->reopen);
	if (events->watch != NULL) {
		callgate_watch_close(events->watch);
		events->watch = NULL;
	}
}

void cg_gate_events_destroy(struct cg_gate_events *events)
{
	free(events);
}
