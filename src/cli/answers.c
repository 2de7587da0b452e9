/*
 * Field by field and in the contract's order; every field of a message is always there, so
 * that a reader need not guess whether it was 0 or left out.  A message that is not set, and
 * the sides of a oneof that are not, are null.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/answers.h"

#include "cli/output.h"

#define TEXT(name)   cg_output_add_text(to, #name, from->name)
#define INT(name)    cg_output_add_int(to, #name, from->name)
#define BOOL(name)   cg_output_add_bool(to, #name, from->name)
#define STATE(name)  cg_output_add_text(to, #name, cg_answers_state(from->name))
#define DECIDE(name) cg_output_add_text(to, #name, cg_answers_decision(from->name))
#define BASIS(name)  cg_output_add_text(to, #name, cg_answers_basis(from->name))
#define PRICE()      add_price(to, from->has_price, &from->price)

const char *cg_answers_decision(enum callgate_decision decision)
{
	switch (decision) {
	case CALLGATE_DECISION_UNSPECIFIED:
		break;
	case CALLGATE_DECISION_ALLOWED:
		return "DECISION_ALLOWED";
	case CALLGATE_DECISION_DENIED_INSUFFICIENT_FUNDS:
		return "DECISION_DENIED_INSUFFICIENT_FUNDS";
	case CALLGATE_DECISION_DENIED_CONCURRENCY_LIMIT:
		return "DECISION_DENIED_CONCURRENCY_LIMIT";
	case CALLGATE_DECISION_DENIED_SUSPENDED:
		return "DECISION_DENIED_SUSPENDED";
	case CALLGATE_DECISION_DENIED_NO_PRICE:
		return "DECISION_DENIED_NO_PRICE";
	case CALLGATE_DECISION_DENIED_BARRED:
		return "DECISION_DENIED_BARRED";
	}
	return "DECISION_UNSPECIFIED";
}

const char *cg_answers_state(enum callgate_call_state state)
{
	switch (state) {
	case CALLGATE_CALL_STATE_UNSPECIFIED:
		break;
	case CALLGATE_CALL_STATE_AUTHORIZED:
		return "CALL_STATE_AUTHORIZED";
	case CALLGATE_CALL_STATE_METERING:
		return "CALL_STATE_METERING";
	case CALLGATE_CALL_STATE_SETTLED:
		return "CALL_STATE_SETTLED";
	case CALLGATE_CALL_STATE_CANCELLED:
		return "CALL_STATE_CANCELLED";
	case CALLGATE_CALL_STATE_EXPIRED:
		return "CALL_STATE_EXPIRED";
	case CALLGATE_CALL_STATE_ABANDONED:
		return "CALL_STATE_ABANDONED";
	case CALLGATE_CALL_STATE_STOPPED:
		return "CALL_STATE_STOPPED";
	}
	return "CALL_STATE_UNSPECIFIED";
}

const char *cg_answers_basis(enum callgate_duration_basis basis)
{
	switch (basis) {
	case CALLGATE_DURATION_BASIS_UNSPECIFIED:
		break;
	case CALLGATE_DURATION_BASIS_REPORTED:
		return "DURATION_BASIS_REPORTED";
	case CALLGATE_DURATION_BASIS_POLLED:
		return "DURATION_BASIS_POLLED";
	case CALLGATE_DURATION_BASIS_METERED:
		return "DURATION_BASIS_METERED";
	case CALLGATE_DURATION_BASIS_ASSUMED:
		return "DURATION_BASIS_ASSUMED";
	}
	return "DURATION_BASIS_UNSPECIFIED";
}

const char *cg_answers_event_type(enum callgate_event_type type)
{
	static const char *const names[] = {
	    [CALLGATE_EVENT_TYPE_UNSPECIFIED] = "EVENT_TYPE_UNSPECIFIED",
	    [CALLGATE_EVENT_TYPE_CALL_AUTHORIZED] = "EVENT_TYPE_CALL_AUTHORIZED",
	    [CALLGATE_EVENT_TYPE_CALL_STARTED] = "EVENT_TYPE_CALL_STARTED",
	    [CALLGATE_EVENT_TYPE_CALL_SETTLED] = "EVENT_TYPE_CALL_SETTLED",
	    [CALLGATE_EVENT_TYPE_CALL_CANCELLED] = "EVENT_TYPE_CALL_CANCELLED",
	    [CALLGATE_EVENT_TYPE_CALL_EXPIRED] = "EVENT_TYPE_CALL_EXPIRED",
	    [CALLGATE_EVENT_TYPE_CALL_ABANDONED] = "EVENT_TYPE_CALL_ABANDONED",
	    [CALLGATE_EVENT_TYPE_CUT_OFF] = "EVENT_TYPE_CUT_OFF",
	    [CALLGATE_EVENT_TYPE_BALANCE_LOW] = "EVENT_TYPE_BALANCE_LOW",
	    [CALLGATE_EVENT_TYPE_CREDITED] = "EVENT_TYPE_CREDITED",
	    [CALLGATE_EVENT_TYPE_CUT_WARNING] = "EVENT_TYPE_CUT_WARNING",
	    [CALLGATE_EVENT_TYPE_CALL_CORRECTED] = "EVENT_TYPE_CALL_CORRECTED",
	    [CALLGATE_EVENT_TYPE_CALL_DENIED] = "EVENT_TYPE_CALL_DENIED",
	    [CALLGATE_EVENT_TYPE_CALL_ADOPTED] = "EVENT_TYPE_CALL_ADOPTED",
	    [CALLGATE_EVENT_TYPE_CHARGED] = "EVENT_TYPE_CHARGED",
	    [CALLGATE_EVENT_TYPE_WALLET_UPDATED] = "EVENT_TYPE_WALLET_UPDATED",
	    [CALLGATE_EVENT_TYPE_CALL_STOPPED] = "EVENT_TYPE_CALL_STOPPED",
	    [CALLGATE_EVENT_TYPE_CALL_OVERDUE] = "EVENT_TYPE_CALL_OVERDUE",
	};

	return (size_t)type < sizeof names / sizeof names[0] ? names[type] : names[0];
}

const char *cg_answers_entry_type(enum callgate_entry_type type)
{
	static const char *const names[] = {
	    [CALLGATE_ENTRY_TYPE_UNSPECIFIED] = "ENTRY_TYPE_UNSPECIFIED",
	    [CALLGATE_ENTRY_TYPE_TOP_UP] = "ENTRY_TYPE_TOP_UP",
	    [CALLGATE_ENTRY_TYPE_MONTHLY_GRANT] = "ENTRY_TYPE_MONTHLY_GRANT",
	    [CALLGATE_ENTRY_TYPE_BONUS] = "ENTRY_TYPE_BONUS",
	    [CALLGATE_ENTRY_TYPE_REFUND] = "ENTRY_TYPE_REFUND",
	    [CALLGATE_ENTRY_TYPE_ADJUSTMENT] = "ENTRY_TYPE_ADJUSTMENT",
	    [CALLGATE_ENTRY_TYPE_USAGE] = "ENTRY_TYPE_USAGE",
	};

	return (size_t)type < sizeof names / sizeof names[0] ? names[type] : names[0];
}

const char *cg_answers_reason(enum callgate_error_reason reason)
{
	static const char *const names[] = {
	    [CALLGATE_ERROR_REASON_UNSPECIFIED] = "ERROR_REASON_UNSPECIFIED",
	    [CALLGATE_ERROR_REASON_INVALID_FIELD] = "ERROR_REASON_INVALID_FIELD",
	    [CALLGATE_ERROR_REASON_NO_WALLET] = "ERROR_REASON_NO_WALLET",
	    [CALLGATE_ERROR_REASON_UNKNOWN_CALL] = "ERROR_REASON_UNKNOWN_CALL",
	    [CALLGATE_ERROR_REASON_WRONG_STATE] = "ERROR_REASON_WRONG_STATE",
	    [CALLGATE_ERROR_REASON_KEY_REUSED] = "ERROR_REASON_KEY_REUSED",
	    [CALLGATE_ERROR_REASON_NO_PRICE] = "ERROR_REASON_NO_PRICE",
	    [CALLGATE_ERROR_REASON_TOO_MANY_IN_FLIGHT] = "ERROR_REASON_TOO_MANY_IN_FLIGHT",
	    [CALLGATE_ERROR_REASON_OUTBOX_FULL] = "ERROR_REASON_OUTBOX_FULL",
	    [CALLGATE_ERROR_REASON_STORE_UNAVAILABLE] = "ERROR_REASON_STORE_UNAVAILABLE",
	    [CALLGATE_ERROR_REASON_LEDGER_UNAVAILABLE] = "ERROR_REASON_LEDGER_UNAVAILABLE",
	    [CALLGATE_ERROR_REASON_RECOVERING] = "ERROR_REASON_RECOVERING",
	    [CALLGATE_ERROR_REASON_SHUTTING_DOWN] = "ERROR_REASON_SHUTTING_DOWN",
	    [CALLGATE_ERROR_REASON_TOKEN_TOO_OLD] = "ERROR_REASON_TOKEN_TOO_OLD",
	    [CALLGATE_ERROR_REASON_WATCHER_TOO_SLOW] = "ERROR_REASON_WATCHER_TOO_SLOW",
	    [CALLGATE_ERROR_REASON_TOO_MANY_AUTHORIZES] = "ERROR_REASON_TOO_MANY_AUTHORIZES",
	};

	return (size_t)reason < sizeof names / sizeof names[0] ? names[reason] : names[0];
}

const char *cg_answers_status(enum callgate_status status)
{
	static const char *const names[] = {
	    [CALLGATE_STATUS_OK] = "OK",
	    [CALLGATE_STATUS_CANCELLED] = "CANCELLED",
	    [CALLGATE_STATUS_UNKNOWN] = "UNKNOWN",
	    [CALLGATE_STATUS_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
	    [CALLGATE_STATUS_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
	    [CALLGATE_STATUS_NOT_FOUND] = "NOT_FOUND",
	    [CALLGATE_STATUS_ALREADY_EXISTS] = "ALREADY_EXISTS",
	    [CALLGATE_STATUS_PERMISSION_DENIED] = "PERMISSION_DENIED",
	    [CALLGATE_STATUS_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
	    [CALLGATE_STATUS_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
	    [CALLGATE_STATUS_ABORTED] = "ABORTED",
	    [CALLGATE_STATUS_OUT_OF_RANGE] = "OUT_OF_RANGE",
	    [CALLGATE_STATUS_UNIMPLEMENTED] = "UNIMPLEMENTED",
	    [CALLGATE_STATUS_INTERNAL] = "INTERNAL",
	    [CALLGATE_STATUS_UNAVAILABLE] = "UNAVAILABLE",
	    [CALLGATE_STATUS_DATA_LOSS] = "DATA_LOSS",
	    [CALLGATE_STATUS_UNAUTHENTICATED] = "UNAUTHENTICATED",
	};

	return (size_t)status < sizeof names / sizeof names[0] ? names[status] : "UNKNOWN";
}

static void add_price(json_t *object, bool has_price, const struct callgate_price *from)
{
	json_t *to = json_object();

	INT(rate_micros_per_minute);
	INT(connect_fee_micros);
	INT(minimum_ms);
	INT(increment_ms);
	TEXT(currency);
	if (has_price) {
		json_object_set_new(object, "price", to);
	} else {
		json_decref(to);
		json_object_set_new(object, "price", json_null());
	}
}

json_t *cg_answers_wallet(const struct callgate_wallet *from)
{
	json_t *to = json_object();

	TEXT(company_id);
	TEXT(wallet_id);
	TEXT(currency);
	TEXT(plan_id);
	BOOL(frozen);
	cg_output_add_text(to, "low_balance_micros", NULL);
	cg_output_add_text(to, "low_balance_remaining_ms", NULL);
	if (from->low_balance == CALLGATE_LOW_BALANCE_MICROS) {
		INT(low_balance_micros);
	} else if (from->low_balance == CALLGATE_LOW_BALANCE_REMAINING_MS) {
		INT(low_balance_remaining_ms);
	}
	INT(created_at_ms);
	return to;
}

json_t *cg_answers_balance(const struct callgate_get_balance_response *from)
{
	json_t *to = json_object();

	TEXT(company_id);
	TEXT(currency);
	TEXT(plan_id);
	INT(posted_micros);
	INT(held_micros);
	INT(accrued_micros);
	INT(credit_limit_micros);
	INT(available_micros);
	INT(burn_micros_per_minute);
	INT(active_calls);
	INT(exhausts_at_ms);
	INT(as_of_ms);
	BOOL(credit_unlimited);
	BOOL(frozen);
	return to;
}

static void add_meta(json_t *to, const struct callgate_meta *pairs, size_t count)
{
	json_t *meta = json_object();

	for (size_t i = 0; i < count; i++) {
		cg_output_add_text(meta, pairs[i].key, pairs[i].value);
	}
	json_object_set_new(to, "meta", meta);
}

static json_t *event(const struct callgate_event *from)
{
	json_t *to = json_object();

	TEXT(id);
	INT(at_ms);
	TEXT(company_id);
	TEXT(call_id);
	cg_output_add_text(to, "type", cg_answers_event_type(from->type));
	INT(amount_micros);
	INT(available_micros);
	add_meta(to, from->meta, from->meta_count);
	INT(remaining_ms);
	INT(exhausts_at_ms);
	INT(repeat);
	DECIDE(decision);
	DECIDE(shadow_decision);
	BOOL(shadow);
	TEXT(ledger_id);
	INT(billed_ms);
	BASIS(basis);
	cg_output_add_text(to, "entry_type", cg_answers_entry_type(from->entry_type));
	TEXT(reference_id);
	return to;
}

json_t *cg_answers_watch(const struct callgate_watch_response *from)
{
	json_t *to = json_object();

	json_object_set_new(to, "event", from->event == NULL ? json_null() : event(from->event));
	TEXT(resume_token);
	INT(as_of_ms);
	return to;
}

json_t *cg_answers_call(const struct callgate_call *from)
{
	json_t *to = json_object();

	TEXT(call_id);
	STATE(state);
	PRICE();
	TEXT(resource_type);
	INT(held_micros);
	INT(accrued_micros);
	INT(authorized_at_ms);
	INT(started_at_ms);
	add_meta(to, from->meta, from->meta_count);
	TEXT(company_id);
	TEXT(destination);
	INT(expires_at_ms);
	DECIDE(shadow_decision);
	INT(ended_at_ms);
	INT(cost_micros);
	INT(billed_ms);
	INT(duration_ms);
	BASIS(basis);
	BOOL(late);
	TEXT(ledger_id);
	return to;
}

json_t *cg_answers_authorize(const struct callgate_authorize_response *from)
{
	json_t *to = json_object();

	DECIDE(decision);
	STATE(state);
	PRICE();
	INT(held_micros);
	INT(available_micros);
	INT(max_duration_ms);
	INT(expires_at_ms);
	BOOL(replayed);
	BOOL(degraded);
	INT(required_micros);
	DECIDE(shadow_decision);
	INT(as_of_ms);
	return to;
}

json_t *cg_answers_start(const struct callgate_start_response *from)
{
	json_t *to = json_object();

	DECIDE(decision);
	STATE(state);
	INT(started_at_ms);
	INT(max_duration_ms);
	BOOL(replayed);
	INT(available_micros);
	DECIDE(shadow_decision);
	INT(as_of_ms);
	return to;
}

json_t *cg_answers_stop(const struct callgate_stop_response *from)
{
	json_t *to = json_object();

	STATE(state);
	INT(metered_ms);
	INT(accrued_micros);
	INT(available_micros);
	BOOL(replayed);
	return to;
}

json_t *cg_answers_settle(const struct callgate_settle_response *from)
{
	json_t *to = json_object();

	STATE(state);
	INT(cost_micros);
	INT(billed_ms);
	INT(balance_micros);
	INT(available_micros);
	BOOL(replayed);
	BOOL(late);
	TEXT(ledger_id);
	INT(duration_ms);
	BASIS(basis);
	PRICE();
	INT(corrected_micros);
	return to;
}

json_t *cg_answers_cancel(const struct callgate_cancel_response *from)
{
	json_t *to = json_object();

	STATE(state);
	INT(released_micros);
	INT(available_micros);
	BOOL(replayed);
	return to;
}

json_t *cg_answers_adopt(const struct callgate_adopt_response *from)
{
	json_t *to = json_object();

	STATE(state);
	PRICE();
	INT(max_duration_ms);
	INT(held_micros);
	INT(available_micros);
	BOOL(replayed);
	INT(as_of_ms);
	return to;
}

json_t *cg_answers_credit(const struct callgate_credit_response *from)
{
	json_t *to = json_object();

	INT(balance_micros);
	INT(available_micros);
	BOOL(replayed);
	TEXT(ledger_id);
	return to;
}

json_t *cg_answers_charge(const struct callgate_charge_response *from)
{
	json_t *to = json_object();

	INT(balance_micros);
	INT(available_micros);
	BOOL(replayed);
	TEXT(ledger_id);
	return to;
}
