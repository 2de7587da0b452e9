/*
 * The connections of the ledger room, without a network: a statement arrives, is executed and
 * committed, and is answered; it may be lost before, and its answer after.
 *
 *   AWAY --again after a while, the server is up--> READY <--> BUSY
 *     ^--------------- lost, severed ----------------'-----------'
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "ledger/pg.h"

#include <stdlib.h>

#include "clock.h"
#include "network.h"
#include "pg_links.h"
#include "postgres.h"
#include "sidecar.h"

#define RECONNECT_MS 60

enum state {
	STATE_AWAY,
	STATE_READY,
	STATE_BUSY
};

struct cg_pg {
	struct cg_list link;
	uint32_t side; /* the sidecar's whose it is */
	struct cg_pg_events events;
	struct cg_timer *timer;
	enum state state;
	bool is_down;
	bool is_closed;
	uint32_t depth;
	struct request *request; /* under way; NULL: none, or given up */
};

/* A statement on its way, or its answer. */
struct request {
	struct cg_pg *pg; /* NULL: nobody waits for it any more */
	struct pg_statement statement;
	char *memory;
	PGresult *result;
	const char *refused_with; /* an SQLSTATE; NULL: it is not */
	bool answer_is_lost;
	uint64_t sent_at_ms;
};

static struct cg_list links = {&links, &links};

static bool leave(struct cg_pg *pg)
{
	bool is_closed = pg->is_closed;

	pg->depth--;
	if (is_closed && pg->depth == 0) {
		free(pg);
	}
	return is_closed;
}

static void free_request(struct request *request)
{
	if (request->pg != NULL) {
		request->pg->request = NULL;
	}
	PQclear(request->result);
	free(request->memory);
	free(request);
}

static void give_up_request(struct cg_pg *pg)
{
	if (pg->request != NULL) {
		pg->request->pg = NULL;
		pg->request = NULL;
	}
}

/* Whatever it was doing is over; it comes back by itself. */
static void fail(struct cg_pg *pg)
{
	bool was_busy = pg->state == STATE_BUSY;

	give_up_request(pg);
	pg->is_down = pg->state == STATE_AWAY;
	pg->state = STATE_AWAY;
	cg_timer_start(pg->timer, 1 + sim_below(RECONNECT_MS));
	pg->depth++;
	if (was_busy) {
		pg->events.on_result(pg->events.owner, CG_LOST, NULL);
	}
	if (!pg->is_closed) {
		pg->events.on_away(pg->events.owner);
	}
	(void)leave(pg);
}

static void on_timer(void *owner)
{
	struct cg_pg *pg = owner;

	if (!pg_is_up()) {
		fail(pg);
		return;
	}
	pg->state = STATE_READY;
	pg->is_down = false;
	pg->depth++;
	pg->events.on_open(pg->events.owner);
	(void)leave(pg);
}

static void on_answer(void *arg)
{
	struct request *request = arg;
	struct cg_pg *pg = request->pg;

	if (pg == NULL) {
		free_request(request);
		return;
	}
	if (request->answer_is_lost) {
		sim_trace("net: an answer of the ledger is lost");
		free_request(request);
		fail(pg);
		return;
	}
	PGresult *result = request->result;
	enum cg_status status = request->refused_with == NULL
	    ? CG_OK
	    : cg_pg__status(cg_pg__class(request->refused_with));
	request->result = NULL;
	free_request(request);
	pg->state = STATE_READY;
	pg->depth++;
	pg->events.on_result(pg->events.owner, status, result);
	PQclear(result);
	(void)leave(pg);
}

static void on_arrival(void *arg)
{
	struct request *request = arg;

	/* A statement that nobody waits for any more may be executed all the same, by the server that
	 * its connection was to, and not by a standby that has taken over since. */
	bool may_run = pg_is_up() && (request->pg != NULL || sim_permille(500));
	bool has_reached = request->pg != NULL || request->sent_at_ms >= postgres.failed_over_at_ms;
	if (!may_run || !has_reached) {
		struct cg_pg *pg = request->pg;
		free_request(request);
		if (pg != NULL) {
			fail(pg);
		}
		return;
	}
	if (sim_fault(4)) {
		request->refused_with = "40001";
	} else {
		request->result = pg_execute(&request->statement);
		request->refused_with = request->result == NULL ? "22P05" : NULL;
	}
	uint64_t delay_ms = network_delay_ms();
	if (request->pg != NULL) {
		delay_ms += network_stalled_ms(NETWORK_FROM_LEDGER, request->pg->side);
	}
	(void)sim_after(delay_ms, on_answer, request);
}

static struct request *request_of(
    struct cg_pg *pg, const char *text, const struct cg_params *params)
{
	struct request *request = calloc(1, sizeof *request);

	CG_ASSERT(request != NULL && params->count <= 24);
	request->pg = pg;
	request->memory = malloc(params->len + 1);
	CG_ASSERT(request->memory != NULL);
	if (params->len > 0) {
		memcpy(request->memory, params->memory, params->len);
	}
	request->statement.text = text;
	request->statement.count = params->count;
	for (int i = 0; i < params->count; i++) {
		request->statement.lengths[i] = params->lengths[i];
		request->statement.values[i] =
		    params->values[i] == NULL ? NULL : request->memory + params->offsets[i];
	}
	return request;
}

void cg_pg__run(struct cg_pg *pg, const char *statement, struct cg_params *params)
{
	uint64_t delay_ms = network_delay_ms();

	CG_ASSERT(pg->state == STATE_READY);
	cg_params__seal(params);
	pg->state = STATE_BUSY;
	pg->request = request_of(pg, statement, params);
	pg->request->answer_is_lost = sim_fault(4);
	pg->request->sent_at_ms = sim.now_ms;
	if (sim_fault(4)) {
		delay_ms += 100 + sim_below(4000);
	}
	bool is_flush = strstr(statement, "callgate.flush(") != NULL;
	delay_ms += network_stalled_ms(is_flush ? NETWORK_FLUSHES : NETWORK_TO_LEDGER, pg->side);
	(void)sim_after(delay_ms, on_arrival, pg->request);
}

struct cg_pg *cg_pg__create(struct cg_loop *loop, const char *url, const char *what,
    uint32_t connect_timeout_ms, const struct cg_pg_events *events)
{
	struct cg_pg *pg = calloc(1, sizeof *pg);

	(void)url;
	(void)what;
	(void)connect_timeout_ms;
	CG_ASSERT(pg != NULL);
	pg->side = sidecar_of_loop(loop);
	pg->events = *events;
	pg->timer = cg_timer_create(loop, on_timer, pg);
	cg_list_init(&pg->link);
	cg_list_append(&links, &pg->link);
	return pg;
}

void cg_pg__start(struct cg_pg *pg)
{
	cg_timer_start(pg->timer, sim_below(10));
}

bool cg_pg__is_ready(const struct cg_pg *pg)
{
	return pg->state == STATE_READY;
}

bool cg_pg__is_open(const struct cg_pg *pg)
{
	return pg->state != STATE_AWAY;
}

bool cg_pg__is_down(const struct cg_pg *pg)
{
	return pg->is_down;
}

void cg_pg__sever(struct cg_pg *pg)
{
	if (cg_pg__is_open(pg)) {
		fail(pg);
	}
}

void cg_pg__close(struct cg_pg *pg)
{
	give_up_request(pg);
	cg_timer_close(pg->timer);
	cg_list_remove(&pg->link);
	pg->is_closed = true;
	pg->depth++;
	(void)leave(pg);
}

void pg_links_cut(void)
{
	for (struct cg_list *l = links.next, *next; l != &links; l = next) {
		struct cg_pg *pg = CG_CONTAINER_OF(l, struct cg_pg, link);
		next = l->next;
		cg_pg__sever(pg);
	}
}
