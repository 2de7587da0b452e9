/*
 * What the files of this room share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_LEDGER_LEDGER_INTERNAL_H
#define CG_LEDGER_LEDGER_INTERNAL_H

#include "ledger/json.h"
#include "ledger/ledger.h"
#include "ledger/pool.h"

/* An operation of the port under way, in one or more statements. */
struct cg_op_job {
	struct cg_job job;
	struct cg_ledger *ledger;
	struct cg_ledger_op *op;
	int stage;
	unsigned char *pairs; /* a row's meta; freed after `done` */
};

/* What one verb says to Postgres, and makes of the answer. */
struct cg_op_verb {
	const char *(*prepare)(struct cg_op_job *work, struct cg_params *params);
	/* True: another statement, `stage` says which.  Else the operation is answered. */
	bool (*decode)(struct cg_op_job *work, const PGresult *result);
};

extern const struct cg_op_verb cg_wallets__read;
extern const struct cg_op_verb cg_wallets__create;
extern const struct cg_op_verb cg_wallets__update;
extern const struct cg_op_verb cg_keys__read;
extern const struct cg_op_verb cg_receipts__write;
extern const struct cg_op_verb cg_terms__read;

/* The row that KEY_READ's statement found, into out.row. */
const char *cg_keys__statement(
    struct cg_params *params, const struct cg_uuid *company, const struct cg_ledger_key *key);
void cg_keys__decode_row(struct cg_op_job *work, const PGresult *result);
/* The columns of that statement from `column` on, of any row; all but the meta, see _pairs(). */
void cg_keys__decode(const PGresult *result, int at, int column, struct cg_ledger_row *ret_row);
/* Its meta, to be freed with PQfreemem(); NULL where there is none. */
unsigned char *cg_keys__decode_pairs(const PGresult *result, int at, int column, size_t *ret_len);

/* Ends an operation later in this turn: submit has to return first. */
void cg_ops__end_later(struct cg_ledger *ledger, struct cg_ledger_op *op, enum cg_status status);

struct cg_cursor_row {
	uint64_t epoch; /* 0: there is no row */
	uint64_t last_epoch;
	uint64_t last_n;
	uint64_t served;
};

/* So many recoveries of one partition in a minute, and no more. */
#define CG_RECOVERIES_MOST 5

/* Of a partition; see recovery.c and flush.c for the drawings. */
enum cg_part_phase {
	CG_PART_UNKNOWN, /* wants a hello, at `retry_at_ms` */
	CG_PART_HELLO,
	CG_PART_LOOK, /* the cursor is read, to judge what hello found */
	CG_PART_TURN,
	CG_PART_TAKE,
	CG_PART_FENCE,
	CG_PART_JUDGE, /* the ledger is read, now that nothing else writes */
	CG_PART_REPAIR_READ,
	CG_PART_REPAIR_PUT,
	CG_PART_COPY_READ,
	CG_PART_COPY_PUT,
	CG_PART_DROP,
	CG_PART_SERVED,
	CG_PART_SERVE,
	CG_PART_SERVING,
};

struct cg_recovery_copy;
struct cg_recovery_repair;

/* Where a partition's stream ends. */
struct cg_stream_end {
	uint64_t epoch, n;
};

struct cg_ledger_counts {
	uint64_t batches;
	uint64_t rows;
	uint64_t failures; /* a batch that did not go through, for whatever reason */
	uint64_t quarantined;
	uint64_t duplicates;
	uint64_t recoveries;
	uint64_t refusals; /* of a partition; an operator decides */
	uint64_t orphaned; /* entries copied to callgate.orphans */
	struct cg_metric_histogram
	    flush; /* nanoseconds from asking for a connection to the answer */
};

struct cg_part {
	struct cg_ledger *ledger;
	uint32_t index;
	enum cg_part_phase phase;
	bool hello_wanted; /* what is under way is out of date: once more from the beginning */
	uint64_t epoch;    /* in force, or being made */
	struct cg_cursor_row cursor;
	struct cg_entry_id trimmed; /* epoch 0: nothing yet */
	/* recovery.c */
	uint64_t retry_at_ms;
	uint64_t serving_since_ms;
	enum cg_partition_condition condition;       /* what hello found */
	uint64_t recovery_at_ms[CG_RECOVERIES_MOST]; /* the last ones, as a ring */
	uint32_t recovery_next;
	uint64_t head_epoch;   /* as hello found it */
	uint64_t taken_epoch;  /* the last that we took: while it stands, the turn is ours */
	uint64_t served_seen;  /* the last epoch that is known here to have been served */
	uint64_t served_epoch; /* as the fence found it, with the stream's last id */
	uint64_t former_epoch, judged_epoch;
	uint64_t stream_epoch, stream_n;
	uint64_t from_epoch; /* see callgate.epoch_served() */
	struct cg_partition_op store_op;
	struct cg_job job;
	struct cg_recovery_copy *copy;     /* while a history is copied to be dropped */
	struct cg_recovery_repair *repair; /* while one is repaired */
	struct cg_log_limit refusals;
	uint64_t cursor_at_ms; /* when a flush of ours last moved `cursor` */
	/* flush.c */
	struct cg_list due_link; /* in ledger->due, or in no list */
	bool is_due;
	bool is_flushing;
	bool is_clean; /* a look found nothing since the last kick */
	uint64_t look_at_ms;
	uint64_t trim_at_ms;
	struct cg_entry_id trimmable; /* see cursors.c; epoch 0: nothing yet */
	uint32_t batch_max;           /* halved where a batch is refused */
	int mode;                     /* of callgate.flush() */
	/* lag.c */
	struct cg_stream_end end;
	uint64_t oldest_at_ms; /* when what waits the longest was written; 0: nothing waits */
	/* await.c */
	struct cg_list waiters;
};

/* How far the store has trimmed the partition's entries, as it has just said. */
static inline void cg_part__note_trimmed(struct cg_part *part, uint64_t epoch, uint64_t n)
{
	part->trimmed = (struct cg_entry_id){.partition = part->index, .epoch = epoch, .n = n};
}

struct cg_flush_lane;
struct cg_await;
struct cg_terms_watch;
struct cg_receipts;
struct cg_clocks;

struct cg_ledger {
	struct cg_ledger_port port;
	struct cg_loop *loop;
	struct cg_ledger_config config;
	char *url;
	struct cg_partition_port *partitions;
	struct cg_ledger_listener listener;
	struct cg_pool *pool;
	struct cg_pool *flushers;
	struct cg_slab op_jobs;
	struct cg_list ending; /* operations to be ended later in this turn */
	struct cg_timer *ending_timer;
	bool is_stopping; /* drain or close: no new work */
	bool is_closed;

	/* The deployment; its id is zero until Postgres has told it. */
	struct cg_deployment deployment;
	bool deployment_differs;
	struct cg_job deployment_job;
	bool deployment_job_runs;

	struct cg_part *parts;
	struct cg_ledger_counts counts;
	bool store_is_connected;
	struct cg_timer *tick; /* every flush interval while there is work, else every 100 ms */
	uint64_t tick_at_ms;

	struct cg_job cursors_job; /* what every partition's cursor is, for all at once */
	bool cursors_job_runs;
	uint64_t cursors_at_ms;

	struct cg_list due; /* partitions whose stream wants a look */
	struct cg_flush_lane *lanes;

	struct cg_await *await;
	struct cg_terms_watch *terms;
	struct cg_receipts *receipts;
	struct cg_clocks *clocks;

	void (*on_drained)(void *owner);
	void *drained_owner;
	uint64_t drain_deadline_at_ms;
};

static inline int cg_position_compare(
    uint64_t a_epoch, uint64_t a_n, uint64_t b_epoch, uint64_t b_n)
{
	if (a_epoch != b_epoch) {
		return a_epoch < b_epoch ? -1 : 1;
	}
	return a_n == b_n ? 0 : a_n < b_n ? -1 : 1;
}

/*
 * ledger.c: whether a partition may be greeted.  With Postgres away since our start the deployment
 * is not known, and the store's own word is taken for it: a healthy partition is served, so that
 * calls that are held there are settled; nothing is recovered.
 */
bool cg_ledger__may_greet(const struct cg_ledger *ledger);

/* ledger.c: every partition wants a hello. */
void cg_ledger__distrust_all(struct cg_ledger *ledger);

/* ledger.c: the tick comes at the latest after so long. */
void cg_ledger__tick_within(struct cg_ledger *ledger, uint64_t after_ms);

/* ops.c */
extern const struct cg_ledger_port cg_ops__port;

/* recovery.c */
void cg_recovery__init(struct cg_part *part);
void cg_recovery__deinit(struct cg_part *part);
/* Begins again with a hello; nothing of this partition is served until it has ended well. */
void cg_recovery__distrust(struct cg_part *part);
void cg_recovery__tick(struct cg_part *part, uint64_t now_ms);
/* Its cursor row, as just read; no row: all zero. */
void cg_recovery__cursor_seen(struct cg_part *part, const struct cg_cursor_row *row);

/* recovery.c, for the three below: what every step of a recovery goes by. */
#define CG_RETRY_LATER_MS 500
#define CG_REFUSED_MS     5000 /* where only an operator can help */
#define CG_TURN_KEEP_MS   7000 /* longer than a step may take: a long recovery is not duelled with */
/* Gives up, and begins again with a hello after so long. */
void cg_recovery__again(struct cg_part *part, uint64_t after_ms);
/* True where what was under way has ended, but is not to be gone on with. */
bool cg_recovery__is_void(struct cg_part *part);
void cg_recovery__submit(struct cg_part *part, struct cg_partition_op *op,
    enum cg_partition_verb verb, void (*done)(struct cg_partition_op *op));
/* The same with the part's own. */
void cg_recovery__ask_store(
    struct cg_part *part, enum cg_partition_verb verb, void (*done)(struct cg_partition_op *op));
void cg_recovery__ask_ledger(struct cg_part *part,
    const char *(*prepare)(struct cg_job *job, struct cg_params *params),
    bool (*on_end)(struct cg_job *job, enum cg_status status, const PGresult *result));
/* Only an operator can help: an ERROR, and again after a while. */
void cg_recovery__refuse(struct cg_part *part, const char *why);
/* The epoch is in force: entries are flushed, calls are let through. */
void cg_recovery__enter_serving(struct cg_part *part, uint64_t epoch);
/* Its cursor row, as just read for a step. */
void cg_recovery__take_cursor(struct cg_part *part, const PGresult *result);
/* Entries that the ledger lacks are gone from the stream too: never to be skipped. */
bool cg_recovery__is_behind_trimmed(const struct cg_part *part);

/* recovery_steps.c: from TURN on. */
void cg_recovery_steps__enter(struct cg_part *part);
/* The history is judged; `from`: the epoch it was last served under, or its own, dropped. */
void cg_recovery_steps__enter_served(struct cg_part *part, uint64_t from);

/* recovery_copy.c: a history that is not the latest goes to callgate.orphans, and is dropped. */
void cg_recovery_copy__enter(struct cg_part *part);
void cg_recovery_copy__enter_drop(struct cg_part *part);
void cg_recovery_copy__end(struct cg_part *part);

/* recovery_repair.c: what the ledger has above the stream's end, wallet by wallet. */
void cg_recovery_repair__enter(struct cg_part *part);
void cg_recovery_repair__end(struct cg_part *part);

/* flush.c */
void cg_flush__create(struct cg_ledger *ledger);
void cg_flush__destroy(struct cg_ledger *ledger);
void cg_flush__kick(struct cg_part *part);
void cg_flush__tick(struct cg_ledger *ledger, uint64_t now_ms);
bool cg_flush__is_idle(const struct cg_ledger *ledger);
bool cg_flush__is_clean(const struct cg_ledger *ledger);

/*
 * Partitions that are flushed at once, each over a connection of its own.  Where requests and the
 * ledger share the processors, a backlog gets by the number of them what it gets of the machine.
 */
#define CG_FLUSH_LANES 4

/* flush_batch.c: the parameters of callgate.flush(), and its answer. */
struct cg_flush_answer {
	enum {
		CG_FLUSH_DONE,
		CG_FLUSH_NO_CURSOR,
		CG_FLUSH_FENCED,
		CG_FLUSH_MOVED,
		CG_FLUSH_TRIMMED
	} outcome;
	uint64_t epoch, last_epoch, last_n;
	int64_t quarantined;
	int64_t duplicates;
};
const char *cg_flush_batch__statement(void);
void cg_flush_batch__encode(struct cg_params *params, const struct cg_part *part,
    const struct cg_entry *entries, uint32_t count, struct cg_json *json);
/* Of callgate.orphans_put(): a part of a stream that is dropped in favour of part->epoch. */
void cg_flush_batch__encode_orphans(struct cg_params *params, const struct cg_part *part,
    const struct cg_entry *entries, uint32_t count);
bool cg_flush_batch__decode(const PGresult *result, struct cg_flush_answer *ret_answer);

/*
 * lag.c: what waits.  Entries were read that are to be flushed (0: none wait), by the store's
 * clock; when the last of them was written, on ours.
 */
uint64_t cg_lag__read(
    struct cg_part *part, const struct cg_entry *entries, uint32_t count, int64_t store_now_ms);
/* A batch ended: NULL, it did not go through.  `next_at_ms`: what waits behind it is not older; 0: nothing does. */
void cg_lag__flushed(struct cg_part *part, const struct cg_flush_answer *answer, uint32_t rows,
    uint64_t took_ns, uint64_t next_at_ms);

/* await.c */
void cg_await__create(struct cg_ledger *ledger);
void cg_await__submit(struct cg_ledger *ledger, struct cg_ledger_op *op);
/* The cursor moved from there to part->cursor, and none of the entries was set aside. */
void cg_await__moved(struct cg_part *part, uint64_t from_epoch, uint64_t from_n);
/* The cursor moved otherwise: what became of the waiters' entries must be looked up. */
void cg_await__look(struct cg_part *part);
void cg_await__tick(struct cg_ledger *ledger, uint64_t now_ms);
bool cg_await__has_waiters(const struct cg_ledger *ledger);
void cg_await__close(struct cg_ledger *ledger);
void cg_await__destroy(struct cg_ledger *ledger);

/* cursors.c: the idle look at every cursor. */
void cg_cursors__tick(struct cg_ledger *ledger, uint64_t now_ms);
void cg_cursors__decode(const PGresult *result, int row, struct cg_cursor_row *ret_row);

/* terms.c */
void cg_terms__create(struct cg_ledger *ledger);
void cg_terms__start(struct cg_ledger *ledger);
void cg_terms__close(struct cg_ledger *ledger);

/* clocks.c: see clocks.h */
void cg_clocks__create(struct cg_ledger *ledger);
void cg_clocks__destroy(struct cg_ledger *ledger);
void cg_clocks__tick(struct cg_ledger *ledger, uint64_t now_ms);
/* The store's connection is a new one: its clock is looked at before anything is served. */
void cg_clocks__connected(struct cg_ledger *ledger);
/* Whether a partition may be taken into use: the store's clock was looked at, and is not off. */
bool cg_clocks__admit(const struct cg_ledger *ledger);

/* receipts.c */
void cg_receipts__create(struct cg_ledger *ledger);
void cg_receipts__tick(struct cg_ledger *ledger, uint64_t now_ms);
void cg_receipts__destroy(struct cg_ledger *ledger);

#endif /* CG_LEDGER_LEDGER_INTERNAL_H */
