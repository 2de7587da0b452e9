/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>

#include "rpc/pace.h"
#include "rpc/rpc_internal.h"
#include "rpc/streams.h"

/* Of a stream that reads its messages, at once: a message, an answer, and its end. */
#define OPS_PER_STREAM 3

/* So many calls of one connection may come to nothing within a second, however few it may have. */
#define WASTE_LEAST 256

/* gRPC's own complaints, from any of its threads: they may quote a peer, so they are few. */
static void on_grpc_log(gpr_log_func_args *line)
{
	if (line->severity == GPR_LOG_SEVERITY_ERROR) {
		cg_log(CG_LOG_DEBUG, "grpc", "said", line->message, NULL);
	}
}

static uint64_t *counter_of(struct cg_rpc_server *server, enum cg_refusal refusal)
{
	struct cg_rpc_counters *counters = &server->counters;
	uint64_t *const all[CG_REFUSAL_COUNT] = {
	    [CG_REFUSAL_IN_FLIGHT] = &counters->refused_in_flight,
	    [CG_REFUSAL_CONNECTION_IN_FLIGHT] = &counters->refused_connection_in_flight,
	    [CG_REFUSAL_RATE] = &counters->refused_rate,
	    [CG_REFUSAL_UNAUTHENTICATED] = &counters->unauthenticated,
	    [CG_REFUSAL_PERMISSION] = &counters->permission_denied,
	    [CG_REFUSAL_PEER] = &counters->connections_refused_peer,
	    [CG_REFUSAL_CONNECTIONS] = &counters->connections_refused_full,
	    [CG_REFUSAL_BANNED] = &counters->connections_refused_banned,
	    [CG_REFUSAL_COMPRESSED] = &counters->refused_compressed,
	    [CG_REFUSAL_CLOSING] = &counters->refused_closing,
	    [CG_REFUSAL_LISTING] = &counters->refused_listings,
	    [CG_REFUSAL_WATCHERS] = &counters->refused_watchers,
	    [CG_REFUSAL_SESSIONS] = &counters->refused_sessions,
	    [CG_REFUSAL_UNREADING] = &counters->connections_cut,
	    [CG_REFUSAL_RUBBISH] = &counters->connections_refused_rubbish,
	    [CG_REFUSAL_FLOOD] = &counters->connections_cut_flood,
	    [CG_REFUSAL_STALLED] = &counters->calls_stalled,
	    [CG_REFUSAL_CONNECTION_STREAMS] = &counters->refused_connection_streams,
	    [CG_REFUSAL_STREAMS] = &counters->refused_streams,
	};

	return all[refusal];
}

void cg_server__note_refusal(struct cg_rpc_server *server, enum cg_refusal refusal)
{
	static const char *const whats[CG_REFUSAL_COUNT] = {
	    [CG_REFUSAL_IN_FLIGHT] = "requests refused: too many are in flight",
	    [CG_REFUSAL_CONNECTION_IN_FLIGHT] =
	        "requests refused: too many of one connection are in flight",
	    [CG_REFUSAL_RATE] = "requests refused: a company asks too often",
	    [CG_REFUSAL_UNAUTHENTICATED] = "requests refused: without a valid credential",
	    [CG_REFUSAL_PERMISSION] = "requests refused: the credential does not admit them",
	    [CG_REFUSAL_PEER] = "connections refused: their peers are none of ours",
	    [CG_REFUSAL_CONNECTIONS] = "connections refused: there are too many",
	    [CG_REFUSAL_BANNED] = "connections refused: who has flooded stays out for a while",
	    [CG_REFUSAL_COMPRESSED] = "requests refused: compressed",
	    [CG_REFUSAL_CLOSING] = "requests refused: shutting down",
	    [CG_REFUSAL_LISTING] = "listings refused: too many are in flight",
	    [CG_REFUSAL_WATCHERS] = "watches refused: there are too many",
	    [CG_REFUSAL_SESSIONS] = "sessions refused: there are too many",
	    [CG_REFUSAL_UNREADING] = "connections cut: their peers do not read",
	    [CG_REFUSAL_RUBBISH] = "connections closed: this is not how a client begins",
	    [CG_REFUSAL_FLOOD] = "connections cut: more requests at once than they were told",
	    [CG_REFUSAL_STALLED] = "requests ended: their message did not come",
	    [CG_REFUSAL_CONNECTION_STREAMS] =
	        "health watches and reflections refused: too many of one connection",
	    [CG_REFUSAL_STREAMS] = "health watches and reflections refused: there are too many",
	};
	uint64_t held_back = 0;

	(*counter_of(server, refusal))++;
	if (cg_log_limit_admits(
	        &server->refusals[refusal], cg_loop_now_ms(server->loop), 1000, &held_back)) {
		cg_log(
		    CG_LOG_WARN, whats[refusal], "held_back", cg_log_int((int64_t)held_back), NULL);
	}
}

uint64_t cg_server__peer(const struct cg_rpc_line *line, grpc_call *call)
{
	char *text = grpc_call_get_peer(call);
	uint64_t peer = cg_peer_hash(text == NULL ? "" : text, line->door->index);

	gpr_free(text);
	return peer;
}

void cg_server__cut_peer(struct cg_rpc_server *server, uint64_t peer, enum cg_refusal why)
{
	uint64_t source = 0;

	if (!cg_connections_cut(&server->connections, peer, &source)) {
		return;
	}
	cg_server__note_refusal(server, why);
	if (why == CG_REFUSAL_FLOOD) {
		cg_bans_add(&server->bans, source, cg_loop_now_ms(server->loop));
	}
}

/* gRPC is given a connection whose other end is closed at once: its own poller shows. */
static void start_waiting(struct cg_rpc_server *server)
{
	int pair[2];

	if (server->config.waits_in_thread ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
		(void)cg_rpc_bridge_start(server->bridge, -1);
		return;
	}
	grpc_server_add_channel_from_fd(server->doors[0].grpc, pair[0], server->plaintext);
	bool in_loop = cg_rpc_bridge_start(server->bridge, pair[0]);
	(void)close(pair[1]);
	if (!in_loop) {
		cg_log(CG_LOG_WARN, "gRPC's descriptor was not found: a thread waits for it", NULL);
	}
}

static void free_guard(struct cg_rpc_server *server)
{
	cg_doors__close(server);
	cg_connections_deinit(&server->connections);
	cg_inflight_deinit(&server->inflight);
	cg_inflight_deinit(&server->held);
	cg_rate_deinit(&server->rate);
	cg_credentials_unref(server->credentials);
	cg_crypto_destroy(server->crypto);
}

static void on_stopped(void *owner)
{
	struct cg_rpc_server *server = owner;
	void (*on_closed)(void *) = server->on_closed;
	void *closed_owner = server->owner;

	cg_slots__deinit(server);
	cg_slab_deinit(&server->bodies);
	cg_slab_deinit(&server->watches);
	cg_slab_deinit(&server->streams);
	cg_rpc_decoder_deinit(&server->decoder);
	cg_timer_close(server->closing);
	grpc_server_credentials_release(server->plaintext);
	free_guard(server);
	free(server);
	on_closed(closed_owner);
}

static void on_connections_ended(struct cg_rpc_op *op, bool ok)
{
	struct cg_rpc_door *door = CG_CONTAINER_OF(op, struct cg_rpc_door, shutdown);

	(void)ok;
	door->connections_ended = true;
}

/* Posted requests come back, callers are told to go elsewhere. */
static void shut_down(struct cg_rpc_server *server)
{
	uint64_t now_ms = cg_loop_now_ms(server->loop);

	server->state = CG_SERVER_CLOSING;
	for (uint32_t i = 0; i < server->door_count; i++) {
		struct cg_rpc_door *door = &server->doors[i];
		door->shutdown.done = on_connections_ended;
		grpc_server_shutdown_and_notify(
		    door->grpc, cg_rpc_bridge_arrivals(server->bridge), &door->shutdown);
	}
	cg_timer_start(
	    server->closing, server->grace_until_ms > now_ms ? server->grace_until_ms - now_ms : 0);
}

/* Whether callers have heard that they must go elsewhere, or had the time to. */
static bool has_lingered(const struct cg_rpc_server *server)
{
	uint64_t now_ms = cg_loop_now_ms(server->loop);
	bool quiet = cg_slab_taken_count(&server->bodies) == 0 &&
	    (now_ms >= server->request_at_ms + CG_QUIET_MS || now_ms >= server->linger_until_ms);

	return quiet || now_ms >= server->grace_until_ms;
}

static void on_closing_timer(void *owner)
{
	struct cg_rpc_server *server = owner;

	if (server->state == CG_SERVER_CLOSING && !server->has_cancelled) {
		server->has_cancelled = true;
		for (uint32_t i = 0; i < server->door_count; i++) {
			grpc_server_cancel_all_calls(server->doors[i].grpc);
		}
		cg_timer_start(server->closing, CG_CUT_AFTER_MS);
	} else if (server->state == CG_SERVER_CLOSING) {
		/* gRPC ends no connection while a write is under way, and a peer may never read. */
		cg_log(CG_LOG_WARN, "connections that do not end were cut", "count",
		    cg_log_int(cg_connections_cut_all(&server->connections)), NULL);
		cg_timer_start(server->closing, CG_CUT_AFTER_MS);
	} else if (server->state == CG_SERVER_LINGERING) {
		cg_timer_start(server->closing, CG_QUIET_MS / 2);
	}
}

static bool have_connections_ended(const struct cg_rpc_server *server)
{
	for (uint32_t i = 0; i < server->door_count; i++) {
		if (!server->doors[i].connections_ended) {
			return false;
		}
	}
	return true;
}

/* It keeps gRPC busy, and nothing comes of it. */
static void on_vain(void *owner, int fd)
{
	struct cg_rpc_server *server = owner;
	uint64_t peer = 0;

	if (cg_connections_peer_of(&server->connections, fd, &peer)) {
		cg_server__cut_peer(server, peer, CG_REFUSAL_FLOOD);
	}
}

static void on_turn(void *owner)
{
	struct cg_rpc_server *server = owner;

	server->greetings.is_busy = cg_slots__are_scarce(server);
	cg_greetings_look(&server->greetings);
	cg_connections_look(&server->connections, cg_loop_now_ms(server->loop));
	cg_slots__cancel_stuck(server);
	cg_watches__cancel_stuck(server);
	cg_streams__cancel_stuck(server);
	cg_sessions__on_turn(server);
	cg_pace_on_turn(on_vain, server); /* The last: the above may make gRPC read. */
	if (server->state == CG_SERVER_LINGERING && has_lingered(server)) {
		shut_down(server);
	}
	/* Every connection is gone, every slot, body and stream is back. */
	if (server->state == CG_SERVER_CLOSING && have_connections_ended(server) &&
	    server->free_count == server->slot_count &&
	    cg_slab_taken_count(&server->watches) == 0 &&
	    cg_slab_taken_count(&server->streams) == 0 && server->session_count == 0) {
		server->state = CG_SERVER_STOPPING;
		for (uint32_t i = 0; i < server->door_count; i++) {
			grpc_server_destroy(server->doors[i].grpc);
		}
		cg_rpc_bridge_stop(server->bridge, on_stopped);
	}
}

static bool check_config(const struct cg_rpc_config *config, struct cg_error *err)
{
	if (config->listen == NULL || config->calls_max == 0 || config->message_bytes_max == 0 ||
	    config->metadata_bytes_max == 0 || config->streams_max == 0 ||
	    config->watchers_max == 0 || config->sessions_max == 0 || config->session_window == 0 ||
	    config->deadline_max_ms == 0 || config->connections_max == 0 ||
	    config->door_connections_max == 0) {
		cg_error_set(err, "listen: an address, and limits above 0, are needed");
		return false;
	}
	return true;
}

/* What decides who comes in; before anything of gRPC's. */
static enum cg_status set_up_guard(
    struct cg_rpc_server *server, const struct cg_rpc_config *config, struct cg_error *err)
{
	uint64_t seed = cg_loop_clock_ns() ^ (uintptr_t)server;
	struct cg_rpc_counters *counters = &server->counters;
	uint32_t told = cg_rpc_streams_told(config);

	server->crypto = cg_crypto_create();
	cg_connections_init(&server->connections,
	    &(struct cg_connections_config){.count_max = config->connections_max,
	        .door_max = config->door_connections_max,
	        .age_ms = config->connection_age_ms,
	        .idle_ms = config->connection_idle_ms,
	        .waste_max = told > WASTE_LEAST ? told : WASTE_LEAST},
	    &(struct cg_connections_ends){.old = &counters->connections_ended_old,
	        .idle = &counters->connections_ended_idle,
	        .silent = &counters->connections_ended_silent,
	        .unused = &counters->connections_ended_unused});
	cg_rate_init(&server->rate, config->authorizes_per_second, config->authorizes_burst, seed);
	enum cg_status status = cg_peers_parse(
	    cg_view_of(config->peers == NULL ? "group" : config->peers), &server->peers, err);
	if (status == CG_OK && config->credentials_file != NULL) {
		status = cg_credentials_read(
		    server->crypto, config->credentials_file, &server->credentials, err);
	}
	if (status == CG_OK) {
		status = cg_doors__open(server, config, err);
	}
	return status;
}

static void set_up_slabs(struct cg_rpc_server *server, const struct cg_rpc_config *config)
{
	enum cg_status status =
	    cg_slab_init(&server->bodies, sizeof(struct cg_rpc_body), config->calls_max);

	CG_ASSERT(status == CG_OK);
	status = cg_slab_init(&server->watches, sizeof(struct cg_rpc_watch), config->watchers_max);
	CG_ASSERT(status == CG_OK);
	status = cg_slab_init(&server->streams, sizeof(struct cg_rpc_stream), CG_STREAMS_MAX);
	CG_ASSERT(status == CG_OK);
	cg_list_init(&server->streams_open);
	cg_list_init(&server->streams_ending);
	cg_list_init(&server->streams_gone);
	cg_list_init(&server->watches_open);
	cg_list_init(&server->watches_ending);
	cg_list_init(&server->watches_gone);
	cg_list_init(&server->sessions);
	cg_list_init(&server->sessions_due);
	cg_list_init(&server->sessions_sending);
	cg_rpc_decoder_init(&server->decoder, cg_loop_clock_ns() ^ (uintptr_t)server);
}

static void start_grpc(struct cg_rpc_server *server)
{
	struct cg_error err = {{0}};

	gpr_set_log_function(on_grpc_log);
	grpc_init();
	server->plaintext = grpc_insecure_server_credentials_create();
	for (uint32_t i = 0; i < server->door_count; i++) {
		cg_lines__set_up(&server->doors[i]);
	}
	cg_slots__init(server);
	cg_inflight_init(&server->inflight, server->slot_count);
	/* As many places as connections may have any: each has a session. */
	cg_inflight_init(&server->held, server->config.sessions_max);
	/* One event per slot at most, the end of each door, and in a thread those of streams. */
	server->bridge = cg_rpc_bridge_open(server->loop,
	    server->slot_count + server->door_count +
	        OPS_PER_STREAM * (server->config.sessions_max + CG_STREAMS_MAX),
	    on_turn, server);
	for (uint32_t i = 0; i < server->door_count; i++) {
		if (cg_doors__start_grpc(&server->doors[i], &err) != CG_OK) {
			cg_log(CG_LOG_ERROR, "gRPC is not the one that this was built for",
			    "reason", err.text, NULL);
			CG_UNREACHABLE(); /* The library was replaced by one we do not know. */
		}
	}
}

enum cg_status cg_rpc_server_open(struct cg_loop *loop, const struct cg_rpc_config *config,
    struct cg_gate *gate, struct cg_events *events, struct cg_rpc_server **ret_server,
    struct cg_error *err)
{
	if (!check_config(config, err)) {
		return CG_INVALID;
	}
	struct cg_rpc_server *server = calloc(1, sizeof *server);
	CG_ASSERT(server != NULL);
	server->loop = loop;
	server->gate = gate;
	server->events = events;
	server->config = *config;
	enum cg_status status = set_up_guard(server, config, err);
	if (status != CG_OK) {
		free_guard(server);
		free(server);
		return status;
	}
	set_up_slabs(server, config);
	server->closing = cg_timer_create(loop, on_closing_timer, server);
	start_grpc(server);
	start_waiting(server);
	cg_slots__post(server);
	cg_doors__start(server);
	*ret_server = server;
	return CG_OK;
}

void cg_rpc_server_reload(struct cg_rpc_server *server)
{
	cg_guard__reload(server);
}

const struct cg_rpc_counters *cg_rpc_server_counters(struct cg_rpc_server *server)
{
	struct cg_rpc_counters *counters = &server->counters;

	counters->connections_open =
	    cg_connections_count(&server->connections, cg_loop_now_ms(server->loop));
	counters->accept_pauses = cg_doors__pauses(server);
	return counters;
}

uint16_t cg_rpc_server_port(const struct cg_rpc_server *server)
{
	for (uint32_t i = 0; i < server->door_count; i++) {
		uint16_t port = cg_rpc_listener_port(server->doors[i].listener);
		if (port != 0) {
			return port;
		}
	}
	return 0;
}

uint32_t cg_rpc_server_door_count(const struct cg_rpc_server *server)
{
	return server->door_count;
}

void cg_rpc_server_look(
    const struct cg_rpc_server *server, uint32_t index, struct cg_rpc_outside *ret_outside)
{
	CG_ASSERT(index < server->door_count);
	const struct cg_rpc_door *door = &server->doors[index];
	const char *address = door->config.address;
	uint16_t port = cg_rpc_listener_port(door->listener);
	const char *colon = strrchr(address, ':');

	*ret_outside =
	    (struct cg_rpc_outside){.is_encrypted = door->tls != NULL, .accepted = &door->accepted};
	if (port != 0) { /* With port 0 the kernel has chosen one. */
		(void)snprintf(ret_outside->address, sizeof ret_outside->address, "%.*s:%u",
		    (int)(colon - address), address, (unsigned)port);
	} else {
		(void)snprintf(ret_outside->address, sizeof ret_outside->address, "%s", address);
	}
}

void cg_rpc_server_set_serving(struct cg_rpc_server *server, bool serving)
{
	server->serving = serving;
	cg_health__changed(server);
}

void cg_rpc_server_drain(struct cg_rpc_server *server)
{
	bool begins = !server->draining;

	server->draining = true;
	if (begins) {
		cg_sessions__drain(server);
	}
	if (begins && server->events != NULL) {
		cg_events_end_watchers(server->events);
	}
	if (begins) {
		cg_streams__drain(server);
	}
}

void cg_rpc_server_close(
    struct cg_rpc_server *server, uint32_t grace_ms, void (*on_closed)(void *owner), void *owner)
{
	CG_ASSERT(server->state == CG_SERVER_OPEN);
	server->on_closed = on_closed;
	server->owner = owner;
	cg_rpc_server_drain(server);
	server->state = CG_SERVER_LINGERING;
	server->linger_until_ms = cg_loop_now_ms(server->loop) + CG_LINGER_MAX_MS;
	server->grace_until_ms = cg_loop_now_ms(server->loop) + grace_ms;
	cg_doors__stop(server);
	cg_timer_start(server->closing, 0);
}
