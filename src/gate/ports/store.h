/*
 * What the gate needs from whoever keeps the live wallets.
 *
 * One operation is one atomic function call in the store.  src/store/ implements it over
 * Redis, tests/unit/gate/ over a struct.
 *
 * True of every operation:
 *  - submitting cannot fail: whatever goes wrong arrives in `done`;
 *  - `done` runs on the loop thread, exactly once, never before submit has returned;
 *  - until then the operation, and every view in `in`, belongs to the port;
 *  - views in `out` are gone when `done` returns;
 *  - every operation is idempotent by its key, so that after TIMEOUT or LOST the same one
 *    may be submitted again, by anybody.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_GATE_PORTS_STORE_H
#define CG_GATE_PORTS_STORE_H

#include "gate/ports/types.h"

enum cg_store_verb {
	CG_STORE_AUTHORIZE,
	CG_STORE_START,
	CG_STORE_STOP,
	CG_STORE_SETTLE,
	CG_STORE_CANCEL,
	CG_STORE_ADOPT,
	CG_STORE_CREDIT,
	CG_STORE_CHARGE,
	CG_STORE_BALANCE,
	CG_STORE_GET_CALL,
	CG_STORE_CALLS,        /* the live calls of one company */
	CG_STORE_LIVE_WALLETS, /* the companies of one partition that have live calls */
	CG_STORE_LOAD,         /* put the wallet there, if absent, as the ledger has it */
	CG_STORE_VERB_COUNT
};

/* What the store answered, where it did (status CG_OK). */
enum cg_store_outcome {
	CG_STORE_DONE,   /* read `out`; a denial is an answer too */
	CG_STORE_ABSENT, /* the wallet is not loaded; nothing changed: LOAD, then again */
	CG_STORE_ASK, /* the key is not known here; nothing changed: ask the ledger, then again with `asked` */
	CG_STORE_UNKNOWN_CALL, /* no such call, and nothing to price one by */
	CG_STORE_WRONG_STATE,  /* out.state says which; nothing changed */
	CG_STORE_KEY_REUSED, /* the key stands for other content; for SETTLE `out.settle` is what was charged */
	CG_STORE_NO_PRICE, /* SETTLE, ADOPT: no rate covers it; nothing changed */
	CG_STORE_OUT_OF_RANGE, /* a balance, burn or number of calls would leave what can be represented */
	CG_STORE_OUTBOX_FULL, /* AUTHORIZE, ADOPT: too many entries wait for the ledger; nothing changed */
	CG_STORE_TOO_LATE, /* `not_after_ms` had passed on the store's clock; nothing changed */
};

struct cg_store_authorize_in {
	struct cg_view call_id; /* empty only where validate_only */
	struct cg_view resource_type;
	struct cg_view destination;
	struct cg_meta meta;
	bool has_price;
	struct cg_price price;
	struct cg_call_limits limits;
	bool start;
	bool validate_only;
};

struct cg_store_authorize_out {
	enum cg_decision decision;
	enum cg_decision shadow_decision;
	enum cg_call_state state;
	bool has_price;
	struct cg_price price; /* on a repeat: the first one's */
	struct cg_money held;
	struct cg_money available;
	struct cg_money required;
	int64_t max_duration_ms;
	int64_t expires_at_ms;
	bool replayed;
};

struct cg_store_start_in {
	struct cg_view call_id;
	int64_t started_at_ms; /* 0: now */
};

struct cg_store_start_out {
	enum cg_decision decision;
	enum cg_decision shadow_decision;
	int64_t started_at_ms;
	int64_t max_duration_ms;
	struct cg_money available;
	bool replayed;
};

struct cg_store_stop_in {
	struct cg_view call_id;
	int64_t ended_at_ms; /* 0: now */
};

struct cg_store_stop_out {
	int64_t metered_ms;
	struct cg_money accrued;
	struct cg_money available;
	bool replayed;
};

struct cg_store_settle_in {
	struct cg_view call_id;
	bool as_metered;
	int64_t duration_ms;
	int64_t started_at_ms;
	int64_t ended_at_ms;
	enum cg_basis basis;          /* REPORTED or POLLED; METERED is the store's own */
	struct cg_view resource_type; /* with destination and price: for a call that is not held */
	struct cg_view destination;
	bool has_price;
	struct cg_price price;
	struct cg_meta meta;
	/*
	 * The ledger, asked for the key, has it as charged by assumption and not yet corrected;
	 * `price` is that charge's, and `started_at_ms` its start where the request has none.
	 */
	bool is_assumed;
	struct cg_money assumed_cost;
	int64_t assumed_billed_ms;
};

struct cg_store_settle_out {
	struct cg_money cost;
	int64_t billed_ms;
	struct cg_money balance;
	struct cg_money available;
	bool replayed;
	bool late;
	int64_t duration_ms;
	enum cg_basis basis;
	struct cg_price price;
	/* The entry is an adjustment, reference "correction:<call id>", of so much more cost. */
	bool is_correction;
	struct cg_money corrected;
	struct cg_entry_id entry_id;
};

struct cg_store_cancel_in {
	struct cg_view call_id;
};

struct cg_store_cancel_out {
	struct cg_money released;
	struct cg_money available;
	bool replayed;
};

struct cg_store_adopt_in {
	struct cg_view call_id;
	struct cg_view resource_type;
	struct cg_view destination;
	struct cg_meta meta;
	bool has_price;
	struct cg_price price;
	struct cg_call_limits limits;
	int64_t started_at_ms;
};

struct cg_store_adopt_out {
	struct cg_price price;
	int64_t max_duration_ms;
	struct cg_money held;
	struct cg_money available;
	bool replayed;
};

struct cg_store_credit_in {
	enum cg_entry_type type; /* not USAGE */
	struct cg_money amount;  /* not 0 */
	struct cg_view reference_id;
	struct cg_view description;
};

struct cg_store_charge_in {
	struct cg_view resource_type;
	struct cg_money amount; /* > 0, what to charge */
	int64_t quantity;
	struct cg_view reference_id;
	struct cg_view description;
	struct cg_meta meta;
};

/* Of CREDIT and CHARGE. */
struct cg_store_posted_out {
	struct cg_money balance;
	struct cg_money available;
	bool replayed;
	struct cg_entry_id entry_id;
};

struct cg_store_balance_out {
	struct cg_money posted;
	struct cg_money held;
	struct cg_money accrued; /* rounded up */
	struct cg_money credit_limit;
	struct cg_money available;
	struct cg_money burn_per_minute;
	int64_t active_calls;
	int64_t exhausts_at_ms;
	bool credit_unlimited;
	bool frozen;
	uint64_t version; /* number of ledger entries so far */
};

struct cg_store_calls_in {
	/* After this one, in the order of (authorized_at_ms, call_id); 0 and empty: from the first. */
	int64_t after_at_ms;
	struct cg_view after_call_id;
	struct cg_call *calls; /* the caller's array */
	uint32_t calls_max;    /* 1 .. 1000 */
};

struct cg_store_calls_out {
	uint32_t count; /* of in.calls.calls, oldest first; their views go with `done` */
	bool more;
};

struct cg_store_live_in {
	uint32_t partition;
};

struct cg_store_live_out {
	struct cg_view companies; /* 16 bytes each, in no order */
};

struct cg_store_load_in {
	struct cg_money posted;
	uint64_t version;
	bool announces;    /* writes WALLET_UPDATED, also where the wallet is there already */
	bool only_present; /* brings terms alone: a wallet that is not there is ABSENT */
};

struct cg_store_op {
	enum cg_store_verb verb;
	struct cg_uuid company; /* not of LIVE_WALLETS */

	uint64_t deadline_at_ms; /* the clock port's; TIMEOUT then at the latest */
	/* 0, or the store's time after which the function refuses (AUTHORIZE, START). */
	int64_t not_after_ms;
	/*
	 * 0: whatever is in force.  Else the epoch that was in force before the ledger was
	 * read; where it no longer is: RECOVERING, begin again.
	 */
	uint64_t known_epoch;
	/* AUTHORIZE, START, STOP, CANCEL: also write the event that says so. */
	bool announces;
	bool asked; /* the ledger was asked for this key, under known_epoch, and does not have it */
	struct cg_wallet_terms terms;

	union {
		struct cg_store_authorize_in authorize;
		struct cg_store_start_in start;
		struct cg_store_stop_in stop;
		struct cg_store_settle_in settle;
		struct cg_store_cancel_in cancel;
		struct cg_store_adopt_in adopt;
		struct cg_store_credit_in credit;
		struct cg_store_charge_in charge;
		struct cg_store_calls_in calls;
		struct cg_view get_call; /* its call_id */
		struct cg_store_live_in live;
		struct cg_store_load_in load;
	} in;

	/*
	 * Filled in before `done` runs:
	 *   CG_OK           the store answered; read `outcome`
	 *   CG_TIMEOUT, CG_LOST, CG_INTERNAL   it may have happened
	 *   CG_UNAVAILABLE, CG_RECOVERING, CG_FULL, CG_CLOSING   it certainly did not
	 */
	enum cg_status status;
	enum cg_store_outcome outcome;
	uint64_t epoch;           /* under which it was answered, or refused */
	int64_t as_of_ms;         /* the store's clock; where outcome is DONE */
	enum cg_call_state state; /* the call's, after the operation */
	struct cg_currency currency;
	union {
		struct cg_store_authorize_out authorize;
		struct cg_store_start_out start;
		struct cg_store_stop_out stop;
		struct cg_store_settle_out settle;
		struct cg_store_cancel_out cancel;
		struct cg_store_adopt_out adopt;
		struct cg_store_posted_out posted; /* CREDIT, CHARGE */
		struct cg_store_balance_out balance;
		struct cg_call call; /* GET_CALL */
		struct cg_store_calls_out calls;
		struct cg_store_live_out live;
	} out;

	void (*done)(struct cg_store_op *op);
	struct cg_list link; /* the port's */
};

struct cg_store_port {
	void (*submit)(struct cg_store_port *self, struct cg_store_op *op);
	/* The partition's epoch in force here; 0: not served at the moment. */
	uint64_t (*epoch)(struct cg_store_port *self, uint32_t partition);
	/*
	 * An instant of the clock port's on the store's clock, rather too early than too late;
	 * 0: not known, which is only where nothing is sent either.
	 */
	int64_t (*store_time)(struct cg_store_port *self, uint64_t at_ms);
	uint32_t partition_count;
};

/* crc32c(company) mod partition_count: the same in every process of a deployment, for ever. */
uint32_t cg_store_partition_of(const struct cg_uuid *company, uint32_t partition_count);

#endif /* CG_GATE_PORTS_STORE_H */
