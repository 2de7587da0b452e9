/*
 * One request: its body is kept as it comes, its handler is asked once it is here, and while that
 * thinks the connection is suspended.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "edge/http/http_internal.h"

#define BODY_FIRST 4096

struct cg_http_request {
	struct cg_http_server *server;
	struct MHD_Connection *connection;
	struct cg_http_line *line;
	const char *method;
	const char *path;
	char *body;
	size_t body_len;
	size_t body_room;
	size_t body_max;
	bool is_asked; /* the handler has it */
	bool is_suspended;
	struct MHD_Response *response; /* once answered */
	unsigned status;
};

void cg_http__on_completed(void *owner, struct MHD_Connection *connection, void **context,
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

/* NOLINTNEXTLINE(readability-function-size): the library's own form */
enum MHD_Result cg_http__on_access(void *owner, struct MHD_Connection *connection, const char *path,
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
