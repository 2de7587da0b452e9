/*
 * What the gate needs from whoever keeps the durable ledger.
 *
 * src/ledger/ implements it over Postgres.  None of it is on the path of a live call
 * whose wallet, terms and key are known to the store.
 *
 * True of every operation: as in gate/ports/store.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_GATE_PORTS_LEDGER_H
#define CG_GATE_PORTS_LEDGER_H

#include "gate/ports/types.h"

enum cg_ledger_verb {
	CG_LEDGER_WALLET_READ, /* terms, posted balance and version, in one snapshot */
	CG_LEDGER_WALLET_CREATE,
	CG_LEDGER_WALLET_UPDATE,
	CG_LEDGER_KEY_READ,      /* what was charged or credited under a key */
	CG_LEDGER_RECEIPT_WRITE, /* the durable fact that money came */
	CG_LEDGER_AWAIT,         /* until an entry's own row is committed */
	CG_LEDGER_TERMS_READ,    /* every plan and rate, see gate/ports/terms.h */
	CG_LEDGER_VERB_COUNT
};

enum cg_ledger_outcome {
	CG_LEDGER_DONE,
	CG_LEDGER_NO_WALLET,
	CG_LEDGER_NO_PLAN,    /* WALLET_CREATE, WALLET_UPDATE: there is no such plan */
	CG_LEDGER_NO_COMPANY, /* WALLET_CREATE: companies is somebody else's table and lacks the row */
	CG_LEDGER_CURRENCY_DIFFERS, /* WALLET_CREATE: it exists with another */
	CG_LEDGER_NO_KEY,           /* KEY_READ: certainly not there (read from the primary) */
	CG_LEDGER_KEY_REUSED,       /* RECEIPT_WRITE: the reference stands for other content */
	CG_LEDGER_POSTED,       /* RECEIPT_WRITE: its entry is in the ledger already; read `row` */
	CG_LEDGER_OUT_OF_RANGE, /* RECEIPT_WRITE: the balance would leave what can be represented */
	/* AWAIT: the epoch changed, and the key is not in the ledger, or it was quarantined. */
	CG_LEDGER_OVERTAKEN,
	/*
	 * AWAIT: the key is in the ledger by another entry, and this one is not, or is taken
	 * back: what stands there is what was charged.
	 */
	CG_LEDGER_OTHER_ENTRY,
};

/* A wallet as the ledger has it. */
struct cg_wallet {
	struct cg_uuid company;
	struct cg_uuid wallet_id;
	struct cg_currency currency;
	char plan_id[CG_PLAN_ID_MAX_BYTES + 1];
	bool frozen;
	bool suspended; /* by its subscription */
	bool has_low_balance;
	struct cg_money low_balance;
	int64_t low_balance_remaining_ms; /* 0: the amount holds */
	int64_t created_at_ms;
	/* Of the wallet's own terms; the plan has one too, the greater holds. */
	uint64_t terms_version;
	struct cg_money posted;
	uint64_t version; /* ledger entries so far */
};

struct cg_ledger_wallet_create_in {
	struct cg_currency currency;
	struct cg_view plan_id;
};

struct cg_ledger_wallet_update_in {
	bool sets_plan;
	struct cg_view plan_id;
	bool sets_frozen;
	bool frozen;
	bool sets_low_balance;
	struct cg_money low_balance;
	int64_t low_balance_remaining_ms; /* where > 0 it replaces the amount */
};

/* Unique in the ledger: (company, type, reference). */
struct cg_ledger_key {
	enum cg_entry_type type; /* USAGE for a call or a charge */
	struct cg_view reference_id;
};

/* One entry as the ledger has it. */
struct cg_ledger_row {
	struct cg_entry_id entry_id;
	enum cg_entry_type type;
	struct cg_money amount; /* negative for usage */
	struct cg_money balance_after;
	int64_t at_ms;
	struct cg_view description;
	/* Of usage. */
	bool is_charge; /* by Charge, not a call */
	int64_t quantity;
	struct cg_view resource_type;
	struct cg_view destination;
	struct cg_price price;
	struct cg_currency currency;
	int64_t duration_ms;
	int64_t billed_ms;
	enum cg_basis basis;
	bool late;
	int64_t authorized_at_ms;
	int64_t started_at_ms;
	int64_t ended_at_ms;
	/*
	 * Whether the call was corrected, by the entry correction:<call id>: `corrected` is that
	 * entry's amount, signed as `amount` (may be 0); the other fields are the call's since.
	 */
	bool is_corrected;
	struct cg_entry_id correction_id;
	struct cg_money corrected;
	int64_t corrected_duration_ms;
	int64_t corrected_billed_ms;
	enum cg_basis corrected_basis;
	struct cg_meta meta;
};

struct cg_ledger_receipt_in {
	enum cg_entry_type type;
	struct cg_money amount;
	struct cg_view reference_id;
	struct cg_view description;
	struct cg_view asked_by; /* who asked for it, for the books */
};

struct cg_ledger_await_in {
	struct cg_entry_id entry_id;
	struct cg_ledger_key key;
};

struct cg_terms_snapshot; /* gate/ports/terms.h */

struct cg_ledger_op {
	enum cg_ledger_verb verb;
	struct cg_uuid company;
	uint64_t deadline_at_ms;
	union {
		struct cg_ledger_wallet_create_in wallet_create;
		struct cg_ledger_wallet_update_in wallet_update;
		struct cg_ledger_key key;
		struct cg_ledger_receipt_in receipt;
		struct cg_ledger_await_in await;
	} in;

	enum cg_status status; /* as in gate/ports/store.h */
	enum cg_ledger_outcome outcome;
	union {
		struct cg_wallet wallet;         /* WALLET_* */
		struct cg_ledger_row row;        /* KEY_READ; RECEIPT_WRITE where POSTED */
		struct cg_terms_snapshot *terms; /* TERMS_READ: now the receiver's */
	} out;
	/* WALLET_CREATE: it existed; RECEIPT_WRITE: the receipt did, its entry may not. */
	bool replayed;

	void (*done)(struct cg_ledger_op *op);
	struct cg_list link; /* the port's */
};

struct cg_ledger_port {
	void (*submit)(struct cg_ledger_port *self, struct cg_ledger_op *op);
	/*
	 * A function of the store has just written an entry of this partition: flush within
	 * the flush interval instead of at the next idle look.  Cheap; call it per entry.
	 */
	void (*kick)(struct cg_ledger_port *self, uint32_t partition);
};

/*
 * What the ledger tells the gate without being asked.  Set by the daemon before either
 * side begins to work.
 */
struct cg_ledger_listener {
	/* The terms of one wallet changed (company), or those of plans (NULL): read anew. */
	void (*on_terms_changed)(void *owner, const struct cg_uuid *company);
	/*
	 * A receipt has no entry after a few seconds: apply it, as Credit would.  The views
	 * are gone when this returns; the same receipt is announced again until it has one.
	 */
	void (*on_receipt_due)(
	    void *owner, const struct cg_uuid *company, const struct cg_ledger_receipt_in *receipt);
	void *owner;
};

#endif /* CG_GATE_PORTS_LEDGER_H */
