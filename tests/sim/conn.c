/*
 * The connections of the store room, without a network: bytes arrive after a while, in
 * order on one connection, and may arrive although the connection has ended.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/conn.h"

#include <stdlib.h>

#include "clock.h"
#include "network.h"
#include "redis.h"
#include "sidecar.h"

#define RECONNECT_MS 20

/* One connection that was made, as long as something of it is under way. */
struct cg_stream {
	struct cg_list link;
	struct cg_conn *conn; /* NULL: the client's end is closed */
	uint32_t pending;
	uint64_t request_at_ms, reply_at_ms; /* of the last ones */
	bool is_cut;                         /* the server's end is closed, or the way between */
	bool behind_proxy;                   /* it outlives the server */
};

struct message {
	struct cg_stream *stream;
	bool reply_is_lost;
	char *bytes;
	size_t len;
};

static struct cg_list streams = {&streams, &streams};

static void release(struct cg_stream *stream)
{
	if (stream->pending == 0 && stream->conn == NULL) {
		cg_list_remove(&stream->link);
		free(stream);
	}
}

static struct message *message_of(struct cg_stream *stream, const void *data, size_t len)
{
	struct message *message = calloc(1, sizeof *message);

	CG_ASSERT(message != NULL);
	message->stream = stream;
	message->bytes = malloc(len + 1);
	CG_ASSERT(message->bytes != NULL);
	if (len > 0) {
		memcpy(message->bytes, data, len);
	}
	message->len = len;
	stream->pending++;
	return message;
}

static void free_message(struct message *message)
{
	message->stream->pending--;
	release(message->stream);
	free(message->bytes);
	free(message);
}

/* The state first, then the owner. */
static void end(struct cg_conn *conn)
{
	bool was_ready = conn->state == CG_CONN_READY;
	struct cg_stream *stream = conn->stream;

	conn->stream = NULL;
	conn->state = CG_CONN_BACKOFF;
	if (stream != NULL) {
		stream->conn = NULL;
		release(stream);
	}
	cg_timer_start(conn->timer, 1 + sim_below(RECONNECT_MS));
	if (was_ready) {
		conn->events.on_down(conn->events.owner);
	}
}

static void on_reply(void *arg)
{
	struct message *message = arg;
	struct cg_conn *conn = message->stream->conn;

	if (conn != NULL && message->reply_is_lost) {
		end(conn);
	} else if (conn != NULL && conn->state == CG_CONN_READY && !message->stream->is_cut) {
		conn->events.on_bytes(
		    conn->events.owner, (struct cg_view){message->bytes, message->len});
	}
	free_message(message);
}

static uint64_t in_order(uint64_t *last_at_ms, uint64_t delay_ms)
{
	uint64_t at_ms = sim.now_ms + delay_ms;

	if (at_ms < *last_at_ms) {
		at_ms = *last_at_ms;
	}
	*last_at_ms = at_ms;
	return at_ms - sim.now_ms;
}

static void reply_with(struct message *request, const char *bytes, size_t len)
{
	struct cg_stream *stream = request->stream;
	struct message *reply = message_of(stream, bytes, len);

	reply->reply_is_lost = request->reply_is_lost;
	(void)sim_after(in_order(&stream->reply_at_ms, network_delay_ms()), on_reply, reply);
}

/* Every command that has arrived, one after the other, and their replies together. */
static void execute(struct message *request)
{
	char *replies = NULL;
	size_t len = 0;
	struct cg_view rest = {request->bytes, request->len};

	while (rest.len > 0) {
		size_t bytes = redis_command_bytes(rest);
		CG_ASSERT(bytes > 0);
		struct cg_view reply = redis_is_up()
		    ? redis_execute((struct cg_view){rest.data, bytes})
		    : cg_view_of("-ERR the proxy has no server\r\n");
		replies = realloc(replies, len + reply.len);
		CG_ASSERT(replies != NULL);
		memcpy(replies + len, reply.data, reply.len);
		len += reply.len;
		rest = (struct cg_view){rest.data + bytes, rest.len - bytes};
	}
	reply_with(request, replies, len);
	free(replies);
}

static void on_request(void *arg)
{
	struct message *message = arg;
	struct cg_stream *stream = message->stream;

	/* What is in the buffers of a connection that the client gave up may still be executed. */
	bool may_run = !stream->is_cut && (stream->conn != NULL || sim_permille(500));
	if (may_run && (redis_is_up() || stream->behind_proxy)) {
		execute(message);
	} else if (stream->conn != NULL) {
		end(stream->conn);
	}
	free_message(message);
}

static void on_timer(void *owner)
{
	struct cg_conn *conn = owner;

	if (conn->state == CG_CONN_BACKOFF) {
		conn->state = CG_CONN_CONNECTING;
		cg_timer_start(conn->timer, 1 + network_delay_ms());
		return;
	}
	if (!redis_is_up()) {
		end(conn);
		return;
	}
	struct cg_stream *stream = calloc(1, sizeof *stream);
	CG_ASSERT(stream != NULL);
	stream->conn = conn;
	stream->behind_proxy = network_has_proxy();
	cg_list_init(&stream->link);
	cg_list_append(&streams, &stream->link);
	conn->stream = stream;
	conn->state = CG_CONN_READY;
	/* As the greeting would: what it is told there, asked a moment ago. */
	conn->clock = (struct cg_store_clock){0};
	cg_conn_heard_time(conn, redis_now_ms(), cg_loop_now_ms(conn->loop), true);
	conn->events.on_ready(conn->events.owner);
}

void cg_conn_init(struct cg_conn *conn, struct cg_loop *loop, const struct cg_conn_config *config,
    const struct cg_conn_events *events)
{
	*conn = (struct cg_conn){.loop = loop, .config = *config, .events = *events};
	conn->timer = cg_timer_create(loop, on_timer, conn);
}

void cg_conn_start(struct cg_conn *conn)
{
	conn->state = CG_CONN_CONNECTING;
	cg_timer_start(conn->timer, 1 + network_delay_ms());
}

bool cg_conn_write(struct cg_conn *conn, struct cg_view bytes)
{
	CG_ASSERT(conn->state == CG_CONN_READY);
	struct cg_stream *stream = conn->stream;
	struct message *message = message_of(stream, bytes.data, bytes.len);
	uint64_t delay_ms = network_delay_ms();

	/* Lost on the way: nobody hears of it until the connection is found dead. */
	if (sim_fault(2)) {
		sim_trace("net: a request to the store is lost");
		stream->is_cut = true;
	}
	message->reply_is_lost = sim_fault(2);
	if (sim_fault(3)) {
		delay_ms += 100 + sim_below(3000);
		sim_trace("net: a request to the store takes %d ms", (int)delay_ms);
	}
	delay_ms += network_stalled_ms(NETWORK_TO_STORE, sidecar_of_loop(conn->loop));
	(void)sim_after(in_order(&stream->request_at_ms, delay_ms), on_request, message);
	return true;
}

void cg_conn_heard_time(
    struct cg_conn *conn, int64_t said_ms, uint64_t asked_at_ms, bool is_certain)
{
	cg_store_clock_learn(
	    &conn->clock, said_ms, asked_at_ms, cg_loop_now_ms(conn->loop) + 1, is_certain);
}

void cg_conn_drop(struct cg_conn *conn, const char *why)
{
	CG_ASSERT(conn->state == CG_CONN_READY);
	sim_trace("store room: drops its connection: %s", why);
	end(conn);
}

void cg_conn_close(struct cg_conn *conn)
{
	conn->state = CG_CONN_CLOSED;
	if (conn->stream != NULL) {
		conn->stream->conn = NULL;
		release(conn->stream);
		conn->stream = NULL;
	}
	cg_timer_close(conn->timer);
}

void cg_conn_deinit(struct cg_conn *conn)
{
	(void)conn;
}

void network_cut_store(bool proxies_too)
{
	for (struct cg_list *l = streams.next, *next; l != &streams; l = next) {
		struct cg_stream *stream = CG_CONTAINER_OF(l, struct cg_stream, link);
		next = l->next;
		if (stream->behind_proxy && !proxies_too) {
			continue;
		}
		stream->is_cut = true;
		/* Its end is noticed a little later, as the death of a peer is. */
		if (stream->conn != NULL) {
			end(stream->conn);
		}
	}
}

void network_forget_store(void)
{
	/* Messages under way were forgotten with the clock's events. */
	for (struct cg_list *l = streams.next, *next; l != &streams; l = next) {
		next = l->next;
		free(CG_CONTAINER_OF(l, struct cg_stream, link));
	}
	cg_list_init(&streams);
}
