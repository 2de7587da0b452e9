/*
 * Authorize: the hot path.  With the terms cached it is one operation at the store.
 *
 *  NEW --cached---------------------------> STORE --answered--> DONE
 *   |'--not cached--> TERMS --read----------^ |  ^
 *   |                   '--no wallet--> DONE  |  '--put---- LOAD <--read-- WALLET
 *   '--refused--> DONE                        '--ABSENT-------------------^
 *
 * Where the store cannot be asked, or does not answer in time, the plan's outage policy may
 * decide instead (outage.c).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "gate/gate_internal.h"

/* The reserve that was asked for holds where the plan admits it. */
static bool resolve(struct cg_request *req, const struct cg_wallet *wallet)
{
	const struct cg_authorize_in *in = &req->in.authorize;

	cg_plans__resolve_price(req, wallet, in->resource_type, in->destination);
	if (in->reserve_ms < 0 || in->reserve_ms > req->work.limits.longest_ms) {
		cg_answer__invalid(req, "reserve_ms", "0 .. the plan's longest call");
		return false;
	}
	if (in->reserve_ms > 0) {
		req->work.limits.reserve_ms = (uint32_t)in->reserve_ms;
	}
	return true;
}

static void begin(struct cg_request *req)
{
	if (req->work.gate->terms == NULL) {
		/* Nothing is known of any plan: no decision can be made. */
		cg_answer__ledger_read_failed(req, CG_UNAVAILABLE);
	} else {
		cg_ask__store_with_terms(req);
	}
}

static void fill(struct cg_request *req, struct cg_store_op *op)
{
	const struct cg_authorize_in *in = &req->in.authorize;

	op->verb = CG_STORE_AUTHORIZE;
	op->announces = req->work.gate->config.lifecycle_events && !in->validate_only;
	op->in.authorize = (struct cg_store_authorize_in){
	    .call_id = in->call_id,
	    .resource_type = in->resource_type,
	    .destination = in->destination,
	    .meta = in->meta,
	    .has_price = req->work.has_price,
	    .price = req->work.price,
	    .limits = req->work.limits,
	    .start = in->start,
	    .validate_only = in->validate_only,
	};
}

static void on_answer(struct cg_request *req, const struct cg_store_op *op)
{
	if (op->outcome != CG_STORE_DONE) {
		cg_answer__refused(req, op->outcome, op->state);
		return;
	}
	req->out.authorize = (struct cg_authorize_out){
	    .store = op->out.authorize,
	    .as_of_ms = op->as_of_ms,
	    .currency = req->work.terms.currency,
	};
	if (op->out.authorize.state != CG_CALL_NONE && !req->in.authorize.validate_only) {
		cg_outage__forget(req); /* Held at the store: it runs by no policy any more. */
	}
	cg_answer__ok(req);
}

const struct cg_machine cg_authorize__machine = {
    .allowed =
        {
            [CG_STEP_NEW] = CG_STEP_BIT(TERMS) | CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_TERMS] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_STORE] = CG_STEP_BIT(STORE) | CG_STEP_BIT(WALLET) | CG_STEP_BIT(DONE),
            [CG_STEP_WALLET] = CG_STEP_BIT(LOAD) | CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_LOAD] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
        },
    .begin = begin,
    .resolve = resolve,
    .fill = fill,
    .on_answer = on_answer,
    .on_away = cg_outage__decide,
};
