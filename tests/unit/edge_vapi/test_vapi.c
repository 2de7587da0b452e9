/*
 * Vapi's shapes: read tolerantly, written strictly.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "edge/json/doc.h"
#include "edge/vapi/answer.h"
#include "edge/vapi/message.h"

static const char *const report =
    "{\"message\":{\"type\":\"end-of-call-report\",\"timestamp\":1787300070123,"
    "\"endedReason\":\"customer-ended-call\",\"startedAt\":\"2026-08-21T09:33:22.500Z\","
    "\"endedAt\":\"2026-08-21T09:34:22.250Z\",\"cost\":0.1123,\"costs\":["
    "{\"type\":\"transport\",\"provider\":\"twilio\",\"minutes\":9,\"cost\":0.0085},"
    "{\"type\":\"vapi\",\"subType\":\"normal\",\"minutes\":0.9,\"cost\":0.0498},"
    "{\"type\":\"vapi\",\"subType\":\"overage\",\"minutes\":0.0958,\"cost\":0.0498}],"
    "\"call\":{\"id\":\"7e3b\",\"type\":\"inboundPhoneCall\",\"status\":\"ringing\","
    "\"phoneNumberId\":\"b1a2\",\"customer\":{\"number\":\"+2348012345678\"},"
    "\"monitor\":{\"controlUrl\":\"https://x.vapi.ai/7e3b/control\"},"
    "\"assistantOverrides\":{\"maxDurationSeconds\":540,\"metadata\":{\"company_id\":\"c0ffee\","
    "\"reservation_id\":\"91823\"}},\"createdAt\":\"2026-08-21T09:33:19.012Z\"},"
    "\"phoneNumber\":{\"id\":\"other\",\"number\":\"+15550100200\"},"
    "\"analysis\":{},\"artifact\":{\"call\":{\"id\":\"not this\"}}}}";

static enum cg_status read(const char *body, struct cg_vapi_message *m)
{
	struct cg_error err = {{0}};

	return cg_vapi_read_message(cg_view_of(body), m, &err);
}

static void test_a_report_as_the_vendor_documents_it(void **state)
{
	struct cg_vapi_message m;

	(void)state;
	assert_int_equal(read(report, &m), CG_OK);
	assert_int_equal(m.kind, CG_VAPI_REPORT);
	assert_string_equal(m.call.id, "7e3b");
	assert_string_equal(m.call.phone_number_id, "b1a2");
	assert_string_equal(m.dialled, "+15550100200");
	assert_string_equal(m.call.customer_number, "+2348012345678");
	assert_string_equal(m.call.control_url, "https://x.vapi.ai/7e3b/control");
	assert_string_equal(m.call.company_id, "c0ffee");
	assert_string_equal(m.dedupe_key, "7e3b/end-of-call-report/");
	assert_int_equal(m.ended_at_ms - m.started_at_ms, 59750);
	assert_int_equal(m.sent_at_ms, INT64_C(1787300070123));
	assert_int_equal(m.cost_micros, 112300);
	assert_int_equal(m.paid_ms, 59748);
	assert_int_equal(m.call.max_seconds, 540);
}

/* Every member taken away, made null, or made something else: read, and never mistaken. */
static void test_members_of_any_other_type_were_not_said(void **state)
{
	static const char *const odd[] = {
	    "null", "[]", "{}", "true", "-1", "\"\"", "1e300", "\"x\""};
	struct cg_vapi_message m;
	char body[1024];

	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(odd); i++) {
		(void)snprintf(body, sizeof body,
		    "{\"message\":{\"type\":\"end-of-call-report\",\"timestamp\":%s,\"status\":%s,"
		    "\"startedAt\":%s,\"endedAt\":%s,\"cost\":%s,\"costs\":%s,\"durationSeconds\":%"
		    "s,"
		    "\"phoneNumber\":%s,\"customer\":%s,\"call\":{\"id\":\"c\",\"type\":%s,"
		    "\"monitor\":%s,\"assistantOverrides\":%s,\"customer\":%s,\"costs\":[%s]}}}",
		    odd[i], odd[i], odd[i], odd[i], odd[i], odd[i], odd[i], odd[i], odd[i], odd[i],
		    odd[i], odd[i], odd[i], odd[i]);
		assert_int_equal(read(body, &m), CG_OK);
		assert_int_equal(m.started_at_ms, 0);
		assert_int_equal(m.ended_at_ms, 0);
		assert_int_equal(m.stated_ms, 0);
		assert_int_equal(m.paid_ms, 0);
		assert_int_equal(m.cost_micros, -1);
		assert_int_equal(m.call.max_seconds, 0);
	}
}

static void test_durations_that_handlers_have_seen(void **state)
{
	static const struct {
		const char *member;
		int ms;
	} rows[] = {{"\"durationSeconds\":42.7", 42700}, {"\"durationSeconds\":0", 0},
	    {"\"durationMs\":42700.4", 42700}, {"\"durationMinutes\":1.0167", 61002},
	    {"\"durationSeconds\":-3", 0}, {"\"durationSeconds\":1e9", 0},
	    {"\"durationSeconds\":\"61\"", 61000}, {"\"durationSeconds\":0,\"durationMs\":5", 5}};
	struct cg_vapi_message m;
	char body[256];

	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		(void)snprintf(body, sizeof body,
		    "{\"message\":{\"type\":\"end-of-call-report\",\"call\":{\"id\":\"c\"},%s}}",
		    rows[i].member);
		assert_int_equal(read(body, &m), CG_OK);
		assert_int_equal(m.stated_ms, rows[i].ms);
	}
}

static void test_times_in_every_form(void **state)
{
	static const struct {
		const char *raw;
		int64_t ms;
	} rows[] = {
	    {"\"2026-08-21T09:33:22.500Z\"", INT64_C(1787304802500)},
	    {"\"2026-08-21T09:33:22Z\"", INT64_C(1787304802000)},
	    {"\"2026-08-21T11:33:22.5+02:00\"", INT64_C(1787304802500)},
	    {"\"2026-08-21T04:03:22.500123-0530\"", INT64_C(1787304802500)},
	    {"1787304802500", INT64_C(1787304802500)},
	    {"1787304802", INT64_C(1787304802000)},
	    {"1787304802.5", INT64_C(1787304802500)},
	    {"\"1787304802500\"", INT64_C(1787304802500)},
	    {"\"2024-02-29T00:00:00Z\"", INT64_C(1709164800000)},
	    {"\"2026-08-21T09:33:22\"", 0},
	    {"\"2026-13-21T09:33:22Z\"", 0},
	    {"\"2026-08-21\"", 0},
	    {"\"yesterday\"", 0},
	    {"-5", 0},
	    {"null", 0},
	    {"1e300", 0},
	    {"99999999999999999", 0},
	};

	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		if (cg_vapi_time_ms(cg_view_of(rows[i].raw)) != rows[i].ms) {
			fail_msg("%s: %lld", rows[i].raw,
			    (long long)cg_vapi_time_ms(cg_view_of(rows[i].raw)));
		}
	}
	char text[32];
	cg_vapi_format_time(INT64_C(1787304802050), text);
	assert_string_equal(text, "2026-08-21T09:33:22.050Z");
}

static void test_reasons_are_told_apart_by_what_they_begin_with(void **state)
{
	static const struct {
		const char *reason;
		enum cg_vapi_reason class;
	} rows[] = {
	    {"customer-ended-call", CG_VAPI_REASON_NORMAL},
	    {"hangup", CG_VAPI_REASON_NORMAL},
	    {"", CG_VAPI_REASON_NORMAL},
	    {"assistant-forwarded-call", CG_VAPI_REASON_TRANSFERRED},
	    {"customer-ended-call-before-warm-transfer", CG_VAPI_REASON_TRANSFERRED},
	    {"call.ringing.hook-executed-say", CG_VAPI_REASON_NOT_CONNECTED},
	    {"customer-did-not-answer", CG_VAPI_REASON_NOT_CONNECTED},
	    {"assistant-request-failed", CG_VAPI_REASON_GATE},
	    {"call.start.error-get-org", CG_VAPI_REASON_START},
	    {"call.start.error-subscription-frozen", CG_VAPI_REASON_ACCOUNT},
	    {"call.in-progress.error-vapifault-x", CG_VAPI_REASON_FAULT},
	    {"call.in-progress.twilio-completed-call", CG_VAPI_REASON_NORMAL},
	    {"pipeline-error-openai", CG_VAPI_REASON_FAULT},
	};

	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(rows); i++) {
		assert_int_equal(cg_vapi_reason_of(rows[i].reason), rows[i].class);
	}
}

static const struct cg_vapi_grant grant = {
    .max_seconds = 300, .company_id = "c0", .reservation_id = "r1"};

static void test_an_admission_says_as_little_as_will_do(void **state)
{
	char memory[512];

	(void)state;
	struct cg_view answer = cg_vapi_admit(memory, sizeof memory, "a\"1", &grant);
	assert_int_equal(answer.len, strlen(memory) < answer.len ? 0 : answer.len);
	assert_memory_equal(answer.data,
	    "{\"assistantId\":\"a\\\"1\",\"assistantOverrides\":{\"maxDurationSeconds\":300,"
	    "\"metadata\":{\"company_id\":\"c0\",\"reservation_id\":\"r1\"}}}",
	    answer.len);
	assert_int_equal(cg_vapi_admit(memory, 20, "a", &grant).len, 0);
}

static const struct {
	const char *body;
	enum cg_vapi_upstream verdict;
	const char *answer; /* where it is another than the body */
} merges[] = {
    {"{\"assistantId\":\"a\"}", CG_VAPI_UPSTREAM_ADMITS,
        "{\"assistantId\":\"a\",\"assistantOverrides\":{\"maxDurationSeconds\":300,\"metadata\":"
        "{\"company_id\":\"c0\",\"reservation_id\":\"r1\"}}}"},
    {"{\"assistant\":{\"t\":0.70},\"assistantOverrides\":{\"maxDurationSeconds\":99999,\"x\":1,"
     "\"metadata\":{\"company_id\":\"theirs\",\"k\":2}}}",
        CG_VAPI_UPSTREAM_ADMITS,
        "{\"assistant\":{\"t\":0.70},\"assistantOverrides\":{\"x\":1,\"maxDurationSeconds\":300,"
        "\"metadata\":{\"k\":2,\"company_id\":\"c0\",\"reservation_id\":\"r1\"}}}"},
    {"{\"assistantId\":\"a\",\"assistantOverrides\":{\"maxDurationSeconds\":60},"
     "\"assistantOverrides\":{\"maxDurationSeconds\":9000}}",
        CG_VAPI_UPSTREAM_ADMITS,
        "{\"assistantId\":\"a\",\"assistantOverrides\":{\"maxDurationSeconds\":300,\"metadata\":"
        "{\"company_id\":\"c0\",\"reservation_id\":\"r1\"}}}"},
    {"{\"error\":\"no\",\"assistantId\":\"a\"}", CG_VAPI_UPSTREAM_REFUSES, NULL},
    {"{\"destination\":{\"type\":\"number\"}}", CG_VAPI_UPSTREAM_FORWARDS, NULL},
    {"{\"error\":\"\"}", CG_VAPI_UPSTREAM_BROKEN, ""},
    {"{\"squadId\":\"s\"}", CG_VAPI_UPSTREAM_BROKEN, ""},
    {"{}", CG_VAPI_UPSTREAM_BROKEN, ""},
    {"[]", CG_VAPI_UPSTREAM_BROKEN, ""},
    {"", CG_VAPI_UPSTREAM_BROKEN, ""},
    {"{\"assistantId\":\"a\",\"assistantOverride\\u0073\":{}}", CG_VAPI_UPSTREAM_BROKEN, ""},
    {"{\"assistantId\":\"a\",\"assistantOverrides\":{\"maxDuration\\u0053econds\":9}}",
        CG_VAPI_UPSTREAM_BROKEN, ""},
};

static void test_an_upstream_answer_cannot_take_the_grant_back(void **state)
{
	char memory[1024];

	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(merges); i++) {
		struct cg_view answer;
		enum cg_vapi_upstream verdict = cg_vapi_merge(
		    memory, sizeof memory, cg_view_of(merges[i].body), &grant, &answer);
		const char *expected = merges[i].answer == NULL ? merges[i].body : merges[i].answer;
		if (verdict != merges[i].verdict || !cg_view_equal(answer, cg_view_of(expected))) {
			fail_msg("%s: %d %.*s", merges[i].body, verdict, (int)answer.len,
			    answer.data == NULL ? "" : answer.data);
		}
	}
}

static void test_e164(void **state)
{
	(void)state;
	assert_true(cg_vapi_is_e164("+15550100200"));
	assert_false(cg_vapi_is_e164("15550100200"));
	assert_false(cg_vapi_is_e164("+05550100200"));
	assert_false(cg_vapi_is_e164("+1555010020012345"));
	assert_false(cg_vapi_is_e164("sip:x"));
	assert_false(cg_vapi_is_e164(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_report_as_the_vendor_documents_it),
	    cmocka_unit_test(test_members_of_any_other_type_were_not_said),
	    cmocka_unit_test(test_durations_that_handlers_have_seen),
	    cmocka_unit_test(test_times_in_every_form),
	    cmocka_unit_test(test_reasons_are_told_apart_by_what_they_begin_with),
	    cmocka_unit_test(test_an_admission_says_as_little_as_will_do),
	    cmocka_unit_test(test_an_upstream_answer_cannot_take_the_grant_back),
	    cmocka_unit_test(test_e164),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
