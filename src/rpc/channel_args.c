/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/channel_args.h"

#include "rpc/connections.h"

#include <limits.h>

/* gRPC's own memory; what a stuck peer makes it hold comes on top of it. */
#define QUOTA_BYTES ((size_t)256 * 1024 * 1024)

/* gRPC takes keys without const and writes to none. */
static char *writable(const char *key)
{
	union {
		const char *key;
		char *writable;
	} both = {.key = key};

	return both.writable;
}

static void add(struct cg_rpc_channel_args *args, const char *key, int value)
{
	CG_ASSERT(args->list.num_args < CG_CHANNEL_ARGS_MAX);
	args->args[args->list.num_args++] =
	    (grpc_arg){.type = GRPC_ARG_INTEGER, .key = writable(key), .value.integer = value};
}

/* All watches may come over one connection, and leave its requests their share. */
uint32_t cg_rpc_streams_told(const struct cg_rpc_config *config)
{
	return config->streams_max + config->watchers_max;
}

static int clamp(uint32_t value)
{
	return value > INT_MAX ? INT_MAX : (int)value;
}

void cg_rpc_channel_args_init(struct cg_rpc_channel_args *args, const struct cg_rpc_config *config)
{
	*args = (struct cg_rpc_channel_args){.list.args = args->args};

	add(args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, clamp(config->message_bytes_max));
	add(args, GRPC_ARG_MAX_METADATA_SIZE, clamp(config->metadata_bytes_max));
	add(args, GRPC_ARG_MAX_CONCURRENT_STREAMS, clamp(cg_rpc_streams_told(config)));

	/* The receive limit is looked at before inflating: 54 KB of gzip became 57 MB. */
	add(args, GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
	add(args, GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0);
	/* Book-keeping and probes that small messages on a local socket do not need. */
	add(args, GRPC_ARG_ENABLE_CHANNELZ, 0);
	add(args, GRPC_ARG_ENABLE_CENSUS, 0);
	add(args, GRPC_ARG_HTTP2_BDP_PROBE, 0);

	/* A peer that is gone without a word, and connections that nobody uses. */
	add(args, GRPC_ARG_KEEPALIVE_TIME_MS, 30000);
	add(args, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
	add(args, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
	add(args, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);
	add(args, GRPC_ARG_MAX_CONNECTION_IDLE_MS, clamp(config->connection_idle_ms));
	add(args, GRPC_ARG_MAX_CONNECTION_AGE_MS, clamp(config->connection_age_ms));
	add(args, GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, clamp(config->connection_grace_ms));
	add(args, GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, CG_GREETING_MAX_MS);
	/* Two servers would share a port without noticing. */
	add(args, GRPC_ARG_ALLOW_REUSEPORT, 0);

	args->quota = grpc_resource_quota_create("callgated");
	grpc_resource_quota_resize(args->quota, QUOTA_BYTES);
	CG_ASSERT(args->list.num_args < CG_CHANNEL_ARGS_MAX);
	args->args[args->list.num_args++] = (grpc_arg){
	    .type = GRPC_ARG_POINTER,
	    .key = writable(GRPC_ARG_RESOURCE_QUOTA),
	    .value.pointer = {args->quota, grpc_resource_quota_arg_vtable()},
	};
}

void cg_rpc_channel_args_add(struct cg_rpc_channel_args *args, const grpc_arg *arg)
{
	CG_ASSERT(args->list.num_args < CG_CHANNEL_ARGS_MAX);
	args->args[args->list.num_args++] = *arg;
}

void cg_rpc_channel_args_deinit(struct cg_rpc_channel_args *args)
{
	grpc_resource_quota_unref(args->quota);
}
