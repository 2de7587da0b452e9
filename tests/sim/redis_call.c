/*
 * redis.call(), for the commands that the function library uses, with Redis's answers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "redis_call.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct cg_view call_argument(const struct call *call, int place)
{
	size_t len = 0;
	const char *text = luaL_checklstring(call->lua, place, &len);

	return (struct cg_view){text, len};
}

struct cg_view call_key(const struct call *call, int place)
{
	struct cg_view key = call_argument(call, place);

	if (call->server->is_away != NULL && call->server->is_away(key)) {
		luaL_error(
		    call->lua, "ERR Script attempted to access a non local key in a cluster node");
	}
	return key;
}

bool call_is(struct cg_view text, const char *word)
{
	return cg_view_equal(text, cg_view_of(word));
}

void call_push(const struct call *call, struct cg_view text)
{
	lua_pushlstring(call->lua, text.data, text.len);
}

void call_check_writes(const struct call *call)
{
	if (call->server->is_reading) {
		luaL_error(call->lua, "ERR Write commands are not allowed from read-only scripts.");
	}
}

static void check_count(const struct call *call, bool is_right)
{
	if (!is_right) {
		luaL_error(call->lua, "ERR Wrong number of args calling Redis command from script");
	}
}

void call_refuse_kind(const struct call *call)
{
	luaL_error(call->lua, "WRONGTYPE Operation against a key holding the wrong kind of value");
}

struct mem_object *call_changed(const struct call *call, enum mem_kind kind)
{
	call_check_writes(call);
	struct mem_object *object = mem_change(call->server->mem, call_key(call, 2), kind);
	if (object == NULL) {
		call_refuse_kind(call);
	}
	return object;
}

const struct mem_object *call_found(const struct call *call, enum mem_kind kind)
{
	const struct mem_object *object = mem_find(call->server->mem, call_key(call, 2));

	if (object != NULL && object->kind != kind) {
		call_refuse_kind(call);
	}
	return object;
}

static int call_time(const struct call *call)
{
	int64_t now_us = call->server->now_us();
	char text[24];

	lua_createtable(call->lua, 2, 0);
	(void)snprintf(text, sizeof text, "%" PRId64, now_us / 1000000);
	lua_pushstring(call->lua, text);
	lua_rawseti(call->lua, -2, 1);
	(void)snprintf(text, sizeof text, "%" PRId64, now_us % 1000000);
	lua_pushstring(call->lua, text);
	lua_rawseti(call->lua, -2, 2);
	return 1;
}

static int call_info(const struct call *call)
{
	if (call_is(call_argument(call, 2), "server")) {
		lua_pushfstring(call->lua, "# Server\r\nredis_version:7.0.15\r\nrun_id:%s\r\n",
		    call->server->run_id);
	} else {
		lua_pushfstring(call->lua, "# Replication\r\nrole:master\r\nmaster_replid:%s\r\n",
		    call->server->replid);
	}
	return 1;
}

static void push_field(const struct call *call, const struct mem_object *hash, struct cg_view name)
{
	const struct mem_item *item = hash == NULL ? NULL : mem_item_find(hash, name);

	if (item == NULL) {
		lua_pushboolean(call->lua, 0);
	} else {
		call_push(call, mem_view(item->value));
	}
}

static int call_hget(const struct call *call)
{
	push_field(call, call_found(call, MEM_HASH), call_argument(call, 3));
	return 1;
}

static int call_hmget(const struct call *call)
{
	const struct mem_object *hash = call_found(call, MEM_HASH);

	lua_createtable(call->lua, call->count - 2, 0);
	for (int i = 3; i <= call->count; i++) {
		push_field(call, hash, call_argument(call, i));
		lua_rawseti(call->lua, -2, i - 2);
	}
	return 1;
}

static int call_hset(const struct call *call)
{
	check_count(call, call->count >= 4 && call->count % 2 == 0);
	struct mem_object *hash = call_changed(call, MEM_HASH);
	int added = 0;

	for (int i = 3; i + 1 <= call->count; i += 2) {
		added += mem_item_put(hash, call_argument(call, i), call_argument(call, i + 1), 0)
		    ? 1
		    : 0;
	}
	lua_pushinteger(call->lua, added);
	return 1;
}

/* HDEL and ZREM. */
static int call_remove_items(const struct call *call, enum mem_kind kind)
{
	int removed = 0;

	call_check_writes(call);
	if (call_found(call, kind) != NULL) {
		struct mem_object *object = call_changed(call, kind);
		for (int i = 3; i <= call->count; i++) {
			removed += mem_item_remove(object, call_argument(call, i)) ? 1 : 0;
		}
		mem_tidy(call->server->mem, call_argument(call, 2));
	}
	lua_pushinteger(call->lua, removed);
	return 1;
}

/* HLEN, XLEN, ZCARD. */
static int call_length(const struct call *call, enum mem_kind kind)
{
	const struct mem_object *object = call_found(call, kind);

	lua_pushinteger(call->lua, object == NULL ? 0 : (lua_Integer)object->count);
	return 1;
}

static void push_fields(const struct call *call, const struct mem_object *hash)
{
	lua_newtable(call->lua);
	for (size_t i = 0; hash != NULL && i < hash->count; i++) {
		call_push(call, mem_view(hash->items[i].name));
		lua_rawseti(call->lua, -2, (int)(2 * i + 1));
		call_push(call, mem_view(hash->items[i].value));
		lua_rawseti(call->lua, -2, (int)(2 * i + 2));
	}
}

static int call_hgetall(const struct call *call)
{
	push_fields(call, call_found(call, MEM_HASH));
	return 1;
}

/* All at once, as Redis does with small ones. */
static int call_hscan(const struct call *call)
{
	const struct mem_object *hash = call_found(call, MEM_HASH);

	lua_createtable(call->lua, 2, 0);
	lua_pushliteral(call->lua, "0");
	lua_rawseti(call->lua, -2, 1);
	push_fields(call, hash);
	lua_rawseti(call->lua, -2, 2);
	return 1;
}

static int call_exists(const struct call *call)
{
	lua_pushinteger(call->lua, mem_find(call->server->mem, call_key(call, 2)) != NULL);
	return 1;
}

/* DEL, UNLINK. */
static int call_delete(const struct call *call)
{
	int removed = 0;

	call_check_writes(call);
	for (int i = 2; i <= call->count; i++) {
		removed += mem_remove(call->server->mem, call_key(call, i)) ? 1 : 0;
	}
	lua_pushinteger(call->lua, removed);
	return 1;
}

/* One member. */
static int call_zadd(const struct call *call)
{
	struct cg_view none = {NULL, 0};
	char *end = NULL;
	double score = strtod(call_argument(call, 3).data, &end);

	check_count(call, call->count == 4);
	if (*end != '\0') {
		return luaL_error(call->lua, "ERR value is not a valid float");
	}
	struct mem_object *zset = call_changed(call, MEM_ZSET);
	lua_pushinteger(call->lua, mem_item_put(zset, call_argument(call, 4), none, score) ? 1 : 0);
	return 1;
}

static int compare_scores(const void *a, const void *b)
{
	const struct mem_item *const *left = a;
	const struct mem_item *const *right = b;

	if ((*left)->score != (*right)->score) {
		return (*left)->score < (*right)->score ? -1 : 1;
	}
	return cg_view_compare(mem_view((*left)->name), mem_view((*right)->name));
}

/* A score as Redis prints it: the shortest text that reads as the same number. */
static void push_score(const struct call *call, double score)
{
	char text[32];

	if (score > 1e300) {
		lua_pushliteral(call->lua, "inf");
		return;
	}
	(void)snprintf(text, sizeof text, "%.17g", score);
	lua_pushstring(call->lua, text);
}

static int call_zscore(const struct call *call)
{
	const struct mem_object *zset = call_found(call, MEM_ZSET);
	const struct mem_item *item =
	    zset == NULL ? NULL : mem_item_find(zset, call_argument(call, 3));

	if (item == NULL) {
		lua_pushboolean(call->lua, 0);
	} else {
		push_score(call, item->score);
	}
	return 1;
}

static int call_zrange(const struct call *call)
{
	const struct mem_object *zset = call_found(call, MEM_ZSET);
	long first = strtol(call_argument(call, 3).data, NULL, 10);
	long last = strtol(call_argument(call, 4).data, NULL, 10);
	bool with_scores = call->count > 4;
	size_t count = zset == NULL ? 0 : zset->count;
	const struct mem_item **sorted = malloc((count + 1) * sizeof(void *));
	int at = 1;

	CG_ASSERT(sorted != NULL);
	for (size_t i = 0; i < count; i++) {
		sorted[i] = &zset->items[i];
	}
	qsort(sorted, count, sizeof(void *), compare_scores);
	lua_newtable(call->lua);
	for (size_t i = (size_t)first; i < count && (last < 0 || i <= (size_t)last); i++) {
		call_push(call, mem_view(sorted[i]->name));
		lua_rawseti(call->lua, -2, at++);
		if (with_scores) {
			push_score(call, sorted[i]->score);
			lua_rawseti(call->lua, -2, at++);
		}
	}
	free(sorted);
	return 1;
}

static int dispatch(const struct call *call, struct cg_view name)
{
	if (call_is(name, "HGET")) {
		return call_hget(call);
	} else if (call_is(name, "HMGET")) {
		return call_hmget(call);
	} else if (call_is(name, "HSET")) {
		return call_hset(call);
	} else if (call_is(name, "HDEL")) {
		return call_remove_items(call, MEM_HASH);
	} else if (call_is(name, "HLEN")) {
		return call_length(call, MEM_HASH);
	} else if (call_is(name, "HGETALL")) {
		return call_hgetall(call);
	} else if (call_is(name, "HSCAN")) {
		return call_hscan(call);
	} else if (call_is(name, "ZADD")) {
		return call_zadd(call);
	} else if (call_is(name, "ZREM")) {
		return call_remove_items(call, MEM_ZSET);
	} else if (call_is(name, "ZSCORE")) {
		return call_zscore(call);
	} else if (call_is(name, "ZRANGE")) {
		return call_zrange(call);
	}
	return -1;
}

static int dispatch_rest(const struct call *call, struct cg_view name)
{
	if (call_is(name, "TIME")) {
		return call_time(call);
	} else if (call_is(name, "INFO")) {
		return call_info(call);
	} else if (call_is(name, "EXISTS")) {
		return call_exists(call);
	} else if (call_is(name, "DEL") || call_is(name, "UNLINK")) {
		return call_delete(call);
	} else if (call_is(name, "XLEN")) {
		return call_length(call, MEM_STREAM);
	}
	return luaL_error(
	    call->lua, "ERR unknown command of the simulation's store: %s", name.data);
}

int scripting_redis_call(lua_State *lua)
{
	struct call call = {.lua = lua,
	    .server = lua_touserdata(lua, lua_upvalueindex(1)),
	    .count = lua_gettop(lua)};
	struct cg_view name = call_argument(&call, 1);
	int results = dispatch(&call, name);

	results = results >= 0 ? results : call_stream(&call, name);
	return results >= 0 ? results : dispatch_rest(&call, name);
}
