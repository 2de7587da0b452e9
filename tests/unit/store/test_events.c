/*
 * Goal: due work and events mean the same bytes here and in the function library, and no reply
 * does harm.  Their order: test_merge.c.
 *
 * Method: golden bytes, then the same cut at every length and changed byte by byte.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "store/wire.h"
#include "wire_bytes.h"
#include "wire_golden.h"

#define PARTITION 7
#define EPOCH     3
#define NOW_MS    INT64_C(1700000000000)
#define MOST      1000

static struct cg_event told[MOST];

static struct cg_events_op tick_op(void)
{
	return (struct cg_events_op){.verb = CG_EVENTS_TICK, .partition = PARTITION};
}

static struct cg_events_op read_op(uint32_t most)
{
	struct cg_events_op op = {.verb = CG_EVENTS_READ, .partition = PARTITION};

	op.in.read.events = told;
	op.in.read.events_max = most;
	return op;
}

static void assert_command(const struct cg_events_op *op, const char *golden)
{
	char memory[2048];
	struct bytes expected = command_of(golden);
	struct cg_buffer out;

	cg_buffer_init(&out, memory, sizeof memory);
	cg_wire_encode_events(op, EPOCH, &out);
	assert_false(out.overflow);
	assert_int_equal(out.len, expected.len);
	assert_memory_equal(out.data, expected.data, expected.len);
}

static void decode(struct cg_events_op *op, const struct bytes *reply)
{
	cg_wire_decode_events(op, (struct cg_view){reply->data, reply->len});
}

static void test_tick(void **state)
{
	(void)state;
	struct cg_events_op op = tick_op();
	struct bytes reply = bytes_of(tick_reply);

	op.in.tick.events_keep = 10000;
	assert_command(&op, asking_tick_command);
	op.in.tick.wallet_count = 2;
	for (uint8_t i = 0; i < 16; i++) {
		op.in.tick.wallets[0].bytes[i] = i;
		op.in.tick.wallets[1].bytes[i] = (uint8_t)(0xA0 + i);
	}
	assert_command(&op, tick_command);

	decode(&op, &reply);
	assert_int_equal(op.status, CG_OK);
	assert_int_equal(op.now_ms, NOW_MS);
	assert_int_equal(op.out.tick.worked, 2);
	assert_int_equal(op.out.tick.last.event.epoch, EPOCH);
	assert_int_equal(op.out.tick.last.event.n, 11);
	assert_int_equal(op.out.tick.last.entry.n, 12);
	assert_int_equal(op.out.tick.due_count, 2);
	assert_true(cg_uuid_equal(&op.out.tick.due[0].company, &op.in.tick.wallets[0]));
	assert_int_equal(op.out.tick.due[0].at_ms, NOW_MS + 40);
	assert_true(cg_uuid_equal(&op.out.tick.due[1].company, &op.in.tick.wallets[1]));
	assert_int_equal(op.out.tick.due[1].at_ms, NOW_MS + 50);
}

static void test_the_largest_tick_fits_and_a_short_buffer_overflows(void **state)
{
	(void)state;
	char begin[64];
	char memory[CG_WIRE_COMMAND_MAX_BYTES];
	struct cg_events_op op = tick_op();
	struct cg_buffer out;

	op.partition = UINT32_MAX;
	op.in.tick.wallet_count = CG_TICK_WALLETS_MAX;
	cg_buffer_init(&out, memory, sizeof memory);
	cg_wire_encode_events(&op, UINT64_MAX, &out);
	assert_false(out.overflow);
	const char *version = cg_wire_library_name() + strlen("callgate_v");
	int len =
	    snprintf(begin, sizeof begin, "*42\r\n$5\r\nFCALL\r\n$%zu\r\ncg%s_tick\r\n$2\r\n38\r\n",
	        7 + strlen(version), version);
	assert_in_range(len, 1, sizeof begin - 1);
	assert_memory_equal(memory, begin, (size_t)len);
	size_t whole = out.len;

	for (size_t room = 0; room < whole; room += 7) {
		cg_buffer_init(&out, memory, room);
		cg_wire_encode_events(&op, UINT64_MAX, &out);
		assert_true(out.overflow);
	}
}

static void assert_place(const struct cg_event *event, uint64_t event_n, uint64_t entry_n)
{
	assert_int_equal(event->partition, PARTITION);
	assert_int_equal(event->company.bytes[15], 15);
	assert_int_equal(event->position.event.n, event_n);
	assert_int_equal(event->position.entry.n, entry_n);
	assert_int_equal(event->position.entry.epoch, EPOCH);
}

static void assert_settled_and_credited(const struct cg_event *settled)
{
	const struct cg_event *credited = settled + 1;

	assert_place(settled, 5, 0);
	assert_true(settled->is_entry);
	assert_int_equal(settled->type, CG_EVENT_CALL_SETTLED);
	assert_int_equal(settled->at_ms, NOW_MS);
	assert_int_equal(settled->amount.micros, 90005);
	assert_int_equal(settled->available.micros, 999910495);
	assert_int_equal(settled->billed_ms, 60000);
	assert_int_equal(settled->basis, CG_BASIS_POLLED);
	assert_int_equal(settled->meta.pairs.len, 10);
	assert_true(cg_view_equal(settled->call_id, CG_VIEW_LITERAL("call-1")));
	assert_int_equal(settled->reference_id.len, 0);

	assert_place(credited, 5, 1);
	assert_int_equal(credited->type, CG_EVENT_CREDITED);
	assert_int_equal(credited->entry_type, CG_ENTRY_BONUS);
	assert_int_equal(credited->amount.micros, 12345);
	assert_int_equal(credited->exhausts_at_ms, NOW_MS + 777);
	assert_true(cg_view_equal(credited->reference_id, CG_VIEW_LITERAL("ref")));
	assert_int_equal(credited->call_id.len, 0);
}

static void assert_cut_off(const struct cg_event *cut)
{
	assert_place(cut, 6, 1);
	assert_false(cut->is_entry);
	assert_int_equal(cut->type, CG_EVENT_CUT_OFF);
	assert_int_equal(cut->at_ms, NOW_MS + CG_EVENT_CUT_OFF);
	assert_int_equal(cut->available.micros, -77);
	assert_int_equal(cut->exhausts_at_ms, NOW_MS - 3);
	assert_int_equal(cut->repeat, 2);
	assert_true(cut->shadow);
	assert_int_equal(cut->entry_type, CG_ENTRY_NONE);
	assert_int_equal(cut->meta.pairs.len, 6);
	assert_true(cg_view_equal(cut->call_id, CG_VIEW_LITERAL("call-1")));
}

static void assert_corrected_charged_and_abandoned(const struct cg_event *corrected)
{
	const struct cg_event *charged = corrected + 1;
	const struct cg_event *abandoned = corrected + 2;

	assert_place(corrected, 6, 2);
	assert_int_equal(corrected->type, CG_EVENT_CALL_CORRECTED);
	assert_int_equal(corrected->amount.micros, -45000);
	assert_int_equal(corrected->billed_ms, 30000);
	assert_int_equal(corrected->basis, CG_BASIS_REPORTED);
	assert_true(cg_view_equal(corrected->call_id, CG_VIEW_LITERAL("call-0")));

	assert_place(charged, 6, 3);
	assert_int_equal(charged->type, CG_EVENT_CHARGED);
	assert_int_equal(charged->amount.micros, 250);
	assert_int_equal(charged->billed_ms, 0);
	assert_true(cg_view_equal(charged->reference_id, CG_VIEW_LITERAL("rent")));
	assert_int_equal(charged->call_id.len, 0);

	assert_place(abandoned, 6, 4);
	assert_int_equal(abandoned->type, CG_EVENT_CALL_ABANDONED);
	assert_int_equal(abandoned->amount.micros, 180005);
	assert_int_equal(abandoned->billed_ms, 120000);
	assert_int_equal(abandoned->basis, CG_BASIS_ASSUMED);
	assert_true(cg_view_equal(abandoned->call_id, CG_VIEW_LITERAL("call-2")));
}

static void test_read(void **state)
{
	(void)state;
	struct cg_events_op op = read_op(100);
	struct bytes reply = bytes_of(events_reply);

	op.in.read.after = (struct cg_position){.event = {2, 5}, .entry = {1, 4}};
	assert_command(&op, events_command);
	/* Golden places are told in numbers alone: those before are of this epoch. */
	op.in.read.after.event.epoch = EPOCH;
	decode(&op, &reply);
	assert_int_equal(op.status, CG_OK);
	assert_int_equal(op.now_ms, NOW_MS);
	assert_int_equal(op.out.read.count, 7);
	assert_settled_and_credited(&told[0]);
	assert_cut_off(&told[2]);
	assert_corrected_charged_and_abandoned(&told[3]);
	assert_place(&told[6], 7, 4);
	assert_int_equal(told[6].type, CG_EVENT_CALL_DENIED);
	assert_int_equal(told[6].amount.micros, 90006);
	assert_int_equal(told[6].decision, CG_DECISION_INSUFFICIENT_FUNDS);
	assert_int_equal(told[6].shadow_decision, CG_DECISION_CONCURRENCY_LIMIT);
	assert_false(told[6].shadow);
	assert_false(op.out.read.more);
	assert_int_equal(op.out.read.position.event.n, 21);
	assert_int_equal(op.out.read.position.entry.n, 22);
}

static void test_from_now_on(void **state)
{
	(void)state;
	struct cg_events_op op = read_op(0);

	op.in.read.from_now = true;
	assert_command(&op, events_from_now_command);
}

static void test_an_adjustment_without_the_prefix_is_a_credit(void **state)
{
	(void)state;
	struct cg_events_op op = read_op(100);
	struct bytes reply = bytes_of(events_reply);
	char *at = reply.data;

	while (memcmp(at, "correction:", 11) != 0) {
		at++;
	}
	at[0] = 'C';
	decode(&op, &reply);
	assert_int_equal(op.status, CG_OK);
	assert_int_equal(told[3].type, CG_EVENT_CREDITED);
	assert_int_equal(told[3].entry_type, CG_ENTRY_ADJUSTMENT);
	assert_int_equal(told[3].amount.micros, 45000);
	assert_true(cg_view_equal(told[3].reference_id, CG_VIEW_LITERAL("Correction:call-0")));
}

static void test_a_position_too_old_and_a_refused_epoch_are_said(void **state)
{
	(void)state;
	struct cg_events_op read = read_op(10);
	struct cg_events_op tick = tick_op();
	char too_old[10] = {CG_STORE_OUT_OF_RANGE, 0, 9};
	const struct cg_view reply = {too_old, sizeof too_old};

	cg_wire_decode_events(&read, reply);
	assert_int_equal(read.status, CG_OUT_OF_RANGE);
	assert_int_equal(read.now_ms, 9);
	assert_int_equal(read.out.read.count, 0);
	cg_wire_decode_events(&tick, reply);
	assert_int_equal(tick.status, CG_INTERNAL);
	too_old[0] = CG_STORE_ABSENT;
	cg_wire_decode_events(&read, reply);
	assert_int_equal(read.status, CG_INTERNAL);

	cg_wire_decode_events(&read, CG_VIEW_LITERAL("\xfe"));
	assert_int_equal(read.status, CG_RECOVERING);
	cg_wire_decode_events(&tick, CG_VIEW_LITERAL("\xfe"));
	assert_int_equal(tick.status, CG_RECOVERING);
}

static void test_more_wallets_than_there_is_room_for_are_not_taken(void **state)
{
	(void)state;
	struct cg_events_op tick = tick_op();
	struct bytes reply = bytes_of(tick_reply);

	/* Behind the instant, the number of those worked on, and four numbers of ids. */
	reply.data[10 + 4 + 32] = CG_TICK_WALLETS_MAX + 1;
	decode(&tick, &reply);
	assert_int_equal(tick.status, CG_INTERNAL);
	assert_int_equal(tick.out.tick.due_count, 0);
}

/* Cut at every length, and lengthened by a byte. */
static void cut(struct cg_events_op (*make)(void), const struct bytes *reply)
{
	for (size_t len = 0; len <= reply->len + 1; len++) {
		/* On the heap, so that a byte too far is noticed. */
		char *copy = malloc(len + 1);
		assert_non_null(copy);
		memcpy(copy, reply->data, len);
		copy = realloc(copy, len == 0 ? 1 : len);
		struct cg_events_op op = make();
		cg_wire_decode_events(&op, (struct cg_view){copy, len});
		assert_int_equal(op.status, len == reply->len ? CG_OK : CG_INTERNAL);
		free(copy);
	}
}

static void change(struct cg_events_op (*make)(void), const struct bytes *reply)
{
	for (size_t at = 0; at < reply->len; at++) {
		for (unsigned value = 0; value < 256; value += 5) {
			struct bytes changed = *reply;
			changed.data[at] = (char)value;
			struct cg_events_op op = make();
			decode(&op, &changed);
			assert_true(op.status == CG_OK || op.status == CG_INTERNAL ||
			    op.status == CG_OUT_OF_RANGE);
		}
	}
}

static struct cg_events_op read_some(void)
{
	return read_op(10);
}

static void test_broken_replies_do_no_harm(void **state)
{
	(void)state;
	struct bytes ticked = bytes_of(tick_reply);
	struct bytes read = bytes_of(events_reply);

	cut(tick_op, &ticked);
	cut(read_some, &read);
	change(tick_op, &ticked);
	change(read_some, &read);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_tick),
	    cmocka_unit_test(test_the_largest_tick_fits_and_a_short_buffer_overflows),
	    cmocka_unit_test(test_read),
	    cmocka_unit_test(test_from_now_on),
	    cmocka_unit_test(test_an_adjustment_without_the_prefix_is_a_credit),
	    cmocka_unit_test(test_a_position_too_old_and_a_refused_epoch_are_said),
	    cmocka_unit_test(test_more_wallets_than_there_is_room_for_are_not_taken),
	    cmocka_unit_test(test_broken_replies_do_no_harm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
