/*
 * Cancel: one operation at the store, also with the ledger away.
 *
 *  NEW --> STORE --answered--> DONE
 *           |  ^--put---- LOAD <--read-- WALLET <--ABSENT--.
 *           |  '--not there-- KEY <--ASK-------------------|
 *           '----------------------------------------------'   KEY --there--> DONE
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "gate/gate_internal.h"

static void fill(struct cg_request *req, struct cg_store_op *op)
{
	op->verb = CG_STORE_CANCEL;
	op->announces = req->work.gate->config.lifecycle_events;
	op->in.cancel = (struct cg_store_cancel_in){.call_id = req->in.cancel.call_id};
}

static void on_answer(struct cg_request *req, const struct cg_store_op *op)
{
	if (op->outcome != CG_STORE_DONE) {
		cg_answer__refused(req, op->outcome, op->state);
		return;
	}
	req->out.cancel = (struct cg_cancel_out){.store = op->out.cancel, .state = op->state};
	cg_answer__ok(req);
}

static struct cg_ledger_key key(const struct cg_request *req)
{
	return (struct cg_ledger_key){CG_ENTRY_USAGE, req->in.cancel.call_id};
}

static void on_row(struct cg_request *req, const struct cg_ledger_row *row)
{
	/* By a call or by a charge: the id is used up, and was not cancelled. */
	cg_answer__wrong_state(req, cg_answer__state_of(row));
}

const struct cg_machine cg_cancel__machine = {
    .allowed =
        {
            [CG_STEP_NEW] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_STORE] =
                CG_STEP_BIT(STORE) | CG_STEP_BIT(WALLET) | CG_STEP_BIT(KEY) | CG_STEP_BIT(DONE),
            [CG_STEP_WALLET] = CG_STEP_BIT(LOAD) | CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_LOAD] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_KEY] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
        },
    .begin = cg_ask__store_with_cached_terms,
    .resolve = cg_plans__resolve,
    .fill = fill,
    .on_answer = on_answer,
    .key = key,
    .on_row = on_row,
};
