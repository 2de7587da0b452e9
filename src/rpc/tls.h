/*
 * TLS with client certificates, on connections that we have accepted ourselves.
 *
 * gRPC takes connections from outside at an address "external:NAME": it then has no listener of
 * its own, which would die for good when descriptors run out.  Certificates are read anew when
 * their files have changed, at most once a second, and on reload; what cannot be used is said in
 * the log, and what was there before stays.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_TLS_H
#define CG_RPC_TLS_H

#include <grpc/grpc.h>

#include "base/base.h"
#include "loop/loop.h"
#include "rpc/counters.h"

struct cg_rpc_tls_files {
	const char *certificate; /* the server's chain */
	const char *key;
	const char *client_authorities; /* that client certificates must come from */
};

struct cg_rpc_tls;

/* Reads the files, whose names must outlive it.  CG_INVALID: `err` says which and why. */
enum cg_status cg_rpc_tls_open(struct cg_loop *loop, const struct cg_rpc_tls_files *files,
    struct cg_rpc_counters *counters, struct cg_rpc_tls **ret_tls, struct cg_error *err);

/* The channel argument that the server must be created with; valid as long as `tls`. */
grpc_arg cg_rpc_tls_arg(struct cg_rpc_tls *tls);

/* Before the server starts.  CG_INTERNAL: this gRPC takes no connections from outside. */
enum cg_status cg_rpc_tls_attach(struct cg_rpc_tls *tls, grpc_server *server, struct cg_error *err);

/* Hands an accepted connection over; gRPC owns it. */
void cg_rpc_tls_take(struct cg_rpc_tls *tls, int fd);

/* Looks at the files now; false: what they hold cannot be used, which has been logged. */
bool cg_rpc_tls_reload(struct cg_rpc_tls *tls);

/* After the server is gone. */
void cg_rpc_tls_close(struct cg_rpc_tls *tls);

#endif /* CG_RPC_TLS_H */
