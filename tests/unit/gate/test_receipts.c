/*
 * Receipts that nobody has applied yet.
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

/* The views are gone when this returns, as the port says. */
static void announce(struct fixture *f, const char *reference, int64_t amount)
{
	struct cg_ledger_listener listener = cg_gate_listener(f->gate);
	struct cg_uuid company = world_company(1);
	char text[64];

	assert_true((size_t)snprintf(text, sizeof text, "%s", reference) < sizeof text);
	struct cg_ledger_receipt_in due = {
	    .type = CG_ENTRY_TOP_UP, .amount = {amount}, .reference_id = cg_view_of(text)};
	listener.on_receipt_due(listener.owner, &company, &due);
	memset(text, 'x', sizeof text);
}

static void test_due_receipt_is_applied_once(void **state)
{
	(void)state;
	struct fixture f;

	fixture_start(&f);
	world_put_in_store(world_add_wallet(&f.world, 1, 100));
	announce(&f, "pay-1", 50);
	announce(&f, "pay-1", 50); /* While it is being applied. */
	assert_int_equal(f.world.pending_count, 1);
	assert_int_equal(cg_gate_inflight_count(f.gate), 1);
	world_run(&f.world);
	announce(&f, "pay-1", 50); /* Again, its entry not being flushed. */
	world_run(&f.world);
	world_flush(&f.world);
	announce(&f, "pay-1", 50);
	world_run(&f.world);
	assert_int_equal(world_count(&f.world, CG_ENTRY_TOP_UP, "pay-1"), 1);
	assert_int_equal(f.world.wallets[0].posted, 150);
	assert_int_equal(cg_gate_inflight_count(f.gate), 0);
	fixture_end(&f);
}

static void test_receipt_and_its_caller_credit_once(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	(void)world_add_wallet(&f.world, 1, 100);
	asked_credit(&a, &f, 500);
	asked_submit(&a, &f);
	announce(&f, "k", 500);
	world_run(&f.world);
	assert_int_equal(a.req.status, CG_OK);
	assert_int_equal(world_count(&f.world, CG_ENTRY_TOP_UP, "k"), 1);
	fixture_end(&f);
}

/* receipts_max is 2: the third is announced again later. */
static void test_receipts_beyond_the_limit_wait_for_their_next_turn(void **state)
{
	(void)state;
	struct fixture f;

	fixture_start(&f);
	world_put_in_store(world_add_wallet(&f.world, 1, 100));
	announce(&f, "a", 1);
	announce(&f, "b", 1);
	announce(&f, "c", 1);
	assert_int_equal(f.world.pending_count, 2);
	world_run(&f.world);
	assert_int_equal(f.world.entry_count, 2);
	announce(&f, "c", 1);
	world_run(&f.world);
	assert_int_equal(world_count(&f.world, CG_ENTRY_TOP_UP, "c"), 1);
	fixture_end(&f);
}

static void test_receipt_is_applied_whatever_failed_before(void **state)
{
	(void)state;
	static const enum cg_status endings[] = {
	    CG_TIMEOUT, CG_LOST, CG_UNAVAILABLE, CG_RECOVERING, CG_INTERNAL, CG_FULL};

	for (size_t e = 0; e < CG_COUNT_OF(endings); e++) {
		for (unsigned at = 1; at <= 6; at++) {
			for (int acts = 0; acts < (cg_status_is_unknown(endings[e]) ? 2 : 1);
			     acts++) {
				struct fixture f;
				fixture_start(&f);
				(void)world_add_wallet(&f.world, 1, 100);
				f.world.fault = (struct world_fault){at, endings[e], acts != 0};
				announce(&f, "pay-1", 50);
				world_run(&f.world);
				assert_int_equal(cg_gate_inflight_count(f.gate), 0);
				f.world.fault.at = 0;
				announce(&f, "pay-1", 50);
				world_run(&f.world);
				assert_int_equal(
				    world_count(&f.world, CG_ENTRY_TOP_UP, "pay-1"), 1);
				fixture_end(&f);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_due_receipt_is_applied_once),
	    cmocka_unit_test(test_receipt_and_its_caller_credit_once),
	    cmocka_unit_test(test_receipts_beyond_the_limit_wait_for_their_next_turn),
	    cmocka_unit_test(test_receipt_is_applied_whatever_failed_before),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
