/*
 * Operations on one call take effect in the order of their arrival, whatever the first of
 * them has to wait for.
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

/* The order in which operations that move a call reached the store. */
static enum cg_store_verb seen[16];
static unsigned seen_count;

static void note_submit(struct world *world, struct cg_store_op *op)
{
	(void)world;
	if (op->verb <= CG_STORE_ADOPT && seen_count < CG_COUNT_OF(seen)) {
		seen[seen_count++] = op->verb;
	}
}

static void start_noting(struct fixture *f)
{
	fixture_start(f);
	seen_count = 0;
	f->world.on_store_submit = note_submit;
}

/*
 * The wallet is nowhere but in the ledger: Authorize must read its terms first, and Start
 * would find nothing if it went ahead.
 */
static void test_a_start_waits_for_the_authorize_before_it(void **state)
{
	(void)state;
	struct fixture f;
	struct asked authorize;
	struct asked start;

	start_noting(&f);
	world_add_wallet(&f.world, 1, 1000000);
	asked_authorize(&authorize, &f);
	asked_call(&start, &f, CG_METHOD_START);
	asked_submit(&authorize, &f);
	asked_submit(&start, &f);
	world_run(&f.world);
	cg_gate_tick(f.gate);

	assert_int_equal(authorize.req.status, CG_OK);
	assert_int_equal(start.req.status, CG_OK);
	assert_int_equal(start.dones, 1);
	assert_true(seen_count >= 2);
	assert_int_equal(seen[seen_count - 1], CG_STORE_START);
	for (unsigned i = 0; i + 1 < seen_count; i++) {
		assert_int_equal(seen[i], CG_STORE_AUTHORIZE);
	}
	fixture_end(&f);
}

static void test_a_queue_goes_in_order_and_other_calls_pass_it(void **state)
{
	(void)state;
	struct fixture f;
	struct asked first;
	struct asked second;
	struct asked third;
	struct asked other;

	start_noting(&f);
	world_add_wallet(&f.world, 1, 1000000);
	world_put_in_store(world_add_wallet(&f.world, 2, 1000000));
	asked_authorize(&first, &f);
	asked_call(&second, &f, CG_METHOD_START);
	asked_settle(&third, &f, 1000);
	asked_call(&other, &f, CG_METHOD_CANCEL);
	other.req.company = world_company(2);
	asked_submit(&first, &f);
	asked_submit(&second, &f);
	asked_submit(&third, &f);
	asked_submit(&other, &f);
	assert_int_equal(seen_count, 1); /* only the other company's */
	assert_int_equal(seen[0], CG_STORE_CANCEL);
	world_run(&f.world);
	cg_gate_tick(f.gate);

	assert_int_equal(first.req.status, CG_OK);
	assert_int_equal(second.req.status, CG_OK);
	assert_int_equal(third.req.status, CG_OK);
	assert_int_equal(other.req.status, CG_OK);
	assert_int_equal(seen[seen_count - 2], CG_STORE_START);
	assert_int_equal(seen[seen_count - 1], CG_STORE_SETTLE);
	fixture_end(&f);
}

static void test_waiting_for_a_commit_holds_nobody_up(void **state)
{
	(void)state;
	struct fixture f;
	struct asked settle;
	struct asked again;

	start_noting(&f);
	world_put_in_store(world_add_wallet(&f.world, 1, 1000000));
	world_add_call(&f.world, 1, "k", 1);
	asked_settle(&settle, &f, 1000);
	settle.req.in.settle.durability = CG_DURABILITY_COMMITTED;
	asked_settle(&again, &f, 1000);
	asked_submit(&settle, &f);
	asked_submit(&again, &f);
	while (!world_next_is_ledger(&f.world, CG_LEDGER_AWAIT)) {
		assert_true(world_step(&f.world));
	}
	assert_int_equal(seen_count, 2); /* the second is at the store, the first at the ledger */
	world_flush(&f.world);
	world_run(&f.world);

	assert_int_equal(settle.req.status, CG_OK);
	assert_int_equal(again.req.status, CG_OK);
	assert_true(again.req.out.settle.store.replayed);
	fixture_end(&f);
}

static void test_one_that_waited_too_long_is_answered_and_never_sent(void **state)
{
	(void)state;
	struct fixture f;
	struct asked authorize;
	struct asked start;

	start_noting(&f);
	world_add_wallet(&f.world, 1, 1000000);
	asked_authorize(&authorize, &f);
	asked_call(&start, &f, CG_METHOD_START);
	start.req.deadline_at_ms = f.world.now_ms + 50;
	asked_submit(&authorize, &f);
	asked_submit(&start, &f);
	f.world.now_ms += 50;
	cg_gate_tick(f.gate);
	cg_gate_tick(f.gate);
	assert_int_equal(start.dones, 1);
	assert_int_equal(start.req.status, CG_UNAVAILABLE);
	world_run(&f.world);

	assert_int_equal(authorize.req.status, CG_OK);
	for (unsigned i = 0; i < seen_count; i++) {
		assert_int_equal(seen[i], CG_STORE_AUTHORIZE);
	}
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_start_waits_for_the_authorize_before_it),
	    cmocka_unit_test(test_a_queue_goes_in_order_and_other_calls_pass_it),
	    cmocka_unit_test(test_waiting_for_a_commit_holds_nobody_up),
	    cmocka_unit_test(test_one_that_waited_too_long_is_answered_and_never_sent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
