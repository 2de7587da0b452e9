/*
 * What an operator sees of a running sidecar, over HTTP on a unix socket or a loopback address:
 *
 *   GET /metrics   everything that is registered, as Prometheus text
 *   GET /healthz   200 while the loop turns, else 503: whether to restart it
 *   GET /readyz    200 while calls can be let in, else 503 and why: whether to send it traffic
 *
 * Read-only, without authentication, on the loop: requests are small, answers come from memory,
 * and the text is made anew every 50 ms at most.  Each connection has one answer and
 * CG_ADMIN_AGE_MAX_MS; there are CG_ADMIN_CONNECTIONS_MAX, of which the oldest is cut for a new
 * one.  Whoever is slow costs one of these places and the answer that he does not take.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_ADMIN_ADMIN_H
#define CG_ADMIN_ADMIN_H

#include "base/base.h"
#include "loop/loop.h"

#define CG_ADMIN_CONNECTIONS_MAX 16
#define CG_ADMIN_AGE_MAX_MS      10000

struct cg_admin;

struct cg_admin_config {
	const char *listen; /* "unix:/path", "127.0.0.1:port" or "[::1]:port" */
	const struct cg_metrics *metrics;
	/* Whether all is well; and why, a line or a few, into `text`. */
	bool (*is_alive)(void *owner, struct cg_buffer *text);
	bool (*is_ready)(void *owner, struct cg_buffer *text);
	void *owner;
};

/*
 * Binds and begins to serve.  A unix socket is 0660.  CG_INVALID: an address that is not
 * loopback, or that cannot be bound; CG_WRONG_STATE: another server answers at this path.
 */
enum cg_status cg_admin_open(struct cg_loop *loop, const struct cg_admin_config *config,
    struct cg_admin **ret_admin, struct cg_error *err);

/* Cuts every connection; the path is gone. */
void cg_admin_close(struct cg_admin *admin);

/* Registers what the kernel knows of this process: memory, descriptors, CPU, start. */
void cg_admin_measure_process(struct cg_metrics *metrics);

#endif /* CG_ADMIN_ADMIN_H */
