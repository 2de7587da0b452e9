/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/vapi/message.h"

#include <stdio.h>

#include "edge/json/doc.h"

#define MINUTE_MS 60000
/* No call is longer; what says so is no duration. */
#define DURATION_MAX_MS INT64_C(604800000)

static const struct {
	const char *type;
	enum cg_vapi_kind kind;
} kinds[] = {
    {"assistant-request", CG_VAPI_ASSISTANT_REQUEST},
    {"status-update", CG_VAPI_STATUS_UPDATE},
    {"end-of-call-report", CG_VAPI_REPORT},
    {"campaign.predial", CG_VAPI_PREDIAL},
    {"transfer-destination-request", CG_VAPI_TRANSFER},
    {"tool-calls", CG_VAPI_QUESTION},
    {"function-call", CG_VAPI_QUESTION},
    {"handoff-destination-request", CG_VAPI_QUESTION},
    {"knowledge-base-request", CG_VAPI_QUESTION},
    {"voice-request", CG_VAPI_QUESTION},
};

static enum cg_vapi_kind kind_of(const char *type)
{
	for (size_t i = 0; i < CG_COUNT_OF(kinds); i++) {
		if (strcmp(type, kinds[i].type) == 0) {
			return kinds[i].kind;
		}
	}
	return CG_VAPI_NEWS;
}

/* One that cannot be read, or does not fit, was not said. */
static void read_text(struct cg_view value, char *to, size_t size)
{
	(void)cg_doc_string(value, to, size);
}

static bool is_printable(const char *text)
{
	for (const char *at = text; *at != '\0'; at++) {
		if (*at < 0x21 || *at > 0x7e) {
			return false;
		}
	}
	return text[0] != '\0';
}

static int64_t read_span(struct cg_view value, int64_t unit_ms)
{
	int64_t thousandths = 0;

	if (!cg_doc_decimal(value, 3, &thousandths) || thousandths <= 0 ||
	    thousandths > DURATION_MAX_MS) {
		return 0;
	}
	int64_t ms = thousandths * unit_ms / 1000;
	return ms <= DURATION_MAX_MS ? ms : 0;
}

/* Minutes come with four places or more: to the millisecond, exactly. */
static int64_t read_minutes(struct cg_view value)
{
	int64_t millionths = 0;

	if (!cg_doc_decimal(value, 6, &millionths) || millionths <= 0 ||
	    millionths > DURATION_MAX_MS * 1000 / MINUTE_MS * 1000) {
		return 0;
	}
	return (millionths * (MINUTE_MS / 1000) + 500) / 1000;
}

static int64_t read_cost(struct cg_view value)
{
	int64_t micros = 0;

	return cg_doc_decimal(value, 6, &micros) && micros >= 0 ? micros : -1;
}

static int64_t paid_ms_of(struct cg_view costs)
{
	static const char *const names[] = {"type", "minutes"};
	struct cg_view values[2];
	struct cg_doc_walk walk;
	struct cg_view key;
	struct cg_view each;
	int64_t paid_ms = 0;

	cg_doc_walk(&walk, costs);
	while (cg_doc_next(&walk, &key, &each)) {
		cg_doc_members(each, names, CG_COUNT_OF(names), values);
		/* One for each subType: what was within the plan, and what was over it. */
		if (cg_doc_is(values[0], "vapi")) {
			paid_ms += read_minutes(values[1]);
		}
	}
	return paid_ms;
}

static void read_overrides(struct cg_view overrides, struct cg_vapi_call *call)
{
	static const char *const names[] = {"maxDurationSeconds", "metadata"};
	static const char *const ours[] = {"company_id", "reservation_id"};
	struct cg_view values[2];
	struct cg_view told[2];
	int64_t seconds = 0;

	cg_doc_members(overrides, names, CG_COUNT_OF(names), values);
	if (cg_doc_decimal(values[0], 0, &seconds) && seconds > 0) {
		call->max_seconds = seconds;
	}
	cg_doc_members(values[1], ours, CG_COUNT_OF(ours), told);
	read_text(told[0], call->company_id, sizeof call->company_id);
	read_text(told[1], call->reservation_id, sizeof call->reservation_id);
}

void cg_vapi_read_call(struct cg_view object, struct cg_vapi_call *ret_call)
{
	struct cg_vapi_call *call = ret_call;
	enum {
		ID,
		TYPE,
		STATUS,
		NAME,
		NUMBER_ID,
		ASSISTANT_ID,
		CUSTOMER,
		REASON,
		MONITOR,
		OVERRIDES,
		CREATED,
		UPDATED,
		STARTED,
		ENDED,
		COST,
		COSTS,
		COUNT
	};
	static const char *const names[COUNT] = {"id", "type", "status", "name", "phoneNumberId",
	    "assistantId", "customer", "endedReason", "monitor", "assistantOverrides", "createdAt",
	    "updatedAt", "startedAt", "endedAt", "cost", "costs"};
	struct cg_view v[COUNT];

	*call = (struct cg_vapi_call){.cost_micros = -1};
	cg_doc_members(object, names, COUNT, v);
	read_text(v[ID], call->id, sizeof call->id);
	read_text(v[TYPE], call->type, sizeof call->type);
	read_text(v[STATUS], call->status, sizeof call->status);
	read_text(v[NAME], call->name, sizeof call->name);
	read_text(v[NUMBER_ID], call->phone_number_id, sizeof call->phone_number_id);
	read_text(v[ASSISTANT_ID], call->assistant_id, sizeof call->assistant_id);
	read_text(cg_doc_member(v[CUSTOMER], "number"), call->customer_number,
	    sizeof call->customer_number);
	read_text(v[REASON], call->ended_reason, sizeof call->ended_reason);
	read_text(
	    cg_doc_member(v[MONITOR], "controlUrl"), call->control_url, sizeof call->control_url);
	read_overrides(v[OVERRIDES], call);
	call->created_at_ms = cg_vapi_time_ms(v[CREATED]);
	call->updated_at_ms = cg_vapi_time_ms(v[UPDATED]);
	call->started_at_ms = cg_vapi_time_ms(v[STARTED]);
	call->ended_at_ms = cg_vapi_time_ms(v[ENDED]);
	call->cost_micros = read_cost(v[COST]);
	call->paid_ms = paid_ms_of(v[COSTS]);
}

/* The number and its id stand beside the call as well, and in some messages there alone. */
static void read_phone_number(struct cg_view object, struct cg_vapi_message *m)
{
	static const char *const names[] = {"id", "number"};
	struct cg_view v[2];

	cg_doc_members(object, names, CG_COUNT_OF(names), v);
	if (m->call.phone_number_id[0] == '\0') {
		read_text(v[0], m->call.phone_number_id, sizeof m->call.phone_number_id);
	}
	read_text(v[1], m->dialled, sizeof m->dialled);
}

static void read_members(struct cg_view message, struct cg_vapi_message *m)
{
	enum {
		STATUS,
		REASON,
		CALL,
		NUMBER,
		CUSTOMER,
		SENT,
		STARTED,
		ENDED,
		COST,
		COSTS,
		SECONDS,
		MS,
		MINUTES,
		COUNT
	};
	static const char *const names[COUNT] = {"status", "endedReason", "call", "phoneNumber",
	    "customer", "timestamp", "startedAt", "endedAt", "cost", "costs", "durationSeconds",
	    "durationMs", "durationMinutes"};
	struct cg_view v[COUNT];

	cg_doc_members(message, names, COUNT, v);
	read_text(v[STATUS], m->status, sizeof m->status);
	read_text(v[REASON], m->ended_reason, sizeof m->ended_reason);
	cg_vapi_read_call(v[CALL], &m->call);
	read_phone_number(v[NUMBER], m);
	if (m->call.customer_number[0] == '\0') {
		read_text(cg_doc_member(v[CUSTOMER], "number"), m->call.customer_number,
		    sizeof m->call.customer_number);
	}
	m->sent_at_ms = cg_vapi_time_ms(v[SENT]);
	m->started_at_ms = cg_vapi_time_ms(v[STARTED]);
	m->ended_at_ms = cg_vapi_time_ms(v[ENDED]);
	m->cost_micros = read_cost(v[COST]);
	m->paid_ms = paid_ms_of(v[COSTS]);
	m->stated_ms = read_span(v[SECONDS], 1000);
	if (m->stated_ms == 0) {
		m->stated_ms = read_span(v[MS], 1);
	}
	if (m->stated_ms == 0) {
		m->stated_ms = read_minutes(v[MINUTES]);
	}
}

static bool is_about_a_call(enum cg_vapi_kind kind)
{
	return kind == CG_VAPI_ASSISTANT_REQUEST || kind == CG_VAPI_STATUS_UPDATE ||
	    kind == CG_VAPI_REPORT;
}

enum cg_status cg_vapi_read_message(
    struct cg_view body, struct cg_vapi_message *ret_message, struct cg_error *err)
{
	struct cg_vapi_message *m = ret_message;
	struct cg_view document;
	enum cg_status status = cg_doc_check(body, CG_VAPI_VALUES_MAX, &document, err);

	if (status != CG_OK) {
		return status;
	}
	struct cg_view message = cg_doc_member(document, "message");
	memset(m, 0, sizeof *m);
	read_text(cg_doc_member(message, "type"), m->type, sizeof m->type);
	if (!is_printable(m->type)) {
		cg_error_set(err, "message.type: missing");
		return CG_INVALID;
	}
	m->kind = kind_of(m->type);
	read_members(message, m);
	if (is_about_a_call(m->kind) && !is_printable(m->call.id)) {
		cg_error_set(err, "message.call.id: must be 1..128 bytes of printable ASCII");
		return CG_INVALID;
	}
	if (m->kind == CG_VAPI_STATUS_UPDATE && m->status[0] == '\0') {
		cg_error_set(err, "message.status: missing");
		return CG_INVALID;
	}
	(void)snprintf(
	    m->dedupe_key, sizeof m->dedupe_key, "%s/%s/%s", m->call.id, m->type, m->status);
	return CG_OK;
}

enum cg_status cg_vapi_read_answer(
    struct cg_view body, struct cg_vapi_call *ret_call, struct cg_error *err)
{
	struct cg_vapi_call *call = ret_call;
	struct cg_view document;
	enum cg_status status = cg_doc_check(body, CG_VAPI_VALUES_MAX, &document, err);

	if (status != CG_OK) {
		return status;
	}
	cg_vapi_read_call(document, call);
	if (!is_printable(call->id)) {
		cg_error_set(err, "the answer is no call");
		return CG_INVALID;
	}
	return CG_OK;
}

enum cg_snapshot_kind cg_vapi_snapshot_of(const struct cg_vapi_call *call)
{
	if (strcmp(call->status, "ended") == 0 || call->ended_at_ms != 0) {
		return CG_SNAPSHOT_ENDED;
	}
	if (strcmp(call->status, "in-progress") == 0 || strcmp(call->status, "forwarding") == 0) {
		return CG_SNAPSHOT_RUNNING;
	}
	if (strcmp(call->status, "not-found") == 0) {
		return CG_SNAPSHOT_ABSENT;
	}
	return CG_SNAPSHOT_WAITING;
}
