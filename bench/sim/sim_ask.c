/*
 * Requests.  One that ends UNAVAILABLE (or may have happened for another reason) is sent
 * again with the same key, each time to the next sidecar, until it is answered.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sim/sim_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
	RETRY_MS = 40,
	RETRY_MAX_MS = 1000,
	TELL_MAX = 20,
};

void sim_fault(struct sim *sim, enum sim_fault fault, const char *format, ...)
{
	va_list arguments;

	sim->result->faults[fault]++;
	if (sim->told_count++ >= TELL_MAX) {
		return;
	}
	(void)fprintf(stderr, "callgate-sim: %s: ", sim_fault_names[fault]);
	va_start(arguments, format);
	(void)vfprintf(stderr, format, arguments);
	va_end(arguments);
	(void)fputc('\n', stderr);
}

/* "<run>.<serial>.<company's number>": the last is for people. */
void sim_call_id(const struct sim_call *call, char text[64])
{
	(void)snprintf(text, 64, "%s.%" PRIu32 ".%" PRIu32, call->wallet->sim->run, call->serial,
	    call->wallet->number);
}

bool sim_call_of_id(const struct sim *sim, const char *call_id, struct sim_call **ret_call)
{
	size_t run_bytes = strlen(sim->run);
	unsigned long serial;
	char *end;

	if (strncmp(call_id, sim->run, run_bytes) != 0 || call_id[run_bytes] != '.') {
		return false;
	}
	serial = strtoul(call_id + run_bytes + 1, &end, 10);
	if (*end != '.' || serial >= sim->call_count) {
		return false;
	}
	*ret_call = sim->calls[serial];
	return true;
}

static void send(struct sim_ask *ask);

static void on_retry(void *context)
{
	struct sim_ask *ask = context;

	ask->sim->result->retries += ask->attempts > 0;
	ask->address = (ask->address + 1) % ask->sim->options.address_count;
	send(ask);
}

static void done(struct sim_ask *ask)
{
	ask->wallet->asking_count--;
	cg_list_remove(&ask->link);
	free(ask);
}

static bool may_have_happened(enum callgate_status status)
{
	return status == CALLGATE_STATUS_UNAVAILABLE ||
	    status == CALLGATE_STATUS_DEADLINE_EXCEEDED ||
	    status == CALLGATE_STATUS_RESOURCE_EXHAUSTED || status == CALLGATE_STATUS_CANCELLED;
}

/* What one step may meet because another one of its call overtook it, or was lost. */
static bool is_overtaken(const struct sim_ask *ask, enum callgate_status status)
{
	const struct sim_call *call = ask->call;

	if (status != CALLGATE_STATUS_FAILED_PRECONDITION || call == NULL) {
		return false;
	}
	if (ask->step == SIM_START) {
		return call->state >= SIM_CALL_BILLING;
	}
	return ask->step == SIM_STOP && (call->metered_from_ms == 0 || call->settle_is_sent);
}

/* Whether there is an answer; where there is none the request is dealt with. */
static bool is_answered(struct sim_ask *ask, const struct callgate_error *error)
{
	struct sim *sim = ask->sim;
	char id[64] = "credit";

	if (error == NULL && !sim->closes) {
		return true;
	}
	if (sim->closes) {
		done(ask);
		return false;
	}
	if (may_have_happened(error->status)) {
		int64_t pause_ms = (int64_t)RETRY_MS * ask->attempts;

		sim_after(sim, pause_ms < RETRY_MAX_MS ? pause_ms : RETRY_MAX_MS, on_retry, ask);
		return false;
	}
	if (!is_overtaken(ask, error->status)) {
		if (ask->call != NULL) {
			sim_call_id(ask->call, id);
		}
		sim_fault(sim, SIM_FAULT_UNEXPECTED, "%s %s%s: %s: %s", id,
		    sim_step_names[ask->step], ask->is_copy ? " (repeated)" : "",
		    callgate_status_name(error->status), error->message);
	}
	done(ask);
	return false;
}

static void on_authorized(void *context, const struct callgate_error *error,
    const struct callgate_authorize_response *response)
{
	struct sim_ask *ask = context;
	struct sim *sim = ask->sim;
	int64_t now_ns = sim_now_ns();

	if (!is_answered(ask, error)) {
		return;
	}
	sim_clock_saw(&sim->clock, response->as_of_ms, ask->sent_ns, now_ns);
	if (!ask->is_copy) {
		sim->result->decisions[response->decision]++;
		cg_histogram_add(&sim->result->authorize, (uint64_t)(now_ns - ask->begun_ns));
	}
	sim_call_on_authorized(ask->call, response);
	done(ask);
}

static void on_started(void *context, const struct callgate_error *error,
    const struct callgate_start_response *response)
{
	struct sim_ask *ask = context;

	if (!is_answered(ask, error)) {
		return;
	}
	sim_clock_saw(&ask->sim->clock, response->as_of_ms, ask->sent_ns, sim_now_ns());
	sim_call_on_started(ask->call, response);
	done(ask);
}

static void on_stopped(void *context, const struct callgate_error *error,
    const struct callgate_stop_response *response)
{
	struct sim_ask *ask = context;

	(void)response;
	if (!is_answered(ask, error)) {
		return;
	}
	sim_call_on_stopped(ask->call);
	done(ask);
}

static void on_settled(void *context, const struct callgate_error *error,
    const struct callgate_settle_response *response)
{
	struct sim_ask *ask = context;

	if (!is_answered(ask, error)) {
		return;
	}
	sim_ledger_saw(&ask->wallet->ledger, response->balance_micros);
	sim_call_on_settled(ask->call, response);
	done(ask);
}

static void on_cancelled(void *context, const struct callgate_error *error,
    const struct callgate_cancel_response *response)
{
	struct sim_ask *ask = context;

	if (!is_answered(ask, error)) {
		return;
	}
	sim_call_on_cancelled(ask->call, response);
	done(ask);
}

static void on_credited(void *context, const struct callgate_error *error,
    const struct callgate_credit_response *response)
{
	struct sim_ask *ask = context;

	if (!is_answered(ask, error)) {
		return;
	}
	sim_ledger_saw(&ask->wallet->ledger, response->balance_micros);
	if (!ask->is_copy) {
		ask->wallet->ledger.credited_micros += ask->amount_micros;
		ask->sim->result->credits++;
	}
	done(ask);
}

static enum callgate_submit send_authorize(struct sim_ask *ask, const char *call_id)
{
	const struct sim_call_plan *plan = &ask->call->plan;
	struct callgate_authorize_request request = {
	    .company_id = ask->wallet->company,
	    .call_id = call_id,
	    .resource_type = "voice_outbound",
	    .destination = sim_destinations[plan->destination],
	    .reserve_ms = ask->sim->options.habits.reserve_ms,
	    .start = plan->starts_at_once,
	};

	return callgate_authorize(ask->sim->clients[ask->address], &request, on_authorized, ask);
}

static enum callgate_submit send_settle(struct sim_ask *ask, const char *call_id)
{
	const struct sim_call *call = ask->call;
	struct callgate_settle_request request = {
	    .company_id = ask->wallet->company,
	    .call_id = call_id,
	    .duration = CALLGATE_SETTLE_DURATION_MS,
	    .duration_ms = call->talk_to_ms - call->talk_from_ms,
	    .resource_type = "voice_outbound",
	    .destination = sim_destinations[call->plan.destination],
	    .started_at_ms = call->talk_from_ms,
	    .basis = call->plan.settle == SIM_LOST ? CALLGATE_DURATION_BASIS_POLLED
	                                           : CALLGATE_DURATION_BASIS_REPORTED,
	};

	return callgate_settle(ask->sim->clients[ask->address], &request, on_settled, ask);
}

static enum callgate_submit send_credit(struct sim_ask *ask)
{
	char reference[64];
	struct callgate_credit_request request = {
	    .company_id = ask->wallet->company,
	    .amount_micros = ask->amount_micros,
	    .type = CALLGATE_ENTRY_TYPE_TOP_UP,
	    .reference_id = reference,
	    .description = "simulated",
	};

	(void)snprintf(reference, sizeof(reference), "%s.c%" PRIu32 ".%" PRIu32, ask->sim->run,
	    ask->wallet->number, ask->number);
	return callgate_credit(ask->sim->clients[ask->address], &request, on_credited, ask);
}

static enum callgate_submit send_step(struct sim_ask *ask)
{
	struct callgate_client *client = ask->sim->clients[ask->address];
	const struct sim_call *call = ask->call;
	const char *company = ask->wallet->company;
	char id[64];

	if (ask->step == SIM_CREDIT) {
		return send_credit(ask);
	}
	sim_call_id(call, id);
	switch (ask->step) {
	case SIM_AUTHORIZE:
		return send_authorize(ask, id);
	case SIM_START:
		return callgate_start(client,
		    &(struct callgate_start_request){
		        company, id, call->plan.act == SIM_UNSAID ? 0 : call->talk_from_ms},
		    on_started, ask);
	case SIM_STOP:
		return callgate_stop(client,
		    &(struct callgate_stop_request){company, id, call->talk_to_ms}, on_stopped,
		    ask);
	case SIM_SETTLE:
		return send_settle(ask, id);
	case SIM_CANCEL:
		return callgate_cancel(
		    client, &(struct callgate_cancel_request){company, id}, on_cancelled, ask);
	case SIM_CREDIT:
	case SIM_STEP_COUNT:
		break;
	}
	CG_UNREACHABLE();
}

static void send(struct sim_ask *ask)
{
	struct sim *sim = ask->sim;

	ask->sent_ns = sim_now_ns();
	/* As many are under way as it takes to be sure that more would only wait longer. */
	if (send_step(ask) == CALLGATE_ACCEPTED) {
		ask->attempts++;
	} else {
		sim_after(sim, RETRY_MS, on_retry, ask);
	}
}

static void on_send(void *context)
{
	struct sim_ask *ask = context;

	ask->begun_ns = sim_now_ns();
	send(ask);
}

static struct sim_ask *new_ask(struct sim_wallet *wallet, enum sim_step step, uint32_t route)
{
	struct sim_ask *ask = calloc(1, sizeof(*ask));
	struct sim *sim = wallet->sim;

	CG_ASSERT(ask != NULL);
	ask->sim = sim;
	ask->wallet = wallet;
	ask->step = step;
	ask->address = route % sim->options.address_count;
	cg_list_append(&sim->asks, &ask->link);
	wallet->asking_count++;
	return ask;
}

/* The same request, at the next sidecar. */
static void send_copy(const struct sim_ask *ask, int64_t after_ms)
{
	struct sim_ask *copy = new_ask(ask->wallet, ask->step, ask->address + 1);

	copy->call = ask->call;
	copy->amount_micros = ask->amount_micros;
	copy->number = ask->number;
	copy->is_copy = true;
	ask->sim->result->copies++;
	if (after_ms == 0) {
		on_send(copy);
	} else {
		sim_after(ask->sim, after_ms, on_send, copy);
	}
}

void sim_ask_call(struct sim_call *call, enum sim_step step)
{
	struct sim_ask *ask = new_ask(call->wallet, step, call->plan.route >> (4 * step));

	ask->call = call;
	on_send(ask);
	if (call->plan.copies[step].is_repeated) {
		send_copy(ask, call->plan.copies[step].after_ms);
	}
}

void sim_ask_credit(struct sim_wallet *wallet, int64_t amount_micros, bool is_repeated)
{
	struct sim_ask *ask = new_ask(wallet, SIM_CREDIT, wallet->number);

	ask->amount_micros = amount_micros;
	ask->number = wallet->credit_count++;
	on_send(ask);
	if (is_repeated) {
		send_copy(ask, 0);
	}
}

void sim_ask_forget_all(struct sim *sim)
{
	struct cg_list *next;

	for (struct cg_list *at = sim->asks.next; at != &sim->asks; at = next) {
		next = at->next;
		free(CG_CONTAINER_OF(at, struct sim_ask, link));
	}
	cg_list_init(&sim->asks);
}
