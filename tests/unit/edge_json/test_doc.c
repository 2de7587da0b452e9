/*
 * JSON read in place: what is a document, what its values say.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "edge/json/doc.h"
#include "edge/json/out.h"

static enum cg_status check(const char *text, struct cg_view *ret_value)
{
	struct cg_error err = {{0}};
	enum cg_status status = cg_doc_check(cg_view_of(text), 100, ret_value, &err);

	assert_true(status == CG_OK || err.text[0] != '\0');
	return status;
}

static void test_what_is_json_and_what_is_not(void **state)
{
	static const char *const good[] = {"{}", "[]", "null", "true", "-0", "0.5e-3", "1E+2",
	    "\"\"", " { \"a\" : [ 1 , { } , \"\\u00e9\\\\\\/\" ] }\n", "\"\xc3\xa9\"", "[[[[1]]]]"};
	static const char *const bad[] = {"", " ", "{", "[1,]", "{\"a\"}", "{\"a\":1,}", "{a:1}",
	    "01", "1.", ".5", "+1", "1e", "nul", "truee", "\"", "\"\\x\"", "\"\\u12\"", "\"\n\"",
	    "[1] 2", "'a'", "{\"a\":1 \"b\":2}", "NaN", "Infinity", "-", "[1 2]", "/**/1",
	    "\xef\xbb\xbf{}"};
	struct cg_view value;

	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(good); i++) {
		assert_int_equal(check(good[i], &value), CG_OK);
	}
	for (size_t i = 0; i < CG_COUNT_OF(bad); i++) {
		assert_int_equal(check(bad[i], &value), CG_INVALID);
	}
}

/* A valid document cut at any place is none, and is never read beyond the cut. */
static void test_every_beginning_of_a_document_is_refused(void **state)
{
	static const char whole[] = "{\"a\":[1,-2.5e3,\"x\\u00e9\\n\",{\"b\":null}],\"c\":true}";
	struct cg_view value;
	struct cg_error err;

	(void)state;
	for (size_t len = 0; len < sizeof whole - 1; len++) {
		char *copy = malloc(len + 1); /* so that a byte too far is seen */
		assert_non_null(copy);
		memcpy(copy, whole, len);
		assert_int_equal(
		    cg_doc_check((struct cg_view){copy, len}, 100, &value, &err), CG_INVALID);
		free(copy);
	}
	assert_int_equal(check(whole, &value), CG_OK);
}

static void test_depth_count_and_numbers_have_limits(void **state)
{
	char text[300];
	struct cg_view value;

	(void)state;
	for (size_t depth = 1; depth <= 100; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		text[2 * depth] = '\0';
		assert_int_equal(
		    check(text, &value), depth <= CG_DOC_DEPTH_MAX ? CG_OK : CG_INVALID);
	}
	for (int digits = 1; digits <= 60; digits++) {
		memset(text, '1', (size_t)digits);
		text[digits] = '\0';
		assert_int_equal(
		    check(text, &value), digits <= CG_DOC_NUMBER_BYTES_MAX ? CG_OK : CG_INVALID);
	}
	for (int count = 1; count <= 110; count++) {
		size_t len = 0;
		text[len++] = '[';
		for (int i = 0; i < count; i++) {
			text[len++] = '1';
			text[len++] = i + 1 < count ? ',' : ']';
		}
		text[len] = '\0';
		assert_int_equal(check(text, &value), count + 1 <= 100 ? CG_OK : CG_INVALID);
	}
}

static void test_members_are_found_in_one_pass_and_the_last_one_counts(void **state)
{
	static const char *const names[] = {"a", "none", "b"};
	struct cg_view v[3];
	struct cg_view value;

	(void)state;
	assert_int_equal(
	    check(" {\"a\":1,\"x\":{\"a\":9},\"b\" : [2] , \"a\":\"three\"}", &value), CG_OK);
	cg_doc_members(value, names, 3, v);
	assert_true(cg_doc_is(v[0], "three"));
	assert_int_equal(cg_doc_type(v[1]), CG_DOC_NONE);
	assert_int_equal(cg_doc_type(v[2]), CG_DOC_ARRAY);
	cg_doc_members(v[2], names, 3, v);
	assert_int_equal(cg_doc_type(v[0]), CG_DOC_NONE);
}

static void test_strings_are_unescaped_bounded_and_text(void **state)
{
	static const struct {
		const char *raw;
		const char *text; /* NULL: not to be had */
	} rows[] = {
	    {"\"\"", ""},
	    {"\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "a\"\\/\b\f\n\r\t"},
	    {"\"\\u0041\\u00e9\\u20ac\"", "A\xc3\xa9\xe2\x82\xac"},
	    {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80"},
	    {"\"\\ud83d\"", "\xef\xbf\xbd"},
	    {"\"\\ude00x\"", "\xef\xbf\xbdx"},
	    {"\"\\ud83d\\u0041\"",
	        "\xef\xbf\xbd"
	        "A"},
	    {"\"a\\u0000b\"", NULL},
	    {"\"\xff\"", NULL},
	    {"\"0123456789abcdef\"", NULL},
	    {"\"0123456789abcde\"", "0123456789abcde"},
	    {"17", NULL},
	    {"null", NULL},
	};
	char text[16];

	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		struct cg_view value;
		assert_int_equal(check(rows[i].raw, &value), CG_OK);
		assert_int_equal(cg_doc_string(value, text, sizeof text), rows[i].text != NULL);
		assert_string_equal(text, rows[i].text == NULL ? "" : rows[i].text);
	}
}

static void test_decimals_are_exact(void **state)
{
	/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): as a row is read */
	static const struct {
		const char *raw;
		int scale;
		int64_t scaled;
		bool is_one;
	} rows[] = {
	    {"0", 6, 0, true},
	    {"0.1123", 6, 112300, true},
	    {"0.0000005", 6, 1, true},
	    {"0.00000049999", 6, 0, true},
	    {"-0.0000005", 6, -1, true},
	    {"1.005", 2, 101, true},
	    {"42.7", 3, 42700, true},
	    {"1e3", 0, 1000, true},
	    {"1.5E-1", 3, 150, true},
	    {"12.999999999999999999999999", 0, 13, true},
	    {"99999999999999999999", 0, 0, false},
	    {"1e19", 0, 0, false},
	    {"1e-400", 6, 0, true},
	    {"1e-9999", 6, 0, false},
	    {"\"17.5\"", 1, 175, true},
	    {"\"17.5x\"", 1, 0, false},
	    {"\"\"", 1, 0, false},
	    {"null", 1, 0, false},
	    {"999999999999999999", 0, INT64_C(999999999999999999), true},
	};

	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		int64_t scaled = 0;
		struct cg_view value;
		assert_int_equal(check(rows[i].raw, &value), CG_OK);
		assert_int_equal(cg_doc_decimal(value, rows[i].scale, &scaled), rows[i].is_one);
		assert_int_equal(scaled, rows[i].scaled);
	}
}

static void test_what_is_written_is_json_again(void **state)
{
	char memory[256];
	struct cg_out out;
	struct cg_view value;
	struct cg_error err;
	char text[32];

	(void)state;
	cg_out_init(&out, memory, sizeof memory);
	cg_out_object(&out, NULL);
	cg_out_text(&out, "a\"b", "x\n\x01\x7f\\\"\xc3\xa9");
	cg_out_int(&out, "n", INT64_MIN);
	cg_out_array(&out, "list");
	cg_out_bool(&out, NULL, true);
	cg_out_object(&out, NULL);
	cg_out_end(&out, '}');
	cg_out_end(&out, ']');
	cg_out_raw(&out, "raw", CG_VIEW_LITERAL("1.50"));
	cg_out_end(&out, '}');
	assert_false(out.buffer.overflow);
	assert_int_equal(cg_doc_check(cg_out_view(&out), 100, &value, &err), CG_OK);
	struct cg_doc_walk walk;
	struct cg_view key;
	struct cg_view each;
	cg_doc_walk(&walk, value);
	assert_true(cg_doc_next(&walk, &key, &each));
	assert_true(cg_doc_string(each, text, sizeof text));
	assert_string_equal(text, "x\n\x01\x7f\\\"\xc3\xa9");
	assert_true(cg_doc_is(cg_doc_member(value, "raw"), "x") == false);
	for (size_t room = 0; room < 60; room++) {
		cg_out_init(&out, memory, room);
		cg_out_object(&out, NULL);
		cg_out_text(&out, "key", "a text that takes more than there is of room for it");
		cg_out_end(&out, '}');
		assert_true(out.buffer.overflow);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_is_json_and_what_is_not),
	    cmocka_unit_test(test_every_beginning_of_a_document_is_refused),
	    cmocka_unit_test(test_depth_count_and_numbers_have_limits),
	    cmocka_unit_test(test_members_are_found_in_one_pass_and_the_last_one_counts),
	    cmocka_unit_test(test_strings_are_unescaped_bounded_and_text),
	    cmocka_unit_test(test_decimals_are_exact),
	    cmocka_unit_test(test_what_is_written_is_json_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
