/*
 * How a partition is taken into use (ledger.md, Recovery): the way.
 *
 *   UNKNOWN --> HELLO --> LOOK --healthy---------------------------------------> SERVING
 *      ^                   |                                                        ^
 *      |   recovery_steps.c: the store forgot                                       |
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

#define STEP_WAIT_MS 5000

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

void cg_recovery__ask_store(
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

void cg_recovery__refuse(struct cg_part *part, const char *why)
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

void cg_recovery__enter_serving(struct cg_part *part, uint64_t epoch)
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

static const char *prepare_look(struct cg_job *job, struct cg_params *params)
{
	struct cg_part *part = CG_CONTAINER_OF(job, struct cg_part, job);

	cg_params__int4(params, (int32_t)part->index);
	return "select c.partition, c.epoch, c.last_epoch, c.last_n, c.served"
	       " from callgate.cursor_read($1) c";
}

void cg_recovery__take_cursor(struct cg_part *part, const PGresult *result)
{
	part->cursor = (struct cg_cursor_row){0};
	if (PQntuples(result) > 0) {
		cg_cursors__decode(result, 0, &part->cursor);
	}
	if (part->cursor.served > part->served_seen) {
		part->served_seen = part->cursor.served;
	}
}

bool cg_recovery__is_behind_trimmed(const struct cg_part *part)
{
	return cg_position_compare(part->cursor.last_epoch, part->cursor.last_n,
	           part->trimmed.epoch, part->trimmed.n) < 0;
}

static void judge_hello(struct cg_part *part)
{
	const struct cg_cursor_row *cursor = &part->cursor;

	/* Of an older history the head says nothing about the ledger: JUDGE looks again. */
	if (part->head_epoch >= cursor->epoch && cg_recovery__is_behind_trimmed(part)) {
		cg_recovery__refuse(part, "the ledger went back behind what the store has trimmed");
	} else if (part->condition == CG_PARTITION_HEALTHY && part->head_epoch == cursor->epoch) {
		cg_recovery__enter_serving(part, part->head_epoch);
	} else {
		cg_recovery_steps__enter(part);
	}
}

static bool on_looked(struct cg_job *job, enum cg_status status, const PGresult *result)
{
	struct cg_part *part = CG_CONTAINER_OF(job, struct cg_part, job);

	if (cg_recovery__is_void(part)) {
		return false;
	}
	if (status == CG_OK) {
		cg_recovery__take_cursor(part, result);
		judge_hello(part);
	} else if (part->condition == CG_PARTITION_HEALTHY &&
	    part->head_epoch >= part->served_seen) {
		/*
		 * Postgres is away: the gate goes on, entries wait in the stream.  But not on a
		 * master that came back from before what is known here to have been served.
		 */
		cg_recovery__enter_serving(part, part->head_epoch);
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
	cg_part__note_trimmed(part, op->out.hello.trimmed_epoch, op->out.hello.trimmed_n);
	if (part->condition == CG_PARTITION_OTHER_DEPLOYMENT) {
		cg_recovery__refuse(part, "the store belongs to another deployment");
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
	cg_recovery__ask_store(part, CG_PARTITION_HELLO, on_hello);
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
	if (cg_position_compare(
	        row->last_epoch, row->last_n, part->cursor.last_epoch, part->cursor.last_n) > 0) {
		part->mode = 0; /* What was refused here went through elsewhere. */
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
