/* SPDX-License-Identifier: Apache-2.0 */
#include "asks.h"

#include <stdlib.h>

#include "clock.h"
#include "network.h"
#include "prices.h"
#include "profiles.h"
#include "redis.h"
#include "sidecar.h"

#define TIMEOUT_MS 1500

struct ask {
	struct cg_request request;
	struct deed *deed;
	uint32_t sidecar;
	enum cg_method method;
	bool is_first;
	bool is_lost; /* its answer */
	bool is_answered;
	void (*on_answer)(struct deed *deed, const struct ask_answer *answer);
};

static uint32_t under_way;

uint32_t asks_under_way(void)
{
	return under_way;
}

static void deliver(void *arg)
{
	struct ask *ask = arg;
	struct ask_answer answer = {.method = ask->method,
	    .status = ask->is_lost ? CG_LOST : ask->request.status,
	    .is_first = ask->is_first,
	    .request = ask->is_lost ? NULL : &ask->request};

	under_way--;
	ask->deed->pending--;
	if (ask->method == CG_METHOD_AUTHORIZE) {
		ask->deed->authorizes_pending--;
		ask->deed->authorize_answered_ms = sim.now_ms;
	}
	sim_trace("caller: %s %s -> %s", ask->deed->id,
	    (const char *const[]){"Authorize", "Start", "Stop", "Settle", "Cancel", "Adopt", "", "",
	        "", "", "", "", "Credit", "Charge"}[ask->method],
	    cg_status_name(answer.status));
	if (!callers_are_gone()) {
		ask->on_answer(ask->deed, &answer);
	}
	free(ask);
}

/* The gate's one answer.  Its views are gone afterwards: nobody reads them. */
static void on_done(struct cg_request *request)
{
	struct ask *ask = CG_CONTAINER_OF(request, struct ask, request);

	if (ask->is_answered) {
		sim_violated("a request was answered twice: %s", ask->deed->id);
	}
	ask->is_answered = true;
	sim.answers++;
	if (!sidecar_is_alive(ask->sidecar) || sim_fault(10)) {
		ask->is_lost = true;
	}
	(void)sim_after(network_delay_ms(), deliver, ask);
}

static void fill_call(struct cg_request *request, const struct deed *deed, bool commits)
{
	struct cg_view id = cg_view_of(deed->id);
	struct cg_view voice = CG_VIEW_LITERAL("voice");
	struct cg_view to = CG_VIEW_LITERAL("+15550001");

	switch ((int)request->method) {
	case CG_METHOD_AUTHORIZE:
		request->in.authorize = (struct cg_authorize_in){.call_id = id,
		    .resource_type = voice,
		    .destination = to,
		    .start = deed->plan == CALL_AT_ONCE};
		break;
	case CG_METHOD_START:
		request->in.start =
		    (struct cg_start_in){.call_id = id, .started_at_ms = deed->started_at_ms};
		break;
	case CG_METHOD_STOP:
		request->in.stop = (struct cg_stop_in){.call_id = id,
		    .ended_at_ms = redis_now_ms() - (int64_t)(sim.now_ms - deed->talk_ended_ms)};
		break;
	case CG_METHOD_SETTLE:
		request->in.settle = (struct cg_settle_in){.call_id = id,
		    .duration_ms = deed->duration_ms,
		    .resource_type = voice,
		    .destination = to,
		    .durability = commits ? CG_DURABILITY_COMMITTED : CG_DURABILITY_ACCEPTED,
		    .basis = CG_BASIS_REPORTED};
		break;
	case CG_METHOD_CANCEL:
		request->in.cancel.call_id = id;
		break;
	default:
		request->in.adopt = (struct cg_adopt_in){.call_id = id,
		    .resource_type = voice,
		    .destination = to,
		    .started_at_ms = redis_now_ms() - (int64_t)(sim.now_ms - deed->talk_began_ms)};
		break;
	}
}

static void fill(struct cg_request *request, const struct deed *deed, bool commits)
{
	enum cg_durability durability = commits ? CG_DURABILITY_COMMITTED : CG_DURABILITY_ACCEPTED;
	struct cg_view id = cg_view_of(deed->id);

	request->company = sim.companies[deed->company];
	if (request->method == CG_METHOD_CREDIT) {
		request->in.credit = (struct cg_credit_in){.amount = {deed->amount},
		    .type = deed->type,
		    .reference_id = id,
		    .durability = durability};
	} else if (request->method == CG_METHOD_CHARGE) {
		request->in.charge =
		    (struct cg_charge_in){.resource_type = CG_VIEW_LITERAL("rental"),
		        .amount = {deed->amount},
		        .quantity = 1,
		        .reference_id = id,
		        .durability = durability};
	} else {
		fill_call(request, deed, commits);
	}
}

static void lose(struct ask *ask, uint64_t after_ms)
{
	ask->is_lost = true;
	(void)sim_after(after_ms, deliver, ask);
}

static void arrive(void *arg)
{
	struct ask *ask = arg;

	if (!sidecar_is_alive(ask->sidecar)) {
		lose(ask, network_delay_ms());
	} else if (sim_fault(5)) {
		lose(ask, TIMEOUT_MS); /* it was never heard of */
	} else {
		/* It learns the store's clock from answers; until then it names no end. */
		if (ask->method == CG_METHOD_AUTHORIZE && sidecar_age_ms(ask->sidecar) < 3000) {
			ask->deed->is_unguarded = true;
		}
		sidecar_submit(ask->sidecar, &ask->request, TIMEOUT_MS - 100);
	}
}

static void send_one(struct deed *deed, enum cg_method method, bool commits, bool is_first,
    void (*on_answer)(struct deed *deed, const struct ask_answer *answer))
{
	struct ask *ask = calloc(1, sizeof *ask);
	uint64_t delay_ms = network_delay_ms();

	CG_ASSERT(ask != NULL);
	ask->deed = deed;
	ask->sidecar = (uint32_t)sim_below(SIM_SIDECARS);
	ask->method = method;
	ask->is_first = is_first;
	ask->on_answer = on_answer;
	ask->request.method = method;
	ask->request.done = on_done;
	fill(&ask->request, deed, commits);
	under_way++;
	deed->pending++;
	deed->authorizes_pending += method == CG_METHOD_AUTHORIZE ? 1 : 0;
	if (!is_first || sim_fault(10)) {
		delay_ms += sim_below(1200); /* overtaken by later ones on other connections */
	}
	(void)sim_after(delay_ms, arrive, ask);
}

void ask_send(struct deed *deed, enum cg_method method, bool commits,
    void (*on_answer)(struct deed *deed, const struct ask_answer *answer))
{
	send_one(deed, method, commits, true, on_answer);
	if (sim_fault(sim.profile->doubled)) {
		send_one(deed, method, commits, false, on_answer);
	}
}
