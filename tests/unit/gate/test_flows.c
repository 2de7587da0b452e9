/*
 * What the gate sends, and when: epochs, keys, prices, deadlines, commits.
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

static void start_with_wallet(struct fixture *f)
{
	fixture_start(f);
	world_put_in_store(world_add_wallet(&f->world, 1, 1000000));
}

static void cache_terms(struct fixture *f)
{
	struct asked a;

	asked_init(&a, f, CG_METHOD_GET_BALANCE);
	asked_run(&a, f);
	assert_int_equal(a.req.status, CG_OK);
}

static void test_authorize_with_cached_terms_is_one_operation(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	cache_terms(&f);
	memset(f.world.done_count, 0, sizeof f.world.done_count);
	memset(f.world.read_count, 0, sizeof f.world.read_count);
	asked_authorize(&a, &f);
	asked_run(&a, &f);

	assert_int_equal(a.req.status, CG_OK);
	assert_int_equal(a.req.out.authorize.store.decision, CG_DECISION_ALLOWED);
	assert_string_equal(a.req.out.authorize.currency.code, "usd");
	assert_int_equal(
	    a.req.out.authorize.as_of_ms, (int64_t)f.world.now_ms + f.world.store_ahead_ms);
	for (int verb = 0; verb < CG_STORE_VERB_COUNT; verb++) {
		assert_int_equal(f.world.done_count[verb], verb == CG_STORE_AUTHORIZE ? 1 : 0);
	}
	for (int verb = 0; verb < CG_LEDGER_VERB_COUNT; verb++) {
		assert_int_equal(f.world.read_count[verb], 0);
	}

	const struct cg_store_op *op = &f.world.last_store;
	assert_true(op->in.authorize.has_price);
	assert_int_equal(op->in.authorize.price.rate_per_minute.micros, 60000);
	assert_int_equal(op->in.authorize.limits.reserve_ms, 30000);
	assert_int_equal(op->in.authorize.limits.longest_ms, 3600000);
	assert_int_equal(op->in.authorize.limits.lease_ms, 120000);
	assert_int_equal(op->in.authorize.limits.guard_ms, 5000);
	assert_int_equal(op->known_epoch, 0);
	assert_false(op->asked);
	fixture_end(&f);
}

static void test_reserve_is_bounded_by_the_plans_longest_call(void **state)
{
	(void)state;
	static const struct {
		int64_t reserve_ms;
		bool admitted;
		uint32_t sent_ms;
	} rows[] = {{0, true, 30000}, {1, true, 1}, {3600000, true, 3600000}, {3600001, false, 0},
	    {-1, false, 0}};

	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		for (int cached = 0; cached < 2; cached++) {
			struct fixture f;
			struct asked a;
			start_with_wallet(&f);
			if (cached) {
				cache_terms(&f);
			}
			asked_authorize(&a, &f);
			a.req.in.authorize.reserve_ms = rows[i].reserve_ms;
			asked_run(&a, &f);
			assert_int_equal(a.dones, 1);
			assert_false(a.was_early);
			if (rows[i].admitted) {
				assert_int_equal(a.req.status, CG_OK);
				assert_int_equal(f.world.last_store.in.authorize.limits.reserve_ms,
				    rows[i].sent_ms);
			} else {
				assert_int_equal(a.req.status, CG_INVALID);
				assert_int_equal(a.req.reason, CG_REASON_INVALID_FIELD);
				assert_string_equal(a.req.field, "reserve_ms");
				assert_non_null(a.req.bound);
				assert_int_equal(f.world.done_count[CG_STORE_AUTHORIZE], 0);
			}
			fixture_end(&f);
		}
	}
}

/* An answer that needs no port is put off, and somebody is asked to come for it. */
static void test_answer_without_a_port_waits_for_the_tick(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	cache_terms(&f);
	asked_authorize(&a, &f);
	a.req.in.authorize.reserve_ms = INT64_C(1) << 40;
	asked_submit(&a, &f);
	assert_int_equal(a.dones, 0);
	assert_int_equal(f.wakes, 1);
	assert_int_equal(cg_gate_inflight_count(f.gate), 1);
	cg_gate_tick(f.gate);
	assert_int_equal(a.dones, 1);
	fixture_end(&f);
}

static void test_without_terms_nothing_is_authorized(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;
	struct cg_gate_config config = fixture_config(&f);

	cg_log_set_level(CG_LOG_ERROR + 1);
	world_init(&f.world);
	world_put_in_store(world_add_wallet(&f.world, 1, 1000));
	(void)world_add_call(&f.world, 1, "k", 1);
	f.wakes = 0;
	f.gate = cg_gate_create(&config, &f.world.store, &f.world.ledger, &f.world.clock);
	f.world.fault = (struct world_fault){1, CG_UNAVAILABLE, false};
	cg_gate_start(f.gate);
	world_run(&f.world);
	assert_false(cg_gate_is_ready(f.gate));

	asked_authorize(&a, &f);
	asked_submit(&a, &f);
	cg_gate_tick(f.gate); /* Also reads the terms again. */
	assert_int_equal(a.req.status, CG_UNAVAILABLE);
	assert_int_equal(a.req.reason, CG_REASON_LEDGER_UNAVAILABLE);

	/* A call that is held is settled without any terms. */
	asked_settle(&a, &f, 1000);
	asked_submit(&a, &f);
	assert_int_equal(f.world.last_store.terms.version, 0);
	world_run(&f.world);
	assert_int_equal(a.req.status, CG_OK);
	assert_true(cg_gate_is_ready(f.gate));
	fixture_end(&f);
}

static void settle_and_forget(struct fixture *f, bool flushed)
{
	struct asked a;

	(void)world_add_call(&f->world, 1, "k", 5);
	asked_settle(&a, f, 1000);
	asked_run(&a, f);
	assert_int_equal(a.req.status, CG_OK);
	if (flushed) {
		world_flush(&f->world);
	}
	world_forget(&f->world);
}

static void test_settle_after_the_store_forgot_is_answered_from_the_row(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	settle_and_forget(&f, true);
	asked_settle(&a, &f, 1000);
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_OK);
	assert_true(a.req.out.settle.store.replayed);
	assert_int_equal(a.req.out.settle.store.cost.micros, 1000);
	assert_int_equal(a.req.out.settle.store.balance.micros, 999000);
	assert_int_equal(a.req.out.settle.store.available.micros, 999000);
	assert_int_equal(a.req.out.settle.store.entry_id.epoch, 7);
	assert_int_equal(a.req.out.settle.state, CG_CALL_SETTLED);
	assert_int_equal(world_count(&f.world, CG_ENTRY_USAGE, "k"), 1);

	asked_settle(&a, &f, 2000);
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_KEY_REUSED);
	assert_int_equal(a.req.reason, CG_REASON_KEY_REUSED);
	assert_true(a.req.has_settled);
	assert_int_equal(a.req.out.settle.store.duration_ms, 1000);

	asked_settle(&a, &f, 0);
	a.req.in.settle.as_metered = true; /* Whatever was charged is what was metered. */
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_OK);
	fixture_end(&f);
}

/* What the store lost before the flush is charged again, once. */
static void test_settle_lost_with_the_tail_is_charged_late(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	settle_and_forget(&f, false);
	asked_settle(&a, &f, 1000);
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_OK);
	assert_true(a.req.out.settle.store.late);
	assert_false(a.req.out.settle.store.replayed);
	assert_int_equal(world_count(&f.world, CG_ENTRY_USAGE, "k"), 1);
	fixture_end(&f);
}

/*
 * The epoch that goes with what was read is the one before the reading.  A recovery that
 * comes between a reading and its use makes the store refuse, and all is read again.
 */
static void run_until_ledger(struct fixture *f, enum cg_ledger_verb verb)
{
	while (!world_next_is_ledger(&f->world, verb)) {
		assert_true(world_step(&f->world));
	}
}

static void test_key_read_before_a_recovery_proves_nothing_after_it(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	cache_terms(&f);
	asked_settle(&a, &f, 1000);
	asked_submit(&a, &f);
	run_until_ledger(&f, CG_LEDGER_KEY_READ);
	(void)world_step(&f.world); /* Not there, under epoch 7; the store is asked again. */
	assert_true(f.world.last_store.asked);
	assert_int_equal(f.world.last_store.known_epoch, 7);

	/* Meanwhile another sidecar settles it, the flush takes it, the store recovers. */
	f.world.entries[f.world.entry_count++] = (struct world_entry){.company = world_company(1),
	    .type = CG_ENTRY_USAGE,
	    .reference = "k",
	    .amount = -1000,
	    .duration_ms = 1000,
	    .id = {0, 7, 99}};
	world_flush(&f.world);
	world_forget(&f.world);
	world_run(&f.world);
	assert_int_equal(a.req.status, CG_OK);
	assert_true(a.req.out.settle.store.replayed);
	assert_int_equal(world_count(&f.world, CG_ENTRY_USAGE, "k"), 1);
	fixture_end(&f);
}

/* The epoch changes while the ledger reads the key: the refusal's epoch is what is sent. */
static void test_key_goes_with_the_epoch_of_the_refusal(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	asked_charge(&a, &f, 900);
	asked_submit(&a, &f);
	run_until_ledger(&f, CG_LEDGER_KEY_READ);
	f.world.epoch = 8;
	(void)world_step(&f.world);
	assert_int_equal(f.world.last_store.verb, CG_STORE_CHARGE);
	assert_int_equal(f.world.last_store.known_epoch, 7);
	world_run(&f.world);
	assert_int_equal(a.req.status, CG_OK);
	assert_int_equal(f.world.read_count[CG_LEDGER_KEY_READ], 2);
	assert_int_equal(world_count(&f.world, CG_ENTRY_USAGE, "k"), 1);
	fixture_end(&f);
}

static void test_wallet_goes_with_the_epoch_before_its_reading(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	(void)world_add_wallet(&f.world, 1, 5000);
	asked_charge(&a, &f, 900);
	asked_submit(&a, &f);
	run_until_ledger(&f, CG_LEDGER_WALLET_READ);
	f.world.epoch = 8;
	(void)world_step(&f.world);
	assert_int_equal(f.world.last_store.verb, CG_STORE_LOAD);
	assert_int_equal(f.world.last_store.known_epoch, 7);
	assert_int_equal(f.world.last_store.in.load.posted.micros, 5000);
	assert_int_equal(f.world.last_store.in.load.version, 1);
	assert_int_equal(f.world.last_store.terms.version, 1);
	world_run(&f.world);
	assert_int_equal(a.req.status, CG_OK);
	assert_int_equal(f.world.read_count[CG_LEDGER_WALLET_READ], 2);
	fixture_end(&f);
}

static void test_receipt_is_written_under_the_epoch_before(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	asked_credit(&a, &f, 500);
	asked_submit(&a, &f);
	assert_true(world_next_is_ledger(&f.world, CG_LEDGER_RECEIPT_WRITE));
	f.world.epoch = 8;
	(void)world_step(&f.world);
	assert_int_equal(f.world.last_store.verb, CG_STORE_CREDIT);
	assert_true(f.world.last_store.asked);
	assert_int_equal(f.world.last_store.known_epoch, 7);
	world_run(&f.world);
	assert_int_equal(a.req.status, CG_OK);
	assert_int_equal(f.world.read_count[CG_LEDGER_RECEIPT_WRITE], 2);
	assert_int_equal(world_count(&f.world, CG_ENTRY_TOP_UP, "k"), 1);
	fixture_end(&f);
}

static void test_credit_of_a_forgotten_reference_is_replayed_from_the_row(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	asked_credit(&a, &f, 500);
	asked_run(&a, &f);
	world_flush(&f.world);
	world_forget(&f.world);
	asked_credit(&a, &f, 500);
	a.req.in.credit.durability = CG_DURABILITY_COMMITTED;
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_OK);
	assert_true(a.req.out.posted.replayed);
	assert_int_equal(a.req.out.posted.balance.micros, 1000500);
	assert_int_equal(world_count(&f.world, CG_ENTRY_TOP_UP, "k"), 1);
	asked_credit(&a, &f, 501);
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_KEY_REUSED);
	fixture_end(&f);
}

/* Settle, Credit or Charge of "k". */
static void ask_committed(struct asked *a, struct fixture *f, enum cg_method method)
{
	if (method == CG_METHOD_SETTLE) {
		asked_settle(a, f, 1000);
		a->req.in.settle.durability = CG_DURABILITY_COMMITTED;
	} else if (method == CG_METHOD_CREDIT) {
		asked_credit(a, f, 500);
		a->req.in.credit.durability = CG_DURABILITY_COMMITTED;
	} else {
		asked_charge(a, f, 900);
		a->req.in.charge.durability = CG_DURABILITY_COMMITTED;
	}
	asked_submit(a, f);
	run_until_ledger(f, CG_LEDGER_AWAIT);
}

/* The first caller, who may hear nothing in time, and another who asks again. */
static void check_committed(enum cg_method method, bool is_repeated)
{
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	(void)world_add_call(&f.world, 1, method == CG_METHOD_SETTLE ? "k" : "other", 5);
	ask_committed(&a, &f, method);
	/* The entry is not flushed: nobody has been told yet. */
	assert_int_equal(a.dones, 0);
	assert_true(f.world.kick_count > 0);
	assert_int_equal(f.world.last_ledger.in.await.entry_id.n, 1);
	assert_true(
	    cg_view_equal(f.world.last_ledger.in.await.key.reference_id, CG_VIEW_LITERAL("k")));
	if (is_repeated) {
		f.world.fault = (struct world_fault){1, CG_TIMEOUT, false};
		world_run(&f.world);
		assert_int_equal(a.req.status, CG_TIMEOUT);
		assert_int_equal(a.req.reason, CG_REASON_LEDGER_UNAVAILABLE);
		ask_committed(&a, &f, method); /* A replay waits just the same. */
		assert_int_equal(a.dones, 0);
	}
	world_run(&f.world);
	assert_int_equal(a.req.status, CG_OK);
	assert_true(f.world.entries[0].is_flushed);
	assert_int_equal(f.world.entry_count, 1);
	fixture_end(&f);
}

static void test_committed_waits_for_the_entrys_row(void **state)
{
	(void)state;
	static const enum cg_method methods[] = {
	    CG_METHOD_SETTLE, CG_METHOD_CREDIT, CG_METHOD_CHARGE};

	for (size_t i = 0; i < CG_COUNT_OF(methods); i++) {
		check_committed(methods[i], false);
		check_committed(methods[i], true);
	}
}

/* What is set aside is found under its key, by whoever asks for it; it is not in the ledger. */
static void check_aside(enum cg_method method)
{
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	(void)world_add_call(&f.world, 1, method == CG_METHOD_SETTLE ? "k" : "other", 5);
	ask_committed(&a, &f, method);
	world_run(&f.world);
	world_forget(&f.world);
	f.world.entries[0].is_aside = true;
	ask_committed(&a, &f, method);
	world_run(&f.world);
	assert_true(cg_status_is_unknown(a.req.status));
	assert_int_equal(a.req.reason, CG_REASON_LEDGER_UNAVAILABLE);

	f.world.entries[0].is_aside = false;
	ask_committed(&a, &f, method);
	world_run(&f.world);
	assert_int_equal(a.req.status, CG_OK);
	assert_int_equal(f.world.entry_count, 1);
	fixture_end(&f);
}

static void test_what_is_in_quarantine_is_not_committed(void **state)
{
	(void)state;
	check_aside(CG_METHOD_SETTLE);
	check_aside(CG_METHOD_CREDIT);
	check_aside(CG_METHOD_CHARGE);
}

static void test_overtaken_commit_is_not_a_commit(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	(void)world_add_call(&f.world, 1, "k", 5);
	asked_settle(&a, &f, 1000);
	a.req.in.settle.durability = CG_DURABILITY_COMMITTED;
	asked_submit(&a, &f);
	run_until_ledger(&f, CG_LEDGER_AWAIT);
	world_forget(&f.world); /* The entry was not flushed: it is gone. */
	world_run(&f.world);
	assert_true(cg_status_is_unknown(a.req.status));
	assert_int_equal(a.req.reason, CG_REASON_LEDGER_UNAVAILABLE);
	fixture_end(&f);
}

static void test_every_entry_kicks_the_flush(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	(void)world_add_call(&f.world, 1, "k", 5);
	asked_settle(&a, &f, 1000);
	asked_run(&a, &f);
	assert_int_equal(f.world.kick_count, 1);
	asked_charge(&a, &f, 9);
	a.req.in.charge.reference_id = CG_VIEW_LITERAL("c");
	asked_run(&a, &f);
	assert_int_equal(f.world.kick_count, 2);
	asked_credit(&a, &f, 5);
	asked_run(&a, &f);
	assert_int_equal(f.world.kick_count, 3);
	asked_init(&a, &f, CG_METHOD_GET_BALANCE);
	asked_run(&a, &f);
	assert_int_equal(f.world.kick_count, 3);
	fixture_end(&f);
}

/* With the ledger away, what is held is started, stopped, cancelled and settled. */
static void test_held_calls_go_on_without_the_ledger(void **state)
{
	(void)state;
	static const enum cg_method methods[] = {CG_METHOD_START, CG_METHOD_STOP, CG_METHOD_CANCEL};

	for (size_t i = 0; i <= CG_COUNT_OF(methods); i++) {
		struct fixture f;
		struct asked a;
		start_with_wallet(&f);
		world_add_call(&f.world, 1, "k", 5)->state = CG_CALL_AUTHORIZED;
		memset(f.world.read_count, 0, sizeof f.world.read_count);
		if (i < CG_COUNT_OF(methods)) {
			asked_call(&a, &f, methods[i]);
		} else {
			asked_settle(&a, &f, 1000);
		}
		asked_run(&a, &f);
		assert_int_equal(a.req.status, CG_OK);
		for (int verb = 0; verb < CG_LEDGER_VERB_COUNT; verb++) {
			assert_int_equal(f.world.read_count[verb], 0);
		}
		fixture_end(&f);
	}
}

/* A late Settle reads the terms only where they could price something. */
static void test_late_settle_reads_terms_only_to_price(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	asked_settle(&a, &f, 1000);
	a.req.in.settle.resource_type = (struct cg_view){NULL, 0};
	a.req.in.settle.destination = (struct cg_view){NULL, 0};
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_NOT_FOUND);
	assert_int_equal(a.req.reason, CG_REASON_UNKNOWN_CALL);
	assert_int_equal(f.world.read_count[CG_LEDGER_WALLET_READ], 0);

	asked_settle(&a, &f, 1000);
	a.req.in.settle.resource_type = CG_VIEW_LITERAL("voice_unpriced");
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_WRONG_STATE);
	assert_int_equal(a.req.reason, CG_REASON_NO_PRICE);
	assert_int_equal(f.world.read_count[CG_LEDGER_WALLET_READ], 1);
	assert_int_equal(f.world.done_count[CG_STORE_SETTLE], 4); /* Two each: no round in vain. */

	asked_settle(&a, &f, 1000);
	a.req.in.settle.as_metered = true;
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_WRONG_STATE);
	assert_int_equal(a.req.reason, CG_REASON_WRONG_STATE);
	assert_int_equal(f.world.entry_count, 0);
	fixture_end(&f);
}

static void test_refusals_say_which(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);

	asked_adopt(&a, &f);
	a.req.in.adopt.resource_type = CG_VIEW_LITERAL("voice_unpriced");
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_WRONG_STATE);
	assert_int_equal(a.req.reason, CG_REASON_NO_PRICE);

	asked_adopt(&a, &f);
	a.req.in.adopt.started_at_ms = INT64_C(4000000000000);
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_INVALID);
	assert_string_equal(a.req.field, "started_at_ms");

	asked_adopt(&a, &f);
	a.req.in.adopt.started_at_ms = 0;
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_INVALID);
	assert_false(a.was_early);

	asked_charge(&a, &f, 900);
	asked_run(&a, &f);
	asked_charge(&a, &f, 901);
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_KEY_REUSED);
	asked_settle(&a, &f, 900);
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_KEY_REUSED);

	asked_call(&a, &f, CG_METHOD_STOP);
	a.req.company = world_company(77);
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_NOT_FOUND);
	assert_int_equal(a.req.reason, CG_REASON_NO_WALLET);
	fixture_end(&f);
}

/* A charge found in the ledger is the same only where amount and resource are. */
static void test_forgotten_charge_is_compared_with_its_row(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	asked_charge(&a, &f, 900);
	asked_run(&a, &f);
	world_flush(&f.world);
	world_forget(&f.world);

	asked_charge(&a, &f, 900);
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_OK);
	assert_true(a.req.out.posted.replayed);
	assert_int_equal(a.req.out.posted.balance.micros, 999100);
	asked_charge(&a, &f, 901);
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_KEY_REUSED);
	asked_charge(&a, &f, 900);
	a.req.in.charge.resource_type = CG_VIEW_LITERAL("sms");
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_KEY_REUSED);
	asked_settle(&a, &f, 0); /* As long as the charge's row says. */
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_KEY_REUSED);
	assert_false(a.req.has_settled);

	asked_call(&a, &f, CG_METHOD_GET_CALL);
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_NOT_FOUND);
	assert_int_equal(a.req.reason, CG_REASON_UNKNOWN_CALL);
	assert_int_equal(world_count(&f.world, CG_ENTRY_USAGE, "k"), 1);
	fixture_end(&f);
}

/* Every operation's deadline: the caller's, or the port's own timeout, whichever is less. */
static void test_operations_end_before_the_request(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	asked_charge(&a, &f, 900);
	a.req.deadline_at_ms = f.world.now_ms + 100;
	asked_submit(&a, &f);
	assert_int_equal(f.world.last_store.deadline_at_ms, f.world.now_ms + 100);
	(void)world_step(&f.world);
	assert_int_equal(f.world.last_ledger.deadline_at_ms, f.world.now_ms + 100);
	world_run(&f.world);

	asked_charge(&a, &f, 900);
	a.req.in.charge.reference_id = CG_VIEW_LITERAL("k2");
	a.req.deadline_at_ms = f.world.now_ms + 60000;
	asked_submit(&a, &f);
	assert_int_equal(f.world.last_store.deadline_at_ms, f.world.now_ms + 250);
	(void)world_step(&f.world);
	assert_int_equal(f.world.last_ledger.deadline_at_ms, f.world.now_ms + 5000);
	world_run(&f.world);
	fixture_end(&f);
}

/* not_after is the deadline on the store's clock, as the port tells that clock. */
static void test_authorize_is_refused_after_its_deadline(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	asked_authorize(&a, &f);
	asked_run(&a, &f);
	/* Also the very first one. */
	assert_int_equal(f.world.last_of[CG_STORE_AUTHORIZE].not_after_ms,
	    (int64_t)f.world.now_ms + 250 + f.world.store_ahead_ms);

	asked_authorize(&a, &f);
	asked_submit(&a, &f);
	assert_int_equal(f.world.last_store.not_after_ms,
	    (int64_t)f.world.now_ms + 250 + f.world.store_ahead_ms);
	f.world.now_ms += 251; /* It lay in a buffer for too long. */
	world_run(&f.world);
	assert_int_equal(a.req.status, CG_UNAVAILABLE);
	assert_int_equal(a.req.reason, CG_REASON_STORE_UNAVAILABLE);

	/* The store's clock is set forward: one more look, and all goes on. */
	f.world.store_ahead_ms += 10000;
	asked_call(&a, &f, CG_METHOD_START);
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_OK);
	assert_int_equal(f.world.last_of[CG_STORE_START].not_after_ms,
	    (int64_t)f.world.now_ms + 250 + f.world.store_ahead_ms);
	fixture_end(&f);
}

/* The connection ends before the answer: the same operation again, and only once. */
static void test_lost_answer_is_asked_for_again_once(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	(void)world_add_call(&f.world, 1, "k", 5);
	asked_settle(&a, &f, 1000);
	f.world.fault = (struct world_fault){1, CG_LOST, true};
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_OK);
	assert_true(a.req.out.settle.store.replayed);
	assert_int_equal(f.world.done_count[CG_STORE_SETTLE], 2);

	asked_settle(&a, &f, 1000);
	asked_submit(&a, &f);
	f.world.fault = (struct world_fault){1, CG_LOST, false};
	(void)world_step(&f.world);
	f.world.fault = (struct world_fault){1, CG_UNAVAILABLE, false};
	world_run(&f.world);
	assert_int_equal(a.req.status, CG_LOST); /* The first may have happened. */
	assert_int_equal(f.world.done_count[CG_STORE_SETTLE], 4);
	fixture_end(&f);
}

/*
 * The store forgot what was charged, and charged again; the flush booked that as a duplicate.
 * The answer is what the ledger has, never what the store thought.
 */
static void test_a_commit_under_another_entry_is_answered_from_the_row(void **state)
{
	(void)state;

	for (int is_other_duration = 0; is_other_duration < 2; is_other_duration++) {
		struct fixture f;
		struct asked a;

		start_with_wallet(&f);
		world_add_call(&f.world, 1, "k", 1);
		asked_settle(&a, &f, 1000);
		a.req.in.settle.durability = CG_DURABILITY_COMMITTED;
		asked_submit(&a, &f);
		while (!world_next_is_ledger(&f.world, CG_LEDGER_AWAIT)) {
			assert_true(world_step(&f.world));
		}
		f.world.entries[0].id.n += 100;
		f.world.entries[0].duration_ms += is_other_duration;
		world_run(&f.world);

		assert_int_equal(a.dones, 1);
		assert_int_equal(a.req.status, is_other_duration ? CG_KEY_REUSED : CG_OK);
		assert_int_equal(a.req.has_settled, is_other_duration);
		assert_true(a.req.out.settle.store.replayed);
		assert_int_equal(a.req.out.settle.store.entry_id.n, f.world.entries[0].id.n);
		fixture_end(&f);
	}
}

static void test_a_credit_committed_under_another_entry_is_answered_from_the_row(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	asked_credit(&a, &f, 500);
	a.req.in.credit.durability = CG_DURABILITY_COMMITTED;
	asked_submit(&a, &f);
	while (!world_next_is_ledger(&f.world, CG_LEDGER_AWAIT)) {
		assert_true(world_step(&f.world));
	}
	f.world.entries[0].id.n += 100;
	world_run(&f.world);

	assert_int_equal(a.dones, 1);
	assert_int_equal(a.req.status, CG_OK);
	assert_true(a.req.out.posted.replayed);
	assert_int_equal(a.req.out.posted.entry_id.n, f.world.entries[0].id.n);
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_commit_under_another_entry_is_answered_from_the_row),
	    cmocka_unit_test(test_a_credit_committed_under_another_entry_is_answered_from_the_row),
	    cmocka_unit_test(test_authorize_with_cached_terms_is_one_operation),
	    cmocka_unit_test(test_reserve_is_bounded_by_the_plans_longest_call),
	    cmocka_unit_test(test_answer_without_a_port_waits_for_the_tick),
	    cmocka_unit_test(test_without_terms_nothing_is_authorized),
	    cmocka_unit_test(test_settle_after_the_store_forgot_is_answered_from_the_row),
	    cmocka_unit_test(test_settle_lost_with_the_tail_is_charged_late),
	    cmocka_unit_test(test_key_read_before_a_recovery_proves_nothing_after_it),
	    cmocka_unit_test(test_key_goes_with_the_epoch_of_the_refusal),
	    cmocka_unit_test(test_wallet_goes_with_the_epoch_before_its_reading),
	    cmocka_unit_test(test_receipt_is_written_under_the_epoch_before),
	    cmocka_unit_test(test_credit_of_a_forgotten_reference_is_replayed_from_the_row),
	    cmocka_unit_test(test_committed_waits_for_the_entrys_row),
	    cmocka_unit_test(test_overtaken_commit_is_not_a_commit),
	    cmocka_unit_test(test_what_is_in_quarantine_is_not_committed),
	    cmocka_unit_test(test_every_entry_kicks_the_flush),
	    cmocka_unit_test(test_held_calls_go_on_without_the_ledger),
	    cmocka_unit_test(test_late_settle_reads_terms_only_to_price),
	    cmocka_unit_test(test_refusals_say_which),
	    cmocka_unit_test(test_forgotten_charge_is_compared_with_its_row),
	    cmocka_unit_test(test_operations_end_before_the_request),
	    cmocka_unit_test(test_authorize_is_refused_after_its_deadline),
	    cmocka_unit_test(test_lost_answer_is_asked_for_again_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
