/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* wants the others first */

#include <stdlib.h>

#include "events/token.h"

#define PARTS 5

static struct cg_position some_position(struct cg_random *random)
{
	uint64_t shift = cg_random_below(random, 64);

	return (struct cg_position){
	    .event = {cg_random_next(random) >> 40, cg_random_next(random) >> shift},
	    .entry = {cg_random_next(random), cg_random_next(random) >> shift},
	};
}

static void assert_positions_equal(const struct cg_position *a, const struct cg_position *b)
{
	assert_true(cg_position_equal(a, b));
}

static void test_what_was_written_is_read(void **state)
{
	struct cg_random random;
	struct cg_position in[PARTS];
	struct cg_position out[PARTS];
	struct cg_error err;
	char *text = malloc(cg_token_text_max(PARTS));

	(void)state;
	cg_random_init(&random, 1);
	for (int i = 0; i < 2000; i++) {
		for (uint32_t j = 0; j < PARTS; j++) {
			in[j] = some_position(&random);
		}
		size_t len = cg_token_format(PARTS, CG_TOKEN_ALL, in, text);
		struct cg_view token = {text, len};
		assert_true(len <= cg_token_text_max(PARTS));
		assert_int_equal(cg_token_parse(token, PARTS, CG_TOKEN_ALL, out, &err), CG_OK);
		for (uint32_t j = 0; j < PARTS; j++) {
			assert_positions_equal(&in[j], &out[j]);
		}
		/* A token for all resumes a watch of one company. */
		assert_int_equal(cg_token_parse(token, PARTS, 3, out, &err), CG_OK);
		assert_positions_equal(&in[3], &out[0]);

		len = cg_token_format(PARTS, 2, &in[0], text);
		token.len = len;
		assert_int_equal(cg_token_parse(token, PARTS, 2, out, &err), CG_OK);
		assert_positions_equal(&in[0], &out[0]);
	}
	free(text);
}

static void test_the_longest_token_fits(void **state)
{
	struct cg_position in[PARTS];
	struct cg_position out[PARTS];
	struct cg_error err;
	char *text = malloc(cg_token_text_max(PARTS));

	(void)state;
	memset(in, 0xFF, sizeof in);
	size_t len = cg_token_format(PARTS, CG_TOKEN_ALL, in, text);
	assert_int_equal(
	    cg_token_parse((struct cg_view){text, len}, PARTS, CG_TOKEN_ALL, out, &err), CG_OK);
	assert_positions_equal(&in[PARTS - 1], &out[PARTS - 1]);
	free(text);
}

/* Where the numbers' lengths change, and the one that stands for "nothing yet". */
static void test_every_number_comes_back(void **state)
{
	struct cg_position in[PARTS];
	struct cg_position out[PARTS];
	struct cg_error err;
	char *text = malloc(cg_token_text_max(PARTS));

	(void)state;
	for (unsigned shift = 0; shift < 64; shift++) {
		for (uint64_t near = 0; near < 5; near++) {
			uint64_t n = (UINT64_C(1) << shift) + near - 2;
			in[0] = (struct cg_position){{n, n}, {n, n}};
			size_t len = cg_token_format(PARTS, 2, in, text);
			struct cg_view token = {text, len};
			assert_int_equal(cg_token_parse(token, PARTS, 2, out, &err), CG_OK);
			assert_positions_equal(&in[0], &out[0]);
		}
	}
	free(text);
}

/*
 * Goal: a watch of everything can be resumed in the largest deployment there may be: its token
 * is within the contract's bound (CG_RESUME_TOKEN_MAX_BYTES) and a message's default one, 65536.
 *
 * Method: all partitions as they are before their first event, and after a hundred million.
 */
static void test_the_token_of_thousands_of_partitions_fits_into_a_request(void **state)
{
	enum {
		MANY = 4096
	};
	const uint64_t nothing_yet = (UINT64_C(1) << 53) - 1;
	struct cg_position *in = calloc(MANY, sizeof *in);
	char *text = malloc(cg_token_text_max(MANY));

	(void)state;
	for (uint32_t i = 0; i < MANY; i++) {
		in[i] = (struct cg_position){{0, nothing_yet}, {0, nothing_yet}};
	}
	assert_in_range(cg_token_format(MANY, CG_TOKEN_ALL, in, text), 1, 22000);
	for (uint32_t i = 0; i < MANY; i++) {
		in[i] = (struct cg_position){{100, 100000000 + i}, {100, 100000000 - i}};
	}
	assert_in_range(cg_token_format(MANY, CG_TOKEN_ALL, in, text), 1, 65000);
	free(text);
	free(in);
}

static void assert_refused(
    struct cg_view token, uint32_t partition_count, uint32_t partition, const char *why)
{
	struct cg_position out[PARTS + 1];
	struct cg_error err = {0};

	assert_int_equal(cg_token_parse(token, partition_count, partition, out, &err), CG_INVALID);
	assert_true(strncmp(err.text, "resume_token: ", strlen("resume_token: ")) == 0);
	if (why != NULL) {
		assert_non_null(strstr(err.text, why));
	}
}

static void test_foreign_tokens_are_refused_with_the_reason(void **state)
{
	struct cg_position in[PARTS] = {{{1, 2}, {3, 4}}};
	char *text = malloc(cg_token_text_max(PARTS));
	struct cg_view token = {text, cg_token_format(PARTS, CG_TOKEN_ALL, in, text)};

	(void)state;
	assert_refused(token, PARTS + 1, CG_TOKEN_ALL, "another number of partitions");
	token.len = cg_token_format(PARTS, 2, in, text);
	assert_refused(token, PARTS, CG_TOKEN_ALL, "of one company");
	assert_refused(token, PARTS, 3, "of another company");
	assert_refused(CG_VIEW_LITERAL("A"), PARTS, 3, "no resume token");
	assert_refused(CG_VIEW_LITERAL("hello world"), PARTS, 3, "no resume token");
	assert_refused(CG_VIEW_LITERAL("AAAA"), PARTS, 3, "no resume token");
	assert_refused((struct cg_view){text, cg_token_text_max(PARTS) + 1}, PARTS, 3, "longer");
	free(text);
}

/* Every character changed, and every length. */
static void test_damaged_tokens_are_refused(void **state)
{
	struct cg_position in[PARTS] = {{{1, 2}, {3, 4}}, {{1, 900000}, {3, 70000000000}}};
	size_t text_max = cg_token_text_max(PARTS);
	char *text = malloc(text_max);
	size_t len = cg_token_format(PARTS, CG_TOKEN_ALL, in, text);

	(void)state;
	for (size_t i = 0; i < len; i++) {
		char was = text[i];
		for (int c = 0; c < 256; c++) {
			if ((char)c != was) {
				text[i] = (char)c;
				assert_refused(
				    (struct cg_view){text, len}, PARTS, CG_TOKEN_ALL, NULL);
			}
		}
		text[i] = was;
		assert_refused((struct cg_view){text, i}, PARTS, CG_TOKEN_ALL, NULL);
	}
	text[len] = 'A';
	assert_refused((struct cg_view){text, len + 1}, PARTS, CG_TOKEN_ALL, NULL);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_was_written_is_read),
	    cmocka_unit_test(test_the_longest_token_fits),
	    cmocka_unit_test(test_every_number_comes_back),
	    cmocka_unit_test(test_the_token_of_thousands_of_partitions_fits_into_a_request),
	    cmocka_unit_test(test_foreign_tokens_are_refused_with_the_reason),
	    cmocka_unit_test(test_damaged_tokens_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
