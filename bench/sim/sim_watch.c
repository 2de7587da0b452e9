/*
 * What the streams tell: one from each sidecar, of all companies.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sim/sim_internal.h"

static const enum callgate_event_type types[] = {CALLGATE_EVENT_TYPE_CUT_OFF,
    CALLGATE_EVENT_TYPE_CUT_WARNING, CALLGATE_EVENT_TYPE_BALANCE_LOW,
    CALLGATE_EVENT_TYPE_CALL_EXPIRED, CALLGATE_EVENT_TYPE_CALL_SETTLED};

/* Every stream tells everything: whoever is first is obeyed, and the rest is counted apart. */
static void on_event(struct sim_watch *watch, const struct callgate_event *event)
{
	struct sim_call *call;

	if (event->shadow || !sim_call_of_id(watch->sim, event->call_id, &call)) {
		watch->lows += event->type == CALLGATE_EVENT_TYPE_BALANCE_LOW;
		return;
	}
	watch->warnings += event->type == CALLGATE_EVENT_TYPE_CUT_WARNING;
	watch->expired += event->type == CALLGATE_EVENT_TYPE_CALL_EXPIRED;
	if (event->type == CALLGATE_EVENT_TYPE_CUT_OFF) {
		watch->repeats += event->repeat > 0;
		sim_call_on_cut_off(call, event->exhausts_at_ms);
	} else if (event->type == CALLGATE_EVENT_TYPE_CALL_SETTLED) {
		sim_call_on_told_settled(call, event->ledger_id);
	}
}

static void on_message(void *context, const struct callgate_watch_response *message)
{
	struct sim_watch *watch = context;

	watch->is_live = true;
	if (message->event != NULL) {
		on_event(watch, message->event);
	}
}

static void on_end(void *context, const struct callgate_error *error)
{
	struct sim_watch *watch = context;

	watch->watch = NULL;
	if (!watch->sim->closes) {
		sim_fault(watch->sim, SIM_FAULT_WATCH, "%s: %s: %s",
		    watch->sim->options.addresses[watch->address],
		    callgate_status_name(error->status), error->message);
	}
}

bool sim_watch_open(struct sim *sim, unsigned address)
{
	struct sim_watch *watch = &sim->watches[address];
	struct callgate_watch_request request = {.types = types, .type_count = CG_COUNT_OF(types)};

	watch->sim = sim;
	watch->address = address;
	return callgate_watch_open(sim->clients[address], &request, on_message, on_end, watch,
	           &watch->watch) == CALLGATE_ACCEPTED;
}

void sim_watch_close(struct sim_watch *watch)
{
	if (watch->watch != NULL) {
		callgate_watch_close(watch->watch);
		watch->watch = NULL;
	}
}
