/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_internal.h"

/* Refusals by a limit are logged this often. */
#define FULL_INTERVAL_MS 10000

static void arm_deadlines(struct cg_store *s, uint64_t deadline_at_ms, uint64_t now_ms)
{
	if (deadline_at_ms < s->deadlines_at_ms) {
		s->deadlines_at_ms = deadline_at_ms;
		cg_timer_start(s->deadlines, deadline_at_ms > now_ms ? deadline_at_ms - now_ms : 0);
	}
}

void cg_store__push(struct cg_store *s, const struct cg_slot *slot)
{
	uint64_t now_ms = cg_loop_now_ms(s->loop);

	if (cg_ring_is_empty(&s->ring)) {
		s->progress_at_ms = now_ms;
	}
	cg_ring_push(&s->ring, slot);
	if (slot->kind != CG_SLOT_OVER) {
		arm_deadlines(s, slot->deadline_at_ms, now_ms);
	}
}

static void log_full(struct cg_store *s, const char *what)
{
	uint64_t held_back = 0;

	if (cg_log_limit_admits(
	        &s->full_log, cg_loop_now_ms(s->loop), FULL_INTERVAL_MS, &held_back) != 0) {
		cg_log(CG_LOG_WARN, "store operations refused", "limit", what, "in_flight",
		    cg_log_int((int64_t)(s->ring.next - s->ring.first)), "held_back",
		    cg_log_int((int64_t)held_back), NULL);
	}
}

/* CG_OK: it may be written. */
static enum cg_status admit(struct cg_store *s, uint64_t deadline_at_ms)
{
	if (s->is_closing) {
		return CG_CLOSING;
	}
	/* An operation whose time is over was never sent: that is better news than a timeout. */
	if (!cg_conn_is_ready(&s->conn) || s->is_stalled ||
	    deadline_at_ms <= cg_loop_now_ms(s->loop)) {
		return CG_UNAVAILABLE;
	}
	if (cg_ring_is_full(&s->ring)) {
		log_full(s, "inflight_max");
		return CG_FULL;
	}
	return CG_OK;
}

static void encode(struct cg_store *s, const struct cg_slot *slot)
{
	struct cg_buffer *out = &s->output.gathering;

	if (slot->kind == CG_SLOT_STORE) {
		cg_wire_encode(slot->op, slot->partition, slot->epoch, &s->wire, out);
	} else {
		cg_wire_encode_partition(slot->op, slot->epoch, &s->wire, out);
	}
}

/* Whole, or not at all. */
static bool encode_whole(struct cg_store *s, const struct cg_slot *slot)
{
	size_t before = s->output.gathering.len;

	encode(s, slot);
	if (!s->output.gathering.overflow) {
		return true;
	}
	s->output.gathering.len = before;
	s->output.gathering.overflow = false;
	return false;
}

static enum cg_status write_op(struct cg_store *s, const struct cg_slot *slot)
{
	if (!encode_whole(s, slot)) {
		/* Much in one turn: what is there leaves now instead of at the turn's end. */
		cg_store__flush(s);
		if (!encode_whole(s, slot)) {
			log_full(s, "output");
			return CG_FULL;
		}
	}
	cg_store__push(s, slot);
	return CG_OK;
}

static uint32_t partition_of(const struct cg_store *s, const struct cg_store_op *op)
{
	if (op->verb == CG_STORE_LIVE_WALLETS) {
		return op->in.live.partition;
	}
	return cg_store_partition_of(&op->company, s->partitions.count);
}

static enum cg_status submit_with_epoch(
    struct cg_store *s, struct cg_store_op *op, uint32_t partition)
{
	enum cg_status status = admit(s, op->deadline_at_ms);

	if (status != CG_OK) {
		return status;
	}
	if (op->epoch == 0 || (op->known_epoch != 0 && op->known_epoch != op->epoch)) {
		return CG_RECOVERING;
	}
	const struct cg_slot slot = {
	    .op = op,
	    .deadline_at_ms = op->deadline_at_ms,
	    .epoch = op->epoch,
	    .partition = partition,
	    .kind = CG_SLOT_STORE,
	};
	return write_op(s, &slot);
}

/* The hook refuses, or sends, before the loop sleeps; there is none once we are closed. */
static void wake(struct cg_store *s)
{
	if (s->hook != NULL) {
		cg_hook_request(s->hook);
	}
}

static void submit(struct cg_store_port *self, struct cg_store_op *op)
{
	struct cg_store *s = CG_CONTAINER_OF(self, struct cg_store, port);
	uint32_t partition = partition_of(s, op);

	op->epoch = cg_partitions_epoch(&s->partitions, partition);
	op->status = submit_with_epoch(s, op, partition);
	if (op->status != CG_OK) {
		cg_list_append(&s->refused, &op->link);
	}
	wake(s);
}

static enum cg_status submit_to_partition(struct cg_store *s, struct cg_partition_op *op)
{
	enum cg_status status = admit(s, op->deadline_at_ms);
	const struct cg_slot slot = {
	    .op = op,
	    .deadline_at_ms = op->deadline_at_ms,
	    .epoch = cg_partitions_epoch(&s->partitions, op->partition),
	    .partition = op->partition,
	    .kind = CG_SLOT_PARTITION,
	};

	return status != CG_OK ? status : write_op(s, &slot);
}

static void submit_partition(struct cg_partition_port *self, struct cg_partition_op *op)
{
	struct cg_store *s = CG_CONTAINER_OF(self, struct cg_store, partition_port);

	op->status = submit_to_partition(s, op);
	if (op->status != CG_OK) {
		cg_list_append(&s->refused_partition, &op->link);
	}
	wake(s);
}

static uint64_t epoch_of(struct cg_store_port *self, uint32_t partition)
{
	struct cg_store *s = CG_CONTAINER_OF(self, struct cg_store, port);

	return cg_partitions_epoch(&s->partitions, partition);
}

static void set_epoch(struct cg_partition_port *self, uint32_t partition, uint64_t epoch)
{
	struct cg_store *s = CG_CONTAINER_OF(self, struct cg_store, partition_port);

	/* What was decided before the connection ended must not outlive it. */
	cg_partitions_set(&s->partitions, partition, cg_conn_is_ready(&s->conn) ? epoch : 0);
}

void cg_store__init_ports(struct cg_store *s, uint32_t partition_count)
{
	s->port = (struct cg_store_port){
	    .submit = submit, .epoch = epoch_of, .partition_count = partition_count};
	s->partition_port = (struct cg_partition_port){
	    .submit = submit_partition, .set_epoch = set_epoch, .partition_count = partition_count};
	cg_list_init(&s->refused);
	cg_list_init(&s->refused_partition);
}

static void take_all(struct cg_list *from, struct cg_list *to)
{
	struct cg_list *link = NULL;

	cg_list_init(to);
	while ((link = cg_list_pop(from)) != NULL) {
		cg_list_append(to, link);
	}
}

/* Only those that wait now: what their callbacks submit has its turn next. */
void cg_store__deliver_refused(struct cg_store *s)
{
	struct cg_list now;
	struct cg_list now_partition;
	struct cg_list *link = NULL;

	if (cg_list_is_empty(&s->refused) && cg_list_is_empty(&s->refused_partition)) {
		return;
	}
	take_all(&s->refused, &now);
	take_all(&s->refused_partition, &now_partition);
	while ((link = cg_list_pop(&now)) != NULL) {
		struct cg_store_op *op = CG_CONTAINER_OF(link, struct cg_store_op, link);
		op->done(op);
	}
	while ((link = cg_list_pop(&now_partition)) != NULL) {
		struct cg_partition_op *op = CG_CONTAINER_OF(link, struct cg_partition_op, link);
		op->done(op);
	}
}
