/*
 * The function library in an embedded Lua, as Redis embeds it: its own text, redis.call()
 * on the memory of a store, and locals that live as long as the server does and no longer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_SCRIPTING_H
#define CG_SIM_SCRIPTING_H

#include <lua.h>

#include "memory.h"

/* What redis.call() sees of its server. */
struct scripting_server {
	struct mem *mem;
	char run_id[41];
	char replid[41];
	int64_t (*now_us)(void);             /* TIME */
	bool (*is_away)(struct cg_view key); /* it is on another node; NULL: there is none */
	bool is_reading;                     /* the function at hand is flagged no-writes */
};

struct scripting;

/* Aborts where the text does not load: it is our own, and so are the changes to it. */
struct scripting *scripting_create(struct scripting_server *server, struct cg_view library);
void scripting_destroy(struct scripting *scripting);

/* One function call; the reply's bytes, RESP framing included, are valid until the next one. */
struct cg_view scripting_call(struct scripting *scripting, struct cg_view name,
    const struct cg_view *keys, size_t key_count, const struct cg_view *arguments,
    size_t argument_count);

/* Whether the last call ended with an error; the text is in the reply. */
bool scripting_failed(const struct scripting *scripting);

/* struct_pack.c */
void scripting_open_struct(lua_State *lua);
/* redis_call.c, redis_streams.c: its upvalue is the server. */
int scripting_redis_call(lua_State *lua);

#endif /* CG_SIM_SCRIPTING_H */
