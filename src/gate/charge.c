/*
 * Charge: usage that is not a call.
 *
 *  NEW --> STORE --charged, ACCEPTED-------------------------------> DONE
 *           | ^ '--charged, COMMITTED--> AWAIT --its row is there---^ ^
 *           | |--put---- LOAD <--read-- WALLET <--ABSENT--.           |
 *           | '--not there-- KEY <--ASK-------------------|           |
 *           |                 |--there--> BALANCE --------|-----------|
 *           |                 '--there, COMMITTED--> AWAIT --> BALANCE
 *           '---------------------------------------------'
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "gate/gate_internal.h"

static void fill(struct cg_request *req, struct cg_store_op *op)
{
	const struct cg_charge_in *in = &req->in.charge;

	op->verb = CG_STORE_CHARGE;
	op->in.charge = (struct cg_store_charge_in){
	    .resource_type = in->resource_type,
	    .amount = in->amount,
	    .quantity = in->quantity,
	    .reference_id = in->reference_id,
	    .description = in->description,
	    .meta = in->meta,
	};
}

static struct cg_ledger_key key(const struct cg_request *req)
{
	return (struct cg_ledger_key){CG_ENTRY_USAGE, req->in.charge.reference_id};
}

static void on_answer(struct cg_request *req, const struct cg_store_op *op)
{
	if (op->outcome == CG_STORE_OUT_OF_RANGE) {
		cg_answer__invalid(
		    req, "amount_micros", "an amount that the balance can represent");
		return;
	}
	if (op->outcome != CG_STORE_DONE) {
		cg_answer__refused(req, op->outcome, op->state);
		return;
	}
	req->out.posted = op->out.posted;
	if (req->in.charge.durability == CG_DURABILITY_COMMITTED) {
		cg_ask__await(req, &req->out.posted.entry_id, key(req));
		return;
	}
	cg_ask__kick(req);
	cg_answer__ok(req);
}

static void on_row(struct cg_request *req, const struct cg_ledger_row *row)
{
	const struct cg_charge_in *in = &req->in.charge;
	bool is_same = row->is_charge && row->amount.micros == -in->amount.micros &&
	    cg_view_equal(row->resource_type, in->resource_type);

	if (!is_same) {
		cg_answer__refused(req, CG_STORE_KEY_REUSED, CG_CALL_NONE);
		return;
	}
	req->out.posted = (struct cg_store_posted_out){.replayed = true, .entry_id = row->entry_id};
	cg_ask__row_stands(req, &row->entry_id, key(req), in->durability);
}

static void on_balance(struct cg_request *req, const struct cg_store_balance_out *balance)
{
	req->out.posted.balance = balance->posted;
	req->out.posted.available = balance->available;
	cg_answer__ok(req);
}

const struct cg_machine cg_charge__machine = {
    .allowed =
        {
            [CG_STEP_NEW] = CG_STEP_BIT(STORE) | CG_STEP_BIT(DONE),
            [CG_STEP_STORE] = CG_STEP_BIT(STORE) | CG_STEP_BIT(WALLET) | CG_STEP_BIT(KEY) |
                CG_STEP_BIT(AWAIT) | CG_STEP_BIT(DONE),
            [CG_STEP_WALLET] =
                CG_STEP_BIT(LOAD) | CG_STEP_BIT(STORE) | CG_STEP_BIT(BALANCE) | CG_STEP_BIT(DONE),
            [CG_STEP_LOAD] = CG_STEP_BIT(STORE) | CG_STEP_BIT(BALANCE) | CG_STEP_BIT(DONE),
            [CG_STEP_KEY] =
                CG_STEP_BIT(STORE) | CG_STEP_BIT(BALANCE) | CG_STEP_BIT(AWAIT) | CG_STEP_BIT(DONE),
            [CG_STEP_BALANCE] = CG_STEP_BIT(BALANCE) | CG_STEP_BIT(WALLET) | CG_STEP_BIT(DONE),
            [CG_STEP_AWAIT] = CG_STEP_BIT(KEY) | CG_STEP_BIT(BALANCE) | CG_STEP_BIT(DONE),
        },
    .begin = cg_ask__store_with_cached_terms,
    .resolve = cg_plans__resolve,
    .fill = fill,
    .on_answer = on_answer,
    .key = key,
    .on_row = on_row,
    .on_balance = on_balance,
};
