/*
 * The flush: what waits in a partition's stream goes into the ledger.
 *
 * A lane takes a partition that is due through these steps, then the next one:
 *
 *   READ (store) --entries--> APPLY (callgate.flush) --> TRIM (store, now and then) --> free
 *        `--none------------------------------------------^
 *
 * It waits in READ and TRIM for the store, in APPLY for Postgres.  An answer that does not
 * come leaves the batch in the stream and the believed cursor where it was: the same flush
 * again either goes through, or is told that the cursor has moved, which is how an
 * ambiguous commit is resolved.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "ledger/ledger_internal.h"

#define IDLE_LOOK_MS  1000
#define TRIM_EVERY_MS 5000
#define BACKOFF_MS    100
#define UNKNOWN_MS    1000 /* after an error that no table of ours knows */
#define ALARM_MS      5000 /* between tries where only an operator can help */
#define STORE_WAIT_MS 2000
#define FLUSH_WAIT_MS 30000

struct cg_flush_lane {
	struct cg_ledger *ledger;
	struct cg_part *part; /* NULL: free */
	uint64_t epoch;       /* the part's when it was taken */
	uint32_t count;
	bool has_more;
	uint64_t last_at_ms;  /* when the last entry was written, on our clock */
	uint64_t apply_at_ns; /* when APPLY began */
	struct cg_entry *entries;
	struct cg_params params; /* encoded while READ's views last */
	struct cg_json json;
	struct cg_partition_op store_op;
	struct cg_job job;
};

static void take_next(struct cg_flush_lane *lane);

static void release(struct cg_flush_lane *lane, uint64_t wait_ms)
{
	struct cg_part *part = lane->part;

	part->is_flushing = false;
	part->look_at_ms = cg_loop_now_ms(lane->ledger->loop) + wait_ms;
	lane->part = NULL;
	take_next(lane);
}

/* Something went wrong that may go right later: what is there is not forgotten. */
static void release_dirty(struct cg_flush_lane *lane, uint64_t wait_ms)
{
	lane->part->is_clean = false;
	release(lane, wait_ms);
}

static bool is_current(const struct cg_flush_lane *lane)
{
	return lane->part->phase == CG_PART_SERVING && lane->part->epoch == lane->epoch;
}

static void on_trimmed(struct cg_partition_op *op)
{
	struct cg_flush_lane *lane = CG_CONTAINER_OF(op, struct cg_flush_lane, store_op);
	uint64_t now_ms = cg_loop_now_ms(lane->ledger->loop);

	bool is_behind = op->status == CG_OK && op->out.trim.removed >= 1000;
	lane->part->trim_at_ms = now_ms + (is_behind ? 0 : TRIM_EVERY_MS);
	release(lane, lane->part->is_clean ? IDLE_LOOK_MS : 0);
}

static void finish(struct cg_flush_lane *lane)
{
	struct cg_part *part = lane->part;
	uint64_t now_ms = cg_loop_now_ms(lane->ledger->loop);

	if (now_ms < part->trim_at_ms || !is_current(lane) || part->cursor.last_epoch == 0) {
		release(lane, part->is_clean ? IDLE_LOOK_MS : 0);
		return;
	}
	lane->store_op = (struct cg_partition_op){
	    .verb = CG_PARTITION_TRIM,
	    .partition = part->index,
	    .deadline_at_ms = now_ms + STORE_WAIT_MS,
	    .in.trim = {.upto_epoch = part->trimmable.epoch,
	        .upto_n = part->trimmable.n,
	        .flushed_epoch = part->cursor.last_epoch,
	        .flushed_n = part->cursor.last_n,
	        .margin_ms = lane->ledger->config.trim_margin_ms},
	    .done = on_trimmed,
	};
	lane->ledger->partitions->submit(lane->ledger->partitions, &lane->store_op);
}

static void alarm(const struct cg_part *part, const char *what, int64_t count)
{
	cg_log(CG_LOG_ERROR, what, "partition", cg_log_int(part->index), "count", cg_log_int(count),
	    NULL);
}

static void on_flushed(struct cg_flush_lane *lane, const struct cg_flush_answer *answer)
{
	struct cg_part *part = lane->part;
	uint64_t from_epoch = part->cursor.last_epoch;
	uint64_t from_n = part->cursor.last_n;

	part->cursor.epoch = answer->epoch;
	part->cursor.last_epoch = answer->last_epoch;
	part->cursor.last_n = answer->last_n;
	part->cursor_at_ms = cg_loop_now_ms(lane->ledger->loop);
	part->mode = 0;
	part->batch_max *= 2;
	if (part->batch_max > lane->ledger->config.flush_batch_max) {
		part->batch_max = lane->ledger->config.flush_batch_max;
	}
	if (lane->has_more) {
		part->is_clean = false;
	}
	if (answer->duplicates > 0) {
		alarm(part, "entries under keys the ledger already has: booked, and taken back",
		    answer->duplicates);
	}
	if (answer->quarantined > 0) {
		alarm(part, "entries set aside in callgate.quarantine", answer->quarantined);
	}
	if (answer->quarantined > 0 || answer->duplicates > 0) {
		cg_await__look(part); /* Not each of them stands under its own key. */
	} else {
		cg_await__moved(part, from_epoch, from_n);
	}
	finish(lane);
}

static void on_answer(struct cg_flush_lane *lane, const struct cg_flush_answer *answer)
{
	struct cg_part *part = lane->part;

	switch (answer->outcome) {
	case CG_FLUSH_DONE:
		on_flushed(lane, answer);
		return;
	case CG_FLUSH_MOVED:
		if (cg_position_compare(answer->last_epoch, answer->last_n, part->cursor.last_epoch,
		        part->cursor.last_n) < 0) {
			/* The ledger went back: what was trimmed meanwhile must be asked anew. */
			cg_recovery__distrust(part);
		}
		part->cursor.last_epoch = answer->last_epoch;
		part->cursor.last_n = answer->last_n;
		part->cursor_at_ms = cg_loop_now_ms(lane->ledger->loop);
		part->mode = 0; /* What was refused here went through elsewhere, or is behind us. */
		cg_await__look(part);
		release_dirty(lane, 0);
		return;
	case CG_FLUSH_FENCED:
	case CG_FLUSH_NO_CURSOR:
		cg_recovery__distrust(part);
		release_dirty(lane, 0);
		return;
	case CG_FLUSH_TRIMMED:
		alarm(part, "the ledger lacks entries that the store has trimmed: not flushing", 1);
		cg_recovery__distrust(part); /* Hello refuses it, until an operator has decided. */
		release_dirty(lane, ALARM_MS);
		return;
	}
	CG_UNREACHABLE();
}

/* A value is refused: the row is found by halving, then tried without its payload. */
static void on_refused(struct cg_flush_lane *lane)
{
	struct cg_part *part = lane->part;

	if (lane->count > 1) {
		part->batch_max = lane->count / 2;
		release_dirty(lane, 0);
	} else if (part->mode < 2) {
		part->mode++;
		release_dirty(lane, 0);
	} else {
		alarm(part, "an entry is refused by Postgres in every form: not flushing", 1);
		release_dirty(lane, ALARM_MS);
	}
}

static const char *prepare(struct cg_job *job, struct cg_params *params)
{
	struct cg_flush_lane *lane = CG_CONTAINER_OF(job, struct cg_flush_lane, job);
	struct cg_params spare = *params;

	*params = lane->params;
	lane->params = spare;
	return cg_flush_batch__statement();
}

/*
 * It did not happen, or may have: the same entries again, after a while.  A statement that took
 * too long will again, so half of them; what goes through makes the batch grow.
 */
static void on_failed(struct cg_flush_lane *lane, enum cg_status status)
{
	bool was_too_long = status == CG_UNAVAILABLE || status == CG_TIMEOUT;

	if (was_too_long && lane->count > 1) {
		lane->part->batch_max = lane->count / 2;
	}
	release_dirty(lane,
	    status == CG_DENIED         ? ALARM_MS
	        : status == CG_INTERNAL ? UNKNOWN_MS
	                                : BACKOFF_MS);
}

static bool on_applied(struct cg_job *job, enum cg_status status, const PGresult *result)
{
	struct cg_flush_lane *lane = CG_CONTAINER_OF(job, struct cg_flush_lane, job);
	struct cg_flush_answer answer;
	bool is_answered = status == CG_OK && cg_flush_batch__decode(result, &answer);

	if (lane->ledger->is_closed) {
		return false;
	}
	cg_lag__flushed(lane->part, is_answered && answer.outcome == CG_FLUSH_DONE ? &answer : NULL,
	    lane->count, cg_loop_clock_ns() - lane->apply_at_ns,
	    lane->has_more ? lane->last_at_ms : 0);
	if (!is_current(lane)) {
		release_dirty(lane, 0);
	} else if (is_answered) {
		on_answer(lane, &answer);
	} else if (status == CG_INVALID || status == CG_KEY_REUSED) {
		on_refused(lane);
	} else {
		on_failed(lane, status);
	}
	return false;
}

/*
 * Nothing behind it is flushed: what it was about is money, and only an operator can tell.
 * Every entry before it has been.
 */
static void on_unreadable(struct cg_flush_lane *lane)
{
	alarm(lane->part, "an entry in the store cannot be read: not flushing", 1);
	release_dirty(lane, ALARM_MS);
}

static void on_read(struct cg_partition_op *op)
{
	struct cg_flush_lane *lane = CG_CONTAINER_OF(op, struct cg_flush_lane, store_op);
	struct cg_ledger *ledger = lane->ledger;
	uint64_t now_ms = cg_loop_now_ms(ledger->loop);

	if (ledger->is_closed) {
		return;
	}
	if (op->status != CG_OK || !is_current(lane)) {
		release_dirty(lane, BACKOFF_MS);
		return;
	}
	/* Another sidecar may have trimmed behind this one's back. */
	cg_part__note_trimmed(lane->part, op->out.read.trimmed_epoch, op->out.read.trimmed_n);
	lane->count = op->out.read.count;
	lane->has_more = op->out.read.more;
	lane->last_at_ms =
	    cg_lag__read(lane->part, lane->entries, lane->count, op->out.read.now_ms);
	if (lane->count == 0 && op->out.read.is_unreadable) {
		on_unreadable(lane);
		return;
	}
	if (lane->count == 0) {
		lane->part->batch_max = ledger->config.flush_batch_max;
		lane->part->mode = 0;
		finish(lane);
		return;
	}
	cg_flush_batch__encode(&lane->params, lane->part, lane->entries, lane->count, &lane->json);
	lane->apply_at_ns = cg_loop_clock_ns();
	lane->job = (struct cg_job){
	    .deadline_at_ms = now_ms + FLUSH_WAIT_MS, .prepare = prepare, .on_end = on_applied};
	cg_pool__submit(ledger->flushers, &lane->job);
}

static void take(struct cg_flush_lane *lane, struct cg_part *part)
{
	struct cg_ledger *ledger = lane->ledger;

	lane->part = part;
	lane->epoch = part->epoch;
	part->is_flushing = true;
	part->is_clean = true; /* until the next kick */
	lane->store_op = (struct cg_partition_op){
	    .verb = CG_PARTITION_READ,
	    .partition = part->index,
	    .deadline_at_ms = cg_loop_now_ms(ledger->loop) + STORE_WAIT_MS,
	    .in.read = {.after_epoch = part->cursor.last_epoch,
	        .after_n = part->cursor.last_n,
	        .entries = lane->entries,
	        .entries_max = part->mode > 0 ? 1 : part->batch_max},
	    .done = on_read,
	};
	ledger->partitions->submit(ledger->partitions, &lane->store_op);
}

static void take_next(struct cg_flush_lane *lane)
{
	struct cg_ledger *ledger = lane->ledger;

	while (lane->part == NULL && !ledger->is_closed) {
		struct cg_list *link = cg_list_pop(&ledger->due);
		if (link == NULL) {
			return;
		}
		struct cg_part *part = CG_CONTAINER_OF(link, struct cg_part, due_link);
		part->is_due = false;
		if (part->phase == CG_PART_SERVING) {
			take(lane, part);
		}
	}
}

void cg_flush__kick(struct cg_part *part)
{
	struct cg_ledger *ledger = part->ledger;

	if (part->is_clean && !part->is_flushing && !ledger->is_closed) {
		part->look_at_ms = 0;
		/* The interval begins with the first entry, so that others can join it. */
		cg_ledger__tick_within(ledger, ledger->config.flush_interval_ms);
	}
	part->is_clean = false;
}

void cg_flush__tick(struct cg_ledger *ledger, uint64_t now_ms)
{
	if (!cg_pool__is_connected(ledger->flushers)) {
		return;
	}
	for (uint32_t i = 0; i < ledger->config.partition_count; i++) {
		struct cg_part *part = &ledger->parts[i];

		/* What ends looks at what is not known to be clean, and at nothing again and again. */
		bool is_wanted = !ledger->is_stopping || !part->is_clean;
		if (part->phase == CG_PART_SERVING && is_wanted && !part->is_flushing &&
		    !part->is_due && now_ms >= part->look_at_ms) {
			part->is_due = true;
			cg_list_append(&ledger->due, &part->due_link);
		}
	}
	for (uint32_t i = 0; i < CG_FLUSH_LANES; i++) {
		take_next(&ledger->lanes[i]);
	}
}

bool cg_flush__is_idle(const struct cg_ledger *ledger)
{
	for (uint32_t i = 0; i < CG_FLUSH_LANES; i++) {
		if (ledger->lanes[i].part != NULL) {
			return false;
		}
	}
	return cg_list_is_empty(&ledger->due);
}

bool cg_flush__is_clean(const struct cg_ledger *ledger)
{
	for (uint32_t i = 0; i < ledger->config.partition_count; i++) {
		if (ledger->parts[i].phase != CG_PART_SERVING || !ledger->parts[i].is_clean) {
			return false;
		}
	}
	return cg_flush__is_idle(ledger);
}

void cg_flush__create(struct cg_ledger *ledger)
{
	ledger->lanes = calloc(CG_FLUSH_LANES, sizeof *ledger->lanes);
	CG_ASSERT(ledger->lanes != NULL);
	for (uint32_t i = 0; i < CG_FLUSH_LANES; i++) {
		ledger->lanes[i].ledger = ledger;
		ledger->lanes[i].entries =
		    calloc(ledger->config.flush_batch_max, sizeof *ledger->lanes[i].entries);
		CG_ASSERT(ledger->lanes[i].entries != NULL);
	}
}

void cg_flush__destroy(struct cg_ledger *ledger)
{
	for (uint32_t i = 0; i < CG_FLUSH_LANES; i++) {
		free(ledger->lanes[i].entries);
		cg_params__deinit(&ledger->lanes[i].params);
		cg_json__deinit(&ledger->lanes[i].json);
	}
	free(ledger->lanes);
}
