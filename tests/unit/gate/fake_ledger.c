/*
 * The ledger's half of the fake world.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "fake_internal.h"

static struct cg_terms_snapshot *new_snapshot(const struct world *world)
{
	struct cg_terms_snapshot *terms = calloc(1, sizeof *terms);

	CG_ASSERT(terms != NULL);
	terms->plan_count = 2;
	terms->plans = calloc(terms->plan_count, sizeof terms->plans[0]);
	terms->rate_count = 2;
	terms->rates = calloc(terms->rate_count, sizeof terms->rates[0]);
	CG_ASSERT(terms->plans != NULL && terms->rates != NULL);
	terms->plans[0] = (struct cg_plan){
	    .plan_id = "growth",
	    .version = world->terms_version,
	    .calls_max = 20,
	    .longest_call_ms = 7200000,
	    .ring_lease_ms = 120000,
	    .default_reserve_ms = 30000,
	    .guard_ms = 5000,
	    .cut_warning_ms = 30000,
	    .cut_repeat_ms = 5000,
	};
	terms->plans[1] = terms->plans[0];
	memcpy(terms->plans[1].plan_id, "starter", sizeof "starter");
	terms->plans[1].longest_call_ms = 3600000;
	terms->plans[1].outage_allows = world->outage_allows;
	terms->plans[1].outage_longest_ms = WORLD_OUTAGE_LONGEST_MS;
	terms->plans[1].outage_calls_max = WORLD_OUTAGE_CALLS_MAX;
	terms->plans[1].shadow = world->is_shadow;
	for (uint32_t i = 0; i < 2; i++) {
		terms->rates[i] = (struct cg_rate){
		    .plan = world->is_terms_unsorted ? 1 - i : i,
		    .currency = {"usd"},
		    .resource_type = "voice",
		    .price = {.rate_per_minute = {world->rate}, .increment_ms = 1000},
		};
	}
	return terms;
}

/* The views of the row, in memory that does not last. */
static void lend_texts(
    struct world *world, const struct world_entry *entry, struct cg_ledger_row *row)
{
	struct cg_buffer texts;
	size_t resource_bytes = strlen(entry->resource);

	cg_buffer_init(&texts, world->row_bytes, sizeof world->row_bytes);
	cg_buffer_bytes(&texts, entry->resource, resource_bytes);
	cg_buffer_bytes(&texts, "+4930", 5);
	cg_buffer_bytes(&texts, "\1a\1\0b", 5);
	row->resource_type = (struct cg_view){texts.data, resource_bytes};
	row->destination = (struct cg_view){texts.data + resource_bytes, 5};
	row->meta.pairs = (struct cg_view){texts.data + resource_bytes + 5, 5};
}

static void read_key(struct world *world, struct cg_ledger_op *op, struct world_entry *entry)
{
	struct world_wallet *wallet = world_wallet(world, &op->company);
	const struct world_entry *correction =
	    world_find_correction(world, &op->company, cg_view_of(entry->reference));

	op->out.row = (struct cg_ledger_row){
	    .entry_id = entry->id,
	    .type = entry->type,
	    .amount = {entry->amount},
	    .balance_after = wallet->ledger.posted,
	    .is_charge = entry->is_charge,
	    .price = {.rate_per_minute = {entry->rate}, .increment_ms = 1000},
	    .currency = {"usd"},
	    .duration_ms = entry->duration_ms,
	    .billed_ms = entry->duration_ms,
	    .basis = entry->is_assumed ? CG_BASIS_ASSUMED : CG_BASIS_REPORTED,
	    .started_at_ms = entry->started_at_ms,
	};
	lend_texts(world, entry, &op->out.row);
	if (correction != NULL && correction->is_flushed) {
		op->out.row.is_corrected = true;
		op->out.row.correction_id = correction->id;
		op->out.row.corrected.micros = correction->amount;
		op->out.row.corrected_duration_ms = correction->duration_ms;
		op->out.row.corrected_billed_ms = correction->duration_ms;
		op->out.row.corrected_basis = CG_BASIS_REPORTED;
	}
}

static void write_receipt(struct world *world, struct cg_ledger_op *op)
{
	const struct cg_ledger_receipt_in *in = &op->in.receipt;
	struct world_entry *entry =
	    world_find_entry(world, &op->company, in->type, in->reference_id);
	struct world_receipt *receipt = NULL;

	for (unsigned i = 0; i < world->receipt_count; i++) {
		struct world_receipt *other = &world->receipts[i];
		if (cg_uuid_equal(&other->company, &op->company) && other->type == in->type &&
		    world_is_text(other->reference, in->reference_id)) {
			receipt = other;
		}
	}
	if (receipt != NULL && receipt->amount != in->amount.micros) {
		op->outcome = CG_LEDGER_KEY_REUSED;
		return;
	}
	if (entry != NULL && entry->is_flushed) {
		op->outcome = CG_LEDGER_POSTED;
		read_key(world, op, entry);
		return;
	}
	if (receipt == NULL) {
		CG_ASSERT(world->receipt_count < WORLD_ENTRIES);
		receipt = &world->receipts[world->receipt_count++];
		*receipt = (struct world_receipt){
		    .company = op->company, .type = in->type, .amount = in->amount.micros};
		world_copy_text(receipt->reference, sizeof receipt->reference, in->reference_id);
	} else {
		op->replayed = true;
	}
}

static void update_wallet(struct world_wallet *wallet, struct cg_ledger_op *op)
{
	const struct cg_ledger_wallet_update_in *in = &op->in.wallet_update;

	if (in->sets_plan && !world_is_text("starter", in->plan_id) &&
	    !world_is_text("growth", in->plan_id)) {
		op->outcome = CG_LEDGER_NO_PLAN;
		return;
	}
	if (in->sets_plan) {
		world_copy_text(wallet->ledger.plan_id, sizeof wallet->ledger.plan_id, in->plan_id);
	}
	if (in->sets_frozen) {
		wallet->ledger.frozen = in->frozen;
	}
	wallet->ledger.terms_version++;
	op->out.wallet = wallet->ledger;
}

static void create_wallet(struct world *world, struct world_wallet *wallet, struct cg_ledger_op *op)
{
	if (wallet != NULL) {
		bool is_same =
		    strcmp(wallet->ledger.currency.code, op->in.wallet_create.currency.code) == 0;
		op->replayed = true;
		op->outcome = is_same ? CG_LEDGER_DONE : CG_LEDGER_CURRENCY_DIFFERS;
	} else if (!world_is_text("starter", op->in.wallet_create.plan_id)) {
		op->outcome = CG_LEDGER_NO_PLAN;
		return;
	} else {
		wallet = world_add_wallet(world, 0, 0);
		wallet->ledger.company = op->company;
		wallet->ledger.currency = op->in.wallet_create.currency;
		wallet->ledger.terms_version = 0; /* As every new one: the plan's is greater. */
	}
	op->out.wallet = wallet->ledger;
}

static void await(struct world *world, struct cg_ledger_op *op)
{
	struct world_entry *entry = world_find_entry(
	    world, &op->company, op->in.await.key.type, op->in.await.key.reference_id);

	world_flush(world);
	if (entry == NULL || entry->is_aside) {
		op->outcome = CG_LEDGER_OVERTAKEN;
	} else if (entry->id.epoch == op->in.await.entry_id.epoch &&
	    entry->id.n == op->in.await.entry_id.n) {
		op->outcome = CG_LEDGER_DONE;
	} else {
		op->outcome = CG_LEDGER_OTHER_ENTRY;
	}
}

static void act_on_known(struct world *world, struct world_wallet *wallet, struct cg_ledger_op *op)
{
	struct world_entry *entry = NULL;

	if (wallet == NULL) {
		op->outcome = CG_LEDGER_NO_WALLET;
		return;
	}
	if (op->verb == CG_LEDGER_WALLET_READ) {
		op->out.wallet = wallet->ledger;
	} else if (op->verb == CG_LEDGER_WALLET_UPDATE) {
		update_wallet(wallet, op);
	} else if (op->verb == CG_LEDGER_RECEIPT_WRITE) {
		write_receipt(world, op);
	} else if (op->verb == CG_LEDGER_AWAIT) {
		await(world, op);
	} else {
		CG_ASSERT(op->verb == CG_LEDGER_KEY_READ);
		entry =
		    world_find_entry(world, &op->company, op->in.key.type, op->in.key.reference_id);
		if (entry != NULL && entry->is_flushed) {
			read_key(world, op, entry);
		} else {
			op->outcome = CG_LEDGER_NO_KEY;
		}
	}
}

void world_act_ledger(struct world *world, struct cg_ledger_op *op)
{
	struct world_wallet *wallet = world_wallet(world, &op->company);

	op->status = CG_OK;
	op->outcome = CG_LEDGER_DONE;
	if (op->verb == CG_LEDGER_TERMS_READ) {
		op->out.terms = new_snapshot(world);
	} else if (op->verb == CG_LEDGER_WALLET_CREATE) {
		create_wallet(world, wallet, op);
	} else {
		act_on_known(world, wallet, op);
	}
}
