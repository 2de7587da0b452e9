/* SPDX-License-Identifier: Apache-2.0 */
#include "scripting.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

struct scripting {
	lua_State *lua;
	struct scripting_server *server;
	char *reply;
	size_t reply_len, reply_capacity;
	bool failed;
};

/* redis.register_function{function_name =, callback =, flags = {...}}: kept in the registry. */
static int register_function(lua_State *lua)
{
	luaL_checktype(lua, 1, LUA_TTABLE);
	lua_getfield(lua, LUA_REGISTRYINDEX, "functions");
	lua_getfield(lua, 1, "function_name");
	lua_pushvalue(lua, 1);
	lua_settable(lua, -3);
	return 0;
}

static void open_libraries(lua_State *lua)
{
	static const luaL_Reg libraries[] = {{"", luaopen_base}, {LUA_TABLIBNAME, luaopen_table},
	    {LUA_STRLIBNAME, luaopen_string}, {LUA_MATHLIBNAME, luaopen_math}};

	for (size_t i = 0; i < CG_COUNT_OF(libraries); i++) {
		lua_pushcfunction(lua, libraries[i].func);
		lua_pushstring(lua, libraries[i].name);
		lua_call(lua, 1, 0);
	}
}

static void open_redis(struct scripting *scripting)
{
	lua_State *lua = scripting->lua;

	lua_newtable(lua);
	lua_setfield(lua, LUA_REGISTRYINDEX, "functions");
	lua_newtable(lua);
	lua_pushlightuserdata(lua, scripting->server);
	lua_pushcclosure(lua, scripting_redis_call, 1);
	lua_setfield(lua, -2, "call");
	lua_pushcfunction(lua, register_function);
	lua_setfield(lua, -2, "register_function");
	lua_setglobal(lua, "redis");
	scripting_open_struct(lua);
}

/* The library compiled, by its text: a seed begins many servers, a process many seeds. */
static struct {
	struct cg_view text;
	char *code;
	size_t len, capacity;
} compiled;

static int write_code(lua_State *lua, const void *data, size_t len, void *owner)
{
	(void)lua;
	(void)owner;
	if (compiled.len + len > compiled.capacity) {
		compiled.capacity = 2 * (compiled.len + len);
		compiled.code = realloc(compiled.code, compiled.capacity);
		CG_ASSERT(compiled.code != NULL);
	}
	memcpy(compiled.code + compiled.len, data, len);
	compiled.len += len;
	return 0;
}

static int load_library(lua_State *lua, struct cg_view text)
{
	bool is_compiled = compiled.text.data == text.data && compiled.text.len == text.len;

	if (is_compiled) {
		return luaL_loadbuffer(lua, compiled.code, compiled.len, "@callgate");
	}
	int status = luaL_loadbuffer(lua, text.data, text.len, "@callgate");
	if (status == 0) {
		compiled.text = text;
		compiled.len = 0;
		(void)lua_dump(lua, write_code, NULL);
	}
	return status;
}

struct scripting *scripting_create(struct scripting_server *server, struct cg_view library)
{
	struct scripting *scripting = calloc(1, sizeof *scripting);

	CG_ASSERT(scripting != NULL);
	scripting->server = server;
	scripting->lua = luaL_newstate();
	CG_ASSERT(scripting->lua != NULL);
	open_libraries(scripting->lua);
	open_redis(scripting);
	/* Its first line, #!lua name=..., is for FUNCTION LOAD. */
	if (library.len > 0 && library.data[0] == '#') {
		const char *line = memchr(library.data, '\n', library.len);
		library = (struct cg_view){line, library.len - (size_t)(line - library.data)};
	}
	if (load_library(scripting->lua, library) != 0 || lua_pcall(scripting->lua, 0, 0, 0) != 0) {
		(void)fprintf(stderr, "the function library does not load: %s\n",
		    lua_tostring(scripting->lua, -1));
		CG_ASSERT(false);
	}
	return scripting;
}

void scripting_destroy(struct scripting *scripting)
{
	lua_close(scripting->lua);
	free(scripting->reply);
	free(scripting);
}

bool scripting_failed(const struct scripting *scripting)
{
	return scripting->failed;
}

static void put(struct scripting *scripting, const void *data, size_t len)
{
	if (scripting->reply_len + len > scripting->reply_capacity) {
		scripting->reply_capacity = 2 * (scripting->reply_len + len) + 256;
		scripting->reply = realloc(scripting->reply, scripting->reply_capacity);
		CG_ASSERT(scripting->reply != NULL);
	}
	if (len > 0) {
		memcpy(scripting->reply + scripting->reply_len, data, len);
	}
	scripting->reply_len += len;
}

static struct cg_view fail(struct scripting *scripting, const char *why)
{
	scripting->failed = true;
	scripting->reply_len = 0;
	put(scripting, "-", 1);
	put(scripting, why, strcspn(why, "\r\n"));
	put(scripting, "\r\n", 2);
	lua_settop(scripting->lua, 0);
	return (struct cg_view){scripting->reply, scripting->reply_len};
}

/* The function at hand is on the top: whether it is flagged no-writes. */
static bool is_reader(lua_State *lua)
{
	bool reads = false;

	lua_getfield(lua, -1, "flags");
	for (int i = 1; lua_istable(lua, -1) && i <= (int)lua_objlen(lua, -1); i++) {
		lua_rawgeti(lua, -1, i);
		reads = reads || strcmp(lua_tostring(lua, -1), "no-writes") == 0;
		lua_pop(lua, 1);
	}
	lua_pop(lua, 1);
	return reads;
}

static void push_texts(lua_State *lua, const struct cg_view *texts, size_t count)
{
	lua_createtable(lua, (int)count, 0);
	for (size_t i = 0; i < count; i++) {
		lua_pushlstring(lua, texts[i].data, texts[i].len);
		lua_rawseti(lua, -2, (int)i + 1);
	}
}

struct cg_view scripting_call(struct scripting *scripting, struct cg_view name,
    const struct cg_view *keys, size_t key_count, const struct cg_view *arguments,
    size_t argument_count)
{
	lua_State *lua = scripting->lua;
	char head[32];
	size_t len = 0;

	scripting->failed = false;
	scripting->reply_len = 0;
	lua_getfield(lua, LUA_REGISTRYINDEX, "functions");
	lua_pushlstring(lua, name.data, name.len);
	lua_gettable(lua, -2);
	if (!lua_istable(lua, -1)) {
		return fail(scripting, "ERR Function not found");
	}
	scripting->server->is_reading = is_reader(lua);
	lua_getfield(lua, -1, "callback");
	push_texts(lua, keys, key_count);
	push_texts(lua, arguments, argument_count);
	if (lua_pcall(lua, 2, 1, 0) != 0) {
		return fail(scripting, lua_tostring(lua, -1));
	}
	const char *reply = lua_tolstring(lua, -1, &len);
	if (reply == NULL) {
		return fail(scripting, "ERR no reply");
	}
	put(scripting, head, (size_t)snprintf(head, sizeof head, "$%zu\r\n", len));
	put(scripting, reply, len);
	put(scripting, "\r\n", 2);
	lua_settop(lua, 0);
	return (struct cg_view){scripting->reply, scripting->reply_len};
}
