/*
 * Receipts: the durable fact that money came, and the sweep that sees to it that every one
 * gets its entry.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "ledger/ledger_internal.h"

#define SWEEP_EVERY_MS 1000
#define SWEEP_MOST     100

static const char *prepare_write(struct cg_op_job *work, struct cg_params *params)
{
	const struct cg_ledger_receipt_in *in = &work->op->in.receipt;

	if (work->stage > 0) {
		struct cg_ledger_key key = {.type = in->type, .reference_id = in->reference_id};
		return cg_keys__statement(params, &work->op->company, &key);
	}
	cg_params__uuid(params, &work->op->company);
	cg_params__text(params, cg_view_of(cg_entry_type_name(in->type)));
	cg_params__int8(params, in->amount.micros);
	cg_params__text(params, in->reference_id);
	cg_params__text(params, in->description);
	cg_params__text(params, in->asked_by);
	return "select callgate.receipt_write($1, $2, $3, $4, $5, $6)";
}

static bool decode_write(struct cg_op_job *work, const PGresult *result)
{
	struct cg_ledger_op *op = work->op;

	if (work->stage > 0) {
		/* Rows are never removed, so it is there still. */
		op->outcome = CG_LEDGER_POSTED;
		if (PQntuples(result) == 0) {
			op->status = CG_INTERNAL;
		} else {
			cg_keys__decode_row(work, result);
		}
		return false;
	}
	if (cg_result__is(result, 0, 0, "posted")) {
		op->replayed = true;
		work->stage = 1;
		return true;
	}
	if (cg_result__is(result, 0, 0, "key_reused")) {
		op->outcome = CG_LEDGER_KEY_REUSED;
	} else if (cg_result__is(result, 0, 0, "out_of_range")) {
		op->outcome = CG_LEDGER_OUT_OF_RANGE;
	} else if (cg_result__is(result, 0, 0, "no_wallet")) {
		op->outcome = CG_LEDGER_NO_WALLET;
	} else {
		op->outcome = CG_LEDGER_DONE;
		op->replayed = cg_result__is(result, 0, 0, "replayed");
	}
	return false;
}

const struct cg_op_verb cg_receipts__write = {prepare_write, decode_write};

struct cg_receipts {
	struct cg_ledger *ledger;
	struct cg_job job;
	bool is_running;
	uint64_t next_at_ms;
	int64_t after; /* a sweep of more than one round goes on here */
};

static const char *prepare_sweep(struct cg_job *job, struct cg_params *params)
{
	struct cg_receipts *receipts = CG_CONTAINER_OF(job, struct cg_receipts, job);

	cg_params__int4(params, (int32_t)receipts->ledger->config.receipt_after_ms);
	cg_params__int8(params, receipts->after);
	cg_params__int4(params, SWEEP_MOST);
	return "select d.id, d.company_id, d.type, d.amount_micros, d.reference_id, d.description,"
	       " d.asked_by from callgate.receipts_due($1, $2, $3) d";
}

static void announce(struct cg_ledger *ledger, const PGresult *result, int row)
{
	struct cg_uuid company = cg_result__uuid(result, row, 1);
	struct cg_ledger_receipt_in receipt = {
	    .type = cg_entry_type_of(cg_result__view(result, row, 2)),
	    .amount = {cg_result__int(result, row, 3)},
	    .reference_id = cg_result__view(result, row, 4),
	    .description = cg_result__view(result, row, 5),
	    .asked_by = cg_result__view(result, row, 6),
	};

	ledger->listener.on_receipt_due(ledger->listener.owner, &company, &receipt);
}

static bool on_swept(struct cg_job *job, enum cg_status status, const PGresult *result)
{
	struct cg_receipts *receipts = CG_CONTAINER_OF(job, struct cg_receipts, job);
	struct cg_ledger *ledger = receipts->ledger;

	receipts->is_running = false;
	if (status != CG_OK || ledger->is_stopping) {
		return false;
	}
	int count = PQntuples(result);
	/* Where one round is not enough, the next goes on; at the end it begins anew. */
	receipts->after = count == SWEEP_MOST ? cg_result__int(result, count - 1, 0) : 0;
	for (int row = 0; row < count && !ledger->is_stopping; row++) {
		announce(ledger, result, row);
	}
	return false;
}

void cg_receipts__create(struct cg_ledger *ledger)
{
	ledger->receipts = calloc(1, sizeof *ledger->receipts);
	CG_ASSERT(ledger->receipts != NULL);
	ledger->receipts->ledger = ledger;
}

void cg_receipts__tick(struct cg_ledger *ledger, uint64_t now_ms)
{
	struct cg_receipts *receipts = ledger->receipts;

	if (receipts->is_running || now_ms < receipts->next_at_ms ||
	    ledger->listener.on_receipt_due == NULL || !cg_pool__is_connected(ledger->pool)) {
		return;
	}
	receipts->next_at_ms = now_ms + SWEEP_EVERY_MS;
	receipts->is_running = true;
	receipts->job = (struct cg_job){
	    .deadline_at_ms = now_ms + 5000, .prepare = prepare_sweep, .on_end = on_swept};
	cg_pool__submit(ledger->pool, &receipts->job);
}

void cg_receipts__destroy(struct cg_ledger *ledger)
{
	free(ledger->receipts);
}
