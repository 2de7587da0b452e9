/*
 * Both ports of the gate over a few structs, and the clock.  An operation acts when the
 * test says so and is answered when the test says so: that split lets a test say "no
 * answer in time, but the money has moved".
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_TESTS_GATE_FAKE_WORLD_H
#define CG_TESTS_GATE_FAKE_WORLD_H

#include "gate/gate.h"
#include "gate/ports/terms.h"

#define WORLD_WALLETS 64
#define WORLD_ENTRIES 256
#define WORLD_CALLS   256
#define WORLD_PENDING 2048

#define WORLD_OUTAGE_LONGEST_MS 60000
#define WORLD_OUTAGE_CALLS_MAX  2

struct world_wallet {
	struct cg_wallet ledger; /* as the ledger has it */
	bool is_in_store;
	int64_t posted;
	uint64_t version;
	struct cg_wallet_terms terms; /* as the store was told last */
};

/* An entry, its key in the store, and its row in the ledger: three things that can be there. */
struct world_entry {
	struct cg_uuid company;
	enum cg_entry_type type;
	char reference[160];
	int64_t amount; /* negative for usage */
	bool is_charge;
	int64_t duration_ms;
	int64_t rate;
	int64_t started_at_ms;
	bool is_assumed; /* of an abandoned call */
	int64_t cost;    /* of a correction: the call's since */
	char resource[66];
	struct cg_entry_id id;
	bool is_key_known; /* the store remembers it */
	bool is_flushed;   /* the ledger has it */
	bool is_aside;     /* in quarantine: found under its key, and not committed */
	bool is_lost;      /* neither: the store lost its tail */
};

struct world_call {
	struct cg_uuid company;
	char id[132];
	enum cg_call_state state;
	int64_t authorized_at_ms;
	int64_t started_at_ms;
	int64_t rate;
	bool is_live;
	bool is_barred; /* cancelled, settled, expired */
};

struct world_receipt {
	struct cg_uuid company;
	enum cg_entry_type type;
	char reference[160];
	int64_t amount;
};

/* How the n-th operation from now ends: `acts` on the world, or does not, and `status`. */
struct world_fault {
	unsigned at; /* 1: the next one; 0: none */
	enum cg_status status;
	bool acts;
};

struct world_pending {
	struct cg_store_op *store; /* one of both */
	struct cg_ledger_op *ledger;
};

struct world {
	struct cg_store_port store;
	struct cg_ledger_port ledger;
	struct cg_clock_port clock;
	uint64_t now_ms;
	int64_t store_ahead_ms;    /* the store's clock less ours */
	int64_t believed_ahead_ms; /* as its last answer told it */
	uint64_t epoch;            /* of every partition; 0: not served */

	struct world_wallet wallets[WORLD_WALLETS];
	unsigned wallet_count;
	struct world_entry entries[WORLD_ENTRIES];
	unsigned entry_count;
	struct world_call calls[WORLD_CALLS];
	unsigned call_count;
	struct world_receipt receipts[WORLD_ENTRIES];
	unsigned receipt_count;
	uint64_t terms_version;
	int64_t rate; /* of "voice" to everywhere, in the next snapshot */
	/* Of the plan "starter" in the next snapshot; "growth" denies, and is not in shadow mode. */
	bool outage_allows;
	bool is_shadow;
	bool is_outbox_full;
	bool is_closing;
	bool is_terms_unsorted;
	bool calls_are_big;   /* in CALLS: each with 8 KiB of meta */
	bool asks_for_ghosts; /* START, STOP, CANCEL of an unknown call: ASK */

	struct world_pending pending[WORLD_PENDING];
	unsigned pending_count;
	struct world_fault fault;

	unsigned done_count[CG_STORE_VERB_COUNT]; /* submitted */
	unsigned read_count[CG_LEDGER_VERB_COUNT];
	unsigned kick_count;
	struct cg_store_op last_store; /* as submitted */
	struct cg_store_op last_of[CG_STORE_VERB_COUNT];
	struct cg_ledger_op last_ledger;
	uint8_t live_bytes[WORLD_WALLETS * 16];
	char row_bytes[256]; /* a row's views: gone when `done` has returned */
	void (*on_store_submit)(struct world *world, struct cg_store_op *op);
	void (*on_ledger_submit)(struct world *world, struct cg_ledger_op *op);
};

void world_init(struct world *world);

struct cg_uuid world_company(unsigned n);

/* A wallet in the ledger, plan "starter", usd, with money; not in the store yet. */
struct world_wallet *world_add_wallet(struct world *world, unsigned company, int64_t posted);
struct world_wallet *world_wallet(struct world *world, const struct cg_uuid *company);
void world_put_in_store(struct world_wallet *wallet);
struct world_call *world_add_call(
    struct world *world, unsigned company, const char *id, int64_t authorized_at_ms);

/* Acts on the world as the operation says, and fills in its answer. */
void world_act_store(struct world *world, struct cg_store_op *op);
void world_act_ledger(struct world *world, struct cg_ledger_op *op);

/* Ends the oldest operation under way, by the fault where it is its turn.  False: none. */
bool world_step(struct world *world);
void world_run(struct world *world);

/* Whether the oldest operation under way is this one of the ledger's, or the store's. */
bool world_next_is_ledger(const struct world *world, enum cg_ledger_verb verb);
bool world_next_is_store(const struct world *world, enum cg_store_verb verb);

/* What the ledger's flush does. */
void world_flush(struct world *world);

/* The store comes back empty, under the next epoch. */
void world_forget(struct world *world);

/* What a call of "k" is charged by assumption, for 5 s from 4711: in both, or the ledger alone. */
void world_abandon(struct world *world, unsigned company, bool is_forgotten);

/* How many entries there are of this key, in the store or the ledger. */
unsigned world_count(const struct world *world, enum cg_entry_type type, const char *reference);
int64_t world_sum(const struct world *world, const struct cg_uuid *company);

#endif /* CG_TESTS_GATE_FAKE_WORLD_H */
