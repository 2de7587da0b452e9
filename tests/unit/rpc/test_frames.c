/*
 * The frames of a Session against protobuf-c's own reading and writing of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include <callgate/v1/callgate.pb-c.h>

#include "rpc/frames.h"

#define REQUEST(member) CALLGATE__V1__SESSION_REQUEST__OP_##member

/* One of each operation, with a tag whose varint is as long as can be. */
static void test_a_packed_request_comes_apart(void **state)
{
	static const struct {
		enum cg_method method;
		Callgate__V1__SessionRequest__OpCase op_case;
	} rows[] = {
	    {CG_METHOD_AUTHORIZE, REQUEST(AUTHORIZE)},
	    {CG_METHOD_START, REQUEST(START)},
	    {CG_METHOD_STOP, REQUEST(STOP)},
	    {CG_METHOD_SETTLE, REQUEST(SETTLE)},
	    {CG_METHOD_CANCEL, REQUEST(CANCEL)},
	    {CG_METHOD_ADOPT, REQUEST(ADOPT)},
	};
	Callgate__V1__AuthorizeRequest authorize = CALLGATE__V1__AUTHORIZE_REQUEST__INIT;
	Callgate__V1__StartRequest start = CALLGATE__V1__START_REQUEST__INIT;
	Callgate__V1__StopRequest stop = CALLGATE__V1__STOP_REQUEST__INIT;
	Callgate__V1__SettleRequest settle = CALLGATE__V1__SETTLE_REQUEST__INIT;
	Callgate__V1__CancelRequest cancel = CALLGATE__V1__CANCEL_REQUEST__INIT;
	Callgate__V1__AdoptRequest adopt = CALLGATE__V1__ADOPT_REQUEST__INIT;
	static char call_id[] = "c1";
	uint8_t bytes[256];
	uint8_t inner[128];

	(void)state;
	authorize.call_id = start.call_id = stop.call_id = settle.call_id = cancel.call_id =
	    adopt.call_id = call_id;
	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		Callgate__V1__SessionRequest request = CALLGATE__V1__SESSION_REQUEST__INIT;
		struct cg_rpc_fault fault;
		struct cg_frame frame;
		ProtobufCMessage *ops[] = {&authorize.base, &start.base, &stop.base, &settle.base,
		    &cancel.base, &adopt.base};

		request.tag = UINT64_MAX - i;
		request.op_case = rows[i].op_case;
		/* The members of the oneof are all pointers in one place. */
		request.authorize = (void *)ops[i];
		size_t len = callgate__v1__session_request__pack(&request, bytes);
		size_t inner_len = protobuf_c_message_pack(ops[i], inner);
		assert_true(
		    cg_frame_read((struct cg_view){(const char *)bytes, len}, &frame, &fault));
		assert_true(frame.tag == UINT64_MAX - i);
		assert_int_equal(frame.method, rows[i].method);
		assert_int_equal(frame.op.len, inner_len);
		assert_memory_equal(frame.op.data, inner, inner_len);
	}
}

static void test_malformed_bytes_are_no_frame_and_others_have_a_tag(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		uint64_t tag;
		bool is_frame;
		enum cg_method method;
		const char *field; /* NULL: nothing is wrong with it */
	} rows[] = {
	    {"", 0, 0, true, CG_METHOD_COUNT, "op"},
	    {"\x08\x05", 2, 5, true, CG_METHOD_COUNT, "op"},
	    {"\x08\x05\x2A\x00", 4, 5, true, CG_METHOD_CANCEL, NULL},
	    {"\x2A\x00\x08\x05", 4, 5, true, CG_METHOD_CANCEL, NULL},
	    {"\x2A\x00\x2A\x00", 4, 0, true, CG_METHOD_COUNT, "cancel"},
	    {"\x2A\x00\x3A\x00", 4, 0, true, CG_METHOD_COUNT, "stop"},
	    {"\x2A\x00\xA0\x01\x07", 5, 0, true, CG_METHOD_CANCEL, NULL}, /* an unknown field */
	    {"\x2A\x01", 2, 0, false, 0, NULL},                           /* cut off */
	    {"\x08", 1, 0, false, 0, NULL},
	    {"\x0A\x00", 2, 0, false, 0, NULL}, /* a tag of bytes */
	    {"\x28\x01", 2, 0, false, 0, NULL}, /* an operation of a number */
	    {"\x00\x01", 2, 0, false, 0, NULL}, /* field 0 */
	    {"\x2B\x2C", 2, 0, false, 0, NULL}, /* a group */
	    {"\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02", 11, 0, false, 0, NULL},
	};

	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		struct cg_rpc_fault fault = {{0}, NULL};
		struct cg_frame frame;
		/* On the heap, so that a byte too far is seen. */
		char *copy = malloc(rows[i].len + 1);
		char *bytes = copy + 1;
		memcpy(bytes, rows[i].bytes, rows[i].len);

		bool is_frame = cg_frame_read((struct cg_view){bytes, rows[i].len}, &frame, &fault);
		assert_int_equal(is_frame, rows[i].is_frame);
		if (is_frame) {
			assert_true(frame.tag == rows[i].tag);
			assert_int_equal(frame.method, rows[i].method);
			assert_string_equal(
			    fault.field, rows[i].field == NULL ? "" : rows[i].field);
		}
		free(copy);
	}
}

static void test_an_answer_is_what_protobuf_reads(void **state)
{
	static const uint64_t tags[] = {0, 1, 127, 128, UINT64_MAX};
	Callgate__V1__StopResponse stop = CALLGATE__V1__STOP_RESPONSE__INIT;
	uint8_t bytes[64];

	(void)state;
	stop.metered_ms = 61001;
	for (size_t i = 0; i < CG_COUNT_OF(tags); i++) {
		size_t len = cg_frame_answer_bytes(tags[i], CG_METHOD_STOP, &stop.base);
		assert_true(len <= sizeof bytes);
		cg_frame_write_answer(tags[i], CG_METHOD_STOP, &stop.base, bytes);
		Callgate__V1__SessionResponse *response =
		    callgate__v1__session_response__unpack(NULL, len, bytes);
		assert_non_null(response);
		assert_true(response->tag == tags[i]);
		assert_int_equal(response->op_case, CALLGATE__V1__SESSION_RESPONSE__OP_STOP);
		assert_int_equal(response->stop->metered_ms, 61001);
		assert_int_equal(callgate__v1__session_response__get_packed_size(response), len);
		callgate__v1__session_response__free_unpacked(response, NULL);
	}
}

static void test_a_failure_is_what_protobuf_reads(void **state)
{
	const struct cg_rpc_failure failure = {.status = CG_INVALID,
	    .reason = CG_REASON_INVALID_FIELD,
	    .field = "call_id",
	    .bound = "short"};
	char text[CG_FAILURE_MESSAGE_BYTES];
	struct cg_arena arena;
	uint8_t bytes[256];

	(void)state;
	cg_arena_init(&arena, 4096);
	cg_rpc_failure_message(&failure, text);
	struct cg_view detail = cg_rpc_failure_detail(&failure, &arena);
	size_t len =
	    cg_frame_failure_bytes(9, cg_rpc_failure_code(&failure), cg_view_of(text), detail);
	assert_true(len <= sizeof bytes);
	cg_frame_write_failure(9, cg_rpc_failure_code(&failure), cg_view_of(text), detail, bytes);
	Callgate__V1__SessionResponse *response =
	    callgate__v1__session_response__unpack(NULL, len, bytes);
	assert_non_null(response);
	assert_true(response->tag == 9);
	assert_int_equal(response->status_code, 3);
	assert_string_equal(response->status_message, "call_id: must be short");
	assert_int_equal(response->op_case, CALLGATE__V1__SESSION_RESPONSE__OP__NOT_SET);
	assert_string_equal(response->error->field, "call_id");
	assert_string_equal(response->error->bound, "short");
	callgate__v1__session_response__free_unpacked(response, NULL);
	cg_arena_deinit(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_packed_request_comes_apart),
	    cmocka_unit_test(test_malformed_bytes_are_no_frame_and_others_have_a_tag),
	    cmocka_unit_test(test_an_answer_is_what_protobuf_reads),
	    cmocka_unit_test(test_a_failure_is_what_protobuf_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
