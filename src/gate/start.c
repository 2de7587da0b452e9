/*
 * Start and Stop: one operation at the store, also with the ledger away.
 *
 *  NEW --> STORE --answered--> DONE
 *           |  ^
 *           |  '--put---- LOAD <--read-- WALLET
 *           '--ABSENT-----------------------^   (the store lost it: the call is unknown then)
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "gate/gate_internal.h"

static void fill_start(struct cg_request *req, struct cg_store_op *op)
{
	op->verb = CG_STORE_START;
	op->announces = req->work.gate->config.lifecycle_events;
	op->in.start = (struct cg_store_start_in){
	    .call_id = req->in.start.call_id, .started_at_ms = req->in.start.started_at_ms};
}

static void on_start_answer(struct cg_request *req, const struct cg_store_op *op)
{
	if (op->outcome != CG_STORE_DONE) {
		cg_answer__refused(req, op->outcome, op->state);
		return;
	}
	req->out.start = (struct cg_start_out){
	    .store = op->out.start, .state = op->state, .as_of_ms = op->as_of_ms};
	if (op->state == CG_CALL_METERING) {
		cg_outage__forget(req);
	}
	cg_answer__ok(req);
}

static void fill_stop(struct cg_request *req, struct cg_store_op *op)
{
	op->verb = CG_STORE_STOP;
	op->announces = req->work.gate->config.lifecycle_events;
	op->in.stop = (struct cg_store_stop_in){
	    .call_id = req->in.stop.call_id, .ended_at_ms = req->in.stop.ended_at_ms};
}

static void on_stop_answer(struct cg_request *req, const struct cg_store_op *op)
{
	if (op->outcome != CG_STORE_DONE) {
		cg_answer__refused(req, op->outcome, op->state);
		return;
	}
	req->out.stop = (struct cg_stop_out){.store = op->out.stop, .state = op->state};
	cg_answer__ok(req);
}

/*
 * The ledger may say that the call ended long ago; a store that remembers only for a while
 * asks for that rather than answer "unknown".
 */
static struct cg_ledger_key start_key(const struct cg_request *req)
{
	return (struct cg_ledger_key){CG_ENTRY_USAGE, req->in.start.call_id};
}

static struct cg_ledger_key stop_key(const struct cg_request *req)
{
	return (struct cg_ledger_key){CG_ENTRY_USAGE, req->in.stop.call_id};
}

static void on_row(struct cg_request *req, const struct cg_ledger_row *row)
{
	if (row->is_charge) {
		cg_answer__refused(req, CG_STORE_UNKNOWN_CALL, CG_CALL_NONE);
	} else {
		cg_answer__wrong_state(req, cg_answer__state_of(row));
	}
}

#define ALLOWED                                                                                    \
	{                                                                                          \
		[CG_STEP_NEW] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),                            \
		[CG_STEP_STORE] = CG_STEP_BIT(STORE) | CG_STEP_BIT(WALLET) | CG_STEP_BIT(KEY) |    \
		    CG_STEP_BIT(DONE),                                                             \
		[CG_STEP_WALLET] = CG_STEP_BIT(LOAD) | CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),     \
		[CG_STEP_LOAD] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),                           \
		[CG_STEP_KEY] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),                            \
	}

const struct cg_machine cg_start__machine = {
    .allowed = ALLOWED,
    .begin = cg_ask__store_with_cached_terms,
    .resolve = cg_plans__resolve,
    .fill = fill_start,
    .on_answer = on_start_answer,
    .key = start_key,
    .on_row = on_row,
};

const struct cg_machine cg_stop__machine = {
    .allowed = ALLOWED,
    .begin = cg_ask__store_with_cached_terms,
    .resolve = cg_plans__resolve,
    .fill = fill_stop,
    .on_answer = on_stop_answer,
    .key = stop_key,
    .on_row = on_row,
};
