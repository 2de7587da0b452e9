/*
 * Ids, texts, numbers, bytes: what a peer may send and what is read out of it.
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

static void test_uuid_is_read_in_either_case_and_written_in_lower(void **state)
{
	(void)state;
	struct cg_uuid uuid;
	struct cg_uuid again;
	char text[CG_UUID_TEXT_LEN + 1];

	assert_true(cg_uuid_parse(cg_view_of("01234567-89AB-cdef-0123-456789ABCDEF"), &uuid));
	static const uint8_t bytes[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0x01,
	    0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF};
	assert_memory_equal(uuid.bytes, bytes, sizeof bytes);
	cg_uuid_format(&uuid, text);
	assert_string_equal(text, "01234567-89ab-cdef-0123-456789abcdef");
	assert_true(cg_uuid_parse(cg_view_of(text), &again));
	assert_true(cg_uuid_equal(&uuid, &again));
	assert_false(cg_uuid_is_zero(&uuid));
	again.bytes[15] ^= 1;
	assert_false(cg_uuid_equal(&uuid, &again));
	memset(&again, 0, sizeof again);
	assert_true(cg_uuid_is_zero(&again));
}

static void test_uuid_of_any_other_form_is_refused(void **state)
{
	(void)state;
	static const char *const rows[] = {
	    "",
	    "01234567-89ab-cdef-0123-456789abcde",
	    "01234567-89ab-cdef-0123-456789abcdef0",
	    "01234567089ab-cdef-0123-456789abcdef",
	    "0123456-789ab-cdef-0123-456789abcdef",
	    "01234567-89ab-cdef-0123-456789abcdeg",
	    "{1234567-89ab-cdef-0123-456789abcdef",
	    "01234567-89ab-cdef-0123--56789abcdef",
	    " 1234567-89ab-cdef-0123-456789abcdef",
	    "0123456789abcdef0123456789abcdef0123",
	};
	struct cg_uuid uuid = {{7}};

	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		assert_false(cg_uuid_parse(cg_view_of(rows[i]), &uuid));
		assert_int_equal(uuid.bytes[0], 7); /* Written only on success. */
	}
	/* A NUL inside is a byte like any other. */
	char text[37] = "01234567-89ab-cdef-0123-456789abcdef";
	text[20] = '\0';
	assert_false(cg_uuid_parse((struct cg_view){text, CG_UUID_TEXT_LEN}, &uuid));
}

static void test_well_formed_utf8_is_text(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		bool is_text;
	} rows[] = {
	    {"", true},
	    {"plain", true},
	    {"\x7F\x01", true},
	    {"\xC2\x80", true},
	    {"\xDF\xBF", true},
	    {"\xE0\xA0\x80", true},
	    {"\xED\x9F\xBF", true},
	    {"\xEE\x80\x80", true},
	    {"\xEF\xBF\xBF", true},
	    {"\xF0\x90\x80\x80", true},
	    {"\xF4\x8F\xBF\xBF", true},
	    {"a\xC3\xA4z", true},
	    {"\x80", false}, /* a continuation alone */
	    {"\xBF", false},
	    {"\xC0\xAF", false}, /* overlong */
	    {"\xC1\xBF", false},
	    {"\xE0\x9F\xBF", false},
	    {"\xF0\x8F\xBF\xBF", false},
	    {"\xED\xA0\x80", false}, /* surrogates */
	    {"\xED\xBF\xBF", false},
	    {"\xF4\x90\x80\x80", false}, /* above U+10FFFF */
	    {"\xF5\x80\x80\x80", false},
	    {"\xFF", false},
	    {"\xC3", false}, /* cut */
	    {"\xE2\x82", false},
	    {"\xF0\x9F\x98", false},
	    {"\xC3z", false},
	    {"\xE2\x82z", false},
	    {"\xF0\x9F\x98z", false},
	};

	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		/* On the heap, so that a look past the end is seen. */
		size_t len = strlen(rows[i].bytes);
		char *exact = test_malloc(len == 0 ? 1 : len);
		memcpy(exact, rows[i].bytes, len);
		if (cg_view_is_text((struct cg_view){exact, len}) != rows[i].is_text) {
			fail_msg("row %u", (unsigned)i);
		}
		test_free(exact);
	}
	assert_false(cg_view_is_text((struct cg_view){"a\0b", 3}));
	assert_false(cg_view_is_text((struct cg_view){"\0", 1}));
	assert_true(cg_view_is_text((struct cg_view){NULL, 0}));
}

/* Every code point has exactly one encoding that is text, and its neighbours have none. */
static void test_every_code_point_is_text_but_surrogates(void **state)
{
	(void)state;
	for (uint32_t c = 1; c <= 0x110000; c++) {
		char b[4];
		size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
		static const uint8_t leads[] = {0x00, 0xC0, 0xE0, 0xF0};
		for (size_t i = len; i > 1; i--) {
			b[i - 1] = (char)(0x80 | ((c >> (6 * (len - i))) & 0x3F));
		}
		b[0] = (char)(leads[len - 1] | (c >> (6 * (len - 1))));
		bool expected = !(c >= 0xD800 && c <= 0xDFFF) && c <= 0x10FFFF;
		if (cg_view_is_text((struct cg_view){b, len}) != expected) {
			fail_msg("U+%06X", (unsigned)c);
		}
	}
}

static void test_views_compare_as_bytes(void **state)
{
	(void)state;
	assert_true(cg_view_equal(cg_view_of("a"), CG_VIEW_LITERAL("a")));
	assert_false(cg_view_equal(cg_view_of("a"), cg_view_of("ab")));
	assert_true(cg_view_equal(cg_view_of(NULL), cg_view_of("")));
	assert_true(cg_view_compare(cg_view_of(""), cg_view_of("")) == 0);
	assert_true(cg_view_compare(cg_view_of("a"), cg_view_of("ab")) < 0);
	assert_true(cg_view_compare(cg_view_of("ab"), cg_view_of("a")) > 0);
	assert_true(cg_view_compare(cg_view_of("b"), cg_view_of("ab")) > 0);
	assert_true(cg_view_compare(cg_view_of("\x7F"), cg_view_of("\x80")) < 0);
	assert_true(cg_view_compare((struct cg_view){NULL, 0}, cg_view_of("a")) < 0);
}

static void test_integers_are_digits_and_nothing_else(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool is_int;
		int64_t value;
	} rows[] = {
	    {"0", true, 0},
	    {"-1", true, -1},
	    {"007", true, 7},
	    {"999999999999999999", true, INT64_C(999999999999999999)},
	    {"-999999999999999999", true, -INT64_C(999999999999999999)},
	    {"1000000000000000000", false, 0},
	    {"", false, 0},
	    {"-", false, 0},
	    {"--1", false, 0},
	    {"+1", false, 0},
	    {" 1", false, 0},
	    {"1 ", false, 0},
	    {"1.0", false, 0},
	    {"1e3", false, 0},
	    {"0x1", false, 0},
	    {"nan", false, 0},
	};

	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		int64_t value = 42;
		assert_int_equal(
		    cg_view_parse_int(cg_view_of(rows[i].text), &value), rows[i].is_int);
		assert_true(value == (rows[i].is_int ? rows[i].value : 42));
	}
}

static void test_crc32c_has_its_check_values(void **state)
{
	(void)state;
	uint8_t bytes[32];

	assert_int_equal(cg_crc32c("123456789", 9), 0xE3069283);
	assert_int_equal(cg_crc32c("", 0), 0);
	/* RFC 3720, B.4. */
	memset(bytes, 0, sizeof bytes);
	assert_int_equal(cg_crc32c(bytes, sizeof bytes), 0x8A9136AA);
	memset(bytes, 0xFF, sizeof bytes);
	assert_int_equal(cg_crc32c(bytes, sizeof bytes), 0x62A8AB43);
	for (size_t i = 0; i < sizeof bytes; i++) {
		bytes[i] = (uint8_t)i;
	}
	assert_int_equal(cg_crc32c(bytes, sizeof bytes), 0x46DD794E);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_uuid_is_read_in_either_case_and_written_in_lower),
	    cmocka_unit_test(test_uuid_of_any_other_form_is_refused),
	    cmocka_unit_test(test_well_formed_utf8_is_text),
	    cmocka_unit_test(test_every_code_point_is_text_but_surrogates),
	    cmocka_unit_test(test_views_compare_as_bytes),
	    cmocka_unit_test(test_integers_are_digits_and_nothing_else),
	    cmocka_unit_test(test_crc32c_has_its_check_values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
