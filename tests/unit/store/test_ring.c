/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* wants the others first */

#include "store/output.h"
#include "store/partitions.h"
#include "store/ring.h"

static int ops[64];

static void push(struct cg_ring *ring, int n, uint64_t deadline_at_ms)
{
	const struct cg_slot slot = {
	    .op = &ops[n], .deadline_at_ms = deadline_at_ms, .kind = CG_SLOT_STORE};

	cg_ring_push(ring, &slot);
}

static void expect(struct cg_ring *ring, int n, bool sent)
{
	struct cg_slot slot;
	bool was_sent = !sent;

	assert_true(cg_ring_pop(ring, &slot, &was_sent));
	assert_ptr_equal(slot.op, n < 0 ? NULL : &ops[n]);
	assert_int_equal(was_sent, sent);
}

static void test_what_was_sent_is_told_from_what_was_not(void **state)
{
	struct cg_ring ring;
	struct cg_slot slot;
	bool sent = false;

	(void)state;
	cg_ring_init(&ring, 5);
	for (int round = 0; round < 20; round++) {
		push(&ring, 1, 10);
		push(&ring, 2, 10);
		cg_ring_sent(&ring);
		push(&ring, 3, 10);
		expect(&ring, 1, true);
		expect(&ring, 2, true);
		expect(&ring, 3, false);
		assert_true(cg_ring_is_empty(&ring));
		assert_false(cg_ring_pop(&ring, &slot, &sent));
	}
	cg_ring_deinit(&ring);
}

static void test_a_full_ring_takes_one_ping(void **state)
{
	struct cg_ring ring;
	const struct cg_slot ping = {.kind = CG_SLOT_OVER};

	(void)state;
	cg_ring_init(&ring, 7); /* 8 slots: the ping is the last one */
	for (int i = 0; i < 7; i++) {
		assert_false(cg_ring_is_full(&ring));
		push(&ring, i, 10);
	}
	assert_true(cg_ring_is_full(&ring));
	cg_ring_push(&ring, &ping);
	cg_ring_sent(&ring);
	for (int i = 0; i < 7; i++) {
		expect(&ring, i, true);
	}
	expect(&ring, -1, true);
	cg_ring_deinit(&ring);
}

static void test_the_overdue_leave_their_places_behind(void **state)
{
	struct cg_ring ring;
	struct cg_slot slot;
	uint64_t cursor = 0;

	(void)state;
	cg_ring_init(&ring, 8);
	assert_true(ring.earliest_ms == CG_RING_NEVER);
	push(&ring, 0, 30);
	push(&ring, 1, 10);
	push(&ring, 2, 20);
	assert_int_equal(ring.earliest_ms, 10);
	cg_ring_sent(&ring);

	assert_true(cg_ring_next_overdue(&ring, 20, &cursor, &slot));
	assert_ptr_equal(slot.op, &ops[1]);
	push(&ring, 3, 15); /* A callback submits while the walk goes on. */
	assert_true(cg_ring_next_overdue(&ring, 20, &cursor, &slot));
	assert_ptr_equal(slot.op, &ops[2]);
	assert_true(cg_ring_next_overdue(&ring, 20, &cursor, &slot));
	assert_ptr_equal(slot.op, &ops[3]);
	assert_false(cg_ring_next_overdue(&ring, 20, &cursor, &slot));
	assert_int_equal(ring.earliest_ms, 30);

	expect(&ring, 0, true);
	expect(&ring, -1, true);
	expect(&ring, -1, true);
	expect(&ring, -1, false);
	assert_true(ring.earliest_ms == CG_RING_NEVER);
	cg_ring_deinit(&ring);
}

static void test_the_walk_survives_a_ring_emptied_under_it(void **state)
{
	struct cg_ring ring;
	struct cg_slot slot;
	uint64_t cursor = 0;

	(void)state;
	cg_ring_init(&ring, 4);
	push(&ring, 0, 1);
	push(&ring, 1, 1);
	assert_true(cg_ring_next_overdue(&ring, 5, &cursor, &slot));
	expect(&ring, -1, false);
	expect(&ring, 1, false);
	push(&ring, 2, 1);
	assert_true(cg_ring_next_overdue(&ring, 5, &cursor, &slot));
	assert_ptr_equal(slot.op, &ops[2]);
	assert_false(cg_ring_next_overdue(&ring, 5, &cursor, &slot));
	cg_ring_deinit(&ring);
}

static void test_commands_gather_while_others_are_on_their_way(void **state)
{
	struct cg_output output;

	(void)state;
	cg_output_init(&output, 64);
	assert_false(cg_output_is_due(&output));
	cg_buffer_bytes(&output.gathering, "one", 3);
	assert_true(cg_output_is_due(&output));
	struct cg_view first = cg_output_take(&output);
	cg_buffer_bytes(&output.gathering, "second", 6);
	assert_true(cg_view_equal(first, cg_view_of("one")));
	assert_false(cg_output_is_due(&output));
	cg_output_written(&output);
	assert_true(cg_output_is_due(&output));
	assert_true(cg_view_equal(cg_output_take(&output), cg_view_of("second")));
	cg_output_reset(&output);
	assert_false(cg_output_is_due(&output));
	cg_buffer_bytes(&output.gathering, "x", 1);
	assert_true(cg_output_is_due(&output));
	cg_output_deinit(&output);
}

static void test_a_refusal_is_news_once_and_only_of_the_epoch_in_force(void **state)
{
	struct cg_partitions partitions;

	(void)state;
	cg_partitions_init(&partitions, 3);
	assert_false(cg_partitions_refuse(&partitions, 1, 0));
	cg_partitions_set(&partitions, 1, 7);
	assert_false(cg_partitions_refuse(&partitions, 1, 6));
	assert_int_equal(cg_partitions_epoch(&partitions, 1), 7);
	assert_true(cg_partitions_refuse(&partitions, 1, 7));
	assert_false(cg_partitions_refuse(&partitions, 1, 7));
	assert_int_equal(cg_partitions_epoch(&partitions, 1), 0);
	cg_partitions_set(&partitions, 2, 9);
	cg_partitions_clear(&partitions);
	assert_int_equal(cg_partitions_epoch(&partitions, 2), 0);
	cg_partitions_deinit(&partitions);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_was_sent_is_told_from_what_was_not),
	    cmocka_unit_test(test_a_full_ring_takes_one_ping),
	    cmocka_unit_test(test_the_overdue_leave_their_places_behind),
	    cmocka_unit_test(test_the_walk_survives_a_ring_emptied_under_it),
	    cmocka_unit_test(test_commands_gather_while_others_are_on_their_way),
	    cmocka_unit_test(test_a_refusal_is_news_once_and_only_of_the_epoch_in_force),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
