/*
 * Wallets: read in one snapshot with what is in quarantine, created, updated.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include "ledger/ledger_internal.h"

static const char *prepare_read(struct cg_op_job *work, struct cg_params *params)
{
	cg_params__uuid(params, &work->op->company);
	return "select w.wallet_id, w.currency, w.plan_id, w.frozen, w.suspended,"
	       " w.low_balance_micros, w.low_balance_micros is not null,"
	       " w.low_balance_remaining_ms, w.created_at_ms, w.terms_version,"
	       " w.posted_micros, w.version from callgate.wallet_read($1) w";
}

static bool decode_read(struct cg_op_job *work, const PGresult *result)
{
	struct cg_wallet *wallet = &work->op->out.wallet;

	if (PQntuples(result) == 0) {
		work->op->outcome = CG_LEDGER_NO_WALLET;
		return false;
	}
	*wallet = (struct cg_wallet){
	    .company = work->op->company,
	    .wallet_id = cg_result__uuid(result, 0, 0),
	    .frozen = cg_result__bool(result, 0, 3),
	    .suspended = cg_result__bool(result, 0, 4),
	    .low_balance = {cg_result__int(result, 0, 5)},
	    .low_balance_remaining_ms = cg_result__int(result, 0, 7),
	    .created_at_ms = cg_result__int(result, 0, 8),
	    .terms_version = (uint64_t)cg_result__int(result, 0, 9),
	    .posted = {cg_result__int(result, 0, 10)},
	    .version = (uint64_t)cg_result__int(result, 0, 11),
	};
	wallet->has_low_balance =
	    cg_result__bool(result, 0, 6) || wallet->low_balance_remaining_ms > 0;
	(void)snprintf(
	    wallet->currency.code, sizeof wallet->currency.code, "%s", PQgetvalue(result, 0, 1));
	(void)snprintf(wallet->plan_id, sizeof wallet->plan_id, "%s", PQgetvalue(result, 0, 2));
	work->op->outcome = CG_LEDGER_DONE;
	return false;
}

static const char *prepare_create(struct cg_op_job *work, struct cg_params *params)
{
	const struct cg_ledger_wallet_create_in *in = &work->op->in.wallet_create;

	if (work->stage > 0) {
		return prepare_read(work, params);
	}
	cg_params__uuid(params, &work->op->company);
	cg_params__text(params, cg_view_of(in->currency.code));
	cg_params__text(params, in->plan_id);
	return "select callgate.wallet_create($1, $2, $3)";
}

static bool decode_create(struct cg_op_job *work, const PGresult *result)
{
	if (work->stage > 0) {
		return decode_read(work, result);
	}
	if (cg_result__is(result, 0, 0, "no_plan")) {
		work->op->outcome = CG_LEDGER_NO_PLAN;
	} else if (cg_result__is(result, 0, 0, "no_company")) {
		work->op->outcome = CG_LEDGER_NO_COMPANY;
	} else if (cg_result__is(result, 0, 0, "currency_differs")) {
		work->op->outcome = CG_LEDGER_CURRENCY_DIFFERS;
	} else {
		work->op->replayed = cg_result__is(result, 0, 0, "exists");
		work->stage = 1;
		return true;
	}
	return false;
}

static const char *prepare_update(struct cg_op_job *work, struct cg_params *params)
{
	const struct cg_ledger_wallet_update_in *in = &work->op->in.wallet_update;

	if (work->stage > 0) {
		return prepare_read(work, params);
	}
	cg_params__uuid(params, &work->op->company);
	if (in->sets_plan) {
		cg_params__text(params, in->plan_id);
	} else {
		cg_params__null(params, CG_OID_TEXT);
	}
	if (in->sets_frozen) {
		cg_params__bool(params, in->frozen);
	} else {
		cg_params__null(params, CG_OID_BOOL);
	}
	if (in->sets_low_balance) {
		cg_params__int8(params, in->low_balance.micros);
		cg_params__int8(params, in->low_balance_remaining_ms);
	} else {
		cg_params__null(params, CG_OID_INT8);
		cg_params__null(params, CG_OID_INT8);
	}
	return "select callgate.wallet_update($1, $2, $3, $4, $5)";
}

static bool decode_update(struct cg_op_job *work, const PGresult *result)
{
	if (work->stage > 0) {
		return decode_read(work, result);
	}
	if (cg_result__is(result, 0, 0, "no_plan")) {
		work->op->outcome = CG_LEDGER_NO_PLAN;
	} else if (cg_result__is(result, 0, 0, "no_wallet")) {
		work->op->outcome = CG_LEDGER_NO_WALLET;
	} else {
		work->stage = 1;
		return true;
	}
	return false;
}

const struct cg_op_verb cg_wallets__read = {prepare_read, decode_read};
const struct cg_op_verb cg_wallets__create = {prepare_create, decode_create};
const struct cg_op_verb cg_wallets__update = {prepare_update, decode_update};
