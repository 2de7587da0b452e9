/*
 * Recovery of a partition whose history is not the latest: its stream is copied to
 * callgate.orphans, for people, and then all of it is dropped.
 *
 *   COPY_READ (store) --entries--> COPY_PUT (Postgres, which also keeps the turn) --> COPY_READ
 *        `--no more--> DROP (store)
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "ledger/ledger_internal.h"

#define COPY_MOST 256

struct cg_recovery_copy {
	uint64_t epoch, n; /* copied up to here */
	uint32_t count;    /* of entries that are being put */
	bool has_more;
	struct cg_params params; /* encoded while READ's views last */
	struct cg_entry entries[COPY_MOST];
};

static void enter_read(struct cg_part *part);

void cg_recovery_copy__end(struct cg_part *part)
{
	if (part->copy != NULL) {
		cg_params__deinit(&part->copy->params);
		free(part->copy);
		part->copy = NULL;
	}
}

static void on_dropped(struct cg_partition_op *op)
{
	struct cg_part *part = CG_CONTAINER_OF(op, struct cg_part, store_op);

	if (cg_recovery__is_void(part)) {
		return;
	}
	if (op->status != CG_OK || op->out.drop.overtaken) {
		cg_recovery__again(part, CG_RETRY_LATER_MS);
		return;
	}
	cg_part__note_trimmed(part, 0, 0);
	cg_recovery_steps__enter_served(part, part->epoch);
}

void cg_recovery_copy__enter_drop(struct cg_part *part)
{
	cg_recovery_copy__end(part);
	part->phase = CG_PART_DROP;
	part->store_op.in.drop.epoch = part->epoch;
	cg_recovery__submit(part, &part->store_op, CG_PARTITION_DROP, on_dropped);
}

static const char *prepare_put(struct cg_job *job, struct cg_params *params)
{
	struct cg_part *part = CG_CONTAINER_OF(job, struct cg_part, job);
	struct cg_params spare = *params;

	*params = part->copy->params;
	part->copy->params = spare;
	return "select k.kept, case when k.kept then"
	       " callgate.orphans_put($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) end"
	       " from (select callgate.turn_keep($1, $2, $12) as kept) k";
}

static bool on_put(struct cg_job *job, enum cg_status status, const PGresult *result)
{
	struct cg_part *part = CG_CONTAINER_OF(job, struct cg_part, job);

	if (cg_recovery__is_void(part)) {
		return false;
	}
	if (status != CG_OK || !cg_result__bool(result, 0, 0)) {
		cg_recovery__again(part, CG_RETRY_LATER_MS);
		return false;
	}
	part->ledger->counts.orphaned += part->copy->count;
	if (part->copy->has_more) {
		enter_read(part);
	} else {
		cg_recovery_copy__enter_drop(part);
	}
	return false;
}

static void put(struct cg_part *part, const struct cg_entry *entries, uint32_t count, bool more)
{
	struct cg_recovery_copy *copy = part->copy;

	copy->has_more = more;
	copy->count = count;
	copy->epoch = entries[count - 1].id.epoch;
	copy->n = entries[count - 1].id.n;
	cg_flush_batch__encode_orphans(&copy->params, part, entries, count);
	cg_params__int4(&copy->params, CG_TURN_KEEP_MS);
	part->phase = CG_PART_COPY_PUT;
	cg_recovery__ask_ledger(part, prepare_put, on_put);
}

static void on_read(struct cg_partition_op *op)
{
	struct cg_part *part = CG_CONTAINER_OF(op, struct cg_part, store_op);

	if (cg_recovery__is_void(part)) {
		return;
	}
	if (op->status != CG_OK) {
		cg_recovery__again(part, CG_RETRY_LATER_MS);
	} else if (op->out.read.count > 0) {
		put(part, part->copy->entries, op->out.read.count, op->out.read.more);
	} else if (op->out.read.is_unreadable) {
		cg_log(CG_LOG_ERROR, "an entry in the store cannot be read: not recovering",
		    "partition", cg_log_int(part->index), NULL);
		cg_recovery__again(part, CG_REFUSED_MS);
	} else {
		cg_recovery_copy__enter_drop(part);
	}
}

static void enter_read(struct cg_part *part)
{
	part->phase = CG_PART_COPY_READ;
	part->store_op.in.read.after_epoch = part->copy->epoch;
	part->store_op.in.read.after_n = part->copy->n;
	part->store_op.in.read.entries = part->copy->entries;
	part->store_op.in.read.entries_max = COPY_MOST;
	cg_recovery__submit(part, &part->store_op, CG_PARTITION_READ, on_read);
}

void cg_recovery_copy__enter(struct cg_part *part)
{
	part->copy = calloc(1, sizeof *part->copy);
	CG_ASSERT(part->copy != NULL);
	enter_read(part);
}
