/*
 * What was booked under a key.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include "ledger/ledger_internal.h"

const char *cg_keys__statement(
    struct cg_params *params, const struct cg_uuid *company, const struct cg_ledger_key *key)
{
	cg_params__uuid(params, company);
	cg_params__text(params, cg_view_of(cg_entry_type_name(key->type)));
	cg_params__text(params, key->reference_id);
	/* Of a call, its correction too: what was corrected stands in both. */
	return "select r.entry_id, r.type, r.amount_micros, r.balance_after_micros, r.at_ms,"
	       " r.description, r.resource_type, r.is_charge, r.quantity, r.currency, r.pairs,"
	       " coalesce(c.amount_micros, 0), coalesce(r.meta ->> 'destination', ''),"
	       " r.meta ->> 'rate_micros_per_minute', r.meta ->> 'connect_fee_micros',"
	       " r.meta ->> 'minimum_ms', r.meta ->> 'increment_ms', r.meta ->> 'duration_ms',"
	       " r.meta ->> 'billed_ms', coalesce(r.meta ->> 'basis', ''), r.meta ->> 'late',"
	       " r.meta ->> 'authorized_at_ms', r.meta ->> 'started_at_ms', r.meta ->> "
	       "'ended_at_ms',"
	       " coalesce(c.entry_id, ''), c.meta ->> 'duration_ms', c.meta ->> 'billed_ms',"
	       " coalesce(c.meta ->> 'basis', '')"
	       " from callgate.key_read($1, $2, $3) r"
	       " left join lateral callgate.key_read($1, 'adjustment', 'correction:' || $3) c"
	       " on $2 = 'usage'";
}

void cg_keys__decode(const PGresult *result, int at, int column, struct cg_ledger_row *ret_row)
{
	*ret_row = (struct cg_ledger_row){
	    .type = cg_entry_type_of(cg_result__view(result, at, column + 1)),
	    .amount = {cg_result__int(result, at, column + 2)},
	    .balance_after = {cg_result__int(result, at, column + 3)},
	    .at_ms = cg_result__int(result, at, column + 4),
	    .description = cg_result__view(result, at, column + 5),
	    .resource_type = cg_result__view(result, at, column + 6),
	    .is_charge = cg_result__bool(result, at, column + 7),
	    .quantity = cg_result__int(result, at, column + 8),
	    .corrected = {cg_result__int(result, at, column + 11)},
	    .destination = cg_result__view(result, at, column + 12),
	    .price = {.rate_per_minute = {cg_result__int(result, at, column + 13)},
	        .connect_fee = {cg_result__int(result, at, column + 14)},
	        .minimum_ms = (uint32_t)cg_result__int(result, at, column + 15),
	        .increment_ms = (uint32_t)cg_result__int(result, at, column + 16)},
	    .duration_ms = cg_result__int(result, at, column + 17),
	    .billed_ms = cg_result__int(result, at, column + 18),
	    .basis = cg_basis_of(cg_result__view(result, at, column + 19)),
	    .late = cg_result__bool(result, at, column + 20),
	    .authorized_at_ms = cg_result__int(result, at, column + 21),
	    .started_at_ms = cg_result__int(result, at, column + 22),
	    .ended_at_ms = cg_result__int(result, at, column + 23),
	    .is_corrected = cg_result__view(result, at, column + 24).len > 0,
	    .corrected_duration_ms = cg_result__int(result, at, column + 25),
	    .corrected_billed_ms = cg_result__int(result, at, column + 26),
	    .corrected_basis = cg_basis_of(cg_result__view(result, at, column + 27)),
	};
	(void)cg_entry_id_parse(cg_result__view(result, at, column), &ret_row->entry_id);
	(void)cg_entry_id_parse(cg_result__view(result, at, column + 24), &ret_row->correction_id);
	(void)snprintf(ret_row->currency.code, sizeof ret_row->currency.code, "%s",
	    PQgetvalue(result, at, column + 9));
}

unsigned char *cg_keys__decode_pairs(const PGresult *result, int at, int column, size_t *ret_len)
{
	unsigned char *pairs = NULL;

	*ret_len = 0;
	if (!PQgetisnull(result, at, column + 10)) {
		pairs = PQunescapeBytea(
		    (const unsigned char *)PQgetvalue(result, at, column + 10), ret_len);
		CG_ASSERT(pairs != NULL);
	}
	return pairs;
}

void cg_keys__decode_row(struct cg_op_job *work, const PGresult *result)
{
	struct cg_ledger_row *row = &work->op->out.row;
	size_t pairs_len = 0;

	cg_keys__decode(result, 0, 0, row);
	work->pairs = cg_keys__decode_pairs(result, 0, 0, &pairs_len);
	row->meta.pairs = (struct cg_view){(const char *)work->pairs, pairs_len};
}

static const char *prepare(struct cg_op_job *work, struct cg_params *params)
{
	return cg_keys__statement(params, &work->op->company, &work->op->in.key);
}

static bool decode(struct cg_op_job *work, const PGresult *result)
{
	if (PQntuples(result) == 0) {
		work->op->outcome = CG_LEDGER_NO_KEY;
	} else {
		work->op->outcome = CG_LEDGER_DONE;
		cg_keys__decode_row(work, result);
	}
	return false;
}

const struct cg_op_verb cg_keys__read = {prepare, decode};
