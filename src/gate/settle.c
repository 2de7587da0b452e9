/*
 * Settle: one operation at the store for a call that is held there, also with the ledger
 * away and without terms; all the rest is for a call that is not.
 *
 *  NEW --> STORE --charged, ACCEPTED------------------------------> DONE
 *           | ^ '--charged, COMMITTED--> AWAIT --its row is there--^ ^
 *           | |                                                      |
 *           | |--put---- LOAD <--read-- WALLET <--ABSENT--.          |
 *           | |--not there-- KEY <--ASK-------------------|          |
 *           | |--assumed-----'||--there--> BALANCE -------|----------|
 *           | |               |'--there, COMMITTED--> AWAIT --> BALANCE
 *           | |               '--not there, terms needed--|--> TERMS
 *           | '--read-- TERMS <--no price, terms unknown--|
 *           '---------------------------------------------'
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "gate/gate_internal.h"

static bool resolve(struct cg_request *req, const struct cg_wallet *wallet)
{
	const struct cg_settle_in *in = &req->in.settle;

	cg_plans__resolve_price(req, wallet, in->resource_type, in->destination);
	return true;
}

/* The correction is of the call that the ledger has, whatever the request says of it. */
static void fill_assumed(const struct cg_assumed_call *assumed, struct cg_store_settle_in *in)
{
	in->is_assumed = true;
	in->assumed_cost = assumed->cost;
	in->assumed_billed_ms = assumed->billed_ms;
	in->has_price = true;
	in->price = assumed->price;
	if (in->started_at_ms == 0) {
		in->started_at_ms = assumed->started_at_ms;
	}
	if (assumed->resource_type[0] != '\0') {
		in->resource_type = cg_view_of(assumed->resource_type);
		in->destination = cg_view_of(assumed->destination);
	}
	if (assumed->meta != NULL) {
		in->meta.pairs = (struct cg_view){assumed->meta, assumed->meta_bytes};
	}
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
	/* What the ledger said is sent only under the epoch that was in force before it was asked. */
	if (req->work.is_asked && req->work.is_assumed) {
		fill_assumed(&req->work.assumed, &op->in.settle);
	}
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
	req->work.is_assumed = false;
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

/* The key of the entry that was written: the call's own, or that of its correction. */
static struct cg_ledger_key entry_key(struct cg_request *req)
{
	const struct cg_view correction = CG_VIEW_LITERAL("correction:");
	struct cg_buffer text;

	if (!req->out.settle.store.is_correction) {
		return key(req);
	}
	cg_buffer_init(&text, req->work.correction, sizeof req->work.correction);
	cg_buffer_bytes(&text, correction.data, correction.len);
	cg_buffer_bytes(&text, req->in.settle.call_id.data, req->in.settle.call_id.len);
	return (struct cg_ledger_key){CG_ENTRY_ADJUSTMENT, cg_buffer_view(&text)};
}

static void on_charged(struct cg_request *req, const struct cg_store_op *op)
{
	take_answer(req, op);
	if (req->in.settle.durability == CG_DURABILITY_COMMITTED) {
		cg_ask__await(req, &req->out.settle.store.entry_id, entry_key(req));
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

static void copy_text(char *text, size_t capacity, struct cg_view view)
{
	size_t len = view.len < capacity ? view.len : 0; /* None is longer: not one of ours. */

	if (len > 0) {
		memcpy(text, view.data, len);
	}
	text[len] = '\0';
}

/* The row's views go with it, and the store may need them for longer. */
static void keep_assumed(struct cg_request *req, const struct cg_ledger_row *row)
{
	struct cg_assumed_call *assumed = &req->work.assumed;
	struct cg_view own = req->in.settle.meta.pairs;
	struct cg_view call = row->meta.pairs;

	free(assumed->meta);
	*assumed = (struct cg_assumed_call){
	    .cost = {-row->amount.micros},
	    .billed_ms = row->billed_ms,
	    .started_at_ms = row->started_at_ms,
	    .price = row->price,
	};
	copy_text(assumed->resource_type, sizeof assumed->resource_type, row->resource_type);
	copy_text(assumed->destination, sizeof assumed->destination, row->destination);
	if (call.len == 0 || call.len > CG_META_MAX_BYTES) {
		return;
	}
	/* Without it the correction has the request's meta alone; that is no reason to fail. */
	assumed->meta = malloc(call.len + own.len);
	if (assumed->meta != NULL) {
		memcpy(assumed->meta, call.data, call.len);
		if (own.len > 0) {
			memcpy(assumed->meta + call.len, own.data, own.len);
		}
		assumed->meta_bytes = call.len + own.len;
	}
}

/* Charged by assumption: the store corrects it once. */
static void correct(struct cg_request *req, const struct cg_ledger_row *row)
{
	if (req->in.settle.as_metered) {
		/* As of every call that is not held: nothing was metered that could be told. */
		cg_answer__wrong_state(req, CG_CALL_ABANDONED);
		return;
	}
	keep_assumed(req, row);
	req->work.is_assumed = true;
	req->work.is_asked = true;
	cg_round__ask_store_anew(req);
}

/* What the call costs by its row, and by that of its correction. */
static void take_row(struct cg_request *req, const struct cg_ledger_row *row)
{
	struct cg_store_settle_out *out = &req->out.settle.store;

	req->out.settle = (struct cg_settle_out){
	    .store =
	        {
	            .cost = {-row->amount.micros},
	            .billed_ms = row->billed_ms,
	            .replayed = true,
	            .late = row->late,
	            .duration_ms = row->duration_ms,
	            .basis = row->basis,
	            .price = row->price,
	            .entry_id = row->entry_id,
	        },
	    .state = cg_answer__state_of(row),
	    .currency = row->currency,
	};
	if (row->is_corrected) {
		out->cost.micros -= row->corrected.micros;
		out->billed_ms = row->corrected_billed_ms;
		out->duration_ms = row->corrected_duration_ms;
		out->basis = row->corrected_basis;
		out->is_correction = true;
		out->corrected.micros = -row->corrected.micros;
		out->entry_id = row->correction_id;
	}
}

/* The call was charged, and the store has forgotten it since: answered from the ledger. */
static void on_row(struct cg_request *req, const struct cg_ledger_row *row)
{
	const struct cg_settle_in *in = &req->in.settle;

	if (row->is_charge) {
		cg_answer__refused(req, CG_STORE_KEY_REUSED, CG_CALL_NONE);
		return;
	}
	/*
	 * Where the store was told of this row already, it has a charge of its own under the
	 * call, which the flush took back: nothing is left to correct, and the row stands.
	 */
	bool was_told = req->work.is_asked && req->work.is_assumed;
	if (cg_answer__state_of(row) == CG_CALL_ABANDONED && !was_told) {
		correct(req, row);
		return;
	}
	take_row(req, row);
	req->has_settled = !in->as_metered && in->duration_ms != req->out.settle.store.duration_ms;
	if (req->has_settled) {
		cg_ask__balance(req);
	} else {
		cg_ask__row_stands(
		    req, &req->out.settle.store.entry_id, entry_key(req), in->durability);
	}
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
            [CG_STEP_KEY] = CG_STEP_BIT(STORE) | CG_STEP_BIT(TERMS) | CG_STEP_BIT(BALANCE) |
                CG_STEP_BIT(AWAIT) | CG_STEP_BIT(DONE),
            [CG_STEP_BALANCE] = CG_STEP_BIT(BALANCE) | CG_STEP_BIT(WALLET) | CG_STEP_BIT(DONE),
            [CG_STEP_AWAIT] = CG_STEP_BIT(KEY) | CG_STEP_BIT(BALANCE) | CG_STEP_BIT(DONE),
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
