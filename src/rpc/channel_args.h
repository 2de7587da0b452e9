/*
 * How gRPC is set up: each argument with its reason.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_CHANNEL_ARGS_H
#define CG_RPC_CHANNEL_ARGS_H

#include <grpc/grpc.h>

#include "rpc/server.h"

#define CG_CHANNEL_ARGS_MAX 24

struct cg_rpc_channel_args {
	grpc_arg args[CG_CHANNEL_ARGS_MAX];
	grpc_channel_args list; /* points into `args` */
	grpc_resource_quota *quota;
};

/* How many calls a connection is told that it may have at once. */
uint32_t cg_rpc_streams_told(const struct cg_rpc_config *config);

/* After grpc_init().  Copied by the server that is created with them; deinit right after. */
void cg_rpc_channel_args_init(struct cg_rpc_channel_args *args, const struct cg_rpc_config *config);
/* One more, copied like the others. */
void cg_rpc_channel_args_add(struct cg_rpc_channel_args *args, const grpc_arg *arg);
void cg_rpc_channel_args_deinit(struct cg_rpc_channel_args *args);

#endif /* CG_RPC_CHANNEL_ARGS_H */
