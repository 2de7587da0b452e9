/*
 * One connection to Postgres on the loop, and one statement on it at a time.
 *
 *   AWAY --start, backoff over--> LOOKING_UP --host's address--> CONNECTING --> READY <--> BUSY
 *     ^                               |                              |            |         |
 *     '------------- failed, timed out, lost: again after a backoff with jitter ------------'
 *
 * True of everything here: statements go with PQsendQueryParams in one implicit
 * transaction each, so that a pooler in transaction mode may stand between; they work on
 * the primary alone (target_session_attrs=read-write unless the URI says otherwise).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_LEDGER_PG_H
#define CG_LEDGER_PG_H

#include <libpq-fe.h>

#include "ledger/params.h"
#include "loop/loop.h"

struct cg_pg;

struct cg_pg_events {
	/* READY after AWAY. */
	void (*on_open)(void *owner);
	/* An attempt to connect failed, or the connection ended; it is being tried again. */
	void (*on_away)(void *owner);
	/* The statement has ended, see cg_pg__run(); `result` is gone when this returns. */
	void (*on_result)(void *owner, enum cg_status status, const PGresult *result);
	/* LISTEN brought something; may be NULL. */
	void (*on_notify)(void *owner, const char *payload);
	void *owner;
};

/* What kind of refusal an SQLSTATE is; the one place where they are told apart. */
enum cg_pg_class {
	CG_PG_TRANSIENT, /* the same statement may go through later */
	CG_PG_SEVERED,   /* the server is ending the session: what it did is not known */
	CG_PG_DATA,      /* a value is refused, and always will be */
	CG_PG_DUPLICATE,
	CG_PG_REFUSED, /* rights, credentials, a schema that is not ours */
	CG_PG_UNKNOWN,
};

enum cg_pg_class cg_pg__class(const char *sqlstate);

/*
 *   TRANSIENT CG_UNAVAILABLE, SEVERED CG_LOST, DATA CG_INVALID, DUPLICATE CG_KEY_REUSED,
 *   REFUSED CG_DENIED, UNKNOWN CG_INTERNAL
 */
enum cg_status cg_pg__status(enum cg_pg_class class);

/* `what` names it in the log; `url` must outlive it. */
struct cg_pg *cg_pg__create(struct cg_loop *loop, const char *url, const char *what,
    uint32_t connect_timeout_ms, const struct cg_pg_events *events);
void cg_pg__start(struct cg_pg *pg);

bool cg_pg__is_ready(const struct cg_pg *pg); /* connected and idle */
bool cg_pg__is_open(const struct cg_pg *pg);  /* connected */
bool cg_pg__is_down(const struct cg_pg *pg);  /* the last attempt failed, or none was made */

/*
 * Runs a statement; must be ready.  Its parameters are copied.  on_result comes once:
 *   CG_OK; as cg_pg__status(); CG_LOST where the connection ended before the answer.
 */
void cg_pg__run(struct cg_pg *pg, const char *statement, struct cg_params *params);

/* Ends the connection, as if the network had; a running statement ends CG_LOST. */
void cg_pg__sever(struct cg_pg *pg);

/* Ends it without a callback. */
void cg_pg__close(struct cg_pg *pg);

/* Of a result's cell, in text. */
struct cg_view cg_result__view(const PGresult *result, int row, int column);
int64_t cg_result__int(const PGresult *result, int row, int column); /* null, or no number: 0 */
bool cg_result__bool(const PGresult *result, int row, int column);
struct cg_uuid cg_result__uuid(const PGresult *result, int row, int column); /* else zero */
bool cg_result__is(const PGresult *result, int row, int column, const char *text);

#endif /* CG_LEDGER_PG_H */
