/*
 * The contract's bounds, one row per bad field: bytes in, the field and its bound out.
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

#define COMPANY "0A24 30313233343536372D383961622D636465662D303132332D343536373839616263646566"
#define CALL_1  "1202 6331"
#define VOICE   "1A05 766F696365"

struct fixture {
	struct cg_rpc_decoder decoder;
	struct cg_request req;
	struct cg_rpc_fault fault;
	char text[CG_RPC_TEXT_BYTES];
};

static struct fixture f;

static int set_up(void **state)
{
	(void)state;
	cg_rpc_decoder_init(&f.decoder, 7);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	cg_rpc_decoder_deinit(&f.decoder);
	return 0;
}

static bool decode(enum cg_method method, const void *bytes, size_t len)
{
	struct cg_buffer text;

	cg_buffer_init(&text, f.text, sizeof f.text);
	memset(&f.fault, 0, sizeof f.fault);
	memset(&f.req, 0xEE, sizeof f.req);
	return cg_rpc_decode(
	    &f.decoder, method, (struct cg_view){bytes, len}, &text, &f.req, &f.fault);
}

/* Two hexadecimal digits per byte, spaces anywhere. */
static bool decode_hex(enum cg_method method, const char *hex)
{
	uint8_t bytes[512];
	size_t len = 0;

	while (*hex != '\0') {
		if (*hex == ' ') {
			hex++;
			continue;
		}
		char pair[3] = {hex[0], hex[1], '\0'};
		assert_true(len < sizeof bytes);
		bytes[len++] = (uint8_t)strtoul(pair, NULL, 16);
		hex += 2;
	}
	/* From the heap, at its exact length: a read past the end is found. */
	uint8_t *exact = malloc(len == 0 ? 1 : len);
	assert_non_null(exact);
	memcpy(exact, bytes, len);
	bool good = decode(method, exact, len);
	free(exact);
	return good;
}

static bool decode_message(enum cg_method method, const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *bytes = malloc(len == 0 ? 1 : len);

	assert_non_null(bytes);
	(void)protobuf_c_message_pack(message, bytes);
	bool good = decode(method, bytes, len);
	free(bytes);
	return good;
}

static void expect_fault(const char *field, const char *bound)
{
	assert_string_equal(f.fault.field, field);
	assert_string_equal(f.fault.bound, bound);
}

/* What protobuf-c lets pass: bytes that no well-behaved client sends. */
static const struct {
	const char *what;
	enum cg_method method;
	const char *hex;
	const char *field; /* NULL: it is good */
	const char *bound;
} raw_rows[] = {
    {"good", CG_METHOD_CANCEL, COMPANY CALL_1, NULL, NULL},
    {"upper case", CG_METHOD_GET_WALLET,
        "0A24 30313233343536372D383941422D434445462D303132332D343536373839414243444546", NULL,
        NULL},
    {"nothing at all", CG_METHOD_CANCEL, "", "company_id", "a UUID of 36 characters"},
    {"no call_id", CG_METHOD_CANCEL, COMPANY, "call_id", "1..128 bytes of printable ASCII"},
    {"NUL in call_id", CG_METHOD_CANCEL, COMPANY "1203 630031", "call_id",
        "1..128 bytes of printable ASCII"},
    {"NUL at its end", CG_METHOD_CANCEL, COMPANY "1203 636300", "call_id",
        "1..128 bytes of printable ASCII"},
    {"call_id not UTF-8", CG_METHOD_CANCEL, COMPANY "1202 63FF", "call_id",
        "1..128 bytes of printable ASCII"},
    {"call_id beyond ASCII", CG_METHOD_CANCEL, COMPANY "1203 63C3A9", "call_id",
        "1..128 bytes of printable ASCII"},
    {"DEL", CG_METHOD_CANCEL, COMPANY "1202 637F", "call_id", "1..128 bytes of printable ASCII"},
    {"a space", CG_METHOD_CANCEL, COMPANY "1203 632063", "call_id",
        "1..128 bytes of printable ASCII"},
    {"surrogate in description", CG_METHOD_CREDIT, COMPANY "2A03 EDA080", "description",
        "0..256 bytes of UTF-8 without U+0000"},
    {"NUL in page_token", CG_METHOD_LIST_CALLS, "1A01 00", "page_token",
        "0..512 bytes, as it was answered"},
    {"NUL in currency", CG_METHOD_CREATE_WALLET, COMPANY "1204 75736400", "currency",
        "UTF-8 without U+0000"},
    {"NUL in a map's value", CG_METHOD_AUTHORIZE, COMPANY CALL_1 VOICE "3A09 0A0463697479 120100",
        "meta[city]", "UTF-8 without U+0000"},
    {"NUL in a map's key", CG_METHOD_AUTHORIZE, COMPANY CALL_1 VOICE "3A07 0A026300 120161", "meta",
        "UTF-8 without U+0000"},
    {"value before key", CG_METHOD_AUTHORIZE, COMPANY CALL_1 VOICE "3A07 120162 0A026363", NULL,
        NULL},
    {"a map's key twice", CG_METHOD_AUTHORIZE,
        COMPANY CALL_1 VOICE "3A06 0A0161 120162 3A06 0A0161 120163", "meta[a]",
        "without a key that stands twice"},
    {"an entry without key", CG_METHOD_AUTHORIZE, COMPANY CALL_1 VOICE "3A03 120162", "meta",
        "a key of [A-Za-z0-9_.:-]{1,64}"},
    {"both of a oneof", CG_METHOD_SETTLE, COMPANY CALL_1 "1805 4001", "as_metered",
        "the only one set of its oneof"},
    {"one of a oneof twice", CG_METHOD_SETTLE, COMPANY CALL_1 "1805 1806", NULL, NULL},
    {"neither of a oneof", CG_METHOD_SETTLE, COMPANY CALL_1, "duration",
        "set: duration_ms or as_metered"},
    {"as_metered false", CG_METHOD_SETTLE, COMPANY CALL_1 "4000", "as_metered",
        "true where it is set"},
    {"unknown enum value", CG_METHOD_SETTLE, COMPANY CALL_1 "1805 3009", "durability",
        "DURABILITY_ACCEPTED or DURABILITY_COMMITTED"},
    {"negative enum value", CG_METHOD_SETTLE, COMPANY CALL_1 "1805 30FFFFFFFFFFFFFFFFFF01",
        "durability", "DURABILITY_ACCEPTED or DURABILITY_COMMITTED"},
    {"unknown field", CG_METHOD_CANCEL, COMPANY CALL_1 "F806 05", NULL, NULL},
    {"cut in a length", CG_METHOD_CANCEL, COMPANY "1280", "CancelRequest",
        "a well-formed protobuf message"},
    {"length beyond the end", CG_METHOD_CANCEL, COMPANY "1203 6331", "CancelRequest",
        "a well-formed protobuf message"},
    {"varint of 11 bytes", CG_METHOD_START, COMPANY CALL_1 "18FFFFFFFFFFFFFFFFFFFF01",
        "StartRequest", "a well-formed protobuf message"},
    {"varint above 2^64", CG_METHOD_START, COMPANY CALL_1 "18FFFFFFFFFFFFFFFFFF02", "StartRequest",
        "a well-formed protobuf message"},
    {"field number 0", CG_METHOD_CANCEL, "0205 6161616161", "CancelRequest",
        "a well-formed protobuf message"},
    {"text as a number", CG_METHOD_CANCEL, COMPANY "1005", "CancelRequest",
        "a well-formed protobuf message"},
    {"number as text", CG_METHOD_START, COMPANY CALL_1 "1A0131", "StartRequest",
        "a well-formed protobuf message"},
    {"a group", CG_METHOD_CANCEL, COMPANY CALL_1 "FB06 FC06", "CancelRequest",
        "a well-formed protobuf message"},
    {"wire type 7", CG_METHOD_CANCEL, COMPANY CALL_1 "FF06", "CancelRequest",
        "a well-formed protobuf message"},
    {"broken map entry", CG_METHOD_AUTHORIZE, COMPANY CALL_1 VOICE "3A02 0A05", "AuthorizeRequest",
        "a well-formed protobuf message"},
};

static void test_raw_bytes_are_judged(void **state)
{
	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(raw_rows); i++) {
		bool good = decode_hex(raw_rows[i].method, raw_rows[i].hex);
		if (good != (raw_rows[i].field == NULL)) {
			fail_msg("%s: %s %s", raw_rows[i].what, f.fault.field,
			    f.fault.bound == NULL ? "" : f.fault.bound);
		}
		if (!good) {
			expect_fault(raw_rows[i].field, raw_rows[i].bound);
		}
	}
}

#define UUID "01234567-89ab-cdef-0123-456789abcdef"
#define TEXT (char *)

/* Every request with each field at its bounds; `change` spoils one field. */
union any {
	ProtobufCMessage base;
	Callgate__V1__AuthorizeRequest authorize;
	Callgate__V1__StartRequest start;
	Callgate__V1__StopRequest stop;
	Callgate__V1__SettleRequest settle;
	Callgate__V1__AdoptRequest adopt;
	Callgate__V1__CreateWalletRequest create_wallet;
	Callgate__V1__UpdateWalletRequest update_wallet;
	Callgate__V1__GetCallRequest get_call;
	Callgate__V1__ListCallsRequest list_calls;
	Callgate__V1__CreditRequest credit;
	Callgate__V1__ChargeRequest charge;
};

static void fill_good(enum cg_method method, union any *m)
{
	switch ((int)method) {
	case CG_METHOD_AUTHORIZE:
		callgate__v1__authorize_request__init(&m->authorize);
		m->authorize.company_id = TEXT UUID;
		m->authorize.call_id = TEXT "c1";
		m->authorize.resource_type = TEXT "voice_outbound";
		m->authorize.destination = TEXT "+41791234567";
		break;
	case CG_METHOD_START:
		callgate__v1__start_request__init(&m->start);
		m->start.company_id = TEXT UUID;
		m->start.call_id = TEXT "c1";
		break;
	case CG_METHOD_STOP:
		callgate__v1__stop_request__init(&m->stop);
		m->stop.company_id = TEXT UUID;
		m->stop.call_id = TEXT "c1";
		break;
	case CG_METHOD_SETTLE:
		callgate__v1__settle_request__init(&m->settle);
		m->settle.company_id = TEXT UUID;
		m->settle.call_id = TEXT "c1";
		m->settle.duration_case = CALLGATE__V1__SETTLE_REQUEST__DURATION_DURATION_MS;
		break;
	case CG_METHOD_ADOPT:
		callgate__v1__adopt_request__init(&m->adopt);
		m->adopt.company_id = TEXT UUID;
		m->adopt.call_id = TEXT "c1";
		m->adopt.resource_type = TEXT "voice";
		m->adopt.started_at_ms = 1;
		break;
	case CG_METHOD_CREATE_WALLET:
		callgate__v1__create_wallet_request__init(&m->create_wallet);
		m->create_wallet.company_id = TEXT UUID;
		break;
	case CG_METHOD_UPDATE_WALLET:
		callgate__v1__update_wallet_request__init(&m->update_wallet);
		m->update_wallet.company_id = TEXT UUID;
		break;
	case CG_METHOD_GET_CALL:
		callgate__v1__get_call_request__init(&m->get_call);
		m->get_call.company_id = TEXT UUID;
		m->get_call.call_id = TEXT "c1";
		break;
	case CG_METHOD_LIST_CALLS:
		callgate__v1__list_calls_request__init(&m->list_calls);
		break;
	case CG_METHOD_CREDIT:
		callgate__v1__credit_request__init(&m->credit);
		m->credit.company_id = TEXT UUID;
		m->credit.amount_micros = 1;
		m->credit.type = CALLGATE__V1__ENTRY_TYPE__ENTRY_TYPE_TOP_UP;
		m->credit.reference_id = TEXT "r1";
		break;
	default:
		callgate__v1__charge_request__init(&m->charge);
		m->charge.company_id = TEXT UUID;
		m->charge.resource_type = TEXT "phone_number_rental";
		m->charge.amount_micros = 1;
		m->charge.quantity = 1;
		m->charge.reference_id = TEXT "r1";
		break;
	}
}

static char id_128[129];
static char id_129[130];
static char text_256[257];
static char text_257[258];
static char token_513[514];

#define MAX_MICROS INT64_C(999999999999999)
#define WEEK       INT64_C(604800000)

/* X(method, what is set, field (NULL: good), bound) */
#define ROWS(X)                                                                                    \
	X(AUTHORIZE, m->authorize.company_id = TEXT "", "company_id", "a UUID of 36 characters")   \
	X(AUTHORIZE, m->authorize.company_id = TEXT "01234567-89ab-cdef-0123-456789abcde",         \
	    "company_id", "a UUID of 36 characters")                                               \
	X(AUTHORIZE, m->authorize.company_id = TEXT "0123456789abcdef0123456789abcdefzzzz",        \
	    "company_id", "a UUID of 36 characters")                                               \
	X(AUTHORIZE, m->authorize.call_id = id_128, NULL, NULL)                                    \
	X(AUTHORIZE, m->authorize.call_id = id_129, "call_id", "1..128 bytes of printable ASCII")  \
	X(AUTHORIZE, m->authorize.call_id = TEXT "", "call_id", "1..128 bytes of printable ASCII") \
	X(AUTHORIZE, (m->authorize.call_id = TEXT "", m->authorize.validate_only = 1), NULL, NULL) \
	X(AUTHORIZE, m->authorize.call_id = TEXT "correction:1", "call_id",                        \
	    "free of the reserved prefixes correction:, dup: and undo:")                           \
	X(AUTHORIZE, m->authorize.resource_type = TEXT "", "resource_type",                        \
	    "[a-z][a-z0-9_]{0,63}")                                                                \
	X(AUTHORIZE, m->authorize.resource_type = TEXT "1voice", "resource_type",                  \
	    "[a-z][a-z0-9_]{0,63}")                                                                \
	X(AUTHORIZE, m->authorize.resource_type = TEXT "voice-in", "resource_type",                \
	    "[a-z][a-z0-9_]{0,63}")                                                                \
	X(AUTHORIZE, m->authorize.resource_type = id_128, "resource_type", "[a-z][a-z0-9_]{0,63}") \
	X(AUTHORIZE, m->authorize.destination = TEXT "", NULL, NULL)                               \
	X(AUTHORIZE, m->authorize.destination = TEXT "+12", NULL, NULL)                            \
	X(AUTHORIZE, m->authorize.destination = TEXT "+123456789012345", NULL, NULL)               \
	X(AUTHORIZE, m->authorize.destination = TEXT "+1", "destination",                          \
	    "empty or +[1-9][0-9]{1,14}")                                                          \
	X(AUTHORIZE, m->authorize.destination = TEXT "+1234567890123456", "destination",           \
	    "empty or +[1-9][0-9]{1,14}")                                                          \
	X(AUTHORIZE, m->authorize.destination = TEXT "+0123", "destination",                       \
	    "empty or +[1-9][0-9]{1,14}")                                                          \
	X(AUTHORIZE, m->authorize.destination = TEXT "41791234567", "destination",                 \
	    "empty or +[1-9][0-9]{1,14}")                                                          \
	X(AUTHORIZE, m->authorize.reserve_ms = -1, "reserve_ms", "0..604800000")                   \
	X(AUTHORIZE, m->authorize.reserve_ms = WEEK, NULL, NULL)                                   \
	X(AUTHORIZE, m->authorize.reserve_ms = WEEK + 1, "reserve_ms", "0..604800000")             \
	X(START, m->start.started_at_ms = -1, "started_at_ms", "0..999999999999999")               \
	X(START, m->start.started_at_ms = MAX_MICROS + 1, "started_at_ms", "0..999999999999999")   \
	X(STOP, m->stop.ended_at_ms = -1, "ended_at_ms", "0..999999999999999")                     \
	X(SETTLE, m->settle.duration_ms = -1, "duration_ms", "0..604800000")                       \
	X(SETTLE, m->settle.duration_ms = WEEK, NULL, NULL)                                        \
	X(SETTLE, m->settle.duration_ms = WEEK + 1, "duration_ms", "0..604800000")                 \
	X(SETTLE, m->settle.resource_type = TEXT "Voice", "resource_type",                         \
	    "empty or [a-z][a-z0-9_]{0,63}")                                                       \
	X(SETTLE, m->settle.call_id = TEXT "dup:1", "call_id",                                     \
	    "free of the reserved prefixes correction:, dup: and undo:")                           \
	X(SETTLE, m->settle.basis = CALLGATE__V1__DURATION_BASIS__DURATION_BASIS_POLLED, NULL,     \
	    NULL)                                                                                  \
	X(SETTLE, m->settle.basis = CALLGATE__V1__DURATION_BASIS__DURATION_BASIS_METERED, "basis", \
	    "DURATION_BASIS_REPORTED or DURATION_BASIS_POLLED")                                    \
	X(SETTLE, m->settle.basis = CALLGATE__V1__DURATION_BASIS__DURATION_BASIS_ASSUMED, "basis", \
	    "DURATION_BASIS_REPORTED or DURATION_BASIS_POLLED")                                    \
	X(SETTLE, m->settle.basis = (Callgate__V1__DurationBasis)9, "basis",                       \
	    "DURATION_BASIS_REPORTED or DURATION_BASIS_POLLED")                                    \
	X(ADOPT, m->adopt.started_at_ms = 0, "started_at_ms", "1..999999999999999")                \
	X(ADOPT, m->adopt.resource_type = TEXT "", "resource_type", "[a-z][a-z0-9_]{0,63}")        \
	X(CREATE_WALLET, m->create_wallet.currency = TEXT "eur", NULL, NULL)                       \
	X(CREATE_WALLET, m->create_wallet.currency = TEXT "EUR", "currency", "empty or [a-z]{3}")  \
	X(CREATE_WALLET, m->create_wallet.currency = TEXT "euro", "currency", "empty or [a-z]{3}") \
	X(CREATE_WALLET, m->create_wallet.plan_id = TEXT "Growth", "plan_id",                      \
	    "0..64 bytes of [a-z0-9_-]")                                                           \
	X(UPDATE_WALLET, (m->update_wallet.plan_case = 2, m->update_wallet.plan_id = TEXT ""),     \
	    "plan_id", "1..64 bytes of [a-z0-9_-]")                                                \
	X(UPDATE_WALLET,                                                                           \
	    (m->update_wallet.low_balance_case = 4,                                                \
	        m->update_wallet.low_balance_micros = MAX_MICROS + 1),                             \
	    "low_balance_micros", "-999999999999999..999999999999999")                             \
	X(UPDATE_WALLET,                                                                           \
	    (m->update_wallet.low_balance_case = 5,                                                \
	        m->update_wallet.low_balance_remaining_ms = 0),                                    \
	    "low_balance_remaining_ms", "1..604800000")                                            \
	X(GET_CALL, m->get_call.call_id = TEXT "undo:x", "call_id",                                \
	    "free of the reserved prefixes correction:, dup: and undo:")                           \
	X(LIST_CALLS, m->list_calls.company_id = TEXT "x", "company_id",                           \
	    "a UUID of 36 characters")                                                             \
	X(LIST_CALLS, m->list_calls.page_size = -1, "page_size", "0 or more")                      \
	X(LIST_CALLS, m->list_calls.page_token = token_513, "page_token",                          \
	    "0..512 bytes, as it was answered")                                                    \
	X(CREDIT, m->credit.amount_micros = 0, "amount_micros", "1..999999999999999")              \
	X(CREDIT, m->credit.amount_micros = -1, "amount_micros", "1..999999999999999")             \
	X(CREDIT, m->credit.amount_micros = MAX_MICROS, NULL, NULL)                                \
	X(CREDIT, m->credit.amount_micros = MAX_MICROS + 1, "amount_micros",                       \
	    "-999999999999999..999999999999999")                                                   \
	X(CREDIT, m->credit.amount_micros = INT64_MIN, "amount_micros",                            \
	    "-999999999999999..999999999999999")                                                   \
	X(CREDIT, (m->credit.type = 4, m->credit.amount_micros = -MAX_MICROS), NULL, NULL)         \
	X(CREDIT, (m->credit.type = 5, m->credit.amount_micros = -1), NULL, NULL)                  \
	X(CREDIT, (m->credit.type = 5, m->credit.amount_micros = 0), "amount_micros",              \
	    "-999999999999999..999999999999999, not 0")                                            \
	X(CREDIT, m->credit.type = 0, "type",                                                      \
	    "TOP_UP, MONTHLY_GRANT, BONUS, REFUND or ADJUSTMENT")                                  \
	X(CREDIT, m->credit.type = 6, "type",                                                      \
	    "TOP_UP, MONTHLY_GRANT, BONUS, REFUND or ADJUSTMENT")                                  \
	X(CREDIT, m->credit.type = (Callgate__V1__EntryType)77, "type",                            \
	    "TOP_UP, MONTHLY_GRANT, BONUS, REFUND or ADJUSTMENT")                                  \
	X(CREDIT, m->credit.reference_id = TEXT "", "reference_id",                                \
	    "1..128 bytes of printable ASCII")                                                     \
	X(CREDIT, m->credit.reference_id = TEXT "undo:1-1-1", "reference_id",                      \
	    "free of the reserved prefixes correction:, dup: and undo:")                           \
	X(CREDIT, m->credit.description = text_256, NULL, NULL)                                    \
	X(CREDIT, m->credit.description = text_257, "description",                                 \
	    "0..256 bytes of UTF-8 without U+0000")                                                \
	X(CREDIT, m->credit.durability = (Callgate__V1__Durability)3, "durability",                \
	    "DURABILITY_ACCEPTED or DURABILITY_COMMITTED")                                         \
	X(CHARGE, m->charge.amount_micros = 0, "amount_micros", "1..999999999999999")              \
	X(CHARGE, m->charge.amount_micros = -5, "amount_micros", "1..999999999999999")             \
	X(CHARGE, m->charge.quantity = 0, "quantity", "1..999999999999999")                        \
	X(CHARGE, m->charge.reference_id = TEXT "a b", "reference_id",                             \
	    "1..128 bytes of printable ASCII")                                                     \
	X(CHARGE, m->charge.resource_type = TEXT "", "resource_type", "[a-z][a-z0-9_]{0,63}")

static void test_every_bound_is_kept_and_named(void **state)
{
	union any any;
	union any *m = &any;

	(void)state;
	memset(id_128, 'x', 128);
	memset(id_129, 'x', 129);
	memset(text_256, 'x', 256);
	memset(text_257, 'x', 257);
	memset(token_513, 'x', 513);
#define CHECK(name, change, bad_field, bad_bound)                                                  \
	fill_good(CG_METHOD_##name, m);                                                            \
	change;                                                                                    \
	if (decode_message(CG_METHOD_##name, &m->base) != ((bad_field) == NULL)) {                 \
		fail_msg("%s with %s: %s %s", #name, #change, f.fault.field,                       \
		    f.fault.bound == NULL ? "" : f.fault.bound);                                   \
	}                                                                                          \
	if ((bad_field) != NULL) {                                                                 \
		expect_fault(bad_field, bad_bound);                                                \
	}
	ROWS(CHECK)
#undef CHECK
}

static void test_a_good_request_arrives_whole(void **state)
{
	union any any;
	Callgate__V1__SettleRequest__MetaEntry city =
	    CALLGATE__V1__SETTLE_REQUEST__META_ENTRY__INIT;
	Callgate__V1__SettleRequest__MetaEntry *meta[] = {&city};
	char company[CG_UUID_TEXT_LEN + 1];

	(void)state;
	fill_good(CG_METHOD_SETTLE, &any);
	city.key = TEXT "city";
	city.value = TEXT "Z\xC3\xBCrich";
	any.settle.n_meta = 1;
	any.settle.meta = meta;
	any.settle.duration_ms = 61001;
	any.settle.destination = TEXT "+4144";
	any.settle.resource_type = TEXT "voice_outbound";
	any.settle.durability = CALLGATE__V1__DURABILITY__DURABILITY_COMMITTED;
	any.settle.started_at_ms = 1790000000001;
	any.settle.ended_at_ms = 1790000061002;
	assert_true(decode_message(CG_METHOD_SETTLE, &any.base));

	const struct cg_settle_in *in = &f.req.in.settle;
	cg_uuid_format(&f.req.company, company);
	assert_string_equal(company, UUID);
	assert_int_equal(f.req.method, CG_METHOD_SETTLE);
	assert_true(cg_view_equal(in->call_id, cg_view_of("c1")));
	assert_true(cg_view_equal(in->resource_type, cg_view_of("voice_outbound")));
	assert_true(cg_view_equal(in->destination, cg_view_of("+4144")));
	assert_false(in->as_metered);
	assert_int_equal(in->duration_ms, 61001);
	assert_int_equal(in->durability, CG_DURABILITY_COMMITTED);
	assert_int_equal(in->started_at_ms, 1790000000001);
	assert_int_equal(in->ended_at_ms, 1790000061002);
	assert_int_equal(in->basis, CG_BASIS_REPORTED);

	struct cg_view rest = in->meta.pairs;
	struct cg_view key;
	struct cg_view value;
	assert_true(cg_meta_next(&rest, &key, &value));
	assert_true(cg_view_equal(key, cg_view_of("city")));
	assert_true(cg_view_equal(value, cg_view_of("Z\xC3\xBCrich")));
	assert_false(cg_meta_next(&rest, &key, &value));
}

static void test_defaults_are_filled_in(void **state)
{
	union any any;

	(void)state;
	fill_good(CG_METHOD_CREATE_WALLET, &any);
	assert_true(decode_message(CG_METHOD_CREATE_WALLET, &any.base));
	assert_string_equal(f.req.in.create_wallet.currency.code, "usd");
	assert_true(cg_view_equal(f.req.in.create_wallet.plan_id, cg_view_of("starter")));

	fill_good(CG_METHOD_LIST_CALLS, &any);
	assert_true(decode_message(CG_METHOD_LIST_CALLS, &any.base));
	assert_true(f.req.in.list_calls.all_companies);
	assert_int_equal(f.req.in.list_calls.page_size, 100);
	any.list_calls.page_size = 5000;
	assert_true(decode_message(CG_METHOD_LIST_CALLS, &any.base));
	assert_int_equal(f.req.in.list_calls.page_size, CG_LIST_CALLS_PAGE_MAX);

	fill_good(CG_METHOD_UPDATE_WALLET, &any);
	assert_true(decode_message(CG_METHOD_UPDATE_WALLET, &any.base));
	assert_false(f.req.in.update_wallet.sets_plan);
	assert_false(f.req.in.update_wallet.sets_frozen);
	assert_false(f.req.in.update_wallet.sets_low_balance);
	any.update_wallet.freeze_case = CALLGATE__V1__UPDATE_WALLET_REQUEST__FREEZE_FROZEN;
	assert_true(decode_message(CG_METHOD_UPDATE_WALLET, &any.base));
	assert_true(f.req.in.update_wallet.sets_frozen);
	assert_false(f.req.in.update_wallet.frozen);

	fill_good(CG_METHOD_CREDIT, &any);
	assert_true(decode_message(CG_METHOD_CREDIT, &any.base));
	assert_int_equal(f.req.in.credit.durability, CG_DURABILITY_ACCEPTED);
}

/* The i-th of the distinct keys that are shortest: one byte each, then two. */
static void short_key(size_t i, char key[3])
{
	static const char set[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-";
	size_t n = sizeof set - 1;

	memset(key, 0, 3);
	if (i < n) {
		key[0] = set[i];
	} else {
		key[0] = set[(i - n) / n];
		key[1] = set[(i - n) % n];
	}
}

/* As many pairs as 4096 bytes of keys and values can hold, and one more. */
static void test_the_largest_meta_fits_and_one_more_byte_does_not(void **state)
{
	enum {
		PAIRS = 66 + (4096 - 66) / 2
	};
	static Callgate__V1__AuthorizeRequest__MetaEntry entries[PAIRS + 1];
	static Callgate__V1__AuthorizeRequest__MetaEntry *meta[PAIRS + 1];
	static char keys[PAIRS + 1][3];
	union any any;

	(void)state;
	for (size_t i = 0; i <= PAIRS; i++) {
		callgate__v1__authorize_request__meta_entry__init(&entries[i]);
		short_key(i, keys[i]);
		entries[i].key = keys[i];
		meta[i] = &entries[i];
	}
	fill_good(CG_METHOD_AUTHORIZE, &any);
	any.authorize.call_id = id_128;
	any.authorize.meta = meta;
	any.authorize.n_meta = PAIRS;
	assert_true(decode_message(CG_METHOD_AUTHORIZE, &any.base));
	assert_int_equal(f.req.in.authorize.meta.pairs.len, 4096 + 3 * PAIRS);

	any.authorize.n_meta = PAIRS + 1;
	assert_false(decode_message(CG_METHOD_AUTHORIZE, &any.base));
	expect_fault("meta", "at most 4096 bytes of keys and values");

	any.authorize.n_meta = PAIRS;
	entries[0].value = TEXT "v"; /* 4097 bytes */
	assert_false(decode_message(CG_METHOD_AUTHORIZE, &any.base));
	expect_fault("meta", "at most 4096 bytes of keys and values");
	entries[0].value = TEXT "";

	/* A small one after a large one: nothing is remembered. */
	any.authorize.n_meta = 3;
	assert_true(decode_message(CG_METHOD_AUTHORIZE, &any.base));
	any.authorize.n_meta = PAIRS;
	entries[PAIRS - 1].key = keys[70];
	assert_false(decode_message(CG_METHOD_AUTHORIZE, &any.base));
	assert_string_equal(f.fault.bound, "without a key that stands twice");
}

/* 64 KiB of the smallest fields must neither take memory without end nor be taken. */
static void test_floods_of_fields_are_refused(void **state)
{
	static uint8_t unknown[65536];
	static uint8_t repeated[65536];

	(void)state;
	for (size_t i = 0; i + 3 <= sizeof unknown; i += 3) {
		unknown[i] = 0xF8; /* field 111, a varint */
		unknown[i + 1] = 0x06;
		unknown[i + 2] = 0x01;
	}
	assert_false(decode(CG_METHOD_CANCEL, unknown, 65535));
	expect_fault("CancelRequest", "at most 6400 fields, 64 of them unknown");
	for (size_t i = 0; i + 2 <= sizeof repeated; i += 2) {
		repeated[i] = 0x12; /* call_id, empty */
		repeated[i + 1] = 0x00;
	}
	assert_false(decode(CG_METHOD_CANCEL, repeated, sizeof repeated));
	expect_fault("CancelRequest", "at most 6400 fields, 64 of them unknown");
	/* Below the count, but each with a name that protobuf-c would keep. */
	assert_false(decode(CG_METHOD_CANCEL, repeated, (size_t)12800));
	expect_fault("company_id", "a UUID of 36 characters");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_raw_bytes_are_judged),
	    cmocka_unit_test(test_every_bound_is_kept_and_named),
	    cmocka_unit_test(test_a_good_request_arrives_whole),
	    cmocka_unit_test(test_defaults_are_filled_in),
	    cmocka_unit_test(test_the_largest_meta_fits_and_one_more_byte_does_not),
	    cmocka_unit_test(test_floods_of_fields_are_refused),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
