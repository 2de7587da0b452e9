/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_world.h"

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
	world->store =
	    (struct cg_store_port){.submit = submit_store, .epoch = epoch_of, .partition_count = 4};
	world->ledger = (struct cg_ledger_port){.submit = submit_ledger, .kick = kick};
	world->clock.now_ms = now_ms;
	world->now_ms = 1000000;
	world->store_ahead_ms = INT64_C(1700000000000);
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

static bool is_text(const char *text, struct cg_view view)
{
	return cg_view_equal(cg_view_of(text), view);
}

static void copy_text(char *text, size_t capacity, struct cg_view view)
{
	CG_ASSERT(view.len < capacity);
	if (view.len > 0) {
		memcpy(text, view.data, view.len);
	}
	text[view.len] = '\0';
}

static struct world_call *find_call(
    struct world *world, const struct cg_uuid *company, struct cg_view id)
{
	for (unsigned i = 0; i < world->call_count; i++) {
		if (cg_uuid_equal(&world->calls[i].company, company) &&
		    is_text(world->calls[i].id, id)) {
			return &world->calls[i];
		}
	}
	return NULL;
}

static struct world_entry *find_entry(struct world *world, const struct cg_uuid *company,
    enum cg_entry_type type, struct cg_view reference)
{
	for (unsigned i = 0; i < world->entry_count; i++) {
		struct world_entry *entry = &world->entries[i];
		if (!entry->is_lost && entry->type == type &&
		    cg_uuid_equal(&entry->company, company) &&
		    is_text(entry->reference, reference)) {
			return entry;
		}
	}
	return NULL;
}

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
	copy_text(entry->reference, sizeof entry->reference, reference);
	wallet->posted += amount;
	wallet->version++;
	return entry;
}

static void authorize(struct world *world, struct world_wallet *wallet, struct cg_store_op *op)
{
	const struct cg_store_authorize_in *in = &op->in.authorize;
	struct cg_store_authorize_out *out = &op->out.authorize;
	struct world_call *call = find_call(world, &op->company, in->call_id);

	*out = (struct cg_store_authorize_out){.available = {wallet->posted}};
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
		copy_text(id, sizeof id, in->call_id);
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
	struct world_call *call = find_call(world, &op->company, id);

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
	struct world_call *call = find_call(world, &op->company, op->in.cancel.call_id);

	op->out.cancel = (struct cg_store_cancel_out){0};
	op->state = CG_CALL_CANCELLED;
	if (call == NULL) {
		char id[132];
		copy_text(id, sizeof id, op->in.cancel.call_id);
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

static void settle(struct world *world, struct world_wallet *wallet, struct cg_store_op *op)
{
	const struct cg_store_settle_in *in = &op->in.settle;
	struct world_call *call = find_call(world, &op->company, in->call_id);
	struct world_entry *entry = find_entry(world, &op->company, CG_ENTRY_USAGE, in->call_id);
	bool is_live = call != NULL && call->is_live;
	bool has_own_price = call != NULL && call->state == CG_CALL_CANCELLED && call->rate > 0;

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
	struct world_call *call = find_call(world, &op->company, in->call_id);
	struct world_entry *entry = find_entry(world, &op->company, CG_ENTRY_USAGE, in->call_id);

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
		copy_text(id, sizeof id, in->call_id);
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
	struct world_entry *entry = find_entry(world, &op->company, type, reference);

	if (is_charge && find_call(world, &op->company, reference) != NULL) {
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
			copy_text(
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
	struct world_call *call = find_call(world, &op->company, op->in.get_call);

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
	CG_ASSERT(op->known_epoch != 0);
	if (!wallet->is_in_store) {
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
	};
	terms->plans[1] = terms->plans[0];
	memcpy(terms->plans[1].plan_id, "starter", sizeof "starter");
	terms->plans[1].longest_call_ms = 3600000;
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

static void read_key(struct world *world, struct cg_ledger_op *op, struct world_entry *entry)
{
	struct world_wallet *wallet = world_wallet(world, &op->company);

	op->out.row = (struct cg_ledger_row){
	    .entry_id = entry->id,
	    .type = entry->type,
	    .amount = {entry->amount},
	    .balance_after = wallet->ledger.posted,
	    .is_charge = entry->is_charge,
	    .resource_type = cg_view_of(entry->resource),
	    .currency = {"usd"},
	    .duration_ms = entry->duration_ms,
	    .basis = CG_BASIS_REPORTED,
	};
}

static void write_receipt(struct world *world, struct cg_ledger_op *op)
{
	const struct cg_ledger_receipt_in *in = &op->in.receipt;
	struct world_entry *entry = find_entry(world, &op->company, in->type, in->reference_id);
	struct world_receipt *receipt = NULL;

	for (unsigned i = 0; i < world->receipt_count; i++) {
		struct world_receipt *other = &world->receipts[i];
		if (cg_uuid_equal(&other->company, &op->company) && other->type == in->type &&
		    is_text(other->reference, in->reference_id)) {
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
		copy_text(receipt->reference, sizeof receipt->reference, in->reference_id);
	} else {
		op->replayed = true;
	}
}

static void update_wallet(struct world_wallet *wallet, struct cg_ledger_op *op)
{
	const struct cg_ledger_wallet_update_in *in = &op->in.wallet_update;

	if (in->sets_plan && !is_text("starter", in->plan_id) && !is_text("growth", in->plan_id)) {
		op->outcome = CG_LEDGER_NO_PLAN;
		return;
	}
	if (in->sets_plan) {
		copy_text(wallet->ledger.plan_id, sizeof wallet->ledger.plan_id, in->plan_id);
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
	} else if (!is_text("starter", op->in.wallet_create.plan_id)) {
		op->outcome = CG_LEDGER_NO_PLAN;
		return;
	} else {
		wallet = world_add_wallet(world, 0, 0);
		wallet->ledger.company = op->company;
		wallet->ledger.currency = op->in.wallet_create.currency;
	}
	op->out.wallet = wallet->ledger;
}

static void await(struct world *world, struct cg_ledger_op *op)
{
	struct world_entry *entry =
	    find_entry(world, &op->company, op->in.await.key.type, op->in.await.key.reference_id);

	world_flush(world);
	op->outcome = entry != NULL ? CG_LEDGER_DONE : CG_LEDGER_OVERTAKEN;
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
		entry = find_entry(world, &op->company, op->in.key.type, op->in.key.reference_id);
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
