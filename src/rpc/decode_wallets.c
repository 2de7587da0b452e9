/*
 * What the contract demands of Wallets' requests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <callgate/v1/callgate.pb-c.h>

#include "rpc/rules.h"

static const struct cg_rule create_wallet_rules[] = {
    CG_ROW_COMPANY(CreateWalletRequest),
    CG_ROW_TEXT(CreateWalletRequest, plan_id, in.create_wallet.plan_id, CG_BOUND_PLAN_OR_EMPTY,
        cg_is_plan_or_empty),
};

static bool finish_create_wallet(struct cg_rule_work *work, const void *message)
{
	const Callgate__V1__CreateWalletRequest *request = message;
	struct cg_ledger_wallet_create_in *in = &work->req->in.create_wallet;
	struct cg_view currency = cg_view_of(request->currency);

	if (currency.len == 0) {
		currency = CG_VIEW_LITERAL("usd");
	}
	if (!cg_is_currency(currency)) {
		return cg_rule_refuse(work, "currency", CG_BOUND_CURRENCY);
	}
	memcpy(in->currency.code, currency.data, 3);
	in->currency.code[3] = '\0';
	if (in->plan_id.len == 0) {
		in->plan_id = CG_VIEW_LITERAL("starter");
	}
	return true;
}

static const struct cg_rule get_wallet_rules[] = {CG_ROW_COMPANY(GetWalletRequest)};
static const struct cg_rule update_wallet_rules[] = {CG_ROW_COMPANY(UpdateWalletRequest)};
static const struct cg_rule get_balance_rules[] = {CG_ROW_COMPANY(GetBalanceRequest)};

static bool finish_low_balance(
    struct cg_rule_work *work, const Callgate__V1__UpdateWalletRequest *request)
{
	static const struct cg_rule amount = {.field = "low_balance_micros",
	    .bound = "-999999999999999..999999999999999",
	    .least = -CG_MONEY_REQUEST_MAX_MICROS,
	    .most = CG_MONEY_REQUEST_MAX_MICROS};
	static const struct cg_rule remaining = {.field = "low_balance_remaining_ms",
	    .bound = "1..604800000",
	    .least = 1,
	    .most = CG_DURATION_MAX_MS};
	struct cg_ledger_wallet_update_in *in = &work->req->in.update_wallet;

	switch (request->low_balance_case) {
	case CALLGATE__V1__UPDATE_WALLET_REQUEST__LOW_BALANCE_LOW_BALANCE_MICROS:
		in->sets_low_balance = true;
		in->low_balance.micros = request->low_balance_micros;
		return cg_rule_int(work, &amount, request->low_balance_micros);
	case CALLGATE__V1__UPDATE_WALLET_REQUEST__LOW_BALANCE_LOW_BALANCE_REMAINING_MS:
		in->sets_low_balance = true;
		in->low_balance_remaining_ms = request->low_balance_remaining_ms;
		return cg_rule_int(work, &remaining, request->low_balance_remaining_ms);
	case CALLGATE__V1__UPDATE_WALLET_REQUEST__LOW_BALANCE__NOT_SET:
	case _CALLGATE__V1__UPDATE_WALLET_REQUEST__LOW_BALANCE__CASE_IS_INT_SIZE:
		break;
	}
	return true;
}

static bool finish_update_wallet(struct cg_rule_work *work, const void *message)
{
	const Callgate__V1__UpdateWalletRequest *request = message;
	struct cg_ledger_wallet_update_in *in = &work->req->in.update_wallet;

	if (request->plan_case == CALLGATE__V1__UPDATE_WALLET_REQUEST__PLAN_PLAN_ID) {
		struct cg_view plan = cg_view_of(request->plan_id);
		if (!cg_is_plan(plan)) {
			return cg_rule_refuse(work, "plan_id", CG_BOUND_PLAN);
		}
		in->sets_plan = true;
		in->plan_id = cg_rule_keep(work, plan);
	}
	if (request->freeze_case == CALLGATE__V1__UPDATE_WALLET_REQUEST__FREEZE_FROZEN) {
		in->sets_frozen = true;
		in->frozen = request->frozen != 0;
	}
	return finish_low_balance(work, request);
}

static const struct cg_rule get_call_rules[] = {
    CG_ROW_COMPANY(GetCallRequest),
    CG_ROW_KEY(GetCallRequest, call_id, in.get_call.call_id),
};

static const struct cg_rule list_calls_rules[] = {
    CG_ROW_TEXT(ListCallsRequest, page_token, in.list_calls.page_token, CG_BOUND_PAGE_TOKEN,
        cg_is_page_token),
};

static bool finish_list_calls(struct cg_rule_work *work, const void *message)
{
	static const struct cg_rule company = CG_ROW_COMPANY(ListCallsRequest);
	const Callgate__V1__ListCallsRequest *request = message;
	struct cg_list_calls_in *in = &work->req->in.list_calls;

	in->all_companies = request->company_id[0] == '\0';
	if (!in->all_companies && !cg_rule_apply(work, &company, message)) {
		return false;
	}
	if (request->page_size < 0) {
		return cg_rule_refuse(work, "page_size", "0 or more");
	}
	in->page_size = request->page_size == 0 ? 100 : (uint32_t)request->page_size;
	if (in->page_size > CG_LIST_CALLS_PAGE_MAX) {
		in->page_size = CG_LIST_CALLS_PAGE_MAX;
	}
	return true;
}

static const struct cg_rule credit_rules[] = {
    CG_ROW_COMPANY(CreditRequest),
    CG_ROW_INT(CreditRequest, amount_micros, in.credit.amount.micros,
        "-999999999999999..999999999999999", -CG_MONEY_REQUEST_MAX_MICROS,
        CG_MONEY_REQUEST_MAX_MICROS),
    CG_ROW_KEY(CreditRequest, reference_id, in.credit.reference_id),
    CG_ROW_TEXT(
        CreditRequest, description, in.credit.description, CG_BOUND_DESCRIPTION, cg_is_description),
    CG_ROW_DURABILITY(CreditRequest, in.credit.durability),
};

/* What an amount may be hangs on what it is for. */
static bool finish_credit(struct cg_rule_work *work, const void *message)
{
	const Callgate__V1__CreditRequest *request = message;
	struct cg_credit_in *in = &work->req->in.credit;
	int type = (int)request->type;

	if (type < CG_ENTRY_TOP_UP || type > CG_ENTRY_ADJUSTMENT) {
		return cg_rule_refuse(
		    work, "type", "TOP_UP, MONTHLY_GRANT, BONUS, REFUND or ADJUSTMENT");
	}
	in->type = (enum cg_entry_type)type;
	in->asked_by = CG_VIEW_LITERAL("rpc"); /* Until callers carry credentials. */
	bool either_sign = in->type == CG_ENTRY_REFUND || in->type == CG_ENTRY_ADJUSTMENT;
	if (in->amount.micros == 0 && either_sign) {
		return cg_rule_refuse(
		    work, "amount_micros", "-999999999999999..999999999999999, not 0");
	}
	if (in->amount.micros <= 0 && !either_sign) {
		return cg_rule_refuse(work, "amount_micros", "1..999999999999999");
	}
	return true;
}

static const struct cg_rule charge_rules[] = {
    CG_ROW_COMPANY(ChargeRequest),
    CG_ROW_TEXT(
        ChargeRequest, resource_type, in.charge.resource_type, CG_BOUND_RESOURCE, cg_is_resource),
    CG_ROW_INT(ChargeRequest, amount_micros, in.charge.amount.micros, "1..999999999999999", 1,
        CG_MONEY_REQUEST_MAX_MICROS),
    CG_ROW_INT(ChargeRequest, quantity, in.charge.quantity, "1..999999999999999", 1,
        CG_MONEY_REQUEST_MAX_MICROS),
    CG_ROW_KEY(ChargeRequest, reference_id, in.charge.reference_id),
    CG_ROW_TEXT(
        ChargeRequest, description, in.charge.description, CG_BOUND_DESCRIPTION, cg_is_description),
    CG_ROW_META(ChargeRequest, in.charge.meta),
    CG_ROW_DURABILITY(ChargeRequest, in.charge.durability),
};

#define SET(words, last)                                                                           \
	{                                                                                          \
		&callgate__v1__##words##_request__descriptor, words##_rules,                       \
		    CG_COUNT_OF(words##_rules), last                                               \
	}
#define AT(method) [CG_METHOD_##method - CG_RULE_SETS_GATE]

const struct cg_rule_set cg_rules__wallets[CG_RULE_SETS_WALLETS] = {
    AT(CREATE_WALLET) = SET(create_wallet, finish_create_wallet),
    AT(GET_WALLET) = SET(get_wallet, NULL),
    AT(UPDATE_WALLET) = SET(update_wallet, finish_update_wallet),
    AT(GET_BALANCE) = SET(get_balance, NULL),
    AT(GET_CALL) = SET(get_call, NULL),
    AT(LIST_CALLS) = SET(list_calls, finish_list_calls),
    AT(CREDIT) = SET(credit, finish_credit),
    AT(CHARGE) = SET(charge, NULL),
};
