/*
 * Running calls, and their cut-offs: what the gate tells (gate_events.c) on one side, the provider's
 * control URLs on the other, and the machine of edge/calls/cut.h between them.
 *
 * Calls are here from the webhook that says that they talk; one that another edge took, or that was
 * taken before a restart, is read from Postgres when the gate tells of it.  With several edges
 * each does what the gate tells: a call may be said goodbye to twice, and is never missed.  They go
 * when anybody says that they have ended: the webhook, whoever charges them, or the gate.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "edge/calls/cut.h"
#include "edge/service/edge.h"
#include "edge/vapi/answer.h"

#define BUCKETS   4096u
#define CALLS_MAX 100000u
#define REOPEN_MS 1000
/* "About thirty seconds" are not ten less. */
#define WARNING_LATE_MS 10000
#define SENTENCE_BYTES  4096

struct live_call {
	struct cg_list link;
	struct cg_live *live;
	char call_id[129];
	char gate_id[129];
	char company_id[CG_UUID_TEXT_LEN + 1];
	char control_url[513];
	char language[36]; /* "": not known, and what is said is in the company's own words */
	struct cg_cut cut;
	struct cg_timer *timer; /* once it is being cut off */
	uint32_t asks;          /* under way; it stays until they are answered */
	bool is_being_read;     /* from Postgres */
	bool is_to_be_cut;      /* once it is read */
	bool is_removed;
};

struct cg_live {
	struct cg_edge *edge;
	struct cg_list buckets[BUCKETS];
	uint32_t count;
	struct cg_cut_config cut;
	bool is_stopped;
};

static struct cg_list *bucket_of(struct cg_live *live, const char *gate_id)
{
	return &live->buckets[cg_crc32c(gate_id, strlen(gate_id)) % BUCKETS];
}

static struct live_call *find(struct cg_live *live, const char *gate_id)
{
	struct cg_list *bucket = bucket_of(live, gate_id);

	for (struct cg_list *at = bucket->next; at != bucket; at = at->next) {
		struct live_call *call = CG_CONTAINER_OF(at, struct live_call, link);
		if (strcmp(call->gate_id, gate_id) == 0) {
			return call;
		}
	}
	return NULL;
}

static struct live_call *add(
    struct cg_live *live, const char *call_id, const char *gate_id, const char *company_id)
{
	if (live->count >= CALLS_MAX) {
		return NULL; /* The gate repeats; the provider's own limit ends it at the latest. */
	}
	struct live_call *call = calloc(1, sizeof *call);
	CG_ASSERT(call != NULL);
	call->live = live;
	(void)snprintf(call->call_id, sizeof call->call_id, "%s", call_id);
	(void)snprintf(call->gate_id, sizeof call->gate_id, "%s", gate_id);
	(void)snprintf(call->company_id, sizeof call->company_id, "%s", company_id);
	cg_cut_init(&call->cut, false);
	cg_list_append(bucket_of(live, gate_id), &call->link);
	live->count++;
	return call;
}

static void let_go(struct live_call *call)
{
	if (!call->is_removed || call->asks > 0) {
		return;
	}
	if (call->timer != NULL) {
		cg_timer_close(call->timer);
	}
	free(call);
}

static void end_call(struct live_call *call)
{
	if (!call->is_removed) {
		call->is_removed = true;
		cg_cut_ended(&call->cut);
		cg_list_remove(&call->link);
		call->live->count--;
		if (call->timer != NULL) {
			cg_timer_cancel(call->timer);
		}
	}
}

/* Spoken as the number is that it came to, or is made from. */
static void set_language(struct live_call *call, const char *phone_number_id)
{
	const struct cg_number *number =
	    cg_directory_number(call->live->edge->directory, phone_number_id, "");

	if (number != NULL) {
		memcpy(call->language, number->language, sizeof call->language);
	}
}

static void obey(struct live_call *call, struct cg_cut_step step);

static void set_url(struct live_call *call, const char *url)
{
	const struct cg_live *live = call->live;

	if (url[0] != '\0' && cg_edge_control_is_allowed(live->edge, url)) {
		(void)snprintf(call->control_url, sizeof call->control_url, "%s", url);
		obey(call,
		    cg_cut_found_url(&call->cut, &live->cut, cg_loop_now_ms(live->edge->loop)));
	}
}

static void on_due(void *owner)
{
	struct live_call *call = owner;

	obey(call, cg_cut_due(&call->cut, &call->live->cut));
}

static bool was_taken(const struct cg_fetch_answer *answer)
{
	return answer->status == CG_OK && answer->code >= 200 && answer->code < 300;
}

static void on_warned(void *owner, const struct cg_fetch_answer *answer)
{
	struct live_call *call = owner;

	call->asks--;
	/* A courtesy: not repeated, since it may have been spoken. */
	if (!was_taken(answer) && !call->is_removed) {
		cg_log(CG_LOG_WARN, "warning was not taken", "call", call->call_id, "code",
		    cg_log_int(answer->code), "why", answer->why, NULL);
	}
	let_go(call);
}

static void on_goodbye(void *owner, const struct cg_fetch_answer *answer)
{
	struct live_call *call = owner;

	call->asks--;
	obey(call, cg_cut_said(&call->cut, &call->live->cut, was_taken(answer)));
	let_go(call);
}

static void on_end_call(void *owner, const struct cg_fetch_answer *answer)
{
	struct live_call *call = owner;

	call->asks--;
	if (!was_taken(answer) && !call->is_removed) {
		cg_log(CG_LOG_WARN, "end-call was not taken", "call", call->call_id, "code",
		    cg_log_int(answer->code), "attempt", cg_log_int(call->cut.attempts), NULL);
	}
	obey(call, cg_cut_end_answered(&call->cut, &call->live->cut));
	let_go(call);
}

static void on_asked(void *owner, enum cg_snapshot_kind kind, const struct cg_vapi_call *told)
{
	struct live_call *call = owner;
	struct cg_edge *edge = call->live->edge;

	call->asks--;
	if (!call->is_removed && (kind == CG_SNAPSHOT_ENDED || kind == CG_SNAPSHOT_ABSENT)) {
		cg_log(CG_LOG_INFO, "call that was cut off has ended", "call", call->call_id, NULL);
		/* Its report may never come. */
		cg_edge_look_soon(
		    edge, call->call_id, call->company_id, edge->settings.look_after_ms);
		end_call(call);
	} else if (!call->is_removed) {
		if (kind != CG_SNAPSHOT_AWAY) {
			set_url(call, told->control_url);
		}
		obey(call,
		    cg_cut_asked(&call->cut, &call->live->cut, call->control_url[0] != '\0',
		        cg_loop_now_ms(edge->loop)));
	}
	let_go(call);
}

static void say(struct live_call *call, enum cg_situation situation, bool and_end,
    void (*done)(void *owner, const struct cg_fetch_answer *answer))
{
	struct cg_edge *edge = call->live->edge;
	char memory[SENTENCE_BYTES];
	const char *sentence =
	    cg_directory_sentence(edge->directory, call->company_id, call->language, situation);

	call->asks++;
	cg_edge_provider_control(edge, call->control_url,
	    cg_vapi_say(memory, sizeof memory, sentence, and_end), done, call);
}

/* The one place where a step of the machine becomes something that happens. */
static void obey(struct live_call *call, struct cg_cut_step step)
{
	struct cg_edge *edge = call->live->edge;

	if (call->is_removed || call->live->is_stopped) {
		return;
	}
	if (step.alarm) {
		edge->counts.cut_alarms++;
		cg_log(CG_LOG_ERROR, "call does not end", "call", call->call_id, "company",
		    call->company_id, "attempts", cg_log_int(call->cut.attempts), NULL);
		struct cg_edge_review review = {.call_id = call->call_id,
		    .what = "does_not_end",
		    .company_id = call->company_id,
		    .detail = "cut off, and still running at the provider"};
		cg_edge_review(edge, &review);
	}
	if (step.again_ms > 0) {
		if (call->timer == NULL) {
			call->timer = cg_timer_create(edge->loop, on_due, call);
		}
		cg_timer_start(call->timer, step.again_ms);
	}
	switch (step.act) {
	case CG_CUT_NOTHING:
		break;
	case CG_CUT_SAY_WARNING:
		say(call, CG_SITUATION_WARNING, false, on_warned);
		break;
	case CG_CUT_SAY_GOODBYE:
		say(call, CG_SITUATION_GOODBYE, true, on_goodbye);
		break;
	case CG_CUT_END_CALL:
		call->asks++;
		cg_edge_provider_control(
		    edge, call->control_url, cg_vapi_end_call(), on_end_call, call);
		break;
	case CG_CUT_ASK:
		call->asks++;
		cg_edge_provider_get(edge, call->call_id, on_asked, call);
		break;
	}
}

static void begin(struct live_call *call)
{
	if (call->cut.state == CG_CUT_TALKING) {
		call->live->edge->counts.cut_offs++;
		cg_log(CG_LOG_INFO, "call is cut off", "call", call->call_id, "company",
		    call->company_id, NULL);
	}
	obey(call,
	    cg_cut_begun(&call->cut, &call->live->cut, cg_loop_now_ms(call->live->edge->loop)));
}

static void on_row(void *owner, enum cg_status status, const struct cg_edge_row *rows, size_t count)
{
	struct live_call *call = owner;

	call->asks--;
	call->is_being_read = false;
	if (status == CG_OK && count == 1) {
		(void)snprintf(call->call_id, sizeof call->call_id, "%s", rows[0].call_id);
		set_language(call, rows[0].phone_number_id);
		set_url(call, rows[0].control_url);
	}
	if (!call->is_removed && call->is_to_be_cut) {
		begin(call);
	}
	let_go(call);
}

/* The call that the gate tells of; NULL where there are too many. */
static struct live_call *learn(
    struct cg_live *live, const char *call_id, const char *gate_id, const char *company_id)
{
	struct live_call *call = find(live, gate_id);

	if (call == NULL) {
		call = add(live, call_id, gate_id, company_id);
		if (call == NULL) {
			return NULL;
		}
		call->asks++;
		call->is_being_read = true;
		cg_edge_store_read(live->edge->store, gate_id, on_row, call);
	}
	return call;
}

void cg_live_cut(
    struct cg_live *live, const char *call_id, const char *gate_id, const char *company_id)
{
	struct live_call *call = learn(live, call_id, gate_id, company_id);

	if (call != NULL && call->is_being_read) {
		call->is_to_be_cut = true;
	} else if (call != NULL) {
		begin(call);
	}
}

void cg_live_warn(
    struct cg_live *live, const char *call_id, const char *gate_id, const char *company_id)
{
	struct live_call *call = learn(live, call_id, gate_id, company_id);

	if (call != NULL) {
		obey(call, cg_cut_warned(&call->cut, cg_loop_now_ms(live->edge->loop)));
	}
}

void cg_live_add(struct cg_live *live, const struct cg_edge_row *row, const char *gate_id,
    const char *control_url)
{
	struct live_call *call = find(live, gate_id);

	if (call == NULL) {
		call = add(live, row->call_id, gate_id, row->company_id);
	}
	if (call != NULL) {
		set_language(call, row->phone_number_id);
		set_url(call, control_url);
	}
}

void cg_live_ended(struct cg_live *live, const char *gate_id)
{
	struct live_call *call = find(live, gate_id);

	if (call != NULL) {
		end_call(call);
		let_go(call);
	}
}

uint32_t cg_live_count(const struct cg_live *live)
{
	return live->count;
}

struct cg_live *cg_live_create(struct cg_edge *edge)
{
	struct cg_live *live = calloc(1, sizeof *live);

	CG_ASSERT(live != NULL);
	live->edge = edge;
	for (uint32_t i = 0; i < BUCKETS; i++) {
		cg_list_init(&live->buckets[i]);
	}
	live->cut = (struct cg_cut_config){
	    .goodbye_ms = (uint32_t)edge->settings.goodbye_ms,
	    .poll_ms = (uint32_t)edge->settings.poll_ms,
	    .alarm_ms = (uint32_t)edge->settings.alarm_ms,
	    .warning_late_ms = WARNING_LATE_MS,
	};
	return live;
}

void cg_live_stop(struct cg_live *live)
{
	live->is_stopped = true;
}

void cg_live_destroy(struct cg_live *live)
{
	for (uint32_t i = 0; i < BUCKETS; i++) {
		const struct cg_list *head = &live->buckets[i];

		for (struct cg_list *at = head->next, *next; at != head; at = next) {
			next = at->next;
			free(CG_CONTAINER_OF(at, struct live_call, link));
		}
	}
	free(live);
}
