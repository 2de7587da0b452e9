/*
 * What Vapi sends, and what it answers when it is asked: the one place that knows its shapes.
 * Read tolerantly: a member that is missing, null, or of another type than documented is one that
 * was not said; only what a message cannot do without is insisted on.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EDGE_VAPI_MESSAGE_H
#define CG_EDGE_VAPI_MESSAGE_H

#include "edge/calls/duration.h"

#define CG_VAPI_ID_BYTES     129 /* a call's id is the gate's call_id: at most 128 */
#define CG_VAPI_SHORT_BYTES  65
#define CG_VAPI_NUMBER_BYTES 24
#define CG_VAPI_REASON_BYTES 161
#define CG_VAPI_URL_BYTES    513
/* A transcript has a few values a second; what has more is meant to cost. */
#define CG_VAPI_VALUES_MAX 400000

/* Where the rules are written down: the message's `type`. */
enum cg_vapi_kind {
	CG_VAPI_ASSISTANT_REQUEST,
	CG_VAPI_STATUS_UPDATE,
	CG_VAPI_REPORT,
	CG_VAPI_PREDIAL,  /* campaign.predial: answered with whether a contact is dialled */
	CG_VAPI_TRANSFER, /* transfer-destination-request */
	CG_VAPI_QUESTION, /* another one that waits for a body: tool-calls, ... */
	CG_VAPI_NEWS,     /* anything else: answered 200 */
};

/* One call as a webhook or the REST API has it.  Texts are empty, numbers 0, where not said. */
struct cg_vapi_call {
	char id[CG_VAPI_ID_BYTES];
	char type[CG_VAPI_SHORT_BYTES]; /* inboundPhoneCall, outboundPhoneCall, webCall, ... */
	char status[CG_VAPI_SHORT_BYTES];
	char name[CG_VAPI_SHORT_BYTES];
	char phone_number_id[CG_VAPI_SHORT_BYTES];
	char assistant_id[CG_VAPI_SHORT_BYTES];
	char customer_number[CG_VAPI_NUMBER_BYTES];
	char ended_reason[CG_VAPI_REASON_BYTES];
	char control_url[CG_VAPI_URL_BYTES]; /* a secret: never logged */
	/* assistantOverrides.metadata, as we wrote it; whoever starts a web call may have forged it. */
	char company_id[CG_VAPI_SHORT_BYTES];
	char reservation_id[CG_VAPI_SHORT_BYTES];
	int64_t max_seconds; /* assistantOverrides.maxDurationSeconds */
	int64_t created_at_ms;
	int64_t updated_at_ms;
	int64_t started_at_ms;
	int64_t ended_at_ms;
	int64_t cost_micros; /* what the provider asks for it, in USD; -1: not said */
	int64_t paid_ms;     /* costs[type=vapi].minutes */
};

struct cg_vapi_message {
	enum cg_vapi_kind kind;
	char type[CG_VAPI_SHORT_BYTES];
	char status[CG_VAPI_SHORT_BYTES];
	char ended_reason[CG_VAPI_REASON_BYTES];
	char dialled[CG_VAPI_NUMBER_BYTES]; /* our number */
	int64_t sent_at_ms;
	/* Of a report. */
	int64_t started_at_ms;
	int64_t ended_at_ms;
	int64_t stated_ms;
	int64_t cost_micros;
	int64_t paid_ms;
	/* Ids, numbers and the control URL count; its status and times may be old: a stale snapshot. */
	struct cg_vapi_call call;
	/* (call, type, status): Vapi gives its deliveries no id. */
	char dedupe_key[CG_VAPI_ID_BYTES + 2 * CG_VAPI_SHORT_BYTES];
};

/*
 * CG_OK
 * CG_INVALID  poison: no JSON, no `message.type`, or a message about a call without its id
 */
enum cg_status cg_vapi_read_message(
    struct cg_view body, struct cg_vapi_message *ret_message, struct cg_error *err);

/* A Call object, checked already. */
void cg_vapi_read_call(struct cg_view object, struct cg_vapi_call *ret_call);

/*
 * An answer of GET /call/{id} or POST /call: one Call.  CG_INVALID where it is none.
 */
enum cg_status cg_vapi_read_answer(
    struct cg_view body, struct cg_vapi_call *ret_call, struct cg_error *err);

/* What the provider's call says about itself, for cg_duration_decide(). */
enum cg_snapshot_kind cg_vapi_snapshot_of(const struct cg_vapi_call *call);

/* ISO 8601 with an offset or Z, or a number of ms or s since the epoch; 0 where it is neither. */
int64_t cg_vapi_time_ms(struct cg_view value);

/* Milliseconds as Vapi writes them: 2026-08-21T09:33:22.500Z. */
void cg_vapi_format_time(int64_t at_ms, char text[32]);

/* "+" and 2 to 15 digits, the first not 0. */
bool cg_vapi_is_e164(const char *number);

/* Classes of endedReason, an open set: by prefix. */
enum cg_vapi_reason {
	CG_VAPI_REASON_NORMAL, /* and whatever nobody knows */
	CG_VAPI_REASON_TRANSFERRED,
	CG_VAPI_REASON_NOT_CONNECTED,
	CG_VAPI_REASON_GATE,    /* our own refusal, or none of our answers */
	CG_VAPI_REASON_START,   /* it could not be started */
	CG_VAPI_REASON_ACCOUNT, /* our own account at the vendor is empty or blocked */
	CG_VAPI_REASON_FAULT,   /* the vendor's or its suppliers' */
};
enum cg_vapi_reason cg_vapi_reason_of(const char *ended_reason);

#endif /* CG_EDGE_VAPI_MESSAGE_H */
