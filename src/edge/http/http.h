/*
 * An HTTP/1.1 server on the loop.  The one room that sees libmicrohttpd.
 *
 * A request reaches its handler when all of it is here, within the limits below; what exceeds
 * one is answered or cut off before anything of it is kept.  It is answered once, at once or
 * later, and until then belongs to the handler, whoever hung up meanwhile.
 *
 *   too many connections           refused by the kernel's queue, then closed
 *   headers larger than header_bytes_max   431
 *   a body larger than the path's limit    413; where no length was said, closed
 *   a request not here in time     closed: whoever sends a byte a second gets no more time
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EDGE_HTTP_HTTP_H
#define CG_EDGE_HTTP_HTTP_H

#include "base/base.h"
#include "loop/loop.h"

struct cg_http_server;
struct cg_http_request;

struct cg_http_config {
	const char *listen; /* "host:port", a numeric host */
	uint32_t connections_max;
	uint32_t connections_per_ip_max; /* 0: no limit, as behind a proxy */
	uint32_t header_bytes_max;
	uint32_t
	    request_ms;   /* from its first line, or a connection's beginning, to its last byte */
	uint32_t idle_ms; /* longest wait for the next request of a connection */
	/* The largest body of such a request; 0: there is no such path (404). */
	size_t (*body_bytes_max)(void *owner, const char *method, const char *path);
	void (*on_request)(void *owner, struct cg_http_request *request);
	void *owner;
};

/* CG_INVALID: the address; CG_UNAVAILABLE: it cannot be bound; `err` says why. */
enum cg_status cg_http_open(struct cg_loop *loop, const struct cg_http_config *config,
    struct cg_http_server **ret_server, struct cg_error *err);

/* Texts are good until the request is answered. */
const char *cg_http_method(const struct cg_http_request *request);
const char *cg_http_path(const struct cg_http_request *request);
const char *cg_http_header(const struct cg_http_request *request, const char *name); /* or NULL */
const char *cg_http_query(const struct cg_http_request *request, const char *name);  /* or NULL */
struct cg_view cg_http_body(const struct cg_http_request *request);

/* The body is copied.  Nothing of the request may be touched afterwards. */
void cg_http_answer(
    struct cg_http_request *request, unsigned status, const char *type, struct cg_view body);

/* Requests that were handed over and are not answered. */
uint32_t cg_http_open_count(const struct cg_http_server *server);

/* How many connections were cut because a request was not here in time. */
uint64_t cg_http_late_count(const struct cg_http_server *server);

/* Takes no new connections; what is open is answered, and then closed. */
void cg_http_drain(struct cg_http_server *server);

/* Every request must have been answered. */
void cg_http_close(struct cg_http_server *server);

#endif /* CG_EDGE_HTTP_HTTP_H */
