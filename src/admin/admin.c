/*
 * libmicrohttpd, turned by our loop: its epoll descriptor is watched, and a timer comes for what
 * it wants to do later and for connections that have had their time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "admin/admin.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "admin/socket.h"

#define REQUEST_BYTES_MAX ((size_t)8 * 1024) /* of a connection: its headers, and little else */
#define IDLE_MAX_S        5u
#define LOOK_MS           250
#define CROWDED_AGE_MS    1000 /* where all places are taken, the oldest has had so much time */
#define TEXT_KEPT_MS      50
#define REASONS_BYTES     1024

/* A connection, from its accept to its end. */
struct guest {
	bool is_here;
	int fd;
	uint64_t since_ms;
};

struct cg_admin {
	struct cg_loop *loop;
	struct cg_admin_config config;
	struct cg_admin_socket socket;
	struct MHD_Daemon *http;
	struct cg_watch *watch;
	struct cg_timer *timer;
	struct guest guests[CG_ADMIN_CONNECTIONS_MAX];
	struct MHD_Response *metrics; /* kept for a moment: slow readers share it */
	uint64_t metrics_at_ms;
};

static void run(struct cg_admin *admin);

static enum MHD_Result answer(
    struct MHD_Connection *connection, unsigned status, struct MHD_Response *response)
{
	return response == NULL ? MHD_NO : MHD_queue_response(connection, status, response);
}

/* An answer that is made for this request alone. */
static enum MHD_Result answer_text(
    struct MHD_Connection *connection, unsigned status, struct cg_view text)
{
	union {
		const char *given;
		void *taken;
	} bytes = {.given = text.data}; /* It is copied; the library merely takes no const. */
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(text.len, bytes.taken, MHD_RESPMEM_MUST_COPY);

	if (response == NULL) {
		return MHD_NO;
	}
	(void)MHD_add_response_header(response, "Content-Type", "text/plain; charset=utf-8");
	(void)MHD_add_response_header(response, "Connection", "close");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
		(void)MHD_add_response_header(response, "Allow", "GET");
	}
	enum MHD_Result result = answer(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static void forget_metrics(struct cg_admin *admin)
{
	if (admin->metrics != NULL) {
		MHD_destroy_response(admin->metrics); /* Whoever still reads it keeps it. */
		admin->metrics = NULL;
	}
}

static bool make_metrics(struct cg_admin *admin)
{
	uint64_t now_ms = cg_loop_now_ms(admin->loop);
	struct cg_metrics_text text;

	if (admin->metrics != NULL && now_ms - admin->metrics_at_ms < TEXT_KEPT_MS) {
		return true;
	}
	forget_metrics(admin);
	if (!cg_metrics_write(admin->config.metrics, &text)) {
		return false;
	}
	admin->metrics =
	    MHD_create_response_from_buffer(text.len, text.data, MHD_RESPMEM_MUST_FREE);
	if (admin->metrics == NULL) {
		cg_metrics_text_deinit(&text);
		return false;
	}
	admin->metrics_at_ms = now_ms;
	(void)MHD_add_response_header(
	    admin->metrics, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
	(void)MHD_add_response_header(admin->metrics, "Connection", "close");
	return true;
}

static enum MHD_Result answer_reasons(struct cg_admin *admin, struct MHD_Connection *connection,
    bool (*is_well)(void *owner, struct cg_buffer *text))
{
	char memory[REASONS_BYTES];
	struct cg_buffer text;

	cg_buffer_init(&text, memory, sizeof memory);
	bool well = is_well(admin->config.owner, &text);
	return answer_text(
	    connection, well ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, cg_buffer_view(&text));
}

/* The request's head is there; what else it sends is not waited for. */
/* NOLINTNEXTLINE(readability-function-size): the parameters are the library's. */
static enum MHD_Result on_request(void *owner, struct MHD_Connection *connection, const char *path,
    const char *method, const char *version, const char *upload, size_t *upload_bytes,
    void **context)
{
	struct cg_admin *admin = owner;

	(void)version;
	(void)upload;
	(void)upload_bytes;
	(void)context;
	if (strcmp(method, "GET") != 0) {
		return answer_text(
		    connection, MHD_HTTP_METHOD_NOT_ALLOWED, CG_VIEW_LITERAL("GET only\n"));
	}
	if (strcmp(path, "/metrics") == 0) {
		return make_metrics(admin) ? answer(connection, MHD_HTTP_OK, admin->metrics)
		                           : answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR,
		                                 CG_VIEW_LITERAL("too much to tell\n"));
	}
	if (strcmp(path, "/healthz") == 0) {
		return answer_reasons(admin, connection, admin->config.is_alive);
	}
	if (strcmp(path, "/readyz") == 0) {
		return answer_reasons(admin, connection, admin->config.is_ready);
	}
	return answer_text(connection, MHD_HTTP_NOT_FOUND,
	    CG_VIEW_LITERAL("there are /metrics, /healthz and /readyz\n"));
}

static void on_connection(void *owner, struct MHD_Connection *connection, void **context,
    enum MHD_ConnectionNotificationCode what)
{
	struct cg_admin *admin = owner;
	struct guest *guest = *context;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (guest != NULL) {
			guest->is_here = false;
		}
		return;
	}
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	for (size_t i = 0; i < CG_ADMIN_CONNECTIONS_MAX && info != NULL; i++) {
		if (!admin->guests[i].is_here) {
			admin->guests[i] = (struct guest){
			    .is_here = true,
			    .fd = info->connect_fd,
			    .since_ms = cg_loop_now_ms(admin->loop),
			};
			*context = &admin->guests[i];
			return;
		}
	}
}

/* Ends connections that have had their time; how many there are. */
static size_t show_out(struct cg_admin *admin)
{
	uint64_t now_ms = cg_loop_now_ms(admin->loop);
	struct guest *oldest = NULL;
	size_t count = 0;

	for (size_t i = 0; i < CG_ADMIN_CONNECTIONS_MAX; i++) {
		struct guest *guest = &admin->guests[i];
		if (!guest->is_here) {
			continue;
		}
		count++;
		if (oldest == NULL || guest->since_ms < oldest->since_ms) {
			oldest = guest;
		}
		if (now_ms - guest->since_ms >= CG_ADMIN_AGE_MAX_MS) {
			(void)shutdown(guest->fd, SHUT_RDWR);
		}
	}
	if (count == CG_ADMIN_CONNECTIONS_MAX && now_ms - oldest->since_ms >= CROWDED_AGE_MS) {
		(void)shutdown(oldest->fd, SHUT_RDWR);
	}
	return count;
}

static void sleep_on(struct cg_admin *admin)
{
	MHD_UNSIGNED_LONG_LONG wait_ms = 0;
	uint64_t within_ms = show_out(admin) > 0 ? LOOK_MS : UINT64_MAX;

	if (MHD_get_timeout(admin->http, &wait_ms) == MHD_YES && wait_ms < within_ms) {
		within_ms = wait_ms;
	}
	if (within_ms != UINT64_MAX) {
		cg_timer_start(admin->timer, within_ms);
	}
}

static void run(struct cg_admin *admin)
{
	(void)MHD_run(admin->http);
	sleep_on(admin);
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

static struct MHD_Daemon *start_http(struct cg_admin *admin)
{
	return MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, admin,
	    MHD_OPTION_LISTEN_SOCKET, admin->socket.fd, MHD_OPTION_CONNECTION_LIMIT,
	    (unsigned)CG_ADMIN_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
	    REQUEST_BYTES_MAX, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_MAX_S,
	    MHD_OPTION_NOTIFY_CONNECTION, on_connection, admin, MHD_OPTION_END);
}

enum cg_status cg_admin_open(struct cg_loop *loop, const struct cg_admin_config *config,
    struct cg_admin **ret_admin, struct cg_error *err)
{
	struct cg_admin *admin = calloc(1, sizeof *admin);

	CG_ASSERT(admin != NULL);
	admin->loop = loop;
	admin->config = *config;
	admin->config.listen = NULL; /* The caller's, and not needed any more. */
	enum cg_status status = cg_admin_socket_open(config->listen, &admin->socket, err);
	if (status != CG_OK) {
		free(admin);
		return status;
	}
	admin->http = start_http(admin);
	const union MHD_DaemonInfo *info =
	    admin->http == NULL ? NULL : MHD_get_daemon_info(admin->http, MHD_DAEMON_INFO_EPOLL_FD);
	CG_ASSERT(info != NULL && info->epoll_fd >= 0);
	admin->timer = cg_timer_create(loop, on_timer, admin);
	admin->watch = cg_watch_create(loop, info->epoll_fd, on_ready, admin);
	cg_watch_set(admin->watch, CG_WATCH_READ);
	*ret_admin = admin;
	return CG_OK;
}

void cg_admin_close(struct cg_admin *admin)
{
	cg_watch_close(admin->watch);
	cg_timer_close(admin->timer);
	cg_admin_socket_forget(&admin->socket);
	MHD_stop_daemon(admin->http); /* Closes the socket, too. */
	forget_metrics(admin);
	free(admin);
}
