/*
 * A look at ourselves from outside: a connection to the address that callers use, a health check
 * on it, and again every few seconds.  Nothing else notices a listener that is dead while the
 * process lives, or a socket that was taken away.
 *
 * It speaks just enough HTTP/2 for one request, by hand: gRPC's own client would poll the
 * server's descriptors from a second place.  Any answer will do, a refusal too, and so will a
 * connection that is accepted and closed: whoever does that is alive.  Not being able to look (no
 * descriptors, or a process that was stopped meanwhile) says nothing and counts as nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_PROBE_H
#define CG_RPC_PROBE_H

#include "base/base.h"
#include "loop/loop.h"

struct cg_rpc_probe;

struct cg_rpc_probe_config {
	const char *address;      /* "unix:/path" or "host:port"; copied */
	uint32_t interval_ms;     /* between two looks */
	uint32_t timeout_ms;      /* one look */
	uint32_t failures_max;    /* so many in a row: dead */
	const uint64_t *accepted; /* how many connections the server has accepted: it moves */
	bool is_encrypted;        /* its end is not ours to speak with: any bytes are an answer */
};

/* `on_dead` runs once; the probe has stopped by itself then, and is still to be closed. */
struct cg_rpc_probe *cg_rpc_probe_open(struct cg_loop *loop,
    const struct cg_rpc_probe_config *config, void (*on_dead)(void *owner), void *owner);

/* Looks that failed, and looks. */
const uint64_t *cg_rpc_probe_failures(const struct cg_rpc_probe *probe);
const uint64_t *cg_rpc_probe_looks(const struct cg_rpc_probe *probe);

/* No more looks: the server is about to end by intent, and `accepted` with it. */
void cg_rpc_probe_stop(struct cg_rpc_probe *probe);

void cg_rpc_probe_close(struct cg_rpc_probe *probe);

#endif /* CG_RPC_PROBE_H */
