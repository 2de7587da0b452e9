/*
 * Adopt: a call that runs and that the store does not know.
 *
 *  NEW --cached---------------------------> STORE --answered--> DONE
 *   |'--not cached--> TERMS --read----------^ | ^ ^
 *   '--refused--> DONE                        | | '--put---- LOAD <--read-- WALLET
 *                                             | '--not there-- KEY --there--> DONE
 *                                             |                 ^
 *                                             '--ASK------------'--ABSENT--> WALLET
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "gate/gate_internal.h"

static bool resolve(struct cg_request *req, const struct cg_wallet *wallet)
{
	const struct cg_adopt_in *in = &req->in.adopt;

	cg_plans__resolve_price(req, wallet, in->resource_type, in->destination);
	return true;
}

/* The store's clock is the judge of what is in the future, or too long ago. */
static void refuse_start(struct cg_request *req)
{
	cg_answer__invalid(
	    req, "started_at_ms", "> 0, not in the future, at most the plan's longest call ago");
}

static void begin(struct cg_request *req)
{
	if (req->in.adopt.started_at_ms <= 0) {
		refuse_start(req);
	} else if (req->work.gate->terms == NULL) {
		cg_answer__ledger_read_failed(req, CG_UNAVAILABLE);
	} else {
		cg_ask__store_with_terms(req);
	}
}

static void fill(struct cg_request *req, struct cg_store_op *op)
{
	const struct cg_adopt_in *in = &req->in.adopt;

	op->verb = CG_STORE_ADOPT;
	op->in.adopt = (struct cg_store_adopt_in){
	    .call_id = in->call_id,
	    .resource_type = in->resource_type,
	    .destination = in->destination,
	    .meta = in->meta,
	    .has_price = req->work.has_price,
	    .price = req->work.price,
	    .limits = req->work.limits,
	    .started_at_ms = in->started_at_ms,
	};
}

static void on_answer(struct cg_request *req, const struct cg_store_op *op)
{
	if (op->outcome == CG_STORE_OUT_OF_RANGE) {
		refuse_start(req);
		return;
	}
	if (op->outcome != CG_STORE_DONE) {
		cg_answer__refused(req, op->outcome, op->state);
		return;
	}
	req->out.adopt = (struct cg_adopt_out){
	    .store = op->out.adopt,
	    .state = op->state,
	    .currency = req->work.terms.currency,
	    .as_of_ms = op->as_of_ms,
	};
	cg_outage__forget(req);
	cg_answer__ok(req);
}

static struct cg_ledger_key key(const struct cg_request *req)
{
	return (struct cg_ledger_key){CG_ENTRY_USAGE, req->in.adopt.call_id};
}

static void on_row(struct cg_request *req, const struct cg_ledger_row *row)
{
	if (row->is_charge) {
		cg_answer__refused(req, CG_STORE_KEY_REUSED, CG_CALL_NONE);
	} else {
		cg_answer__wrong_state(req, cg_answer__state_of(row));
	}
}

const struct cg_machine cg_adopt__machine = {
    .allowed =
        {
            [CG_STEP_NEW] = CG_STEP_BIT(TERMS) | CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_TERMS] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_STORE] =
                CG_STEP_BIT(STORE) | CG_STEP_BIT(WALLET) | CG_STEP_BIT(KEY) | CG_STEP_BIT(DONE),
            [CG_STEP_WALLET] = CG_STEP_BIT(LOAD) | CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_LOAD] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_KEY] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
        },
    .begin = begin,
    .resolve = resolve,
    .fill = fill,
    .on_answer = on_answer,
    .key = key,
    .on_row = on_row,
};
