/*
 * libmicrohttpd hands its epoll descriptor over: the loop watches it and lets the server run
 * when it is readable, when its own timeout is over, and at the end of a turn in which a
 * request was answered.  No thread.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "edge/http/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/address.h"

#define TICK_MS    250
#define BACKLOG    512
#define BODY_FIRST 4096

/* One for each connection, from its beginning to its end. */
struct line {
	struct cg_list link;
	struct cg_http_server *server;
	int fd;
	uint64_t late_at_ms; /* 0: the request is here */
};

struct cg_http_request {
	struct cg_http_server *server;
	struct MHD_Connection *connection;
	struct line *line;
	const char *method;
	const char *path;
	char *body;
	size_t body_len;
	size_t body_room;
	size_t body_max;
	unsigned refused; /* a status that was decided before the body came */
	bool is_asked;    /* the handler has it */
	bool is_suspended;
	struct MHD_Response *response; /* once answered */
	unsigned status;
};

struct cg_http_server {
	struct cg_http_config config;
	struct cg_loop *loop;
	struct MHD_Daemon *daemon;
	struct cg_watch *watch;
	struct cg_timer *timer; /* libmicrohttpd's own */
	struct cg_timer *tick;  /* looks for late requests */
	struct cg_hook *hook;
	struct cg_list lines;
	int listen_fd;
	bool is_draining;
	bool wants_run; /* once more, before the loop sleeps */
	uint32_t open_count;
	uint64_t late_count;
};

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
		struct line *line = CG_CONTAINER_OF(at, struct line, link);
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
		struct line *line = calloc(1, sizeof *line);
		CG_ASSERT(line != NULL && info != NULL);
		line->server = server;
		line->fd = info->connect_fd;
		line->late_at_ms = cg_loop_now_ms(server->loop) + server->config.request_ms;
		cg_list_append(&server->lines, &line->link);
		*context = line;
		return;
	}
	struct line *line = *context;
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
	struct line *line = info == NULL ? NULL : info->socket_context;

	(void)uri;
	if (line != NULL) {
		line->late_at_ms = cg_loop_now_ms(server->loop) + server->config.request_ms;
	}
	return NULL;
}

static void on_completed(void *owner, struct MHD_Connection *connection, void **context,
    enum MHD_RequestTerminationCode code)
{
	struct cg_http_server *server = owner;
	struct cg_http_request *request = *context;

	(void)connection;
	(void)code;
	if (request == NULL) {
		return;
	}
	/* Suspended connections do not complete, so it was answered, or never handed over. */
	if (request->response != NULL) {
		MHD_destroy_response(request->response);
	}
	request->line->late_at_ms = cg_loop_now_ms(server->loop) + server->config.idle_ms;
	free(request->body);
	free(request);
	*context = NULL;
}

static enum MHD_Result queue(struct cg_http_request *request)
{
	return MHD_queue_response(request->connection, request->status, request->response);
}

static struct MHD_Response *response_of(
    struct cg_http_server *server, const char *type, struct cg_view body)
{
	/* The library does not write to what it must copy, and asks for leave to all the same. */
	void *bytes = NULL;
	memcpy(&bytes, &body.data, sizeof bytes);
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(body.len, bytes, MHD_RESPMEM_MUST_COPY);

	CG_ASSERT(response != NULL);
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	(void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (server->is_draining) {
		(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	}
	return response;
}

static void refuse(struct cg_http_request *request, unsigned status, const char *body)
{
	request->status = status;
	request->response = response_of(request->server, "application/json", cg_view_of(body));
}

static struct cg_http_request *begin(struct cg_http_server *server,
    struct MHD_Connection *connection, const char *path, const char *method)
{
	struct cg_http_request *request = calloc(1, sizeof *request);
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	CG_ASSERT(request != NULL && info != NULL && info->socket_context != NULL);
	request->server = server;
	request->connection = connection;
	request->line = info->socket_context;
	request->method = method;
	request->path = path;
	request->body_max = server->config.body_bytes_max(server->config.owner, method, path);
	return request;
}

/* A length that is said and too large is refused before any of it is read. */
static bool says_too_much(const struct cg_http_request *request)
{
	int64_t len = 0;
	const char *said = cg_http_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);

	return said != NULL &&
	    (!cg_view_parse_int(cg_view_of(said), &len) || len < 0 ||
	        (uint64_t)len > request->body_max);
}

static bool keep(struct cg_http_request *request, const char *data, size_t len)
{
	if (request->body_max - request->body_len < len) {
		return false;
	}
	if (request->body_room - request->body_len < len) {
		size_t room = request->body_room == 0 ? BODY_FIRST : request->body_room;
		while (room - request->body_len < len) {
			room *= 2;
		}
		char *body = realloc(request->body, room);
		if (body == NULL) {
			return false;
		}
		request->body = body;
		request->body_room = room;
	}
	memcpy(request->body + request->body_len, data, len);
	request->body_len += len;
	return true;
}

static enum MHD_Result ask(struct cg_http_request *request)
{
	struct cg_http_server *server = request->server;

	request->is_asked = true;
	request->line->late_at_ms = 0;
	server->open_count++;
	server->config.on_request(server->config.owner, request);
	if (request->response != NULL) {
		return queue(request);
	}
	request->is_suspended = true;
	MHD_suspend_connection(request->connection);
	return MHD_YES;
}

/* Called at a request's headers, at each piece of its body, at its end, and when it is resumed. */
/* NOLINTNEXTLINE(readability-function-size): the library's own form */
static enum MHD_Result on_access(void *owner, struct MHD_Connection *connection, const char *path,
    const char *method, const char *version, const char *data, size_t *data_len, void **context)
{
	struct cg_http_request *request = *context;

	(void)version;
	if (request == NULL) {
		request = begin(owner, connection, path, method);
		*context = request;
		if (request->body_max == 0) {
			refuse(request, MHD_HTTP_NOT_FOUND, "{\"error\":\"no such path\"}");
		} else if (says_too_much(request)) {
			refuse(request, MHD_HTTP_CONTENT_TOO_LARGE, "{\"error\":\"too large\"}");
		}
		return request->response != NULL ? queue(request) : MHD_YES;
	}
	if (*data_len > 0) {
		if (request->response == NULL && !keep(request, data, *data_len)) {
			return MHD_NO; /* No length was said, so nothing could be answered in time. */
		}
		*data_len = 0;
		return MHD_YES;
	}
	if (request->response != NULL) {
		return request->is_asked ? queue(request) : MHD_YES;
	}
	return ask(request);
}

void cg_http_answer(
    struct cg_http_request *request, unsigned status, const char *type, struct cg_view body)
{
	struct cg_http_server *server = request->server;

	CG_ASSERT(request->is_asked && request->response == NULL);
	request->status = status;
	request->response = response_of(server, type, body);
	server->open_count--;
	if (request->is_suspended) {
		request->is_suspended = false;
		server->wants_run = true;
		cg_hook_request(server->hook);
		MHD_resume_connection(request->connection);
	}
}

const char *cg_http_method(const struct cg_http_request *request)
{
	return request->method;
}

const char *cg_http_path(const struct cg_http_request *request)
{
	return request->path;
}

const char *cg_http_header(const struct cg_http_request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *cg_http_query(const struct cg_http_request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

struct cg_view cg_http_body(const struct cg_http_request *request)
{
	return (struct cg_view){request->body, request->body_len};
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
	    NULL, on_access, server, MHD_OPTION_LISTEN_SOCKET, server->listen_fd,
	    MHD_OPTION_CONNECTION_LIMIT, config->connections_max,
	    MHD_OPTION_PER_IP_CONNECTION_LIMIT, config->connections_per_ip_max,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)config->header_bytes_max,
	    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(config->idle_ms / 1000 + 1),
	    MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_NOTIFY_COMPLETED,
	    on_completed, server, MHD_OPTION_URI_LOG_CALLBACK, on_first_line, server,
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
