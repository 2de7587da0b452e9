/* SPDX-License-Identifier: Apache-2.0 */
#include "store/kinds.h"
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
	struct cg_slot pushed = *slot;
	/* The loop's time stands still during a turn: a long one would make it older than it is. */
	pushed.pushed_at_ms = cg_loop_clock_ns() / 1000000;
	cg_ring_push(&s->ring, &pushed);
	cg_store__suspect(s);
	if (slot->kind != CG_SLOT_OVER) {
		arm_deadlines(s, slot->deadline_at_ms, now_ms);
	}
}

void cg_store__log_full(struct cg_store *s, const char *what)
{
	uint64_t held_back = 0;

	s->counts.refused_full++;
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
	if (!cg_conn_is_ready(&s->conn) || deadline_at_ms <= cg_loop_now_ms(s->loop) ||
	    !cg_breaker_admits(&s->breaker)) {
		return CG_UNAVAILABLE;
	}
	if (s->ring.next - s->ring.first + s->waiting_count >= s->ring.limit) {
		cg_store__log_full(s, "inflight_max");
		return CG_FULL;
	}
	return CG_OK;
}

/* Whole, or not at all. */
static bool encode_whole(struct cg_store *s, const struct cg_slot *slot)
{
	size_t before = s->output.gathering.len;

	cg_kinds_encode(slot, &s->wire, &s->output.gathering);
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
			cg_store__log_full(s, "output");
			return CG_FULL;
		}
	}
	cg_store__push(s, slot);
	return CG_OK;
}

/* The hook refuses, or sends, before the loop sleeps; there is none once we are closed. */
static void wake(struct cg_store *s)
{
	if (s->hook != NULL) {
		cg_hook_request(s->hook);
	}
}

void cg_store__refuse(struct cg_store *s, const struct cg_slot *slot, enum cg_status status)
{
	cg_kinds_set_status(slot, status);
	cg_list_append(&s->refused[slot->kind], cg_kinds_link(slot));
	wake(s);
}

/* `has_epoch`: there is one that its function may be called with. */
static void write_or_refuse(struct cg_store *s, const struct cg_slot *slot, bool has_epoch)
{
	enum cg_status status = admit(s, slot->deadline_at_ms);

	if (status == CG_OK && has_epoch) {
		cg_store__write_waiting_of(s, slot->partition);
	}
	if (status == CG_OK) {
		status = has_epoch ? write_op(s, slot) : CG_RECOVERING;
	}
	if (status != CG_OK) {
		cg_store__refuse(s, slot, status);
	}
	wake(s);
}

/* The same, for one that may share its function call. */
static void wait_or_refuse(
    struct cg_store *s, const struct cg_slot *slot, bool has_epoch, enum cg_wire_group group)
{
	enum cg_status status = admit(s, slot->deadline_at_ms);

	if (status == CG_OK && has_epoch) {
		cg_store__wait(s, slot->op, slot->partition, group);
	} else {
		cg_store__refuse(s, slot, status == CG_OK ? CG_RECOVERING : status);
	}
	wake(s);
}

static uint32_t partition_of(const struct cg_store *s, const struct cg_store_op *op)
{
	if (op->verb == CG_STORE_LIVE_WALLETS) {
		return op->in.live.partition;
	}
	return cg_store_partition_of(&op->company, s->partitions.count);
}

static void submit(struct cg_store_port *self, struct cg_store_op *op)
{
	struct cg_store *s = CG_CONTAINER_OF(self, struct cg_store, port);
	uint32_t partition = partition_of(s, op);
	const struct cg_slot slot = {
	    .op = op,
	    .deadline_at_ms = op->deadline_at_ms,
	    .epoch = cg_partitions_epoch(&s->leader->partitions, partition),
	    .partition = partition,
	    .kind = CG_SLOT_STORE,
	};

	op->epoch = slot.epoch;
	bool has_epoch = op->epoch != 0 && (op->known_epoch == 0 || op->known_epoch == op->epoch);
	enum cg_wire_group group = cg_wire_group_of(op->verb);
	if (group == CG_WIRE_ALONE) {
		write_or_refuse(s, &slot, has_epoch);
	} else {
		wait_or_refuse(s, &slot, has_epoch, group);
	}
}

static void submit_partition(struct cg_partition_port *self, struct cg_partition_op *op)
{
	struct cg_store *s = CG_CONTAINER_OF(self, struct cg_store, partition_port);
	const struct cg_slot slot = {
	    .op = op,
	    .deadline_at_ms = op->deadline_at_ms,
	    .epoch = cg_partitions_epoch(&s->leader->partitions, op->partition),
	    .partition = op->partition,
	    .kind = CG_SLOT_PARTITION,
	};

	/* What takes a partition into use comes before its epoch is in force. */
	write_or_refuse(s, &slot, true);
}

static void submit_events(struct cg_events_port *self, struct cg_events_op *op)
{
	struct cg_store *s = CG_CONTAINER_OF(self, struct cg_store, events_port);
	const struct cg_slot slot = {
	    .op = op,
	    .deadline_at_ms = op->deadline_at_ms,
	    .epoch = cg_partitions_epoch(&s->leader->partitions, op->partition),
	    .partition = op->partition,
	    .kind = CG_SLOT_EVENTS,
	};

	write_or_refuse(s, &slot, slot.epoch != 0);
}

static uint64_t epoch_of(struct cg_store_port *self, uint32_t partition)
{
	struct cg_store *s = CG_CONTAINER_OF(self, struct cg_store, port);

	return cg_partitions_epoch(&s->leader->partitions, partition);
}

/* Of the connection that its operations leave on. */
static int64_t store_time_of(struct cg_store_port *self, uint64_t at_ms)
{
	struct cg_store *s = CG_CONTAINER_OF(self, struct cg_store, port);

	return cg_store_clock_at(&s->conn.clock, at_ms);
}

static uint64_t epoch_of_events(struct cg_events_port *self, uint32_t partition)
{
	struct cg_store *s = CG_CONTAINER_OF(self, struct cg_store, events_port);

	return cg_partitions_epoch(&s->leader->partitions, partition);
}

static void set_epoch(struct cg_partition_port *self, uint32_t partition, uint64_t epoch)
{
	struct cg_store *s = CG_CONTAINER_OF(self, struct cg_store, partition_port);

	/* What was decided before the connection ended must not outlive it. */
	cg_partitions_set(&s->partitions, partition, cg_conn_is_ready(&s->conn) ? epoch : 0);
}

void cg_store__init_ports(struct cg_store *s, uint32_t partition_count)
{
	s->port = (struct cg_store_port){.submit = submit,
	    .epoch = epoch_of,
	    .store_time = store_time_of,
	    .partition_count = partition_count};
	s->partition_port = (struct cg_partition_port){
	    .submit = submit_partition, .set_epoch = set_epoch, .partition_count = partition_count};
	s->events_port = (struct cg_events_port){
	    .submit = submit_events, .epoch = epoch_of_events, .partition_count = partition_count};
	for (size_t kind = 0; kind < CG_SLOT_KIND_COUNT; kind++) {
		cg_list_init(&s->refused[kind]);
	}
}

bool cg_store__has_refused(const struct cg_store *s)
{
	bool has = false;

	for (size_t kind = 0; kind < CG_SLOT_KIND_COUNT; kind++) {
		has = has || !cg_list_is_empty(&s->refused[kind]);
	}
	return has;
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
	struct cg_list now[CG_SLOT_KIND_COUNT];
	struct cg_list *link = NULL;

	if (!cg_store__has_refused(s)) {
		return;
	}
	for (size_t kind = 0; kind < CG_SLOT_KIND_COUNT; kind++) {
		take_all(&s->refused[kind], &now[kind]);
	}
	for (size_t kind = 0; kind < CG_SLOT_KIND_COUNT; kind++) {
		while ((link = cg_list_pop(&now[kind])) != NULL) {
			struct cg_slot slot = cg_kinds_of_link((enum cg_slot_kind)kind, link);
			cg_kinds_done(&slot);
		}
	}
}
