/*
 * Whether the server still answers.  Where the oldest unanswered operation is older than what
 * anybody waits, more of them would only pile up behind it, and each end unknown: so they are
 * not sent, and certainly do not happen.
 *
 *   CLOSED --the oldest is too old--> OPEN (silent) --it says anything---------------> CLOSED
 *                             `-----> OPEN (slow) ----the oldest is young enough-----> CLOSED
 *
 * OPEN waits for the answers that are owed: they are the probe.  SILENT, where not a byte came
 * for as long: a hang ends with the first one.  SLOW, where bytes come and yet too late: it
 * closes at half the age, so that not each answer opens it again.  Whenever it closes, the
 * server has as much time again.  A new connection begins CLOSED.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_STORE_BREAKER_H
#define CG_STORE_BREAKER_H

#include "base/base.h"

struct cg_breaker {
	const char *what; /* the connection's name, for the log; a static text */
	bool is_open;
	bool is_silent; /* open, and not a byte came */
	bool is_told;   /* the log knows that it is open */
	uint64_t opened_at_ms;
	uint64_t closed_at_ms;
	uint64_t refused_count; /* since it opened */
	uint64_t opened_total;  /* these two of all connections */
	uint64_t refused_total;
	struct cg_log_limit log;
};

/* What is known of the connection when it is looked at. */
struct cg_breaker_sight {
	uint64_t now_ms;
	uint64_t patience_ms;
	bool owes;             /* something is unanswered */
	uint64_t oldest_at_ms; /* when the oldest of it was sent */
	uint64_t
	    heard_at_ms; /* when the last byte came, or there began to be something to answer */
};

/* Nothing but the name, the log and what is counted in all outlives a connection. */
void cg_breaker_reset(struct cg_breaker *breaker);

void cg_breaker_look(struct cg_breaker *breaker, const struct cg_breaker_sight *sight);

/* Bytes came. */
void cg_breaker_heard(struct cg_breaker *breaker, uint64_t now_ms);

/* An operation wants to be sent.  False: it must not. */
bool cg_breaker_admits(struct cg_breaker *breaker);

/* While it is closed and something is owed: when to look again at the latest. */
uint64_t cg_breaker_due_ms(const struct cg_breaker *breaker, const struct cg_breaker_sight *sight);

#endif /* CG_STORE_BREAKER_H */
