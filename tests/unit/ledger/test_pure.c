/*
 * The ledger's parts that need no server: SQLSTATEs, parameters, JSON, host names.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "ledger/json.h"
#include "ledger/params.h"
#include "ledger/pg.h"
#include "ledger/resolve.h"

struct sqlstate_row {
	const char *sqlstate;
	enum cg_status status;
};

static const struct sqlstate_row sqlstates[] = {
    {"57P01", CG_LOST},
    {"57P02", CG_LOST},
    {"57P03", CG_LOST},
    {"08006", CG_LOST},
    {"25006", CG_LOST},
    {"25P02", CG_LOST},
    {"40003", CG_LOST},
    {"57014", CG_UNAVAILABLE},
    {"53100", CG_UNAVAILABLE},
    {"53300", CG_UNAVAILABLE},
    {"40001", CG_UNAVAILABLE},
    {"40P01", CG_UNAVAILABLE},
    {"55P03", CG_UNAVAILABLE},
    {"58030", CG_UNAVAILABLE},
    {"22021", CG_INVALID},
    {"22003", CG_INVALID},
    {"22P02", CG_INVALID},
    {"22P05", CG_INVALID},
    {"23502", CG_INVALID},
    {"23503", CG_INVALID},
    {"23514", CG_INVALID},
    {"23505", CG_KEY_REUSED},
    {"42501", CG_DENIED},
    {"42P01", CG_DENIED},
    {"3D000", CG_DENIED},
    {"28P01", CG_DENIED},
    {"0A000", CG_DENIED},
    {"XX000", CG_INTERNAL},
    {"P0001", CG_INTERNAL},
    {NULL, CG_INTERNAL},
};

static void test_every_sqlstate_has_its_meaning(void **state)
{
	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(sqlstates); i++) {
		if (cg_pg__status(cg_pg__class(sqlstates[i].sqlstate)) != sqlstates[i].status) {
			fail_msg("%s", sqlstates[i].sqlstate);
		}
	}
}

static void assert_bytes(const struct cg_params *params, int index, const char *bytes, size_t len)
{
	assert_int_equal(params->lengths[index], len);
	assert_memory_equal(params->values[index], bytes, len);
}

static void test_parameters_are_what_postgres_reads(void **state)
{
	(void)state;
	struct cg_params params = {0};

	for (int round = 0; round < 2; round++) { /* the second one in used memory */
		cg_params__reset(&params);
		cg_params__int4(&params, -2);
		cg_params__int8(&params, INT64_C(0x0102030405060708));
		cg_params__bool(&params, true);
		cg_params__text(&params, (struct cg_view){NULL, 0});
		cg_params__null(&params, CG_OID_TEXT);
		cg_params__array(&params, CG_OID_TEXT, 2);
		cg_params__element(&params, cg_view_of("ab"));
		cg_params__element_null(&params);
		cg_params__array(&params, CG_OID_INT8, 0);
		cg_params__array(&params, CG_OID_JSONB, 1);
		cg_params__element_jsonb(&params, cg_view_of("{}"));
		cg_params__seal(&params);

		assert_int_equal(params.count, 8);
		assert_bytes(&params, 0, "\xff\xff\xff\xfe", 4);
		assert_bytes(&params, 1, "\1\2\3\4\5\6\7\10", 8);
		assert_bytes(&params, 2, "\1", 1);
		assert_int_equal(params.lengths[3], 0);
		assert_non_null(params.values[3]);
		assert_null(params.values[4]);
		assert_int_equal(params.types[5], 1009);
		assert_bytes(&params, 5,
		    "\0\0\0\1"
		    "\0\0\0\1"
		    "\0\0\0\31"
		    "\0\0\0\2"
		    "\0\0\0\1"
		    "\0\0\0\2"
		    "ab"
		    "\xff\xff\xff\xff",
		    30);
		assert_bytes(&params, 6,
		    "\0\0\0\0"
		    "\0\0\0\1"
		    "\0\0\0\24",
		    12);
		assert_bytes(&params, 7,
		    "\0\0\0\1"
		    "\0\0\0\1"
		    "\0\0\16\332"
		    "\0\0\0\1"
		    "\0\0\0\1"
		    "\0\0\0\3"
		    "\1{}",
		    27);
	}
	cg_params__deinit(&params);
}

static void test_parameters_grow(void **state)
{
	(void)state;
	static char text[100000];
	struct cg_params params = {0};

	memset(text, 'x', sizeof text);
	cg_params__text(&params, cg_view_of("first"));
	cg_params__text(&params, (struct cg_view){text, sizeof text});
	cg_params__text(&params, cg_view_of("last"));
	cg_params__seal(&params);
	assert_bytes(&params, 0, "first", 5);
	assert_bytes(&params, 1, text, sizeof text);
	assert_bytes(&params, 2, "last", 4);
	cg_params__deinit(&params);
}

static void test_json_is_escaped(void **state)
{
	(void)state;
	static const char pairs[] = "\x01"
	                            "a"
	                            "\x03\x00"
	                            "\"\\\n"
	                            "\x00"
	                            "\x01\x00"
	                            "b";
	static const char wanted[] =
	    "{\"t\":\"a\\u0022b\",\"n\":-9223372036854775808,\"y\":true,\"f\":false,"
	    "\"meta\":{\"a\":\"\\u0022\\u005c\\u000a\",\"\":\"b\"},\"e\":\"\"}";
	struct cg_json json = {0};
	struct cg_meta meta = {{pairs, sizeof pairs - 1}};

	cg_json__begin(&json);
	cg_json__text(&json, "t", cg_view_of("a\"b"));
	cg_json__int(&json, "n", INT64_MIN);
	cg_json__bool(&json, "y", true);
	cg_json__bool(&json, "f", false);
	cg_json__meta(&json, "meta", &meta);
	cg_json__text(&json, "e", (struct cg_view){NULL, 0});
	struct cg_view text = cg_json__end(&json);
	assert_int_equal(text.len, sizeof wanted - 1);
	assert_memory_equal(text.data, wanted, text.len);
	cg_json__deinit(&json);
}

struct host_row {
	const char *url;
	const char *host; /* NULL: nothing to look up */
};

static const struct host_row hosts[] = {
    {"postgresql://u@db.example.com:5432/x", "db.example.com"},
    {"host=db.example.com dbname=x", "db.example.com"},
    {"postgresql://u@10.0.0.1/x", NULL},
    {"postgresql://u@[::1]/x", NULL},
    {"postgresql://u@/x?host=/run/postgresql", NULL},
    {"postgresql:///x", NULL},
    {"host=db.example.com hostaddr=10.0.0.1", NULL},
    {"postgresql://u@one.example.com,two.example.com/x", NULL},
    {"postgresql://[", NULL},
};

static void test_only_names_are_looked_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(hosts); i++) {
		char host[256] = "";

		if (cg_resolve__is_needed(hosts[i].url, host) != (hosts[i].host != NULL)) {
			fail_msg("%s", hosts[i].url);
		}
		assert_string_equal(host, hosts[i].host == NULL ? "" : hosts[i].host);
	}
}

struct lookup {
	struct cg_loop *loop;
	char address[CG_RESOLVE_ADDRESS_BYTES];
	int count;
};

static void on_address(void *owner, const char *address)
{
	struct lookup *lookup = owner;

	(void)snprintf(
	    lookup->address, sizeof lookup->address, "%s", address == NULL ? "" : address);
	lookup->count++;
	cg_loop_stop(lookup->loop);
}

static void test_a_name_is_looked_up_beside_the_loop(void **state)
{
	(void)state;
	struct lookup lookup = {.loop = cg_loop_create()};

	(void)cg_resolve__start(lookup.loop, "localhost", on_address, &lookup);
	assert_int_equal(lookup.count, 0);
	cg_loop_run(lookup.loop);
	assert_int_equal(lookup.count, 1);
	assert_true(strcmp(lookup.address, "127.0.0.1") == 0 || strcmp(lookup.address, "::1") == 0);
	cg_resolve__abandon(cg_resolve__start(lookup.loop, "localhost", on_address, &lookup));
	cg_loop_destroy(lookup.loop);
	assert_int_equal(lookup.count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_sqlstate_has_its_meaning),
	    cmocka_unit_test(test_parameters_are_what_postgres_reads),
	    cmocka_unit_test(test_parameters_grow),
	    cmocka_unit_test(test_json_is_escaped),
	    cmocka_unit_test(test_only_names_are_looked_up),
	    cmocka_unit_test(test_a_name_is_looked_up_beside_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
