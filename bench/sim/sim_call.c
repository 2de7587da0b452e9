/*
 * One call, from its arrival to its bill.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sim/sim_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
	FIRST_ROOM = 4096,
	EARLY_MS = 5, /* how far the estimate of the store's clock may be off */
};

static struct sim_call *new_call(struct sim_wallet *wallet)
{
	struct sim *sim = wallet->sim;
	struct sim_call *call = calloc(1, sizeof(*call));

	if (sim->call_count == sim->call_room) {
		sim->call_room = sim->call_room > 0 ? 2 * sim->call_room : FIRST_ROOM;
		sim->calls = (struct sim_call **)realloc(
		    (void *)sim->calls, sim->call_room * sizeof(struct sim_call *));
	}
	CG_ASSERT(call != NULL && sim->calls != NULL);
	call->wallet = wallet;
	call->serial = sim->call_count;
	cg_list_init(&call->link);
	sim_plan_call(&sim->options.habits, wallet->number, wallet->call_count++, &call->plan);
	sim->calls[sim->call_count++] = call;
	sim->result->calls++;
	sim->result->acts[call->plan.act]++;
	return call;
}

static void end(struct sim_call *call)
{
	call->state = SIM_CALL_ENDED;
	cg_list_remove(&call->link);
	call->wallet->sim->live_count--;
}

/* The later of T* and what made the gate meter this call: from then on it could be told. */
static int64_t tellable_from_ms(const struct sim_call *call)
{
	return call->exhausted_ms > call->start_as_of_ms ? call->exhausted_ms
	                                                 : call->start_as_of_ms;
}

static void note_cut(const struct sim_call *call)
{
	struct sim_result *result = call->wallet->sim->result;
	int64_t from_ms = tellable_from_ms(call);
	int64_t late_ns = call->cut_at_ns - from_ms * SIM_MILLISECOND_NS;
	int64_t outlived_ms = call->talk_to_ms - from_ms;

	cg_histogram_add(&result->lateness, (uint64_t)(late_ns > 0 ? late_ns : 0));
	if (outlived_ms > 0) {
		cg_histogram_add(&result->outlived, (uint64_t)outlived_ms * SIM_MILLISECOND_NS);
	}
}

static void send_settle(struct sim_call *call)
{
	if (!call->settle_is_sent) {
		call->settle_is_sent = true;
		sim_ask_call(call, SIM_SETTLE);
	}
}

static void on_report(void *context)
{
	send_settle(context);
}

static void end_talk(struct sim_call *call, int64_t at_ms)
{
	struct sim *sim = call->wallet->sim;

	call->state = SIM_CALL_BILLING;
	call->talk_to_ms = at_ms > call->talk_from_ms ? at_ms : call->talk_from_ms;
	if (call->plan.stops && (call->start_is_sent || call->plan.starts_at_once)) {
		sim_ask_call(call, SIM_STOP);
	}
	sim->result->settles[call->plan.settle]++;
	sim_after(sim, call->plan.settle_delay_ms, on_report, call);
}

static void on_said_goodbye(void *context)
{
	struct sim_call *call = context;

	if (call->state == SIM_CALL_TALKING) {
		end_talk(call, call->talk_from_ms + call->plan.talk_ms);
	}
}

static void on_cut(void *context)
{
	struct sim_call *call = context;

	if (call->state == SIM_CALL_TALKING) {
		end_talk(call, sim_store_ms(call->wallet->sim));
	}
}

static void obey(struct sim_call *call)
{
	if (call->plan.act != SIM_DEAF) {
		sim_after(call->wallet->sim, call->wallet->sim->options.reaction_ms, on_cut, call);
	}
}

static void on_start_due(void *context)
{
	struct sim_call *call = context;

	if (!call->wallet->sim->drains) {
		call->start_is_sent = true;
		sim_ask_call(call, SIM_START);
	}
}

static void send_start(struct sim_call *call)
{
	struct sim *sim = call->wallet->sim;
	enum sim_fate fate = sim_start_fate(
	    &sim->options.habits, &call->plan, call->expires_at_ms - call->talk_from_ms);

	sim->result->starts[fate]++;
	if (fate == SIM_ON_TIME) {
		on_start_due(call);
	} else if (fate == SIM_LATE) {
		sim_after(sim, call->plan.start_delay_ms, on_start_due, call);
	}
}

static void begin_talk(struct sim_call *call)
{
	struct sim *sim = call->wallet->sim;

	call->state = SIM_CALL_TALKING;
	call->talk_from_ms = sim_store_ms(sim);
	sim->result->talks++;
	sim_after(sim, call->plan.talk_ms, on_said_goodbye, call);
	if (call->plan.act == SIM_UNHELD) {
		return;
	}
	if (call->plan.starts_at_once) {
		sim->result->starts[SIM_ON_TIME]++;
	} else {
		send_start(call);
	}
	/* A CUT_OFF may come before the answer that said it starts. */
	if (call->cut_at_ns != 0) {
		obey(call);
	}
}

static void on_rung(void *context)
{
	struct sim_call *call = context;

	if (call->state != SIM_CALL_RINGING) {
		return;
	}
	switch (call->plan.ending) {
	case SIM_ANSWERED:
		begin_talk(call);
		return;
	case SIM_HANGUP:
		call->state = SIM_CALL_CANCELLING;
		sim_ask_call(call, SIM_CANCEL);
		return;
	case SIM_SILENT:
		call->state = SIM_CALL_SILENT;
		call->wallet->sim->live_count--;
		return;
	}
}

void sim_call_begin(struct sim_wallet *wallet)
{
	struct sim_call *call = new_call(wallet);
	struct sim *sim = wallet->sim;

	sim->live_count++;
	wallet->is_excused = wallet->is_excused || call->plan.act != SIM_HONEST;
	if (call->plan.act == SIM_UNHELD) {
		call->state = SIM_CALL_RINGING;
		sim_after(sim, call->plan.ring_ms, on_rung, call);
		return;
	}
	sim_ask_call(call, SIM_AUTHORIZE);
}

static void on_allowed(struct sim_call *call, const struct callgate_authorize_response *response)
{
	call->price = response->price;
	call->price.currency = NULL;
	call->held_micros = response->held_micros;
	call->expires_at_ms = response->expires_at_ms;
	cg_list_append(&call->wallet->live, &call->link);
	if (call->plan.starts_at_once) {
		call->metered_from_ms = response->as_of_ms;
		call->start_as_of_ms = response->as_of_ms;
	}
}

/*
 * A denial keeps nothing, so a copy of its request decides anew and may be allowed, with a
 * hold for a call that nobody makes: it is settled with no talk.
 */
void sim_call_on_authorized(
    struct sim_call *call, const struct callgate_authorize_response *response)
{
	struct sim *sim = call->wallet->sim;
	bool is_allowed = response->decision == CALLGATE_DECISION_ALLOWED;

	if (response->degraded) {
		sim_fault(sim, SIM_FAULT_UNEXPECTED, "call %" PRIu32 ": degraded", call->serial);
	}
	if (call->state == SIM_CALL_ENDED && is_allowed && call->held_micros == 0) {
		on_allowed(call, response);
		sim->live_count++;
		call->state = SIM_CALL_BILLING;
		send_settle(call);
		return;
	}
	if (call->state != SIM_CALL_AUTHORIZING) {
		return;
	}
	if (!is_allowed) {
		end(call);
		return;
	}
	on_allowed(call, response);
	if (call->plan.starts_at_once) {
		begin_talk(call);
		return;
	}
	call->state = SIM_CALL_RINGING;
	sim_after(sim, call->plan.ring_ms, on_rung, call);
}

void sim_call_on_started(struct sim_call *call, const struct callgate_start_response *response)
{
	if (response->decision != CALLGATE_DECISION_ALLOWED) {
		sim_fault(call->wallet->sim, SIM_FAULT_UNEXPECTED,
		    "call %" PRIu32 ": Start within the lease was answered %s", call->serial,
		    callgate_decision_name(response->decision));
		return;
	}
	if (call->metered_from_ms == 0) {
		call->metered_from_ms = response->started_at_ms;
		call->start_as_of_ms = response->as_of_ms;
	}
}

void sim_call_on_stopped(struct sim_call *call)
{
	call->stopped_at_ms = call->talk_to_ms;
}

static void note_ledger_id(struct sim_call *call, const char *ledger_id)
{
	if (call->ledger_id[0] == '\0') {
		(void)snprintf(call->ledger_id, sizeof(call->ledger_id), "%s", ledger_id);
	} else if (strcmp(call->ledger_id, ledger_id) != 0) {
		sim_fault(call->wallet->sim, SIM_FAULT_TWICE, "call %" PRIu32 ": %s and %s",
		    call->serial, call->ledger_id, ledger_id);
	}
}

void sim_call_on_told_settled(struct sim_call *call, const char *ledger_id)
{
	call->told_settled = true;
	note_ledger_id(call, ledger_id);
}

void sim_call_on_settled(struct sim_call *call, const struct callgate_settle_response *response)
{
	struct sim *sim = call->wallet->sim;
	int64_t duration_ms = call->talk_to_ms - call->talk_from_ms;
	bool is_unheld = call->plan.act == SIM_UNHELD;
	/* A hostile lost Start may outlive its lease: nothing holds the call any more. */
	bool may_be_late = is_unheld || call->plan.act == SIM_LOST_START;
	const struct callgate_price *price = is_unheld ? &response->price : &call->price;
	int64_t cost_micros = sim_cost_micros(price, duration_ms);

	if (response->cost_micros != cost_micros || response->duration_ms != duration_ms ||
	    response->billed_ms != sim_billed_ms(price, duration_ms) ||
	    response->state != CALLGATE_CALL_STATE_SETTLED || response->corrected_micros != 0) {
		sim_fault(sim, SIM_FAULT_COST,
		    "call %" PRIu32 ": %" PRId64 " ms cost %" PRId64 " and not %" PRId64 " (%s)",
		    call->serial, response->duration_ms, response->cost_micros, cost_micros,
		    callgate_call_state_name(response->state));
	}
	if (response->late && !may_be_late) {
		sim_fault(sim, SIM_FAULT_UNEXPECTED,
		    "call %" PRIu32 ": settled as late, though held", call->serial);
	}
	note_ledger_id(call, response->ledger_id);
	if (call->is_settled) {
		return;
	}
	call->is_settled = true;
	call->cost_micros = response->cost_micros;
	call->wallet->ledger.charged_micros += response->cost_micros;
	sim->result->settled++;
	if (call->cut_at_ns != 0) {
		note_cut(call);
	}
	end(call);
}

void sim_call_on_cancelled(struct sim_call *call, const struct callgate_cancel_response *response)
{
	if (response->state != CALLGATE_CALL_STATE_CANCELLED &&
	    response->state != CALLGATE_CALL_STATE_EXPIRED) {
		sim_fault(call->wallet->sim, SIM_FAULT_UNEXPECTED,
		    "call %" PRIu32 ": cancelled is %s", call->serial,
		    callgate_call_state_name(response->state));
	}
	if (call->state == SIM_CALL_CANCELLING) {
		end(call);
	}
}

void sim_call_on_cut_off(struct sim_call *call, int64_t exhausted_at_ms)
{
	struct sim *sim = call->wallet->sim;

	if (call->cut_at_ns != 0) {
		return;
	}
	call->cut_at_ns = sim_clock_store_ns(&sim->clock, sim_now_ns());
	call->exhausted_ms = exhausted_at_ms;
	sim->result->cut_offs++;
	if (call->cut_at_ns < (exhausted_at_ms - EARLY_MS) * SIM_MILLISECOND_NS) {
		sim_fault(sim, SIM_FAULT_EARLY, "call %" PRIu32 ": %" PRId64 " ms before T*",
		    call->serial, exhausted_at_ms - call->cut_at_ns / SIM_MILLISECOND_NS);
	}
	if (call->state == SIM_CALL_TALKING) {
		obey(call);
	}
}

void sim_call_drain(struct sim_call *call)
{
	struct sim *sim = call->wallet->sim;

	switch (call->state) {
	case SIM_CALL_RINGING:
		if (call->plan.act == SIM_UNHELD) {
			end(call);
			return;
		}
		call->state = SIM_CALL_CANCELLING;
		sim_ask_call(call, SIM_CANCEL);
		return;
	case SIM_CALL_SILENT:
		sim->live_count++;
		if (call->expires_at_ms <= sim_store_ms(sim)) {
			sim->result->leases_over++;
			end(call);
			return;
		}
		call->state = SIM_CALL_CANCELLING;
		sim_ask_call(call, SIM_CANCEL);
		return;
	case SIM_CALL_TALKING:
		end_talk(call, sim_store_ms(sim));
		send_settle(call);
		return;
	case SIM_CALL_BILLING:
		send_settle(call);
		return;
	case SIM_CALL_AUTHORIZING:
	case SIM_CALL_CANCELLING:
	case SIM_CALL_ENDED:
		return;
	}
}
