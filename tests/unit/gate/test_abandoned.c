/*
 * Calls that were charged by assumption, and the lifecycle events that a deployment wants.
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

/* The call "k": 5 s assumed; the ledger has it, the store has forgotten it. */
static void start_abandoned(struct fixture *f)
{
	start_with_wallet(f);
	world_abandon(&f->world, 1, true);
}

static void run_until_ledger(struct fixture *f, enum cg_ledger_verb verb)
{
	while (!world_next_is_ledger(&f->world, verb)) {
		assert_true(world_step(&f->world));
	}
}

static void correct_and_forget(struct fixture *f, int64_t duration_ms)
{
	struct asked a;

	asked_settle(&a, f, duration_ms);
	asked_run(&a, f);
	assert_int_equal(a.req.status, CG_OK);
	assert_true(a.req.out.settle.store.is_correction);
	assert_int_equal(world_count(&f->world, CG_ENTRY_ADJUSTMENT, "correction:k"), 1);
	world_flush(&f->world);
	world_forget(&f->world);
}

/* The views of a settle as it was submitted. */
static struct {
	unsigned count;
	char resource_type[65];
	char destination[17];
	char meta[64];
	size_t meta_bytes;
} sent;

static void look_at_views(struct world *world, struct cg_store_op *op)
{
	if (op->verb != CG_STORE_SETTLE || !op->in.settle.is_assumed) {
		return;
	}
	/* The row's memory is gone by the time the store reads, and what was taken of it not. */
	memset(world->row_bytes, 0xA5, sizeof world->row_bytes);
	const struct cg_store_settle_in *in = &op->in.settle;
	sent.count++;
	memcpy(sent.resource_type, in->resource_type.data, in->resource_type.len);
	memcpy(sent.destination, in->destination.data, in->destination.len);
	assert_in_range(in->meta.pairs.len, 1, sizeof sent.meta);
	memcpy(sent.meta, in->meta.pairs.data, in->meta.pairs.len);
	sent.meta_bytes = in->meta.pairs.len;
}

static void test_forgotten_abandoned_call_is_corrected_by_its_row(void **state)
{
	(void)state;
	static const char meta[] = "\1a\1\0b\1c\1\0d";
	struct fixture f;
	struct asked a;

	start_abandoned(&f);
	f.world.rate = 90000; /* The price of now, which is not the call's. */
	struct cg_ledger_listener listener = cg_gate_listener(f.gate);
	listener.on_terms_changed(listener.owner, NULL);
	world_run(&f.world);
	asked_init(&a, &f, CG_METHOD_GET_BALANCE);
	asked_run(&a, &f);

	memset(&sent, 0, sizeof sent);
	f.world.on_store_submit = look_at_views;
	asked_settle(&a, &f, 2000);
	a.req.in.settle.resource_type = CG_VIEW_LITERAL("video");
	a.req.in.settle.destination = CG_VIEW_LITERAL("+1");
	a.req.in.settle.meta.pairs = (struct cg_view){meta + 5, 5};
	asked_run(&a, &f);

	assert_int_equal(a.req.status, CG_OK);
	const struct cg_store_op *op = &f.world.last_of[CG_STORE_SETTLE];
	assert_true(op->asked);
	assert_int_equal(op->known_epoch, f.world.epoch);
	assert_true(op->in.settle.is_assumed);
	assert_int_equal(op->in.settle.assumed_cost.micros, 5000);
	assert_int_equal(op->in.settle.assumed_billed_ms, 5000);
	assert_true(op->in.settle.has_price);
	assert_int_equal(op->in.settle.price.rate_per_minute.micros, 60000);
	assert_int_equal(op->in.settle.price.increment_ms, 1000);
	assert_int_equal(op->in.settle.started_at_ms, 4711);
	assert_int_equal(op->in.settle.duration_ms, 2000);
	assert_int_equal(sent.count, 1);
	assert_string_equal(sent.resource_type, "voice");
	assert_string_equal(sent.destination, "+4930");
	assert_int_equal(sent.meta_bytes, 10);
	assert_memory_equal(sent.meta, meta, 10);

	assert_int_equal(a.req.out.settle.store.cost.micros, 2000);
	assert_int_equal(a.req.out.settle.store.corrected.micros, -3000);
	assert_int_equal(a.req.out.settle.state, CG_CALL_SETTLED);
	assert_int_equal(world_count(&f.world, CG_ENTRY_USAGE, "k"), 1);
	assert_int_equal(f.world.kick_count, 1);
	fixture_end(&f);
}

static void test_start_as_reported_dates_the_correction(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_abandoned(&f);
	asked_settle(&a, &f, 2000);
	a.req.in.settle.started_at_ms = 99;
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_OK);
	assert_int_equal(f.world.last_of[CG_STORE_SETTLE].in.settle.started_at_ms, 99);
	fixture_end(&f);
}

/* The same duration as assumed is a correction of nothing: the call is settled then. */
static void test_corrected_call_is_told_by_both_rows(void **state)
{
	(void)state;
	static const struct {
		int64_t duration_ms;
		int64_t corrected;
	} rows[] = {{7000, 2000}, {2000, -3000}, {5000, 0}, {0, -5000}};

	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		struct fixture f;
		struct asked a;

		start_abandoned(&f);
		correct_and_forget(&f, rows[i].duration_ms);
		for (int kind = 0; kind < 3; kind++) { /* the same, as metered, another */
			asked_settle(&a, &f, kind == 0 ? rows[i].duration_ms : 1);
			a.req.in.settle.as_metered = kind == 1;
			asked_run(&a, &f);
			assert_int_equal(a.req.status, kind == 2 ? CG_KEY_REUSED : CG_OK);
			assert_int_equal(a.req.has_settled, kind == 2);
			const struct cg_store_settle_out *out = &a.req.out.settle.store;
			assert_true(out->replayed);
			assert_true(out->is_correction);
			assert_int_equal(out->cost.micros, rows[i].duration_ms);
			assert_int_equal(out->billed_ms, rows[i].duration_ms);
			assert_int_equal(out->duration_ms, rows[i].duration_ms);
			assert_int_equal(out->basis, CG_BASIS_REPORTED);
			assert_int_equal(out->corrected.micros, rows[i].corrected);
			assert_int_equal(out->entry_id.n, 2);
			assert_int_equal(out->balance.micros, 1000000 - rows[i].duration_ms);
			assert_int_equal(a.req.out.settle.state, CG_CALL_SETTLED);
		}
		assert_int_equal(world_count(&f.world, CG_ENTRY_ADJUSTMENT, "correction:k"), 1);

		asked_call(&a, &f, CG_METHOD_GET_CALL);
		asked_run(&a, &f);
		assert_int_equal(a.req.out.call.state, CG_CALL_SETTLED);
		assert_int_equal(a.req.out.call.cost.micros, rows[i].duration_ms);
		assert_int_equal(a.req.out.call.billed_ms, rows[i].duration_ms);
		assert_int_equal(a.req.out.call.duration_ms, rows[i].duration_ms);
		assert_int_equal(a.req.out.call.ended_at_ms, 4711 + rows[i].duration_ms);
		assert_int_equal(a.req.out.call.entry_id.n, 2);
		assert_int_equal(a.req.out.call.basis, CG_BASIS_REPORTED);
		fixture_end(&f);
	}
}

static void test_uncorrected_call_is_abandoned(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_abandoned(&f);
	asked_call(&a, &f, CG_METHOD_GET_CALL);
	asked_run(&a, &f);
	assert_int_equal(a.req.out.call.state, CG_CALL_ABANDONED);
	assert_int_equal(a.req.out.call.cost.micros, 5000);
	assert_int_equal(a.req.out.call.basis, CG_BASIS_ASSUMED);

	/* What was metered is not known any more. */
	asked_settle(&a, &f, 0);
	a.req.in.settle.as_metered = true;
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_WRONG_STATE);
	assert_int_equal(a.req.reason, CG_REASON_WRONG_STATE);
	assert_int_equal(a.req.state, CG_CALL_ABANDONED);
	assert_int_equal(f.world.entry_count, 1);
	fixture_end(&f);
}

/* Neither the store's word nor the ledger's row lets an abandoned call go on. */
static void test_abandoned_call_is_over(void **state)
{
	(void)state;
	static const enum cg_method methods[] = {
	    CG_METHOD_START, CG_METHOD_STOP, CG_METHOD_CANCEL, CG_METHOD_ADOPT};
	static const struct {
		bool is_forgotten;
		bool is_corrected;
		enum cg_call_state call_state;
	} rows[] = {{false, false, CG_CALL_ABANDONED}, {true, false, CG_CALL_ABANDONED},
	    {true, true, CG_CALL_SETTLED}};

	for (size_t i = 0; i < CG_COUNT_OF(rows) * CG_COUNT_OF(methods); i++) {
		enum cg_method method = methods[i % CG_COUNT_OF(methods)];
		size_t row = i / CG_COUNT_OF(methods);
		struct fixture f;
		struct asked a;

		start_with_wallet(&f);
		f.world.asks_for_ghosts = true;
		world_abandon(&f.world, 1, rows[row].is_forgotten);
		if (rows[row].is_corrected) {
			correct_and_forget(&f, 2000);
		}
		if (method == CG_METHOD_ADOPT) {
			asked_adopt(&a, &f);
		} else {
			asked_call(&a, &f, method);
		}
		asked_run(&a, &f);
		assert_int_equal(a.req.status, CG_WRONG_STATE);
		assert_int_equal(a.req.reason, CG_REASON_WRONG_STATE);
		assert_int_equal(a.req.state, rows[row].call_state);
		fixture_end(&f);
	}
}

static void test_abandoned_call_is_barred(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_with_wallet(&f);
	world_abandon(&f.world, 1, false);
	asked_authorize(&a, &f);
	asked_run(&a, &f);
	assert_int_equal(a.req.out.authorize.store.decision, CG_DECISION_BARRED);
	asked_call(&a, &f, CG_METHOD_GET_CALL);
	asked_run(&a, &f);
	assert_int_equal(a.req.out.call.state, CG_CALL_ABANDONED);
	asked_charge(&a, &f, 900);
	asked_run(&a, &f);
	assert_int_equal(a.req.status, CG_KEY_REUSED);
	fixture_end(&f);
}

/* Held by the store or not, and also on a replay: what is awaited is the correction's row. */
static void test_committed_correction_waits_for_its_own_row(void **state)
{
	(void)state;

	for (int is_forgotten = 0; is_forgotten < 2; is_forgotten++) {
		struct fixture f;
		struct asked a;

		start_with_wallet(&f);
		world_abandon(&f.world, 1, is_forgotten);
		for (int again = 0; again < 2; again++) {
			asked_settle(&a, &f, 2000);
			a.req.in.settle.durability = CG_DURABILITY_COMMITTED;
			asked_submit(&a, &f);
			run_until_ledger(&f, CG_LEDGER_AWAIT);
			assert_int_equal(a.dones, 0);
			const struct cg_ledger_await_in *in = &f.world.last_ledger.in.await;
			assert_int_equal(in->key.type, CG_ENTRY_ADJUSTMENT);
			assert_true(
			    cg_view_equal(in->key.reference_id, CG_VIEW_LITERAL("correction:k")));
			assert_int_equal(in->entry_id.n, 2);
			world_run(&f.world);
			assert_int_equal(a.req.status, CG_OK);
			assert_int_equal(a.req.out.settle.store.replayed, again);
			assert_int_equal(a.req.out.settle.store.corrected.micros, -3000);
		}
		fixture_end(&f);
	}
}

/* The longest id fits, prefix and all. */
static void test_longest_call_id_is_corrected(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;
	char reference[11 + CG_CALL_ID_MAX_BYTES + 1] = "correction:";

	start_with_wallet(&f);
	world_abandon(&f.world, 1, false);
	memset(reference + 11, 'x', CG_CALL_ID_MAX_BYTES);
	memcpy(f.world.entries[0].reference, reference + 11, CG_CALL_ID_MAX_BYTES + 1);
	asked_settle(&a, &f, 2000);
	a.req.in.settle.call_id = (struct cg_view){reference + 11, CG_CALL_ID_MAX_BYTES};
	a.req.in.settle.durability = CG_DURABILITY_COMMITTED;
	asked_submit(&a, &f);
	run_until_ledger(&f, CG_LEDGER_AWAIT);
	assert_true(
	    cg_view_equal(f.world.last_ledger.in.await.key.reference_id, cg_view_of(reference)));
	world_run(&f.world);
	assert_int_equal(a.req.status, CG_OK);
	fixture_end(&f);
}

/* The correction was booked as a duplicate: the answer is what both rows say. */
static void test_correction_under_another_entry_is_answered_from_the_rows(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	start_abandoned(&f);
	asked_settle(&a, &f, 2000);
	a.req.in.settle.durability = CG_DURABILITY_COMMITTED;
	asked_submit(&a, &f);
	run_until_ledger(&f, CG_LEDGER_AWAIT);
	f.world.entries[1].id.n += 100;
	f.world.entries[1].duration_ms = 3000;
	f.world.entries[1].amount = 2000;
	world_run(&f.world);
	assert_int_equal(a.req.status, CG_KEY_REUSED);
	assert_true(a.req.has_settled);
	assert_int_equal(a.req.out.settle.store.duration_ms, 3000);
	assert_int_equal(a.req.out.settle.store.cost.micros, 3000);
	assert_int_equal(a.req.out.settle.store.entry_id.n, 102);
	fixture_end(&f);
}

/*
 * A store that forgot the abandoned call, authorized and settled its id anew: the flush took
 * that charge back, and the call stays as the ledger has it.
 */
static void test_charge_beside_an_abandoned_call_is_answered_from_the_row(void **state)
{
	(void)state;

	for (int is_other_duration = 0; is_other_duration < 2; is_other_duration++) {
		struct fixture f;
		struct asked a;

		start_with_wallet(&f);
		(void)world_add_call(&f.world, 1, "k", 5);
		asked_settle(&a, &f, 5000 + is_other_duration);
		a.req.in.settle.durability = CG_DURABILITY_COMMITTED;
		asked_submit(&a, &f);
		while (a.dones == 0) {
			/* What the store takes for its own is to the ledger the abandoned call's. */
			struct world_entry *entry = &f.world.entries[0];
			bool is_row = world_next_is_ledger(&f.world, CG_LEDGER_KEY_READ);
			entry->is_assumed = is_row;
			entry->duration_ms = 5000 + (is_row ? 0 : is_other_duration);
			bool is_charge = world_next_is_ledger(&f.world, CG_LEDGER_AWAIT) &&
			    f.world.read_count[CG_LEDGER_AWAIT] <= 2;
			entry->id.n += is_charge ? 100 : 0; /* the third waits for the row itself */
			assert_true(world_step(&f.world));
		}
		assert_int_equal(f.world.read_count[CG_LEDGER_AWAIT], is_other_duration ? 2 : 3);
		assert_int_equal(f.world.entry_count, 1);
		assert_int_equal(a.req.status, is_other_duration ? CG_KEY_REUSED : CG_OK);
		assert_int_equal(a.req.has_settled, is_other_duration);
		assert_int_equal(a.req.out.settle.state, CG_CALL_ABANDONED);
		assert_int_equal(a.req.out.settle.store.basis, CG_BASIS_ASSUMED);
		fixture_end(&f);
	}
}

/* A recovery between the row and its use: the row is read again, and holds only as it is then. */
static void test_row_before_a_recovery_proves_nothing_after_it(void **state)
{
	(void)state;

	for (int kind = 0; kind < 3; kind++) { /* unchanged, corrected elsewhere, gone */
		struct fixture f;
		struct asked a;

		start_abandoned(&f);
		uint64_t epoch = f.world.epoch;
		asked_settle(&a, &f, 2000);
		asked_submit(&a, &f);
		run_until_ledger(&f, CG_LEDGER_KEY_READ);
		(void)world_step(&f.world);
		assert_true(f.world.last_store.in.settle.is_assumed);
		assert_int_equal(f.world.last_store.known_epoch, epoch);

		if (kind == 1) {
			f.world.entries[f.world.entry_count++] =
			    (struct world_entry){.company = world_company(1),
			        .type = CG_ENTRY_ADJUSTMENT,
			        .reference = "correction:k",
			        .amount = 3000,
			        .duration_ms = 2000,
			        .id = {0, 7, 99}};
			world_flush(&f.world);
		} else if (kind == 2) {
			f.world.entries[0].is_lost = true;
		}
		world_forget(&f.world);
		(void)world_step(&f.world); /* Refused: from the beginning. */
		assert_false(f.world.last_store.in.settle.is_assumed);
		assert_false(f.world.last_store.asked);
		world_run(&f.world);
		assert_int_equal(a.req.status, CG_OK);
		assert_int_equal(a.req.out.settle.store.cost.micros, 2000);
		assert_int_equal(a.req.out.settle.store.replayed, kind == 1);
		assert_int_equal(a.req.out.settle.store.late, kind == 2);
		assert_int_equal(
		    world_count(&f.world, CG_ENTRY_ADJUSTMENT, "correction:k"), kind == 2 ? 0 : 1);
		fixture_end(&f);
	}
}

static struct cg_gate_config config_with_events(struct fixture *f, bool lifecycle_events)
{
	struct cg_gate_config config = fixture_config(f);

	config.lifecycle_events = lifecycle_events;
	return config;
}

/* Each is a write more: only where they are wanted, and never of what is not kept. */
static void test_lifecycle_is_announced_where_configured(void **state)
{
	(void)state;

	for (int wanted = 0; wanted < 2; wanted++) {
		static const struct {
			enum cg_method method;
			enum cg_store_verb verb;
		} rows[] = {{CG_METHOD_START, CG_STORE_START}, {CG_METHOD_STOP, CG_STORE_STOP},
		    {CG_METHOD_CANCEL, CG_STORE_CANCEL}};
		struct fixture f;
		struct asked a;
		struct cg_gate_config config = config_with_events(&f, wanted);

		fixture_start_with(&f, &config);
		world_put_in_store(world_add_wallet(&f.world, 1, 1000000));
		asked_authorize(&a, &f);
		asked_run(&a, &f);
		assert_int_equal(f.world.last_of[CG_STORE_AUTHORIZE].announces, wanted);
		for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
			asked_call(&a, &f, rows[i].method);
			asked_run(&a, &f);
			assert_int_equal(f.world.last_of[rows[i].verb].announces, wanted);
		}
		asked_authorize(&a, &f);
		a.req.in.authorize.validate_only = true;
		asked_run(&a, &f);
		assert_false(f.world.last_of[CG_STORE_AUTHORIZE].announces);
		asked_settle(&a, &f, 1000);
		asked_run(&a, &f);
		assert_false(f.world.last_of[CG_STORE_SETTLE].announces);
		fixture_end(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_forgotten_abandoned_call_is_corrected_by_its_row),
	    cmocka_unit_test(test_start_as_reported_dates_the_correction),
	    cmocka_unit_test(test_corrected_call_is_told_by_both_rows),
	    cmocka_unit_test(test_uncorrected_call_is_abandoned),
	    cmocka_unit_test(test_abandoned_call_is_over),
	    cmocka_unit_test(test_abandoned_call_is_barred),
	    cmocka_unit_test(test_committed_correction_waits_for_its_own_row),
	    cmocka_unit_test(test_longest_call_id_is_corrected),
	    cmocka_unit_test(test_correction_under_another_entry_is_answered_from_the_rows),
	    cmocka_unit_test(test_charge_beside_an_abandoned_call_is_answered_from_the_row),
	    cmocka_unit_test(test_row_before_a_recovery_proves_nothing_after_it),
	    cmocka_unit_test(test_lifecycle_is_announced_where_configured),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
