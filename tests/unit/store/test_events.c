/*
 * Goal: due work and events mean the same bytes here and in the function library; the two
 * streams become one sequence, the same for every reader; no reply does harm.
 *
 * Method: golden bytes; a table of merges, one per line; long streams that are read in random
 * pieces; and replies that are cut, changed, or lead backwards.
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

/* Without texts. */
#define EVENT_BYTES 72
#define ENTRY_BYTES 132

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
	struct bytes expected = bytes_of(golden);
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
	static const char begin[] = "*42\r\n$5\r\nFCALL\r\n$8\r\ncg1_tick\r\n$2\r\n38\r\n";
	char memory[CG_WIRE_COMMAND_MAX_BYTES];
	struct cg_events_op op = tick_op();
	struct cg_buffer out;

	op.partition = UINT32_MAX;
	op.in.tick.wallet_count = CG_TICK_WALLETS_MAX;
	cg_buffer_init(&out, memory, sizeof memory);
	cg_wire_encode_events(&op, UINT64_MAX, &out);
	assert_false(out.overflow);
	assert_memory_equal(memory, begin, sizeof begin - 1);
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

/* ------------------------------------------------------------------ replies made up here */

struct reply {
	char memory[262144];
	struct cg_buffer out;
};

static struct reply made;

static void put_id(struct cg_buffer *out, uint64_t n)
{
	cg_buffer_uint(out, EPOCH, 8);
	cg_buffer_uint(out, n, 8);
}

static void put_zeros(struct cg_buffer *out, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		cg_buffer_uint(out, 0, 1);
	}
}

static void put_event(struct cg_buffer *out, uint64_t n, uint64_t written)
{
	put_id(out, n);
	cg_buffer_uint(out, EVENT_BYTES, 4);
	cg_buffer_uint(out, 1, 1);
	cg_buffer_uint(out, CG_EVENT_CUT_WARNING, 1);
	put_zeros(out, 16 + 6);
	put_id(out, written);
	put_zeros(out, 8 + 8 + 6 + 4 + 3 + 1 + 2);
}

/* A bonus of so many micros. */
static void put_entry(struct cg_buffer *out, uint64_t n, int64_t micros)
{
	put_id(out, n);
	cg_buffer_uint(out, ENTRY_BYTES, 4);
	cg_buffer_uint(out, 2, 1);
	put_zeros(out, 16 + 8);
	cg_buffer_uint(out, CG_ENTRY_BONUS, 1);
	cg_buffer_uint(out, (uint64_t)micros, 8);
	put_zeros(out, 8 + 6 + 1 + 8 + 24 + 3 + 4 + 4 + 1 + 6 + 6 + 6 + 8 + 6 + 1 + 2 + 1 + 1 + 2);
}

struct list {
	uint64_t n[64];
	uint64_t written[64]; /* of events */
	uint32_t count;
	bool goes_on;
	uint64_t last;
};

/* "1@0 2@3 +": an event 1 written after entry 0, 2 after entry 3, and more to be read. */
static struct list list_of(const char *text)
{
	struct list list = {0};

	while (*text != '\0') {
		char *end = NULL;

		if (*text == '+') {
			list.goes_on = true;
			text++;
		} else {
			list.n[list.count] = strtoull(text, &end, 10);
			if (*end == '@') {
				list.written[list.count] = strtoull(end + 1, &end, 10);
			}
			list.last = list.n[list.count++];
			text = end;
		}
		text += *text == ' ';
	}
	return list;
}

static struct cg_view reply_of(const struct list *events, const struct list *entries)
{
	struct cg_buffer *out = &made.out;

	cg_buffer_init(out, made.memory, sizeof made.memory);
	put_zeros(out, 2 + 8);
	put_id(out, events->last);
	put_id(out, entries->last);
	cg_buffer_uint(out, events->goes_on, 1);
	cg_buffer_uint(out, entries->goes_on, 1);
	cg_buffer_uint(out, events->count, 4);
	cg_buffer_uint(out, entries->count, 4);
	for (uint32_t i = 0; i < events->count; i++) {
		put_event(out, events->n[i], events->written[i]);
	}
	for (uint32_t i = 0; i < entries->count; i++) {
		put_entry(out, entries->n[i], 1);
	}
	assert_false(out->overflow);
	return cg_buffer_view(out);
}

struct merge_row {
	const char *what;
	const char *events;
	const char *entries;
	const char *after; /* "event/entry" */
	const char *last;  /* NULL: those of the lists */
	uint32_t room;
	/* Events as e<n>, entries as <n>; then whether more, and the position. */
	const char *expected;
};

static const struct merge_row merge_rows[] = {
    {"nothing new", "", "", "4/6", "4/6", 9, "= 4/6"},
    {"the lists end before the streams", "", "", "4/6", "9/8", 9, "= 9/8"},
    {"a position is never behind `after`", "", "", "4/6", "3/5", 9, "= 4/6"},
    {"one part of it behind", "5@6", "", "4/6", "5/5", 9, "e5 = 5/6"},
    {"events alone", "1@0 2@0", "", "0/0", "2/0", 9, "e1 e2 = 2/0"},
    {"entries alone", "", "1 2", "0/0", "0/2", 9, "1 2 = 0/2"},
    {"a tie: the entry it was written after is first", "1@1", "1", "0/0", NULL, 9, "1 e1 = 1/1"},
    {"before the next entry", "1@1", "2", "0/1", NULL, 9, "e1 2 = 1/2"},
    {"woven", "1@0 2@2 3@2 4@3", "1 2 3 4", "0/0", NULL, 9, "e1 1 2 e2 e3 3 e4 4 = 4/4"},
    {"gaps in the ids", "10@15 20@15", "15 16", "0/0", NULL, 9, "15 e10 e20 16 = 20/16"},
    {"an event that lies below what was read", "5@2", "7", "4/6", NULL, 9, "e5 7 = 5/7"},
    {"events goes on: no entry after the last", "1@0 2@1 +", "1 2 3", "0/0", NULL, 9,
        "e1 1 e2 + 2/1"},
    {"entries go on: no event above the last", "1@0 2@2 3@5", "1 2 3 +", "0/0", NULL, 9,
        "e1 1 2 e2 3 + 2/3"},
    {"entries go on: an event at the last", "1@3", "1 2 3 +", "0/0", NULL, 9, "1 2 3 e1 + 1/3"},
    {"entries go on: none of them came", "1@6 2@7", "+", "0/6", "9/9", 9, "e1 + 1/6"},
    {"both go on", "1@0 2@1 +", "1 2 +", "0/0", "9/9", 9, "e1 1 e2 + 2/1"},
    {"both go on: all events are above", "1@7 +", "1 2 +", "0/0", "9/9", 9, "1 2 + 0/2"},
    {"entries trimmed away", "1@5 2@6", "", "0/0", "2/6", 9, "e1 e2 = 2/6"},
    {"no room: an entry is left", "1@1", "1 2", "0/0", NULL, 2, "1 e1 + 1/1"},
    {"no room: an event is left", "1@1", "1", "0/0", NULL, 1, "1 + 0/1"},
    {"just enough room", "1@1", "1 2", "0/0", NULL, 3, "1 e1 2 = 1/2"},
    {"room, but the streams go on", "1@1 +", "1", "0/0", "9/9", 2, "1 e1 + 1/1"},
    {"an event twice, the second one left for later", "1@1 1@1", "1", "0/0", NULL, 2, "broken"},
    {"events that go back", "2@0 1@0", "", "0/0", NULL, 9, "broken"},
    {"an entry twice", "", "1 1", "0/0", NULL, 9, "broken"},
    {"an event that was told", "4@0", "", "4/0", NULL, 9, "broken"},
    {"an entry that was told", "", "6", "0/6", NULL, 9, "broken"},
    {"more, but nothing of it", "+", "", "0/0", "9/9", 9, "broken"},
    {"more, but nothing that may be told", "1@9", "+", "0/0", "9/9", 9, "broken"},
    {"more, and the wrong half of it", "+", "1", "0/0", "9/9", 9, "broken"},
};

static void describe(const struct cg_events_op *op, char *text, size_t size)
{
	size_t len = 0;

	if (op->status != CG_OK) {
		(void)snprintf(
		    text, size, "%s", op->status == CG_INTERNAL ? "broken" : "another status");
		return;
	}
	for (uint32_t i = 0; i < op->out.read.count; i++) {
		const struct cg_event *e = &told[i];
		uint64_t n = e->is_entry ? e->position.entry.n : e->position.event.n;

		len += (size_t)snprintf(text + len, size - len, "%s%llu ", e->is_entry ? "" : "e",
		    (unsigned long long)n);
	}
	(void)snprintf(text + len, size - len, "%s %llu/%llu", op->out.read.more ? "+" : "=",
	    (unsigned long long)op->out.read.position.event.n,
	    (unsigned long long)op->out.read.position.entry.n);
}

static void set_pair(const char *text, uint64_t *event, uint64_t *entry)
{
	char *end = NULL;

	*event = strtoull(text, &end, 10);
	*entry = strtoull(end + 1, NULL, 10);
}

static void test_both_streams_become_one(void **state)
{
	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(merge_rows); i++) {
		const struct merge_row *row = &merge_rows[i];
		struct list events = list_of(row->events);
		struct list entries = list_of(row->entries);
		struct cg_events_op op = read_op(row->room);
		struct cg_position *after = &op.in.read.after;
		char text[256];

		after->event.epoch = EPOCH;
		after->entry.epoch = EPOCH;
		set_pair(row->after, &after->event.n, &after->entry.n);
		if (row->last != NULL) {
			set_pair(row->last, &events.last, &entries.last);
		}
		cg_wire_decode_events(&op, reply_of(&events, &entries));
		describe(&op, text, sizeof text);
		if (strcmp(text, row->expected) != 0) {
			fail_msg("%s: %s instead of %s", row->what, text, row->expected);
		}
	}
}

static void test_from_now_on_there_is_a_position_and_nothing_else(void **state)
{
	(void)state;
	struct cg_events_op op = read_op(0);
	struct list events = {.last = 5};
	struct list entries = {.last = 6};

	op.in.read.from_now = true;
	assert_command(&op, events_from_now_command);
	op.in.read.after.event.epoch = UINT64_MAX; /* Says nothing. */
	cg_wire_decode_events(&op, reply_of(&events, &entries));
	assert_int_equal(op.status, CG_OK);
	assert_int_equal(op.out.read.count, 0);
	assert_false(op.out.read.more);
	assert_int_equal(op.out.read.position.event.n, 5);
	assert_int_equal(op.out.read.position.event.epoch, EPOCH);
	assert_int_equal(op.out.read.position.entry.n, 6);

	entries = list_of("1");
	cg_wire_decode_events(&op, reply_of(&events, &entries));
	assert_int_equal(op.status, CG_INTERNAL);
	entries = list_of("+");
	cg_wire_decode_events(&op, reply_of(&events, &entries));
	assert_int_equal(op.status, CG_INTERNAL);
}

/* What the store does: up to `most` after an id; where it counted so many, there may be more. */
static struct list piece_of(const struct list *all, uint64_t after, uint32_t most)
{
	struct list piece = {.last = all->last};

	for (uint32_t i = 0; i < all->count && piece.count < most; i++) {
		if (all->n[i] > after) {
			piece.n[piece.count] = all->n[i];
			piece.written[piece.count++] = all->written[i];
		}
	}
	piece.goes_on = piece.count == most;
	return piece;
}

static struct list random_list(struct cg_random *random)
{
	struct list list = {0};
	uint64_t count = cg_random_below(random, CG_COUNT_OF(list.n));

	for (list.count = 0; list.count < count; list.count++) {
		list.last += 1 + cg_random_below(random, 3);
		list.n[list.count] = list.last;
	}
	return list;
}

/* Events in their order, each written at an instant when some of the entries were there. */
static void place(struct list *events, const struct list *entries, struct cg_random *random)
{
	uint64_t written = 0;

	for (uint32_t i = 0; i < events->count; i++) {
		written += cg_random_below(random, 4);
		events->written[i] = written < entries->last ? written : entries->last;
	}
}

/* Reads to the end in pieces; the sequence as text. */
static void read_all(const struct list *events, const struct list *entries,
    struct cg_random *random, char *text, size_t size)
{
	struct cg_position after = {{EPOCH, 0}, {EPOCH, 0}};
	bool more = true;
	size_t len = 0;

	text[0] = '\0';
	for (unsigned rounds = 0; more; rounds++) {
		uint32_t most = random == NULL ? 64 : 1 + (uint32_t)cg_random_below(random, 9);
		struct cg_events_op op = read_op(random == NULL ? 128 : most);
		struct list some_events = piece_of(events, after.event.n, most);
		struct list some_entries = piece_of(entries, after.entry.n, most);

		op.in.read.after = after;
		cg_wire_decode_events(&op, reply_of(&some_events, &some_entries));
		assert_int_equal(op.status, CG_OK);
		for (uint32_t i = 0; i < op.out.read.count; i++) {
			uint64_t n =
			    told[i].is_entry ? told[i].position.entry.n : told[i].position.event.n;
			len += (size_t)snprintf(text + len, size - len, "%s%u ",
			    told[i].is_entry ? "" : "e", (unsigned)n);
		}
		after = op.out.read.position;
		more = op.out.read.more;
		assert_true(rounds < 200);
	}
	assert_int_equal(after.event.n, events->last);
	assert_int_equal(after.entry.n, entries->last);
}

static void test_every_reader_finds_the_same_order(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 2000; seed++) {
		static char whole[2048];
		static char pieced[2048];
		struct cg_random random;

		cg_random_init(&random, seed);
		struct list events = random_list(&random);
		struct list entries = random_list(&random);
		place(&events, &entries, &random);
		read_all(&events, &entries, NULL, whole, sizeof whole);
		read_all(&events, &entries, &random, pieced, sizeof pieced);
		if (strcmp(whole, pieced) != 0) {
			fail_msg("seed %u: %s instead of %s", (unsigned)seed, pieced, whole);
		}
	}
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

static void test_more_than_was_asked_for_is_not_taken(void **state)
{
	(void)state;
	struct cg_events_op op = read_op(2);
	struct list three = list_of("1 2 3");
	struct list none = {0};
	struct cg_events_op tick = tick_op();
	struct bytes reply = bytes_of(tick_reply);

	cg_wire_decode_events(&op, reply_of(&three, &none));
	assert_int_equal(op.status, CG_INTERNAL);
	cg_wire_decode_events(&op, reply_of(&none, &three));
	assert_int_equal(op.status, CG_INTERNAL);
	assert_int_equal(op.out.read.count, 0);

	/* Behind the instant, the number of those worked on, and four numbers of ids. */
	reply.data[10 + 4 + 32] = CG_TICK_WALLETS_MAX + 1;
	decode(&tick, &reply);
	assert_int_equal(tick.status, CG_INTERNAL);
	assert_int_equal(tick.out.tick.due_count, 0);
}

static void test_an_amount_that_has_no_opposite_is_refused(void **state)
{
	(void)state;
	struct cg_events_op op = read_op(2);
	struct list none = {0};
	struct list one = list_of("1");
	struct cg_view reply = reply_of(&none, &one);

	made.out.len -= 16 + 4 + ENTRY_BYTES;
	put_entry(&made.out, 1, INT64_MIN);
	cg_wire_decode_events(&op, reply);
	assert_int_equal(op.status, CG_INTERNAL);
}

/* Each with one byte more in its blob than its layout has. */
static void test_records_that_go_on_are_refused(void **state)
{
	(void)state;
	struct list none = {0};
	struct list one = list_of("1");

	for (unsigned is_event = 0; is_event < 2; is_event++) {
		struct cg_events_op op = read_op(2);
		size_t bytes = is_event != 0 ? EVENT_BYTES : ENTRY_BYTES;

		(void)(is_event != 0 ? reply_of(&one, &none) : reply_of(&none, &one));
		made.memory[made.out.len - bytes - 4] = (char)(bytes + 1);
		put_zeros(&made.out, 1);
		cg_wire_decode_events(&op, cg_buffer_view(&made.out));
		assert_int_equal(op.status, CG_INTERNAL);
	}
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
	    cmocka_unit_test(test_an_adjustment_without_the_prefix_is_a_credit),
	    cmocka_unit_test(test_both_streams_become_one),
	    cmocka_unit_test(test_from_now_on_there_is_a_position_and_nothing_else),
	    cmocka_unit_test(test_every_reader_finds_the_same_order),
	    cmocka_unit_test(test_a_position_too_old_and_a_refused_epoch_are_said),
	    cmocka_unit_test(test_more_than_was_asked_for_is_not_taken),
	    cmocka_unit_test(test_an_amount_that_has_no_opposite_is_refused),
	    cmocka_unit_test(test_records_that_go_on_are_refused),
	    cmocka_unit_test(test_broken_replies_do_no_harm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
