/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_store.h"

#include <stdlib.h>

static int compare(const struct cg_entry_id *a, uint64_t epoch, uint64_t n)
{
	if (a->epoch != epoch) {
		return a->epoch < epoch ? -1 : 1;
	}
	return a->n == n ? 0 : a->n < n ? -1 : 1;
}

static void hello(struct fake_partition *p, struct cg_partition_op *op)
{
	op->out.hello.epoch = p->epoch;
	op->out.hello.trimmed_epoch = p->trimmed.epoch;
	op->out.hello.trimmed_n = p->trimmed.n;
	op->out.hello.condition = p->state == FAKE_NONE ? CG_PARTITION_NO_HEAD
	    : p->state == FAKE_RECOVERING               ? CG_PARTITION_HALF_DONE
	    : p->other_history                          ? CG_PARTITION_OTHER_HISTORY
	                                                : CG_PARTITION_HEALTHY;
}

static void fence(struct fake_partition *p, struct cg_partition_op *op)
{
	p->fence_count++;
	op->out.fence.overtaken = p->epoch >= op->in.fence.epoch;
	op->out.fence.former_epoch = p->epoch;
	op->out.fence.served_epoch = p->served;
	if (!op->out.fence.overtaken && p->epoch == op->in.fence.ledger_served &&
	    p->served >= op->in.fence.ledger_served_from) {
		p->judged = p->epoch;
	}
	op->out.fence.judged_epoch = p->judged;
	/* What is of an epoch before the one it was served under is known. */
	bool is_older = p->last.epoch < p->served;
	op->out.fence.last_epoch = is_older ? p->served - 1 : p->last.epoch;
	op->out.fence.last_n = is_older ? (UINT64_C(1) << 53) - 1 : p->last.n;
	op->out.fence.trimmed_epoch = p->trimmed.epoch;
	op->out.fence.trimmed_n = p->trimmed.n;
	if (!op->out.fence.overtaken) {
		p->epoch = op->in.fence.epoch;
		p->state = FAKE_RECOVERING;
		p->next_n = 0;
	}
}

static void drop(struct fake_partition *p, struct cg_partition_op *op)
{
	op->out.drop.overtaken = p->epoch != op->in.drop.epoch || p->state != FAKE_RECOVERING;
	if (!op->out.drop.overtaken) {
		p->drop_count++;
		p->served = p->epoch;
		p->count = 0;
		p->last = p->trimmed = (struct cg_entry_id){0};
	}
}

static void repair(struct fake_partition *p, struct cg_partition_op *op)
{
	op->out.repair.overtaken = p->epoch != op->in.repair.epoch || p->state != FAKE_RECOVERING;
	if (!op->out.repair.overtaken) {
		p->repair_count++;
		if (p->on_repair != NULL) {
			p->on_repair(p->repair_owner, op);
		}
	}
}

static void serve(struct fake_partition *p, struct cg_partition_op *op)
{
	op->out.serve.overtaken = p->epoch != op->in.serve.epoch;
	if (!op->out.serve.overtaken) {
		p->state = FAKE_SERVING;
		p->served = p->epoch;
		p->other_history = false;
	}
}

static void read_entries(struct fake_partition *p, struct cg_partition_op *op)
{
	uint32_t i = 0;

	op->out.read.count = 0;
	op->out.read.is_unreadable = false;
	while (i < p->count &&
	    compare(&p->entries[i].id, op->in.read.after_epoch, op->in.read.after_n) <= 0) {
		i++;
	}
	while (i < p->count && op->out.read.count < op->in.read.entries_max) {
		if (p->entries[i].id.n + 1 == p->unreadable) {
			op->out.read.is_unreadable = true;
			p->unreadable_count++;
			break;
		}
		op->in.read.entries[op->out.read.count++] = p->entries[i++];
	}
	op->out.read.more = i < p->count;
	op->out.read.now_ms = 0;
	op->out.read.trimmed_epoch = p->trimmed.epoch;
	op->out.read.trimmed_n = p->trimmed.n;
}

static void trim(struct fake_partition *p, struct cg_partition_op *op)
{
	uint32_t gone = 0;

	while (op->in.trim.margin_ms == 0 && gone < p->count && gone < 1000 &&
	    compare(&p->entries[gone].id, op->in.trim.upto_epoch, op->in.trim.upto_n) <= 0) {
		p->trimmed = p->entries[gone++].id;
	}
	if (gone > 0) {
		memmove(p->entries, p->entries + gone, (p->count - gone) * sizeof *p->entries);
	}
	p->count -= gone;
	op->out.trim.removed = gone;
	op->out.trim.length = p->count;
}

static void answer(struct fake_store *store, struct cg_partition_op *op)
{
	static void (*const verbs[])(struct fake_partition *, struct cg_partition_op *) = {
	    [CG_PARTITION_HELLO] = hello,
	    [CG_PARTITION_FENCE] = fence,
	    [CG_PARTITION_DROP] = drop,
	    [CG_PARTITION_REPAIR] = repair,
	    [CG_PARTITION_SERVE] = serve,
	    [CG_PARTITION_READ] = read_entries,
	    [CG_PARTITION_TRIM] = trim,
	};

	struct fake_partition *p = &store->partitions[op->partition];
	bool is_troubled = p->trouble != FAKE_FINE && p->trouble_in-- == 0;

	op->status = store->is_dead ? CG_UNAVAILABLE : CG_OK;
	if (is_troubled && p->trouble == FAKE_OVERTAKES) {
		/* SERVE comes once the ledger holds this epoch for served, as that fence was told. */
		p->judged = op->verb == CG_PARTITION_SERVE ? p->epoch : p->judged;
		p->epoch++;
		p->state = FAKE_RECOVERING;
	}
	if (!store->is_dead && !(is_troubled && p->trouble == FAKE_NOT_DONE)) {
		store->read_count += op->verb == CG_PARTITION_READ ? 1 : 0;
		verbs[op->verb](p, op);
	}
	if (is_troubled) {
		p->troubled_verb = op->verb;
		op->status = p->trouble == FAKE_NOT_DONE ? CG_UNAVAILABLE
		    : p->trouble == FAKE_UNKNOWN         ? CG_TIMEOUT
		                                         : op->status;
		p->trouble = FAKE_FINE;
	}
	op->done(op);
}

static void on_timer(void *owner)
{
	struct fake_store *store = owner;
	struct cg_list now;

	cg_list_init(&now);
	for (struct cg_list *link; (link = cg_list_pop(&store->waiting)) != NULL;) {
		cg_list_append(&now, link);
	}
	for (struct cg_list *link; (link = cg_list_pop(&now)) != NULL;) {
		answer(store, CG_CONTAINER_OF(link, struct cg_partition_op, link));
	}
}

static void submit(struct cg_partition_port *self, struct cg_partition_op *op)
{
	struct fake_store *store = CG_CONTAINER_OF(self, struct fake_store, port);

	cg_list_init(&op->link);
	cg_list_append(&store->waiting, &op->link);
	cg_timer_start(store->timer, 0);
}

static void set_epoch(struct cg_partition_port *self, uint32_t partition, uint64_t epoch)
{
	struct fake_store *store = CG_CONTAINER_OF(self, struct fake_store, port);

	store->partitions[partition].served_here = epoch;
}

void fake_store_init(struct fake_store *store, struct cg_loop *loop)
{
	*store = (struct fake_store){
	    .port = {.submit = submit, .set_epoch = set_epoch, .partition_count = FAKE_PARTITIONS},
	    .loop = loop};
	cg_list_init(&store->waiting);
	store->timer = cg_timer_create(loop, on_timer, store);
}

void fake_store_deinit(struct fake_store *store)
{
	/* What is still asked is answered, as the port promises. */
	store->is_dead = true;
	on_timer(store);
	cg_timer_close(store->timer);
	for (uint32_t i = 0; i < FAKE_PARTITIONS; i++) {
		free(store->partitions[i].entries);
	}
	free(store->kept.entries);
}

struct cg_entry_id fake_store_append(
    struct fake_store *store, uint32_t partition, const struct cg_entry *entry)
{
	struct fake_partition *p = &store->partitions[partition];

	if (p->count == p->capacity) {
		p->capacity = p->capacity == 0 ? 1024 : p->capacity * 2;
		p->entries = realloc(p->entries, p->capacity * sizeof *p->entries);
		CG_ASSERT(p->entries != NULL);
	}
	p->entries[p->count] = *entry;
	p->last = (struct cg_entry_id){.partition = partition, .epoch = p->epoch, .n = p->next_n++};
	p->entries[p->count++].id = p->last;
	return p->last;
}

void fake_store_forget(struct fake_store *store, uint32_t partition)
{
	struct fake_partition *p = &store->partitions[partition];

	p->state = FAKE_NONE;
	p->epoch = 0;
	p->served = p->judged = 0;
	p->count = 0;
	p->last = p->trimmed = (struct cg_entry_id){0};
}

void fake_store_keep(struct fake_store *store, uint32_t partition)
{
	struct fake_partition *p = &store->partitions[partition];
	struct fake_kept *kept = &store->kept;

	free(kept->entries);
	*kept = (struct fake_kept){.state = p->state,
	    .epoch = p->epoch,
	    .served = p->served,
	    .last = p->last,
	    .trimmed = p->trimmed,
	    .count = p->count};
	kept->entries = calloc(p->count + 1, sizeof *p->entries);
	CG_ASSERT(kept->entries != NULL);
	if (p->count > 0) {
		memcpy(kept->entries, p->entries, p->count * sizeof *p->entries);
	}
}

void fake_store_fall_back(struct fake_store *store, uint32_t partition)
{
	struct fake_partition *p = &store->partitions[partition];
	const struct fake_kept *kept = &store->kept;

	CG_ASSERT(kept->entries != NULL && kept->count <= p->capacity);
	p->state = kept->state;
	p->epoch = kept->epoch;
	p->served = kept->served;
	p->last = kept->last;
	p->trimmed = kept->trimmed;
	p->count = kept->count;
	if (p->count > 0) {
		memcpy(p->entries, kept->entries, p->count * sizeof *p->entries);
	}
	p->other_history = true;
}
