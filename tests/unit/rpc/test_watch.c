/*
 * WatchRequests taken apart, and what watchers are told put together.
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

#include "events/events.h"
#include "rpc/decode.h"
#include "rpc/encode.h"

#define COMPANY "01234567-89ab-cdef-0123-456789abcdef"
#define AT_MS   INT64_C(1790000000000)

static struct cg_rpc_decoder decoder;
static uint8_t packed[262144];

static int set_up(void **state)
{
	(void)state;
	cg_rpc_decoder_init(&decoder, 7);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	cg_rpc_decoder_deinit(&decoder);
	return 0;
}

struct request {
	const char *company;
	const char *token;
	size_t type_count;
	int types[2];      /* in turns */
	const char *field; /* NULL: it is good */
	const char *bound;
};

static size_t pack(const struct request *given)
{
	Callgate__V1__WatchRequest message = CALLGATE__V1__WATCH_REQUEST__INIT;
	Callgate__V1__EventType types[66];
	/* protobuf-c takes texts without const and writes to none. */
	union {
		const char *given;
		char *wanted;
	} company = {.given = given->company}, token = {.given = given->token};

	message.company_id = company.wanted;
	message.resume_token = token.wanted;
	message.n_types = given->type_count;
	message.types = types;
	for (size_t i = 0; i < given->type_count; i++) {
		types[i] = (Callgate__V1__EventType)given->types[i % 2];
	}
	return callgate__v1__watch_request__pack(&message, packed);
}

static bool decode(size_t len, struct cg_watch_in *ret_in, struct cg_rpc_fault *ret_fault)
{
	/* On the heap, so that reading beyond the end is seen. */
	char *exact = malloc(len > 0 ? len : 1);

	assert_non_null(exact);
	memcpy(exact, packed, len);
	bool good = cg_rpc_decode_watch(&decoder, (struct cg_view){exact, len}, ret_in, ret_fault);
	free(exact);
	return good;
}

#define BOUND_COMPANY "empty or a UUID of 36 characters"
#define BOUND_TOKEN   "0..65536 bytes of printable ASCII, as it was answered"
#define BOUND_TYPES   "at most 64 known types, none of them UNSPECIFIED"

static const struct request requests[] = {
    {"", "", 0, {0}, NULL, NULL},
    {COMPANY, "abc", 2, {7, 17}, NULL, NULL},
    {COMPANY, "!~", 1, {1}, NULL, NULL},
    {"", "", 64, {7, 17}, NULL, NULL},
    {"x", "", 0, {0}, "company_id", BOUND_COMPANY},
    {COMPANY "0", "", 0, {0}, "company_id", BOUND_COMPANY},
    {"", "a b", 0, {0}, "resume_token", BOUND_TOKEN},
    {"", "\x7F", 0, {0}, "resume_token", BOUND_TOKEN},
    {"", "\xC3\xA9", 0, {0}, "resume_token", BOUND_TOKEN},
    {"", "\xFF", 0, {0}, "resume_token", BOUND_TOKEN},
    {"\xFF", "", 0, {0}, "company_id", BOUND_COMPANY},
    {"", "", 1, {0}, "types", BOUND_TYPES},
    {"", "", 1, {18}, "types", BOUND_TYPES},
    {"", "", 1, {-1}, "types", BOUND_TYPES},
    {"", "", 2, {7, INT32_MAX}, "types", BOUND_TYPES},
    {"", "", 65, {7, 17}, "types", BOUND_TYPES},
};

static void test_each_request_is_good_or_has_its_bound(void **state)
{
	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(requests); i++) {
		const struct request *row = &requests[i];
		struct cg_rpc_fault fault = {.bound = ""};
		struct cg_watch_in in;
		bool good = decode(pack(row), &in, &fault);
		if (good != (row->field == NULL)) {
			fail_msg("row %zu: %s must be %s", i, fault.field, fault.bound);
		}
		if (row->field != NULL) {
			assert_string_equal(fault.field, row->field);
			assert_string_equal(fault.bound, row->bound);
		}
	}
}

static void test_a_request_is_carried_over(void **state)
{
	struct cg_rpc_fault fault;
	struct cg_watch_in in;
	struct cg_uuid company;

	(void)state;
	assert_true(decode(pack(&requests[0]), &in, &fault));
	assert_true(in.all_companies);
	assert_int_equal(in.types, 0);
	assert_int_equal(in.resume_token.len, 0);

	assert_true(decode(pack(&requests[1]), &in, &fault));
	assert_true(cg_uuid_parse(CG_VIEW_LITERAL(COMPANY), &company));
	assert_false(in.all_companies);
	assert_true(cg_uuid_equal(&in.company, &company));
	assert_int_equal(in.types, 1u << 7 | 1u << 17);
	assert_true(cg_view_equal(in.resume_token, CG_VIEW_LITERAL("abc")));
}

static void test_a_token_has_a_longest(void **state)
{
	static char token[65538];
	struct request request = {.company = "", .token = token};
	struct cg_rpc_fault fault;
	struct cg_watch_in in;

	(void)state;
	memset(token, 'a', 65536);
	assert_true(decode(pack(&request), &in, &fault));
	assert_int_equal(in.resume_token.len, 65536);
	token[65536] = 'a';
	assert_false(decode(pack(&request), &in, &fault));
	assert_string_equal(fault.field, "resume_token");
}

static void test_bytes_that_are_no_request_are_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *field;
	} rows[] = {
	    {"\xFF", 1, "WatchRequest"},
	    {"\x0A\x05"
	     "ab",
	        4, "WatchRequest"},
	    {"\x12\x02"
	     "a\0",
	        4, "resume_token"},
	    {"\x1A\x01\xFF", 3, "WatchRequest"},  /* types, packed, cut off */
	    {"\x1D\0\0\0\0", 5, "WatchRequest"},  /* types of a wrong wire type */
	    {"\x08\x01", 2, "WatchRequest"},      /* company_id as a number */
	    {"\x1A\x03\x07\x07\x12", 5, "types"}, /* 18, packed */
	    {"\x18\x07\x18\x00", 4, "types"},     /* 0, not packed */
	};

	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		struct cg_rpc_fault fault;
		struct cg_watch_in in;
		memcpy(packed, rows[i].bytes, rows[i].len);
		if (decode(rows[i].len, &in, &fault)) {
			fail_msg("row %zu is taken", i);
		}
		assert_string_equal(fault.field, rows[i].field);
	}
}

static void test_thousands_of_types_are_refused_within_bounds(void **state)
{
	struct cg_rpc_fault fault;
	struct cg_watch_in in;

	(void)state;
	/* 65532 types of a byte each in one packed field. */
	memset(packed, 7, 65536);
	static const uint8_t head[] = {0x1A, 0xFC, 0xFF, 0x03};
	memcpy(packed, head, sizeof head);
	assert_false(decode(65536, &in, &fault));
}

/* Through the wire and back; to be freed with protobuf_c_message_free_unpacked(). */
static Callgate__V1__WatchResponse *told(const struct cg_watch_message *message)
{
	const ProtobufCMessage *encoded = cg_rpc_encode_watch(message, &decoder.arena);

	assert_non_null(encoded);
	size_t len = protobuf_c_message_get_packed_size(encoded);
	assert_true(len <= sizeof packed);
	assert_int_equal(protobuf_c_message_pack(encoded, packed), len);
	Callgate__V1__WatchResponse *again =
	    callgate__v1__watch_response__unpack(NULL, len, packed);
	assert_non_null(again);
	return again;
}

static void drop(Callgate__V1__WatchResponse *response)
{
	callgate__v1__watch_response__free_unpacked(response, NULL);
}

static void test_a_heartbeat_has_no_event(void **state)
{
	(void)state;
	Callgate__V1__WatchResponse *r = told(&(struct cg_watch_message){
	    .resume_token = CG_VIEW_LITERAL("token"), .as_of_ms = AT_MS});
	assert_null(r->event);
	assert_string_equal(r->resume_token, "token");
	assert_int_equal(r->as_of_ms, AT_MS);
	drop(r);
}

static const struct cg_event full = {
    .type = CG_EVENT_CUT_OFF,
    .partition = 3,
    .position = {.event = {5, 17}, .entry = {4, 9}},
    .at_ms = AT_MS,
    .call_id = {"call-1", 6},
    .reference_id = {"ref", 3},
    .amount = {1500},
    .available = {-7},
    .exhausts_at_ms = AT_MS + 30000,
    .repeat = 2,
    .decision = CG_DECISION_CONCURRENCY_LIMIT,
    .shadow_decision = CG_DECISION_BARRED,
    .shadow = true,
    .billed_ms = 60000,
    .basis = CG_BASIS_ASSUMED,
    .entry_type = CG_ENTRY_REFUND,
    .meta = {{"\x04"
              "city\x04\0Bern",
        11}},
};

static void test_an_event_keeps_every_field(void **state)
{
	struct cg_event event = full;

	(void)state;
	assert_true(cg_uuid_parse(CG_VIEW_LITERAL(COMPANY), &event.company));
	Callgate__V1__WatchResponse *r =
	    told(&(struct cg_watch_message){.event = &event, .as_of_ms = 1});
	const Callgate__V1__Event *e = r->event;
	assert_string_equal(r->resume_token, "");
	assert_string_equal(e->id, "e3-5-17");
	assert_string_equal(e->ledger_id, "");
	assert_string_equal(e->company_id, COMPANY);
	assert_string_equal(e->call_id, "call-1");
	assert_string_equal(e->reference_id, "ref");
	assert_int_equal(e->type, CALLGATE__V1__EVENT_TYPE__EVENT_TYPE_CUT_OFF);
	assert_int_equal(e->at_ms, AT_MS);
	assert_int_equal(e->amount_micros, 1500);
	assert_int_equal(e->available_micros, -7);
	assert_int_equal(e->exhausts_at_ms, AT_MS + 30000);
	assert_int_equal(e->remaining_ms, 0);
	assert_int_equal(e->repeat, 2);
	assert_int_equal(e->decision, CALLGATE__V1__DECISION__DECISION_DENIED_CONCURRENCY_LIMIT);
	assert_int_equal(e->shadow_decision, CALLGATE__V1__DECISION__DECISION_DENIED_BARRED);
	assert_true(e->shadow);
	assert_int_equal(e->billed_ms, 60000);
	assert_int_equal(e->basis, CALLGATE__V1__DURATION_BASIS__DURATION_BASIS_ASSUMED);
	assert_int_equal(e->entry_type, CALLGATE__V1__ENTRY_TYPE__ENTRY_TYPE_REFUND);
	assert_int_equal(e->n_meta, 1);
	assert_string_equal(e->meta[0]->key, "city");
	assert_string_equal(e->meta[0]->value, "Bern");
	drop(r);
}

static void test_an_entry_says_its_id_twice(void **state)
{
	struct cg_event event = full;

	(void)state;
	event.is_entry = true;
	Callgate__V1__WatchResponse *r = told(&(struct cg_watch_message){.event = &event});
	assert_string_equal(r->event->id, "3-4-9");
	assert_string_equal(r->event->ledger_id, "3-4-9");
	drop(r);
}

/* exhausts_at_ms and remaining_ms, where the store says that it is in 30 s. */
static const struct {
	enum cg_event_type type;
	int64_t exhausts_at_ms;
	int64_t remaining_ms;
} exhaustions[] = {
    {CG_EVENT_CUT_WARNING, AT_MS + 30000, 30000},
    {CG_EVENT_BALANCE_LOW, AT_MS + 30000, 30000},
    {CG_EVENT_CUT_OFF, AT_MS + 30000, 0},
    {CG_EVENT_CREDITED, AT_MS + 30000, 0},
    {CG_EVENT_CALL_SETTLED, 0, 0},
    {CG_EVENT_CALL_STARTED, 0, 0},
    {CG_EVENT_CHARGED, 0, 0},
};

static void test_exhaustion_is_told_where_the_contract_says(void **state)
{
	struct cg_event event = full;
	struct cg_watch_message message = {.event = &event};

	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(exhaustions); i++) {
		event.type = exhaustions[i].type;
		event.exhausts_at_ms = full.exhausts_at_ms;
		Callgate__V1__WatchResponse *r = told(&message);
		assert_int_equal(r->event->exhausts_at_ms, exhaustions[i].exhausts_at_ms);
		assert_int_equal(r->event->remaining_ms, exhaustions[i].remaining_ms);
		drop(r);

		event.exhausts_at_ms = 0; /* never */
		r = told(&message);
		assert_int_equal(r->event->exhausts_at_ms, 0);
		assert_int_equal(r->event->remaining_ms, 0);
		drop(r);

		event.exhausts_at_ms = AT_MS - 1; /* since before the event */
		r = told(&message);
		assert_int_equal(r->event->remaining_ms, 0);
		drop(r);
	}
}

static void test_numbers_stay_within_the_wires(void **state)
{
	struct cg_event event = full;

	(void)state;
	event.repeat = UINT32_MAX;
	event.amount.micros = INT64_MIN;
	Callgate__V1__WatchResponse *r = told(&(struct cg_watch_message){.event = &event});
	assert_int_equal(r->event->repeat, INT32_MAX);
	assert_true(r->event->amount_micros == INT64_MIN);
	drop(r);
}

/* As many pairs as bytes hold: keys of two, no value. */
static size_t fill_pairs(char *memory, size_t capacity)
{
	size_t len = 0;

	for (unsigned i = 0; len + 5 <= capacity; i++, len += 5) {
		memset(memory + len, 0, 5);
		memory[len] = 2;
		memory[len + 1] = (char)('!' + i % 90);
		memory[len + 2] = (char)('!' + i / 90 % 90);
	}
	return len;
}

static void test_the_largest_meta_fits(void **state)
{
	/* The call's own and a Settle's, 4096 bytes of keys each. */
	static char pairs[2 * 2048 * 5];
	struct cg_event event = full;

	(void)state;
	event.meta.pairs = (struct cg_view){pairs, fill_pairs(pairs, sizeof pairs)};
	Callgate__V1__WatchResponse *r = told(&(struct cg_watch_message){.event = &event});
	assert_int_equal(r->event->n_meta, 2 * 2048);
	drop(r);

	/* One pair of 4 KiB. */
	memset(pairs, 'v', sizeof pairs);
	static const char head[] = {1, 'k', '\xFF', 0x0F};
	memcpy(pairs, head, sizeof head);
	event.meta.pairs.len = 4 + 4095;
	r = told(&(struct cg_watch_message){.event = &event});
	assert_int_equal(r->event->n_meta, 1);
	assert_int_equal(strlen(r->event->meta[0]->value), 4095);
	drop(r);
}

static void test_meta_that_does_not_fit_is_left_out_and_the_event_told(void **state)
{
	static char pairs[65535];
	struct cg_event event = full;

	(void)state;
	event.meta.pairs = (struct cg_view){pairs, fill_pairs(pairs, sizeof pairs)};
	Callgate__V1__WatchResponse *r = told(&(struct cg_watch_message){.event = &event});
	assert_string_equal(r->event->id, "e3-5-17");
	assert_int_equal(r->event->n_meta, 0);
	drop(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_each_request_is_good_or_has_its_bound),
	    cmocka_unit_test(test_a_request_is_carried_over),
	    cmocka_unit_test(test_a_token_has_a_longest),
	    cmocka_unit_test(test_bytes_that_are_no_request_are_refused),
	    cmocka_unit_test(test_thousands_of_types_are_refused_within_bounds),
	    cmocka_unit_test(test_a_heartbeat_has_no_event),
	    cmocka_unit_test(test_an_event_keeps_every_field),
	    cmocka_unit_test(test_an_entry_says_its_id_twice),
	    cmocka_unit_test(test_exhaustion_is_told_where_the_contract_says),
	    cmocka_unit_test(test_numbers_stay_within_the_wires),
	    cmocka_unit_test(test_the_largest_meta_fits),
	    cmocka_unit_test(test_meta_that_does_not_fit_is_left_out_and_the_event_told),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
