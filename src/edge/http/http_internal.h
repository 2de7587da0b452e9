/*
 * What the two files of this room share: server.c has connections and the library, request.c what
 * comes on them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EDGE_HTTP_INTERNAL_H
#define CG_EDGE_HTTP_INTERNAL_H

#include <microhttpd.h>

#include "edge/http/http.h"

/* One for each connection, from its beginning to its end. */
struct cg_http_line {
	struct cg_list link;
	int fd;
	uint64_t late_at_ms; /* 0: the request is here */
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

/* Called at a request's headers, at each piece of its body, at its end, and when it is resumed. */
enum MHD_Result cg_http__on_access(void *owner, struct MHD_Connection *connection, const char *path,
    const char *method, const char *version, const char *data, size_t *data_len, void **context);
void cg_http__on_completed(void *owner, struct MHD_Connection *connection, void **context,
    enum MHD_RequestTerminationCode code);

#endif /* CG_EDGE_HTTP_INTERNAL_H */
