/*
 * One request to the gate, from its arrival to its one answer.
 *
 * Whoever receives requests (src/rpc/, the receipt sweeper) fills in the upper part with
 * checked values, submits, and reads the lower part in `done`.  As for every port:
 * submitting cannot fail, `done` runs exactly once on the loop thread and never before
 * submit has returned; until then the request and the views in `in` belong to the gate;
 * views in `out` are gone when `done` returns.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_GATE_REQUEST_H
#define CG_GATE_REQUEST_H

#include "gate/ports/ledger.h"
#include "gate/ports/store.h"

struct cg_gate;
struct cg_loaded;
struct cg_machine;
struct cg_request;

/* An abandoned call as the ledger has it, charged by assumption and not corrected yet. */
struct cg_assumed_call {
	struct cg_money cost;
	int64_t billed_ms;
	int64_t started_at_ms;
	struct cg_price price;
	char resource_type[65];
	char destination[17];
	/* The call's and then the request's, on the heap; NULL: the request's alone. */
	char *meta;
	size_t meta_bytes;
};

enum cg_method {
	CG_METHOD_AUTHORIZE,
	CG_METHOD_START,
	CG_METHOD_STOP,
	CG_METHOD_SETTLE,
	CG_METHOD_CANCEL,
	CG_METHOD_ADOPT,
	CG_METHOD_CREATE_WALLET,
	CG_METHOD_GET_WALLET,
	CG_METHOD_UPDATE_WALLET,
	CG_METHOD_GET_BALANCE,
	CG_METHOD_GET_CALL,
	CG_METHOD_LIST_CALLS,
	CG_METHOD_CREDIT,
	CG_METHOD_CHARGE,
	CG_METHOD_COUNT
};

/* Why a request ended without its answer; the contract's ErrorReason, same numbers. */
enum cg_reason {
	CG_REASON_NONE = 0,
	CG_REASON_INVALID_FIELD = 1,
	CG_REASON_NO_WALLET = 2,
	CG_REASON_UNKNOWN_CALL = 3,
	CG_REASON_WRONG_STATE = 4,
	CG_REASON_KEY_REUSED = 5,
	CG_REASON_NO_PRICE = 6,
	CG_REASON_TOO_MANY_IN_FLIGHT = 7,
	CG_REASON_OUTBOX_FULL = 8,
	CG_REASON_STORE_UNAVAILABLE = 9,
	CG_REASON_LEDGER_UNAVAILABLE = 10,
	CG_REASON_RECOVERING = 11,
	CG_REASON_SHUTTING_DOWN = 12,
	CG_REASON_TOKEN_TOO_OLD = 13,
	CG_REASON_WATCHER_TOO_SLOW = 14,
	CG_REASON_TOO_MANY_AUTHORIZES = 15,
};

struct cg_authorize_in {
	struct cg_view call_id;
	struct cg_view resource_type;
	struct cg_view destination;
	int64_t reserve_ms; /* 0: the plan's default */
	bool start;
	struct cg_meta meta;
	bool validate_only;
};

struct cg_start_in {
	struct cg_view call_id;
	int64_t started_at_ms;
};

struct cg_stop_in {
	struct cg_view call_id;
	int64_t ended_at_ms;
};

struct cg_settle_in {
	struct cg_view call_id;
	bool as_metered;
	int64_t duration_ms;
	struct cg_view resource_type; /* may be empty */
	struct cg_view destination;
	enum cg_durability durability;
	struct cg_meta meta;
	int64_t started_at_ms;
	int64_t ended_at_ms;
	enum cg_basis basis;
};

struct cg_cancel_in {
	struct cg_view call_id;
};

struct cg_adopt_in {
	struct cg_view call_id;
	struct cg_view resource_type;
	struct cg_view destination;
	int64_t started_at_ms;
	struct cg_meta meta;
};

struct cg_get_call_in {
	struct cg_view call_id;
};

#define CG_LIST_CALLS_PAGE_MAX 1000
/* Opaque to callers: partition, company, instant and id of the last call answered. */
#define CG_PAGE_TOKEN_MAX_BYTES 512

struct cg_list_calls_in {
	bool all_companies; /* else the request's company */
	/* With all_companies: these alone, ascending; NULL: there is no bound.  As long as the request. */
	const struct cg_uuid *companies;
	uint32_t company_count;
	uint32_t page_size; /* 1 .. CG_LIST_CALLS_PAGE_MAX */
	struct cg_view page_token;
	/*
	 * Called once per call, in order, before `done`: the views of `call` are gone when
	 * this returns.
	 */
	void (*on_call)(struct cg_request *req, const struct cg_call *call);
};

struct cg_credit_in {
	struct cg_money amount;
	enum cg_entry_type type;
	struct cg_view reference_id;
	struct cg_view description;
	enum cg_durability durability;
	struct cg_view asked_by;
};

struct cg_charge_in {
	struct cg_view resource_type;
	struct cg_money amount;
	int64_t quantity;
	struct cg_view reference_id;
	struct cg_view description;
	struct cg_meta meta;
	enum cg_durability durability;
};

struct cg_authorize_out {
	struct cg_store_authorize_out store; /* as decided by the store */
	int64_t as_of_ms;
	struct cg_currency currency;
	bool degraded; /* decided by the plan's outage policy: nothing is held; as_of_ms is 0 */
};

struct cg_start_out {
	struct cg_store_start_out store;
	enum cg_call_state state;
	int64_t as_of_ms;
};

struct cg_stop_out {
	struct cg_store_stop_out store;
	enum cg_call_state state;
};

struct cg_settle_out {
	struct cg_store_settle_out store;
	enum cg_call_state state;
	struct cg_currency currency;
};

struct cg_cancel_out {
	struct cg_store_cancel_out store;
	enum cg_call_state state;
};

struct cg_adopt_out {
	struct cg_store_adopt_out store;
	enum cg_call_state state;
	struct cg_currency currency;
	int64_t as_of_ms;
};

struct cg_balance_out {
	struct cg_store_balance_out store;
	struct cg_currency currency;
	const char *plan_id; /* gone when `done` returns */
	int64_t as_of_ms;
};

struct cg_list_calls_out {
	struct cg_view next_page_token; /* empty: that was all */
};

struct cg_request {
	enum cg_method method;
	struct cg_uuid company;
	uint64_t deadline_at_ms; /* the gate's clock; the gate may answer earlier, never later */
	union {
		struct cg_authorize_in authorize;
		struct cg_start_in start;
		struct cg_stop_in stop;
		struct cg_settle_in settle;
		struct cg_cancel_in cancel;
		struct cg_adopt_in adopt;
		struct cg_ledger_wallet_create_in create_wallet;
		struct cg_ledger_wallet_update_in update_wallet;
		struct cg_get_call_in get_call;
		struct cg_list_calls_in list_calls;
		struct cg_credit_in credit;
		struct cg_charge_in charge;
	} in;

	/*
	 * Filled in before `done` runs.  CG_OK: read `out`.  Else nothing changed, except
	 * where cg_status_is_unknown(status): then it may have.
	 */
	enum cg_status status;
	enum cg_reason reason;
	const char *field; /* INVALID_FIELD: which, and its bound; static texts */
	const char *bound;
	enum cg_call_state state; /* WRONG_STATE: the call's */
	bool has_settled;         /* KEY_REUSED by Settle: out.settle is what was charged */
	union {
		struct cg_authorize_out authorize;
		struct cg_start_out start;
		struct cg_stop_out stop;
		struct cg_settle_out settle;
		struct cg_cancel_out cancel;
		struct cg_adopt_out adopt;
		struct {
			struct cg_wallet wallet;
			bool replayed;
		} wallet; /* CREATE_, GET_ and UPDATE_WALLET */
		struct cg_balance_out balance;
		struct cg_call call; /* GET_CALL */
		struct cg_list_calls_out list_calls;
		struct cg_store_posted_out posted; /* CREDIT, CHARGE */
	} out;

	void (*done)(struct cg_request *req);

	/* The gate's own. */
	struct cg_request_work {
		struct cg_gate *gate;
		const struct cg_machine *machine; /* the method's moves and events */
		int state;                        /* of the method's machine */
		uint32_t rounds;                  /* how often it began again */
		uint64_t asked_epoch; /* in force before the ledger was asked for the key */
		uint64_t store_deadline_at_ms; /* one for an operation and its repetition */
		/* Its own deadline, or earlier: AUTHORIZE, START, STOP, CANCEL wait for nothing longer. */
		uint64_t ends_by_ms;
		uint64_t queues_until_ms; /* or shortly after, behind others on its call */
		bool is_submitting;       /* cg_gate_submit() has not returned yet */
		bool is_asked;            /* the ledger does not have the key, under asked_epoch */
		bool is_assumed; /* or has it, SETTLE, as `assumed`, which wants to be corrected */
		bool may_have_happened; /* an attempt ended without our knowing how */
		bool was_resent;
		/* Answered from the ledger's row; only the balance of now is missing. */
		bool has_row; /* AWAIT is for an entry that the ledger's row told of */
		bool wants_balance;
		bool has_terms;
		bool has_price;
		/* What it needs of the terms, copied: no newer snapshot can pull them away. */
		struct cg_wallet_terms terms;
		struct cg_price price;
		struct cg_call_limits limits;
		char plan_id[CG_PLAN_ID_MAX_BYTES + 1];
		union {
			/* LIST_CALLS: the answer's, well below CG_PAGE_TOKEN_MAX_BYTES. */
			char page_token[256];
			/* SETTLE: the reference of the correction whose commit is awaited. */
			char correction[CG_CALL_ID_MAX_BYTES + 16];
		};
		struct cg_assumed_call assumed;
		void (*loaded)(struct cg_request *req, const struct cg_loaded *loaded);
		uint64_t
		    loaded_by_ms; /* its waiting for `loaded` ends then: its deadline, or earlier */
		struct cg_store_op store;
		struct cg_ledger_op ledger;
		struct cg_list link;
		/* In its call's bucket; in none: it does not hold others up. */
		struct cg_list front;
		struct cg_list behind; /* operations on the same call that wait for this one */
		void *listing;         /* LIST_CALLS: its heap, freed before `done` */
	} work;
};

#endif /* CG_GATE_REQUEST_H */
