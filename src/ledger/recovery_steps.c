/*
 * The six steps of a recovery (ledger.md, Recovery), but for what is copied or repaired between
 * JUDGE and SERVED: recovery.c has the way that they are on.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "ledger/ledger_internal.h"

#define TURN_MS       2000
#define RETRY_SOON_MS 50

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
	cg_recovery__enter_serving(part, part->epoch);
}

static void enter_serve(struct cg_part *part)
{
	part->phase = CG_PART_SERVE;
	part->store_op.in.serve.epoch = part->epoch;
	cg_recovery__ask_store(part, CG_PARTITION_SERVE, on_serve);
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

void cg_recovery_steps__enter_served(struct cg_part *part, uint64_t from)
{
	part->from_epoch = from;
	part->phase = CG_PART_SERVED;
	cg_recovery__ask_ledger(part, prepare_served, on_served);
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
	if (cg_recovery__is_behind_trimmed(part)) {
		cg_recovery__refuse(part, "the ledger went back behind what the store has trimmed");
	} else if (cg_position_compare(part->cursor.last_epoch, part->cursor.last_n,
	               part->stream_epoch, part->stream_n) > 0) {
		cg_recovery_repair__enter(part);
	} else {
		cg_recovery_steps__enter_served(part, part->served_epoch);
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
	cg_recovery__take_cursor(part, result);
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
	cg_part__note_trimmed(part, op->out.fence.trimmed_epoch, op->out.fence.trimmed_n);
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
	part->recovery_at_ms[part->recovery_next] = cg_loop_now_ms(part->ledger->loop) + 1;
	part->recovery_next = (part->recovery_next + 1) % CG_RECOVERIES_MOST;
	part->phase = CG_PART_FENCE;
	part->store_op.in.fence.epoch = part->epoch;
	part->store_op.in.fence.deployment = part->ledger->deployment;
	/* Nothing was served since: the epoch is ours. */
	part->store_op.in.fence.ledger_served = (uint64_t)cg_result__int(result, 0, 1);
	part->store_op.in.fence.ledger_served_from = (uint64_t)cg_result__int(result, 0, 2);
	cg_recovery__ask_store(part, CG_PARTITION_FENCE, on_fenced);
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

void cg_recovery_steps__enter(struct cg_part *part)
{
	uint64_t oldest_ms = part->recovery_at_ms[part->recovery_next];

	if (cg_uuid_is_zero(&part->ledger->deployment.id)) {
		cg_recovery__again(
		    part, CG_RETRY_LATER_MS); /* It would be written into the head. */
		return;
	}
	if (oldest_ms != 0 && cg_loop_now_ms(part->ledger->loop) < oldest_ms + 60000) {
		cg_recovery__refuse(
		    part, "recovered too often within a minute: two stores on one ledger?");
		return;
	}
	part->phase = CG_PART_TURN;
	cg_recovery__ask_ledger(part, prepare_turn, on_turn);
}
