/* SPDX-License-Identifier: Apache-2.0 */
#include "store/breaker.h"

/* A server at the edge may change many times a second; the log is told this often. */
#define CHANGES_INTERVAL_MS 1000

void cg_breaker_reset(struct cg_breaker *b)
{
	*b = (struct cg_breaker){.what = b->what,
	    .log = b->log,
	    .opened_total = b->opened_total,
	    .refused_total = b->refused_total};
}

static void open_it(struct cg_breaker *b, const struct cg_breaker_sight *sight)
{
	uint64_t held_back = 0;

	b->is_open = true;
	b->opened_total++;
	b->is_silent = sight->now_ms - sight->heard_at_ms >= sight->patience_ms;
	b->opened_at_ms = sight->now_ms;
	b->refused_count = 0;
	b->is_told =
	    cg_log_limit_admits(&b->log, sight->now_ms, CHANGES_INTERVAL_MS, &held_back) != 0;
	if (b->is_told) {
		cg_log(CG_LOG_WARN, "store does not answer in time: nothing is sent until it does",
		    "connection", b->what, "is", b->is_silent ? "silent" : "slow", "oldest_ms",
		    cg_log_int((int64_t)(sight->now_ms - sight->oldest_at_ms)), "held_back",
		    cg_log_int((int64_t)held_back), NULL);
	}
}

static void close_it(struct cg_breaker *b, uint64_t now_ms)
{
	b->is_open = false;
	b->closed_at_ms = now_ms;
	if (b->is_told) {
		cg_log(CG_LOG_INFO, "store answers: operations are sent again", "connection",
		    b->what, "after_ms", cg_log_int((int64_t)(now_ms - b->opened_at_ms)), "refused",
		    cg_log_int((int64_t)b->refused_count), NULL);
	}
}

/* From when on the server has had its time for what is owed. */
static uint64_t waiting_since(const struct cg_breaker *b, const struct cg_breaker_sight *sight)
{
	return sight->oldest_at_ms > b->closed_at_ms ? sight->oldest_at_ms : b->closed_at_ms;
}

uint64_t cg_breaker_due_ms(const struct cg_breaker *b, const struct cg_breaker_sight *sight)
{
	return waiting_since(b, sight) + sight->patience_ms;
}

void cg_breaker_look(struct cg_breaker *b, const struct cg_breaker_sight *sight)
{
	if (!b->is_open) {
		if (sight->owes && sight->now_ms >= cg_breaker_due_ms(b, sight)) {
			open_it(b, sight);
		}
		return;
	}
	/* It may have been sent later in this very turn. */
	bool is_young = !sight->owes || sight->oldest_at_ms >= sight->now_ms;
	uint64_t oldest_ms = is_young ? 0 : sight->now_ms - sight->oldest_at_ms;
	if (oldest_ms < (sight->patience_ms + 1) / 2) {
		close_it(b, sight->now_ms);
	}
}

void cg_breaker_heard(struct cg_breaker *b, uint64_t now_ms)
{
	if (b->is_open && b->is_silent) {
		close_it(b, now_ms);
	}
}

bool cg_breaker_admits(struct cg_breaker *b)
{
	if (b->is_open) {
		b->refused_count++;
		b->refused_total++;
	}
	return !b->is_open;
}
