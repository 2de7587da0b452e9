/*
 * Answers as the contract's messages, packed and read back; and what stands where there is
 * no answer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "rpc/encode.h"
#include "rpc/failure.h"

static struct cg_arena arena;
static uint8_t packed[65536];

static int set_up(void **state)
{
	(void)state;
	cg_arena_init(&arena, CG_ARENA_BYTES);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	cg_arena_deinit(&arena);
	return 0;
}

/* Through the wire and back; to be freed with protobuf_c_message_free_unpacked(). */
static void *round_trip(const ProtobufCMessage *message)
{
	assert_non_null(message);
	size_t len = protobuf_c_message_get_packed_size(message);
	assert_true(len <= sizeof packed);
	assert_int_equal(protobuf_c_message_pack(message, packed), len);
	void *again = protobuf_c_message_unpack(message->descriptor, NULL, len, packed);
	assert_non_null(again);
	return again;
}

static const struct cg_price price = {{90000}, {20000}, 60000, 6000};
static const struct cg_currency usd = {"usd"};

static void test_an_authorization_keeps_every_field(void **state)
{
	struct cg_request req = {.method = CG_METHOD_AUTHORIZE};

	(void)state;
	req.out.authorize = (struct cg_authorize_out){
	    .store = {.decision = CG_DECISION_BARRED,
	        .shadow_decision = CG_DECISION_SUSPENDED,
	        .state = CG_CALL_STOPPED,
	        .has_price = true,
	        .price = price,
	        .held = {1},
	        .available = {-2},
	        .required = {3},
	        .max_duration_ms = 4,
	        .expires_at_ms = 5,
	        .replayed = true},
	    .as_of_ms = 6,
	    .currency = usd,
	};
	Callgate__V1__AuthorizeResponse *r = round_trip(cg_rpc_encode(&req, &arena));
	assert_int_equal(r->decision, CALLGATE__V1__DECISION__DECISION_DENIED_BARRED);
	assert_int_equal(r->shadow_decision, CALLGATE__V1__DECISION__DECISION_DENIED_SUSPENDED);
	assert_int_equal(r->state, CALLGATE__V1__CALL_STATE__CALL_STATE_STOPPED);
	assert_int_equal(r->price->rate_micros_per_minute, 90000);
	assert_int_equal(r->price->connect_fee_micros, 20000);
	assert_int_equal(r->price->minimum_ms, 60000);
	assert_int_equal(r->price->increment_ms, 6000);
	assert_string_equal(r->price->currency, "usd");
	assert_int_equal(r->held_micros, 1);
	assert_int_equal(r->available_micros, -2);
	assert_int_equal(r->required_micros, 3);
	assert_int_equal(r->max_duration_ms, 4);
	assert_int_equal(r->expires_at_ms, 5);
	assert_int_equal(r->as_of_ms, 6);
	assert_true(r->replayed);
	protobuf_c_message_free_unpacked(&r->base, NULL);

	req.out.authorize.store.has_price = false;
	r = round_trip(cg_rpc_encode(&req, &arena));
	assert_null(r->price);
	protobuf_c_message_free_unpacked(&r->base, NULL);
}

static void test_a_settlement_keeps_every_field(void **state)
{
	struct cg_request req = {.method = CG_METHOD_SETTLE};

	(void)state;
	req.out.settle = (struct cg_settle_out){
	    .store = {.cost = {1},
	        .billed_ms = 2,
	        .balance = {-3},
	        .available = {-4},
	        .replayed = true,
	        .late = true,
	        .duration_ms = 5,
	        .basis = CG_BASIS_ASSUMED,
	        .price = price,
	        .corrected = {-6},
	        .entry_id = {7, 8, 9}},
	    .state = CG_CALL_SETTLED,
	    .currency = usd,
	};
	Callgate__V1__SettleResponse *r = round_trip(cg_rpc_encode(&req, &arena));
	assert_int_equal(r->state, CALLGATE__V1__CALL_STATE__CALL_STATE_SETTLED);
	assert_int_equal(r->cost_micros, 1);
	assert_int_equal(r->billed_ms, 2);
	assert_int_equal(r->balance_micros, -3);
	assert_int_equal(r->available_micros, -4);
	assert_true(r->replayed);
	assert_true(r->late);
	assert_int_equal(r->duration_ms, 5);
	assert_int_equal(r->basis, CALLGATE__V1__DURATION_BASIS__DURATION_BASIS_ASSUMED);
	assert_int_equal(r->corrected_micros, -6);
	assert_string_equal(r->ledger_id, "7-8-9");
	protobuf_c_message_free_unpacked(&r->base, NULL);

	req.out.settle.store.entry_id.epoch = 0;
	r = round_trip(cg_rpc_encode(&req, &arena));
	assert_string_equal(r->ledger_id, "");
	protobuf_c_message_free_unpacked(&r->base, NULL);
}

static void test_a_wallet_says_which_threshold_holds(void **state)
{
	struct cg_request req = {.method = CG_METHOD_CREATE_WALLET};
	struct cg_wallet *wallet = &req.out.wallet.wallet;

	(void)state;
	req.out.wallet.replayed = true;
	assert_true(
	    cg_uuid_parse(cg_view_of("0A234567-89ab-cdef-0123-456789abcdef"), &wallet->company));
	wallet->currency = usd;
	memcpy(wallet->plan_id, "growth", 7);
	wallet->has_low_balance = true;
	Callgate__V1__CreateWalletResponse *r = round_trip(cg_rpc_encode(&req, &arena));
	assert_true(r->replayed);
	assert_string_equal(r->wallet->company_id, "0a234567-89ab-cdef-0123-456789abcdef");
	assert_string_equal(r->wallet->plan_id, "growth");
	assert_int_equal(r->wallet->low_balance_case, 6);
	protobuf_c_message_free_unpacked(&r->base, NULL);

	wallet->low_balance_remaining_ms = 60000;
	r = round_trip(cg_rpc_encode(&req, &arena));
	assert_int_equal(r->wallet->low_balance_case, 7);
	assert_int_equal(r->wallet->low_balance_remaining_ms, 60000);
	protobuf_c_message_free_unpacked(&r->base, NULL);

	wallet->has_low_balance = false;
	r = round_trip(cg_rpc_encode(&req, &arena));
	assert_int_equal(r->wallet->low_balance_case, 0);
	protobuf_c_message_free_unpacked(&r->base, NULL);
}

static void test_a_call_keeps_its_meta_in_order(void **state)
{
	static const char pairs[] = "\1a\1\0"
	                            "1\1b\0\0\1a\1\0"
	                            "2";
	struct cg_request req = {.method = CG_METHOD_GET_CALL};

	(void)state;
	req.out.call = (struct cg_call){
	    .call_id = {"c1-and-more", 2},
	    .state = CG_CALL_METERING,
	    .price = price,
	    .currency = usd,
	    .meta = {{pairs, sizeof pairs - 1}},
	    .entry_id = {1, 2, 3},
	    .late = true,
	};
	Callgate__V1__GetCallResponse *r = round_trip(cg_rpc_encode(&req, &arena));
	assert_string_equal(r->call->call_id, "c1");
	assert_int_equal(r->call->n_meta, 3);
	assert_string_equal(r->call->meta[0]->key, "a");
	assert_string_equal(r->call->meta[0]->value, "1");
	assert_string_equal(r->call->meta[1]->value, "");
	assert_string_equal(r->call->meta[2]->value, "2"); /* the later one holds */
	assert_string_equal(r->call->ledger_id, "1-2-3");
	assert_true(r->call->late);
	protobuf_c_message_free_unpacked(&r->base, NULL);
}

static void test_an_answer_that_does_not_fit_is_none(void **state)
{
	struct cg_request req = {.method = CG_METHOD_SETTLE};
	struct cg_arena small;

	(void)state;
	for (size_t bytes = 16; bytes < 256; bytes += 16) {
		cg_arena_init(&small, bytes);
		assert_null(cg_rpc_encode(&req, &small));
		cg_arena_deinit(&small);
	}
}

static void test_the_arena_ends_where_it_ends(void **state)
{
	struct cg_arena small;

	(void)state;
	cg_arena_init(&small, 64);
	assert_non_null(cg_arena_take(&small, 33)); /* 48 with its alignment */
	assert_non_null(cg_arena_take(&small, 16));
	assert_false(small.overflow);
	assert_null(cg_arena_take(&small, 1));
	assert_true(small.overflow);
	assert_null(cg_arena_take(&small, SIZE_MAX));
	cg_arena_reset(&small);
	assert_false(small.overflow);
	char *all = cg_arena_take(&small, 64);
	assert_non_null(all);
	memset(all, 1, 64);
	assert_int_equal((uintptr_t)all % 16, 0);
	cg_arena_deinit(&small);
}

/* One row per way to fail: ours, the reason, gRPC's. */
static void test_every_status_has_its_code(void **state)
{
	static const struct {
		enum cg_status status;
		enum cg_reason reason;
		bool deadline_passed;
		grpc_status_code code;
	} rows[] = {
	    {CG_INVALID, CG_REASON_INVALID_FIELD, false, GRPC_STATUS_INVALID_ARGUMENT},
	    {CG_NOT_FOUND, CG_REASON_NO_WALLET, false, GRPC_STATUS_NOT_FOUND},
	    {CG_WRONG_STATE, CG_REASON_WRONG_STATE, false, GRPC_STATUS_FAILED_PRECONDITION},
	    {CG_WRONG_STATE, CG_REASON_NO_PRICE, false, GRPC_STATUS_FAILED_PRECONDITION},
	    {CG_KEY_REUSED, CG_REASON_KEY_REUSED, false, GRPC_STATUS_ALREADY_EXISTS},
	    {CG_OUT_OF_RANGE, CG_REASON_NONE, false, GRPC_STATUS_OUT_OF_RANGE},
	    {CG_FULL, CG_REASON_TOO_MANY_IN_FLIGHT, false, GRPC_STATUS_RESOURCE_EXHAUSTED},
	    {CG_FULL, CG_REASON_OUTBOX_FULL, false, GRPC_STATUS_UNAVAILABLE},
	    {CG_FULL, CG_REASON_STORE_UNAVAILABLE, false, GRPC_STATUS_UNAVAILABLE},
	    {CG_UNAVAILABLE, CG_REASON_STORE_UNAVAILABLE, false, GRPC_STATUS_UNAVAILABLE},
	    {CG_UNAVAILABLE, CG_REASON_LEDGER_UNAVAILABLE, true, GRPC_STATUS_DEADLINE_EXCEEDED},
	    {CG_TIMEOUT, CG_REASON_STORE_UNAVAILABLE, false, GRPC_STATUS_UNAVAILABLE},
	    {CG_TIMEOUT, CG_REASON_STORE_UNAVAILABLE, true, GRPC_STATUS_DEADLINE_EXCEEDED},
	    {CG_LOST, CG_REASON_STORE_UNAVAILABLE, false, GRPC_STATUS_UNAVAILABLE},
	    {CG_RECOVERING, CG_REASON_RECOVERING, false, GRPC_STATUS_UNAVAILABLE},
	    {CG_CLOSING, CG_REASON_SHUTTING_DOWN, false, GRPC_STATUS_UNAVAILABLE},
	    {CG_DENIED, CG_REASON_LEDGER_UNAVAILABLE, false, GRPC_STATUS_UNAVAILABLE},
	    {CG_INTERNAL, CG_REASON_NONE, true, GRPC_STATUS_INTERNAL},
	};
	unsigned seen = 1u << CG_OK;

	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		struct cg_rpc_failure failure = {.status = rows[i].status,
		    .reason = rows[i].reason,
		    .deadline_passed = rows[i].deadline_passed};
		assert_int_equal(cg_rpc_failure_code(&failure), rows[i].code);
		failure.unimplemented = true;
		assert_int_equal(cg_rpc_failure_code(&failure), GRPC_STATUS_UNIMPLEMENTED);
		seen |= 1u << rows[i].status;
	}
	assert_int_equal(seen, (1u << CG_STATUS_COUNT) - 1); /* every one has a row */
}

static void test_a_failure_speaks_to_people(void **state)
{
	char text[CG_FAILURE_MESSAGE_BYTES];

	(void)state;
	cg_rpc_failure_message(&(struct cg_rpc_failure){.status = CG_INVALID,
	                           .reason = CG_REASON_INVALID_FIELD,
	                           .field = "call_id",
	                           .bound = "1..128 bytes of printable ASCII"},
	    text);
	assert_string_equal(text, "call_id: must be 1..128 bytes of printable ASCII");
	cg_rpc_failure_message(&(struct cg_rpc_failure){.status = CG_WRONG_STATE,
	                           .reason = CG_REASON_WRONG_STATE,
	                           .state = CG_CALL_CANCELLED},
	    text);
	assert_string_equal(text, "the call is CANCELLED");
	for (int status = CG_OK + 1; status < CG_STATUS_COUNT; status++) {
		for (int reason = 0; reason <= CG_REASON_SHUTTING_DOWN; reason++) {
			cg_rpc_failure_message(
			    &(struct cg_rpc_failure){
			        .status = (enum cg_status)status, .reason = (enum cg_reason)reason},
			    text);
			assert_true(text[0] != '\0');
		}
	}
}

static void test_details_hold_what_was_charged(void **state)
{
	struct cg_settle_out settled = {.store = {.cost = {1500}}, .state = CG_CALL_SETTLED};
	struct cg_rpc_failure failure = {
	    .status = CG_KEY_REUSED, .reason = CG_REASON_KEY_REUSED, .settled = &settled};

	(void)state;
	struct cg_view details = cg_rpc_failure_details(&failure, &arena);
	/* google.rpc.Status: code 6, message, one Any. */
	assert_true(details.len > 60);
	assert_memory_equal(details.data, "\x08\x06\x12", 3);
	size_t any_at = 4 + (size_t)details.data[3];
	assert_int_equal(details.data[any_at], 0x1A);
	const char *type = "type.googleapis.com/callgate.v1.ErrorDetail";
	const char *at = memchr(details.data + any_at, 't', details.len - any_at);
	assert_non_null(at);
	assert_memory_equal(at, type, strlen(type));
	at += strlen(type);
	assert_int_equal(*at, 0x12);
	size_t len = (size_t)at[1];
	assert_ptr_equal(at + 2 + len, details.data + details.len);
	Callgate__V1__ErrorDetail *detail =
	    callgate__v1__error_detail__unpack(NULL, len, (const uint8_t *)at + 2);
	assert_non_null(detail);
	assert_int_equal(detail->reason, CALLGATE__V1__ERROR_REASON__ERROR_REASON_KEY_REUSED);
	assert_int_equal(detail->settled->cost_micros, 1500);
	callgate__v1__error_detail__free_unpacked(detail, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_an_authorization_keeps_every_field),
	    cmocka_unit_test(test_a_settlement_keeps_every_field),
	    cmocka_unit_test(test_a_wallet_says_which_threshold_holds),
	    cmocka_unit_test(test_a_call_keeps_its_meta_in_order),
	    cmocka_unit_test(test_an_answer_that_does_not_fit_is_none),
	    cmocka_unit_test(test_the_arena_ends_where_it_ends),
	    cmocka_unit_test(test_every_status_has_its_code),
	    cmocka_unit_test(test_a_failure_speaks_to_people),
	    cmocka_unit_test(test_details_hold_what_was_charged),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
