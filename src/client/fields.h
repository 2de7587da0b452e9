/*
 * The contract's messages, field by field, once: the codec is generated from these lists.
 * A field that the contract gains is one word here and one member in messages.h.
 *
 *   TEXT   const char *       INT    int64_t
 *   BOOL   bool               SMALL  int32_t
 *   ENUM   of a request: sent as it is, the server judges it
 *   KNOWN  of an answer: what this version does not know is read as UNSPECIFIED
 *   META   key/value pairs
 *   PRICE, WALLET, ONE_CALL, SETTLED  a message inside, with its `has_`
 *   SETTLE_DURATION, WALLET_CHANGES, LOW_BALANCE  a oneof, written out beside the codec
 *   CALLS, TYPES  repeated
 *   EVENT  a message inside, NULL where it is not there
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLIENT_FIELDS_H
#define CG_CLIENT_FIELDS_H

/* Laid out by hand: clang-format takes the lists for code. */
/* clang-format off */

#define FIELDS_AUTHORIZE_REQUEST \
	TEXT(company_id) TEXT(call_id) TEXT(resource_type) TEXT(destination) INT(reserve_ms) \
	BOOL(start) BOOL(validate_only) META(AuthorizeRequest, authorize_request)

#define FIELDS_START_REQUEST TEXT(company_id) TEXT(call_id) INT(started_at_ms)

#define FIELDS_STOP_REQUEST TEXT(company_id) TEXT(call_id) INT(ended_at_ms)

#define FIELDS_SETTLE_REQUEST \
	TEXT(company_id) TEXT(call_id) SETTLE_DURATION TEXT(resource_type) TEXT(destination) \
	ENUM(durability) META(SettleRequest, settle_request) INT(started_at_ms) ENUM(basis) \
	INT(ended_at_ms)

#define FIELDS_CANCEL_REQUEST TEXT(company_id) TEXT(call_id)

#define FIELDS_ADOPT_REQUEST \
	TEXT(company_id) TEXT(call_id) TEXT(resource_type) TEXT(destination) \
	INT(started_at_ms) META(AdoptRequest, adopt_request)

#define FIELDS_CREATE_WALLET_REQUEST TEXT(company_id) TEXT(currency) TEXT(plan_id)

#define FIELDS_GET_WALLET_REQUEST TEXT(company_id)

#define FIELDS_UPDATE_WALLET_REQUEST TEXT(company_id) WALLET_CHANGES

#define FIELDS_GET_BALANCE_REQUEST TEXT(company_id)

#define FIELDS_GET_CALL_REQUEST TEXT(company_id) TEXT(call_id)

#define FIELDS_LIST_CALLS_REQUEST TEXT(company_id) SMALL(page_size) TEXT(page_token)

#define FIELDS_CREDIT_REQUEST \
	TEXT(company_id) INT(amount_micros) ENUM(type) TEXT(reference_id) TEXT(description) \
	ENUM(durability)

#define FIELDS_CHARGE_REQUEST \
	TEXT(company_id) TEXT(resource_type) INT(amount_micros) INT(quantity) \
	TEXT(reference_id) TEXT(description) META(ChargeRequest, charge_request) \
	ENUM(durability)

#define FIELDS_WATCH_REQUEST TEXT(company_id) TEXT(resume_token) TYPES

#define FIELDS_PRICE \
	INT(rate_micros_per_minute) INT(connect_fee_micros) INT(minimum_ms) \
	INT(increment_ms) TEXT(currency)

#define FIELDS_WALLET \
	TEXT(company_id) TEXT(wallet_id) TEXT(currency) TEXT(plan_id) BOOL(frozen) \
	LOW_BALANCE INT(created_at_ms)

#define FIELDS_CALL \
	TEXT(call_id) KNOWN(state, CALL_STATE) PRICE TEXT(resource_type) INT(held_micros) \
	INT(accrued_micros) INT(authorized_at_ms) INT(started_at_ms) META(Call, call) \
	TEXT(company_id) TEXT(destination) INT(expires_at_ms) \
	KNOWN(shadow_decision, DECISION) INT(ended_at_ms) INT(cost_micros) INT(billed_ms) \
	INT(duration_ms) KNOWN(basis, DURATION_BASIS) BOOL(late) TEXT(ledger_id)

#define FIELDS_EVENT \
	TEXT(id) INT(at_ms) TEXT(company_id) TEXT(call_id) KNOWN(type, EVENT_TYPE) \
	INT(amount_micros) INT(available_micros) META(Event, event) INT(remaining_ms) \
	INT(exhausts_at_ms) SMALL(repeat) KNOWN(decision, DECISION) \
	KNOWN(shadow_decision, DECISION) BOOL(shadow) TEXT(ledger_id) INT(billed_ms) \
	KNOWN(basis, DURATION_BASIS) KNOWN(entry_type, ENTRY_TYPE) TEXT(reference_id)

#define FIELDS_AUTHORIZE_RESPONSE \
	KNOWN(decision, DECISION) KNOWN(state, CALL_STATE) PRICE INT(held_micros) \
	INT(available_micros) INT(max_duration_ms) INT(expires_at_ms) BOOL(replayed) \
	BOOL(degraded) INT(required_micros) KNOWN(shadow_decision, DECISION) INT(as_of_ms)

#define FIELDS_START_RESPONSE \
	KNOWN(decision, DECISION) KNOWN(state, CALL_STATE) INT(started_at_ms) \
	INT(max_duration_ms) BOOL(replayed) INT(available_micros) \
	KNOWN(shadow_decision, DECISION) INT(as_of_ms)

#define FIELDS_STOP_RESPONSE \
	KNOWN(state, CALL_STATE) INT(metered_ms) INT(accrued_micros) INT(available_micros) \
	BOOL(replayed)

#define FIELDS_SETTLE_RESPONSE \
	KNOWN(state, CALL_STATE) INT(cost_micros) INT(billed_ms) INT(balance_micros) \
	INT(available_micros) BOOL(replayed) BOOL(late) TEXT(ledger_id) INT(duration_ms) \
	KNOWN(basis, DURATION_BASIS) PRICE INT(corrected_micros)

#define FIELDS_CANCEL_RESPONSE \
	KNOWN(state, CALL_STATE) INT(released_micros) INT(available_micros) BOOL(replayed)

#define FIELDS_ADOPT_RESPONSE \
	KNOWN(state, CALL_STATE) PRICE INT(max_duration_ms) INT(held_micros) \
	INT(available_micros) BOOL(replayed) INT(as_of_ms)

#define FIELDS_CREATE_WALLET_RESPONSE WALLET BOOL(replayed)

#define FIELDS_GET_WALLET_RESPONSE WALLET

#define FIELDS_UPDATE_WALLET_RESPONSE WALLET

#define FIELDS_GET_BALANCE_RESPONSE \
	TEXT(company_id) TEXT(currency) TEXT(plan_id) INT(posted_micros) INT(held_micros) \
	INT(accrued_micros) INT(credit_limit_micros) INT(available_micros) \
	INT(burn_micros_per_minute) INT(active_calls) INT(exhausts_at_ms) INT(as_of_ms) \
	BOOL(credit_unlimited) BOOL(frozen)

#define FIELDS_GET_CALL_RESPONSE ONE_CALL

#define FIELDS_LIST_CALLS_RESPONSE CALLS TEXT(next_page_token)

#define FIELDS_CREDIT_RESPONSE \
	INT(balance_micros) INT(available_micros) BOOL(replayed) TEXT(ledger_id)

#define FIELDS_CHARGE_RESPONSE \
	INT(balance_micros) INT(available_micros) BOOL(replayed) TEXT(ledger_id)

#define FIELDS_WATCH_RESPONSE EVENT TEXT(resume_token) INT(as_of_ms)

#define FIELDS_ERROR_DETAIL \
	KNOWN(reason, ERROR_REASON) TEXT(field) TEXT(bound) KNOWN(state, CALL_STATE) SETTLED \
	INT(retry_after_ms)

/* clang-format on */

/* X(name, NAME, Type, service) for each operation; the enum's order. */
#define OPERATIONS(X)                                                                              \
	X(authorize, AUTHORIZE, Authorize, "Gate")                                                 \
	X(start, START, Start, "Gate")                                                             \
	X(stop, STOP, Stop, "Gate")                                                                \
	X(settle, SETTLE, Settle, "Gate")                                                          \
	X(cancel, CANCEL, Cancel, "Gate")                                                          \
	X(adopt, ADOPT, Adopt, "Gate")                                                             \
	X(create_wallet, CREATE_WALLET, CreateWallet, "Wallets")                                   \
	X(get_wallet, GET_WALLET, GetWallet, "Wallets")                                            \
	X(update_wallet, UPDATE_WALLET, UpdateWallet, "Wallets")                                   \
	X(get_balance, GET_BALANCE, GetBalance, "Wallets")                                         \
	X(get_call, GET_CALL, GetCall, "Wallets")                                                  \
	X(list_calls, LIST_CALLS, ListCalls, "Wallets")                                            \
	X(credit, CREDIT, Credit, "Wallets")                                                       \
	X(charge, CHARGE, Charge, "Wallets")

/* The stream too: its answers are its messages. */
#define METHODS(X) OPERATIONS(X) X(watch, WATCH, Watch, "Wallets")

#endif /* CG_CLIENT_FIELDS_H */
