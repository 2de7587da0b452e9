/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_caller.h"

#include <string.h>

static void on_wake(void *owner)
{
	((struct fixture *)owner)->wakes++;
}

struct cg_gate_config fixture_config(struct fixture *f)
{
	return (struct cg_gate_config){
	    .wallets_max = 4,
	    .store_timeout_ms = 250,
	    .ledger_timeout_ms = 5000,
	    .receipts_max = 2,
	    .degraded_calls_max = 8,
	    .wake = on_wake,
	    .wake_owner = f,
	};
}

void fixture_start_with(struct fixture *f, const struct cg_gate_config *config)
{
	cg_log_set_level(CG_LOG_ERROR + 1);
	world_init(&f->world);
	f->wakes = 0;
	f->gate = cg_gate_create(config, &f->world.store, &f->world.ledger, &f->world.clock);
	cg_gate_start(f->gate);
	world_run(&f->world);
	CG_ASSERT(cg_gate_is_ready(f->gate));
}

void fixture_start(struct fixture *f)
{
	struct cg_gate_config config = fixture_config(f);

	fixture_start_with(f, &config);
}

void fixture_end(struct fixture *f)
{
	f->world.fault.at = 0;
	world_run(&f->world);
	cg_gate_destroy(f->gate);
	CG_ASSERT(f->world.pending_count == 0);
}

static void on_done(struct cg_request *req)
{
	struct asked *a = CG_CONTAINER_OF(req, struct asked, req);

	a->dones++;
	a->was_early = a->was_early || a->is_submitting;
	if (req->status == CG_OK && req->method == CG_METHOD_GET_BALANCE) {
		memcpy(a->plan_id, req->out.balance.plan_id, strlen(req->out.balance.plan_id) + 1);
	}
	if (req->status == CG_OK && req->method == CG_METHOD_LIST_CALLS) {
		struct cg_view token = req->out.list_calls.next_page_token;
		memcpy(a->token, token.data, token.len);
		a->token[token.len] = '\0';
	}
}

void asked_init(struct asked *a, const struct fixture *f, enum cg_method method)
{
	/* What the gate does not fill in must not look as if it were empty. */
	memset(a, 0xA5, sizeof *a);
	memset(&a->req.in, 0, sizeof a->req.in);
	a->req.method = method;
	a->req.company = world_company(1);
	a->req.deadline_at_ms = f->world.now_ms + 1000;
	a->req.done = on_done;
	a->dones = 0;
	a->is_submitting = false;
	a->was_early = false;
}

void asked_submit(struct asked *a, struct fixture *f)
{
	a->is_submitting = true;
	cg_gate_submit(f->gate, &a->req);
	a->is_submitting = false;
}

void asked_run(struct asked *a, struct fixture *f)
{
	asked_submit(a, f);
	world_run(&f->world);
	cg_gate_tick(f->gate);
}

void asked_authorize(struct asked *a, struct fixture *f)
{
	asked_init(a, f, CG_METHOD_AUTHORIZE);
	a->req.in.authorize.call_id = CG_VIEW_LITERAL("k");
	a->req.in.authorize.resource_type = CG_VIEW_LITERAL("voice");
	a->req.in.authorize.destination = CG_VIEW_LITERAL("+4930");
}

void asked_settle(struct asked *a, struct fixture *f, int64_t duration_ms)
{
	asked_init(a, f, CG_METHOD_SETTLE);
	a->req.in.settle.call_id = CG_VIEW_LITERAL("k");
	a->req.in.settle.duration_ms = duration_ms;
	a->req.in.settle.resource_type = CG_VIEW_LITERAL("voice");
	a->req.in.settle.destination = CG_VIEW_LITERAL("+4930");
	a->req.in.settle.durability = CG_DURABILITY_ACCEPTED;
	a->req.in.settle.basis = CG_BASIS_REPORTED;
}

void asked_credit(struct asked *a, struct fixture *f, int64_t amount)
{
	asked_init(a, f, CG_METHOD_CREDIT);
	a->req.in.credit.amount.micros = amount;
	a->req.in.credit.type = CG_ENTRY_TOP_UP;
	a->req.in.credit.reference_id = CG_VIEW_LITERAL("k");
	a->req.in.credit.description = CG_VIEW_LITERAL("card");
	a->req.in.credit.asked_by = CG_VIEW_LITERAL("billing");
	a->req.in.credit.durability = CG_DURABILITY_ACCEPTED;
}

void asked_charge(struct asked *a, struct fixture *f, int64_t amount)
{
	asked_init(a, f, CG_METHOD_CHARGE);
	a->req.in.charge.amount.micros = amount;
	a->req.in.charge.quantity = 1;
	a->req.in.charge.resource_type = CG_VIEW_LITERAL("phone_number_rental");
	a->req.in.charge.reference_id = CG_VIEW_LITERAL("k");
	a->req.in.charge.durability = CG_DURABILITY_ACCEPTED;
}

void asked_adopt(struct asked *a, struct fixture *f)
{
	asked_init(a, f, CG_METHOD_ADOPT);
	a->req.in.adopt.call_id = CG_VIEW_LITERAL("k");
	a->req.in.adopt.resource_type = CG_VIEW_LITERAL("voice");
	a->req.in.adopt.destination = CG_VIEW_LITERAL("+4930");
	a->req.in.adopt.started_at_ms = 12345;
}

void asked_call(struct asked *a, struct fixture *f, enum cg_method method)
{
	asked_init(a, f, method);
	if (method == CG_METHOD_START) {
		a->req.in.start.call_id = CG_VIEW_LITERAL("k");
	} else if (method == CG_METHOD_STOP) {
		a->req.in.stop.call_id = CG_VIEW_LITERAL("k");
	} else if (method == CG_METHOD_CANCEL) {
		a->req.in.cancel.call_id = CG_VIEW_LITERAL("k");
	} else {
		CG_ASSERT(method == CG_METHOD_GET_CALL);
		a->req.in.get_call.call_id = CG_VIEW_LITERAL("k");
	}
}
