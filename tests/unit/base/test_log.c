/*
 * What people read: log lines, error texts, names of statuses.
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
#include "log_pipe.h"

/* The lines written since the last look, without their instants. */
static const char *written(void)
{
	const char *text = log_pipe_said();

	assert_int_equal(strncmp(text, "at=20", 5), 0);
	const char *rest = strstr(text, " level=");
	assert_non_null(rest);
	assert_int_equal(rest - text, (int)strlen("at=2026-11-22T09:48:13.123Z"));
	return rest + 1;
}

static void test_line_is_logfmt(void **state)
{
	(void)state;
	cg_log(CG_LOG_INFO, "store connected", "address", "unix:/run/r", "attempt", cg_log_int(-3),
	    "empty", NULL, "none", "", NULL);
	assert_string_equal(written(),
	    "level=info msg=\"store connected\" address=unix:/run/r "
	    "attempt=-3 empty=\"\" none=\"\"\n");
	cg_log(CG_LOG_ERROR, "short", NULL);
	assert_string_equal(written(), "level=error msg=short\n");
}

/* Whatever a peer's text holds, it stays one value of one line. */
static void test_no_value_can_forge_a_line(void **state)
{
	(void)state;
	static const struct {
		const char *value;
		const char *line;
	} rows[] = {
	    {"a b", "level=warn msg=x v=\"a b\"\n"},
	    {"a=b", "level=warn msg=x v=\"a=b\"\n"},
	    {"a\"b", "level=warn msg=x v=\"a\\\"b\"\n"},
	    {"a\\b", "level=warn msg=x v=\"a\\\\b\"\n"},
	    {"a\nlevel=fatal", "level=warn msg=x v=\"a\\x0alevel=fatal\"\n"},
	    {"a\rb\tc", "level=warn msg=x v=\"a\\x0db\\x09c\"\n"},
	    {"\x1B[2J", "level=warn msg=x v=\"\\x1b[2J\"\n"},
	    {"\x7F", "level=warn msg=x v=\"\\x7f\"\n"},
	    {"\xC3\xA4", "level=warn msg=x v=\"\xC3\xA4\"\n"},
	};

	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		cg_log(CG_LOG_WARN, "x", "v", rows[i].value, NULL);
		assert_string_equal(written(), rows[i].line);
	}
}

static void test_long_line_is_cut_and_ended(void **state)
{
	(void)state;
	static char value[5000];

	memset(value, 'v', sizeof value - 1);
	cg_log(CG_LOG_WARN, "x", "a", value, "b", "after", NULL);
	const char *line = written();
	size_t len = strlen(line);
	assert_in_range(len, 1, 1024);
	assert_int_equal(line[len - 1], '\n');
	memset(value, '\n', sizeof value - 1);
	cg_log(CG_LOG_WARN, "x", "a", value, NULL);
	line = written();
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	assert_in_range(strlen(line), 900, 1024);
}

static void test_levels_below_are_silent(void **state)
{
	(void)state;
	cg_log(CG_LOG_DEBUG, "debug", NULL);
	cg_log_set_level(CG_LOG_WARN);
	cg_log(CG_LOG_INFO, "info", NULL);
	cg_log(CG_LOG_WARN, "warn", NULL);
	cg_log_set_level(CG_LOG_INFO);
	assert_string_equal(written(), "level=warn msg=warn\n");
}

static void test_limit_counts_what_it_holds_back(void **state)
{
	(void)state;
	struct cg_log_limit limit = {0};
	uint64_t held_back = 99;

	assert_true(cg_log_limit_admits(&limit, 1000, 100, &held_back));
	assert_int_equal(held_back, 0);
	for (unsigned i = 0; i < 5; i++) {
		assert_false(cg_log_limit_admits(&limit, 1099, 100, &held_back));
	}
	assert_true(cg_log_limit_admits(&limit, 1100, 100, &held_back));
	assert_int_equal(held_back, 5);
	assert_true(cg_log_limit_admits(&limit, 1200, 100, &held_back));
	assert_int_equal(held_back, 0);
}

static void test_numbers_of_one_line_stay_apart(void **state)
{
	(void)state;
	const char *texts[8];

	for (int i = 0; i < 8; i++) {
		texts[i] = cg_log_int(i == 0 ? INT64_MIN : i);
	}
	assert_string_equal(texts[0], "-9223372036854775808");
	assert_string_equal(texts[1], "1");
	assert_string_equal(texts[7], "7");
}

static void test_errors_are_built_from_the_outside_in(void **state)
{
	(void)state;
	struct cg_error err;
	char words[300];

	cg_error_set(&err, "timed out after %d ms", 2000);
	cg_error_wrap(&err, "connect to 10.0.0.5:5432");
	cg_error_wrap(&err, "ledger");
	assert_string_equal(err.text, "ledger: connect to 10.0.0.5:5432: timed out after 2000 ms");

	memset(words, 'w', sizeof words - 1);
	words[sizeof words - 1] = '\0';
	cg_error_set(&err, "%s", words);
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
	cg_error_wrap(&err, "outer");
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
	assert_int_equal(strncmp(err.text, "outer: www", 10), 0);
	cg_error_wrap(&err, words);
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void test_every_status_has_its_words(void **state)
{
	(void)state;
	for (int i = 0; i < CG_STATUS_COUNT; i++) {
		assert_true(strlen(cg_status_name((enum cg_status)i)) > 1);
		assert_true(strlen(cg_status_sentence((enum cg_status)i)) > 5);
		bool may_have = strstr(cg_status_sentence((enum cg_status)i), "may have") != NULL;
		assert_int_equal(cg_status_is_unknown((enum cg_status)i), may_have);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_line_is_logfmt, log_pipe_open, log_pipe_close),
	    cmocka_unit_test_setup_teardown(
	        test_no_value_can_forge_a_line, log_pipe_open, log_pipe_close),
	    cmocka_unit_test_setup_teardown(
	        test_long_line_is_cut_and_ended, log_pipe_open, log_pipe_close),
	    cmocka_unit_test_setup_teardown(
	        test_levels_below_are_silent, log_pipe_open, log_pipe_close),
	    cmocka_unit_test(test_limit_counts_what_it_holds_back),
	    cmocka_unit_test(test_numbers_of_one_line_stay_apart),
	    cmocka_unit_test(test_errors_are_built_from_the_outside_in),
	    cmocka_unit_test(test_every_status_has_its_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
