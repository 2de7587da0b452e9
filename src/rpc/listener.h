/*
 * The socket that callers connect to.
 *
 * We accept ourselves and hand the connections over: gRPC's own listener dies for good when
 * descriptors run out, and takes a unix socket's path from a server that is alive.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_LISTENER_H
#define CG_RPC_LISTENER_H

#include "base/base.h"
#include "loop/loop.h"

struct cg_rpc_listener;

/*
 * Binds and listens; connections wait until cg_rpc_listener_start().  See server.h.  `is_tls`: it
 * must be a TCP address, and may be one that others can route to.
 */
enum cg_status cg_rpc_listener_open(
    const char *address, bool is_tls, struct cg_rpc_listener **ret_listener, struct cg_error *err);

/* `on_connection` owns the descriptor, which is non-blocking and close-on-exec. */
void cg_rpc_listener_start(struct cg_rpc_listener *listener, struct cg_loop *loop,
    void (*on_connection)(void *owner, int fd), void *owner);

/* 0 for a unix socket. */
uint16_t cg_rpc_listener_port(const struct cg_rpc_listener *listener);

/* Accepts no more; the path is gone, the lock on it is kept. */
void cg_rpc_listener_stop(struct cg_rpc_listener *listener);

/* How often it ran out of descriptors or memory, and waited. */
uint64_t cg_rpc_listener_pauses(const struct cg_rpc_listener *listener);

/* Stops, and lets go of the path. */
void cg_rpc_listener_close(struct cg_rpc_listener *listener);

#endif /* CG_RPC_LISTENER_H */
