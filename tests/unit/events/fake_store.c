/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cg_uuid fake_company(uint32_t n)
{
	struct cg_uuid company = {.bytes = {0xC0}};

	memcpy(company.bytes + 12, &n, sizeof n);
	return company;
}

uint32_t fake_partition(uint32_t n)
{
	struct cg_uuid company = fake_company(n);

	return cg_store_partition_of(&company, FAKE_PARTITIONS);
}

int64_t fake_store_now(const struct fake_store *store)
{
	return FAKE_CLOCK_MS + (int64_t)cg_loop_now_ms(store->loop);
}

static uint32_t number_of(const struct fake_part *part, const struct cg_uuid *company)
{
	for (uint32_t i = part->count; i > 0; i--) {
		if (cg_uuid_equal(&part->happened[i - 1].company, company)) {
			return part->happened[i - 1].number;
		}
	}
	return 0;
}

void fake_store_happen(struct fake_store *store, uint32_t n, enum cg_event_type type)
{
	struct fake_part *part = &store->parts[fake_partition(n)];
	struct cg_uuid company = fake_company(n);
	bool is_entry = type == CG_EVENT_CALL_SETTLED || type == CG_EVENT_CREDITED;
	uint32_t number = number_of(part, &company) + 1;

	if (part->count == part->capacity) {
		part->capacity = part->capacity == 0 ? 64 : part->capacity * 2;
		part->happened = realloc(part->happened, part->capacity * sizeof part->happened[0]);
		CG_ASSERT(part->happened != NULL);
	}
	struct cg_stream_id *id = is_entry ? &part->position.entry : &part->position.event;
	id->n = id->epoch == part->epoch ? id->n + 1 : 1;
	id->epoch = part->epoch;
	part->happened[part->count++] = (struct fake_happened){
	    .company = company,
	    .type = type,
	    .is_entry = is_entry,
	    .number = number,
	    .position = part->position,
	};
}

void fake_store_due(struct fake_store *store, uint32_t n, int64_t in_ms)
{
	CG_ASSERT(store->wallet_count < FAKE_WALLETS);
	store->wallets[store->wallet_count++] = (struct fake_wallet){
	    .company = fake_company(n), .at_ms = fake_store_now(store) + in_ms};
}

void fake_store_trim(struct fake_store *store, uint32_t partition, uint32_t keep)
{
	struct fake_part *part = &store->parts[partition];

	part->first = part->count > keep ? part->count - keep : 0;
}

void fake_store_go_back(struct fake_store *store, uint32_t partition, uint32_t count)
{
	struct fake_part *part = &store->parts[partition];

	CG_ASSERT(count > 0 && count <= part->count);
	part->count = count;
	part->position = part->happened[count - 1].position;
}

static void tell_due(struct fake_store *store, struct cg_events_op *op)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < store->wallet_count; i++) {
		struct fake_wallet *wallet = &store->wallets[i];
		if (wallet->at_ms == 0 ||
		    cg_store_partition_of(&wallet->company, FAKE_PARTITIONS) != op->partition) {
			continue;
		}
		/* Into its place; the last one falls off where there are too many. */
		uint32_t at = count;
		while (at > 0 && op->out.tick.due[at - 1].at_ms > wallet->at_ms) {
			at--;
		}
		if (count == CG_TICK_WALLETS_MAX && at == count) {
			continue;
		}
		count += count < CG_TICK_WALLETS_MAX ? 1 : 0;
		memmove(&op->out.tick.due[at + 1], &op->out.tick.due[at],
		    (count - 1 - at) * sizeof op->out.tick.due[0]);
		op->out.tick.due[at] = (struct cg_due){wallet->company, wallet->at_ms};
	}
	op->out.tick.due_count = count;
}

static void attend(struct fake_store *store, struct cg_events_op *op)
{
	struct fake_part *part = &store->parts[op->partition];

	for (uint32_t i = 0; i < op->in.tick.wallet_count && !part->is_stuck; i++) {
		for (uint32_t j = 0; j < store->wallet_count; j++) {
			struct fake_wallet *wallet = &store->wallets[j];
			if (wallet->at_ms != 0 && wallet->at_ms <= op->now_ms &&
			    cg_uuid_equal(&wallet->company, &op->in.tick.wallets[i])) {
				uint32_t n = 0;
				memcpy(&n, wallet->company.bytes + 12, sizeof n);
				op->out.tick.worked++;
				wallet->attended_at_ms = op->now_ms;
				wallet->at_ms = 0;
				fake_store_happen(store, n, CG_EVENT_CUT_OFF);
			}
		}
	}
}

static void answer_tick(struct fake_store *store, struct cg_events_op *op)
{
	struct fake_part *part = &store->parts[op->partition];

	part->under_way--;
	op->status = store->tick_status;
	if (op->status != CG_OK) {
		return;
	}
	attend(store, op);
	tell_due(store, op);
	op->out.tick.last = part->position;
}

static bool is_out_of_range(const struct fake_part *part, const struct cg_position *after)
{
	struct cg_position oldest = {.event = {1, 0}, .entry = {1, 0}};

	if (part->first > 0) {
		oldest = part->happened[part->first - 1].position;
	}
	return !cg_position_reaches(after, &oldest) || !cg_position_reaches(&part->position, after);
}

static void answer_read(struct fake_store *store, struct cg_events_op *op)
{
	static char meta[4096];
	static char texts[1000][16];
	struct fake_part *part = &store->parts[op->partition];
	uint32_t most = op->in.read.events_max;
	uint32_t count = 0;

	store->readings_under_way--;
	op->status = store->read_status;
	if (op->status != CG_OK) {
		return;
	}
	op->out.read.position = part->position;
	if (op->in.read.from_now) {
		return;
	}
	if (is_out_of_range(part, &op->in.read.after)) {
		op->status = CG_OUT_OF_RANGE;
		return;
	}
	if (store->read_max != 0 && store->read_max < most) {
		most = store->read_max;
	}
	for (uint32_t i = part->first; i < part->count; i++) {
		const struct fake_happened *happened = &part->happened[i];
		if (cg_position_reaches(&op->in.read.after, &happened->position)) {
			continue;
		}
		if (count == most) {
			op->out.read.more = true;
			op->out.read.position = op->in.read.events[count - 1].position;
			break;
		}
		(void)snprintf(texts[count], sizeof texts[count], "call-%u", happened->number);
		op->in.read.events[count] = (struct cg_event){
		    .type = happened->type,
		    .company = happened->company,
		    .partition = op->partition,
		    .position = happened->position,
		    .is_entry = happened->is_entry,
		    .at_ms = op->now_ms,
		    .call_id = cg_view_of(texts[count]),
		    .repeat = happened->number,
		    .meta.pairs = {meta, store->meta_bytes},
		};
		count++;
	}
	op->out.read.count = count;
}

static void answer(struct fake_store *store, struct cg_events_op *op)
{
	memset(&op->out, 0, sizeof op->out);
	op->now_ms = fake_store_now(store);
	if (op->verb == CG_EVENTS_TICK) {
		answer_tick(store, op);
	} else {
		answer_read(store, op);
	}
	op->done(op);
}

static void on_timer(void *owner)
{
	struct fake_store *store = owner;
	struct cg_list now;

	cg_list_init(&now);
	for (struct cg_list *link = cg_list_pop(&store->waiting); link != NULL;
	     link = cg_list_pop(&store->waiting)) {
		cg_list_append(&now, link);
	}
	for (struct cg_list *link = cg_list_pop(&now); link != NULL; link = cg_list_pop(&now)) {
		answer(store, CG_CONTAINER_OF(link, struct cg_events_op, link));
	}
}

static void submit(struct cg_events_port *self, struct cg_events_op *op)
{
	struct fake_store *store = CG_CONTAINER_OF(self, struct fake_store, port);
	struct fake_part *part = &store->parts[op->partition];

	CG_ASSERT(
	    part->epoch != 0 && !part->is_away && op->deadline_at_ms > cg_loop_now_ms(store->loop));
	if (op->verb == CG_EVENTS_TICK) {
		bool is_beside = false;
		for (uint32_t i = 0; i < FAKE_PARTITIONS; i++) {
			is_beside |= i != op->partition && store->parts[i].under_way > 0;
		}
		store->ticks++;
		store->ticks_beside += is_beside ? 1 : 0;
		part->ticks++;
		part->empty_ticks += op->in.tick.wallet_count == 0 ? 1 : 0;
		part->under_way++;
		if (part->under_way > store->ticks_most) {
			store->ticks_most = part->under_way;
		}
	} else {
		part->reads++;
		store->readings_under_way++;
		if (store->readings_under_way > store->readings_most) {
			store->readings_most = store->readings_under_way;
		}
	}
	cg_list_append(&store->waiting, &op->link);
	if (!cg_timer_is_running(store->timer)) {
		cg_timer_start(store->timer, store->latency_ms);
	}
}

static uint64_t epoch(struct cg_events_port *self, uint32_t partition)
{
	const struct fake_part *part =
	    &CG_CONTAINER_OF(self, struct fake_store, port)->parts[partition];

	return part->is_away ? 0 : part->epoch;
}

void fake_store_move(struct fake_store *store, struct cg_loop *loop)
{
	store->loop = loop;
	store->timer = cg_timer_create(loop, on_timer, store);
}

void fake_store_init(struct fake_store *store, struct cg_loop *loop)
{
	*store = (struct fake_store){
	    .port = {.submit = submit, .epoch = epoch, .partition_count = FAKE_PARTITIONS}};
	cg_list_init(&store->waiting);
	for (uint32_t i = 0; i < FAKE_PARTITIONS; i++) {
		store->parts[i].epoch = 1;
		/* As a stream that has never had an event answers. */
		store->parts[i].position = (struct cg_position){{1, 0}, {1, 0}};
	}
	fake_store_move(store, loop);
}

void fake_store_close(struct fake_store *store)
{
	for (struct cg_list *link = cg_list_pop(&store->waiting); link != NULL;
	     link = cg_list_pop(&store->waiting)) {
		struct cg_events_op *op = CG_CONTAINER_OF(link, struct cg_events_op, link);
		if (op->verb == CG_EVENTS_TICK) {
			store->parts[op->partition].under_way--;
		} else {
			store->readings_under_way--;
		}
		op->status = CG_CLOSING;
		op->done(op);
	}
	cg_timer_close(store->timer);
}

void fake_store_deinit(struct fake_store *store)
{
	for (uint32_t i = 0; i < FAKE_PARTITIONS; i++) {
		free(store->parts[i].happened);
	}
}
