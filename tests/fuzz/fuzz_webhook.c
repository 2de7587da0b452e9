/*
 * Any bytes as a webhook, and as a company's own answer to an assistant-request: what is accepted keeps
 * its bounds, and what is sent on is JSON with our limit in it.
 *
 * The first byte: odd, a webhook; even, an answer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "edge/json/doc.h"
#include "edge/vapi/answer.h"
#include "edge/vapi/message.h"

/* libFuzzer calls it, by this name. */
/* NOLINTNEXTLINE(readability-identifier-naming) */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t size)
{
	CG_ASSERT(memchr(text, '\0', size) != NULL);
	CG_ASSERT(cg_view_is_text(cg_view_of(text)));
}

static void read_webhook(struct cg_view body)
{
	static struct cg_vapi_message m;
	struct cg_error err = {{0}};

	if (cg_vapi_read_message(body, &m, &err) != CG_OK) {
		CG_ASSERT(err.text[0] != '\0'); /* A refusal says why. */
		return;
	}
	check_text(m.type, sizeof m.type);
	check_text(m.call.id, sizeof m.call.id);
	check_text(m.call.control_url, sizeof m.call.control_url);
	check_text(m.dedupe_key, sizeof m.dedupe_key);
	check_text(m.ended_reason, sizeof m.ended_reason);
	CG_ASSERT(m.paid_ms >= 0 && m.stated_ms >= 0 && m.cost_micros >= -1);
	CG_ASSERT(m.started_at_ms >= 0 && m.ended_at_ms >= 0);

	struct cg_duration_facts facts = {.started_at_ms = m.started_at_ms,
	    .ended_at_ms = m.ended_at_ms,
	    .snapshot = CG_SNAPSHOT_AWAY,
	    .paid_ms = m.paid_ms,
	    .stated_ms = m.stated_ms,
	    .granted_ms = 60000,
	    .slack_ms = 15000};
	struct cg_duration d = cg_duration_decide(&facts);
	CG_ASSERT(d.ms >= 0 && d.ms <= 75000);
}

static void merge(struct cg_view body)
{
	static char memory[CG_VAPI_ANSWER_BYTES + 4096];
	struct cg_vapi_grant grant = {.max_seconds = 300, .company_id = "c", .reservation_id = "r"};
	struct cg_view answer;
	struct cg_view document;
	struct cg_error err;
	int64_t seconds = 0;

	if (cg_vapi_merge(memory, sizeof memory, body, &grant, &answer) !=
	    CG_VAPI_UPSTREAM_ADMITS) {
		return;
	}
	CG_ASSERT(cg_doc_check(answer, (size_t)CG_VAPI_ANSWER_BYTES * 2, &document, &err) == CG_OK);
	struct cg_view overrides = cg_doc_member(document, "assistantOverrides");
	CG_ASSERT(cg_doc_decimal(cg_doc_member(overrides, "maxDurationSeconds"), 0, &seconds));
	CG_ASSERT(seconds >= CG_VAPI_SECONDS_MIN && seconds <= grant.max_seconds);
	CG_ASSERT(
	    cg_doc_is(cg_doc_member(cg_doc_member(overrides, "metadata"), "company_id"), "c"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0) {
		return 0;
	}
	/* On the heap and no longer than said, so that a byte too far is seen. */
	char *copy = malloc(size - 1 > 0 ? size - 1 : 1);
	CG_ASSERT(copy != NULL);
	memcpy(copy, data + 1, size - 1);
	struct cg_view body = {copy, size - 1};
	if (data[0] % 2 == 1) {
		read_webhook(body);
	} else {
		merge(body);
	}
	free(copy);
	return 0;
}
