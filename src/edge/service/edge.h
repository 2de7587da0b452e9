/*
 * What the files of this room share: the parts of callgate-edge, put together.
 *
 * Everything runs on the loop's thread.  A request is a struct of its own that walks through
 * callbacks and is freed once it has answered.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EDGE_SERVICE_EDGE_H
#define CG_EDGE_SERVICE_EDGE_H

#include <callgate/client.h>

#include "base/base.h"
#include "edge/calls/duration.h"
#include "edge/fetch/fetch.h"
#include "edge/http/http.h"
#include "edge/service/directory.h"
#include "edge/service/settings.h"
#include "edge/store/store.h"
#include "edge/vapi/message.h"
#include "loop/loop.h"

/* X(name, help): what is counted, and told at /metrics. */
#define CG_EDGE_COUNTS(X)                                                                          \
	X(webhooks, "webhooks that came")                                                          \
	X(webhooks_unauthenticated, "refused: no or a wrong signature")                            \
	X(webhooks_poison, "refused for ever: not what Vapi sends")                                \
	X(webhooks_retried, "answered 503: to be sent again")                                      \
	X(webhooks_repeated, "whose effect had taken place before")                                \
	X(requests_refused, "answered 503: too many at once")                                      \
	X(calls_admitted, "inbound calls let in")                                                  \
	X(calls_refused, "inbound calls refused")                                                  \
	X(calls_degraded, "let in by the outage policy of their number")                           \
	X(calls_unmatched, "of nobody's number")                                                   \
	X(upstream_broken, "upstream handlers that did not answer usefully")                       \
	X(settled, "calls charged by a report")                                                    \
	X(settled_polled, "calls charged by asking the provider")                                  \
	X(reviews, "calls parked for a person")                                                    \
	X(cut_offs, "calls to be ended for funds")                                                 \
	X(cut_alarms, "calls that did not end in time")                                            \
	X(control_refused, "control URLs that lead elsewhere")                                     \
	X(looks, "calls that the provider was asked for")                                          \
	X(calls_placed, "outbound calls made")                                                     \
	X(calls_unknown, "outbound calls of which the provider did not say whether it made them")  \
	X(adopted, "calls found running and unknown")                                              \
	X(account_alarms, "our account at the provider is empty or blocked")

struct cg_edge_counts {
#define X(name, help) uint64_t name;
	CG_EDGE_COUNTS(X)
#undef X
};

struct cg_live;
struct cg_gate_events;
struct cg_looks;

struct cg_edge {
	struct cg_edge_settings settings;
	struct cg_auth_config auth;
	struct cg_loop *loop;
	struct cg_http_server *http;
	struct cg_fetch *fetch;
	struct cg_edge_store *store;
	struct cg_directory *directory;
	struct callgate_client *gate;  /* decisions: a caller waits */
	struct callgate_client *books; /* settles, and whatever may take a while */
	struct cg_watch *gate_watch;
	struct cg_watch *books_watch;
	struct cg_live *live;
	struct cg_gate_events *gate_events;
	struct cg_looks *looks;
	struct cg_timer *settings_timer;
	struct cg_timer *drain_timer;
	struct cg_signal *terminate;
	struct cg_signal *interrupt;
	struct cg_edge_counts counts;
	uint64_t drain_at_ms;
	bool is_ending;
};

/* Wall clock. */
int64_t cg_edge_now_ms(void);

/* What an operation of the gate came to, for whoever must answer or try again. */
enum cg_edge_gate {
	CG_EDGE_GATE_OK,
	CG_EDGE_GATE_AWAY,    /* it may have happened: the same again */
	CG_EDGE_GATE_UNKNOWN, /* no such call, or no wallet */
	CG_EDGE_GATE_STATE,   /* the call's state does not admit it */
	CG_EDGE_GATE_REUSED,  /* done before, with other content */
	CG_EDGE_GATE_REFUSED, /* anything else: it will be so the next time */
};
enum cg_edge_gate cg_edge_gate_of(const struct callgate_error *error);

/* route.c */
void cg_edge_answer_json(
    struct cg_http_request *request, unsigned status, const char *key, const char *text);
size_t cg_edge_body_bytes_max(void *owner, const char *method, const char *path);
void cg_edge_on_request(void *owner, struct cg_http_request *request);

/* metrics.c */
void cg_edge_answer_metrics(struct cg_edge *edge, struct cg_http_request *request);

/* admit.c: an assistant-request. */
void cg_edge_admit(
    struct cg_edge *edge, struct cg_http_request *request, const struct cg_vapi_message *message);

/* webhook.c: status-update and end-of-call-report. */
void cg_edge_take_event(
    struct cg_edge *edge, struct cg_http_request *request, const struct cg_vapi_message *message);

/* forward.c: what a company's own handler answers, or only hears of. */
/* Fills in the rest of `ask`: where to, and what came. */
void cg_edge_upstream_submit(struct cg_edge *edge, struct cg_http_request *request,
    const struct cg_number *number, struct cg_fetch_ask *ask);
void cg_edge_forward_question(
    struct cg_edge *edge, struct cg_http_request *request, const struct cg_vapi_message *message);
void cg_edge_forward_copy(
    struct cg_edge *edge, struct cg_http_request *request, const struct cg_vapi_message *message);

/* provider.c: Vapi's REST API and control URLs. */
typedef void (*cg_edge_call_done)(
    void *owner, enum cg_snapshot_kind kind, const struct cg_vapi_call *call);
void cg_edge_provider_get(
    struct cg_edge *edge, const char *call_id, cg_edge_call_done done, void *owner);
/* `path` with its query. */
void cg_edge_provider_ask(struct cg_edge *edge, const char *method, const char *path,
    struct cg_view body, void (*done)(void *owner, const struct cg_fetch_answer *answer),
    void *owner);
/* Nothing is sent where the URL may not be used; then `done` says CG_UNAVAILABLE. */
void cg_edge_provider_control(struct cg_edge *edge, const char *url, struct cg_view body,
    void (*done)(void *owner, const struct cg_fetch_answer *answer), void *owner);
bool cg_edge_control_is_allowed(const struct cg_edge *edge, const char *url);

/* whose.c: whose call it is at the provider, and what the gate is told of it. */
struct cg_edge_owner {
	char company_id[CG_UUID_TEXT_LEN + 1];
	const char *resource_type;
	char destination[CG_VAPI_NUMBER_BYTES];
};

enum cg_edge_whose {
	CG_EDGE_WHOSE_FOUND,
	CG_EDGE_WHOSE_NOBODYS,
	CG_EDGE_WHOSE_LATER, /* the numbers were not read yet: nothing may be concluded */
};

/* `dialled`: our number, where a message says it; else "".  What is not known of the owner is "". */
enum cg_edge_whose cg_edge_whose(const struct cg_edge *edge, const struct cg_vapi_call *call,
    const char *dialled, struct cg_edge_owner *ret_owner);
/* A person finds out whose: nothing is charged to a guess. */
void cg_edge_park_unmatched(struct cg_edge *edge, const char *call_id, int64_t started_at_ms,
    int64_t ended_at_ms, const char *phone_number_id);

/* settle.c: charges a call that has ended, once, for what is known of its duration. */
struct cg_edge_bill {
	char call_id[129]; /* at the provider */
	char gate_id[129]; /* in the gate: the same, or its name */
	char company_id[CG_UUID_TEXT_LEN + 1];
	char resource_type[65];
	char destination[17];
	char ended_reason[CG_VAPI_REASON_BYTES];
	int64_t cost_micros; /* what the provider asks; -1: not known */
	struct cg_duration_facts facts;
	bool is_polled; /* nobody reported it */
	/* Where it is known already; else it is decided from the facts. */
	bool is_decided;
	struct cg_duration duration;
};

enum cg_edge_billed {
	CG_EDGE_BILLED,  /* in the ledger, and closed here */
	CG_EDGE_PARKED,  /* a person was told; it is looked at again */
	CG_EDGE_WAITING, /* its duration is not known yet; likewise */
	CG_EDGE_AGAIN,   /* out of reach: the same again */
};

void cg_edge_settle(struct cg_edge *edge, const struct cg_edge_bill *bill,
    void (*done)(void *owner, enum cg_edge_billed billed), void *owner);

/* Looks at a call in `after_ms`; what it is told is kept only where Postgres answers. */
void cg_edge_look_soon(
    struct cg_edge *edge, const char *call_id, const char *company_id, int64_t after_ms);

void cg_edge_review(struct cg_edge *edge, const struct cg_edge_review *review);

/* live.c: running calls, and their cut-offs. */
struct cg_live *cg_live_create(struct cg_edge *edge);
void cg_live_destroy(struct cg_live *live);
void cg_live_stop(struct cg_live *live); /* nothing is said or ended any more */
/* `gate_id` as the gate's events name it. */
void cg_live_add(struct cg_live *live, const struct cg_edge_row *row, const char *gate_id,
    const char *control_url);
void cg_live_ended(struct cg_live *live, const char *gate_id);
/* A call that the gate has warned of, or cut off, or would not have let in. */
void cg_live_warn(
    struct cg_live *live, const char *call_id, const char *gate_id, const char *company_id);
void cg_live_cut(
    struct cg_live *live, const char *call_id, const char *gate_id, const char *company_id);
uint32_t cg_live_count(const struct cg_live *live);

/* gate_events.c: what the gate tells of calls, from cg_gate_events_start() on. */
struct cg_gate_events *cg_gate_events_create(struct cg_edge *edge);
void cg_gate_events_start(struct cg_gate_events *events);
void cg_gate_events_stop(struct cg_gate_events *events);
void cg_gate_events_destroy(struct cg_gate_events *events);

/* look.c: one look at a call that nobody reported; `done` may run in here. */
void cg_edge_look(
    struct cg_edge *edge, const struct cg_edge_row *row, void (*done)(void *owner), void *owner);

/* looks.c: when which is looked at. */
struct cg_looks *cg_looks_create(struct cg_edge *edge);
void cg_looks_start(struct cg_looks *looks);
void cg_looks_stop(struct cg_looks *looks);
bool cg_looks_are_idle(const struct cg_looks *looks);
void cg_looks_destroy(struct cg_looks *looks);

/*
 * sweep.c: what the provider lists as changed since then and nobody here has heard of, and what the
 * gate has without a row, become rows that want a look.  `ok`: the provider's list is complete.
 */
void cg_edge_sweep(
    struct cg_edge *edge, int64_t since_ms, void (*done)(void *owner, bool ok), void *owner);

/*
 * outbound.c: calls that we make.  In the gate such a call's id is the name that it is made with,
 * since it is decided before the provider gives it one; only who has the account's private key
 * names calls, so a name that begins so is ours.
 */
#define CG_EDGE_NAME "cg-"
bool cg_edge_is_named(const struct cg_vapi_call *call);
void cg_edge_place_call(struct cg_edge *edge, struct cg_http_request *request);
void cg_edge_make_token(struct cg_edge *edge, struct cg_http_request *request);
/* Of a call whose row has its name for an id: whether the provider made it. */
void cg_edge_find_named(
    struct cg_edge *edge, const struct cg_edge_row *row, cg_edge_call_done done, void *owner);
void cg_edge_predial(
    struct cg_edge *edge, struct cg_http_request *request, const struct cg_vapi_message *message);

/* service.c */
enum cg_status cg_edge_run(const struct cg_edge_settings *settings, struct cg_error *err);

/* check.c: the exit status. */
int cg_edge_check(const struct cg_edge_settings *settings);

#endif /* CG_EDGE_SERVICE_EDGE_H */
