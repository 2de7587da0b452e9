/*
 * What the files of the gate share: the gate itself, the steps of a request, and the
 * pieces of its way that are the same for every method.
 *
 * A method is a struct cg_machine: the moves it admits, and what it does at each event.
 * The pieces (round.c, ask.c, answer.c) make the moves and call the events; each piece
 * that waits ends in exactly one event, or in the request's answer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_GATE_GATE_INTERNAL_H
#define CG_GATE_GATE_INTERNAL_H

#include "gate/gate.h"
#include "gate/ports/terms.h"
#include "gate/tariff.h"
#include "gate/terms_cache.h"

/*
 * A request begins anew at most this often: a wallet loaded, a key asked for and a
 * recovery met are three; more than this means that somebody keeps changing the ground.
 */
#define CG_ROUNDS_MAX 6

/* What repeats while something is away is logged this often, with how much was left out. */
#define CG_LOG_INTERVAL_MS 1000

/* Listings at once: each takes up to some 400 KiB from the heap. */
#define CG_LISTINGS_MAX 64

/* Where a request is; all but NEW and DONE wait, for what stands here and only for it. */
enum cg_step {
	CG_STEP_NEW,
	CG_STEP_TERMS,   /* the company's terms, which are not cached */
	CG_STEP_STORE,   /* the store: the method's own operation */
	CG_STEP_WALLET,  /* the ledger: a wallet that the store does not have */
	CG_STEP_LOAD,    /* the store: putting it there */
	CG_STEP_KEY,     /* the ledger: what was charged under this key */
	CG_STEP_BALANCE, /* the store: the balance of now, for an answer from the ledger's row */
	CG_STEP_RECEIPT, /* the ledger: the durable fact that money came */
	CG_STEP_AWAIT,   /* the ledger: the entry's own row */
	CG_STEP_LEDGER,  /* the ledger: the method's own operation */
	CG_STEP_DONE,
	CG_STEP_COUNT
};

#define CG_STEP_BIT(step) (1u << CG_STEP_##step)

struct cg_machine {
	unsigned allowed[CG_STEP_COUNT]; /* the steps that may follow each step */
	bool changes_nothing;            /* it only reads: however it ends, nothing happened */

	void (*begin)(struct cg_request *req);
	/*
	 * The terms have become known, or newer: copies what the request needs of them.
	 * False where they refuse it: then it is answered.
	 */
	bool (*resolve)(struct cg_request *req, const struct cg_wallet *wallet);
	/* Fills in verb and `in` of the store's operation; the rest is there already. */
	void (*fill)(struct cg_request *req, struct cg_store_op *op);
	/* The store answered its own operation, neither ABSENT, ASK nor TOO_LATE. */
	void (*on_answer)(struct cg_request *req, const struct cg_store_op *op);
	/* The store does not have the wallet.  NULL: it is read, put there, and asked again. */
	void (*on_absent)(struct cg_request *req);
	/* The key to ask the ledger for where the store answers ASK; NULL: it never may. */
	struct cg_ledger_key (*key)(const struct cg_request *req);
	void (*on_row)(struct cg_request *req, const struct cg_ledger_row *row);
	/* NULL: the store is asked again, saying that the ledger does not have it. */
	void (*on_no_row)(struct cg_request *req);
	/* The balance of now, for an answer made from a row: the last that it lacked. */
	void (*on_balance)(struct cg_request *req, const struct cg_store_balance_out *balance);
	/* The partition recovered meanwhile.  NULL: the store is asked again, from scratch. */
	void (*restart)(struct cg_request *req);
	/* The store is away, or its answer did not come.  True: answered all the same.  NULL: never. */
	bool (*on_away)(struct cg_request *req);
};

extern const struct cg_machine cg_authorize__machine;
extern const struct cg_machine cg_start__machine;
extern const struct cg_machine cg_stop__machine;
extern const struct cg_machine cg_settle__machine;
extern const struct cg_machine cg_cancel__machine;
extern const struct cg_machine cg_adopt__machine;
extern const struct cg_machine cg_create_wallet__machine;
extern const struct cg_machine cg_get_wallet__machine;
extern const struct cg_machine cg_update_wallet__machine;
extern const struct cg_machine cg_balance__machine;
extern const struct cg_machine cg_get_call__machine;
extern const struct cg_machine cg_list_calls__machine;
extern const struct cg_machine cg_credit__machine;
extern const struct cg_machine cg_charge__machine;

/* outage.c: the calls that run by the policy of their plans. */
struct cg_outage {
	struct cg_slab calls;
	struct cg_list *buckets; /* by company */
	uint32_t swept;          /* how many buckets, ever */
	struct cg_log_limit admitted_log;
	struct cg_log_limit refused_log;
	uint64_t refused_plan; /* calls not admitted: their plan's cap */
	uint64_t refused_full; /* likewise: degraded_calls_max */
};

#define CG_DECISION_COUNT (CG_DECISION_BARRED + 1)

/* What was asked, where a decision was the answer. */
enum cg_asked {
	CG_ASKED_AUTHORIZE,
	CG_ASKED_REPLAY,
	CG_ASKED_VALIDATE,
	CG_ASKED_START,
	CG_ASKED_DEGRADED, /* decided without the store */
	CG_ASKED_COUNT
};

struct cg_gate_counts {
	uint64_t decisions[CG_ASKED_COUNT][CG_DECISION_COUNT];
	uint64_t shadow_decisions[CG_DECISION_COUNT];
};

struct cg_gate {
	struct cg_gate_config config;
	struct cg_store_port *store;
	struct cg_ledger_port *ledger;
	struct cg_clock_port *clock;
	struct cg_terms_cache cache;
	struct cg_gate_counts counts;
	struct cg_holds *holds; /* NULL: nobody asks what is held in all */

	/* Plans and rates.  Read only within one event, so replacing them is always safe. */
	struct cg_terms_snapshot *terms;
	struct cg_ledger_op terms_op;
	bool is_reading_terms;
	bool are_terms_due; /* changed, or not read yet */

	/* Answered, but in their submit: given at the next tick. */
	struct cg_list deferred;
	uint32_t inflight_count;
	uint32_t listing_count;

	/* Operations on calls, by call: those in front, and how many wait behind them. */
	struct cg_list *fronts;
	uint32_t behind_count;

	struct cg_outage outage;

	struct cg_slab receipts;
	struct cg_list receipts_busy;

	/* plan_news.c: how far the cached wallets have been told of a change of plans. */
	struct {
		struct cg_slab tellings;
		uint32_t bucket;
		bool is_walking;
	} news;
	struct cg_log_limit plan_log;
	struct cg_log_limit terms_log;
	struct cg_log_limit receipts_log;
};

/* answer.c: the end of every request. */

/* Asserts that the method admits the move. */
void cg_answer__move(struct cg_request *req, enum cg_step next);

/* What a call is by its row: abandoned until a late Settle has corrected it. */
enum cg_call_state cg_answer__state_of(const struct cg_ledger_row *row);

/* With `out` filled in; and with a refusal or a failure.  The last thing an event does. */
void cg_answer__ok(struct cg_request *req);
void cg_answer__end(struct cg_request *req, enum cg_status status, enum cg_reason reason);
void cg_answer__invalid(struct cg_request *req, const char *field, const char *bound);
void cg_answer__wrong_state(struct cg_request *req, enum cg_call_state state);

/* What an outcome that refuses means, where it means the same for all. */
void cg_answer__refused(
    struct cg_request *req, enum cg_store_outcome outcome, enum cg_call_state state);

/* The world failed.  A reading that ended unknown changed nothing: it says so. */
void cg_answer__store_failed(struct cg_request *req, enum cg_status status);
void cg_answer__ledger_failed(struct cg_request *req, enum cg_status status);
void cg_answer__ledger_read_failed(struct cg_request *req, enum cg_status status);

/* Gives the answers that were put off. */
void cg_answer__flush(struct cg_gate *gate);

/* measure.c: its answer is complete, and about to be given. */
void cg_measure__answered(struct cg_request *req);

/* holds.c: what is held in all, looked for in rounds once somebody measures. */
void cg_holds__measure(struct cg_gate *gate, struct cg_metrics *metrics);
void cg_holds__tick(struct cg_gate *gate);
void cg_holds__deinit(struct cg_gate *gate);

/* order.c: one operation at a time per call. */
void cg_order__init(struct cg_gate *gate);
void cg_order__deinit(struct cg_gate *gate);

/* Whether it may begin now; else it begins when those before it have passed on. */
bool cg_order__enter(struct cg_request *req);

/* Its effect is certain, or it has ended: the next one begins.  Again: nothing. */
void cg_order__pass_on(struct cg_request *req);

/* Answers those whose time passed while they waited. */
void cg_order__end_late(struct cg_gate *gate);

/* The call that a request is about; empty: none, or it changes none. */
struct cg_view cg_order__call_of(const struct cg_request *req);

/* round.c: the store's side. */

uint64_t cg_round__now(const struct cg_gate *gate);
uint32_t cg_round__partition(const struct cg_request *req);
uint64_t cg_round__store_deadline(const struct cg_request *req);
uint64_t cg_round__ledger_deadline(const struct cg_request *req);

/* Asks the store: the method's own operation, or the balance where that is what is missing. */
void cg_round__ask_store(struct cg_request *req);

/* The same after other waiting, with the time of a new operation. */
void cg_round__ask_store_anew(struct cg_request *req);

/* From the beginning, a bounded number of times; else the answer is RECOVERING. */
void cg_round__begin_again(struct cg_request *req);

/* One beginning more: false, and answered, where it were too many. */
bool cg_round__admits_another(struct cg_request *req);

/* Sends the request's own ledger operation on its way. */
void cg_round__submit_ledger(struct cg_request *req, enum cg_step step, enum cg_ledger_verb verb,
    void (*done)(struct cg_ledger_op *op));

/* ask.c: the ledger's side. */

/* Asks the store with the terms where they are cached, else without any. */
void cg_ask__store_with_cached_terms(struct cg_request *req);

/* Asks the store with the terms, and waits for them first where they are not cached. */
void cg_ask__store_with_terms(struct cg_request *req);

/* Waits for the company's terms, then asks the store. */
void cg_ask__terms(struct cg_request *req);

/* The store does not have the wallet: reads it, puts it there, asks again. */
void cg_ask__wallet(struct cg_request *req);

/*
 * Puts a wallet there as it was read, or its terms where it is there already, and may tell
 * those who watch.  The reading's epoch must not be 0.
 */
void cg_ask__put_wallet(struct cg_request *req, const struct cg_loaded *loaded, bool announces,
    void (*done)(struct cg_store_op *op));

/* Asks the ledger for the method's key under the epoch of the store's refusal. */
void cg_ask__key(struct cg_request *req, uint64_t epoch);

/* Fetches the balance of now for an answer that is otherwise complete, then answers. */
void cg_ask__balance(struct cg_request *req);

/* Answers when the entry's own row is committed. */
void cg_ask__await(struct cg_request *req, const struct cg_entry_id *id, struct cg_ledger_key key);

/*
 * The row that was read is the answer; what is missing is the balance.  A row in quarantine is
 * found under its key too, and is not in the ledger: COMMITTED waits as for any other entry.
 */
void cg_ask__row_stands(struct cg_request *req, const struct cg_entry_id *id,
    struct cg_ledger_key key, enum cg_durability durability);

/* The store has written an entry for this request. */
void cg_ask__kick(struct cg_request *req);

/* outage.c */
void cg_outage__init(struct cg_gate *gate);
void cg_outage__deinit(struct cg_gate *gate);
void cg_outage__tick(struct cg_gate *gate);

/* Decides an Authorize by its plan's policy, and answers it.  False: the policy does not. */
bool cg_outage__decide(struct cg_request *req);

/* A request begins: what ends its call ends its running by the policy, however it is answered. */
void cg_outage__see(struct cg_request *req);

/* Its call is held or metered at the store, or over. */
void cg_outage__forget(struct cg_request *req);

/* plan_news.c */
void cg_plan_news__init(struct cg_gate *gate);
void cg_plan_news__deinit(struct cg_gate *gate);
void cg_plan_news__begin(struct cg_gate *gate);
void cg_plan_news__tick(struct cg_gate *gate);

/* plans.c: what the snapshot says of one wallet. */

/* What the wallet's record in the store is to know; false where its plan is not known. */
bool cg_plans__terms_of(
    const struct cg_gate *gate, const struct cg_wallet *wallet, struct cg_wallet_terms *ret_terms);

/* Reads plans and rates, if nobody is reading them yet. */
void cg_plans__refresh(struct cg_gate *gate);
void cg_plans__tick(struct cg_gate *gate);

/* Terms, limits and plan_id of the request's work: a machine's `resolve` where nothing is priced. */
bool cg_plans__resolve(struct cg_request *req, const struct cg_wallet *wallet);

/* Also the price of a call, where a rate covers it. */
void cg_plans__resolve_price(struct cg_request *req, const struct cg_wallet *wallet,
    struct cg_view resource_type, struct cg_view destination);

/* listing.c */

/* The partition that a listing is at. */
uint32_t cg_listing__partition(const struct cg_request *req);
void cg_listing__release(struct cg_request *req);

/* receipts.c: receipts that nobody has applied yet. */
void cg_receipts__init(struct cg_gate *gate);
void cg_receipts__deinit(struct cg_gate *gate);
void cg_receipts__on_due(
    void *owner, const struct cg_uuid *company, const struct cg_ledger_receipt_in *due);

#endif /* CG_GATE_GATE_INTERNAL_H */
