/*
 * Trace contexts: what is one, and into whose meta it goes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <callgate/v1/callgate.pb-c.h>
#include <stdio.h>
#include <stdlib.h>

#include "rpc/decode.h"
#include "rpc/trace.h"

#define TRACE   "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN    "00f067aa0ba902b7"
#define PARENT  "00-" TRACE "-" SPAN "-01"
#define COMPANY "01234567-89ab-cdef-0123-456789abcdef"

static void test_a_traceparent_is_one_to_the_letter(void **state)
{
	static const struct {
		const char *text;
		bool is_one;
	} rows[] = {
	    {PARENT, true},
	    {"00-" TRACE "-" SPAN "-00", true},
	    {"00-" TRACE "-" SPAN "-ff", true},
	    {"", false},
	    {"00-" TRACE "-" SPAN "-0", false},
	    {PARENT "-", false},
	    {PARENT "-more", false},
	    {"01-" TRACE "-" SPAN "-01", false},
	    {"ff-" TRACE "-" SPAN "-01", false},
	    {"0-0" TRACE "-" SPAN "-01", false},
	    {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01", false},
	    {"00-4bf92f3577b34da6a3ce929d0e0e473g-" SPAN "-01", false},
	    {"00-00000000000000000000000000000000-" SPAN "-01", false},
	    {"00-" TRACE "-0000000000000000-01", false},
	    {"00_" TRACE "-" SPAN "-01", false},
	    {"00-" TRACE "_" SPAN "-01", false},
	    {"00-" TRACE "-" SPAN "_01", false},
	    {"00-" TRACE "-" SPAN "-0\n", false},
	    {"00-4bf92f3577b34da6a3ce929d0e0e47-6-" SPAN "-01", false},
	};

	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		if (cg_trace_is_parent(cg_view_of(rows[i].text)) != rows[i].is_one) {
			fail_msg("%s", rows[i].text);
		}
	}
}

struct fixture {
	struct cg_rpc_decoder decoder;
	struct cg_request req;
	char text[CG_RPC_TEXT_BYTES];
	uint8_t bytes[8192];
};

static struct fixture f;

static int set_up(void **state)
{
	(void)state;
	cg_rpc_decoder_init(&f.decoder, 7);
	f.decoder.traceparent = cg_view_of(PARENT);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	cg_rpc_decoder_deinit(&f.decoder);
	return 0;
}

static void decode(enum cg_method method, const ProtobufCMessage *message)
{
	struct cg_rpc_fault fault;
	struct cg_buffer text;
	size_t len = protobuf_c_message_pack(message, f.bytes);

	cg_buffer_init(&text, f.text, sizeof f.text);
	memset(&f.req, 0, sizeof f.req);
	assert_true(cg_rpc_decode(
	    &f.decoder, method, (struct cg_view){(char *)f.bytes, len}, &text, &f.req, &fault));
}

/* The one value of a key; NULL where there is none. */
static const char *value_of(const struct cg_meta *meta, const char *key)
{
	static char text[256];
	struct cg_view rest = meta->pairs;
	struct cg_view name;
	struct cg_view value;
	const char *found = NULL;

	while (cg_meta_next(&rest, &name, &value)) {
		if (cg_view_equal(name, cg_view_of(key))) {
			assert_null(found);
			(void)snprintf(text, sizeof text, "%.*s", (int)value.len, value.data);
			found = text;
		}
	}
	assert_int_equal(rest.len, 0);
	return found;
}

static void authorize(const char *key, char *value)
{
	Callgate__V1__AuthorizeRequest request = CALLGATE__V1__AUTHORIZE_REQUEST__INIT;
	Callgate__V1__AuthorizeRequest__MetaEntry pair =
	    CALLGATE__V1__AUTHORIZE_REQUEST__META_ENTRY__INIT;
	Callgate__V1__AuthorizeRequest__MetaEntry *pairs[] = {&pair};
	char name[64];

	(void)snprintf(name, sizeof name, "%s", key);
	pair.key = name;
	pair.value = value;
	request.company_id = COMPANY;
	request.call_id = "c1";
	request.resource_type = "voice";
	request.meta = pairs;
	request.n_meta = 1;
	decode(CG_METHOD_AUTHORIZE, &request.base);
}

static void test_a_call_takes_the_trace_beside_its_own_pairs(void **state)
{
	(void)state;
	authorize("city", "Bern");
	assert_string_equal(value_of(&f.req.in.authorize.meta, "city"), "Bern");
	assert_string_equal(value_of(&f.req.in.authorize.meta, CG_TRACE_KEY), PARENT);
	/* What stands behind meta in the texts is whole. */
	assert_true(cg_view_equal(f.req.in.authorize.call_id, CG_VIEW_LITERAL("c1")));
}

static void test_the_callers_own_key_holds(void **state)
{
	(void)state;
	authorize(CG_TRACE_KEY, "mine");
	assert_string_equal(value_of(&f.req.in.authorize.meta, CG_TRACE_KEY), "mine");
}

static void test_a_trace_that_does_not_fit_is_left_out(void **state)
{
	enum {
		FULL = CG_META_MAX_BYTES - 1
	};
	static char value[FULL + 1];
	size_t most = CG_META_MAX_BYTES - 1 - (sizeof CG_TRACE_KEY - 1) - CG_TRACE_BYTES;

	(void)state;
	memset(value, 'v', most);
	authorize("k", value);
	assert_non_null(value_of(&f.req.in.authorize.meta, CG_TRACE_KEY));
	value[most] = 'v';
	authorize("k", value);
	assert_null(value_of(&f.req.in.authorize.meta, CG_TRACE_KEY));
}

static void test_a_settle_leaves_the_calls_trace_alone(void **state)
{
	Callgate__V1__SettleRequest request = CALLGATE__V1__SETTLE_REQUEST__INIT;

	(void)state;
	request.company_id = COMPANY;
	request.call_id = "c1";
	request.duration_case = CALLGATE__V1__SETTLE_REQUEST__DURATION_DURATION_MS;
	request.duration_ms = 1;
	decode(CG_METHOD_SETTLE, &request.base);
	assert_null(value_of(&f.req.in.settle.meta, CG_TRACE_KEY));
}

static void test_adopted_calls_and_charges_take_it(void **state)
{
	Callgate__V1__AdoptRequest adopt = CALLGATE__V1__ADOPT_REQUEST__INIT;
	Callgate__V1__ChargeRequest charge = CALLGATE__V1__CHARGE_REQUEST__INIT;

	(void)state;
	adopt.company_id = COMPANY;
	adopt.call_id = "c1";
	adopt.resource_type = "voice";
	adopt.started_at_ms = 1;
	decode(CG_METHOD_ADOPT, &adopt.base);
	assert_string_equal(value_of(&f.req.in.adopt.meta, CG_TRACE_KEY), PARENT);
	charge.company_id = COMPANY;
	charge.resource_type = "rental";
	charge.amount_micros = 1;
	charge.quantity = 1;
	charge.reference_id = "r";
	decode(CG_METHOD_CHARGE, &charge.base);
	assert_string_equal(value_of(&f.req.in.charge.meta, CG_TRACE_KEY), PARENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_traceparent_is_one_to_the_letter),
	    cmocka_unit_test(test_a_call_takes_the_trace_beside_its_own_pairs),
	    cmocka_unit_test(test_the_callers_own_key_holds),
	    cmocka_unit_test(test_a_trace_that_does_not_fit_is_left_out),
	    cmocka_unit_test(test_a_settle_leaves_the_calls_trace_alone),
	    cmocka_unit_test(test_adopted_calls_and_charges_take_it),
	};

	return cmocka_run_group_tests_name("trace", tests, set_up, tear_down);
}
