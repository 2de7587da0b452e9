/*
 * libmicrohttpd hands its epoll descriptor over: the loop watches it and lets the server run
 * when it is readable, when its own timeout is over, and at the end of a turn in which a
 * request was answered.  No thread.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "edge/http/http_internal.h"
#include "loop/address.h"

#define TICK_MS 250
#define BACKLOG 512

static void run(struct cg_http_server *server)
{
	MHD_UNSIGNED_LONG_LONG after_ms = 0;

	server->wants_run = false;
	(void)MHD_run(server->daemon);
	if (server->wants_run) {
		cg_hook_request(server->hook);
	}
	if (MHD_get_timeout(server->daemon, &after_ms) == MHD_YES) {
		cg_timer_start(server->timer, after_ms);
	} else {
		cg_timer_cancel(server->timer);
	}
}

static void on_ready(void *owner, unsigned events)
{
	(void)events;
	run(owner);
}

static void on_timer(void *owner)
{
	run(owner);
}

static void on_turn(void *owner)
{
	struct cg_http_server *server = owner;

	if (server->wants_run) {
		run(server);
	}
}

static void on_tick(void *owner)
{
	struct cg_http_server *server = owner;
	uint64_t now_ms = cg_loop_now_ms(server->loop);

	for (struct cg_list *at = server->lines.next; at != &server->lines; at = at->next) {
		struct cg_http_line *line = CG_CONTAINER_OF(at, struct cg_http_line, link);
		if (line->late_at_ms != 0 && now_ms >= line->late_at_ms) {
			/* The library finds its peer gone, and cleans up in its own way. */
			(void)shutdown(line->fd, SHUT_RDWR);
			line->late_at_ms = 0;
			server->late_count++;
		}
	}
	cg_timer_start(server->tick, TICK_MS);
}

static void on_connection(void *owner, struct MHD_Connection *connection, void **context,
    enum MHD_ConnectionNotificationCode code)
{
	struct cg_http_server *server = owner;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *info =
		    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
		struct cg_http_line *line = calloc(1, sizeof *line);
		CG_ASSERT(line != NULL && info != NULL);
		line->fd = info->connect_fd;
		line->late_at_ms = cg_loop_now_ms(server->loop) + server->config.request_ms;
		cg_list_append(&server->lines, &line->link);
		*context = line;
		return;
	}
	struct cg_http_line *line = *context;
	/* At the limit it listens no more; that there is room again it sees only when it runs again. */
	server->wants_run = true;
	if (line != NULL) {
		cg_list_remove(&line->link);
		free(line);
		*context = NULL;
	}
}

/* The first line of a request has come: from now on it has request_ms. */
static void *on_first_line(void *owner, const char *uri, struct MHD_Connection *connection)
{
	struct cg_http_server *server = owner;
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct cg_http_line *line = info == NULL ? NULL : info->socket_context;

	(void)uri;
	if (line != NULL) {
		line->late_at_ms = cg_loop_now_ms(server->loop) + server->config.request_ms;
	}
	return NULL;
}

uint32_t cg_http_open_count(const struct cg_http_server *server)
{
	return server->open_count;
}

uint64_t cg_http_late_count(const struct cg_http_server *server)
{
	return server->late_count;
}

static enum cg_status bind_to(const char *listen_at, int *ret_fd, struct cg_error *err)
{
	struct cg_address address;
	struct addrinfo hints = {
	    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	int on = 1;

	if (!cg_address_parse(listen_at, &address) || address.is_unix ||
	    getaddrinfo(address.host, address.port, &hints, &found) != 0) {
		cg_error_set(err, "http: \"%.80s\" is no numeric host:port", listen_at);
		return CG_INVALID;
	}
	int fd = socket(
	    found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, found->ai_protocol);
	bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
	    bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
	freeaddrinfo(found);
	if (!ok) {
		cg_error_set(err, "http: bind %.80s: %s", listen_at, strerror(errno));
		if (fd >= 0) {
			(void)close(fd);
		}
		return CG_UNAVAILABLE;
	}
	*ret_fd = fd;
	return CG_OK;
}

static struct MHD_Daemon *start(struct cg_http_server *server)
{
	const struct cg_http_config *config = &server->config;

	return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO, 0, NULL,
	    NULL, cg_http__on_access, server, MHD_OPTION_LISTEN_SOCKET, server->listen_fd,
	    MHD_OPTION_CONNECTION_LIMIT, config->connections_max,
	    MHD_OPTION_PER_IP_CONNECTION_LIMIT, config->connections_per_ip_max,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)config->header_bytes_max,
	    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(config->idle_ms / 1000 + 1),
	    MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_NOTIFY_COMPLETED,
	    cg_http__on_completed, server, MHD_OPTION_URI_LOG_CALLBACK, on_first_line, server,
	    MHD_OPTION_END);
}

enum cg_status cg_http_open(struct cg_loop *loop, const struct cg_http_config *config,
    struct cg_http_server **ret_server, struct cg_error *err)
{
	int fd = -1;
	enum cg_status status = bind_to(config->listen, &fd, err);

	if (status != CG_OK) {
		return status;
	}
	struct cg_http_server *server = calloc(1, sizeof *server);
	CG_ASSERT(server != NULL);
	server->config = *config;
	server->loop = loop;
	server->listen_fd = fd;
	cg_list_init(&server->lines);
	server->daemon = start(server);
	if (server->daemon == NULL) {
		cg_error_set(err, "http: libmicrohttpd does not start");
		(void)close(fd);
		free(server);
		return CG_UNAVAILABLE;
	}
	const union MHD_DaemonInfo *info =
	    MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	CG_ASSERT(info != NULL);
	server->timer = cg_timer_create(loop, on_timer, server);
	server->tick = cg_timer_create(loop, on_tick, server);
	server->hook = cg_hook_create(loop, on_turn, server);
	server->watch = cg_watch_create(loop, info->epoll_fd, on_ready, server);
	cg_watch_set(server->watch, CG_WATCH_READ);
	cg_timer_start(server->tick, TICK_MS);
	*ret_server = server;
	return CG_OK;
}

void cg_http_drain(struct cg_http_server *server)
{
	if (!server->is_draining) {
		server->is_draining = true;
		(void)MHD_quiesce_daemon(server->daemon);
		(void)close(server->listen_fd);
	}
}

void cg_http_close(struct cg_http_server *server)
{
	CG_ASSERT(server->open_count == 0);
	cg_http_drain(server);
	cg_watch_close(server->watch);
	cg_timer_close(server->timer);
	cg_timer_close(server->tick);
	cg_hook_close(server->hook);
	MHD_stop_daemon(server->daemon);
	free(server);
}
