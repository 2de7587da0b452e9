/*
 * Settle: one operation at the store for a call that is held there, also with the ledger
 * away and without terms; all the rest is for a call that is not.
 *
 *  NEW --> STORE --charged, ACCEPTED------------------------------> DONE
 *           | ^ '--charged, COMMITTED--> AWAIT --its row is there--^ ^
 *           | |                                                      |
 *           | |--put---- LOAD <--read-- WALLET <--ABSENT--.          |
 *           | |--not there-- KEY <--ASK-------------------|          |
 *           | |               |'--there--> BALANCE -------|----------'
 *           | |               '--not there, terms needed--|--> TERMS
 *           | '--read-- TERMS <--no price, terms unknown--|
 *           '---------------------------------------------'
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "gate/gate_internal.h"

static bool resolve(struct cg_request *req, const struct cg_wallet *wallet)
{
	const struct cg_settle_in *in = &req->in.settle;

	cg_plans__resolve_price(req, wallet, in->resource_type, in->destination);
	return true;
}

static void fill(struct cg_request *req, struct cg_store_op *op)
{
	const struct cg_settle_in *in = &req->in.settle;

	op->verb = CG_STORE_SETTLE;
	op->in.settle = (struct cg_store_settle_in){
	    .call_id = in->call_id,
	    .as_metered = in->as_metered,
	    .duration_ms = in->duration_ms,
	    .started_at_ms = in->started_at_ms,
	    .ended_at_ms = in->ended_at_ms,
	    .basis = in->basis,
	    .resource_type = in->resource_type,
	    .destination = in->destination,
	    .has_price = req->work.has_price,
	    .price = req->work.price,
	    .meta = in->meta,
	};
}

static struct cg_ledger_key key(const struct cg_request *req)
{
	return (struct cg_ledger_key){CG_ENTRY_USAGE, req->in.settle.call_id};
}

/*
 * Whether the terms, not known so far, could still price what the request names.  With
 * as_metered there is nothing to price where the call never started here.
 */
static bool wants_terms(const struct cg_request *req)
{
	return !req->work.has_terms && req->in.settle.resource_type.len > 0 &&
	    !req->in.settle.as_metered;
}

static void on_no_row(struct cg_request *req)
{
	if (wants_terms(req)) {
		cg_ask__terms(req);
	} else {
		cg_round__ask_store_anew(req);
	}
}

static void take_answer(struct cg_request *req, const struct cg_store_op *op)
{
	req->out.settle = (struct cg_settle_out){
	    .store = op->out.settle,
	    .state = op->state,
	    .currency = op->currency.code[0] != '\0' ? op->currency : req->work.terms.currency,
	};
}

static void on_charged(struct cg_request *req, const struct cg_store_op *op)
{
	take_answer(req, op);
	if (req->in.settle.durability == CG_DURABILITY_COMMITTED) {
		cg_ask__await(req, &req->out.settle.store.entry_id, key(req));
		return;
	}
	cg_ask__kick(req);
	cg_answer__ok(req);
}

static void on_key_reused(struct cg_request *req, const struct cg_store_op *op)
{
	/* Without an entry it is a Charge's: there is nothing settled to tell of. */
	if (op->out.settle.entry_id.epoch != 0) {
		take_answer(req, op);
		req->has_settled = true;
	}
	cg_answer__refused(req, CG_STORE_KEY_REUSED, op->state);
}

static void on_answer(struct cg_request *req, const struct cg_store_op *op)
{
	if (op->outcome == CG_STORE_DONE) {
		on_charged(req, op);
	} else if (op->outcome == CG_STORE_KEY_REUSED) {
		on_key_reused(req, op);
	} else if (op->outcome == CG_STORE_NO_PRICE && wants_terms(req)) {
		/* A key that the store knows, without a price of its own: the terms have one. */
		cg_ask__terms(req);
	} else if (op->outcome == CG_STORE_OUT_OF_RANGE) {
		cg_answer__invalid(req, "duration_ms", "a cost that the balance can represent");
	} else {
		cg_answer__refused(req, op->outcome, op->state);
	}
}

/* The call was charged, and the store has forgotten it since: answered from the ledger's row. */
static void on_row(struct cg_request *req, const struct cg_ledger_row *row)
{
	const struct cg_settle_in *in = &req->in.settle;
	bool is_assumed = row->basis == CG_BASIS_ASSUMED && row->corrected.micros == 0;

	if (row->is_charge) {
		cg_answer__refused(req, CG_STORE_KEY_REUSED, CG_CALL_NONE);
		return;
	}
	req->out.settle = (struct cg_settle_out){
	    .store =
	        {
	            .cost = {-row->amount.micros - row->corrected.micros},
	            .billed_ms = row->billed_ms,
	            .replayed = true,
	            .late = row->late,
	            .duration_ms = row->duration_ms,
	            .basis = row->basis,
	            .price = row->price,
	            .corrected = {-row->corrected.micros},
	            .entry_id = row->entry_id,
	        },
	    .state = is_assumed ? CG_CALL_ABANDONED : CG_CALL_SETTLED,
	    .currency = row->currency,
	};
	/* A corrected row keeps its assumed duration: what it was corrected to stands elsewhere. */
	req->has_settled =
	    !in->as_metered && in->duration_ms != row->duration_ms && row->corrected.micros == 0;
	cg_ask__balance(req);
}

static void on_balance(struct cg_request *req, const struct cg_store_balance_out *balance)
{
	req->out.settle.store.balance = balance->posted;
	req->out.settle.store.available = balance->available;
	if (req->has_settled) {
		cg_answer__refused(req, CG_STORE_KEY_REUSED, CG_CALL_NONE);
	} else {
		cg_answer__ok(req);
	}
}

const struct cg_machine cg_settle__machine = {
    .allowed =
        {
            [CG_STEP_NEW] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_TERMS] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_STORE] = CG_STEP_BIT(STORE) | CG_STEP_BIT(TERMS) | CG_STEP_BIT(WALLET) |
                CG_STEP_BIT(KEY) | CG_STEP_BIT(AWAIT) | CG_STEP_BIT(DONE),
            [CG_STEP_WALLET] =
                CG_STEP_BIT(LOAD) | CG_STEP_BIT(STORE) | CG_STEP_BIT(BALANCE) | CG_STEP_BIT(DONE),
            [CG_STEP_LOAD] = CG_STEP_BIT(STORE) | CG_STEP_BIT(BALANCE) | CG_STEP_BIT(DONE),
            [CG_STEP_KEY] =
                CG_STEP_BIT(STORE) | CG_STEP_BIT(TERMS) | CG_STEP_BIT(BALANCE) | CG_STEP_BIT(DONE),
            [CG_STEP_BALANCE] = CG_STEP_BIT(BALANCE) | CG_STEP_BIT(WALLET) | CG_STEP_BIT(DONE),
            [CG_STEP_AWAIT] = CG_STEP_BIT(KEY) | CG_STEP_BIT(DONE),
        },
    .begin = cg_ask__store_with_cached_terms,
    .resolve = resolve,
    .fill = fill,
    .on_answer = on_answer,
    .key = key,
    .on_row = on_row,
    .on_no_row = on_no_row,
    .on_balance = on_balance,
};
