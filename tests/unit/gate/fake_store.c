/*
 * The store's half of the fake world: what each function does to its few structs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_internal.h"

static struct world_entry *add_entry(struct world *world, const struct cg_store_op *op,
    enum cg_entry_type type, struct cg_view reference, int64_t amount)
{
	CG_ASSERT(world->entry_count < WORLD_ENTRIES);
	struct world_wallet *wallet = world_wallet(world, &op->company);
	struct world_entry *entry = &world->entries[world->entry_count++];

	*entry = (struct world_entry){
	    .company = op->company,
	    .type = type,
	    .amount = amount,
	    .id = {cg_store_partition_of(&op->company, world->store.partition_count), world->epoch,
	        world->entry_count},
	    .is_key_known = true,
	};
	world_copy_text(entry->reference, sizeof entry->reference, reference);
	wallet->posted += amount;
	wallet->version++;
	return entry;
}

static void authorize(struct world *world, struct world_wallet *wallet, struct cg_store_op *op)
{
	const struct cg_store_authorize_in *in = &op->in.authorize;
	struct cg_store_authorize_out *out = &op->out.authorize;
	struct world_call *call = world_find_call(world, &op->company, in->call_id);

	*out = (struct cg_store_authorize_out){.available = {wallet->posted}};
	if (world->is_outbox_full) {
		op->outcome = CG_STORE_OUTBOX_FULL;
		return;
	}
	if (call != NULL && call->is_live) {
		out->replayed = true;
	} else if (call != NULL && call->is_barred) {
		out->decision = CG_DECISION_BARRED;
		return;
	} else if (wallet->terms.suspended) {
		out->decision = CG_DECISION_SUSPENDED;
		return;
	} else if (!in->has_price) {
		out->decision = CG_DECISION_NO_PRICE;
		return;
	} else if (wallet->posted <= 0) {
		out->decision = CG_DECISION_INSUFFICIENT_FUNDS;
		return;
	} else if (!in->validate_only) {
		char id[132];
		world_copy_text(id, sizeof id, in->call_id);
		call = world_add_call(world, 0, id, 1);
		call->company = op->company;
		call->state = CG_CALL_AUTHORIZED;
		call->rate = in->price.rate_per_minute.micros;
	}
	out->decision = CG_DECISION_ALLOWED;
	out->has_price = true;
	out->price = in->price;
	out->state = CG_CALL_AUTHORIZED;
}

static void change_call(struct world *world, struct cg_store_op *op, struct cg_view id)
{
	struct world_call *call = world_find_call(world, &op->company, id);

	if (call == NULL && world->asks_for_ghosts && !op->asked) {
		op->outcome = CG_STORE_ASK;
		return;
	}
	if (call == NULL || !call->is_live) {
		op->outcome = call == NULL ? CG_STORE_UNKNOWN_CALL : CG_STORE_WRONG_STATE;
		op->state = call == NULL ? CG_CALL_NONE : call->state;
		return;
	}
	if (op->verb == CG_STORE_START) {
		op->out.start = (struct cg_store_start_out){.decision = CG_DECISION_ALLOWED,
		    .started_at_ms = 3,
		    .replayed = call->state == CG_CALL_METERING};
		call->state = CG_CALL_METERING;
	} else {
		op->out.stop = (struct cg_store_stop_out){
		    .metered_ms = 10, .replayed = call->state == CG_CALL_STOPPED};
		call->state = CG_CALL_STOPPED;
	}
	op->state = call->state;
}

static void cancel(struct world *world, struct cg_store_op *op)
{
	struct world_call *call = world_find_call(world, &op->company, op->in.cancel.call_id);

	op->out.cancel = (struct cg_store_cancel_out){0};
	op->state = CG_CALL_CANCELLED;
	if (call == NULL && world->asks_for_ghosts && !op->asked) {
		op->outcome = CG_STORE_ASK;
		return;
	}
	if (call == NULL) {
		char id[132];
		world_copy_text(id, sizeof id, op->in.cancel.call_id);
		call = world_add_call(world, 0, id, 1);
		call->company = op->company;
	} else if (!call->is_live) {
		op->out.cancel.replayed = call->state == CG_CALL_CANCELLED;
		op->state = call->state;
		op->outcome = op->out.cancel.replayed ? CG_STORE_DONE : CG_STORE_WRONG_STATE;
		return;
	} else if (call->state != CG_CALL_AUTHORIZED) {
		op->outcome = CG_STORE_WRONG_STATE;
		op->state = call->state;
		return;
	}
	call->is_live = false;
	call->is_barred = true;
	call->state = CG_CALL_CANCELLED;
}

static void tell_settled(
    const struct world_wallet *wallet, const struct world_entry *entry, struct cg_store_op *op)
{
	op->state = CG_CALL_SETTLED;
	op->out.settle = (struct cg_store_settle_out){
	    .cost = {-entry->amount},
	    .balance = {wallet->posted},
	    .available = {wallet->posted},
	    .duration_ms = entry->duration_ms,
	    .basis = CG_BASIS_REPORTED,
	    .entry_id = entry->id,
	};
}

static void tell_corrected(
    const struct world_wallet *wallet, const struct world_entry *correction, struct cg_store_op *op)
{
	tell_settled(wallet, correction, op);
	op->out.settle.cost.micros = correction->cost;
	op->out.settle.is_correction = true;
	op->out.settle.corrected.micros = -correction->amount;
}

/* What was assumed becomes what was said: an entry of the difference. */
static void correct(struct world *world, struct cg_store_op *op, int64_t assumed_cost, int64_t rate)
{
	const struct cg_store_settle_in *in = &op->in.settle;
	char reference[160];

	(void)snprintf(
	    reference, sizeof reference, "correction:%.*s", (int)in->call_id.len, in->call_id.data);
	int64_t cost = rate * in->duration_ms / 60000;
	struct world_entry *entry =
	    add_entry(world, op, CG_ENTRY_ADJUSTMENT, cg_view_of(reference), assumed_cost - cost);
	entry->duration_ms = in->duration_ms;
	entry->cost = cost;
	tell_corrected(world_wallet(world, &op->company), entry, op);
}

/* Whether the call was abandoned, or corrected since: then it is answered here. */
static bool settle_abandoned(struct world *world, struct cg_store_op *op)
{
	const struct cg_store_settle_in *in = &op->in.settle;
	struct world_wallet *wallet = world_wallet(world, &op->company);
	struct world_entry *correction = world_find_correction(world, &op->company, in->call_id);
	struct world_entry *entry =
	    world_find_entry(world, &op->company, CG_ENTRY_USAGE, in->call_id);
	bool is_known = entry != NULL && entry->is_key_known;

	if (correction != NULL && correction->is_key_known) {
		bool is_same = in->as_metered || in->duration_ms == correction->duration_ms;
		tell_corrected(wallet, correction, op);
		op->out.settle.replayed = is_same;
		op->outcome = is_same ? CG_STORE_DONE : CG_STORE_KEY_REUSED;
		return true;
	}
	if (is_known && entry->is_assumed) {
		correct(world, op, -entry->amount, entry->rate);
		return true;
	}
	if (!is_known && op->asked && in->is_assumed) {
		correct(world, op, in->assumed_cost.micros, in->price.rate_per_minute.micros);
		return true;
	}
	return false;
}

static void settle(struct world *world, struct world_wallet *wallet, struct cg_store_op *op)
{
	const struct cg_store_settle_in *in = &op->in.settle;
	struct world_call *call = world_find_call(world, &op->company, in->call_id);
	struct world_entry *entry =
	    world_find_entry(world, &op->company, CG_ENTRY_USAGE, in->call_id);
	bool is_live = call != NULL && call->is_live;
	bool has_own_price = call != NULL && call->state == CG_CALL_CANCELLED && call->rate > 0;

	if (settle_abandoned(world, op)) {
		return;
	}
	if (entry != NULL && entry->is_key_known) {
		bool is_same =
		    !entry->is_charge && (in->as_metered || entry->duration_ms == in->duration_ms);
		tell_settled(wallet, entry, op);
		op->out.settle.replayed = is_same;
		op->outcome = is_same ? CG_STORE_DONE : CG_STORE_KEY_REUSED;
		return;
	}
	if (!is_live && !op->asked) {
		op->outcome = CG_STORE_ASK;
		return;
	}
	if (!is_live && !has_own_price && in->resource_type.len == 0) {
		op->outcome = CG_STORE_UNKNOWN_CALL;
		return;
	}
	if (!is_live && in->as_metered) {
		op->outcome = CG_STORE_WRONG_STATE;
		return;
	}
	if (!is_live && !has_own_price && !in->has_price) {
		op->outcome = CG_STORE_NO_PRICE;
		return;
	}
	int64_t rate = is_live || has_own_price ? call->rate : in->price.rate_per_minute.micros;
	int64_t duration_ms = in->as_metered ? 777 : in->duration_ms;
	entry = add_entry(world, op, CG_ENTRY_USAGE, in->call_id, -(rate * duration_ms / 60000));
	entry->duration_ms = duration_ms;
	entry->rate = rate;
	if (call != NULL) {
		call->is_live = false;
		call->is_barred = true;
		call->state = CG_CALL_SETTLED;
	}
	tell_settled(wallet, entry, op);
	op->out.settle.late = !is_live;
}

static void adopt(struct world *world, struct cg_store_op *op)
{
	const struct cg_store_adopt_in *in = &op->in.adopt;
	struct world_call *call = world_find_call(world, &op->company, in->call_id);
	struct world_entry *entry =
	    world_find_entry(world, &op->company, CG_ENTRY_USAGE, in->call_id);

	op->out.adopt = (struct cg_store_adopt_out){.price = in->price};
	op->state = CG_CALL_METERING;
	if (in->started_at_ms > (int64_t)world->now_ms + world->store_ahead_ms) {
		op->outcome = CG_STORE_OUT_OF_RANGE;
	} else if (call != NULL && call->is_live) {
		op->out.adopt.replayed = call->state == CG_CALL_METERING;
		call->state = CG_CALL_METERING;
	} else if (call != NULL || (entry != NULL && entry->is_key_known)) {
		op->outcome = CG_STORE_WRONG_STATE;
		op->state = call != NULL ? call->state : CG_CALL_SETTLED;
	} else if (!op->asked) {
		op->outcome = CG_STORE_ASK;
	} else if (!in->has_price) {
		op->outcome = CG_STORE_NO_PRICE;
	} else {
		char id[132];
		world_copy_text(id, sizeof id, in->call_id);
		world_add_call(world, 0, id, in->started_at_ms)->company = op->company;
	}
}

static void tell_posted(
    const struct world_wallet *wallet, const struct world_entry *entry, struct cg_store_op *op)
{
	op->out.posted = (struct cg_store_posted_out){
	    .balance = {wallet->posted}, .available = {wallet->posted}, .entry_id = entry->id};
}

static void post(struct world *world, struct world_wallet *wallet, struct cg_store_op *op)
{
	bool is_charge = op->verb == CG_STORE_CHARGE;
	enum cg_entry_type type = is_charge ? CG_ENTRY_USAGE : op->in.credit.type;
	struct cg_view reference =
	    is_charge ? op->in.charge.reference_id : op->in.credit.reference_id;
	int64_t amount = is_charge ? -op->in.charge.amount.micros : op->in.credit.amount.micros;
	struct world_entry *entry = world_find_entry(world, &op->company, type, reference);

	if (is_charge && world_find_call(world, &op->company, reference) != NULL) {
		op->outcome = CG_STORE_KEY_REUSED;
	} else if (entry != NULL && entry->is_key_known) {
		tell_posted(wallet, entry, op);
		op->out.posted.replayed = true;
		op->outcome = entry->amount == amount ? CG_STORE_DONE : CG_STORE_KEY_REUSED;
	} else if (!op->asked) {
		op->outcome = CG_STORE_ASK;
	} else if (wallet->posted + amount > INT64_C(9000000000000000)) {
		op->outcome = CG_STORE_OUT_OF_RANGE;
	} else {
		entry = add_entry(world, op, type, reference, amount);
		entry->is_charge = is_charge;
		if (is_charge) {
			world_copy_text(
			    entry->resource, sizeof entry->resource, op->in.charge.resource_type);
		}
		tell_posted(wallet, entry, op);
	}
}

static struct cg_call tell_call(struct world *world, const struct world_call *call)
{
	static char meta[8192];
	struct cg_call told = {
	    .company = call->company,
	    .call_id = cg_view_of(call->id),
	    .state = call->state,
	    .authorized_at_ms = call->authorized_at_ms,
	    .meta = {{meta, world->calls_are_big ? sizeof meta : 0}},
	};
	return told;
}

static void get_call(struct world *world, struct cg_store_op *op)
{
	struct world_call *call = world_find_call(world, &op->company, op->in.get_call);

	if (call != NULL) {
		op->out.call = tell_call(world, call);
		op->state = call->state;
	} else {
		op->outcome = op->asked ? CG_STORE_UNKNOWN_CALL : CG_STORE_ASK;
	}
}

static int compare_calls(const void *a, const void *b)
{
	const struct cg_call *left = a;
	const struct cg_call *right = b;

	if (left->authorized_at_ms != right->authorized_at_ms) {
		return left->authorized_at_ms < right->authorized_at_ms ? -1 : 1;
	}
	return cg_view_compare(left->call_id, right->call_id);
}

static void list_calls(struct world *world, struct cg_store_op *op)
{
	static struct cg_call found[WORLD_CALLS];
	const struct cg_store_calls_in *in = &op->in.calls;
	struct cg_call after = {.authorized_at_ms = in->after_at_ms, .call_id = in->after_call_id};
	uint32_t count = 0;

	for (unsigned i = 0; i < world->call_count; i++) {
		const struct world_call *call = &world->calls[i];
		if (call->is_live && cg_uuid_equal(&call->company, &op->company)) {
			found[count] = tell_call(world, call);
			count += compare_calls(&found[count], &after) > 0 ? 1 : 0;
		}
	}
	qsort(found, count, sizeof found[0], compare_calls);
	op->out.calls.count = count < in->calls_max ? count : in->calls_max;
	op->out.calls.more = count > in->calls_max;
	for (uint32_t i = 0; i < op->out.calls.count; i++) {
		in->calls[i] = found[i];
	}
}

static void list_wallets(struct world *world, struct cg_store_op *op)
{
	size_t len = 0;

	/* The last first: no order is promised. */
	for (unsigned i = world->wallet_count; i > 0; i--) {
		const struct world_wallet *wallet = &world->wallets[i - 1];
		const struct cg_uuid *company = &wallet->ledger.company;
		if (wallet->is_in_store &&
		    cg_store_partition_of(company, world->store.partition_count) ==
		        op->in.live.partition) {
			memcpy(world->live_bytes + len, company->bytes, sizeof company->bytes);
			len += sizeof company->bytes;
		}
	}
	op->out.live.companies = (struct cg_view){(const char *)world->live_bytes, len};
}

static void load(struct world_wallet *wallet, struct cg_store_op *op)
{
	CG_ASSERT(op->known_epoch != 0 || op->in.load.only_present);
	if (!wallet->is_in_store && op->in.load.only_present) {
		op->outcome = CG_STORE_ABSENT;
	} else if (!wallet->is_in_store) {
		wallet->is_in_store = true;
		wallet->posted = op->in.load.posted.micros;
		wallet->version = op->in.load.version;
		wallet->terms = op->terms;
	} else if (op->terms.version > wallet->terms.version) {
		wallet->terms = op->terms;
	}
}

static void act_on_wallet(struct world *world, struct world_wallet *wallet, struct cg_store_op *op)
{
	if (op->terms.version > wallet->terms.version) {
		wallet->terms = op->terms;
	}
	switch (op->verb) {
	case CG_STORE_AUTHORIZE:
		authorize(world, wallet, op);
		return;
	case CG_STORE_START:
		change_call(world, op, op->in.start.call_id);
		return;
	case CG_STORE_STOP:
		change_call(world, op, op->in.stop.call_id);
		return;
	case CG_STORE_SETTLE:
		settle(world, wallet, op);
		return;
	case CG_STORE_CANCEL:
		cancel(world, op);
		return;
	case CG_STORE_ADOPT:
		adopt(world, op);
		return;
	case CG_STORE_CREDIT:
	case CG_STORE_CHARGE:
		post(world, wallet, op);
		return;
	case CG_STORE_BALANCE:
		op->out.balance = (struct cg_store_balance_out){
		    .posted = {wallet->posted}, .available = {wallet->posted}};
		return;
	case CG_STORE_GET_CALL:
		get_call(world, op);
		return;
	case CG_STORE_CALLS:
		list_calls(world, op);
		return;
	case CG_STORE_LIVE_WALLETS:
	case CG_STORE_LOAD:
	case CG_STORE_VERB_COUNT:
		break;
	}
	CG_UNREACHABLE();
}

void world_act_store(struct world *world, struct cg_store_op *op)
{
	struct world_wallet *wallet = world_wallet(world, &op->company);
	int64_t now = (int64_t)world->now_ms + world->store_ahead_ms;

	world->believed_ahead_ms = world->store_ahead_ms;
	op->status = CG_OK;
	op->epoch = world->epoch;
	op->outcome = CG_STORE_DONE;
	op->state = CG_CALL_NONE;
	op->as_of_ms = now;
	CG_ASSERT(!op->asked || op->known_epoch != 0);
	if (world->epoch == 0 || (op->known_epoch != 0 && op->known_epoch != world->epoch)) {
		op->status = CG_RECOVERING;
	} else if (op->verb == CG_STORE_LIVE_WALLETS) {
		list_wallets(world, op);
	} else if (op->verb == CG_STORE_LOAD) {
		CG_ASSERT(wallet != NULL);
		load(wallet, op);
	} else if (wallet == NULL || !wallet->is_in_store) {
		op->outcome = CG_STORE_ABSENT;
	} else if (op->not_after_ms > 0 && now > op->not_after_ms) {
		op->outcome = CG_STORE_TOO_LATE;
	} else {
		act_on_wallet(world, wallet, op);
	}
}
