/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t now_ms(struct cg_clock_port *self)
{
	return CG_CONTAINER_OF(self, struct world, clock)->now_ms;
}

static void submit_store(struct cg_store_port *self, struct cg_store_op *op)
{
	struct world *world = CG_CONTAINER_OF(self, struct world, store);

	CG_ASSERT(world->pending_count < WORLD_PENDING);
	CG_ASSERT((unsigned)op->verb < CG_STORE_VERB_COUNT && op->done != NULL);
	world->pending[world->pending_count++] = (struct world_pending){.store = op};
	world->done_count[op->verb]++;
	world->last_store = *op;
	world->last_of[op->verb] = *op;
	if (world->on_store_submit != NULL) {
		world->on_store_submit(world, op);
	}
}

static uint64_t epoch_of(struct cg_store_port *self, uint32_t partition)
{
	CG_ASSERT(partition < self->partition_count);
	return CG_CONTAINER_OF(self, struct world, store)->epoch;
}

static int64_t store_time(struct cg_store_port *self, uint64_t at_ms)
{
	return (int64_t)at_ms + CG_CONTAINER_OF(self, struct world, store)->believed_ahead_ms;
}

static void submit_ledger(struct cg_ledger_port *self, struct cg_ledger_op *op)
{
	struct world *world = CG_CONTAINER_OF(self, struct world, ledger);

	CG_ASSERT(world->pending_count < WORLD_PENDING);
	CG_ASSERT((unsigned)op->verb < CG_LEDGER_VERB_COUNT && op->done != NULL);
	world->pending[world->pending_count++] = (struct world_pending){.ledger = op};
	world->read_count[op->verb]++;
	world->last_ledger = *op;
	if (world->on_ledger_submit != NULL) {
		world->on_ledger_submit(world, op);
	}
}

static void kick(struct cg_ledger_port *self, uint32_t partition)
{
	(void)partition;
	CG_CONTAINER_OF(self, struct world, ledger)->kick_count++;
}

void world_init(struct world *world)
{
	memset(world, 0, sizeof *world);
	world->store = (struct cg_store_port){.submit = submit_store,
	    .epoch = epoch_of,
	    .store_time = store_time,
	    .partition_count = 4};
	world->ledger = (struct cg_ledger_port){.submit = submit_ledger, .kick = kick};
	world->clock.now_ms = now_ms;
	world->now_ms = 1000000;
	world->store_ahead_ms = INT64_C(1700000000000);
	world->believed_ahead_ms = world->store_ahead_ms;
	world->epoch = 7;
	world->terms_version = 1;
	world->rate = 60000;
}

struct cg_uuid world_company(unsigned n)
{
	struct cg_uuid company = {{0}};

	company.bytes[0] = (uint8_t)(n >> 8);
	company.bytes[1] = (uint8_t)n;
	company.bytes[15] = 0xC0;
	return company;
}

struct world_wallet *world_add_wallet(struct world *world, unsigned company, int64_t posted)
{
	CG_ASSERT(world->wallet_count < WORLD_WALLETS);
	struct world_wallet *wallet = &world->wallets[world->wallet_count++];

	*wallet = (struct world_wallet){.ledger = {
	                                    .company = world_company(company),
	                                    .wallet_id = world_company(company + 1000),
	                                    .currency = {"usd"},
	                                    .plan_id = "starter",
	                                    .created_at_ms = 5,
	                                    .terms_version = 1,
	                                    .posted = {posted},
	                                    .version = 1,
	                                }};
	return wallet;
}

struct world_wallet *world_wallet(struct world *world, const struct cg_uuid *company)
{
	for (unsigned i = 0; i < world->wallet_count; i++) {
		if (cg_uuid_equal(&world->wallets[i].ledger.company, company)) {
			return &world->wallets[i];
		}
	}
	return NULL;
}

void world_put_in_store(struct world_wallet *wallet)
{
	wallet->is_in_store = true;
	wallet->posted = wallet->ledger.posted.micros;
	wallet->version = wallet->ledger.version;
}

struct world_call *world_add_call(
    struct world *world, unsigned company, const char *id, int64_t authorized_at_ms)
{
	CG_ASSERT(world->call_count < WORLD_CALLS);
	struct world_call *call = &world->calls[world->call_count++];

	*call = (struct world_call){
	    .company = world_company(company),
	    .state = CG_CALL_METERING,
	    .authorized_at_ms = authorized_at_ms,
	    .started_at_ms = authorized_at_ms,
	    .rate = 60000,
	    .is_live = true,
	};
	(void)snprintf(call->id, sizeof call->id, "%s", id);
	return call;
}

bool world_is_text(const char *text, struct cg_view view)
{
	return cg_view_equal(cg_view_of(text), view);
}

void world_copy_text(char *text, size_t capacity, struct cg_view view)
{
	CG_ASSERT(view.len < capacity);
	if (view.len > 0) {
		memcpy(text, view.data, view.len);
	}
	text[view.len] = '\0';
}

struct world_call *world_find_call(
    struct world *world, const struct cg_uuid *company, struct cg_view id)
{
	for (unsigned i = 0; i < world->call_count; i++) {
		if (cg_uuid_equal(&world->calls[i].company, company) &&
		    world_is_text(world->calls[i].id, id)) {
			return &world->calls[i];
		}
	}
	return NULL;
}

struct world_entry *world_find_entry(struct world *world, const struct cg_uuid *company,
    enum cg_entry_type type, struct cg_view reference)
{
	for (unsigned i = 0; i < world->entry_count; i++) {
		struct world_entry *entry = &world->entries[i];
		if (!entry->is_lost && entry->type == type &&
		    cg_uuid_equal(&entry->company, company) &&
		    world_is_text(entry->reference, reference)) {
			return entry;
		}
	}
	return NULL;
}

struct world_entry *world_find_correction(
    struct world *world, const struct cg_uuid *company, struct cg_view call_id)
{
	char reference[160];

	(void)snprintf(
	    reference, sizeof reference, "correction:%.*s", (int)call_id.len, call_id.data);
	return world_find_entry(world, company, CG_ENTRY_ADJUSTMENT, cg_view_of(reference));
}

/* Whether the oldest operation meets its fault: then what acted is answered otherwise. */
static bool is_faulty(struct world *world)
{
	if (world->fault.at == 0) {
		return false;
	}
	world->fault.at--;
	return world->fault.at == 0;
}

static void end_store(struct world *world, struct cg_store_op *op)
{
	bool faulty = is_faulty(world);

	if (world->is_closing) {
		op->status = CG_CLOSING;
		op->epoch = 0;
	} else if (!faulty || world->fault.acts) {
		world_act_store(world, op);
	}
	if (faulty) {
		op->status = world->fault.status;
		/* Whoever reads these after a failure reads what is not there. */
		memset(&op->out, 0xA5, sizeof op->out);
	}
	op->done(op);
}

static void end_ledger(struct world *world, struct cg_ledger_op *op)
{
	bool faulty = is_faulty(world);

	if (world->is_closing) {
		op->status = CG_CLOSING;
	} else if (!faulty || world->fault.acts) {
		world_act_ledger(world, op);
	}
	if (faulty) {
		if (op->verb == CG_LEDGER_TERMS_READ && world->fault.acts) {
			cg_terms_snapshot_free(op->out.terms);
		}
		op->status = world->fault.status;
		memset(&op->out, 0xA5, sizeof op->out);
	}
	op->done(op);
	memset(world->row_bytes, 0xA5, sizeof world->row_bytes);
}

bool world_step(struct world *world)
{
	if (world->pending_count == 0) {
		return false;
	}
	struct world_pending next = world->pending[0];
	world->pending_count--;
	memmove(world->pending, world->pending + 1, world->pending_count * sizeof next);
	if (next.store != NULL) {
		end_store(world, next.store);
	} else {
		end_ledger(world, next.ledger);
	}
	return true;
}

void world_run(struct world *world)
{
	unsigned steps = 0;

	while (world_step(world)) {
		CG_ASSERT(++steps < 20000);
	}
}

bool world_next_is_ledger(const struct world *world, enum cg_ledger_verb verb)
{
	return world->pending_count > 0 && world->pending[0].ledger != NULL &&
	    world->pending[0].ledger->verb == verb;
}

bool world_next_is_store(const struct world *world, enum cg_store_verb verb)
{
	return world->pending_count > 0 && world->pending[0].store != NULL &&
	    world->pending[0].store->verb == verb;
}

void world_flush(struct world *world)
{
	for (unsigned i = 0; i < world->entry_count; i++) {
		struct world_entry *entry = &world->entries[i];
		if (!entry->is_flushed && !entry->is_lost) {
			struct world_wallet *wallet = world_wallet(world, &entry->company);
			entry->is_flushed = true;
			wallet->ledger.posted.micros += entry->amount;
			wallet->ledger.version++;
		}
	}
}

void world_forget(struct world *world)
{
	world->epoch++;
	for (unsigned i = 0; i < world->wallet_count; i++) {
		world->wallets[i].is_in_store = false;
		world->wallets[i].terms = (struct cg_wallet_terms){0};
	}
	for (unsigned i = 0; i < world->entry_count; i++) {
		world->entries[i].is_key_known = false;
		world->entries[i].is_lost =
		    world->entries[i].is_lost || !world->entries[i].is_flushed;
	}
	world->call_count = 0;
}

void world_abandon(struct world *world, unsigned company, bool is_forgotten)
{
	struct world_wallet *wallet = &world->wallets[0];

	CG_ASSERT(world->entry_count < WORLD_ENTRIES);
	world->entries[world->entry_count++] = (struct world_entry){
	    .company = world_company(company),
	    .type = CG_ENTRY_USAGE,
	    .reference = "k",
	    .amount = -5000,
	    .duration_ms = 5000,
	    .rate = 60000,
	    .started_at_ms = 4711,
	    .is_assumed = true,
	    .resource = "voice",
	    .id = {0, world->epoch, 77},
	    .is_key_known = true,
	};
	wallet->posted -= 5000;
	wallet->version++;
	struct world_call *call = world_add_call(world, company, "k", 4000);
	call->state = CG_CALL_ABANDONED;
	call->is_live = false;
	call->is_barred = true;
	if (is_forgotten) {
		world_flush(world);
		world_forget(world);
	}
}

unsigned world_count(const struct world *world, enum cg_entry_type type, const char *reference)
{
	unsigned count = 0;

	for (unsigned i = 0; i < world->entry_count; i++) {
		const struct world_entry *entry = &world->entries[i];
		if (!entry->is_lost && entry->type == type &&
		    strcmp(entry->reference, reference) == 0) {
			count++;
		}
	}
	return count;
}

int64_t world_sum(const struct world *world, const struct cg_uuid *company)
{
	int64_t sum = 0;

	for (unsigned i = 0; i < world->entry_count; i++) {
		if (!world->entries[i].is_lost &&
		    cg_uuid_equal(&world->entries[i].company, company)) {
			sum += world->entries[i].amount;
		}
	}
	return sum;
}
