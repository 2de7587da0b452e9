/*
 * The lines of a door: what is served there, by which path, and who takes it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "rpc/rpc_internal.h"

#define HEALTH_PATH           "/grpc.health.v1.Health/Check"
#define WATCH_PATH            "/callgate.v1.Wallets/Watch"
#define SESSION_PATH          "/callgate.v1.Gate/Session"
#define HEALTH_WATCH_PATH     "/grpc.health.v1.Health/Watch"
#define REFLECTION_PATH       "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define REFLECTION_ALPHA_PATH "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

/* On the path of live calls, and not: how many requests wait inside gRPC for a burst. */
#define POSTED_HOT  64
#define POSTED_COLD 8

static const struct {
	const char *path;
	uint32_t posted;
} methods[CG_METHOD_COUNT] = {
    [CG_METHOD_AUTHORIZE] = {"/callgate.v1.Gate/Authorize", 2 * POSTED_HOT},
    [CG_METHOD_START] = {"/callgate.v1.Gate/Start", POSTED_HOT},
    [CG_METHOD_STOP] = {"/callgate.v1.Gate/Stop", POSTED_HOT},
    [CG_METHOD_SETTLE] = {"/callgate.v1.Gate/Settle", 2 * POSTED_HOT},
    [CG_METHOD_CANCEL] = {"/callgate.v1.Gate/Cancel", POSTED_HOT},
    [CG_METHOD_ADOPT] = {"/callgate.v1.Gate/Adopt", POSTED_COLD},
    [CG_METHOD_CREATE_WALLET] = {"/callgate.v1.Wallets/CreateWallet", POSTED_COLD},
    [CG_METHOD_GET_WALLET] = {"/callgate.v1.Wallets/GetWallet", POSTED_COLD},
    [CG_METHOD_UPDATE_WALLET] = {"/callgate.v1.Wallets/UpdateWallet", POSTED_COLD},
    [CG_METHOD_GET_BALANCE] = {"/callgate.v1.Wallets/GetBalance", POSTED_HOT},
    [CG_METHOD_GET_CALL] = {"/callgate.v1.Wallets/GetCall", POSTED_COLD},
    [CG_METHOD_LIST_CALLS] = {"/callgate.v1.Wallets/ListCalls", POSTED_COLD},
    [CG_METHOD_CREDIT] = {"/callgate.v1.Wallets/Credit", POSTED_COLD},
    [CG_METHOD_CHARGE] = {"/callgate.v1.Wallets/Charge", POSTED_COLD},
};

void cg_lines__set_up(struct cg_rpc_door *door)
{
	struct cg_rpc_server *server = door->server;
	struct cg_rpc_line *lines = door->lines;

	for (size_t i = 0; i < CG_METHOD_COUNT; i++) {
		lines[i] = (struct cg_rpc_line){
		    .server = server,
		    .path = methods[i].path,
		    .method = (enum cg_method)i,
		    .posted_wanted = methods[i].posted,
		    .on_request = cg_calls__on_request,
		};
	}
	lines[CG_LINE_HEALTH] = (struct cg_rpc_line){
	    .server = server,
	    .path = HEALTH_PATH,
	    .posted_wanted = POSTED_HOT,
	    .on_request = cg_health__on_request,
	};
	lines[CG_LINE_WATCH] = (struct cg_rpc_line){
	    .server = server,
	    .path = WATCH_PATH,
	    .posted_wanted = POSTED_HOT,
	    .on_request = server->events != NULL ? cg_watches__on_request : cg_calls__on_unknown,
	};
	lines[CG_LINE_SESSION] = (struct cg_rpc_line){
	    .server = server,
	    .path = SESSION_PATH,
	    .reads_itself = true,
	    .posted_wanted = POSTED_COLD,
	    .on_request = cg_sessions__on_request,
	};
	lines[CG_LINE_HEALTH_WATCH] = (struct cg_rpc_line){
	    .server = server,
	    .path = HEALTH_WATCH_PATH,
	    .posted_wanted = POSTED_COLD,
	    .on_request = cg_health__on_watch,
	};
	for (size_t i = CG_LINE_REFLECTION; i <= CG_LINE_REFLECTION_ALPHA; i++) {
		bool is_alpha = i == CG_LINE_REFLECTION_ALPHA;
		lines[i] = (struct cg_rpc_line){
		    .server = server,
		    .path = is_alpha ? REFLECTION_ALPHA_PATH : REFLECTION_PATH,
		    .reads_itself = true,
		    .posted_wanted = POSTED_COLD,
		    .on_request = server->config.reflection ? cg_reflection__on_request
		                                            : cg_calls__on_unknown,
		};
	}
	lines[CG_LINE_UNKNOWN] = (struct cg_rpc_line){
	    .server = server,
	    .posted_wanted = POSTED_COLD,
	    .on_request = cg_calls__on_unknown,
	};
	for (size_t i = 0; i < CG_LINE_COUNT; i++) {
		lines[i].door = door;
	}
}
