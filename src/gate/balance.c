/*
 * GetBalance: the store's figures, with the currency and plan of the terms.
 *
 *  NEW --cached---------------------------> STORE --answered--> DONE
 *   |'--not cached--> TERMS --read----------^ |  ^
 *   |                   '--no wallet--> DONE  |  '--put---- LOAD <--read-- WALLET
 *   '--refused--> DONE                        '--ABSENT-------------------^
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "gate/gate_internal.h"

static void fill(struct cg_request *req, struct cg_store_op *op)
{
	(void)req;
	op->verb = CG_STORE_BALANCE;
}

static void on_answer(struct cg_request *req, const struct cg_store_op *op)
{
	if (op->outcome != CG_STORE_DONE) {
		cg_answer__refused(req, op->outcome, op->state);
		return;
	}
	req->out.balance = (struct cg_balance_out){
	    .store = op->out.balance,
	    .currency = req->work.terms.currency,
	    .plan_id = req->work.plan_id,
	    .as_of_ms = op->as_of_ms,
	};
	cg_answer__ok(req);
}

const struct cg_machine cg_balance__machine = {
    .allowed =
        {
            [CG_STEP_NEW] = CG_STEP_BIT(TERMS) | CG_STEP_BIT(STORE),
            [CG_STEP_TERMS] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_STORE] = CG_STEP_BIT(STORE) | CG_STEP_BIT(WALLET) | CG_STEP_BIT(DONE),
            [CG_STEP_WALLET] = CG_STEP_BIT(LOAD) | CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_LOAD] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
        },
    .changes_nothing = true,
    .begin = cg_ask__store_with_terms,
    .resolve = cg_plans__resolve,
    .fill = fill,
    .on_answer = on_answer,
};
