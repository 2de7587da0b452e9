/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/gate.h"

#include <stdlib.h>

#include "gate/gate_internal.h"

/* More than a tick of cg_gate_end_late(). */
#define QUEUE_GRACE_MS 10

static const struct cg_machine *const machines[CG_METHOD_COUNT] = {
    [CG_METHOD_AUTHORIZE] = &cg_authorize__machine,
    [CG_METHOD_START] = &cg_start__machine,
    [CG_METHOD_STOP] = &cg_stop__machine,
    [CG_METHOD_SETTLE] = &cg_settle__machine,
    [CG_METHOD_CANCEL] = &cg_cancel__machine,
    [CG_METHOD_ADOPT] = &cg_adopt__machine,
    [CG_METHOD_CREATE_WALLET] = &cg_create_wallet__machine,
    [CG_METHOD_GET_WALLET] = &cg_get_wallet__machine,
    [CG_METHOD_UPDATE_WALLET] = &cg_update_wallet__machine,
    [CG_METHOD_GET_BALANCE] = &cg_balance__machine,
    [CG_METHOD_GET_CALL] = &cg_get_call__machine,
    [CG_METHOD_LIST_CALLS] = &cg_list_calls__machine,
    [CG_METHOD_CREDIT] = &cg_credit__machine,
    [CG_METHOD_CHARGE] = &cg_charge__machine,
};

struct cg_gate *cg_gate_create(const struct cg_gate_config *config, struct cg_store_port *store,
    struct cg_ledger_port *ledger, struct cg_clock_port *clock)
{
	struct cg_gate *gate = calloc(1, sizeof *gate);

	CG_ASSERT(gate != NULL);
	gate->config = *config;
	gate->store = store;
	gate->ledger = ledger;
	gate->clock = clock;
	cg_list_init(&gate->deferred);
	cg_order__init(gate);
	cg_terms_cache__init(gate);
	cg_receipts__init(gate);
	cg_plan_news__init(gate);
	cg_outage__init(gate);
	return gate;
}

void cg_gate_start(struct cg_gate *gate)
{
	cg_plans__refresh(gate);
}

/*
 * Nothing on the path of a live call waits longer than for the store, whatever it waits for:
 * who waits behind another has a little more, so that what ends with the other's time is still
 * decided.
 */
static void set_ends(const struct cg_gate *gate, struct cg_request *req)
{
	bool is_live = req->method == CG_METHOD_AUTHORIZE || req->method == CG_METHOD_START ||
	    req->method == CG_METHOD_STOP || req->method == CG_METHOD_CANCEL;
	uint64_t ends_ms = gate->clock->now_ms(gate->clock) + gate->config.store_timeout_ms;
	uint64_t queues_ms = ends_ms + QUEUE_GRACE_MS;

	req->work.ends_by_ms =
	    is_live && ends_ms < req->deadline_at_ms ? ends_ms : req->deadline_at_ms;
	req->work.queues_until_ms =
	    queues_ms < req->deadline_at_ms ? queues_ms : req->deadline_at_ms;
}

/* Field by field: clearing the two operations as well would cost more than all the rest. */
static void prepare(struct cg_gate *gate, struct cg_request *req)
{
	struct cg_request_work *work = &req->work;

	req->status = CG_OK;
	req->reason = CG_REASON_NONE;
	req->field = NULL;
	req->bound = NULL;
	req->state = CG_CALL_NONE;
	req->has_settled = false;
	work->gate = gate;
	work->machine = machines[req->method];
	work->state = CG_STEP_NEW;
	work->rounds = 0;
	work->asked_epoch = 0;
	work->store_deadline_at_ms = 0;
	work->is_submitting = true;
	work->is_asked = false;
	work->is_assumed = false;
	work->may_have_happened = false;
	work->was_resent = false;
	set_ends(gate, req);
	work->loaded_by_ms = work->ends_by_ms;
	work->has_row = false;
	work->wants_balance = false;
	work->has_terms = false;
	work->has_price = false;
	work->terms = (struct cg_wallet_terms){0};
	work->price = (struct cg_price){0};
	work->listing = NULL;
	work->assumed.meta = NULL;
	cg_list_init(&work->link);
}

void cg_gate_submit(struct cg_gate *gate, struct cg_request *req)
{
	CG_ASSERT((unsigned)req->method < CG_METHOD_COUNT && req->done != NULL);
	prepare(gate, req);
	gate->inflight_count++;
	if (cg_order__enter(req)) {
		cg_outage__see(req);
		req->work.machine->begin(req);
	}
	/* Still ours: an answer that came in `begin` was put off. */
	req->work.is_submitting = false;
}

bool cg_gate_is_ready(const struct cg_gate *gate)
{
	return gate->terms != NULL;
}

uint32_t cg_gate_inflight_count(const struct cg_gate *gate)
{
	return gate->inflight_count;
}

static void on_terms_changed(void *owner, const struct cg_uuid *company)
{
	struct cg_gate *gate = owner;

	if (company == NULL) {
		cg_plans__refresh(gate);
	} else {
		cg_terms_cache__changed(gate, company);
	}
}

struct cg_ledger_listener cg_gate_listener(struct cg_gate *gate)
{
	return (struct cg_ledger_listener){
	    .on_terms_changed = on_terms_changed,
	    .on_receipt_due = cg_receipts__on_due,
	    .owner = gate,
	};
}

void cg_gate_end_late(struct cg_gate *gate)
{
	cg_order__end_late(gate);
	cg_terms_cache__end_late(gate);
	cg_answer__flush(gate);
}

void cg_gate_tick(struct cg_gate *gate)
{
	cg_gate_end_late(gate);
	cg_plans__tick(gate);
	cg_terms_cache__tick(gate);
	cg_plan_news__tick(gate);
	cg_outage__tick(gate);
	cg_holds__tick(gate);
}

void cg_gate_destroy(struct cg_gate *gate)
{
	/* A port that closed may have been the last that some request waited for. */
	cg_answer__flush(gate);
	CG_ASSERT(gate->inflight_count == 0 && !gate->is_reading_terms);
	cg_order__deinit(gate);
	cg_terms_cache__deinit(gate);
	cg_receipts__deinit(gate);
	cg_plan_news__deinit(gate);
	cg_outage__deinit(gate);
	cg_holds__deinit(gate);
	cg_terms_snapshot_free(gate->terms);
	free(gate);
}
