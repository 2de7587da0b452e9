/*
 * Settings as a table: what is given, and what the error names.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/config.h"

#define ARGS_MAX 8

struct bad {
	const char *args[ARGS_MAX];
	const char *says; /* part of the error */
};

#define GOOD_REDIS  "--redis-url=unix:///run/redis.sock"
#define GOOD_LEDGER "--database-url=postgresql:///callgate"

static const struct bad bads[] = {
    {{GOOD_LEDGER}, "--redis-url (or CALLGATE_REDIS_URL): must be set"},
    {{GOOD_REDIS}, "--database-url (or CALLGATE_DATABASE_URL): must be set"},
    {{"--no-such", "1"}, "--no-such: there is no such setting"},
    {{"listen"}, "listen: there is no such setting"},
    {{"--listen"}, "--listen: needs a value"},
    {{"--listen="}, "--listen: must have 1 to"},
    {{"--partitions", "0"}, "--partitions: must be an integer from 1 to 4096"},
    {{"--partitions", "4097"}, "--partitions: must be an integer"},
    {{"--partitions", "16x"}, "--partitions: must be an integer"},
    {{"--partitions", ""}, "--partitions: must be an integer"},
    {{"--calls-max=99999999999999999999"}, "--calls-max: must be an integer"},
    {{"--tick-ms=0"}, "--tick-ms: must be an integer from 1 to 1000"},
    {{"--tick-ms=1001"}, "--tick-ms: must be an integer from 1 to 1000"},
    {{"--watchers-max=0"}, "--watchers-max: must be an integer from 1"},
    {{"--watch-kept=1"}, "--watch-kept: must be an integer from 64"},
    {{"--watch-kept-bytes=1"}, "--watch-kept-bytes: must be an integer from 1048576"},
    {{"--watch-slow-ms=1"}, "--watch-slow-ms: must be an integer from 100"},
    {{"--heartbeat-ms=5001"}, "--heartbeat-ms: must be an integer from 100 to 5000"},
    {{"--events-keep=1"}, "--events-keep: must be an integer from 100"},
    {{"--lifecycle-events=2"}, "--lifecycle-events: must be an integer from 0 to 1"},
    {{GOOD_REDIS, GOOD_LEDGER, "--log-level=loud"}, "--log-level: must be debug"},
    {{GOOD_REDIS, GOOD_LEDGER, "--grpc-wait=poll"}, "--grpc-wait: must be loop, thread or spin"},
    {{GOOD_LEDGER, "--redis-url=http://x"}, "must begin with unix:// or redis://"},
    {{GOOD_LEDGER, "--redis-url=unix://relative"}, "needs an absolute path"},
    {{GOOD_LEDGER, "--redis-url=unix:///s?db=16"}, "db must be from 0 to 15"},
    {{GOOD_LEDGER, "--redis-url=unix:///s?db=-1"}, "db must be from 0 to 15"},
    {{GOOD_LEDGER, "--redis-url=unix:///s?password=%0"}, "password has a broken %XX"},
    {{GOOD_LEDGER, "--redis-url=unix:///s?password=%00"}, "password has a broken %XX"},
    {{GOOD_LEDGER, "--redis-url=unix:///s?cluster=1"}, "knows the parameters"},
    {{GOOD_LEDGER, "--redis-url=redis://"}, "needs a host"},
    {{GOOD_LEDGER, "--redis-url=redis://h/x"}, "the database must be from 0 to 15"},
    {{GOOD_LEDGER, "--redis-url=redis://u%GG@h"}, "user or password has a broken %XX"},
};

static enum cg_status read_args(const char *const *args, struct cg_config *ret_config,
    enum cg_config_action *ret_action, struct cg_error *err)
{
	const char *words[ARGS_MAX + 2] = {"callgated"};
	/* main()'s type; the words are not written to. */
	union {
		const char **given;
		char **wanted;
	} argv = {.given = words};
	int argc = 1;

	while (argc <= ARGS_MAX && args[argc - 1] != NULL) {
		words[argc] = args[argc - 1];
		argc++;
	}
	return cg_config_read(argc, argv.wanted, ret_config, ret_action, err);
}

static void test_bad_settings_are_named_with_their_bound(void **state)
{
	(void)state;
	static struct cg_config config;

	for (size_t i = 0; i < CG_COUNT_OF(bads); i++) {
		enum cg_config_action action = CG_CONFIG_RUN;
		struct cg_error err = {{0}};
		assert_int_equal(read_args(bads[i].args, &config, &action, &err), CG_INVALID);
		if (strstr(err.text, bads[i].says) == NULL) {
			fail_msg("row %zu: \"%s\" does not say \"%s\"", i, err.text, bads[i].says);
		}
	}
}

static void test_a_flag_wins_over_the_environment_and_that_over_the_default(void **state)
{
	(void)state;
	static struct cg_config config;
	static const char *const args[ARGS_MAX] = {
	    GOOD_REDIS, GOOD_LEDGER, "--flush-batch-max", "77"};
	enum cg_config_action action = CG_CONFIG_RUN;
	struct cg_error err = {{0}};

	setenv("CALLGATE_FLUSH_BATCH_MAX", "66", 1);
	setenv("CALLGATE_FLUSH_INTERVAL_MS", "9", 1);
	assert_int_equal(read_args(args, &config, &action, &err), CG_OK);
	unsetenv("CALLGATE_FLUSH_BATCH_MAX");
	unsetenv("CALLGATE_FLUSH_INTERVAL_MS");

	assert_int_equal(config.flush_batch_max, 77);
	assert_int_equal(config.flush_interval_ms, 9);
	assert_int_equal(config.partitions, 16);
	assert_string_equal(config.log_level, "info");
	assert_int_equal(action, CG_CONFIG_RUN);
}

static void test_a_bad_environment_is_named_by_its_own_name(void **state)
{
	(void)state;
	static struct cg_config config;
	static const char *const args[ARGS_MAX] = {GOOD_REDIS, GOOD_LEDGER};
	enum cg_config_action action = CG_CONFIG_RUN;
	struct cg_error err = {{0}};

	setenv("CALLGATE_CALLS_MAX", "many", 1);
	assert_int_equal(read_args(args, &config, &action, &err), CG_INVALID);
	unsetenv("CALLGATE_CALLS_MAX");
	assert_non_null(strstr(err.text, "CALLGATE_CALLS_MAX: must be an integer from 16"));
}

static void test_help_and_version_need_no_settings(void **state)
{
	(void)state;
	static struct cg_config config;
	static const char *const help[ARGS_MAX] = {"--partitions", "x", "--help"};
	static const char *const version[ARGS_MAX] = {"--version"};
	static const char *const check[ARGS_MAX] = {"--check-config", GOOD_REDIS, GOOD_LEDGER};
	enum cg_config_action action = CG_CONFIG_RUN;
	struct cg_error err = {{0}};

	assert_int_equal(read_args(help, &config, &action, &err), CG_OK);
	assert_int_equal(action, CG_CONFIG_HELP);
	assert_int_equal(read_args(version, &config, &action, &err), CG_OK);
	assert_int_equal(action, CG_CONFIG_VERSION);
	assert_int_equal(read_args(check, &config, &action, &err), CG_OK);
	assert_int_equal(action, CG_CONFIG_CHECK);
}

static void test_a_secret_is_never_repeated(void **state)
{
	(void)state;
	static struct cg_config config;
	static const char *const args[ARGS_MAX] = {GOOD_LEDGER, "--redis-url=tcp://u:hunter2@h"};
	enum cg_config_action action = CG_CONFIG_RUN;
	struct cg_error err = {{0}};

	assert_int_equal(read_args(args, &config, &action, &err), CG_INVALID);
	assert_null(strstr(err.text, "hunter2"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bad_settings_are_named_with_their_bound),
	    cmocka_unit_test(test_a_flag_wins_over_the_environment_and_that_over_the_default),
	    cmocka_unit_test(test_a_bad_environment_is_named_by_its_own_name),
	    cmocka_unit_test(test_help_and_version_need_no_settings),
	    cmocka_unit_test(test_a_secret_is_never_repeated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
