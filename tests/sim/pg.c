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
	struct cg_pg *conn; /* NULL: nobody waits for it any more */
	struct pg_statement statement;
	char *memory;
	PGresult *result;
	bool is_refused;
	bool answer_is_lost;
};

static struct cg_list links = {&links, &links};

static bool leave(struct cg_pg *conn)
{
	bool is_closed = conn->is_closed;

	conn->depth--;
	if (is_closed && conn->depth == 0) {
		free(conn);
	}
	return is_closed;
}

static void free_request(struct request *request)
{
	if (request->conn != NULL) {
		request->conn->request = NULL;
	}
	PQclear(request->result);
	free(request->memory);
	free(request);
}

static void give_up_request(struct cg_pg *conn)
{
	if (conn->request != NULL) {
		conn->request->conn = NULL;
		conn->request = NULL;
	}
}

/* Whatever it was doing is over; it comes back by itself. */
static void fail(struct cg_pg *conn)
{
	bool was_busy = conn->state == STATE_BUSY;

	give_up_request(conn);
	conn->is_down = conn->state == STATE_AWAY;
	conn->state = STATE_AWAY;
	cg_timer_start(conn->timer, 1 + sim_below(RECONNECT_MS));
	conn->depth++;
	if (was_busy) {
		conn->events.on_result(conn->events.owner, CG_LOST, NULL);
	}
	if (!conn->is_closed) {
		conn->events.on_away(conn->events.owner);
	}
	(void)leave(conn);
}

static void on_timer(void *owner)
{
	struct cg_pg *conn = owner;

	if (!pg_is_up()) {
		fail(conn);
		return;
	}
	conn->state = STATE_READY;
	conn->is_down = false;
	conn->depth++;
	conn->events.on_open(conn->events.owner);
	(void)leave(conn);
}

static void on_answer(void *arg)
{
	struct request *request = arg;
	struct cg_pg *conn = request->conn;

	if (conn == NULL) {
		free_request(request);
		return;
	}
	if (request->answer_is_lost) {
		sim_trace("net: an answer of the ledger is lost");
		free_request(request);
		fail(conn);
		return;
	}
	PGresult *result = request->result;
	enum cg_status status = request->is_refused ? cg_pg__status(cg_pg__class("40001")) : CG_OK;
	request->result = NULL;
	free_request(request);
	conn->state = STATE_READY;
	conn->depth++;
	conn->events.on_result(conn->events.owner, status, result);
	PQclear(result);
	(void)leave(conn);
}

static void on_arrival(void *arg)
{
	struct request *request = arg;

	/* A statement that nobody waits for any more may be executed all the same. */
	bool may_run = pg_is_up() && (request->conn != NULL || sim_permille(500));
	if (!may_run) {
		struct cg_pg *conn = request->conn;
		free_request(request);
		if (conn != NULL) {
			fail(conn);
		}
		return;
	}
	request->is_refused = sim_fault(4);
	if (!request->is_refused) {
		request->result = pg_execute(&request->statement);
	}
	uint64_t delay_ms = network_delay_ms();
	if (request->conn != NULL) {
		delay_ms += network_stalled_ms(NETWORK_FROM_LEDGER, request->conn->side);
	}
	(void)sim_after(delay_ms, on_answer, request);
}

static struct request *request_of(
    struct cg_pg *conn, const char *text, const struct cg_params *params)
{
	struct request *request = calloc(1, sizeof *request);

	CG_ASSERT(request != NULL && params->count <= 24);
	request->conn = conn;
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

void cg_pg__run(struct cg_pg *conn, const char *statement, struct cg_params *params)
{
	uint64_t delay_ms = network_delay_ms();

	CG_ASSERT(conn->state == STATE_READY);
	cg_params__seal(params);
	conn->state = STATE_BUSY;
	conn->request = request_of(conn, statement, params);
	conn->request->answer_is_lost = sim_fault(4);
	if (sim_fault(4)) {
		delay_ms += 100 + sim_below(4000);
	}
	bool is_flush = strstr(statement, "callgate.flush(") != NULL;
	delay_ms += network_stalled_ms(is_flush ? NETWORK_FLUSHES : NETWORK_TO_LEDGER, conn->side);
	(void)sim_after(delay_ms, on_arrival, conn->request);
}

struct cg_pg *cg_pg__create(struct cg_loop *loop, const char *url, const char *what,
    uint32_t connect_timeout_ms, const struct cg_pg_events *events)
{
	struct cg_pg *conn = calloc(1, sizeof *conn);

	(void)url;
	(void)what;
	(void)connect_timeout_ms;
	CG_ASSERT(conn != NULL);
	conn->side = sidecar_of_loop(loop);
	conn->events = *events;
	conn->timer = cg_timer_create(loop, on_timer, conn);
	cg_list_init(&conn->link);
	cg_list_append(&links, &conn->link);
	return conn;
}

void cg_pg__start(struct cg_pg *conn)
{
	cg_timer_start(conn->timer, sim_below(10));
}

bool cg_pg__is_ready(const struct cg_pg *conn)
{
	return conn->state == STATE_READY;
}

bool cg_pg__is_open(const struct cg_pg *conn)
{
	return conn->state != STATE_AWAY;
}

bool cg_pg__is_down(const struct cg_pg *conn)
{
	return conn->is_down;
}

void cg_pg__sever(struct cg_pg *conn)
{
	if (cg_pg__is_open(conn)) {
		fail(conn);
	}
}

void cg_pg__close(struct cg_pg *conn)
{
	give_up_request(conn);
	cg_timer_close(conn->timer);
	cg_list_remove(&conn->link);
	conn->is_closed = true;
	conn->depth++;
	(void)leave(conn);
}

void pg_links_cut(void)
{
	for (struct cg_list *l = links.next, *next; l != &links; l = next) {
		struct cg_pg *conn = CG_CONTAINER_OF(l, struct cg_pg, link);
		next = l->next;
		cg_pg__sever(conn);
	}
}
