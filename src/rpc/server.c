/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/server.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>

#include "rpc/channel_args.h"
#include "rpc/rpc_internal.h"

#define HEALTH_PATH  "/grpc.health.v1.Health/Check"
#define WATCH_PATH   "/callgate.v1.Wallets/Watch"
#define SESSION_PATH "/callgate.v1.Gate/Session"

/* Of a session at once: a message, an answer, and its end. */
#define OPS_PER_SESSION 3

/* On the path of live calls, and not: how many requests wait inside gRPC for a burst. */
#define POSTED_HOT  64
#define POSTED_COLD 8

static const struct {
	const char *path;
	uint32_t posted;
} methods[CG_METHOD_COUNT] = {
    [CG_METHOD_AUTHORIZE] = {"/callgate.v1.Gate/Authorize", 2 * POSTED_HOT},
    [CG_METHOD_START] = {"/callgate.v1.Gate/Start", POSTED_HOT},
    [CG_METHOD_STOP] = {"/callgate.v1.Gate/Stop", POSTED_HOT},
    [CG_METHOD_SETTLE] = {"/callgate.v1.Gate/Settle", 2 * POSTED_HOT},
    [CG_METHOD_CANCEL] = {"/callgate.v1.Gate/Cancel", POSTED_HOT},
    [CG_METHOD_ADOPT] = {"/callgate.v1.Gate/Adopt", POSTED_COLD},
    [CG_METHOD_CREATE_WALLET] = {"/callgate.v1.Wallets/CreateWallet", POSTED_COLD},
    [CG_METHOD_GET_WALLET] = {"/callgate.v1.Wallets/GetWallet", POSTED_COLD},
    [CG_METHOD_UPDATE_WALLET] = {"/callgate.v1.Wallets/UpdateWallet", POSTED_COLD},
    [CG_METHOD_GET_BALANCE] = {"/callgate.v1.Wallets/GetBalance", POSTED_HOT},
    [CG_METHOD_GET_CALL] = {"/callgate.v1.Wallets/GetCall", POSTED_COLD},
    [CG_METHOD_LIST_CALLS] = {"/callgate.v1.Wallets/ListCalls", POSTED_COLD},
    [CG_METHOD_CREDIT] = {"/callgate.v1.Wallets/Credit", POSTED_COLD},
    [CG_METHOD_CHARGE] = {"/callgate.v1.Wallets/Charge", POSTED_COLD},
};

/* gRPC's own complaints, from any of its threads: they may quote a peer, so they are few. */
static void on_grpc_log(gpr_log_func_args *line)
{
	if (line->severity == GPR_LOG_SEVERITY_ERROR) {
		cg_log(CG_LOG_DEBUG, "grpc", "said", line->message, NULL);
	}
}

void cg_server__note_refusal(struct cg_rpc_server *server, enum cg_refusal refusal)
{
	static const char *const whats[CG_REFUSAL_COUNT] = {
	    [CG_REFUSAL_IN_FLIGHT] = "requests refused: too many are in flight",
	    [CG_REFUSAL_COMPRESSED] = "requests refused: compressed",
	    [CG_REFUSAL_CLOSING] = "requests refused: shutting down",
	    [CG_REFUSAL_LISTING] = "listings refused: too many are in flight",
	    [CG_REFUSAL_WATCHERS] = "watches refused: there are too many",
	    [CG_REFUSAL_SESSIONS] = "sessions refused: there are too many",
	    [CG_REFUSAL_UNREADING] = "connections cut: their peers do not read",
	};
	uint64_t held_back = 0;

	if (cg_log_limit_admits(
	        &server->refusals[refusal], cg_loop_now_ms(server->loop), 1000, &held_back)) {
		cg_log(
		    CG_LOG_WARN, whats[refusal], "held_back", cg_log_int((int64_t)held_back), NULL);
	}
}

int cg_server__peer_fd(grpc_call *call)
{
	static const char prefix[] = "fd:";
	char *peer = grpc_call_get_peer(call);
	int64_t fd = -1;

	if (peer == NULL || strncmp(peer, prefix, sizeof prefix - 1) != 0 ||
	    !cg_view_parse_int(cg_view_of(peer + sizeof prefix - 1), &fd) || fd < 0 ||
	    fd > INT32_MAX) {
		fd = -1;
	}
	gpr_free(peer);
	return (int)fd;
}

void cg_server__cut_peer(struct cg_rpc_server *server, int peer_fd)
{
	if (cg_rpc_listener_cut_peer(server->listener, peer_fd)) {
		cg_server__note_refusal(server, CG_REFUSAL_UNREADING);
	}
}

static void set_up_lines(struct cg_rpc_server *server)
{
	for (size_t i = 0; i < CG_METHOD_COUNT; i++) {
		server->lines[i] = (struct cg_rpc_line){
		    .server = server,
		    .path = methods[i].path,
		    .method = (enum cg_method)i,
		    .posted_wanted = methods[i].posted,
		    .on_request = cg_calls__on_request,
		};
	}
	server->lines[CG_LINE_HEALTH] = (struct cg_rpc_line){
	    .server = server,
	    .path = HEALTH_PATH,
	    .posted_wanted = POSTED_HOT,
	    .on_request = cg_health__on_request,
	};
	server->lines[CG_LINE_WATCH] = (struct cg_rpc_line){
	    .server = server,
	    .path = WATCH_PATH,
	    .posted_wanted = POSTED_HOT,
	    .on_request = server->events != NULL ? cg_watches__on_request : cg_calls__on_unknown,
	};
	server->lines[CG_LINE_SESSION] = (struct cg_rpc_line){
	    .server = server,
	    .path = SESSION_PATH,
	    .is_stream = true,
	    .posted_wanted = POSTED_COLD,
	    .on_request = cg_sessions__on_request,
	};
	server->lines[CG_LINE_UNKNOWN] = (struct cg_rpc_line){
	    .server = server,
	    .posted_wanted = POSTED_COLD,
	    .on_request = cg_calls__on_unknown,
	};
}

static void start_grpc(struct cg_rpc_server *server)
{
	struct cg_rpc_channel_args args;

	cg_rpc_channel_args_init(&args, &server->config);
	server->grpc = grpc_server_create(&args.list, NULL);
	CG_ASSERT(server->grpc != NULL);
	cg_rpc_channel_args_deinit(&args);
	server->credentials = grpc_insecure_server_credentials_create();
	grpc_server_register_completion_queue(
	    server->grpc, cg_rpc_bridge_arrivals(server->bridge), NULL);
	for (size_t i = 0; i < CG_LINE_COUNT; i++) {
		struct cg_rpc_line *line = &server->lines[i];
		if (line->path != NULL) {
			line->registered =
			    grpc_server_register_method(server->grpc, line->path, NULL,
			        line->is_stream ? GRPC_SRM_PAYLOAD_NONE
			                        : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER,
			        0);
			CG_ASSERT(line->registered != NULL);
		}
	}
	grpc_server_start(server->grpc);
}

static void on_connection(void *owner, int fd)
{
	struct cg_rpc_server *server = owner;

	grpc_server_add_channel_from_fd(server->grpc, fd, server->credentials);
	cg_rpc_bridge_connected(server->bridge);
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
	grpc_server_add_channel_from_fd(server->grpc, pair[0], server->credentials);
	bool in_loop = cg_rpc_bridge_start(server->bridge, pair[0]);
	(void)close(pair[1]);
	if (!in_loop) {
		cg_log(CG_LOG_WARN, "gRPC's descriptor was not found: a thread waits for it", NULL);
	}
}

static void on_stopped(void *owner)
{
	struct cg_rpc_server *server = owner;
	void (*on_closed)(void *) = server->on_closed;
	void *closed_owner = server->owner;

	cg_slots__deinit(server);
	cg_slab_deinit(&server->bodies);
	cg_slab_deinit(&server->watches);
	cg_rpc_decoder_deinit(&server->decoder);
	cg_rpc_listener_close(server->listener);
	cg_timer_close(server->closing);
	grpc_server_credentials_release(server->credentials);
	free(server);
	on_closed(closed_owner);
}

static void on_connections_ended(struct cg_rpc_op *op, bool ok)
{
	struct cg_rpc_server *server = CG_CONTAINER_OF(op, struct cg_rpc_server, shutdown);

	(void)ok;
	server->connections_ended = true;
}

/* Posted requests come back, callers are told to go elsewhere. */
static void shut_down(struct cg_rpc_server *server)
{
	uint64_t now_ms = cg_loop_now_ms(server->loop);

	server->state = CG_SERVER_CLOSING;
	server->shutdown.done = on_connections_ended;
	grpc_server_shutdown_and_notify(
	    server->grpc, cg_rpc_bridge_arrivals(server->bridge), &server->shutdown);
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
		grpc_server_cancel_all_calls(server->grpc);
		cg_timer_start(server->closing, CG_CUT_AFTER_MS);
	} else if (server->state == CG_SERVER_CLOSING) {
		/* gRPC ends no connection while a write is under way, and a peer may never read. */
		cg_log(CG_LOG_WARN, "connections that do not end were cut", "count",
		    cg_log_int(cg_rpc_listener_cut(server->listener)), NULL);
		cg_timer_start(server->closing, CG_CUT_AFTER_MS);
	} else if (server->state == CG_SERVER_LINGERING) {
		cg_timer_start(server->closing, CG_QUIET_MS / 2);
	}
}

static void on_turn(void *owner)
{
	struct cg_rpc_server *server = owner;

	cg_slots__cancel_stuck(server);
	cg_watches__cancel_stuck(server);
	cg_sessions__on_turn(server);
	if (server->state == CG_SERVER_LINGERING && has_lingered(server)) {
		shut_down(server);
	}
	/* Every connection is gone, every slot is back, every body, watch and session too. */
	if (server->state == CG_SERVER_CLOSING && server->connections_ended &&
	    server->free_count == server->slot_count &&
	    cg_slab_taken_count(&server->watches) == 0 && server->session_count == 0) {
		server->state = CG_SERVER_STOPPING;
		grpc_server_destroy(server->grpc);
		cg_rpc_bridge_stop(server->bridge, on_stopped);
	}
}

static bool check_config(const struct cg_rpc_config *config, struct cg_error *err)
{
	if (config->listen == NULL || config->calls_max == 0 || config->message_bytes_max == 0 ||
	    config->metadata_bytes_max == 0 || config->streams_max == 0 ||
	    config->watchers_max == 0 || config->sessions_max == 0 || config->session_window == 0 ||
	    config->deadline_max_ms == 0) {
		cg_error_set(err, "listen: an address, and limits above 0, are needed");
		return false;
	}
	return true;
}

enum cg_status cg_rpc_server_open(struct cg_loop *loop, const struct cg_rpc_config *config,
    struct cg_gate *gate, struct cg_events *events, struct cg_rpc_server **ret_server,
    struct cg_error *err)
{
	struct cg_rpc_listener *listener;

	if (!check_config(config, err)) {
		return CG_INVALID;
	}
	enum cg_status status = cg_rpc_listener_open(config->listen, &listener, err);
	if (status != CG_OK) {
		return status;
	}

	struct cg_rpc_server *server = calloc(1, sizeof *server);
	CG_ASSERT(server != NULL);
	server->loop = loop;
	server->gate = gate;
	server->events = events;
	server->config = *config;
	server->config.listen = NULL; /* The caller's, and not needed any more. */
	server->listener = listener;
	status = cg_slab_init(&server->bodies, sizeof(struct cg_rpc_body), config->calls_max);
	CG_ASSERT(status == CG_OK);
	status = cg_slab_init(&server->watches, sizeof(struct cg_rpc_watch), config->watchers_max);
	CG_ASSERT(status == CG_OK);
	cg_list_init(&server->watches_ending);
	cg_list_init(&server->watches_gone);
	cg_list_init(&server->sessions);
	cg_list_init(&server->sessions_due);
	cg_list_init(&server->sessions_sending);
	cg_rpc_decoder_init(&server->decoder, cg_loop_clock_ns() ^ (uintptr_t)server);
	server->closing = cg_timer_create(loop, on_closing_timer, server);

	gpr_set_log_function(on_grpc_log);
	grpc_init();
	set_up_lines(server);
	cg_slots__init(server);
	/* One event per slot at most, the end of the server, and in a thread those of sessions. */
	server->bridge = cg_rpc_bridge_open(
	    loop, server->slot_count + 1 + OPS_PER_SESSION * config->sessions_max, on_turn, server);
	start_grpc(server);
	start_waiting(server);
	cg_slots__post(server);
	cg_rpc_listener_start(listener, loop, on_connection, server);
	*ret_server = server;
	return CG_OK;
}

uint16_t cg_rpc_server_port(const struct cg_rpc_server *server)
{
	return cg_rpc_listener_port(server->listener);
}

void cg_rpc_server_set_serving(struct cg_rpc_server *server, bool serving)
{
	server->serving = serving;
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
	cg_rpc_listener_stop(server->listener);
	cg_timer_start(server->closing, 0);
}
