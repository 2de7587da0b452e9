/*
 * Operations that wait together: submitted in one turn of the loop, of one partition and group,
 * they leave in one function call.  Nobody waits longer for it than until the turn's end, when
 * everything leaves; and where an operation of another kind comes for the partition, they go
 * before it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "store/kinds.h"
#include "store/store_internal.h"

/* As many bytes of one call as are written at once, by an estimate; one operation always is. */
#define LOT_MAX_BYTES ((size_t)32 << 10)

/* Of an operation without meta: keys, terms, price, ids. */
#define OPERATION_BYTES ((size_t)384)

static size_t bytes_of(const struct cg_store_op *op)
{
	if (op->verb == CG_STORE_AUTHORIZE) {
		return OPERATION_BYTES + op->in.authorize.meta.pairs.len;
	}
	if (op->verb == CG_STORE_SETTLE) {
		return OPERATION_BYTES + op->in.settle.meta.pairs.len;
	}
	return OPERATION_BYTES + (op->verb == CG_STORE_ADOPT ? op->in.adopt.meta.pairs.len : 0);
}

void cg_store__init_queues(struct cg_store *s, uint32_t partition_count)
{
	s->queues = calloc((size_t)partition_count * CG_WIRE_GROUP_COUNT, sizeof s->queues[0]);
	CG_ASSERT(s->queues != NULL);
	cg_list_init(&s->queues_waiting);
	for (uint32_t i = 0; i < partition_count * CG_WIRE_GROUP_COUNT; i++) {
		cg_list_init(&s->queues[i].ops);
		cg_list_init(&s->queues[i].link);
		s->queues[i].partition = i / CG_WIRE_GROUP_COUNT;
	}
}

void cg_store__deinit_queues(struct cg_store *s)
{
	CG_ASSERT(s->waiting_count == 0);
	free(s->queues);
}

void cg_store__wait(
    struct cg_store *s, struct cg_store_op *op, uint32_t partition, enum cg_wire_group group)
{
	struct cg_store_queue *queue = &s->queues[partition * CG_WIRE_GROUP_COUNT + group];

	if (cg_list_is_empty(&queue->ops)) {
		cg_list_append(&s->queues_waiting, &queue->link);
	}
	cg_list_append(&queue->ops, &op->link);
	s->waiting_count++;
}

static struct cg_store_op *take_first(struct cg_store *s, struct cg_store_queue *queue)
{
	struct cg_list *link = cg_list_pop(&queue->ops);

	if (link == NULL) {
		return NULL;
	}
	s->waiting_count--;
	return CG_CONTAINER_OF(link, struct cg_store_op, link);
}

/* As many of the oldest as fit into one call. */
static uint32_t take_lot(
    struct cg_store *s, struct cg_store_queue *queue, struct cg_store_op *ret_ops[])
{
	size_t bytes = 0;
	uint32_t count = 0;

	while (count < CG_WIRE_MANY_MAX && !cg_list_is_empty(&queue->ops)) {
		struct cg_store_op *next =
		    CG_CONTAINER_OF(queue->ops.next, struct cg_store_op, link);
		bytes += bytes_of(next);
		if (count > 0 && bytes > LOT_MAX_BYTES) {
			break;
		}
		ret_ops[count++] = take_first(s, queue);
	}
	return count;
}

/* Whole, or not at all. */
static bool encode_lot(
    struct cg_store *s, uint32_t partition, struct cg_store_op *const *ops, uint32_t count)
{
	size_t before = s->output.gathering.len;

	if (count == 1) {
		cg_wire_encode(ops[0], partition, ops[0]->epoch, &s->wire, &s->output.gathering);
	} else {
		cg_wire_encode_many((const struct cg_store_op *const *)ops, count, partition,
		    &s->wire, &s->output.gathering);
	}
	if (!s->output.gathering.overflow) {
		return true;
	}
	s->output.gathering.len = before;
	s->output.gathering.overflow = false;
	return false;
}

static void write_lot(
    struct cg_store *s, uint32_t partition, struct cg_store_op *const *ops, uint32_t count)
{
	bool fits = encode_lot(s, partition, ops, count);

	if (!fits) {
		/* Much in one turn: what is there leaves now instead of at the turn's end. */
		cg_store__flush(s);
		fits = encode_lot(s, partition, ops, count);
	}
	if (!fits) {
		cg_store__log_full(s, "output");
	}
	for (uint32_t i = 0; i < count; i++) {
		const struct cg_slot slot = {
		    .op = ops[i],
		    .deadline_at_ms = ops[i]->deadline_at_ms,
		    .epoch = ops[i]->epoch,
		    .partition = partition,
		    .followers = i == 0 ? count - 1 : 0,
		    .kind = CG_SLOT_STORE,
		};
		if (fits) {
			cg_store__push(s, &slot);
		} else {
			cg_store__refuse(s, &slot, CG_FULL);
		}
	}
}

static void write_queue(struct cg_store *s, struct cg_store_queue *queue)
{
	struct cg_store_op *ops[CG_WIRE_MANY_MAX];
	uint32_t count;

	cg_list_remove(&queue->link);
	while ((count = take_lot(s, queue, ops)) > 0) {
		write_lot(s, queue->partition, ops, count);
	}
}

void cg_store__write_waiting_of(struct cg_store *s, uint32_t partition)
{
	for (uint32_t group = 0; s->waiting_count > 0 && group < CG_WIRE_GROUP_COUNT; group++) {
		write_queue(s, &s->queues[partition * CG_WIRE_GROUP_COUNT + group]);
	}
}

void cg_store__write_waiting(struct cg_store *s)
{
	struct cg_list *link;

	while ((link = cg_list_pop(&s->queues_waiting)) != NULL) {
		write_queue(s, CG_CONTAINER_OF(link, struct cg_store_queue, link));
	}
}

void cg_store__end_waiting(struct cg_store *s, enum cg_status status)
{
	struct cg_list *link;

	while ((link = cg_list_pop(&s->queues_waiting)) != NULL) {
		struct cg_store_queue *queue = CG_CONTAINER_OF(link, struct cg_store_queue, link);
		struct cg_store_op *op;
		while ((op = take_first(s, queue)) != NULL) {
			op->status = status;
			op->done(op);
		}
	}
}
