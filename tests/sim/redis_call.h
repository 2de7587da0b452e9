/*
 * What the commands of redis.call() share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_REDIS_CALL_H
#define CG_SIM_REDIS_CALL_H

#include <lauxlib.h>

#include "scripting.h"

struct call {
	lua_State *lua;
	struct scripting_server *server;
	int count; /* of arguments, the command included */
};

struct cg_view call_argument(const struct call *call, int place);
/* The argument is a key: an error ends the call where it is not here. */
struct cg_view call_key(const struct call *call, int place);
bool call_is(struct cg_view text, const char *word);
void call_push(const struct call *call, struct cg_view text);
/* These four end the call with an error where it is not so. */
void call_refuse_kind(const struct call *call);
void call_check_writes(const struct call *call);
struct mem_object *call_changed(const struct call *call, enum mem_kind kind);
const struct mem_object *call_found(const struct call *call, enum mem_kind kind); /* NULL: none */

/* redis_streams.c: the results of a command on streams; -1: it is none. */
int call_stream(const struct call *call, struct cg_view name);

#endif /* CG_SIM_REDIS_CALL_H */
