/*
 * Credit: the durable fact first, then the wallet.
 *
 *  NEW --> RECEIPT --written-------------> STORE --credited, ACCEPTED-----------------> DONE
 *           |   ^                           | ^ '--credited, COMMITTED--> AWAIT --------^ ^
 *           |   |--recovered meanwhile------| '--put-- LOAD <--read-- WALLET <--ABSENT    |
 *           |   '---------------------------'                                             |
 *           |--its entry is in the ledger--> BALANCE -------------------------------------|
 *           |--there, COMMITTED--> AWAIT --> BALANCE -------------------------------------|
 *           '--refused-----------------------------------------------------------------'
 *
 * The receipt is written also while the store is away or recovering: money that came must
 * be on record before anything else can fail.  From then on the answer to a failure is
 * "it may have happened", for the sweeper will apply the receipt.
 *
 * Writing it is also how the ledger is asked for the key; so it is done under the epoch
 * that was in force before, and done again where that one has gone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "gate/gate_internal.h"

static void refuse_amount(struct cg_request *req)
{
	cg_answer__invalid(req, "amount_micros", "an amount that the balance can represent");
}

static struct cg_ledger_key key(const struct cg_request *req)
{
	return (struct cg_ledger_key){req->in.credit.type, req->in.credit.reference_id};
}

static void on_posted(struct cg_request *req, const struct cg_ledger_row *row)
{
	req->out.posted = (struct cg_store_posted_out){.replayed = true, .entry_id = row->entry_id};
	cg_ask__row_stands(req, &row->entry_id, key(req), req->in.credit.durability);
}

static void on_written(struct cg_request *req)
{
	req->work.may_have_happened = true;
	req->work.is_asked = true;
	if (req->work.asked_epoch == 0) {
		/* Nobody served the partition before: what the ledger said proves nothing. */
		cg_round__begin_again(req);
		return;
	}
	cg_ask__store_with_cached_terms(req);
}

static void on_receipt_written(struct cg_ledger_op *op)
{
	struct cg_request *req = CG_CONTAINER_OF(op, struct cg_request, work.ledger);

	if (op->status != CG_OK) {
		if (cg_status_is_unknown(op->status)) {
			req->work.may_have_happened = true;
		}
		cg_answer__ledger_failed(req, op->status);
	} else if (op->outcome == CG_LEDGER_DONE) {
		on_written(req);
	} else if (op->outcome == CG_LEDGER_POSTED) {
		on_posted(req, &op->out.row);
	} else if (op->outcome == CG_LEDGER_NO_WALLET) {
		cg_answer__end(req, CG_NOT_FOUND, CG_REASON_NO_WALLET);
	} else if (op->outcome == CG_LEDGER_KEY_REUSED) {
		cg_answer__refused(req, CG_STORE_KEY_REUSED, CG_CALL_NONE);
	} else if (op->outcome == CG_LEDGER_OUT_OF_RANGE) {
		refuse_amount(req);
	} else {
		cg_answer__end(req, CG_INTERNAL, CG_REASON_LEDGER_UNAVAILABLE);
	}
}

static void write_receipt(struct cg_request *req)
{
	const struct cg_credit_in *in = &req->in.credit;
	struct cg_store_port *store = req->work.gate->store;

	req->work.asked_epoch = store->epoch(store, cg_round__partition(req));
	req->work.ledger.in.receipt = (struct cg_ledger_receipt_in){
	    .type = in->type,
	    .amount = in->amount,
	    .reference_id = in->reference_id,
	    .description = in->description,
	    .asked_by = in->asked_by,
	};
	cg_round__submit_ledger(req, CG_STEP_RECEIPT, CG_LEDGER_RECEIPT_WRITE, on_receipt_written);
}

static void fill(struct cg_request *req, struct cg_store_op *op)
{
	const struct cg_credit_in *in = &req->in.credit;

	op->verb = CG_STORE_CREDIT;
	op->in.credit = (struct cg_store_credit_in){
	    .type = in->type,
	    .amount = in->amount,
	    .reference_id = in->reference_id,
	    .description = in->description,
	};
}

static void on_answer(struct cg_request *req, const struct cg_store_op *op)
{
	if (op->outcome == CG_STORE_OUT_OF_RANGE) {
		/* The ledger admitted it before it wrote the receipt: usage came in between. */
		refuse_amount(req);
		return;
	}
	if (op->outcome != CG_STORE_DONE) {
		cg_answer__refused(req, op->outcome, op->state);
		return;
	}
	req->out.posted = op->out.posted;
	if (req->in.credit.durability == CG_DURABILITY_COMMITTED) {
		cg_ask__await(req, &req->out.posted.entry_id, key(req));
		return;
	}
	cg_ask__kick(req);
	cg_answer__ok(req);
}

static void on_balance(struct cg_request *req, const struct cg_store_balance_out *balance)
{
	req->out.posted.balance = balance->posted;
	req->out.posted.available = balance->available;
	cg_answer__ok(req);
}

const struct cg_machine cg_credit__machine = {
    .allowed =
        {
            [CG_STEP_NEW] = CG_STEP_BIT(RECEIPT) | CG_STEP_BIT(DONE),
            [CG_STEP_RECEIPT] = CG_STEP_BIT(RECEIPT) | CG_STEP_BIT(STORE) | CG_STEP_BIT(BALANCE) |
                CG_STEP_BIT(AWAIT) | CG_STEP_BIT(DONE),
            [CG_STEP_STORE] = CG_STEP_BIT(STORE) | CG_STEP_BIT(RECEIPT) | CG_STEP_BIT(WALLET) |
                CG_STEP_BIT(AWAIT) | CG_STEP_BIT(DONE),
            [CG_STEP_WALLET] =
                CG_STEP_BIT(LOAD) | CG_STEP_BIT(RECEIPT) | CG_STEP_BIT(BALANCE) | CG_STEP_BIT(DONE),
            [CG_STEP_LOAD] = CG_STEP_BIT(STORE) | CG_STEP_BIT(RECEIPT) | CG_STEP_BIT(BALANCE) |
                CG_STEP_BIT(DONE),
            [CG_STEP_BALANCE] = CG_STEP_BIT(BALANCE) | CG_STEP_BIT(WALLET) | CG_STEP_BIT(DONE),
            [CG_STEP_AWAIT] = CG_STEP_BIT(RECEIPT) | CG_STEP_BIT(BALANCE) | CG_STEP_BIT(DONE),
        },
    .begin = write_receipt,
    .resolve = cg_plans__resolve,
    .fill = fill,
    .on_answer = on_answer,
    .on_balance = on_balance,
    .restart = write_receipt,
};
