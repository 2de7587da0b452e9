/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger/pg.h"

#include <stdio.h>
#include <stdlib.h>

#include "ledger/resolve.h"

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MOST_MS  2000

enum state {
	STATE_AWAY,
	STATE_LOOKING_UP,
	STATE_CONNECTING,
	STATE_READY,
	STATE_BUSY
};

struct cg_pg {
	struct cg_loop *loop;
	const char *url;
	const char *what;
	uint32_t connect_timeout_ms;
	struct cg_pg_events events;
	enum state state;
	bool is_down;   /* since the last attempt failed; false again once connected */
	bool is_closed; /* while a callback of ours may still be on the stack */
	uint32_t depth; /* of our callbacks */
	uint32_t backoff_ms;
	struct cg_random random;
	PGconn *conn;
	struct cg_watch *watch;
	struct cg_timer *timer; /* the backoff, or the connect timeout */
	struct cg_resolve *resolve;
	PGresult *result; /* of the statement under way; an error outweighs what came before */
	struct cg_log_limit failures;
};

static void connect_now(struct cg_pg *pg, const char *address);
static void on_ready(void *owner, unsigned events);

static void enter(struct cg_pg *pg)
{
	pg->depth++;
}

/* True where the owner has closed it meanwhile: it is gone now. */
static bool leave(struct cg_pg *pg)
{
	pg->depth--;
	if (pg->is_closed && pg->depth == 0) {
		free(pg);
		return true;
	}
	return pg->is_closed;
}

static void drop_connection(struct cg_pg *pg)
{
	if (pg->resolve != NULL) {
		cg_resolve__abandon(pg->resolve);
		pg->resolve = NULL;
	}
	if (pg->watch != NULL) {
		cg_watch_close(pg->watch);
		pg->watch = NULL;
	}
	PQclear(pg->result);
	pg->result = NULL;
	PQfinish(pg->conn);
	pg->conn = NULL;
}

static void log_failure(struct cg_pg *pg, const char *why)
{
	char text[160];
	uint64_t held_back = 0;

	if (!cg_log_limit_admits(&pg->failures, cg_loop_now_ms(pg->loop), 5000, &held_back)) {
		return;
	}
	(void)snprintf(text, sizeof text, "%s", why);
	text[strcspn(text, "\n")] = '\0';
	cg_log(CG_LOG_WARN, "ledger connection failed", "connection", pg->what, "why", text,
	    "held_back", cg_log_int((int64_t)held_back), NULL);
}

/* Whatever it was doing is over; it comes back by itself. */
static void fail(struct cg_pg *pg, const char *why)
{
	bool was_busy = pg->state == STATE_BUSY;
	bool was_open = was_busy || pg->state == STATE_READY;

	log_failure(pg, why);
	drop_connection(pg);
	pg->state = STATE_AWAY;
	/* A connection that was good is tried again at once, before anybody is told no. */
	pg->is_down = !was_open;
	uint32_t wait_ms = was_open ? 1 : pg->backoff_ms;
	wait_ms += (uint32_t)cg_random_below(&pg->random, wait_ms / 2 + 1);
	pg->backoff_ms =
	    pg->backoff_ms * 2 > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : pg->backoff_ms * 2;
	cg_timer_start(pg->timer, wait_ms);
	enter(pg);
	if (was_busy) {
		pg->events.on_result(pg->events.owner, CG_LOST, NULL);
	}
	if (!pg->is_closed) {
		pg->events.on_away(pg->events.owner);
	}
	(void)leave(pg);
}

static void on_address(void *owner, const char *address)
{
	struct cg_pg *pg = owner;

	pg->resolve = NULL;
	if (address == NULL) {
		fail(pg, "the host's name has no address");
	} else {
		connect_now(pg, address);
	}
}

static void begin(struct cg_pg *pg)
{
	char host[256];

	PQconninfoOption *options = PQconninfoParse(pg->url, NULL);
	cg_timer_start(pg->timer, pg->connect_timeout_ms);
	if (options == NULL) {
		fail(pg, "the database's URL is malformed"); /* libpq's own words would quote it */
		return;
	}
	PQconninfoFree(options);
	if (cg_resolve__is_needed(pg->url, host)) {
		pg->state = STATE_LOOKING_UP;
		pg->resolve = cg_resolve__start(pg->loop, host, on_address, pg);
	} else {
		connect_now(pg, NULL);
	}
}

static void on_timer(void *owner)
{
	struct cg_pg *pg = owner;

	if (pg->state == STATE_AWAY) {
		begin(pg);
	} else if (pg->state == STATE_BUSY) {
		fail(pg, PQerrorMessage(pg->conn)); /* the statement could not be sent */
	} else {
		fail(pg, "no connection in time");
	}
}

static void ignore_notice(void *arg, const PGresult *result)
{
	(void)arg;
	(void)result;
}

/* libpq may change its socket at every step of connecting. */
static void watch_anew(struct cg_pg *pg, unsigned events)
{
	if (pg->watch != NULL) {
		cg_watch_close(pg->watch);
	}
	pg->watch = cg_watch_create(pg->loop, PQsocket(pg->conn), on_ready, pg);
	cg_watch_set(pg->watch, events);
}

static void connect_now(struct cg_pg *pg, const char *address)
{
	/* Later ones outweigh earlier ones, so the URI has the last word, but for the address. */
	const char *keywords[] = {"application_name", "target_session_attrs", "client_encoding",
	    "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
	    "dbname", address == NULL ? NULL : "hostaddr", NULL};
	const char *values[] = {
	    "callgated", "read-write", "UTF8", "10", "5", "3", "15000", pg->url, address, NULL};

	pg->state = STATE_CONNECTING;
	pg->conn = PQconnectStartParams(keywords, values, 1);
	if (pg->conn == NULL || PQstatus(pg->conn) == CONNECTION_BAD) {
		fail(pg, pg->conn == NULL ? "no memory" : PQerrorMessage(pg->conn));
		return;
	}
	(void)PQsetNoticeReceiver(pg->conn, ignore_notice, NULL);
	watch_anew(pg, CG_WATCH_WRITE);
}

static void go_on_connecting(struct cg_pg *pg)
{
	PostgresPollingStatusType step = PQconnectPoll(pg->conn);

	if (step == PGRES_POLLING_READING) {
		watch_anew(pg, CG_WATCH_READ);
	} else if (step == PGRES_POLLING_WRITING) {
		watch_anew(pg, CG_WATCH_WRITE);
	} else if (step != PGRES_POLLING_OK || PQsetnonblocking(pg->conn, 1) != 0) {
		fail(pg, PQerrorMessage(pg->conn));
	} else {
		cg_timer_cancel(pg->timer);
		watch_anew(pg, CG_WATCH_READ);
		pg->state = STATE_READY;
		pg->is_down = false;
		pg->backoff_ms = BACKOFF_FIRST_MS;
		cg_log(CG_LOG_INFO, "ledger connected", "connection", pg->what, NULL);
		enter(pg);
		pg->events.on_open(pg->events.owner);
		(void)leave(pg);
	}
}

static enum cg_status status_of(const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
		return CG_OK;
	}
	return cg_pg__status(cg_pg__class(PQresultErrorField(result, PG_DIAG_SQLSTATE)));
}

static void on_ended(struct cg_pg *pg)
{
	PGresult *result = pg->result;

	pg->result = NULL;
	pg->state = STATE_READY;
	enter(pg);
	pg->events.on_result(pg->events.owner, status_of(result), result);
	PQclear(result);
	(void)leave(pg);
}

/*
 * A statement has ended when PQgetResult() has nothing more: the commit comes after the
 * result, and may fail after it.
 */
static void take_results(struct cg_pg *pg)
{
	while (pg->state == STATE_BUSY && !PQisBusy(pg->conn)) {
		PGresult *next = PQgetResult(pg->conn);

		if (next == NULL) {
			on_ended(pg);
			return; /* It may be gone, or busy with another one. */
		}
		if (pg->result == NULL || status_of(pg->result) == CG_OK) {
			PQclear(pg->result);
			pg->result = next;
		} else {
			PQclear(next);
		}
	}
}

static bool take_notifications(struct cg_pg *pg)
{
	PGnotify *notify;

	enter(pg);
	while (!pg->is_closed && (notify = PQnotifies(pg->conn)) != NULL) {
		if (pg->events.on_notify != NULL) {
			pg->events.on_notify(pg->events.owner, notify->extra);
		}
		PQfreemem(notify);
	}
	return !leave(pg);
}

/* False where the connection turned out to have ended. */
static bool push(struct cg_pg *pg)
{
	int left = PQflush(pg->conn);

	if (left < 0) {
		fail(pg, PQerrorMessage(pg->conn));
		return false;
	}
	cg_watch_set(pg->watch, left > 0 ? CG_WATCH_READ | CG_WATCH_WRITE : CG_WATCH_READ);
	return true;
}

static void on_ready(void *owner, unsigned events)
{
	struct cg_pg *pg = owner;

	if (pg->state == STATE_CONNECTING) {
		go_on_connecting(pg);
		return;
	}
	if ((events & CG_WATCH_READ) != 0 && PQconsumeInput(pg->conn) == 0) {
		fail(pg, PQerrorMessage(pg->conn));
		return;
	}
	if (push(pg) && take_notifications(pg)) {
		take_results(pg);
	}
}

struct cg_pg *cg_pg__create(struct cg_loop *loop, const char *url, const char *what,
    uint32_t connect_timeout_ms, const struct cg_pg_events *events)
{
	struct cg_pg *pg = calloc(1, sizeof *pg);

	CG_ASSERT(pg != NULL);
	pg->loop = loop;
	pg->url = url;
	pg->what = what;
	pg->connect_timeout_ms = connect_timeout_ms;
	pg->events = *events;
	pg->backoff_ms = BACKOFF_FIRST_MS;
	cg_random_init(&pg->random, cg_loop_clock_ns() ^ (uint64_t)(uintptr_t)pg);
	pg->timer = cg_timer_create(loop, on_timer, pg);
	return pg;
}

void cg_pg__start(struct cg_pg *pg)
{
	cg_timer_start(pg->timer, 0);
}

bool cg_pg__is_ready(const struct cg_pg *pg)
{
	return pg->state == STATE_READY;
}

bool cg_pg__is_open(const struct cg_pg *pg)
{
	return pg->state == STATE_READY || pg->state == STATE_BUSY;
}

bool cg_pg__is_down(const struct cg_pg *pg)
{
	return pg->is_down;
}

void cg_pg__run(struct cg_pg *pg, const char *statement, struct cg_params *params)
{
	CG_ASSERT(pg->state == STATE_READY);
	cg_params__seal(params);
	pg->state = STATE_BUSY;
	/*
	 * Where this fails the connection has ended, and says so when it is read: the watch
	 * fires, and the answer is CG_LOST, as for any statement on a dead connection.
	 */
	if (PQsendQueryParams(pg->conn, statement, params->count, params->types, params->values,
	        params->lengths, params->formats, 0) != 1 ||
	    PQflush(pg->conn) < 0) {
		cg_watch_set(pg->watch, 0);
		cg_timer_start(pg->timer, 0);
		return;
	}
	cg_watch_set(pg->watch, CG_WATCH_READ | CG_WATCH_WRITE);
}

void cg_pg__sever(struct cg_pg *pg)
{
	if (cg_pg__is_open(pg)) {
		fail(pg, "no answer in time");
	}
}

void cg_pg__close(struct cg_pg *pg)
{
	drop_connection(pg);
	cg_timer_close(pg->timer);
	pg->is_closed = true;
	enter(pg);
	(void)leave(pg);
}
