/*
 * Goal: the two streams of a partition become one sequence, the same for every reader, and none
 * is led backwards or nowhere.
 *
 * Method: a table of merges, one per line; long streams that are read in random pieces; replies
 * that break a rule each, and records that cannot be read.
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

#define PARTITION 7
#define EPOCH     3
#define MOST      128

/* Without texts. */
#define EVENT_BYTES 72
#define ENTRY_BYTES 132

static struct cg_event told[MOST];

static struct cg_events_op read_op(uint32_t most)
{
	struct cg_events_op op = {.verb = CG_EVENTS_READ, .partition = PARTITION};

	op.in.read.events = told;
	op.in.read.events_max = most;
	return op;
}

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
	bool is_odd[64];      /* cannot be read */
	uint32_t count;
	bool goes_on;
	uint64_t last;
};

/*
 * "1@0 2@3 4! +": an event 1 written after entry 0, 2 after entry 3, a record 4 that cannot be
 * read, and more to be read.
 */
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
			list.is_odd[list.count] = *end == '!';
			end += *end == '!';
			list.last = list.n[list.count++];
			text = end;
		}
		text += *text == ' ';
	}
	return list;
}

/* The layout's number of the record that begins at `at` is none. */
static void spoil(struct cg_buffer *out, size_t at)
{
	out->data[at + 16 + 4] = 99;
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
		size_t at = out->len;
		put_event(out, events->n[i], events->written[i]);
		if (events->is_odd[i]) {
			spoil(out, at);
		}
	}
	for (uint32_t i = 0; i < entries->count; i++) {
		size_t at = out->len;
		put_entry(out, entries->n[i], 1);
		if (entries->is_odd[i]) {
			spoil(out, at);
		}
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
	/* Events as e<n>, entries as <n>; then whether more, the position, and how many were left out. */
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
    {"an event that cannot be read", "1@0 2! 3@1", "1 2", "0/0", NULL, 9, "e1 1 e3 2 = 3/2 !1"},
    {"several, the first and the last too", "1! 2! 3@0 4!", "1", "0/0", NULL, 9, "e3 1 = 4/1 !3"},
    {"an entry that cannot be read", "1@2", "1 2! 3", "0/0", NULL, 9, "1 e1 3 = 1/3 !1"},
    {"nothing else", "5!", "7!", "0/0", NULL, 9, "= 5/7 !2"},
    {"nothing else yet", "5! +", "7", "0/0", "9/9", 9, "+ 5/0 !1"},
    {"one that goes back as well", "2@0 1!", "", "0/0", NULL, 9, "broken"},
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
	len += (size_t)snprintf(text + len, size - len, "%s %llu/%llu",
	    op->out.read.more ? "+" : "=", (unsigned long long)op->out.read.position.event.n,
	    (unsigned long long)op->out.read.position.entry.n);
	if (op->out.read.skipped > 0) {
		(void)snprintf(text + len, size - len, " !%u", op->out.read.skipped);
	}
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

static void test_more_than_was_asked_for_is_not_taken(void **state)
{
	(void)state;
	struct cg_events_op op = read_op(2);
	struct list three = list_of("1 2 3");
	struct list none = {0};

	cg_wire_decode_events(&op, reply_of(&three, &none));
	assert_int_equal(op.status, CG_INTERNAL);
	cg_wire_decode_events(&op, reply_of(&none, &three));
	assert_int_equal(op.status, CG_INTERNAL);
	assert_int_equal(op.out.read.count, 0);
}

static void test_an_amount_that_has_no_opposite_is_left_out(void **state)
{
	(void)state;
	struct cg_events_op op = read_op(2);
	struct list none = {0};
	struct list one = list_of("1");
	struct cg_view reply = reply_of(&none, &one);

	made.out.len -= 16 + 4 + ENTRY_BYTES;
	put_entry(&made.out, 1, INT64_MIN);
	cg_wire_decode_events(&op, reply);
	assert_int_equal(op.status, CG_OK);
	assert_int_equal(op.out.read.count, 0);
	assert_int_equal(op.out.read.skipped, 1);
}

/* Each with one byte more in its blob than its layout has. */
static void test_records_that_go_on_are_left_out(void **state)
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
		assert_int_equal(op.status, CG_OK);
		assert_int_equal(op.out.read.count, 0);
		assert_int_equal(op.out.read.skipped, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_both_streams_become_one),
	    cmocka_unit_test(test_from_now_on_there_is_a_position_and_nothing_else),
	    cmocka_unit_test(test_every_reader_finds_the_same_order),
	    cmocka_unit_test(test_more_than_was_asked_for_is_not_taken),
	    cmocka_unit_test(test_an_amount_that_has_no_opposite_is_left_out),
	    cmocka_unit_test(test_records_that_go_on_are_left_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
