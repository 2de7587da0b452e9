/*
 * What the edge keeps in Postgres (the migration callgate_edge): numbers, sentences,
 * webhooks, calls, reviews.  No money.
 *
 * True of every operation: what is passed in is copied; `done` (may be NULL) runs once, never before
 * the submitting call has returned, with a status as of ledger/pool.h: after CG_OK it is
 * committed, after CG_TIMEOUT and CG_LOST it may be.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EDGE_STORE_STORE_H
#define CG_EDGE_STORE_STORE_H

#include "base/base.h"
#include "loop/loop.h"

struct cg_edge_store;

struct cg_edge_store_config {
	const char *database_url; /* must outlive it */
	uint32_t connections;
	uint32_t connect_timeout_ms;
	uint32_t timeout_ms; /* of one operation */
};

struct cg_edge_store *cg_edge_store_create(
    struct cg_loop *loop, const struct cg_edge_store_config *config);
void cg_edge_store_start(struct cg_edge_store *store);
bool cg_edge_store_is_connected(const struct cg_edge_store *store);
/* Nothing is under way, and nothing waits to be. */
bool cg_edge_store_is_idle(const struct cg_edge_store *store);

/* What is under way ends CG_CLOSING, in here. */
void cg_edge_store_close(struct cg_edge_store *store);
void cg_edge_store_destroy(struct cg_edge_store *store);

/* What is known of a call: texts are empty and numbers 0 where it is not. */
struct cg_edge_row {
	int64_t event_id;
	bool event_done; /* this webhook's effect took place before */
	char call_id[129];
	char company_id[CG_UUID_TEXT_LEN + 1];
	char kind[33];
	char state[9];
	char resource_type[65];
	char destination[17];
	int64_t granted_ms;
	bool is_degraded;
	bool is_connected;
	int64_t started_at_ms;
	int64_t ended_at_ms;
	char control_url[513]; /* a secret */
	int64_t looks;
	char name[65];
	char phone_number_id[65];
	int64_t created_at_ms;
	bool is_known; /* cg_edge_store_missed() alone */
};

typedef void (*cg_edge_rows_done)(
    void *owner, enum cg_status status, const struct cg_edge_row *rows, size_t count);

/* A webhook, and what it says about its call. */
struct cg_edge_event {
	const char *dedupe_key;
	const char *call_id;
	const char *type;
	const char *status;
	int64_t sent_at_ms;
	struct cg_view content; /* JSON */
	const char *state;      /* NULL: it says nothing about the call */
	const char *company_id; /* this and what follows: NULL or empty: not known */
	const char *kind;
	const char *phone_number_id;
	const char *resource_type;
	const char *destination;
	const char *control_url;
	const char *ended_reason;
	int64_t look_in_ms; /* 0: as before */
	const char *name;
};

/* One row. */
void cg_edge_store_take(struct cg_edge_store *store, const struct cg_edge_event *event,
    cg_edge_rows_done done, void *owner);

void cg_edge_store_event_done(struct cg_edge_store *store, int64_t event_id, const char *outcome,
    cg_edge_rows_done done, void *owner);

/* What became known of a call; NULL, empty and 0 leave what is there. */
struct cg_edge_note {
	const char *call_id;
	const char *state; /* "admitted", "running", "ended", "closed" */
	const char *company_id;
	const char *kind;
	const char *phone_number_id;
	const char *name;
	const char *resource_type;
	const char *destination;
	int64_t granted_ms;
	bool is_degraded;
	bool is_connected;
	int64_t started_at_ms;
	int64_t ended_at_ms;
	const char *ended_reason;
	const char *control_url;
	const char *outcome;
	int64_t look_in_ms;
};

void cg_edge_store_note(struct cg_edge_store *store, const struct cg_edge_note *note,
    cg_edge_rows_done done, void *owner);

/*
 * An inbound call was let in: the note's call, company, number, destination, grant and look.  Written
 * within moments, with others in one statement; nobody is told.
 */
void cg_edge_store_admitted(struct cg_edge_store *store, const struct cg_edge_note *note);

/* No row where it is not known. */
void cg_edge_store_read(
    struct cg_edge_store *store, const char *call_id, cg_edge_rows_done done, void *owner);

/* Calls that want a look; no other edge is given them for turn_ms. */
void cg_edge_store_due(struct cg_edge_store *store, uint32_t limit, int64_t turn_ms,
    cg_edge_rows_done done, void *owner);

/*
 * Of these calls, which have ended at the provider or not, those that have no row here, or are not
 * known to have ended: call_id is set, and is_known where there is a row.
 */
void cg_edge_store_missed(struct cg_edge_store *store, const char *const *ids, const bool *ended,
    size_t count, cg_edge_rows_done done, void *owner);

struct cg_edge_review {
	const char *call_id;
	const char *what;
	const char *company_id; /* NULL or empty: not known */
	int64_t said_ms;
	int64_t charged_ms;
	int64_t granted_ms;
	const char *detail;
};

void cg_edge_store_review(struct cg_edge_store *store, const struct cg_edge_review *review,
    cg_edge_rows_done done, void *owner);

void cg_edge_store_trim(
    struct cg_edge_store *store, uint32_t days, cg_edge_rows_done done, void *owner);

/* `numbers` and `sentences` are JSON arrays, empty views where the version is the known one. */
typedef void (*cg_edge_settings_done)(void *owner, enum cg_status status, int64_t version,
    struct cg_view numbers, struct cg_view sentences);
void cg_edge_store_settings(
    struct cg_edge_store *store, int64_t known_version, cg_edge_settings_done done, void *owner);

#endif /* CG_EDGE_STORE_STORE_H */
