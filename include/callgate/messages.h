/*
 * The contract's messages (proto/callgate/v1/callgate.proto) as plain structs, field by
 * field and with its units:
 *
 *   *_micros   millionths of one major unit of the wallet's currency
 *   *_at_ms    milliseconds since the Unix epoch on the store's clock; 0: not (yet)
 *   *_ms       a duration in milliseconds
 *
 * A request that is all zeros is an empty one; a NULL text counts as "".  In an answer no
 * text is NULL.  The bounds are the server's to check: it answers INVALID_ARGUMENT with
 * the field's name and its bound (struct callgate_error_detail).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CALLGATE_MESSAGES_H
#define CALLGATE_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Refusals in the order in which they are looked for: barred, suspended, no price, concurrency, funds. */
enum callgate_decision {
	CALLGATE_DECISION_UNSPECIFIED = 0,
	CALLGATE_DECISION_ALLOWED = 1,
	CALLGATE_DECISION_DENIED_INSUFFICIENT_FUNDS = 2,
	CALLGATE_DECISION_DENIED_CONCURRENCY_LIMIT = 3,
	CALLGATE_DECISION_DENIED_SUSPENDED = 4,
	CALLGATE_DECISION_DENIED_NO_PRICE = 5,
	CALLGATE_DECISION_DENIED_BARRED = 6
};

enum callgate_call_state {
	CALLGATE_CALL_STATE_UNSPECIFIED = 0,
	CALLGATE_CALL_STATE_AUTHORIZED = 1, /* funds held, not yet connected */
	CALLGATE_CALL_STATE_METERING = 2,   /* connected; its price accrues every second */
	CALLGATE_CALL_STATE_SETTLED = 3,    /* ended and charged */
	CALLGATE_CALL_STATE_CANCELLED = 4,  /* never connected; nothing charged */
	CALLGATE_CALL_STATE_EXPIRED = 5,    /* never started in time; the hold was released */
	CALLGATE_CALL_STATE_ABANDONED = 6,  /* never settled in time; charged as assumed */
	CALLGATE_CALL_STATE_STOPPED = 7     /* the talk is over, its bill is awaited */
};

enum callgate_durability {
	CALLGATE_DURABILITY_UNSPECIFIED = 0, /* as ACCEPTED */
	CALLGATE_DURABILITY_ACCEPTED = 1,    /* the store has it */
	CALLGATE_DURABILITY_COMMITTED = 2    /* the ledger's transaction has committed */
};

/* How the duration that was charged is known. */
enum callgate_duration_basis {
	CALLGATE_DURATION_BASIS_UNSPECIFIED = 0, /* in a request: as REPORTED */
	CALLGATE_DURATION_BASIS_REPORTED = 1,
	CALLGATE_DURATION_BASIS_POLLED = 2,
	CALLGATE_DURATION_BASIS_METERED = 3,
	CALLGATE_DURATION_BASIS_ASSUMED = 4 /* only in answers */
};

enum callgate_entry_type {
	CALLGATE_ENTRY_TYPE_UNSPECIFIED = 0,
	CALLGATE_ENTRY_TYPE_TOP_UP = 1,
	CALLGATE_ENTRY_TYPE_MONTHLY_GRANT = 2,
	CALLGATE_ENTRY_TYPE_BONUS = 3,
	CALLGATE_ENTRY_TYPE_REFUND = 4,
	CALLGATE_ENTRY_TYPE_ADJUSTMENT = 5,
	CALLGATE_ENTRY_TYPE_USAGE = 6 /* never in a Credit */
};

enum callgate_event_type {
	CALLGATE_EVENT_TYPE_UNSPECIFIED = 0,
	CALLGATE_EVENT_TYPE_CALL_AUTHORIZED = 1,
	CALLGATE_EVENT_TYPE_CALL_STARTED = 2,
	CALLGATE_EVENT_TYPE_CALL_SETTLED = 3,
	CALLGATE_EVENT_TYPE_CALL_CANCELLED = 4,
	CALLGATE_EVENT_TYPE_CALL_EXPIRED = 5,
	CALLGATE_EVENT_TYPE_CALL_ABANDONED = 6,
	CALLGATE_EVENT_TYPE_CUT_OFF = 7, /* end this call now; repeated until it ends */
	CALLGATE_EVENT_TYPE_BALANCE_LOW = 8,
	CALLGATE_EVENT_TYPE_CREDITED = 9,
	CALLGATE_EVENT_TYPE_CUT_WARNING = 10,
	CALLGATE_EVENT_TYPE_CALL_CORRECTED = 11,
	CALLGATE_EVENT_TYPE_CALL_DENIED = 12,
	CALLGATE_EVENT_TYPE_CALL_ADOPTED = 13,
	CALLGATE_EVENT_TYPE_CHARGED = 14,
	CALLGATE_EVENT_TYPE_WALLET_UPDATED = 15,
	CALLGATE_EVENT_TYPE_CALL_STOPPED = 16,
	CALLGATE_EVENT_TYPE_CALL_OVERDUE = 17
};

enum callgate_error_reason {
	CALLGATE_ERROR_REASON_UNSPECIFIED = 0,
	CALLGATE_ERROR_REASON_INVALID_FIELD = 1,
	CALLGATE_ERROR_REASON_NO_WALLET = 2,
	CALLGATE_ERROR_REASON_UNKNOWN_CALL = 3,
	CALLGATE_ERROR_REASON_WRONG_STATE = 4,
	CALLGATE_ERROR_REASON_KEY_REUSED = 5,
	CALLGATE_ERROR_REASON_NO_PRICE = 6,
	CALLGATE_ERROR_REASON_TOO_MANY_IN_FLIGHT = 7,
	CALLGATE_ERROR_REASON_OUTBOX_FULL = 8,
	CALLGATE_ERROR_REASON_STORE_UNAVAILABLE = 9,
	CALLGATE_ERROR_REASON_LEDGER_UNAVAILABLE = 10,
	CALLGATE_ERROR_REASON_RECOVERING = 11,
	CALLGATE_ERROR_REASON_SHUTTING_DOWN = 12,
	CALLGATE_ERROR_REASON_TOKEN_TOO_OLD = 13,
	CALLGATE_ERROR_REASON_WATCHER_TOO_SLOW = 14,
	CALLGATE_ERROR_REASON_TOO_MANY_AUTHORIZES = 15
};

/* One entry of a meta map. */
struct callgate_meta {
	const char *key;
	const char *value;
};

/* The price of one call, fixed when it is authorized. */
struct callgate_price {
	int64_t rate_micros_per_minute;
	int64_t connect_fee_micros;
	int64_t minimum_ms;
	int64_t increment_ms;
	const char *currency; /* ISO 4217, lower case */
};

struct callgate_authorize_request {
	const char *company_id;
	const char *call_id;       /* the idempotency key */
	const char *resource_type; /* "voice_inbound", "voice_outbound", ... */
	const char *destination;   /* E.164, or empty */
	int64_t reserve_ms;        /* 0: the plan's default */
	bool start;                /* also Start, in the same step */
	bool validate_only;        /* decide, but hold and keep nothing */
	const struct callgate_meta *meta;
	size_t meta_count;
};

struct callgate_authorize_response {
	enum callgate_decision decision;
	enum callgate_call_state state;
	bool has_price; /* false for NO_PRICE */
	struct callgate_price price;
	int64_t held_micros;
	int64_t available_micros;
	int64_t max_duration_ms;
	int64_t expires_at_ms;
	bool replayed;
	bool degraded; /* decided by the plan's outage policy; nothing is held or metered */
	int64_t required_micros;
	enum callgate_decision shadow_decision;
	int64_t as_of_ms;
};

struct callgate_start_request {
	const char *company_id;
	const char *call_id;
	int64_t started_at_ms; /* 0: now */
};

struct callgate_start_response {
	enum callgate_decision decision; /* a hold that had expired is decided anew */
	enum callgate_call_state state;
	int64_t started_at_ms;
	int64_t max_duration_ms;
	bool replayed;
	int64_t available_micros;
	enum callgate_decision shadow_decision;
	int64_t as_of_ms;
};

struct callgate_stop_request {
	const char *company_id;
	const char *call_id;
	int64_t ended_at_ms; /* 0: now */
};

struct callgate_stop_response {
	enum callgate_call_state state;
	int64_t metered_ms;
	int64_t accrued_micros;
	int64_t available_micros;
	bool replayed;
};

/* Which of Settle's durations is set; one must be. */
enum callgate_settle_duration {
	CALLGATE_SETTLE_DURATION_UNSET = 0,
	CALLGATE_SETTLE_DURATION_MS = 1,        /* duration_ms; 0: never connected */
	CALLGATE_SETTLE_DURATION_AS_METERED = 2 /* as_metered, which must be true */
};

struct callgate_settle_request {
	const char *company_id;
	const char *call_id;
	enum callgate_settle_duration duration;
	int64_t duration_ms;
	bool as_metered;
	const char *resource_type; /* with destination: prices a call never authorized here */
	const char *destination;
	enum callgate_durability durability;
	const struct callgate_meta *meta; /* merged over the call's */
	size_t meta_count;
	int64_t started_at_ms; /* as the provider reports it; 0: unknown */
	enum callgate_duration_basis basis;
	int64_t ended_at_ms; /* with as_metered; 0: now */
};

struct callgate_settle_response {
	enum callgate_call_state state;
	int64_t cost_micros;
	int64_t billed_ms;
	int64_t balance_micros;
	int64_t available_micros;
	bool replayed;
	bool late;
	const char *ledger_id;
	int64_t duration_ms;
	enum callgate_duration_basis basis;
	bool has_price;
	struct callgate_price price;
	int64_t corrected_micros;
};

struct callgate_cancel_request {
	const char *company_id;
	const char *call_id;
};

struct callgate_cancel_response {
	enum callgate_call_state state;
	int64_t released_micros;
	int64_t available_micros;
	bool replayed;
};

struct callgate_adopt_request {
	const char *company_id;
	const char *call_id;
	const char *resource_type;
	const char *destination;
	int64_t started_at_ms; /* > 0 */
	const struct callgate_meta *meta;
	size_t meta_count;
};

struct callgate_adopt_response {
	enum callgate_call_state state;
	bool has_price;
	struct callgate_price price;
	int64_t max_duration_ms; /* from started_at_ms */
	int64_t held_micros;
	int64_t available_micros;
	bool replayed;
	int64_t as_of_ms;
};

/* Which threshold announces BALANCE_LOW. */
enum callgate_low_balance {
	CALLGATE_LOW_BALANCE_UNSET = 0,
	CALLGATE_LOW_BALANCE_MICROS = 1,      /* low_balance_micros */
	CALLGATE_LOW_BALANCE_REMAINING_MS = 2 /* low_balance_remaining_ms */
};

struct callgate_wallet {
	const char *company_id;
	const char *wallet_id;
	const char *currency;
	const char *plan_id;
	bool frozen;
	enum callgate_low_balance low_balance;
	int64_t low_balance_micros;
	int64_t low_balance_remaining_ms;
	int64_t created_at_ms;
};

struct callgate_create_wallet_request {
	const char *company_id;
	const char *currency; /* empty: "usd" */
	const char *plan_id;  /* empty: "starter" */
};

struct callgate_create_wallet_response {
	bool has_wallet;
	struct callgate_wallet wallet;
	bool replayed;
};

struct callgate_get_wallet_request {
	const char *company_id;
};

struct callgate_get_wallet_response {
	bool has_wallet;
	struct callgate_wallet wallet;
};

/* What is not set stays. */
struct callgate_update_wallet_request {
	const char *company_id;
	bool sets_plan;
	const char *plan_id;
	bool sets_frozen;
	bool frozen;
	enum callgate_low_balance low_balance;
	int64_t low_balance_micros;
	int64_t low_balance_remaining_ms;
};

struct callgate_update_wallet_response {
	bool has_wallet;
	struct callgate_wallet wallet;
};

struct callgate_get_balance_request {
	const char *company_id;
};

/* available = posted + credit_limit - held - accrued */
struct callgate_get_balance_response {
	const char *company_id;
	const char *currency;
	const char *plan_id;
	int64_t posted_micros;
	int64_t held_micros;
	int64_t accrued_micros;
	int64_t credit_limit_micros;
	int64_t available_micros;
	int64_t burn_micros_per_minute;
	int64_t active_calls;
	int64_t exhausts_at_ms; /* 0: never */
	int64_t as_of_ms;
	bool credit_unlimited;
	bool frozen;
};

struct callgate_call {
	const char *call_id;
	enum callgate_call_state state;
	bool has_price;
	struct callgate_price price;
	const char *resource_type;
	int64_t held_micros;
	int64_t accrued_micros;
	int64_t authorized_at_ms;
	int64_t started_at_ms;
	const struct callgate_meta *meta;
	size_t meta_count;
	const char *company_id;
	const char *destination;
	int64_t expires_at_ms;
	enum callgate_decision shadow_decision;
	int64_t ended_at_ms;
	int64_t cost_micros;
	int64_t billed_ms;
	int64_t duration_ms;
	enum callgate_duration_basis basis;
	bool late;
	const char *ledger_id;
};

struct callgate_get_call_request {
	const char *company_id;
	const char *call_id;
};

struct callgate_get_call_response {
	bool has_call;
	struct callgate_call call;
};

struct callgate_list_calls_request {
	const char *company_id; /* empty: every company the credential may see */
	int32_t page_size;      /* 0: 100 */
	const char *page_token; /* as answered, with the same company_id */
};

struct callgate_list_calls_response {
	const struct callgate_call *calls;
	size_t calls_count;
	const char *next_page_token; /* empty: that was all */
};

struct callgate_credit_request {
	const char *company_id;
	int64_t amount_micros; /* < 0 only for ADJUSTMENT and REFUND */
	enum callgate_entry_type type;
	const char *reference_id; /* the idempotency key, with the type */
	const char *description;
	enum callgate_durability durability;
};

struct callgate_credit_response {
	int64_t balance_micros;
	int64_t available_micros;
	bool replayed;
	const char *ledger_id;
};

struct callgate_charge_request {
	const char *company_id;
	const char *resource_type;
	int64_t amount_micros;    /* > 0 */
	int64_t quantity;         /* >= 1 */
	const char *reference_id; /* shares its key space with call_id */
	const char *description;
	const struct callgate_meta *meta;
	size_t meta_count;
	enum callgate_durability durability;
};

struct callgate_charge_response {
	int64_t balance_micros;
	int64_t available_micros;
	bool replayed;
	const char *ledger_id;
};

/* What went wrong, for programs. */
struct callgate_error_detail {
	enum callgate_error_reason reason;
	const char *field;              /* INVALID_FIELD: its path in the request, "meta[city]" */
	const char *bound;              /* INVALID_FIELD: what it must be */
	enum callgate_call_state state; /* WRONG_STATE: the call's */
	bool has_settled;
	struct callgate_settle_response settled; /* KEY_REUSED by Settle: what was charged */
	int64_t retry_after_ms;                  /* 0: no advice */
};

struct callgate_watch_request {
	const char *company_id;                /* empty: every company the credential may see */
	const char *resume_token;              /* the last one received; empty: from now on */
	const enum callgate_event_type *types; /* type_count of them; none: all */
	size_t type_count;
};

struct callgate_event {
	const char *id; /* unique for ever; the same on every delivery: drop duplicates by it */
	int64_t at_ms;
	const char *company_id;
	const char *call_id;
	enum callgate_event_type type;
	int64_t amount_micros;
	int64_t available_micros;
	const struct callgate_meta *meta;
	size_t meta_count;
	int64_t remaining_ms;
	int64_t exhausts_at_ms; /* T*; 0: never */
	int32_t repeat;
	enum callgate_decision decision;
	enum callgate_decision shadow_decision;
	bool shadow; /* to record, not to obey */
	const char *ledger_id;
	int64_t billed_ms;
	enum callgate_duration_basis basis;
	enum callgate_entry_type entry_type;
	const char *reference_id;
};

struct callgate_watch_response {
	const struct callgate_event *event; /* NULL: a heartbeat */
	const char *resume_token;           /* empty: keep the one before */
	int64_t as_of_ms;
};

#ifdef __cplusplus
}
#endif

#endif /* CALLGATE_MESSAGES_H */
