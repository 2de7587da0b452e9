/*
 * What is decided while the store is away: by policy, kind of failure, cached terms and cap.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fake_caller.h"

#define LEASE_MS 120000

/* One request per call id: texts that outlive it. */
struct ask {
	struct asked asked;
	char id[16];
};

static void notify_terms(struct fixture *f)
{
	struct cg_ledger_listener listener = cg_gate_listener(f->gate);
	struct cg_uuid company = world_company(1);

	f->world.terms_version++;
	listener.on_terms_changed(listener.owner, NULL);
	listener.on_terms_changed(listener.owner, &company);
	world_run(&f->world);
}

static void authorize(struct fixture *f, struct ask *a, const char *id)
{
	(void)snprintf(a->id, sizeof a->id, "%s", id);
	asked_authorize(&a->asked, f);
	a->asked.req.in.authorize.call_id = cg_view_of(a->id);
}

/* A store that has the wallet of company 1, whose terms are cached. */
static void begin(struct fixture *f, bool allows)
{
	struct ask a;

	fixture_start(f);
	f->world.outage_allows = allows;
	world_put_in_store(world_add_wallet(&f->world, 1, 1000000));
	notify_terms(f);
	authorize(f, &a, "before");
	asked_run(&a.asked, f);
	assert_int_equal(a.asked.req.status, CG_OK);
	assert_false(a.asked.req.out.authorize.degraded);
}

/* How the store is away: each operation from now on ends so. */
struct absence {
	enum cg_status status;
	bool acts;
	bool is_unserved; /* the partition has no epoch */
	bool is_policys;  /* the outage policy has a say */
};

static const struct absence absences[] = {
    {CG_UNAVAILABLE, false, false, true},
    {CG_TIMEOUT, false, false, true},
    {CG_TIMEOUT, true, false, true}, /* it happened, and we do not know */
    {CG_LOST, false, false, true},
    {CG_RECOVERING, false, true, true},
    {CG_FULL, false, false, false},
    {CG_CLOSING, false, false, false},
    {CG_INTERNAL, false, false, false},
};

static void run_away(struct fixture *f, struct asked *a, const struct absence *absence)
{
	f->world.epoch = absence->is_unserved ? 0 : 7;
	asked_submit(a, f);
	for (unsigned steps = 0; f->world.pending_count > 0; steps++) {
		assert_true(steps < 20);
		f->world.fault = (struct world_fault){1, absence->status, absence->acts};
		(void)world_step(&f->world);
	}
	f->world.fault.at = 0;
	cg_gate_tick(f->gate);
	f->world.epoch = 7;
	assert_int_equal(a->dones, 1);
	assert_false(a->was_early);
}

static void expect_degraded(const struct asked *a, enum cg_decision decision, int64_t longest_ms)
{
	const struct cg_authorize_out *out = &a->req.out.authorize;

	assert_int_equal(a->req.status, CG_OK);
	assert_true(out->degraded);
	assert_int_equal(out->store.decision, decision);
	assert_int_equal(out->store.max_duration_ms, longest_ms);
	assert_int_equal(out->store.state, CG_CALL_NONE);
	assert_int_equal(out->store.held.micros, 0);
	assert_int_equal(out->store.expires_at_ms, 0);
	assert_int_equal(out->as_of_ms, 0);
	assert_string_equal(out->currency.code, "usd");
}

static void expect_not_decided(const struct asked *a, const struct absence *absence)
{
	if (absence->status == CG_FULL || absence->status == CG_CLOSING ||
	    absence->status == CG_RECOVERING || absence->status == CG_INTERNAL ||
	    absence->status == CG_TIMEOUT) {
		assert_int_equal(a->req.status, absence->status);
	} else {
		assert_int_equal(
		    a->req.status, absence->status == CG_LOST ? CG_LOST : CG_UNAVAILABLE);
	}
}

static void test_the_policy_decides_where_the_store_is_away(void **state)
{
	(void)state;

	for (size_t i = 0; i < CG_COUNT_OF(absences); i++) {
		for (unsigned bits = 0; bits < 8; bits++) {
			bool allows = (bits & 1u) != 0;
			bool starts = (bits & 2u) != 0;
			bool validates = (bits & 4u) != 0;
			struct fixture f;
			struct ask a;

			begin(&f, allows);
			authorize(&f, &a, "k");
			a.asked.req.in.authorize.start = starts;
			a.asked.req.in.authorize.validate_only = validates;
			run_away(&f, &a.asked, &absences[i]);
			if (allows && absences[i].is_policys) {
				expect_degraded(
				    &a.asked, CG_DECISION_ALLOWED, WORLD_OUTAGE_LONGEST_MS);
				assert_false(a.asked.req.out.authorize.store.replayed);
				assert_int_equal(
				    a.asked.req.out.authorize.store.price.rate_per_minute.micros,
				    60000);
			} else {
				expect_not_decided(&a.asked, &absences[i]);
			}
			fixture_end(&f);
		}
	}
}

static void test_what_cached_terms_refuse_is_refused(void **state)
{
	static const struct {
		bool allows;
		bool shadow;
		bool frozen;
		bool is_decided;
		const char *resource;
		enum cg_decision decision;
		enum cg_decision shadow_decision;
		int64_t longest_ms;
	} rows[] = {
	    {true, false, true, true, "voice", CG_DECISION_SUSPENDED, CG_DECISION_NONE, 0},
	    {true, false, false, true, "fax", CG_DECISION_NO_PRICE, CG_DECISION_NONE, 0},
	    {true, false, true, true, "fax", CG_DECISION_SUSPENDED, CG_DECISION_NONE, 0},
	    {false, false, true, false, "voice", CG_DECISION_NONE, CG_DECISION_NONE, 0},
	    {false, false, false, false, "fax", CG_DECISION_NONE, CG_DECISION_NONE, 0},
	    /* In shadow mode nothing is refused, whatever the policy. */
	    {true, true, false, true, "voice", CG_DECISION_ALLOWED, CG_DECISION_ALLOWED,
	        WORLD_OUTAGE_LONGEST_MS},
	    {false, true, false, true, "voice", CG_DECISION_ALLOWED, CG_DECISION_NONE, 3600000},
	    {false, true, true, true, "voice", CG_DECISION_ALLOWED, CG_DECISION_SUSPENDED, 3600000},
	    {false, true, false, true, "fax", CG_DECISION_ALLOWED, CG_DECISION_NO_PRICE, 0},
	};
	(void)state;

	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		struct fixture f;
		struct ask a;

		begin(&f, rows[i].allows);
		f.world.is_shadow = rows[i].shadow;
		f.world.wallets[0].ledger.frozen = rows[i].frozen;
		f.world.wallets[0].ledger.terms_version = 100;
		notify_terms(&f);
		authorize(&f, &a, "k");
		a.asked.req.in.authorize.resource_type = cg_view_of(rows[i].resource);
		run_away(&f, &a.asked, &absences[0]);
		if (rows[i].is_decided) {
			expect_degraded(&a.asked, rows[i].decision, rows[i].longest_ms);
			assert_int_equal(a.asked.req.out.authorize.store.shadow_decision,
			    rows[i].shadow_decision);
		} else {
			assert_int_equal(a.asked.req.status, CG_UNAVAILABLE);
		}
		fixture_end(&f);
	}
}

static void test_a_company_that_is_not_cached_is_not_decided(void **state)
{
	(void)state;
	struct fixture f;
	struct ask a;

	begin(&f, true);
	world_put_in_store(world_add_wallet(&f.world, 2, 1000000));
	authorize(&f, &a, "k");
	a.asked.req.company = world_company(2);
	/* The ledger is away as well. */
	run_away(&f, &a.asked, &absences[0]);
	assert_int_equal(a.asked.req.status, CG_UNAVAILABLE);
	fixture_end(&f);
}

/* A store that answers is not away, whatever it answers. */
static void test_what_the_store_refuses_no_policy_allows(void **state)
{
	(void)state;
	struct fixture f;
	struct ask a;

	begin(&f, true);
	f.world.is_outbox_full = true;
	authorize(&f, &a, "k");
	asked_run(&a.asked, &f);
	assert_int_equal(a.asked.req.status, CG_UNAVAILABLE);
	assert_int_equal(a.asked.req.reason, CG_REASON_OUTBOX_FULL);
	f.world.is_outbox_full = false;
	f.world.wallets[0].posted = 0;
	authorize(&f, &a, "l");
	asked_run(&a.asked, &f);
	assert_int_equal(a.asked.req.status, CG_OK);
	assert_false(a.asked.req.out.authorize.degraded);
	assert_int_equal(a.asked.req.out.authorize.store.decision, CG_DECISION_INSUFFICIENT_FUNDS);
	fixture_end(&f);
}

/* Asks by policy: true where it is allowed, false where nothing is decided. */
static bool is_allowed(struct fixture *f, const char *id)
{
	struct ask a;

	authorize(f, &a, id);
	run_away(f, &a.asked, &absences[0]);
	if (a.asked.req.status == CG_OK) {
		expect_degraded(&a.asked, CG_DECISION_ALLOWED, WORLD_OUTAGE_LONGEST_MS);
		return true;
	}
	assert_int_equal(a.asked.req.status, CG_UNAVAILABLE);
	assert_int_equal(a.asked.req.reason, CG_REASON_STORE_UNAVAILABLE);
	return false;
}

static void test_a_repeat_is_answered_the_same_and_counts_once(void **state)
{
	(void)state;
	struct fixture f;
	struct ask a;

	begin(&f, true);
	assert_true(is_allowed(&f, "k"));
	f.world.rate = 70000;
	notify_terms(&f);
	for (unsigned i = 0; i < 3; i++) {
		authorize(&f, &a, "k");
		run_away(&f, &a.asked, &absences[1]);
		expect_degraded(&a.asked, CG_DECISION_ALLOWED, WORLD_OUTAGE_LONGEST_MS);
		assert_true(a.asked.req.out.authorize.store.replayed);
		assert_int_equal(
		    a.asked.req.out.authorize.store.price.rate_per_minute.micros, 60000);
	}
	/* The same id for something else. */
	authorize(&f, &a, "k");
	a.asked.req.in.authorize.destination = CG_VIEW_LITERAL("+4931");
	run_away(&f, &a.asked, &absences[0]);
	assert_int_equal(a.asked.req.status, CG_KEY_REUSED);
	/* Asking only, at the cap or below it, counts nothing. */
	authorize(&f, &a, "asked");
	a.asked.req.in.authorize.validate_only = true;
	run_away(&f, &a.asked, &absences[0]);
	expect_degraded(&a.asked, CG_DECISION_ALLOWED, WORLD_OUTAGE_LONGEST_MS);
	assert_true(is_allowed(&f, "second"));
	assert_false(is_allowed(&f, "third"));
	authorize(&f, &a, "asked");
	a.asked.req.in.authorize.validate_only = true;
	run_away(&f, &a.asked, &absences[0]);
	assert_int_equal(a.asked.req.status, CG_UNAVAILABLE);
	fixture_end(&f);
}

static void run_ending(struct fixture *f, enum cg_method method, const char *id, bool is_away)
{
	struct ask a;

	(void)snprintf(a.id, sizeof a.id, "%s", id);
	if (method == CG_METHOD_SETTLE) {
		asked_settle(&a.asked, f, 1000);
		a.asked.req.in.settle.call_id = cg_view_of(a.id);
	} else if (method == CG_METHOD_ADOPT) {
		asked_adopt(&a.asked, f);
		a.asked.req.in.adopt.call_id = cg_view_of(a.id);
	} else if (method == CG_METHOD_AUTHORIZE) {
		authorize(f, &a, id);
	} else {
		asked_call(&a.asked, f, method);
		/* The first field of each. */
		a.asked.req.in.stop.call_id = cg_view_of(a.id);
	}
	if (is_away) {
		run_away(f, &a.asked, &absences[0]);
	} else {
		asked_run(&a.asked, f);
	}
}

/* Both calls that the cap admits run; does a third find room after this? */
static void test_the_cap_is_on_calls_that_run(void **state)
{
	static const struct {
		enum cg_method method;
		bool is_away;
		bool gives_room;
	} rows[] = {
	    {CG_METHOD_SETTLE, true, true}, {CG_METHOD_SETTLE, false, true},
	    {CG_METHOD_CANCEL, true, true}, {CG_METHOD_STOP, true, true},
	    {CG_METHOD_START, true, false}, {CG_METHOD_START, false, false}, /* not known there */
	    {CG_METHOD_ADOPT, true, false},
	    {CG_METHOD_ADOPT, false, true},     /* metered at the store */
	    {CG_METHOD_AUTHORIZE, true, false}, /* the same again */
	    {CG_METHOD_AUTHORIZE, false, true}, /* held at the store */
	};
	(void)state;

	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		struct fixture f;

		begin(&f, true);
		assert_true(is_allowed(&f, "one"));
		assert_true(is_allowed(&f, "two"));
		assert_false(is_allowed(&f, "three"));
		run_ending(&f, rows[i].method, "none", rows[i].is_away);
		run_ending(&f, rows[i].method, "one", rows[i].is_away);
		if (is_allowed(&f, "four") != rows[i].gives_room) {
			fail_msg("row %zu", i);
		}
		assert_false(is_allowed(&f, "five"));
		fixture_end(&f);
	}
}

static void test_a_call_counts_for_as_long_as_it_may_run(void **state)
{
	(void)state;

	for (unsigned starts = 0; starts < 2; starts++) {
		uint64_t runs_ms = WORLD_OUTAGE_LONGEST_MS + (starts != 0 ? 0 : LEASE_MS);
		struct fixture f;
		struct ask a;

		begin(&f, true);
		authorize(&f, &a, "one");
		a.asked.req.in.authorize.start = starts != 0;
		run_away(&f, &a.asked, &absences[0]);
		assert_true(is_allowed(&f, "two"));
		f.world.now_ms += runs_ms - 1;
		/* Whatever is swept meanwhile. */
		for (unsigned i = 0; i < 64; i++) {
			cg_gate_tick(f.gate);
		}
		assert_int_equal(is_allowed(&f, "three"), false);
		f.world.now_ms += 1;
		assert_true(is_allowed(&f, "four"));
		fixture_end(&f);
	}
}

static void test_the_sidecar_has_a_limit_of_its_own(void **state)
{
	(void)state;
	struct fixture f;
	struct ask a;
	char id[16];

	begin(&f, true);
	for (unsigned company = 10; company < 20; company++) {
		world_put_in_store(world_add_wallet(&f.world, company, 1000000));
	}
	/* Four companies fit into the cache; the limit is 8 calls. */
	for (unsigned n = 0; n < 9; n++) {
		unsigned company = 10 + n / 2;

		(void)snprintf(id, sizeof id, "warm%u", n);
		authorize(&f, &a, id);
		a.asked.req.company = world_company(company);
		asked_run(&a.asked, &f);
		assert_int_equal(a.asked.req.status, CG_OK);
		(void)snprintf(id, sizeof id, "k%u", n);
		authorize(&f, &a, id);
		a.asked.req.company = world_company(company);
		run_away(&f, &a.asked, &absences[0]);
		assert_int_equal(a.asked.req.status, n < 8 ? CG_OK : CG_UNAVAILABLE);
	}
	/* What is over gives its place back without being asked for. */
	f.world.now_ms += WORLD_OUTAGE_LONGEST_MS + LEASE_MS;
	for (unsigned i = 0; i < 64; i++) {
		cg_gate_tick(f.gate);
	}
	authorize(&f, &a, "later");
	a.asked.req.company = world_company(14);
	run_away(&f, &a.asked, &absences[0]);
	assert_int_equal(a.asked.req.status, CG_OK);
	fixture_end(&f);
}

static void test_a_degraded_call_is_settled_late_and_once(void **state)
{
	(void)state;
	struct fixture f;
	struct asked settle;

	begin(&f, true);
	assert_true(is_allowed(&f, "k"));
	asked_settle(&settle, &f, 30000);
	run_away(&f, &settle, &absences[0]);
	assert_int_equal(settle.req.status, CG_UNAVAILABLE);
	for (unsigned i = 0; i < 2; i++) {
		asked_settle(&settle, &f, 30000);
		asked_run(&settle, &f);
		assert_int_equal(settle.req.status, CG_OK);
		assert_int_equal(settle.req.out.settle.store.replayed, i > 0);
		assert_int_equal(settle.req.out.settle.store.cost.micros, 30000);
	}
	assert_int_equal(world_count(&f.world, CG_ENTRY_USAGE, "k"), 1);
	fixture_end(&f);
}

/* What waits for terms, and behind another on its call, is answered in time as well. */
static void test_all_waiting_ends_in_time(void **state)
{
	static const enum cg_method methods[] = {
	    CG_METHOD_AUTHORIZE, CG_METHOD_START, CG_METHOD_STOP, CG_METHOD_CANCEL};
	(void)state;

	for (size_t i = 0; i < CG_COUNT_OF(methods); i++) {
		struct fixture f;
		struct asked first;
		struct asked behind;
		uint64_t began_ms = 0;

		begin(&f, true);
		world_add_wallet(&f.world, 2, 1000000);
		asked_authorize(&first, &f); /* waits for terms that do not come */
		first.req.company = world_company(2);
		if (methods[i] == CG_METHOD_AUTHORIZE) {
			asked_authorize(&behind, &f);
		} else {
			asked_call(&behind, &f, methods[i]);
		}
		behind.req.company = world_company(2);
		first.req.deadline_at_ms = behind.req.deadline_at_ms = f.world.now_ms + 60000;
		began_ms = f.world.now_ms;
		asked_submit(&first, &f);
		asked_submit(&behind, &f);
		for (; f.world.now_ms < began_ms + 260; f.world.now_ms += 5) {
			cg_gate_end_late(f.gate);
			if (behind.dones == 1) {
				break;
			}
		}
		assert_int_equal(first.dones, 1);
		assert_int_equal(first.req.status, CG_UNAVAILABLE);
		if (behind.dones == 0) {
			/* It came to the front, and asks with no time left. */
			assert_int_equal(methods[i] == CG_METHOD_AUTHORIZE, false);
			assert_int_equal(f.world.last_store.deadline_at_ms, began_ms + 250);
		}
		fixture_end(&f);
		assert_int_equal(behind.dones, 1);
	}
}

/* It is the ledger that it waits for, behind another: no outage, and not for long. */
static void test_waiting_behind_another_is_no_outage(void **state)
{
	(void)state;
	struct fixture f;
	struct asked settle;
	struct asked behind;

	begin(&f, true);
	asked_settle(&settle, &f, 1000);
	asked_submit(&settle, &f);
	while (!world_next_is_ledger(&f.world, CG_LEDGER_KEY_READ)) {
		assert_true(world_step(&f.world));
	}
	asked_authorize(&behind, &f);
	asked_submit(&behind, &f);
	f.world.now_ms += 250;
	cg_gate_end_late(f.gate);
	assert_int_equal(behind.dones, 0);
	f.world.now_ms += 10;
	cg_gate_end_late(f.gate);
	cg_gate_end_late(f.gate);
	assert_int_equal(behind.dones, 1);
	assert_int_equal(behind.req.status, CG_UNAVAILABLE);
	assert_int_equal(settle.dones, 0);
	world_run(&f.world);
	assert_int_equal(settle.req.status, CG_OK);
	fixture_end(&f);
}

/* Beginning again, for whatever reason, does not begin the time again. */
static void test_repeating_does_not_extend_the_time(void **state)
{
	static const enum cg_status endings[] = {CG_LOST, CG_RECOVERING};
	(void)state;

	for (size_t i = 0; i < CG_COUNT_OF(endings); i++) {
		struct fixture f;
		struct ask a;

		begin(&f, false);
		uint64_t began_ms = f.world.now_ms;
		authorize(&f, &a, "k");
		asked_submit(&a.asked, &f);
		for (unsigned steps = 0; f.world.pending_count > 0; steps++) {
			assert_true(steps < 10);
			assert_int_equal(f.world.last_store.deadline_at_ms, began_ms + 250);
			assert_int_equal(f.world.last_store.not_after_ms,
			    (int64_t)began_ms + 250 + f.world.store_ahead_ms);
			f.world.now_ms += 90;
			f.world.fault = (struct world_fault){1, endings[i], false};
			(void)world_step(&f.world);
		}
		cg_gate_tick(f.gate);
		assert_int_equal(a.asked.dones, 1);
		assert_true(f.world.now_ms <= began_ms + 270);
		fixture_end(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_policy_decides_where_the_store_is_away),
	    cmocka_unit_test(test_what_cached_terms_refuse_is_refused),
	    cmocka_unit_test(test_what_the_store_refuses_no_policy_allows),
	    cmocka_unit_test(test_a_company_that_is_not_cached_is_not_decided),
	    cmocka_unit_test(test_a_repeat_is_answered_the_same_and_counts_once),
	    cmocka_unit_test(test_the_cap_is_on_calls_that_run),
	    cmocka_unit_test(test_a_call_counts_for_as_long_as_it_may_run),
	    cmocka_unit_test(test_the_sidecar_has_a_limit_of_its_own),
	    cmocka_unit_test(test_a_degraded_call_is_settled_late_and_once),
	    cmocka_unit_test(test_all_waiting_ends_in_time),
	    cmocka_unit_test(test_waiting_behind_another_is_no_outage),
	    cmocka_unit_test(test_repeating_does_not_extend_the_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
