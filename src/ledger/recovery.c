/*
 * How a partition is taken into use (ledger.md, Recovery): the way.
 *
 *   UNKNOWN --> HELLO --> LOOK --healthy---------------------------------------> SERVING
 *      ^                   |                                                        ^
 *      |                   `--> TURN --> TAKE --> FENCE --> JUDGE --latest-----.    |
 *      |                                                      |                v    |
 *      |            recovery_repair.c: what it lost <---------|             SERVED --> SERVE
 *      |              REPAIR_READ <--> REPAIR_PUT ----------------------------^
 *      |            recovery_copy.c: not the latest <---------'               |
 *      |              COPY_READ <--> COPY_PUT --> DROP -----------------------'
 *      `--- any step refused, lost or overtaken, or something learned that casts doubt
 *
 * HELLO, FENCE, REPAIR_PUT, COPY_READ, DROP and SERVE wait for the store, the others for
 * Postgres.  Every step carries the epoch and is refused where another sidecar has gone further,
 * so giving up anywhere is safe: the next one begins again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "ledger/ledger_internal.h"

#define STEP_WAIT_MS  5000
#define TURN_MS       2000
#define RETRY_SOON_MS 50

static void enter_turn(struct cg_part *part);
static void enter_serve(struct cg_part *part);

static uint64_t now_of(const struct cg_part *part)
{
	return cg_loop_now_ms(part->ledger->loop);
}

void cg_recovery__again(struct cg_part *part, uint64_t after_ms)
{
	cg_recovery_copy__end(part);
	cg_recovery_repair__end(part);
	part->phase = CG_PART_UNKNOWN;
	part->hello_wanted = false;
	part->retry_at_ms = now_of(part) + after_ms;
	cg_ledger__tick_within(part->ledger, after_ms);
}

bool cg_recovery__is_void(struct cg_part *part)
{
	if (part->ledger->is_closed) {
		return true;
	}
	if (part->hello_wanted) {
		cg_recovery__again(part, 0);
		return true;
	}
	return false;
}

void cg_recovery__submit(struct cg_part *part, struct cg_partition_op *op,
    enum cg_partition_verb verb, void (*done)(struct cg_partition_op *op))
{
	struct cg_partition_port *store = part->ledger->partitions;

	op->verb = verb;
	op->partition = part->index;
	op->deadline_at_ms = now_of(part) + STEP_WAIT_MS;
	op->done = done;
	store->submit(store, op);
}

static void ask_store(
    struct cg_part *part, enum cg_partition_verb verb, void (*done)(struct cg_partition_op *op))
{
	cg_recovery__submit(part, &part->store_op, verb, done);
}

void cg_recovery__ask_ledger(struct cg_part *part,
    const char *(*prepare)(struct cg_job *job, struct cg_params *params),
    bool (*on_end)(struct cg_job *job, enum cg_status status, const PGresult *result))
{
	part->job = (struct cg_job){
	    .deadline_at_ms = now_of(part) + STEP_WAIT_MS, .prepare = prepare, .on_end = on_end};
	cg_pool__submit(part->ledger->pool, &part->job);
}

static void refuse(struct cg_part *part, const char *why)
{
	uint64_t held_back = 0;

	if (cg_log_limit_admits(&part->refusals, now_of(part), 60000, &held_back)) {
		cg_log(CG_LOG_ERROR, "partition refused", "partition", cg_log_int(part->index),
		    "why", why, "head_epoch", cg_log_int((int64_t)part->head_epoch), "ledger_epoch",
		    cg_log_int((int64_t)part->cursor.epoch), NULL);
	}
	part->ledger->counts.refusals++;
	cg_recovery__again(part, CG_REFUSED_MS);
}

static void enter_serving(struct cg_part *part, uint64_t epoch)
{
	struct cg_partition_port *store = part->ledger->partitions;

	part->phase = CG_PART_SERVING;
	part->epoch = epoch;
	if (epoch > part->served_seen) {
		part->served_seen = epoch;
	}
	part->serving_since_ms = now_of(part);
	part->is_clean = false;
	part->look_at_ms = 0;
	part->trim_at_ms = 0;
	part->batch_max = part->ledger->config.flush_batch_max;
	part->mode = 0;
	store->set_epoch(store, part->index, epoch);
	cg_ledger__tick_within(part->ledger, 0);
}

/* SERVE has been answered: the epoch is in force. */
static void on_serve(struct cg_partition_op *op)
{
	struct cg_part *part = CG_CONTAINER_OF(op, struct cg_part, store_op);

	if (cg_recovery__is_void(part)) {
		return;
	}
	if (op->status != CG_OK || op->out.serve.overtaken) {
		cg_recovery__again(part, CG_RETRY_LATER_MS);
		return;
	}
	cg_log(CG_LOG_INFO, "partition recovered", "partition", cg_log_int(part->index), "epoch",
	    cg_log_int((int64_t)part->epoch), NULL);
	part->ledger->counts.recoveries++;
	enter_serving(part, part->epoch);
}

static void enter_serve(struct cg_part *part)
{
	part->phase = CG_PART_SERVE;
	part->store_op.in.serve.epoch = part->epoch;
	ask_store(part, CG_PARTITION_SERVE, on_serve);
}

static const char *prepare_served(struct cg_job *job, struct cg_params *params)
{
	struct cg_part *part = CG_CONTAINER_OF(job, struct cg_part, job);

	cg_params__int4(params, (int32_t)part->index);
	cg_params__int8(params, (int64_t)part->epoch);
	cg_params__int8(params, (int64_t)part->from_epoch);
	cg_params__int8(params, (int64_t)part->stream_epoch);
	cg_params__int8(params, (int64_t)part->stream_n);
	return "select callgate.epoch_served($1, $2, $3, $4, $5)";
}

static bool on_served(struct cg_job *job, enum cg_status status, const PGresult *result)
{
	struct cg_part *part = CG_CONTAINER_OF(job, struct cg_part, job);

	if (cg_recovery__is_void(part)) {
		return false;
	}
	if (status != CG_OK || !cg_result__bool(result, 0, 0)) {
		cg_recovery__again(part, CG_RETRY_LATER_MS);
		return false;
	}
	enter_serve(part);
	return false;
}

void cg_recovery__enter_served(struct cg_part *part, uint64_t from)
{
	part->from_epoch = from;
	part->phase = CG_PART_SERVED;
	cg_recovery__ask_ledger(part, prepare_served, on_served);
}

static const char *prepare_look(struct cg_job *job, struct cg_params *params)
{
	struct cg_part *part = CG_CONTAINER_OF(job, struct cg_part, job);

	cg_params__int4(params, (int32_t)part->index);
	return "select c.partition, c.epoch, c.last_epoch, c.last_n, c.served"
	       " from callgate.cursor_read($1) c";
}

static void take_cursor(struct cg_part *part, const PGresult *result)
{
	part->cursor = (struct cg_cursor_row){0};
	if (PQntuples(result) > 0) {
		cg_cursors__decode(result, 0, &part->cursor);
	}
	if (part->cursor.served > part->served_seen) {
		part->served_seen = part->cursor.served;
	}
}

/* Where the cursor is, beside an id of the store's: as cg_position_compare(). */
static int compare_cursor(const struct cg_part *part, uint64_t epoch, uint64_t n)
{
	return cg_position_compare(part->cursor.last_epoch, part->cursor.last_n, epoch, n);
}

/* Entries that the ledger lacks are gone from the stream too: never to be skipped. */
static bool is_behind_trimmed(const struct cg_part *part)
{
	return compare_cursor(part, part->trimmed.epoch, part->trimmed.n) < 0;
}

/*
 * Is what the store has the latest history?  It is where it was the last one served, or a later
 * one than the ledger remembers; also where the ledger holds it for served and the step that says
 * so in the store was lost; also where it is the beginning of what was served last, whose end the
 * store lost with all of that recovery.  The epoch in force proves nothing: a recovery that was not
 * finished puts its own over whatever it finds.
 */
static bool is_latest(const struct cg_part *part, bool is_beginning)
{
	return part->former_epoch != 0 &&
	    (part->served_epoch >= part->cursor.served ||
	        part->judged_epoch >= part->cursor.served || is_beginning);
}

static const char *prepare_judge(struct cg_job *job, struct cg_params *params)
{
	struct cg_part *part = CG_CONTAINER_OF(job, struct cg_part, job);

	cg_params__int4(params, (int32_t)part->index);
	cg_params__int8(params, (int64_t)part->served_epoch);
	cg_params__int8(params, (int64_t)part->stream_epoch);
	cg_params__int8(params, (int64_t)part->stream_n);
	return "select c.partition, c.epoch, c.last_epoch, c.last_n, c.served,"
	       " callgate.is_beginning($1, $2, $3, $4) from callgate.cursor_read($1) c";
}

static void judge_latest(struct cg_part *part)
{
	if (is_behind_trimmed(part)) {
		refuse(part, "the ledger went back behind what the store has trimmed");
	} else if (compare_cursor(part, part->stream_epoch, part->stream_n) > 0) {
		cg_recovery_repair__enter(part);
	} else {
		cg_recovery__enter_served(part, part->served_epoch);
	}
}

static bool on_judged(struct cg_job *job, enum cg_status status, const PGresult *result)
{
	struct cg_part *part = CG_CONTAINER_OF(job, struct cg_part, job);

	if (cg_recovery__is_void(part)) {
		return false;
	}
	if (status != CG_OK) {
		cg_recovery__again(part, CG_RETRY_LATER_MS);
		return false;
	}
	take_cursor(part, result);
	if (part->cursor.epoch != part->epoch) {
		cg_recovery__again(part, RETRY_SOON_MS);
	} else if (is_latest(part, cg_result__bool(result, 0, 5))) {
		judge_latest(part);
	} else if (part->former_epoch == 0) {
		cg_recovery_copy__enter_drop(part);
	} else {
		cg_log(CG_LOG_WARN, "partition's history is not the latest: copied and dropped",
		    "partition", cg_log_int(part->index), "former_epoch",
		    cg_log_int((int64_t)part->former_epoch), "served_here",
		    cg_log_int((int64_t)part->served_epoch), "served",
		    cg_log_int((int64_t)part->cursor.served), NULL);
		cg_recovery_copy__enter(part);
	}
	return false;
}

static void on_fenced(struct cg_partition_op *op)
{
	struct cg_part *part = CG_CONTAINER_OF(op, struct cg_part, store_op);

	if (cg_recovery__is_void(part)) {
		return;
	}
	if (op->status != CG_OK || op->out.fence.overtaken) {
		cg_recovery__again(part, CG_RETRY_LATER_MS);
		return;
	}
	part->former_epoch = op->out.fence.former_epoch;
	part->served_epoch = op->out.fence.served_epoch;
	part->judged_epoch = op->out.fence.judged_epoch;
	part->stream_epoch = op->out.fence.last_epoch;
	part->stream_n = op->out.fence.last_n;
	part->trimmed = (struct cg_entry_id){.partition = part->index,
	    .epoch = op->out.fence.trimmed_epoch,
	    .n = op->out.fence.trimmed_n};
	/* Not before now: from the fence on nothing else writes, there or here. */
	part->phase = CG_PART_JUDGE;
	cg_recovery__ask_ledger(part, prepare_judge, on_judged);
}

static const char *prepare_take(struct cg_job *job, struct cg_params *params)
{
	struct cg_part *part = CG_CONTAINER_OF(job, struct cg_part, job);

	cg_params__int4(params, (int32_t)part->index);
	cg_params__int8(params, (int64_t)part->cursor.epoch);
	cg_params__int8(params, (int64_t)part->epoch);
	return "select b.taken, b.served, b.served_from from callgate.epoch_begin($1, $2, $3) b";
}

static bool on_taken(struct cg_job *job, enum cg_status status, const PGresult *result)
{
	struct cg_part *part = CG_CONTAINER_OF(job, struct cg_part, job);

	if (cg_recovery__is_void(part)) {
		return false;
	}
	if (status != CG_OK || !cg_result__bool(result, 0, 0)) {
		cg_recovery__again(part, CG_RETRY_LATER_MS);
		return false;
	}
	part->taken_epoch = part->epoch;
	/* Only now is it a recovery: waiting for another's turn is none. */
	part->recovery_at_ms[part->recovery_next] = now_of(part) + 1;
	part->recovery_next = (part->recovery_next + 1) % CG_RECOVERIES_MOST;
	part->phase = CG_PART_FENCE;
	part->store_op.in.fence.epoch = part->epoch;
	part->store_op.in.fence.deployment = part->ledger->deployment;
	/* Nothing was served since: the epoch is ours. */
	part->store_op.in.fence.ledger_served = (uint64_t)cg_result__int(result, 0, 1);
	part->store_op.in.fence.ledger_served_from = (uint64_t)cg_result__int(result, 0, 2);
	ask_store(part, CG_PARTITION_FENCE, on_fenced);
	return false;
}

static const char *prepare_turn(struct cg_job *job, struct cg_params *params)
{
	struct cg_part *part = CG_CONTAINER_OF(job, struct cg_part, job);

	cg_params__int4(params, (int32_t)part->index);
	cg_params__int4(params, TURN_MS);
	cg_params__int8(params, (int64_t)part->taken_epoch);
	return "select callgate.turn_take($1, $2, $3)";
}

static bool on_turn(struct cg_job *job, enum cg_status status, const PGresult *result)
{
	struct cg_part *part = CG_CONTAINER_OF(job, struct cg_part, job);
	uint64_t above = part->cursor.epoch;

	if (cg_recovery__is_void(part)) {
		return false;
	}
	if (status != CG_OK || !cg_result__bool(result, 0, 0)) {
		cg_recovery__again(part, status == CG_OK ? RETRY_SOON_MS : CG_RETRY_LATER_MS);
		return false;
	}
	if (part->head_epoch > above) {
		above = part->head_epoch;
	}
	part->epoch = above + 1;
	part->phase = CG_PART_TAKE;
	cg_recovery__ask_ledger(part, prepare_take, on_taken);
	return false;
}

static void enter_turn(struct cg_part *part)
{
	uint64_t oldest_ms = part->recovery_at_ms[part->recovery_next];

	if (cg_uuid_is_zero(&part->ledger->deployment.id)) {
		cg_recovery__again(
		    part, CG_RETRY_LATER_MS); /* It would be written into the head. */
		return;
	}
	if (oldest_ms != 0 && now_of(part) < oldest_ms + 60000) {
		refuse(part, "recovered too often within a minute: two stores on one ledger?");
		return;
	}
	part->phase = CG_PART_TURN;
	cg_recovery__ask_ledger(part, prepare_turn, on_turn);
}

static void judge_hello(struct cg_part *part)
{
	const struct cg_cursor_row *cursor = &part->cursor;

	/* Of an older history the head says nothing about the ledger: JUDGE looks again. */
	if (part->head_epoch >= cursor->epoch && is_behind_trimmed(part)) {
		refuse(part, "the ledger went back behind what the store has trimmed");
	} else if (part->condition == CG_PARTITION_HEALTHY && part->head_epoch == cursor->epoch) {
		enter_serving(part, part->head_epoch);
	} else {
		enter_turn(part);
	}
}

static bool on_looked(struct cg_job *job, enum cg_status status, const PGresult *result)
{
	struct cg_part *part = CG_CONTAINER_OF(job, struct cg_part, job);

	if (cg_recovery__is_void(part)) {
		return false;
	}
	if (status == CG_OK) {
		take_cursor(part, result);
		judge_hello(part);
	} else if (part->condition == CG_PARTITION_HEALTHY &&
	    part->head_epoch >= part->served_seen) {
		/*
		 * Postgres is away: the gate goes on, entries wait in the stream.  But not on a
		 * master that came back from before what is known here to have been served.
		 */
		enter_serving(part, part->head_epoch);
	} else {
		cg_recovery__again(part, CG_RETRY_LATER_MS);
	}
	return false;
}

static void on_hello(struct cg_partition_op *op)
{
	struct cg_part *part = CG_CONTAINER_OF(op, struct cg_part, store_op);

	if (cg_recovery__is_void(part)) {
		return;
	}
	if (op->status != CG_OK) {
		cg_recovery__again(part, CG_RETRY_LATER_MS);
		return;
	}
	part->condition = op->out.hello.condition;
	part->head_epoch = op->out.hello.epoch;
	part->trimmed = (struct cg_entry_id){.partition = part->index,
	    .epoch = op->out.hello.trimmed_epoch,
	    .n = op->out.hello.trimmed_n};
	if (part->condition == CG_PARTITION_OTHER_DEPLOYMENT) {
		refuse(part, "the store belongs to another deployment");
		return;
	}
	part->phase = CG_PART_LOOK;
	cg_recovery__ask_ledger(part, prepare_look, on_looked);
}

void cg_recovery__tick(struct cg_part *part, uint64_t now_ms)
{
	struct cg_ledger *ledger = part->ledger;

	if (part->phase != CG_PART_UNKNOWN || now_ms < part->retry_at_ms ||
	    !cg_ledger__may_greet(ledger) || !cg_clocks__admit(ledger)) {
		return;
	}
	part->phase = CG_PART_HELLO;
	part->store_op.in.hello = ledger->deployment;
	ask_store(part, CG_PARTITION_HELLO, on_hello);
}

void cg_recovery__distrust(struct cg_part *part)
{
	struct cg_partition_port *store = part->ledger->partitions;

	if (part->phase == CG_PART_SERVING) {
		store->set_epoch(store, part->index, 0);
		cg_recovery__again(part, 0);
	} else if (part->phase == CG_PART_UNKNOWN) {
		cg_recovery__again(part, 0);
	} else {
		part->hello_wanted = true;
	}
}

void cg_recovery__cursor_seen(struct cg_part *part, const struct cg_cursor_row *row)
{
	/* What was asked before this epoch was served may be older than it. */
	if (part->phase != CG_PART_SERVING ||
	    part->ledger->cursors_at_ms <= part->serving_since_ms) {
		return;
	}
	if (row->epoch != part->epoch) {
		cg_recovery__distrust(part);
		return;
	}
	if (part->is_flushing || part->ledger->cursors_at_ms <= part->cursor_at_ms) {
		return; /* what was asked before we moved it ourselves is older */
	}
	if (cg_position_compare(
	        row->last_epoch, row->last_n, part->cursor.last_epoch, part->cursor.last_n) < 0) {
		cg_recovery__distrust(part); /* The ledger went back: how far, hello judges. */
		return;
	}
	part->cursor = *row;
}

void cg_recovery__init(struct cg_part *part)
{
	part->phase = CG_PART_UNKNOWN;
	cg_list_init(&part->due_link);
	cg_list_init(&part->waiters);
}

void cg_recovery__deinit(struct cg_part *part)
{
	cg_recovery_copy__end(part);
	cg_recovery_repair__end(part);
}
