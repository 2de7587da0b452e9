/*
 * The connection to the store: made, greeted, lost, and made again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_STORE_CONN_H
#define CG_STORE_CONN_H

#include "loop/stream.h"
#include "store/clock.h"
#include "store/greeting.h"

enum cg_conn_state {
	CG_CONN_IDLE,
	CG_CONN_CONNECTING,
	CG_CONN_GREETING,
	CG_CONN_READY,
	CG_CONN_BACKOFF,
	CG_CONN_CLOSED,
	CG_CONN_STATE_COUNT
};

struct cg_conn_config {
	const char *address;
	uint64_t connect_timeout_ms; /* connection and greeting together */
	struct cg_greeting_config greeting;
};

/* The bytes of a ready connection, and its end.  After on_down it is not ready any more. */
struct cg_conn_events {
	void (*on_ready)(void *owner);
	void (*on_bytes)(void *owner, struct cg_view bytes);
	void (*on_written)(void *owner);
	void (*on_down)(void *owner);
	void *owner;
};

struct cg_conn {
	enum cg_conn_state state;
	struct cg_loop *loop;
	struct cg_conn_config config;
	struct cg_conn_events events;
	struct cg_stream *stream;
	struct cg_greeting greeting;
	struct cg_timer *timer; /* CONNECTING, GREETING: the limit; BACKOFF: the next attempt */
	struct cg_random random;
	bool is_saying;              /* a command of the greeting has not left whole */
	uint64_t said_at_ms;         /* when it was begun */
	struct cg_store_clock clock; /* of its server, known once it is ready */
	uint64_t attempts;           /* since the last connection that lasted */
	uint64_t ready_at_ms;
	bool has_told_refusal; /* that the file is not rewritten, which is said once */
	struct cg_log_limit failures;
};

/* Texts of `config` stay the caller's and must outlive the connection. */
void cg_conn_init(struct cg_conn *conn, struct cg_loop *loop, const struct cg_conn_config *config,
    const struct cg_conn_events *events);
void cg_conn_start(struct cg_conn *conn);

static inline bool cg_conn_is_ready(const struct cg_conn *conn)
{
	return conn->state == CG_CONN_READY;
}

/* Only while ready.  As cg_stream_write(): true, all has left; false, on_written will come. */
bool cg_conn_write(struct cg_conn *conn, struct cg_view bytes);

/* An answer said what time it is there; see cg_store_clock_learn().  `asked_at_ms`: the loop's. */
void cg_conn_heard_time(
    struct cg_conn *conn, int64_t said_ms, uint64_t asked_at_ms, bool is_certain);

/* Ends a ready connection, on_down runs in here, and tries anew; `why` goes to the log. */
void cg_conn_drop(struct cg_conn *conn, const char *why);

/* For good, without on_down. */
void cg_conn_close(struct cg_conn *conn);
void cg_conn_deinit(struct cg_conn *conn);

#endif /* CG_STORE_CONN_H */
