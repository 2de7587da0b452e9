/*
 * Every field of every message goes through the codec: judged by protobuf-c's
 * descriptors, so that a field missing in the codec's own lists is seen.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <callgate/v1/callgate.pb-c.h>

#include "client/codec.h"
#include "fake_message.h"

static struct cg_arena arena;

static struct cg_view packed(const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *bytes = malloc(len + 1);

	(void)protobuf_c_message_pack(message, bytes);
	return (struct cg_view){(const char *)bytes, len};
}

/* A view's bytes are const; these are packed()'s own. */
static void free_packed(struct cg_view bytes)
{
	free((char *)bytes.data);
}

/* --- Requests: filled here by the lists, judged by the descriptors. --- */

static const enum callgate_event_type two_types[] = {
    CALLGATE_EVENT_TYPE_CUT_OFF, CALLGATE_EVENT_TYPE_CALL_OVERDUE};
static const struct callgate_meta two_entries[] = {{"city", "Lagos"}, {"agent", "b-7"}};
static int64_t serial = 7000000000;
static char texts[32][64];
static size_t texts_used;

static const char *next_text(const char *name)
{
	char *text = texts[texts_used++ % CG_COUNT_OF(texts)];

	(void)snprintf(text, sizeof(texts[0]), "%s-%zu", name, texts_used);
	return text;
}

#define TEXT(name)  request.name = next_text(#name);
#define INT(name)   request.name = ++serial;
#define SMALL(name) request.name = 77;
#define BOOL(name)  request.name = true;
#define ENUM(name)  request.name = 2;
#define META(Type, message)                                                                        \
	request.meta = two_entries;                                                                \
	request.meta_count = 2;
#define TYPES                                                                                      \
	request.types = two_types;                                                                 \
	request.type_count = 2;
#define SETTLE_DURATION                                                                            \
	request.duration =                                                                         \
	    member == 0 ? CALLGATE_SETTLE_DURATION_MS : CALLGATE_SETTLE_DURATION_AS_METERED;       \
	request.duration_ms = ++serial;                                                            \
	request.as_metered = true;
#define WALLET_CHANGES                                                                             \
	request.sets_plan = true;                                                                  \
	request.plan_id = next_text("plan");                                                       \
	request.sets_frozen = true;                                                                \
	request.frozen = true;                                                                     \
	request.low_balance =                                                                      \
	    member == 0 ? CALLGATE_LOW_BALANCE_MICROS : CALLGATE_LOW_BALANCE_REMAINING_MS;         \
	request.low_balance_micros = ++serial;                                                     \
	request.low_balance_remaining_ms = ++serial;

#define X(name, NAME, Type, service)                                                               \
	static struct callgate_##name##_request full_##name(int member)                            \
	{                                                                                          \
		struct callgate_##name##_request request = {0};                                    \
                                                                                                   \
		(void)member;                                                                      \
		FIELDS_##NAME##_REQUEST return request;                                            \
	}
METHODS(X)
#undef X
#undef TEXT
#undef INT
#undef SMALL
#undef BOOL
#undef ENUM
#undef META
#undef TYPES
#undef SETTLE_DURATION
#undef WALLET_CHANGES

static void compare_changes(const struct callgate_update_wallet_request *ours,
    const Callgate__V1__UpdateWalletRequest *theirs)
{
	assert_string_equal(ours->plan_id, theirs->plan_id);
	assert_true(theirs->frozen);
	if (ours->low_balance == CALLGATE_LOW_BALANCE_MICROS) {
		assert_int_equal(theirs->low_balance_case,
		    CALLGATE__V1__UPDATE_WALLET_REQUEST__LOW_BALANCE_LOW_BALANCE_MICROS);
		assert_int_equal(ours->low_balance_micros, theirs->low_balance_micros);
	} else {
		assert_int_equal(theirs->low_balance_case,
		    CALLGATE__V1__UPDATE_WALLET_REQUEST__LOW_BALANCE_LOW_BALANCE_REMAINING_MS);
		assert_int_equal(ours->low_balance_remaining_ms, theirs->low_balance_remaining_ms);
	}
}

static void compare_duration(
    const struct callgate_settle_request *ours, const Callgate__V1__SettleRequest *theirs)
{
	if (ours->duration == CALLGATE_SETTLE_DURATION_MS) {
		assert_int_equal(
		    theirs->duration_case, CALLGATE__V1__SETTLE_REQUEST__DURATION_DURATION_MS);
		assert_int_equal(ours->duration_ms, theirs->duration_ms);
	} else {
		assert_int_equal(
		    theirs->duration_case, CALLGATE__V1__SETTLE_REQUEST__DURATION_AS_METERED);
		assert_true(theirs->as_metered);
	}
}

#define TEXT(name)      assert_string_equal(ours->name, theirs->name);
#define INT(name)       assert_int_equal(ours->name, theirs->name);
#define SMALL(name)     assert_int_equal(ours->name, theirs->name);
#define BOOL(name)      assert_int_equal(ours->name, theirs->name);
#define ENUM(name)      assert_int_equal(ours->name, theirs->name);
#define SETTLE_DURATION compare_duration(ours, theirs);
#define TYPES                                                                                      \
	assert_int_equal(theirs->n_types, 2);                                                      \
	assert_int_equal(theirs->types[0], ours->types[0]);                                        \
	assert_int_equal(theirs->types[1], ours->types[1]);
#define WALLET_CHANGES compare_changes(ours, theirs);
#define META(Type, message)                                                                        \
	assert_int_equal(ours->meta_count, theirs->n_meta);                                        \
	for (size_t i = 0; i < theirs->n_meta; i++) {                                              \
		assert_string_equal(ours->meta[i].key, theirs->meta[i]->key);                      \
		assert_string_equal(ours->meta[i].value, theirs->meta[i]->value);                  \
	}

#define X(name, NAME, Type, service)                                                               \
	static void check_request_##name(int member)                                               \
	{                                                                                          \
		struct callgate_##name##_request request = full_##name(member);                    \
		const struct callgate_##name##_request *ours = &request;                           \
		struct cg_view bytes = packed(cg_codec_encode(CG_CODEC_##NAME, ours, &arena));     \
		Callgate__V1__##Type##Request *theirs = callgate__v1__##name##_request__unpack(    \
		    NULL, bytes.len, (const uint8_t *)bytes.data);                                 \
                                                                                                   \
		assert_non_null(theirs);                                                           \
		assert_ptr_equal(fake_message_missing(&theirs->base), NULL);                       \
		FIELDS_##NAME##_REQUEST callgate__v1__##name##_request__free_unpacked(             \
		    theirs, NULL);                                                                 \
		free_packed(bytes);                                                                \
	}
METHODS(X)
#undef X

static void test_every_field_of_a_request_arrives(void **state)
{
	(void)state;
	for (int member = 0; member < 2; member++) {
#define X(name, NAME, Type, service) check_request_##name(member);
		METHODS(X)
#undef X
	}
}

/* An all-zero request is an empty message: NULL texts are "", no oneof is set. */
static void test_an_empty_request_has_no_bytes(void **state)
{
	(void)state;
#define X(name, NAME, Type, service)                                                               \
	{                                                                                          \
		struct callgate_##name##_request request = {0};                                    \
		assert_int_equal(protobuf_c_message_get_packed_size(                               \
		                     cg_codec_encode(CG_CODEC_##NAME, &request, &arena)),          \
		    0);                                                                            \
	}
	METHODS(X)
#undef X
}

#undef META
#undef TEXT
#undef INT
#undef SMALL
#undef BOOL

/* --- Answers: filled by the descriptors, compared by the lists, and the lists counted. --- */

static unsigned compared; /* fields of the outermost message */

#define TEXT(name)        assert_string_equal(ours->name, theirs->name), compared++;
#define INT(name)         assert_int_equal(ours->name, theirs->name), compared++;
#define BOOL(name)        assert_int_equal(ours->name, theirs->name), compared++;
#define KNOWN(name, TYPE) assert_int_equal(ours->name, theirs->name), compared++;
#define META(Type, message)                                                                        \
	assert_int_equal(ours->meta_count, 2);                                                     \
	for (size_t i = 0; i < 2; i++) {                                                           \
		assert_string_equal(ours->meta[i].key, theirs->meta[i]->key);                      \
		assert_string_equal(ours->meta[i].value, theirs->meta[i]->value);                  \
	}                                                                                          \
	compared++;
#define SMALL(name) assert_int_equal(ours->name, theirs->name), compared++;
#define EVENT                                                                                      \
	{                                                                                          \
		unsigned outer = compared;                                                         \
		assert_non_null(ours->event);                                                      \
		compare_event(ours->event, theirs->event);                                         \
		compared = outer + 1;                                                              \
	}
#define LOW_BALANCE compare_low_balance(ours, theirs), compared++;
#define INNER(name, comparer)                                                                      \
	{                                                                                          \
		unsigned outer = compared;                                                         \
		assert_true(ours->has_##name);                                                     \
		comparer(&ours->name, theirs->name);                                               \
		compared = outer + 1;                                                              \
	}
#define PRICE    INNER(price, compare_price)
#define WALLET   INNER(wallet, compare_wallet)
#define ONE_CALL INNER(call, compare_call)
#define SETTLED  INNER(settled, compare_settle_response)
#define CALLS                                                                                      \
	assert_int_equal(ours->calls_count, 2);                                                    \
	for (size_t i = 0; i < 2; i++) {                                                           \
		compare_call(&ours->calls[i], theirs->calls[i]);                                   \
	}                                                                                          \
	compared = 1;

static void compare_low_balance(
    const struct callgate_wallet *ours, const Callgate__V1__Wallet *theirs)
{
	if (theirs->low_balance_case == CALLGATE__V1__WALLET__LOW_BALANCE_LOW_BALANCE_MICROS) {
		assert_int_equal(ours->low_balance, CALLGATE_LOW_BALANCE_MICROS);
		assert_int_equal(ours->low_balance_micros, theirs->low_balance_micros);
	} else {
		assert_int_equal(ours->low_balance, CALLGATE_LOW_BALANCE_REMAINING_MS);
		assert_int_equal(ours->low_balance_remaining_ms, theirs->low_balance_remaining_ms);
	}
}

#define COMPARE(name, NAME, Type)                                                                  \
	static void compare_##name(                                                                \
	    const struct callgate_##name *ours, const Callgate__V1__##Type *theirs)                \
	{                                                                                          \
		compared = 0;                                                                      \
		FIELDS_##NAME assert_int_equal(                                                    \
		    compared, fake_message_count(theirs->base.descriptor));                        \
	}

COMPARE(price, PRICE, Price)
COMPARE(wallet, WALLET, Wallet)
COMPARE(call, CALL, Call)
COMPARE(event, EVENT, Event)

#define X(name, NAME, Type, service) COMPARE(name##_response, NAME##_RESPONSE, Type##Response)
METHODS(X)
#undef X
COMPARE(error_detail, ERROR_DETAIL, ErrorDetail)

#define X(name, NAME, Type, service)                                                               \
	static void check_response_##name(unsigned member)                                         \
	{                                                                                          \
		ProtobufCMessage *theirs =                                                         \
		    fake_message_full(&callgate__v1__##name##_response__descriptor, member);       \
		struct cg_view bytes = packed(theirs);                                             \
		const struct callgate_##name##_response *ours =                                    \
		    cg_codec_decode(CG_CODEC_##NAME, bytes, &arena);                               \
                                                                                                   \
		assert_non_null(ours);                                                             \
		compare_##name##_response(ours, (Callgate__V1__##Type##Response *)(void *)theirs); \
		for (size_t cut = 1; cut < bytes.len; cut++) {                                     \
			(void)cg_codec_decode(                                                     \
			    CG_CODEC_##NAME, (struct cg_view){bytes.data, cut}, &arena);           \
		}                                                                                  \
		free_packed(bytes);                                                                \
		fake_message_free(theirs);                                                         \
	}
METHODS(X)
#undef X

static void test_every_field_of_an_answer_arrives(void **state)
{
	(void)state;
#define X(name, NAME, Type, service) check_response_##name(0), check_response_##name(1);
	METHODS(X)
#undef X
}

static void test_an_empty_answer_has_no_null_text(void **state)
{
	const struct cg_view nothing = {NULL, 0};
	const struct callgate_settle_response *settled =
	    cg_codec_decode(CG_CODEC_SETTLE, nothing, &arena);
	const struct callgate_list_calls_response *calls =
	    cg_codec_decode(CG_CODEC_LIST_CALLS, nothing, &arena);
	const struct callgate_watch_response *heartbeat =
	    cg_codec_decode(CG_CODEC_WATCH, nothing, &arena);
	const struct callgate_watch_response *bare =
	    cg_codec_decode(CG_CODEC_WATCH, CG_VIEW_LITERAL("\x0a\x00"), &arena);

	(void)state;
	assert_null(heartbeat->event);
	assert_string_equal(heartbeat->resume_token, "");
	assert_string_equal(bare->event->call_id, "");
	assert_string_equal(bare->event->reference_id, "");
	assert_string_equal(settled->ledger_id, "");
	assert_false(settled->has_price);
	assert_int_equal(calls->calls_count, 0);
	assert_string_equal(calls->next_page_token, "");
}

static void test_an_enum_value_not_known_counts_as_unspecified(void **state)
{
	Callgate__V1__AuthorizeResponse theirs = CALLGATE__V1__AUTHORIZE_RESPONSE__INIT;
	const struct callgate_authorize_response *ours;
	struct cg_view bytes;

	(void)state;
	theirs.decision = 7;
	theirs.state = 1000;
	theirs.shadow_decision = (Callgate__V1__Decision)-3;
	bytes = packed(&theirs.base);
	ours = cg_codec_decode(CG_CODEC_AUTHORIZE, bytes, &arena);
	assert_int_equal(ours->decision, CALLGATE_DECISION_UNSPECIFIED);
	assert_int_equal(ours->state, CALLGATE_CALL_STATE_UNSPECIFIED);
	assert_int_equal(ours->shadow_decision, CALLGATE_DECISION_UNSPECIFIED);
	free_packed(bytes);
}

/* --- Names: the descriptors' values in lower case, without the enum's own name. --- */

static void check_names(
    const ProtobufCEnumDescriptor *descriptor, const char *prefix, const char *(*name)(unsigned))
{
	for (unsigned i = 0; i < descriptor->n_values; i++) {
		const char *value = descriptor->values[i].name;
		const char *ours = name((unsigned)descriptor->values[i].value);
		size_t skip = strlen(prefix);

		assert_memory_equal(value, prefix, skip);
		assert_int_equal(strlen(value + skip), strlen(ours));
		for (size_t j = 0; ours[j] != '\0'; j++) {
			assert_int_equal(value[skip + j], ours[j] >= 'a' ? ours[j] - 32 : ours[j]);
		}
	}
	assert_string_equal(name(descriptor->n_values), "invalid");
	assert_string_equal(name((unsigned)-1), "invalid");
}

#define NAMES(X)                                                                                   \
	X(decision, Decision, "DECISION_")                                                         \
	X(call_state, CallState, "CALL_STATE_")                                                    \
	X(durability, Durability, "DURABILITY_")                                                   \
	X(duration_basis, DurationBasis, "DURATION_BASIS_")                                        \
	X(entry_type, EntryType, "ENTRY_TYPE_")                                                    \
	X(event_type, EventType, "EVENT_TYPE_")                                                    \
	X(error_reason, ErrorReason, "ERROR_REASON_")

#define X(name, Type, prefix)                                                                      \
	static const char *name##_text(unsigned value)                                             \
	{                                                                                          \
		return callgate_##name##_name((enum callgate_##name)value);                        \
	}
NAMES(X)
#undef X

static void test_enums_have_the_contract_s_numbers_and_names(void **state)
{
	(void)state;
#define X(name, Type, prefix) check_names(&callgate__v1__##name##__descriptor, prefix, name##_text);
	NAMES(X)
#undef X
	assert_int_equal(
	    callgate_entry_type_of("monthly_grant"), CALLGATE_ENTRY_TYPE_MONTHLY_GRANT);
	assert_int_equal(callgate_entry_type_of("gift"), CALLGATE_ENTRY_TYPE_UNSPECIFIED);
	assert_int_equal(callgate_entry_type_of("unspecified"), CALLGATE_ENTRY_TYPE_UNSPECIFIED);
	assert_string_equal(
	    callgate_status_name(CALLGATE_STATUS_UNAUTHENTICATED), "unauthenticated");
	assert_string_equal(callgate_status_name((enum callgate_status)17), "invalid");
}

/* --- Error details. --- */

/* google.rpc.Status{code 9, message "no", details [Any{url, value}]}; all lengths < 128. */
static struct cg_view status_bytes(const char *url, struct cg_view value, char *memory, size_t size)
{
	struct cg_buffer any;
	struct cg_buffer out;
	char inner[256];

	cg_buffer_init(&any, inner, sizeof(inner));
	cg_buffer_bytes(&any, "\x0a", 1);
	cg_buffer_text(&any, cg_view_of(url), 1);
	cg_buffer_bytes(&any, "\x12", 1);
	cg_buffer_text(&any, value, 1);
	cg_buffer_init(&out, memory, size);
	cg_buffer_bytes(&out, "\x08\x09\x12\x02no\x1a", 7);
	cg_buffer_text(&out, cg_buffer_view(&any), 1);
	assert_false(any.overflow || out.overflow);
	assert_true(out.len < 128);
	return cg_buffer_view(&out);
}

#define URL "type.googleapis.com/callgate.v1.ErrorDetail"

static void test_an_error_detail_arrives_whole(void **state)
{
	struct callgate_error_detail ours = {0};
	ProtobufCMessage *theirs = fake_message_full(&callgate__v1__error_detail__descriptor, 0);
	struct cg_view value = packed(theirs);

	(void)state;
	/* Its own decoder: the wrapping needs two-byte lengths for all of its fields. */
	{
		char memory[1024];
		struct cg_buffer out;
		size_t any_len = 2 + sizeof(URL) - 1 + 3 + value.len;

		cg_buffer_init(&out, memory, sizeof(memory));
		cg_buffer_bytes(&out, "\x1a", 1);
		cg_buffer_uint(&out, (any_len & 0x7f) | 0x80, 1);
		cg_buffer_uint(&out, any_len >> 7, 1);
		cg_buffer_bytes(&out, "\x0a", 1);
		cg_buffer_text(&out, cg_view_of(URL), 1);
		cg_buffer_bytes(&out, "\x12", 1);
		cg_buffer_uint(&out, (value.len & 0x7f) | 0x80, 1);
		cg_buffer_uint(&out, value.len >> 7, 1);
		cg_buffer_bytes(&out, value.data, value.len);
		assert_true(value.len >= 128 && !out.overflow);
		assert_true(cg_codec_decode_detail(cg_buffer_view(&out), &arena, &ours));
	}
	compare_error_detail(&ours, (Callgate__V1__ErrorDetail *)(void *)theirs);
	free_packed(value);
	fake_message_free(theirs);
}

static void test_other_details_are_none_of_ours(void **state)
{
	static const char unavailable[] = "\x08\x09"; /* reason: STORE_UNAVAILABLE */
	struct cg_view value = {unavailable, 2};
	struct callgate_error_detail detail = {.field = "untouched"};
	char memory[256];
	struct cg_view bytes = status_bytes(URL, value, memory, sizeof(memory));

	(void)state;
	for (size_t cut = 0; cut < bytes.len; cut++) {
		assert_false(
		    cg_codec_decode_detail((struct cg_view){bytes.data, cut}, &arena, &detail));
	}
	assert_string_equal(detail.field, "untouched");
	assert_true(cg_codec_decode_detail(bytes, &arena, &detail));
	assert_int_equal(detail.reason, CALLGATE_ERROR_REASON_STORE_UNAVAILABLE);
	assert_false(cg_codec_decode_detail(
	    status_bytes("x/google.rpc.RetryInfo", value, memory, sizeof(memory)), &arena,
	    &detail));
	value = (struct cg_view){"\x12\x7f", 2}; /* a text longer than the message */
	assert_false(cg_codec_decode_detail(
	    status_bytes(URL, value, memory, sizeof(memory)), &arena, &detail));
	assert_false(cg_codec_decode_detail(
	    CG_VIEW_LITERAL("\x08\x02\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01z"), &arena,
	    &detail));
	assert_false(cg_codec_decode_detail(
	    CG_VIEW_LITERAL("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), &arena, &detail));
}

/* 44 bytes of memory per byte received: the arena ends it, not the process. */
static void test_an_answer_cannot_take_memory_without_end(void **state)
{
	size_t len = (size_t)8 * 1024 * 1024;
	char *bytes = malloc(len);
	struct cg_view answer = {bytes, len};

	(void)state;
	for (size_t i = 0; i < len; i += 2) {
		bytes[i] = '\x0a'; /* calls: one more, ... */
		bytes[i + 1] = 0;  /* ... empty */
	}
	assert_null(cg_codec_decode(CG_CODEC_LIST_CALLS, answer, &arena));
	assert_true(arena.taken_bytes <= CG_ARENA_LIMIT_BYTES);
	free(bytes);
}

static int set_up(void **state)
{
	(void)state;
	cg_arena_init(&arena);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	cg_arena_reset(&arena);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_every_field_of_a_request_arrives),
	    TEST(test_an_empty_request_has_no_bytes),
	    TEST(test_every_field_of_an_answer_arrives),
	    TEST(test_an_empty_answer_has_no_null_text),
	    TEST(test_an_enum_value_not_known_counts_as_unspecified),
	    TEST(test_enums_have_the_contract_s_numbers_and_names),
	    TEST(test_an_error_detail_arrives_whole),
	    TEST(test_other_details_are_none_of_ours),
	    TEST(test_an_answer_cannot_take_memory_without_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
