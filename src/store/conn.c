/* SPDX-License-Identifier: Apache-2.0 */
#include "store/conn.h"

#include <stdio.h>

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 2000

/* A connection that lasted this long was a good one: the next attempt comes soon. */
#define LASTED_MS 5000

/* Attempts that fail again and again are logged this often. */
#define FAILURES_INTERVAL_MS 10000

/*
 *  IDLE --start--> CONNECTING --open--> GREETING --all is well--> READY
 *                   ^     |                |                        |
 *                 time    `-ended, timeout-+--- ended, dropped -----'
 *                   |                      v
 *                   `------------------ BACKOFF          any --close--> CLOSED
 *
 * CONNECTING and GREETING wait for the server, and together for the timer; READY for the
 * server; BACKOFF for the timer alone.
 */
#define BIT(state) (1u << CG_CONN_##state)

static const unsigned allowed[CG_CONN_STATE_COUNT] = {
    [CG_CONN_IDLE] = BIT(CONNECTING) | BIT(CLOSED),
    [CG_CONN_CONNECTING] = BIT(GREETING) | BIT(BACKOFF) | BIT(CLOSED),
    [CG_CONN_GREETING] = BIT(READY) | BIT(BACKOFF) | BIT(CLOSED),
    [CG_CONN_READY] = BIT(BACKOFF) | BIT(CLOSED),
    [CG_CONN_BACKOFF] = BIT(CONNECTING) | BIT(CLOSED),
    [CG_CONN_CLOSED] = 0,
};

static void move(struct cg_conn *c, enum cg_conn_state next)
{
	CG_ASSERT((allowed[c->state] & (1u << next)) != 0);
	c->state = next;
}

/* Half of the doubled pause is chance, so that sidecars do not come back in step. */
static uint64_t pause_ms(struct cg_conn *c)
{
	uint64_t pause = BACKOFF_MIN_MS;

	for (uint64_t i = 1; i < c->attempts && pause < BACKOFF_MAX_MS; i++) {
		pause *= 2;
	}
	if (pause > BACKOFF_MAX_MS) {
		pause = BACKOFF_MAX_MS;
	}
	return pause / 2 + cg_random_below(&c->random, pause / 2 + 1);
}

static void log_end(struct cg_conn *c, bool was_ready, const char *why)
{
	uint64_t held_back = 0;

	if (was_ready) {
		cg_log(CG_LOG_WARN, "store connection lost", "address", c->config.address, "reason",
		    why, NULL);
	} else if (cg_log_limit_admits(&c->failures, cg_loop_now_ms(c->loop), FAILURES_INTERVAL_MS,
	               &held_back) != 0) {
		cg_log(CG_LOG_WARN, "store connection failed", "address", c->config.address,
		    "attempt", cg_log_int((int64_t)c->attempts), "reason", why, "held_back",
		    cg_log_int((int64_t)held_back), NULL);
	}
}

static void close_stream(struct cg_conn *c)
{
	if (c->stream != NULL) {
		cg_stream_close(c->stream);
		c->stream = NULL;
	}
}

/* Whatever ended it: the state first, then the owner. */
static void end(struct cg_conn *c, const char *why)
{
	bool was_ready = c->state == CG_CONN_READY;

	close_stream(c);
	if (was_ready && cg_loop_now_ms(c->loop) - c->ready_at_ms >= LASTED_MS) {
		c->attempts = 0;
	}
	log_end(c, was_ready, why);
	move(c, CG_CONN_BACKOFF);
	cg_timer_start(c->timer, pause_ms(c));
	if (was_ready) {
		c->events.on_down(c->events.owner);
	}
}

static void log_ready(struct cg_conn *c)
{
	static const char *const libraries[] = {
	    [CG_GREETING_FOUND] = "found",
	    [CG_GREETING_LOADED] = "loaded",
	    [CG_GREETING_REPLACED] = "replaced",
	};

	cg_log(CG_LOG_INFO, "store connected", "address", c->config.address, "attempt",
	    cg_log_int((int64_t)c->attempts), "library", libraries[c->greeting.library], NULL);
}

static void log_rewrite(struct cg_conn *c)
{
	if (c->greeting.rewrite == CG_GREETING_ASKED) {
		cg_log(CG_LOG_INFO, "store rewrites its append-only file after its start", NULL);
		c->has_told_refusal = false;
	} else if (c->greeting.rewrite == CG_GREETING_NOT_REWRITTEN && !c->has_told_refusal) {
		cg_log(CG_LOG_WARN, "store does not rewrite its append-only file after its start",
		    "reason", c->greeting.rewrite_refusal.text, NULL);
		c->has_told_refusal = true;
	}
}

static void on_written(void *owner, bool ok)
{
	struct cg_conn *c = owner;

	if (!ok) {
		return; /* on_end follows. */
	}
	if (c->state == CG_CONN_READY) {
		c->events.on_written(c->events.owner);
	} else {
		c->is_saying = false;
	}
}

static void say(struct cg_conn *c)
{
	c->said_at_ms = cg_loop_now_ms(c->loop);
	c->is_saying = !cg_stream_write(c->stream, cg_greeting_command(&c->greeting), on_written);
}

static void on_open(void *owner)
{
	struct cg_conn *c = owner;

	move(c, CG_CONN_GREETING);
	cg_greeting_begin(&c->greeting);
	say(c);
}

void cg_conn_heard_time(struct cg_conn *c, int64_t said_ms, uint64_t asked_at_ms, bool is_certain)
{
	/* Not the loop's time, which stands still during a turn; and rounded up. */
	uint64_t now_ms = cg_loop_clock_ns() / 1000000 + 1;

	cg_store_clock_learn(&c->clock, said_ms, asked_at_ms, now_ms, is_certain);
}

static enum cg_greeting_result hear(struct cg_conn *c, struct cg_view bytes, struct cg_error *err)
{
	bool knew_time = c->greeting.time_ms > 0;
	enum cg_greeting_result result = cg_greeting_hear(&c->greeting, bytes, err);

	if (!knew_time && c->greeting.time_ms > 0) {
		cg_conn_heard_time(c, c->greeting.time_ms, c->said_at_ms, true);
	}
	return result;
}

static void hear_greeting(struct cg_conn *c, struct cg_view bytes)
{
	struct cg_error err;

	if (c->is_saying) {
		end(c, "it answers before it was asked");
		return;
	}
	switch (hear(c, bytes, &err)) {
	case CG_GREETING_WAIT:
		return;
	case CG_GREETING_SAY:
		say(c);
		return;
	case CG_GREETING_FAILED:
		end(c, err.text);
		return;
	case CG_GREETING_DONE:
		break;
	}
	move(c, CG_CONN_READY);
	cg_timer_cancel(c->timer);
	c->ready_at_ms = cg_loop_now_ms(c->loop);
	c->failures = (struct cg_log_limit){0};
	log_ready(c);
	log_rewrite(c);
	c->events.on_ready(c->events.owner);
}

static void on_bytes(void *owner, struct cg_view bytes)
{
	struct cg_conn *c = owner;

	if (c->state == CG_CONN_READY) {
		c->events.on_bytes(c->events.owner, bytes);
	} else {
		hear_greeting(c, bytes);
	}
}

static void on_end(void *owner, const char *why)
{
	end(owner, why);
}

static void connect_now(struct cg_conn *c)
{
	const struct cg_stream_events events = {
	    .on_open = on_open, .on_bytes = on_bytes, .on_end = on_end, .owner = c};

	move(c, CG_CONN_CONNECTING);
	c->attempts++;
	c->stream =
	    cg_stream_connect(c->loop, c->config.address, c->config.connect_timeout_ms, &events);
	cg_timer_start(c->timer, c->config.connect_timeout_ms + 1);
}

static void on_timer(void *owner)
{
	struct cg_conn *c = owner;

	if (c->state == CG_CONN_BACKOFF) {
		connect_now(c);
	} else {
		end(c, "no greeting in time");
	}
}

void cg_conn_init(struct cg_conn *c, struct cg_loop *loop, const struct cg_conn_config *config,
    const struct cg_conn_events *events)
{
	*c = (struct cg_conn){.loop = loop, .config = *config, .events = *events};
	cg_greeting_init(&c->greeting, &c->config.greeting);
	c->timer = cg_timer_create(loop, on_timer, c);
	cg_random_init(&c->random, cg_loop_clock_ns());
}

void cg_conn_start(struct cg_conn *c)
{
	connect_now(c);
}

bool cg_conn_write(struct cg_conn *c, struct cg_view bytes)
{
	CG_ASSERT(c->state == CG_CONN_READY);
	return cg_stream_write(c->stream, bytes, on_written);
}

void cg_conn_drop(struct cg_conn *c, const char *why)
{
	CG_ASSERT(c->state == CG_CONN_READY);
	end(c, why);
}

void cg_conn_close(struct cg_conn *c)
{
	move(c, CG_CONN_CLOSED);
	close_stream(c);
	cg_timer_close(c->timer);
}

void cg_conn_deinit(struct cg_conn *c)
{
	cg_greeting_deinit(&c->greeting);
}
