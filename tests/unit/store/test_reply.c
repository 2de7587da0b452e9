/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h> /* wants the others first */

#include "store/input.h"
#include "store/reply.h"

static const struct {
	const char *line;
	enum cg_status status;
	bool ends_connection;
} classes[] = {
    {"LOADING Redis is loading the dataset in memory", CG_UNAVAILABLE, true},
    {"MASTERDOWN Link with MASTER is down", CG_UNAVAILABLE, true},
    {"READONLY You can't write against a read only replica.", CG_UNAVAILABLE, true},
    {"NOAUTH Authentication required.", CG_UNAVAILABLE, true},
    {"WRONGPASS invalid username-password pair", CG_UNAVAILABLE, true},
    {"ERR Function not found", CG_UNAVAILABLE, true},
    {"ERR max number of clients reached", CG_UNAVAILABLE, true},
    {"MISCONF Errors writing to the AOF file", CG_UNAVAILABLE, false},
    {"OOM command not allowed when used memory > 'maxmemory'.", CG_UNAVAILABLE, false},
    {"NOREPLICAS Not enough good replicas to write.", CG_UNAVAILABLE, false},
    {"BUSY Redis is busy running a script.", CG_UNAVAILABLE, false},
    {"CLUSTERDOWN Hash slot not served", CG_UNAVAILABLE, false},
    {"MOVED 3999 127.0.0.1:6381", CG_UNAVAILABLE, false},
    {"ASK 3999 127.0.0.1:6381", CG_UNAVAILABLE, false},
    {"TRYAGAIN Multiple keys request during rehashing of slot", CG_UNAVAILABLE, false},
    {"NOPERM this user has no permissions", CG_UNAVAILABLE, false},
    {"OOM", CG_UNAVAILABLE, false},
    /* From within a function, maybe after a write of it. */
    {"NOPERM no permissions script: cg1_settle, on @user_function:9.", CG_INTERNAL, false},
    {"READONLY You can't write script: cg1_settle, on @user_function:9.", CG_INTERNAL, false},
    {"OOMPH is another word", CG_INTERNAL, false},
    {"ERR user_script:1: attempt to index a nil value", CG_INTERNAL, false},
    {"ERR Function not foundling", CG_INTERNAL, false},
    {"", CG_INTERNAL, false},
    {"loading", CG_INTERNAL, false},
};

static void test_each_error_says_whether_it_may_have_happened(void **state)
{
	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(classes); i++) {
		struct cg_reply_error error = cg_reply_classify(cg_view_of(classes[i].line));

		if (error.status != classes[i].status ||
		    error.ends_connection != classes[i].ends_connection) {
			fail_msg("%s: %s", classes[i].line, cg_status_name(error.status));
		}
	}
}

static const struct {
	const char *bytes;
	enum cg_resp_result result;
	enum cg_resp_kind kind;
	const char *content;
} readings[] = {
    {"$3\r\nabc\r\n", CG_RESP_WHOLE, CG_RESP_BULK, "abc"},
    {"$3\r\nabc\r\n$9", CG_RESP_WHOLE, CG_RESP_BULK, "abc"},
    {"$0\r\n\r\n", CG_RESP_WHOLE, CG_RESP_BULK, ""},
    {"+PONG\r\n", CG_RESP_WHOLE, CG_RESP_STATUS, "PONG"},
    {"-OOM no\r\n+x", CG_RESP_WHOLE, CG_RESP_ERROR, "OOM no"},
    {"-\r\n", CG_RESP_WHOLE, CG_RESP_ERROR, ""},
    {"", CG_RESP_PART, 0, NULL},
    {"$", CG_RESP_PART, 0, NULL},
    {"$67108864", CG_RESP_PART, 0, NULL},
    {"$67108864\r\nabc", CG_RESP_PART, 0, NULL},
    {"-OOM", CG_RESP_PART, 0, NULL},
    {"-OOM\r", CG_RESP_PART, 0, NULL},
    {"$67108865", CG_RESP_BROKEN, 0, NULL},
    {"$999999999", CG_RESP_BROKEN, 0, NULL},
    {"$-1\r\n", CG_RESP_BROKEN, 0, NULL},
    {"$\r\n", CG_RESP_BROKEN, 0, NULL},
    {"$3x", CG_RESP_BROKEN, 0, NULL},
    {"$3\rx", CG_RESP_BROKEN, 0, NULL},
    {"$3\r\nabcd", CG_RESP_PART, 0, NULL},
    {"$3\r\nabcdef", CG_RESP_BROKEN, 0, NULL},
    {"-OOM\rx", CG_RESP_BROKEN, 0, NULL},
    {":1\r\n", CG_RESP_BROKEN, 0, NULL},
    {"*1\r\n$1\r\na\r\n", CG_RESP_BROKEN, 0, NULL},
    {"HTTP/1.1 400 Bad Request\r\n", CG_RESP_BROKEN, 0, NULL},
};

static void test_replies_are_read_and_garbage_is_not(void **state)
{
	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(readings); i++) {
		/* A copy of exactly this size, so that one byte too many is seen. */
		size_t len = strlen(readings[i].bytes);
		char *bytes = malloc(len + 1);
		struct cg_resp reply;

		memcpy(bytes, readings[i].bytes, len);
		bytes = realloc(bytes, len == 0 ? 1 : len);
		enum cg_resp_result result = cg_resp_read((struct cg_view){bytes, len}, &reply);
		if (result != readings[i].result) {
			fail_msg("%s: %d", readings[i].bytes, (int)result);
		}
		if (result == CG_RESP_WHOLE) {
			assert_int_equal(reply.kind, readings[i].kind);
			assert_true(cg_view_equal(reply.content, cg_view_of(readings[i].content)));
		}
		free(bytes);
	}
}

static void test_a_line_without_end_is_given_up(void **state)
{
	char line[CG_RESP_LINE_MAX_BYTES + 1];
	struct cg_resp reply;

	(void)state;
	memset(line, 'x', sizeof line);
	line[0] = '-';
	assert_int_equal(
	    cg_resp_read((struct cg_view){line, sizeof line - 2}, &reply), CG_RESP_PART);
	assert_int_equal(cg_resp_read((struct cg_view){line, sizeof line}, &reply), CG_RESP_BROKEN);
}

struct heard {
	struct cg_input *input;
	char text[64];
	size_t largest;
	unsigned count;
	unsigned reset_at;
	unsigned stop_at;
};

static const char *on_reply(void *owner, const struct cg_resp *reply)
{
	struct heard *h = owner;

	h->count++;
	h->largest = reply->content.len > h->largest ? reply->content.len : h->largest;
	if (reply->content.len < 8) {
		size_t len = strlen(h->text);
		(void)snprintf(h->text + len, sizeof h->text - len, "%.*s,",
		    (int)reply->content.len, reply->content.data);
	}
	if (h->count == h->reset_at) {
		cg_input_reset(h->input);
	}
	return h->count == h->stop_at ? "enough" : NULL;
}

#define THREE "$3\r\nabc\r\n+ok\r\n-no\r\n"

static void test_replies_arrive_alike_however_they_are_cut(void **state)
{
	const struct cg_view all = CG_VIEW_LITERAL(THREE);

	(void)state;
	for (size_t piece = 1; piece <= all.len; piece++) {
		struct cg_input input;
		struct heard heard = {.input = &input};

		cg_input_init(&input, on_reply, &heard);
		for (size_t at = 0; at < all.len; at += piece) {
			size_t len = at + piece < all.len ? piece : all.len - at;
			char *copy = malloc(len);
			memcpy(copy, all.data + at, len);
			assert_null(cg_input_take(&input, (struct cg_view){copy, len}));
			free(copy);
		}
		assert_string_equal(heard.text, "abc,ok,no,");
		assert_int_equal(input.kept_bytes, 0);
		cg_input_deinit(&input);
	}
}

static void test_a_reset_within_a_reply_forgets_the_rest(void **state)
{
	(void)state;
	for (int pieced = 0; pieced < 2; pieced++) {
		struct cg_input input;
		struct heard heard = {.input = &input, .reset_at = 2};

		cg_input_init(&input, on_reply, &heard);
		if (pieced != 0) {
			assert_null(cg_input_take(&input, CG_VIEW_LITERAL("$3\r\na")));
			assert_null(
			    cg_input_take(&input, CG_VIEW_LITERAL("bc\r\n+ok\r\n-no\r\n$5")));
		} else {
			assert_null(cg_input_take(&input, CG_VIEW_LITERAL(THREE "$5")));
		}
		assert_string_equal(heard.text, "abc,ok,");
		assert_int_equal(input.kept_bytes, 0);
		assert_null(cg_input_take(&input, CG_VIEW_LITERAL("+new\r\n")));
		assert_string_equal(heard.text, "abc,ok,new,");
		cg_input_deinit(&input);
	}
}

static void test_the_owner_and_the_protocol_can_end_it(void **state)
{
	struct cg_input input;
	struct heard heard = {.input = &input, .stop_at = 1};

	(void)state;
	cg_input_init(&input, on_reply, &heard);
	assert_string_equal(cg_input_take(&input, CG_VIEW_LITERAL(THREE)), "enough");
	assert_int_equal(heard.count, 1);
	heard.stop_at = 0;
	assert_non_null(cg_input_take(&input, CG_VIEW_LITERAL("+ok\r\n:5\r\n+ok\r\n")));
	assert_int_equal(heard.count, 2);
	cg_input_deinit(&input);
}

static void test_room_for_a_large_reply_is_given_back(void **state)
{
	const size_t large = (size_t)3 << 20;
	char *chunk = malloc(65536);
	struct cg_input input;
	struct heard heard = {.input = &input};

	(void)state;
	memset(chunk, 'x', 65536);
	cg_input_init(&input, on_reply, &heard);
	assert_null(cg_input_take(&input, CG_VIEW_LITERAL("$3145728\r\n")));
	assert_true(input.capacity < 65536); /* What it says of itself takes no memory. */
	for (size_t sent = 0; sent < large; sent += 65536) {
		assert_null(cg_input_take(&input, (struct cg_view){chunk, 65536}));
	}
	assert_int_equal(heard.count, 0);
	assert_null(cg_input_take(&input, CG_VIEW_LITERAL("\r\n+ok\r\n")));
	assert_int_equal(heard.count, 2);
	assert_int_equal(heard.largest, large);
	assert_int_equal(input.capacity, 0);
	cg_input_deinit(&input);
	free(chunk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_each_error_says_whether_it_may_have_happened),
	    cmocka_unit_test(test_replies_are_read_and_garbage_is_not),
	    cmocka_unit_test(test_a_line_without_end_is_given_up),
	    cmocka_unit_test(test_replies_arrive_alike_however_they_are_cut),
	    cmocka_unit_test(test_a_reset_within_a_reply_forgets_the_rest),
	    cmocka_unit_test(test_the_owner_and_the_protocol_can_end_it),
	    cmocka_unit_test(test_room_for_a_large_reply_is_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
