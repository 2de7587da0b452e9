/*
 * Buffers, cursors, slabs, lists: memory that somebody else owns, with an end.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

static void test_what_a_buffer_takes_a_cursor_reads(void **state)
{
	(void)state;
	char memory[64];
	struct cg_buffer buffer;
	struct cg_cursor cursor;

	cg_buffer_init(&buffer, memory, sizeof memory);
	cg_buffer_uint(&buffer, 0x1234, 2);
	cg_buffer_uint(&buffer, UINT64_MAX, 8);
	cg_buffer_uint(&buffer, (uint64_t)INT64_C(-5), 5);
	cg_buffer_text(&buffer, CG_VIEW_LITERAL("abc"), 1);
	cg_buffer_text(&buffer, (struct cg_view){NULL, 0}, 2);
	cg_buffer_printf(&buffer, "%d-%s", 7, "x");
	assert_false(buffer.overflow);
	assert_int_equal(buffer.len, 2 + 8 + 5 + 4 + 2 + 3);
	assert_int_equal((uint8_t)memory[0], 0x34); /* Little-endian. */

	cg_cursor_init(&cursor, cg_buffer_view(&buffer));
	assert_int_equal(cg_cursor_uint(&cursor, 2), 0x1234);
	assert_true(cg_cursor_uint(&cursor, 8) == UINT64_MAX);
	assert_true(cg_cursor_int(&cursor, 5) == -5);
	assert_true(cg_view_equal(cg_cursor_text(&cursor, 1), CG_VIEW_LITERAL("abc")));
	assert_int_equal(cg_cursor_text(&cursor, 2).len, 0);
	assert_true(cg_view_equal(cg_cursor_bytes(&cursor, 3), CG_VIEW_LITERAL("7-x")));
	assert_int_equal(cursor.left, 0);
	assert_false(cursor.overrun);
}

static void test_integers_keep_their_sign_at_every_width(void **state)
{
	(void)state;
	for (size_t width = 1; width <= 8; width++) {
		int64_t high = width == 8 ? INT64_MAX : (INT64_C(1) << (8 * width - 1)) - 1;
		int64_t values[] = {0, 1, -1, high, -high - 1};
		for (size_t i = 0; i < CG_COUNT_OF(values); i++) {
			char memory[8];
			struct cg_buffer buffer;
			struct cg_cursor cursor;
			cg_buffer_init(&buffer, memory, sizeof memory);
			cg_buffer_uint(&buffer, (uint64_t)values[i], width);
			cg_cursor_init(&cursor, cg_buffer_view(&buffer));
			assert_true(cg_cursor_int(&cursor, width) == values[i]);
		}
	}
}

static void test_full_buffer_takes_no_more(void **state)
{
	(void)state;
	char *memory = test_malloc(4);
	struct cg_buffer buffer;

	cg_buffer_init(&buffer, memory, 4);
	cg_buffer_bytes(&buffer, "abcd", 4);
	assert_false(buffer.overflow);
	cg_buffer_bytes(&buffer, NULL, 0);
	assert_false(buffer.overflow);
	cg_buffer_bytes(&buffer, "e", 1);
	assert_true(buffer.overflow);

	/* One look at the end is enough: nothing gets in after the first that did not fit. */
	cg_buffer_init(&buffer, memory, 4);
	cg_buffer_bytes(&buffer, "abcde", 5);
	cg_buffer_bytes(&buffer, "x", 1);
	cg_buffer_uint(&buffer, 1, 1);
	cg_buffer_printf(&buffer, "y");
	assert_true(buffer.overflow);
	assert_int_equal(buffer.len, 0);

	cg_buffer_init(&buffer, memory, 4);
	cg_buffer_printf(&buffer, "%s", "abcdefgh");
	assert_true(buffer.overflow);
	assert_int_equal(buffer.len, 0);
	test_free(memory);
}

static void test_text_longer_than_its_length_field_overflows(void **state)
{
	(void)state;
	static char text[65536];
	static char memory[70000];
	struct cg_buffer buffer;

	cg_buffer_init(&buffer, memory, sizeof memory);
	cg_buffer_text(&buffer, (struct cg_view){text, 255}, 1);
	cg_buffer_text(&buffer, (struct cg_view){text, 65535}, 2);
	assert_false(buffer.overflow);
	cg_buffer_init(&buffer, memory, sizeof memory);
	cg_buffer_text(&buffer, (struct cg_view){text, 256}, 1);
	assert_true(buffer.overflow);
	cg_buffer_init(&buffer, memory, sizeof memory);
	cg_buffer_text(&buffer, (struct cg_view){text, 65536}, 2);
	assert_true(buffer.overflow);
}

static void test_cursor_past_the_end_reads_zeros(void **state)
{
	(void)state;
	struct cg_cursor cursor;

	cg_cursor_init(&cursor,
	    (struct cg_view){"\x05"
	                     "ab",
	        3});
	assert_int_equal(cg_cursor_text(&cursor, 1).len, 0); /* Says five, has two. */
	assert_true(cursor.overrun);
	assert_int_equal(cg_cursor_uint(&cursor, 1), 0);
	assert_int_equal(cg_cursor_bytes(&cursor, 0).len, 0);
	assert_true(cursor.overrun);

	cg_cursor_init(&cursor, (struct cg_view){NULL, 0});
	assert_false(cursor.overrun);
	assert_true(cg_cursor_int(&cursor, 8) == 0);
	assert_true(cursor.overrun);
}

static void test_slab_gives_each_cell_once(void **state)
{
	(void)state;
	struct cg_slab slab;
	char *cells[5];

	assert_int_equal(cg_slab_init(&slab, 17, 5), CG_OK);
	for (size_t i = 0; i < 5; i++) {
		cells[i] = cg_slab_take(&slab);
		assert_non_null(cells[i]);
		assert_int_equal((uintptr_t)cells[i] % _Alignof(max_align_t), 0);
		memset(cells[i], (int)i, 17);
	}
	assert_null(cg_slab_take(&slab));
	assert_int_equal(cg_slab_taken_count(&slab), 5);
	for (size_t i = 0; i < 5; i++) {
		for (size_t k = 0; k < 17; k++) {
			assert_int_equal(cells[i][k], i);
		}
	}
	cg_slab_give(&slab, cells[2]);
	assert_int_equal(cg_slab_taken_count(&slab), 4);
	assert_ptr_equal(cg_slab_take(&slab), cells[2]);
	for (size_t i = 0; i < 5; i++) {
		cg_slab_give(&slab, cells[i]);
	}
	cg_slab_deinit(&slab);
}

struct item {
	struct cg_list link;
	int number;
};

static int number_of(struct cg_list *link)
{
	return link == NULL ? 0 : CG_CONTAINER_OF(link, struct item, link)->number;
}

static void test_list_keeps_its_order(void **state)
{
	(void)state;
	struct cg_list head;
	struct item items[4] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};

	cg_list_init(&head);
	assert_true(cg_list_is_empty(&head));
	assert_null(cg_list_pop(&head));
	for (size_t i = 0; i < 4; i++) {
		cg_list_append(&head, &items[i].link);
	}
	cg_list_remove(&items[1].link);
	cg_list_remove(&items[1].link); /* In no list: harmless. */
	assert_true(cg_list_is_empty(&items[1].link));
	cg_list_append(&head, &items[1].link);
	assert_int_equal(number_of(cg_list_pop(&head)), 1);
	assert_int_equal(number_of(cg_list_pop(&head)), 3);
	assert_int_equal(number_of(cg_list_pop(&head)), 4);
	assert_int_equal(number_of(cg_list_pop(&head)), 2);
	assert_true(cg_list_is_empty(&head));
	assert_null(cg_list_pop(&head));
}

static void test_random_replays_its_seed(void **state)
{
	(void)state;
	struct cg_random a;
	struct cg_random b;
	unsigned seen[7] = {0};

	cg_random_init(&a, 9);
	cg_random_init(&b, 9);
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t below = cg_random_below(&a, 7);
		assert_true(below == cg_random_below(&b, 7));
		assert_in_range(below, 0, 6);
		seen[below]++;
	}
	for (unsigned i = 0; i < 7; i++) {
		assert_in_range(seen[i], 90, 200);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_a_buffer_takes_a_cursor_reads),
	    cmocka_unit_test(test_integers_keep_their_sign_at_every_width),
	    cmocka_unit_test(test_full_buffer_takes_no_more),
	    cmocka_unit_test(test_text_longer_than_its_length_field_overflows),
	    cmocka_unit_test(test_cursor_past_the_end_reads_zeros),
	    cmocka_unit_test(test_slab_gives_each_cell_once),
	    cmocka_unit_test(test_list_keeps_its_order),
	    cmocka_unit_test(test_random_replays_its_seed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
