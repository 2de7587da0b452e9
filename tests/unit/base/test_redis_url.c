/*
 * The store's URL, taken apart.  What is refused is in the table of daemon/test_config.c.
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

struct url {
	const char *url;
	const char *address;
	const char *username;
	const char *password;
	uint32_t database;
};

static const struct url urls[] = {
    {"unix:///run/r.sock", "unix:/run/r.sock", "", "", 0},
    {"unix:///run/r.sock?db=3&password=a%26b", "unix:/run/r.sock", "", "a&b", 3},
    {"unix:///s?username=u&password=p", "unix:/s", "u", "p", 0},
    {"redis://127.0.0.1", "127.0.0.1:6379", "", "", 0},
    {"redis://h:7000/15", "h:7000", "", "", 15},
    {"redis://:secret@h:7000", "h:7000", "", "secret", 0},
    {"redis://u:p%40ss@[::1]:6380/1", "[::1]:6380", "u", "p@ss", 1},
    {"redis://[::1]", "[::1]:6379", "", "", 0},
    {"redis://h/", "h:6379", "", "", 0},
};

static void test_redis_urls_are_taken_apart(void **state)
{
	(void)state;
	static struct cg_redis_url redis;

	for (size_t i = 0; i < CG_COUNT_OF(urls); i++) {
		struct cg_error err = {{0}};
		assert_int_equal(cg_redis_url_read(urls[i].url, &redis, &err), CG_OK);
		assert_string_equal(redis.address, urls[i].address);
		assert_string_equal(redis.username, urls[i].username);
		assert_string_equal(redis.password, urls[i].password);
		assert_int_equal(redis.database, urls[i].database);
	}
}

static void test_a_url_that_is_too_long_is_refused(void **state)
{
	(void)state;
	static char url[CG_REDIS_URL_BYTES + 1] = "redis://:";
	static struct cg_redis_url redis;
	struct cg_error err = {{0}};

	memset(url + strlen(url), 'p', CG_REDIS_URL_BYTES - strlen(url));
	assert_int_equal(cg_redis_url_read(url, &redis, &err), CG_INVALID);
	assert_non_null(strstr(err.text, "longer"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_redis_urls_are_taken_apart),
	    cmocka_unit_test(test_a_url_that_is_too_long_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
