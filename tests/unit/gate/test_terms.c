/*
 * Terms: what is cached, read once, read anew, told to the store.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fake_caller.h"

static unsigned reads(const struct fixture *f)
{
	return f->world.read_count[CG_LEDGER_WALLET_READ];
}

static void add_wallets(struct fixture *f, unsigned count)
{
	for (unsigned i = 1; i <= count; i++) {
		world_put_in_store(world_add_wallet(&f->world, i, 1000000));
	}
}

static void authorize(struct fixture *f, unsigned company, struct asked *a)
{
	asked_authorize(a, f);
	a->req.company = world_company(company);
	asked_run(a, f);
}

static void test_many_requests_wait_for_one_reading(void **state)
{
	(void)state;
	struct fixture f;
	static struct asked many[50];

	fixture_start(&f);
	add_wallets(&f, 1);
	for (size_t i = 0; i < CG_COUNT_OF(many); i++) {
		asked_authorize(&many[i], &f);
		asked_submit(&many[i], &f);
	}
	assert_int_equal(f.world.pending_count, 1);
	world_run(&f.world);
	for (size_t i = 0; i < CG_COUNT_OF(many); i++) {
		assert_int_equal(many[i].dones, 1);
		assert_int_equal(many[i].req.status, CG_OK);
	}
	assert_int_equal(reads(&f), 1);
	assert_int_equal(f.world.done_count[CG_STORE_AUTHORIZE], CG_COUNT_OF(many));
	fixture_end(&f);
}

static void test_reading_without_a_wallet_refuses_all_who_wait(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;
	struct asked b;

	fixture_start(&f);
	asked_authorize(&a, &f);
	asked_init(&b, &f, CG_METHOD_GET_BALANCE);
	asked_submit(&a, &f);
	asked_submit(&b, &f);
	world_run(&f.world);
	assert_int_equal(a.req.status, CG_NOT_FOUND);
	assert_int_equal(a.req.reason, CG_REASON_NO_WALLET);
	assert_int_equal(b.req.status, CG_NOT_FOUND);

	/* That there was none is not remembered: it may be there now. */
	add_wallets(&f, 1);
	authorize(&f, 1, &a);
	assert_int_equal(a.req.status, CG_OK);
	fixture_end(&f);
}

/* wallets_max is 4: the least recently used makes room. */
static void test_the_least_recently_used_goes(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	add_wallets(&f, 6);
	for (unsigned company = 1; company <= 4; company++) {
		authorize(&f, company, &a);
	}
	assert_int_equal(reads(&f), 4);
	authorize(&f, 1, &a); /* Used again: now 2 is the oldest. */
	assert_int_equal(reads(&f), 4);
	authorize(&f, 5, &a);
	assert_int_equal(reads(&f), 5);
	authorize(&f, 1, &a);
	authorize(&f, 3, &a);
	authorize(&f, 4, &a);
	authorize(&f, 5, &a);
	assert_int_equal(reads(&f), 5);
	authorize(&f, 2, &a);
	assert_int_equal(reads(&f), 6);
	assert_int_equal(a.req.status, CG_OK);
	fixture_end(&f);
}

/* Every cell is being read: what has no cell is refused, and all others are served. */
static void test_more_readings_than_cells_are_refused(void **state)
{
	(void)state;
	struct fixture f;
	static struct asked many[6];

	fixture_start(&f);
	add_wallets(&f, 6);
	for (unsigned i = 0; i < 6; i++) {
		asked_authorize(&many[i], &f);
		many[i].req.company = world_company(i + 1);
		asked_submit(&many[i], &f);
		assert_int_equal(many[i].dones, 0);
	}
	cg_gate_tick(f.gate);
	world_run(&f.world);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(many[i].dones, 1);
		assert_false(many[i].was_early);
		assert_int_equal(many[i].req.status, i < 4 ? CG_OK : CG_FULL);
	}
	assert_int_equal(many[5].req.reason, CG_REASON_TOO_MANY_IN_FLIGHT);
	fixture_end(&f);
}

/* More readings than the ledger is given at once: they queue, and all are answered. */
static void test_readings_queue_beyond_what_the_ledger_is_given(void **state)
{
	(void)state;
	struct fixture f;
	static struct asked many[200];
	struct cg_gate_config config = fixture_config(&f);

	config.wallets_max = 500;
	fixture_start_with(&f, &config);
	add_wallets(&f, 60);
	for (unsigned i = 0; i < CG_COUNT_OF(many); i++) {
		asked_authorize(&many[i], &f);
		many[i].req.company = world_company(i + 1);
		asked_submit(&many[i], &f);
	}
	assert_int_equal(f.world.pending_count, 64);
	world_run(&f.world);
	for (unsigned i = 0; i < CG_COUNT_OF(many); i++) {
		assert_int_equal(many[i].dones, 1);
		assert_int_equal(many[i].req.status, i < 60 ? CG_OK : CG_NOT_FOUND);
	}
	fixture_end(&f);
}

static void test_closing_ends_what_is_queued(void **state)
{
	(void)state;
	struct fixture f;
	static struct asked many[100];
	struct cg_gate_config config = fixture_config(&f);

	config.wallets_max = 500;
	fixture_start_with(&f, &config);
	for (unsigned i = 0; i < CG_COUNT_OF(many); i++) {
		asked_authorize(&many[i], &f);
		many[i].req.company = world_company(i + 1);
		asked_submit(&many[i], &f);
	}
	unsigned before = reads(&f);
	f.world.is_closing = true;
	world_run(&f.world);
	for (unsigned i = 0; i < CG_COUNT_OF(many); i++) {
		assert_int_equal(many[i].dones, 1);
		assert_int_equal(many[i].req.status, CG_CLOSING);
		assert_int_equal(many[i].req.reason, CG_REASON_SHUTTING_DOWN);
	}
	assert_int_equal(reads(&f), before);
	fixture_end(&f);
}

/* The reading has its own, longer deadline; whoever waits for it has less time. */
static void test_waiting_ends_with_the_requests_deadline(void **state)
{
	(void)state;
	struct fixture f;
	struct asked brief;
	struct asked patient;

	fixture_start(&f);
	add_wallets(&f, 1);
	asked_authorize(&patient, &f);
	patient.req.deadline_at_ms = f.world.now_ms + 4000;
	asked_submit(&patient, &f);
	asked_authorize(&brief, &f);
	brief.req.in.authorize.call_id = CG_VIEW_LITERAL("another"); /* one call's would queue */
	brief.req.deadline_at_ms = f.world.now_ms + 100;
	asked_submit(&brief, &f);

	f.world.now_ms += 99;
	cg_gate_tick(f.gate);
	assert_int_equal(brief.dones, 0);
	f.world.now_ms += 1;
	cg_gate_tick(f.gate);
	assert_int_equal(brief.dones, 1);
	assert_int_equal(brief.req.status, CG_UNAVAILABLE);
	assert_int_equal(brief.req.reason, CG_REASON_LEDGER_UNAVAILABLE);
	assert_int_equal(patient.dones, 0);
	world_run(&f.world);
	assert_int_equal(patient.req.status, CG_OK);
	assert_int_equal(brief.dones, 1);
	fixture_end(&f);
}

static void notify(struct fixture *f, unsigned company)
{
	struct cg_ledger_listener listener = cg_gate_listener(f->gate);
	struct cg_uuid id = world_company(company);

	listener.on_terms_changed(listener.owner, company == 0 ? NULL : &id);
}

static void freeze_elsewhere(struct fixture *f)
{
	f->world.wallets[0].ledger.frozen = true;
	f->world.wallets[0].ledger.terms_version++;
}

static void test_changed_terms_are_read_in_the_background(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	add_wallets(&f, 1);
	authorize(&f, 1, &a);
	freeze_elsewhere(&f);
	notify(&f, 1);

	/* Until they are there the old ones hold, and nobody waits. */
	asked_authorize(&a, &f);
	a.req.in.authorize.call_id = CG_VIEW_LITERAL("k2");
	asked_submit(&a, &f);
	assert_int_equal(f.world.last_store.verb, CG_STORE_AUTHORIZE);
	assert_false(f.world.last_store.terms.suspended);
	world_run(&f.world);
	assert_int_equal(a.req.out.authorize.store.decision, CG_DECISION_ALLOWED);

	/* The store has heard of them before anybody authorizes. */
	assert_true(f.world.wallets[0].terms.frozen);
	asked_authorize(&a, &f);
	a.req.in.authorize.call_id = CG_VIEW_LITERAL("k3");
	asked_run(&a, &f);
	assert_int_equal(a.req.out.authorize.store.decision, CG_DECISION_SUSPENDED);
	assert_int_equal(f.world.last_of[CG_STORE_AUTHORIZE].terms.version, 2);
	fixture_end(&f);
}

/* A change that is announced while the wallet is being read may have come too late for it. */
static void test_change_during_a_reading_is_read_again(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	add_wallets(&f, 1);
	asked_authorize(&a, &f);
	asked_submit(&a, &f);
	notify(&f, 1);
	notify(&f, 1);
	assert_int_equal(reads(&f), 1);
	world_run(&f.world);
	assert_int_equal(a.req.status, CG_OK);
	assert_int_equal(reads(&f), 2);
	fixture_end(&f);
}

static void test_failed_refresh_keeps_the_old_terms_and_tries_again(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	add_wallets(&f, 1);
	authorize(&f, 1, &a);
	freeze_elsewhere(&f);
	notify(&f, 1);
	f.world.fault = (struct world_fault){1, CG_UNAVAILABLE, false};
	world_run(&f.world);
	assert_int_equal(reads(&f), 2);
	asked_authorize(&a, &f);
	a.req.in.authorize.call_id = CG_VIEW_LITERAL("k2");
	asked_submit(&a, &f);
	world_run(&f.world);
	assert_int_equal(a.req.out.authorize.store.decision, CG_DECISION_ALLOWED);
	cg_gate_tick(f.gate);
	world_run(&f.world);
	assert_int_equal(reads(&f), 3);
	cg_gate_tick(f.gate);
	assert_int_equal(f.world.pending_count, 0); /* Once it has them, it rests. */
	authorize(&f, 1, &a);
	assert_true(f.world.last_store.terms.frozen);
	fixture_end(&f);
}

static void test_update_is_in_force_at_once(void **state)
{
	(void)state;
	for (int cached = 0; cached < 2; cached++) {
		struct fixture f;
		struct asked a;

		fixture_start(&f);
		add_wallets(&f, 1);
		if (cached) {
			asked_init(&a, &f, CG_METHOD_GET_BALANCE);
			asked_run(&a, &f);
		}
		asked_init(&a, &f, CG_METHOD_UPDATE_WALLET);
		a.req.in.update_wallet.sets_frozen = true;
		a.req.in.update_wallet.frozen = true;
		asked_run(&a, &f);
		assert_int_equal(a.req.status, CG_OK);
		assert_true(a.req.out.wallet.wallet.frozen);
		assert_true(f.world.wallets[0].terms.frozen);
		asked_authorize(&a, &f);
		asked_submit(&a, &f);
		assert_true(f.world.last_store.terms.frozen);
		world_run(&f.world);
		assert_int_equal(a.req.out.authorize.store.decision, CG_DECISION_SUSPENDED);

		asked_init(&a, &f, CG_METHOD_UPDATE_WALLET);
		a.req.in.update_wallet.sets_plan = true;
		a.req.in.update_wallet.plan_id = CG_VIEW_LITERAL("platinum");
		asked_run(&a, &f);
		assert_int_equal(a.req.status, CG_INVALID);
		assert_string_equal(a.req.field, "plan_id");
		fixture_end(&f);
	}
}

/* What an Authorize of this moment tells the store of the wallet. */
static bool authorizes_frozen(struct fixture *f, const char *call_id)
{
	static struct asked asked[2];
	static unsigned turn;
	struct asked *a = &asked[turn++ % 2];

	asked_authorize(a, f);
	a->req.in.authorize.call_id = cg_view_of(call_id);
	asked_submit(a, f);
	assert_int_equal(f->world.last_store.verb, CG_STORE_AUTHORIZE);
	return f->world.last_store.terms.frozen;
}

/* A reading that began before the update ends after it, with what was true before. */
static void test_overtaken_reading_does_not_undo_an_update(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	add_wallets(&f, 1);
	authorize(&f, 1, &a);
	notify(&f, 1);
	assert_true(world_next_is_ledger(&f.world, CG_LEDGER_WALLET_READ));
	struct cg_ledger_op *reading = f.world.pending[0].ledger;
	world_act_ledger(&f.world, reading); /* It has read; its answer is on the way. */

	asked_init(&a, &f, CG_METHOD_UPDATE_WALLET);
	a.req.in.update_wallet.sets_frozen = true;
	a.req.in.update_wallet.frozen = true;
	asked_submit(&a, &f);
	struct cg_ledger_op *update = f.world.pending[1].ledger;
	f.world.pending_count = 0;
	world_act_ledger(&f.world, update);
	update->done(update);
	assert_true(authorizes_frozen(&f, "k2"));
	reading->done(reading);
	assert_true(authorizes_frozen(&f, "k3"));
	world_run(&f.world);
	assert_int_equal(a.req.status, CG_OK);
	assert_true(f.world.wallets[0].terms.frozen);

	asked_authorize(&a, &f);
	a.req.in.authorize.call_id = CG_VIEW_LITERAL("k4");
	asked_run(&a, &f);
	assert_int_equal(a.req.out.authorize.store.decision, CG_DECISION_SUSPENDED);
	fixture_end(&f);
}

static void test_new_prices_hold_from_the_next_call(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;
	struct asked under_way;

	fixture_start(&f);
	add_wallets(&f, 1);
	authorize(&f, 1, &a);
	f.world.rate = 90000;
	f.world.terms_version = 5;
	notify(&f, 0);
	notify(&f, 0); /* While it is being read: once more. */
	asked_authorize(&under_way, &f);
	under_way.req.in.authorize.call_id = CG_VIEW_LITERAL("k2");
	asked_submit(&under_way, &f); /* Priced by the old ones, ends under the new ones. */
	world_run(&f.world);
	assert_int_equal(under_way.req.out.authorize.store.price.rate_per_minute.micros, 60000);
	assert_int_equal(f.world.read_count[CG_LEDGER_TERMS_READ], 3);

	asked_authorize(&a, &f);
	a.req.in.authorize.call_id = CG_VIEW_LITERAL("k3");
	asked_run(&a, &f);
	assert_int_equal(a.req.out.authorize.store.price.rate_per_minute.micros, 90000);
	assert_int_equal(f.world.last_store.terms.version, 5); /* The greater of both. */
	fixture_end(&f);
}

static void test_snapshot_out_of_order_is_refused(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	add_wallets(&f, 1);
	f.world.is_terms_unsorted = true;
	f.world.rate = 1;
	notify(&f, 0);
	world_run(&f.world);
	authorize(&f, 1, &a);
	assert_int_equal(a.req.out.authorize.store.price.rate_per_minute.micros, 60000);
	f.world.is_terms_unsorted = false;
	cg_gate_tick(f.gate);
	world_run(&f.world);
	authorize(&f, 1, &a);
	assert_int_equal(f.world.last_store.in.authorize.price.rate_per_minute.micros, 1);
	fixture_end(&f);
}

/* A plan that is newer than the snapshot: no price, no terms told, the snapshot read again. */
static void test_unknown_plan_prices_nothing(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	add_wallets(&f, 1);
	memcpy(f.world.wallets[0].ledger.plan_id, "newest", sizeof "newest");
	authorize(&f, 1, &a);
	assert_int_equal(a.req.status, CG_OK);
	assert_int_equal(a.req.out.authorize.store.decision, CG_DECISION_NO_PRICE);
	assert_int_equal(f.world.last_of[CG_STORE_AUTHORIZE].terms.version, 0);
	assert_true(f.world.last_of[CG_STORE_AUTHORIZE].in.authorize.limits.reserve_ms > 0);
	assert_true(world_next_is_ledger(&f.world, CG_LEDGER_TERMS_READ));
	fixture_end(&f);
}

static void test_terms_are_those_of_wallet_and_plan(void **state)
{
	(void)state;
	static const struct {
		bool frozen;
		bool suspended;
	} rows[] = {{false, false}, {true, false}, {false, true}, {true, true}};

	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		struct fixture f;
		struct asked a;
		fixture_start(&f);
		add_wallets(&f, 1);
		struct cg_wallet *wallet = &f.world.wallets[0].ledger;
		wallet->frozen = rows[i].frozen;
		wallet->suspended = rows[i].suspended;
		wallet->has_low_balance = true;
		wallet->low_balance.micros = 77;
		wallet->low_balance_remaining_ms = INT64_C(1) << 40;
		wallet->terms_version = 9;
		authorize(&f, 1, &a);
		const struct cg_wallet_terms *terms = &f.world.last_of[CG_STORE_AUTHORIZE].terms;
		assert_int_equal(terms->version, 9);
		assert_int_equal(terms->frozen, rows[i].frozen);
		assert_int_equal(terms->suspended, rows[i].frozen || rows[i].suspended);
		assert_int_equal(terms->calls_max, 20);
		assert_int_equal(terms->cut_warning_ms, 30000);
		assert_int_equal(terms->cut_repeat_ms, 5000);
		assert_true(terms->has_low_balance);
		assert_int_equal(terms->low_balance.micros, 77);
		assert_int_equal(terms->low_balance_remaining_ms, UINT32_MAX);
		assert_string_equal(terms->currency.code, "usd");
		fixture_end(&f);
	}
}

static void test_balance_names_plan_and_currency(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	add_wallets(&f, 1);
	asked_init(&a, &f, CG_METHOD_GET_BALANCE);
	asked_run(&a, &f);
	assert_string_equal(a.plan_id, "starter");
	assert_string_equal(a.req.out.balance.currency.code, "usd");
	assert_int_equal(a.req.out.balance.store.posted.micros, 1000000);
	assert_true(a.req.out.balance.as_of_ms > 0);
	fixture_end(&f);
}

static void create(struct fixture *f, struct asked *a, const char *currency, const char *plan)
{
	asked_init(a, f, CG_METHOD_CREATE_WALLET);
	memcpy(a->req.in.create_wallet.currency.code, currency, 4);
	a->req.in.create_wallet.plan_id = cg_view_of(plan);
	asked_run(a, f);
}

static void test_wallets_are_created_once(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	create(&f, &a, "usd", "platinum");
	assert_int_equal(a.req.status, CG_INVALID);
	assert_string_equal(a.req.field, "plan_id");
	assert_string_equal(a.req.bound, "an existing plan");
	create(&f, &a, "usd", "starter");
	assert_int_equal(a.req.status, CG_OK);
	assert_false(a.req.out.wallet.replayed);
	create(&f, &a, "usd", "starter");
	assert_int_equal(a.req.status, CG_OK);
	assert_true(a.req.out.wallet.replayed);
	create(&f, &a, "eur", "starter");
	assert_int_equal(a.req.status, CG_KEY_REUSED);
	assert_int_equal(a.req.reason, CG_REASON_KEY_REUSED);
	fixture_end(&f);
}

/* Whether the last LOAD tells those who watch, and of which terms. */
static void check_told(const struct fixture *f, unsigned loads, bool announces, bool frozen)
{
	const struct cg_store_op *op = &f->world.last_of[CG_STORE_LOAD];

	assert_int_equal(f->world.done_count[CG_STORE_LOAD], loads);
	assert_int_equal(op->in.load.announces, announces);
	assert_int_equal(op->known_epoch, f->world.epoch);
	assert_int_equal(op->terms.frozen, frozen);
	assert_true(op->terms.version > 0);
}

static void test_wallets_made_and_changed_here_are_told(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	create(&f, &a, "usd", "starter");
	check_told(&f, 1, true, false);
	assert_true(f.world.wallets[0].is_in_store);

	/* It was there: nothing is told. */
	create(&f, &a, "usd", "starter");
	assert_true(a.req.out.wallet.replayed);
	assert_int_equal(f.world.done_count[CG_STORE_LOAD], 1);
	asked_init(&a, &f, CG_METHOD_GET_WALLET);
	asked_run(&a, &f);
	assert_int_equal(f.world.done_count[CG_STORE_LOAD], 1);

	asked_init(&a, &f, CG_METHOD_UPDATE_WALLET);
	a.req.in.update_wallet.sets_frozen = true;
	a.req.in.update_wallet.frozen = true;
	asked_run(&a, &f);
	check_told(&f, 2, true, true);

	/* The ledger's own telling of that change is no news any more. */
	notify(&f, 1);
	world_run(&f.world);
	assert_int_equal(f.world.done_count[CG_STORE_LOAD], 2);
	fixture_end(&f);
}

/* Whoever changed it elsewhere has told; loading a wallet on first use is no news at all. */
static void test_other_loads_tell_nobody(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	(void)world_add_wallet(&f.world, 1, 1000);
	authorize(&f, 1, &a);
	check_told(&f, 1, false, false);
	freeze_elsewhere(&f);
	notify(&f, 1);
	world_run(&f.world);
	check_told(&f, 2, false, true);
	fixture_end(&f);
}

/* The ledger has it: whatever becomes of the telling, the answer is OK, and comes in time. */
static void test_telling_is_a_courtesy(void **state)
{
	(void)state;
	static const enum cg_status endings[] = {
	    CG_TIMEOUT, CG_LOST, CG_INTERNAL, CG_UNAVAILABLE, CG_RECOVERING, CG_FULL, CG_CLOSING};

	for (size_t i = 0; i < CG_COUNT_OF(endings); i++) {
		for (unsigned at = 2; at <= 3; at++) { /* The reading, the telling. */
			struct fixture f;
			struct asked a;

			fixture_start(&f);
			f.world.fault = (struct world_fault){at, endings[i], false};
			create(&f, &a, "usd", "starter");
			assert_int_equal(a.dones, 1);
			assert_int_equal(a.req.status, CG_OK);
			assert_false(a.req.out.wallet.replayed);
			assert_int_equal(f.world.last_of[CG_STORE_LOAD].deadline_at_ms,
			    at == 2 ? 0 : f.world.now_ms + 250);
			fixture_end(&f);
		}
	}
}

/* Each wallet that is cached here once, and only where the store has it. */
static void test_a_change_of_plans_is_told_to_the_store(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;
	unsigned told = 0;

	fixture_start(&f);
	add_wallets(&f, 6);
	for (unsigned i = 1; i <= 6; i++) {
		authorize(&f, i, &a);
	}
	f.world.wallets[5].is_in_store = false;
	notify(&f, 0);
	while (f.world.pending_count > 0) {
		told += world_next_is_store(&f.world, CG_STORE_LOAD) ? 1 : 0;
		(void)world_step(&f.world);
	}
	assert_int_equal(told, 4); /* wallets_max */
	assert_true(f.world.last_of[CG_STORE_LOAD].in.load.only_present);
	assert_false(f.world.wallets[5].is_in_store);
	cg_gate_tick(f.gate);
	assert_int_equal(f.world.pending_count, 0);
	fixture_end(&f);
}

/* A ledger that took the wallet and then hangs holds the answer up for a moment, no longer. */
static void test_telling_waits_for_a_moment_only(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	asked_init(&a, &f, CG_METHOD_CREATE_WALLET);
	memcpy(a.req.in.create_wallet.currency.code, "usd", 4);
	a.req.in.create_wallet.plan_id = CG_VIEW_LITERAL("starter");
	asked_submit(&a, &f);
	(void)world_step(&f.world);
	assert_true(world_next_is_ledger(&f.world, CG_LEDGER_WALLET_READ));
	f.world.now_ms += 249;
	cg_gate_tick(f.gate);
	assert_int_equal(a.dones, 0);
	f.world.now_ms += 1;
	cg_gate_tick(f.gate);
	assert_int_equal(a.dones, 1);
	assert_int_equal(a.req.status, CG_OK);
	fixture_end(&f);
}

/* The partition recovers between reading and telling: read and told again, once. */
static void test_telling_survives_a_recovery(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	asked_init(&a, &f, CG_METHOD_CREATE_WALLET);
	memcpy(a.req.in.create_wallet.currency.code, "usd", 4);
	a.req.in.create_wallet.plan_id = CG_VIEW_LITERAL("starter");
	asked_submit(&a, &f);
	while (!world_next_is_store(&f.world, CG_STORE_LOAD)) {
		assert_true(world_step(&f.world));
	}
	f.world.epoch++;
	world_run(&f.world);
	assert_int_equal(a.req.status, CG_OK);
	check_told(&f, 2, true, false);
	assert_true(f.world.wallets[0].is_in_store);
	fixture_end(&f);
}

/* Somebody was just reading that there is no such wallet: that is not what is told. */
static void test_reading_before_the_wallet_is_read_again(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;
	struct asked before;

	fixture_start(&f);
	asked_authorize(&before, &f);
	asked_submit(&before, &f);
	struct cg_ledger_op *reading = f.world.pending[0].ledger;
	world_act_ledger(&f.world, reading); /* It has read; its answer is on the way. */
	f.world.pending_count = 0;

	asked_init(&a, &f, CG_METHOD_CREATE_WALLET);
	memcpy(a.req.in.create_wallet.currency.code, "usd", 4);
	a.req.in.create_wallet.plan_id = CG_VIEW_LITERAL("starter");
	asked_submit(&a, &f);
	(void)world_step(&f.world);
	assert_int_equal(a.dones, 0);
	reading->done(reading);
	world_run(&f.world);
	assert_int_equal(before.req.status, CG_NOT_FOUND);
	assert_int_equal(a.req.status, CG_OK);
	check_told(&f, 1, true, false);
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_many_requests_wait_for_one_reading),
	    cmocka_unit_test(test_reading_without_a_wallet_refuses_all_who_wait),
	    cmocka_unit_test(test_the_least_recently_used_goes),
	    cmocka_unit_test(test_more_readings_than_cells_are_refused),
	    cmocka_unit_test(test_readings_queue_beyond_what_the_ledger_is_given),
	    cmocka_unit_test(test_closing_ends_what_is_queued),
	    cmocka_unit_test(test_waiting_ends_with_the_requests_deadline),
	    cmocka_unit_test(test_changed_terms_are_read_in_the_background),
	    cmocka_unit_test(test_change_during_a_reading_is_read_again),
	    cmocka_unit_test(test_failed_refresh_keeps_the_old_terms_and_tries_again),
	    cmocka_unit_test(test_update_is_in_force_at_once),
	    cmocka_unit_test(test_overtaken_reading_does_not_undo_an_update),
	    cmocka_unit_test(test_new_prices_hold_from_the_next_call),
	    cmocka_unit_test(test_snapshot_out_of_order_is_refused),
	    cmocka_unit_test(test_unknown_plan_prices_nothing),
	    cmocka_unit_test(test_terms_are_those_of_wallet_and_plan),
	    cmocka_unit_test(test_balance_names_plan_and_currency),
	    cmocka_unit_test(test_wallets_are_created_once),
	    cmocka_unit_test(test_wallets_made_and_changed_here_are_told),
	    cmocka_unit_test(test_other_loads_tell_nobody),
	    cmocka_unit_test(test_telling_is_a_courtesy),
	    cmocka_unit_test(test_a_change_of_plans_is_told_to_the_store),
	    cmocka_unit_test(test_telling_waits_for_a_moment_only),
	    cmocka_unit_test(test_telling_survives_a_recovery),
	    cmocka_unit_test(test_reading_before_the_wallet_is_read_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
