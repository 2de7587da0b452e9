/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger/pool.h"

#include <stdio.h>
#include <stdlib.h>

#define TICK_MS 10
/* How long a statement may go on after its job has given up, before its connection is ended. */
#define GRACE_MS 5000

struct lane {
	struct cg_pool *pool;
	struct cg_pg *pg;
	struct cg_job *job; /* NULL while BUSY: it has given up */
	uint64_t sever_at_ms;
	struct cg_params params;
};

struct cg_pool {
	struct cg_loop *loop;
	struct cg_timer *timer; /* runs while there are jobs, or statements nobody waits for */
	struct lane *lanes;
	uint32_t lane_count;
	struct cg_list waiting;
	bool is_closed;
	struct cg_log_limit refusals;
	void (*on_open)(void *owner);
	void *owner;
};

static struct cg_job *job_of(struct cg_list *link)
{
	return CG_CONTAINER_OF(link, struct cg_job, link);
}

bool cg_pool__is_away(const struct cg_pool *pool)
{
	for (uint32_t i = 0; i < pool->lane_count; i++) {
		if (!cg_pg__is_down(pool->lanes[i].pg)) {
			return false;
		}
	}
	return true;
}

static void run(struct lane *lane, struct cg_job *job)
{
	lane->job = job;
	job->is_running = true;
	lane->sever_at_ms = job->deadline_at_ms + GRACE_MS;
	cg_params__reset(&lane->params);
	const char *statement = job->prepare(job, &lane->params);
	cg_pg__run(lane->pg, statement, &lane->params);
}

static void serve(struct cg_pool *pool)
{
	for (uint32_t i = 0; i < pool->lane_count && !pool->is_closed; i++) {
		struct lane *lane = &pool->lanes[i];

		if (cg_pg__is_ready(lane->pg)) {
			struct cg_list *link = cg_list_pop(&pool->waiting);
			if (link == NULL) {
				return;
			}
			run(lane, job_of(link));
		}
	}
}

static void log_refusal(struct cg_pool *pool, enum cg_status status, const PGresult *result)
{
	uint64_t held_back = 0;

	/* CG_UNAVAILABLE: the server lacks something (disk, memory, a lock), and will be asked again. */
	if (result != NULL &&
	    (status == CG_DENIED || status == CG_INTERNAL || status == CG_UNAVAILABLE) &&
	    cg_log_limit_admits(&pool->refusals, cg_loop_now_ms(pool->loop), 5000, &held_back)) {
		cg_log(CG_LOG_ERROR, "ledger refuses a statement", "sqlstate",
		    PQresultErrorField(result, PG_DIAG_SQLSTATE), "why",
		    PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), "held_back",
		    cg_log_int((int64_t)held_back), NULL);
	}
}

static void on_result(void *owner, enum cg_status status, const PGresult *result)
{
	struct lane *lane = owner;
	struct cg_pool *pool = lane->pool;
	struct cg_job *job = lane->job;

	lane->job = NULL;
	log_refusal(pool, status, result);
	if (job != NULL) {
		job->is_running = false;
		if (job->on_end(job, status, result) && status == CG_OK) {
			run(lane, job);
			return;
		}
	}
	serve(pool);
}

static void on_open(void *owner)
{
	struct lane *lane = owner;
	struct cg_pool *pool = lane->pool;

	serve(pool);
	if (pool->on_open != NULL) {
		pool->on_open(pool->owner);
	}
}

static void end_waiting(struct cg_pool *pool, enum cg_status status)
{
	struct cg_list ended;

	/* Only those that wait now: their ends may submit new ones. */
	cg_list_init(&ended);
	for (struct cg_list *link; (link = cg_list_pop(&pool->waiting)) != NULL;) {
		cg_list_append(&ended, link);
	}
	for (struct cg_list *link; (link = cg_list_pop(&ended)) != NULL;) {
		(void)job_of(link)->on_end(job_of(link), status, NULL);
	}
}

static void on_away(void *owner)
{
	struct lane *lane = owner;

	if (cg_pool__is_away(lane->pool)) {
		end_waiting(lane->pool, CG_UNAVAILABLE);
	}
}

static void end_late(struct cg_pool *pool, uint64_t now_ms)
{
	struct cg_list late;

	cg_list_init(&late);
	for (struct cg_list *link = pool->waiting.next, *next; link != &pool->waiting;
	     link = next) {
		next = link->next;
		if (job_of(link)->deadline_at_ms <= now_ms) {
			cg_list_remove(link);
			cg_list_append(&late, link);
		}
	}
	for (struct cg_list *link; (link = cg_list_pop(&late)) != NULL;) {
		(void)job_of(link)->on_end(job_of(link), CG_UNAVAILABLE, NULL);
	}
}

/* True while there is something to look after. */
static bool look_at(struct lane *lane, uint64_t now_ms)
{
	struct cg_job *job = lane->job;

	if (!cg_pg__is_open(lane->pg) || cg_pg__is_ready(lane->pg)) {
		return false;
	}
	if (now_ms >= lane->sever_at_ms) {
		cg_pg__sever(lane->pg);
	} else if (job != NULL && now_ms >= job->deadline_at_ms) {
		lane->job = NULL;
		job->is_running = false;
		(void)job->on_end(job, CG_TIMEOUT, NULL);
	}
	return true;
}

static void on_tick(void *owner)
{
	struct cg_pool *pool = owner;
	uint64_t now_ms = cg_loop_now_ms(pool->loop);
	bool is_needed = false;

	if (cg_pool__is_away(pool)) {
		end_waiting(pool, CG_UNAVAILABLE);
	}
	end_late(pool, now_ms);
	for (uint32_t i = 0; i < pool->lane_count && !pool->is_closed; i++) {
		is_needed = look_at(&pool->lanes[i], now_ms) || is_needed;
	}
	if (!pool->is_closed && (is_needed || !cg_list_is_empty(&pool->waiting))) {
		cg_timer_start(pool->timer, TICK_MS);
	}
}

struct cg_pool *cg_pool__create(struct cg_loop *loop, const char *url, const char *what,
    uint32_t connections, uint32_t connect_timeout_ms)
{
	struct cg_pool *pool = calloc(1, sizeof *pool);

	CG_ASSERT(pool != NULL && connections > 0);
	pool->loop = loop;
	pool->lane_count = connections;
	cg_list_init(&pool->waiting);
	pool->lanes = calloc(connections, sizeof *pool->lanes);
	CG_ASSERT(pool->lanes != NULL);
	pool->timer = cg_timer_create(loop, on_tick, pool);
	for (uint32_t i = 0; i < connections; i++) {
		struct cg_pg_events events = {.on_open = on_open,
		    .on_away = on_away,
		    .on_result = on_result,
		    .owner = &pool->lanes[i]};
		pool->lanes[i].pool = pool;
		pool->lanes[i].pg = cg_pg__create(loop, url, what, connect_timeout_ms, &events);
	}
	return pool;
}

void cg_pool__start(struct cg_pool *pool, void (*opened)(void *owner), void *owner)
{
	pool->on_open = opened;
	pool->owner = owner;
	for (uint32_t i = 0; i < pool->lane_count; i++) {
		cg_pg__start(pool->lanes[i].pg);
	}
}

void cg_pool__submit(struct cg_pool *pool, struct cg_job *job)
{
	CG_ASSERT(!pool->is_closed);
	job->is_running = false;
	cg_list_init(&job->link);
	cg_list_append(&pool->waiting, &job->link);
	if (!cg_pool__is_away(pool)) {
		serve(pool);
	}
	if (!cg_timer_is_running(pool->timer)) {
		cg_timer_start(pool->timer, cg_pool__is_away(pool) ? 0 : TICK_MS);
	}
}

bool cg_pool__is_connected(const struct cg_pool *pool)
{
	for (uint32_t i = 0; i < pool->lane_count; i++) {
		if (cg_pg__is_open(pool->lanes[i].pg)) {
			return true;
		}
	}
	return false;
}

void cg_pool__close(struct cg_pool *pool)
{
	pool->is_closed = true;
	cg_timer_close(pool->timer);
	for (uint32_t i = 0; i < pool->lane_count; i++) {
		struct lane *lane = &pool->lanes[i];
		struct cg_job *job = lane->job;

		cg_pg__close(lane->pg);
		lane->job = NULL;
		if (job != NULL) {
			(void)job->on_end(job, CG_CLOSING, NULL);
		}
	}
	end_waiting(pool, CG_CLOSING);
}

void cg_pool__destroy(struct cg_pool *pool)
{
	for (uint32_t i = 0; i < pool->lane_count; i++) {
		cg_params__deinit(&pool->lanes[i].params);
	}
	free(pool->lanes);
	free(pool);
}
