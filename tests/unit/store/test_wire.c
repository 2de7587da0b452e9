/*
 * Goal: C and the function library mean the same bytes, and no reply can do harm.
 *
 * Method: the commands of a short life of a wallet are compared with golden bytes, and golden
 * replies are decoded; then every reply is cut at every length, lengthened, and changed byte by
 * byte.  Ticks and events: test_events.c.
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

/* Behind outcome, state, instant, currency, cost, billed, balance and available. */
#define SETTLE_REPLY_FLAGS 41

static const struct cg_wire_config config = {
    .partition_count = 16, .ended_max = 500000, .ended_keep_ms = 172800000};

static const struct cg_wallet_terms terms = {
    .version = 9,
    .credit_limit = {500},
    .calls_max = 4,
    .low_balance = {-7},
    .low_balance_remaining_ms = 1,
    .cut_warning_ms = 2,
    .cut_repeat_ms = 5000,
    .currency = {"usd"},
};

static struct cg_store_op op_of(enum cg_store_verb verb)
{
	struct cg_store_op op = {.verb = verb, .terms = terms};

	for (size_t i = 0; i < sizeof op.company.bytes; i++) {
		op.company.bytes[i] = (uint8_t)i;
	}
	return op;
}

static void assert_command(const struct cg_store_op *op, const char *golden)
{
	static char memory[CG_WIRE_COMMAND_MAX_BYTES];
	struct bytes expected = command_of(golden);
	struct cg_buffer out;

	cg_buffer_init(&out, memory, sizeof memory);
	cg_wire_encode(op, PARTITION, EPOCH, &config, &out);
	assert_false(out.overflow);
	assert_int_equal(out.len, expected.len);
	assert_memory_equal(out.data, expected.data, expected.len);
}

static void decode(struct cg_store_op *op, struct bytes *reply, const char *golden)
{
	*reply = bytes_of(golden);
	cg_wire_decode(op, PARTITION, (struct cg_view){reply->data, reply->len});
	assert_int_equal(op->status, CG_OK);
	assert_int_equal(op->outcome, CG_STORE_DONE);
	assert_int_equal(op->as_of_ms, NOW_MS);
	assert_string_equal(op->currency.code, "usd");
}

static void test_load_and_balance(void **state)
{
	(void)state;
	struct cg_store_op op = op_of(CG_STORE_LOAD);
	struct bytes reply;

	op.in.load =
	    (struct cg_store_load_in){.posted = {1000000000}, .version = 2, .announces = true};
	assert_command(&op, load_command);
	decode(&op, &reply, load_reply);

	op = op_of(CG_STORE_BALANCE);
	assert_command(&op, balance_command);
	decode(&op, &reply, balance_reply);
	assert_int_equal(op.out.balance.posted.micros, 1000000000 - 90005 + 12345);
	assert_int_equal(op.out.balance.credit_limit.micros, 500);
	assert_int_equal(op.out.balance.version, 4);
	assert_int_equal(op.out.balance.active_calls, 0);
}

static void test_authorize(void **state)
{
	(void)state;
	struct cg_store_op op = op_of(CG_STORE_AUTHORIZE);
	struct bytes reply;

	op.not_after_ms = NOW_MS + 1;
	op.announces = true;
	op.in.authorize = (struct cg_store_authorize_in){
	    .call_id = CG_VIEW_LITERAL("call-1"),
	    .resource_type = CG_VIEW_LITERAL("voice_outbound"),
	    .destination = CG_VIEW_LITERAL("+4912345"),
	    .meta = {{"\1k\2\0vv", 6}},
	    .has_price = true,
	    .price = {{90000}, {5}, 60000, 6000},
	    .limits = {60000, 3600000, 120000, 5000},
	    .start = true,
	};
	assert_command(&op, authorize_command);
	decode(&op, &reply, authorize_reply);
	assert_int_equal(op.state, CG_CALL_METERING);
	assert_int_equal(op.out.authorize.decision, CG_DECISION_ALLOWED);
	assert_int_equal(op.out.authorize.held.micros, 90006);
	assert_int_equal(op.out.authorize.required.micros, 180006);
	assert_int_equal(op.out.authorize.available.micros, 1000000500 - 90006);
	assert_int_equal(op.out.authorize.max_duration_ms, 3600000);
	assert_int_equal(op.out.authorize.expires_at_ms, NOW_MS + 3600000);
	assert_int_equal(op.out.authorize.price.increment_ms, 6000);
	assert_false(op.out.authorize.replayed);
}

static void test_start_stop_and_cancel(void **state)
{
	(void)state;
	struct cg_store_op op = op_of(CG_STORE_START);

	op.announces = true;
	op.not_after_ms = NOW_MS + 1;
	op.in.start.call_id = CG_VIEW_LITERAL("call-1");
	op.in.start.started_at_ms = NOW_MS - 5;
	assert_command(&op, start_command);

	op = op_of(CG_STORE_STOP);
	op.announces = true;
	op.in.stop.call_id = CG_VIEW_LITERAL("call-1");
	op.in.stop.ended_at_ms = NOW_MS - 6;
	assert_command(&op, stop_command);

	op = op_of(CG_STORE_CANCEL);
	op.announces = true;
	op.in.cancel.call_id = CG_VIEW_LITERAL("call-1");
	assert_command(&op, cancel_command);
}

static void test_a_correction_is_said_by_its_flag(void **state)
{
	(void)state;
	struct cg_store_op op = op_of(CG_STORE_SETTLE);
	struct bytes reply = bytes_of(settle_reply);

	reply.data[SETTLE_REPLY_FLAGS] = 2 | 4 | 8;
	cg_wire_decode(&op, PARTITION, (struct cg_view){reply.data, reply.len});
	assert_int_equal(op.status, CG_OK);
	assert_true(op.out.settle.is_correction);
	assert_true(op.out.settle.replayed);
	assert_true(op.out.settle.late);
	reply.data[SETTLE_REPLY_FLAGS] = 4;
	cg_wire_decode(&op, PARTITION, (struct cg_view){reply.data, reply.len});
	assert_false(op.out.settle.is_correction);
}

static void test_an_abandoned_call_is_answered(void **state)
{
	(void)state;
	struct cg_store_op op = op_of(CG_STORE_GET_CALL);
	struct bytes reply = bytes_of(get_call_reply);

	/* The state stands twice: before the reply and in the call. */
	reply.data[1] = CG_CALL_ABANDONED;
	reply.data[13] = CG_CALL_ABANDONED;
	cg_wire_decode(&op, PARTITION, (struct cg_view){reply.data, reply.len});
	assert_int_equal(op.status, CG_OK);
	assert_int_equal(op.state, CG_CALL_ABANDONED);
	assert_int_equal(op.out.call.state, CG_CALL_ABANDONED);
}

static void test_settle_and_get_call(void **state)
{
	(void)state;
	struct cg_store_op op = op_of(CG_STORE_SETTLE);
	struct bytes reply;

	op.asked = true;
	op.in.settle = (struct cg_store_settle_in){
	    .call_id = CG_VIEW_LITERAL("call-1"),
	    .duration_ms = 7000,
	    .started_at_ms = NOW_MS - 1000,
	    .basis = CG_BASIS_POLLED,
	    .resource_type = CG_VIEW_LITERAL("voice_outbound"),
	    .destination = CG_VIEW_LITERAL("+4912345"),
	    .has_price = true,
	    .price = {{1}, {2}, 3, 4},
	    .meta = {{"\1z\0\0", 4}},
	    .is_assumed = true,
	    .assumed_cost = {180005},
	    .assumed_billed_ms = 120000,
	};
	assert_command(&op, settle_command);
	decode(&op, &reply, settle_reply);
	assert_int_equal(op.out.settle.cost.micros, 90005);
	assert_int_equal(op.out.settle.billed_ms, 60000);
	assert_int_equal(op.out.settle.basis, CG_BASIS_POLLED);
	assert_int_equal(op.out.settle.entry_id.partition, PARTITION);
	assert_int_equal(op.out.settle.entry_id.epoch, EPOCH);
	assert_int_equal(op.out.settle.entry_id.n, 0);
	assert_false(op.out.settle.is_correction);

	op = op_of(CG_STORE_GET_CALL);
	op.in.get_call = CG_VIEW_LITERAL("call-1");
	assert_command(&op, get_call_command);
	decode(&op, &reply, get_call_reply);
	assert_int_equal(op.out.call.state, CG_CALL_SETTLED);
	assert_int_equal(op.out.call.cost.micros, 90005);
	assert_int_equal(op.out.call.duration_ms, 7000);
	assert_true(cg_view_equal(op.out.call.destination, CG_VIEW_LITERAL("+4912345")));
	assert_int_equal(op.out.call.meta.pairs.len, 10);
}

static void test_credit(void **state)
{
	(void)state;
	struct cg_store_op op = op_of(CG_STORE_CREDIT);
	struct bytes reply;

	op.asked = true;
	op.in.credit = (struct cg_store_credit_in){.type = CG_ENTRY_BONUS,
	    .amount = {12345},
	    .reference_id = CG_VIEW_LITERAL("ref"),
	    .description = CG_VIEW_LITERAL("thanks")};
	assert_command(&op, credit_command);
	decode(&op, &reply, credit_reply);
	assert_int_equal(op.out.posted.entry_id.n, 1);
	assert_int_equal(op.out.posted.balance.micros, 1000000000 - 90005 + 12345);
}

static void assert_partition_command(const struct cg_partition_op *op, const char *golden)
{
	char memory[1024];
	struct bytes expected = command_of(golden);
	struct cg_buffer out;

	cg_buffer_init(&out, memory, sizeof memory);
	cg_wire_encode_partition(op, EPOCH, &config, &out);
	assert_false(out.overflow);
	assert_int_equal(out.len, expected.len);
	assert_memory_equal(out.data, expected.data, expected.len);
}

static struct cg_view decode_partition(
    struct cg_partition_op *op, struct bytes *reply, const char *golden)
{
	*reply = bytes_of(golden);
	struct cg_view view = {reply->data, reply->len};
	cg_wire_decode_partition(op, view);
	assert_int_equal(op->status, CG_OK);
	return view;
}

static void assert_correction(const struct cg_ledger_entry_body *body)
{
	assert_int_equal(body->type, CG_ENTRY_ADJUSTMENT);
	assert_true(body->is_correction);
	assert_int_equal(body->quantity, -30000);
	assert_int_equal(body->billed_ms, 30000);
	assert_true(cg_view_equal(body->reference_id, CG_VIEW_LITERAL("correction:call-0")));
	assert_true(cg_view_equal(body->destination, CG_VIEW_LITERAL("+4912345")));
	assert_true(body->has_shadow);
	assert_int_equal(body->shadow_decision, CG_DECISION_INSUFFICIENT_FUNDS);
	assert_int_equal(body->shadow_cut_at_ms, NOW_MS + 9);
	assert_int_equal(body->shadow_saved.micros, 33);
}

static void test_read_trim_and_hello(void **state)
{
	(void)state;
	struct cg_entry entries[10];
	struct bytes reply;
	struct cg_partition_op op = {.verb = CG_PARTITION_READ, .partition = PARTITION};

	op.in.read.entries = entries;
	op.in.read.entries_max = 10;
	assert_partition_command(&op, read_command);
	decode_partition(&op, &reply, read_reply);
	assert_int_equal(op.out.read.count, 3);
	assert_int_equal(op.out.read.trimmed_epoch, 2);
	assert_int_equal(op.out.read.trimmed_n, 7);
	assert_false(op.out.read.more);
	assert_int_equal(entries[0].version, 3);
	assert_int_equal(entries[0].body.available.micros, 999910495);
	assert_false(entries[0].body.is_correction);
	assert_false(entries[0].body.has_shadow);
	assert_int_equal(entries[0].body.amount.micros, -90005);
	assert_int_equal(entries[0].body.started_at_ms, NOW_MS - 1000);
	assert_int_equal(entries[1].id.n, 1);
	assert_int_equal(entries[1].body.type, CG_ENTRY_BONUS);
	assert_true(cg_view_equal(entries[1].body.description, CG_VIEW_LITERAL("thanks")));
	assert_int_equal(entries[1].body.available.micros, 999922840);
	assert_int_equal(entries[1].body.exhausts_at_ms, NOW_MS + 777);
	assert_correction(&entries[2].body);

	op = (struct cg_partition_op){.verb = CG_PARTITION_TRIM, .partition = PARTITION};
	op.in.trim.upto_epoch = EPOCH;
	op.in.trim.upto_n = 1;
	op.in.trim.flushed_epoch = EPOCH;
	op.in.trim.flushed_n = 2;
	op.in.trim.margin_ms = 600000;
	assert_partition_command(&op, trim_command);
	decode_partition(&op, &reply, trim_reply);
	assert_int_equal(op.out.trim.removed, 0);
	assert_int_equal(op.out.trim.length, 2);

	op = (struct cg_partition_op){.verb = CG_PARTITION_HELLO, .partition = PARTITION};
	op.in.hello.partition_count = 16;
	memset(op.in.hello.id.bytes, 'D', sizeof op.in.hello.id.bytes);
	assert_partition_command(&op, hello_command);
	decode_partition(&op, &reply, hello_reply);
	assert_int_equal(op.out.hello.condition, CG_PARTITION_HEALTHY);
	assert_int_equal(op.out.hello.epoch, EPOCH);
	assert_int_equal(op.out.hello.now_ms, NOW_MS);
}

static void test_fence(void **state)
{
	(void)state;
	struct bytes reply;
	struct cg_partition_op op = {.verb = CG_PARTITION_FENCE, .partition = PARTITION};

	op.in.fence.epoch = EPOCH + 1;
	op.in.fence.deployment.partition_count = 16;
	memset(op.in.fence.deployment.id.bytes, 'D', sizeof op.in.fence.deployment.id.bytes);
	op.in.fence.ledger_served = 3;
	op.in.fence.ledger_served_from = 2;
	assert_partition_command(&op, fence_command);
	decode_partition(&op, &reply, fence_reply);
	assert_false(op.out.fence.overtaken);
	assert_int_equal(op.out.fence.former_epoch, 3);
	assert_int_equal(op.out.fence.served_epoch, 2);
	assert_int_equal(op.out.fence.judged_epoch, 3);
	assert_int_equal(op.out.fence.last_epoch, 2);
	assert_int_equal(op.out.fence.last_n, 9);
	assert_int_equal(op.out.fence.trimmed_epoch, 1);
	assert_int_equal(op.out.fence.trimmed_n, 8);
}

static const struct cg_repair_entry corrected_call = {
    .key = {CG_ENTRY_USAGE, {"call-1", 6}},
    .row = {.entry_id = {PARTITION, 2, 4},
        .amount = {-90005},
        .late = true,
        .resource_type = {"voice_outbound", 14},
        .destination = {"+4912345", 8},
        .price = {{90000}, {5}, 0, 1000},
        .duration_ms = 60001,
        .billed_ms = 61000,
        .basis = CG_BASIS_ASSUMED,
        .authorized_at_ms = NOW_MS - 3,
        .started_at_ms = NOW_MS - 2,
        .ended_at_ms = NOW_MS - 1,
        .is_corrected = true,
        .correction_id = {PARTITION, 3, 5},
        .corrected = {30000},
        .corrected_duration_ms = 30001,
        .corrected_billed_ms = 31000,
        .corrected_basis = CG_BASIS_REPORTED,
        .meta = {{"\x01k\x02\x00vv", 6}}},
};

static const struct cg_repair_entry charge = {
    .key = {CG_ENTRY_USAGE, {"rent", 4}},
    .row = {.entry_id = {PARTITION, 2, 1},
        .amount = {-7},
        .is_charge = true,
        .quantity = 3,
        .resource_type = {"phone_number_rental", 19}},
};

static void test_repair(void **state)
{
	(void)state;
	struct bytes reply;
	struct cg_partition_op op = {.verb = CG_PARTITION_REPAIR, .partition = PARTITION};
	const struct cg_repair_entry entries[] = {corrected_call, charge};

	op.in.repair.epoch = EPOCH + 1;
	for (size_t i = 0; i < sizeof op.in.repair.company.bytes; i++) {
		op.in.repair.company.bytes[i] = (uint8_t)i;
	}
	op.in.repair.posted.micros = -77;
	op.in.repair.version = 9;
	op.in.repair.entries = entries;
	op.in.repair.entry_count = 2;
	assert_partition_command(&op, repair_command);
	decode_partition(&op, &reply, repair_reply);
	assert_true(op.out.repair.overtaken);
}

/* What the port admits at most is a command that fits. */
static void test_the_largest_repair_fits(void **state)
{
	(void)state;
	static char memory[CG_WIRE_COMMAND_MAX_BYTES];
	static char text[CG_REPAIR_TEXT_MAX_BYTES];
	struct cg_repair_entry entries[CG_REPAIR_ENTRIES_MOST] = {{.key = {CG_ENTRY_USAGE, {0}}}};
	struct cg_partition_op op = {.verb = CG_PARTITION_REPAIR, .partition = 4095};
	struct cg_buffer out;

	entries[0].row.meta.pairs = (struct cg_view){text, sizeof text};
	op.in.repair.epoch = UINT64_C(1) << 52;
	op.in.repair.entries = entries;
	op.in.repair.entry_count = CG_REPAIR_ENTRIES_MOST;
	cg_buffer_init(&out, memory, sizeof memory);
	cg_wire_encode_partition(&op, EPOCH, &config, &out);
	assert_false(out.overflow);
}

static void test_known_epoch_goes_before_the_one_in_force(void **state)
{
	(void)state;
	struct cg_store_op op = op_of(CG_STORE_CANCEL);
	char memory[512];
	struct cg_buffer out;

	cg_buffer_init(&out, memory, sizeof memory);
	op.known_epoch = 0x0102;
	op.in.cancel.call_id = CG_VIEW_LITERAL("c");
	cg_wire_encode(&op, PARTITION, EPOCH, &config, &out);
	/* The argument: the epoch, flags, 44 bytes of terms, the id, and the line's end. */
	assert_memory_equal(out.data + out.len - 57, "\2\1\0\0\0\0\0\0", 8);
}

static void test_a_refused_epoch_is_recovering(void **state)
{
	(void)state;
	struct cg_store_op op = op_of(CG_STORE_SETTLE);
	struct cg_partition_op read = {.verb = CG_PARTITION_READ};

	cg_wire_decode(&op, PARTITION, CG_VIEW_LITERAL("\xfe"));
	assert_int_equal(op.status, CG_RECOVERING);
	cg_wire_decode_partition(&read, CG_VIEW_LITERAL("\xfe"));
	assert_int_equal(read.status, CG_RECOVERING);
}

static void test_the_longest_command_fits_and_a_short_buffer_overflows(void **state)
{
	(void)state;
	static char memory[CG_WIRE_COMMAND_MAX_BYTES];
	static char meta[16384];
	static char id[CG_CALL_ID_MAX_BYTES];
	struct cg_store_op op = op_of(CG_STORE_AUTHORIZE);
	struct cg_buffer out;

	memset(id, 'x', sizeof id);
	op.in.authorize.call_id = (struct cg_view){id, sizeof id};
	op.in.authorize.meta.pairs = (struct cg_view){meta, sizeof meta};
	cg_buffer_init(&out, memory, sizeof memory);
	cg_wire_encode(&op, 4294967295, EPOCH, &config, &out);
	assert_false(out.overflow);
	size_t whole = out.len;

	for (size_t room = 0; room < whole; room += 97) {
		cg_buffer_init(&out, memory, room);
		cg_wire_encode(&op, 4294967295, EPOCH, &config, &out);
		assert_true(out.overflow);
	}
}

/* Every reply of the library, cut, lengthened and changed: decoded or CG_INTERNAL, never more. */
static void test_broken_replies_do_no_harm(void **state)
{
	(void)state;
	static const struct {
		enum cg_store_verb verb;
		const char *reply;
	} replies[] = {{CG_STORE_AUTHORIZE, authorize_reply}, {CG_STORE_SETTLE, settle_reply},
	    {CG_STORE_CREDIT, credit_reply}, {CG_STORE_BALANCE, balance_reply},
	    {CG_STORE_GET_CALL, get_call_reply}, {CG_STORE_LOAD, load_reply}};

	for (size_t i = 0; i < CG_COUNT_OF(replies); i++) {
		struct bytes reply = bytes_of(replies[i].reply);
		for (size_t len = 0; len <= reply.len + 1; len++) {
			/* On the heap, so that a byte too far is noticed. */
			char *copy = malloc(len + 1);
			assert_non_null(copy);
			memcpy(copy, reply.data, len);
			struct cg_store_op op = op_of(replies[i].verb);
			cg_wire_decode(&op, PARTITION, (struct cg_view){copy, len});
			assert_int_equal(op.status, len == reply.len ? CG_OK : CG_INTERNAL);
			free(copy);
		}
		for (size_t at = 0; at < reply.len; at++) {
			for (unsigned value = 0; value < 256; value += 5) {
				struct bytes changed = reply;
				changed.data[at] = (char)value;
				struct cg_store_op op = op_of(replies[i].verb);
				cg_wire_decode(
				    &op, PARTITION, (struct cg_view){changed.data, changed.len});
				assert_true(op.status == CG_OK || op.status == CG_INTERNAL);
			}
		}
	}
}

static void test_broken_entries_do_no_harm(void **state)
{
	(void)state;
	struct bytes reply = bytes_of(read_reply);
	struct cg_entry entries[10];

	for (size_t at = 0; at < reply.len; at++) {
		for (unsigned value = 0; value < 256; value += 3) {
			struct bytes changed = reply;
			changed.data[at] = (char)value;
			struct cg_partition_op op = {.verb = CG_PARTITION_READ};
			op.in.read.entries = entries;
			op.in.read.entries_max = 10;
			cg_wire_decode_partition(&op, (struct cg_view){changed.data, changed.len});
			assert_true(op.status == CG_OK || op.status == CG_INTERNAL);
		}
		struct cg_partition_op op = {.verb = CG_PARTITION_READ};
		op.in.read.entries = entries;
		op.in.read.entries_max = 10;
		cg_wire_decode_partition(&op, (struct cg_view){reply.data, at});
		assert_int_equal(op.status, CG_INTERNAL);
	}
}

static void test_more_calls_than_asked_for_are_not_taken(void **state)
{
	(void)state;
	struct cg_call call;
	struct cg_store_op op = op_of(CG_STORE_CALLS);
	char reply[13 + 5] = {0};

	op.in.calls.calls = &call;
	op.in.calls.calls_max = 1;
	reply[13] = 2;
	cg_wire_decode(&op, PARTITION, (struct cg_view){reply, sizeof reply});
	assert_int_equal(op.status, CG_INTERNAL);
	reply[13] = 0;
	cg_wire_decode(&op, PARTITION, (struct cg_view){reply, sizeof reply});
	assert_int_equal(op.status, CG_OK);
	assert_int_equal(op.out.calls.count, 0);
}

static void test_the_library_is_in_the_program(void **state)
{
	(void)state;
	struct cg_view library = cg_wire_library();
	char begin[64];

	int len = snprintf(begin, sizeof begin, "#!lua name=%s\n", cg_wire_library_name());
	assert_in_range(len, 1, sizeof begin - 1);
	assert_true(library.len > 10000);
	assert_memory_equal(library.data, begin, (size_t)len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_load_and_balance),
	    cmocka_unit_test(test_authorize),
	    cmocka_unit_test(test_start_stop_and_cancel),
	    cmocka_unit_test(test_settle_and_get_call),
	    cmocka_unit_test(test_a_correction_is_said_by_its_flag),
	    cmocka_unit_test(test_an_abandoned_call_is_answered),
	    cmocka_unit_test(test_credit),
	    cmocka_unit_test(test_read_trim_and_hello),
	    cmocka_unit_test(test_fence),
	    cmocka_unit_test(test_repair),
	    cmocka_unit_test(test_the_largest_repair_fits),
	    cmocka_unit_test(test_known_epoch_goes_before_the_one_in_force),
	    cmocka_unit_test(test_a_refused_epoch_is_recovering),
	    cmocka_unit_test(test_the_longest_command_fits_and_a_short_buffer_overflows),
	    cmocka_unit_test(test_broken_replies_do_no_harm),
	    cmocka_unit_test(test_broken_entries_do_no_harm),
	    cmocka_unit_test(test_more_calls_than_asked_for_are_not_taken),
	    cmocka_unit_test(test_the_library_is_in_the_program),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
