/*
 * GetCall: from the store, else from the ledger.
 *
 *  NEW --> STORE --live, or ended a while ago--> DONE
 *           |  ^--put---- LOAD <--read-- WALLET <--ABSENT--.
 *           |  '--asked again where the store says ASK     |
 *           |------------------------------------------------'
 *           '--unknown--> KEY --there, or nowhere--> DONE
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "gate/gate_internal.h"

static void fill(struct cg_request *req, struct cg_store_op *op)
{
	op->verb = CG_STORE_GET_CALL;
	op->in.get_call = req->in.get_call.call_id;
}

static void on_answer(struct cg_request *req, const struct cg_store_op *op)
{
	if (op->outcome == CG_STORE_DONE) {
		req->out.call = op->out.call;
		req->out.call.company = req->company;
		cg_answer__ok(req);
	} else if (op->outcome == CG_STORE_UNKNOWN_CALL) {
		cg_ask__key(req, op->epoch);
	} else {
		cg_answer__refused(req, op->outcome, op->state);
	}
}

static struct cg_ledger_key key(const struct cg_request *req)
{
	return (struct cg_ledger_key){CG_ENTRY_USAGE, req->in.get_call.call_id};
}

static void on_no_row(struct cg_request *req)
{
	cg_answer__refused(req, CG_STORE_UNKNOWN_CALL, CG_CALL_NONE);
}

static void on_row(struct cg_request *req, const struct cg_ledger_row *row)
{
	if (row->is_charge) {
		on_no_row(req);
		return;
	}
	req->out.call = (struct cg_call){
	    .company = req->company,
	    .call_id = req->in.get_call.call_id,
	    .state = cg_answer__state_of(row),
	    .price = row->price,
	    .currency = row->currency,
	    .resource_type = row->resource_type,
	    .destination = row->destination,
	    .meta = row->meta,
	    .authorized_at_ms = row->authorized_at_ms,
	    .started_at_ms = row->started_at_ms,
	    .ended_at_ms = row->ended_at_ms,
	    .cost = {-row->amount.micros - (row->is_corrected ? row->corrected.micros : 0)},
	    .billed_ms = row->billed_ms,
	    .duration_ms = row->duration_ms,
	    .basis = row->basis,
	    .late = row->late,
	    .entry_id = row->entry_id,
	};
	if (row->is_corrected) {
		req->out.call.billed_ms = row->corrected_billed_ms;
		req->out.call.duration_ms = row->corrected_duration_ms;
		req->out.call.basis = row->corrected_basis;
		if (row->started_at_ms > 0) {
			req->out.call.ended_at_ms = row->started_at_ms + row->corrected_duration_ms;
		}
		req->out.call.entry_id = row->correction_id;
	}
	cg_answer__ok(req);
}

const struct cg_machine cg_get_call__machine = {
    .allowed =
        {
            [CG_STEP_NEW] = CG_STEP_BIT(STORE),
            [CG_STEP_STORE] =
                CG_STEP_BIT(STORE) | CG_STEP_BIT(WALLET) | CG_STEP_BIT(KEY) | CG_STEP_BIT(DONE),
            [CG_STEP_WALLET] = CG_STEP_BIT(LOAD) | CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_LOAD] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_KEY] = CG_STEP_BIT(DONE),
        },
    .changes_nothing = true,
    .begin = cg_ask__store_with_cached_terms,
    .resolve = cg_plans__resolve,
    .fill = fill,
    .on_answer = on_answer,
    .key = key,
    .on_row = on_row,
    .on_no_row = on_no_row,
};
