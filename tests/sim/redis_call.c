/*
 * redis.call(), for the commands that the function library uses, with Redis's answers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "scripting.h"

struct call {
	lua_State *lua;
	struct scripting_server *server;
	int count; /* of arguments, the command included */
};

static struct cg_view argument(const struct call *call, int place)
{
	size_t len = 0;
	const char *text = luaL_checklstring(call->lua, place, &len);

	return (struct cg_view){text, len};
}

static bool is(struct cg_view text, const char *word)
{
	return cg_view_equal(text, cg_view_of(word));
}

static void push(const struct call *call, struct cg_view text)
{
	lua_pushlstring(call->lua, text.data, text.len);
}

static void check_writes(const struct call *call)
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

static void refuse_kind(const struct call *call)
{
	luaL_error(call->lua, "WRONGTYPE Operation against a key holding the wrong kind of value");
}

static struct mem_object *changed(const struct call *call, enum mem_kind kind)
{
	check_writes(call);
	struct mem_object *object = mem_change(call->server->mem, argument(call, 2), kind);
	if (object == NULL) {
		refuse_kind(call);
	}
	return object;
}

static const struct mem_object *found(const struct call *call, enum mem_kind kind)
{
	const struct mem_object *object = mem_find(call->server->mem, argument(call, 2));

	if (object != NULL && object->kind != kind) {
		refuse_kind(call);
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
	if (is(argument(call, 2), "server")) {
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
		push(call, mem_view(item->value));
	}
}

static int call_hget(const struct call *call)
{
	push_field(call, found(call, MEM_HASH), argument(call, 3));
	return 1;
}

static int call_hmget(const struct call *call)
{
	const struct mem_object *hash = found(call, MEM_HASH);

	lua_createtable(call->lua, call->count - 2, 0);
	for (int i = 3; i <= call->count; i++) {
		push_field(call, hash, argument(call, i));
		lua_rawseti(call->lua, -2, i - 2);
	}
	return 1;
}

static int call_hset(const struct call *call)
{
	check_count(call, call->count >= 4 && call->count % 2 == 0);
	struct mem_object *hash = changed(call, MEM_HASH);
	int added = 0;

	for (int i = 3; i + 1 <= call->count; i += 2) {
		added += mem_item_put(hash, argument(call, i), argument(call, i + 1), 0) ? 1 : 0;
	}
	lua_pushinteger(call->lua, added);
	return 1;
}

/* HDEL and ZREM. */
static int call_remove_items(const struct call *call, enum mem_kind kind)
{
	int removed = 0;

	check_writes(call);
	if (found(call, kind) != NULL) {
		struct mem_object *object = changed(call, kind);
		for (int i = 3; i <= call->count; i++) {
			removed += mem_item_remove(object, argument(call, i)) ? 1 : 0;
		}
		mem_tidy(call->server->mem, argument(call, 2));
	}
	lua_pushinteger(call->lua, removed);
	return 1;
}

/* HLEN, XLEN, ZCARD. */
static int call_length(const struct call *call, enum mem_kind kind)
{
	const struct mem_object *object = found(call, kind);

	lua_pushinteger(call->lua, object == NULL ? 0 : (lua_Integer)object->count);
	return 1;
}

static void push_fields(const struct call *call, const struct mem_object *hash)
{
	lua_newtable(call->lua);
	for (size_t i = 0; hash != NULL && i < hash->count; i++) {
		push(call, mem_view(hash->items[i].name));
		lua_rawseti(call->lua, -2, (int)(2 * i + 1));
		push(call, mem_view(hash->items[i].value));
		lua_rawseti(call->lua, -2, (int)(2 * i + 2));
	}
}

static int call_hgetall(const struct call *call)
{
	push_fields(call, found(call, MEM_HASH));
	return 1;
}

/* All at once, as Redis does with small ones. */
static int call_hscan(const struct call *call)
{
	const struct mem_object *hash = found(call, MEM_HASH);

	lua_createtable(call->lua, 2, 0);
	lua_pushliteral(call->lua, "0");
	lua_rawseti(call->lua, -2, 1);
	push_fields(call, hash);
	lua_rawseti(call->lua, -2, 2);
	return 1;
}

static int call_exists(const struct call *call)
{
	lua_pushinteger(call->lua, mem_find(call->server->mem, argument(call, 2)) != NULL);
	return 1;
}

/* DEL, UNLINK. */
static int call_delete(const struct call *call)
{
	int removed = 0;

	check_writes(call);
	for (int i = 2; i <= call->count; i++) {
		removed += mem_remove(call->server->mem, argument(call, i)) ? 1 : 0;
	}
	lua_pushinteger(call->lua, removed);
	return 1;
}

/* One member. */
static int call_zadd(const struct call *call)
{
	struct cg_view none = {NULL, 0};
	char *end = NULL;
	double score = strtod(argument(call, 3).data, &end);

	check_count(call, call->count == 4);
	if (*end != '\0') {
		return luaL_error(call->lua, "ERR value is not a valid float");
	}
	struct mem_object *zset = changed(call, MEM_ZSET);
	lua_pushinteger(call->lua, mem_item_put(zset, argument(call, 4), none, score) ? 1 : 0);
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
	const struct mem_object *zset = found(call, MEM_ZSET);
	const struct mem_item *item = zset == NULL ? NULL : mem_item_find(zset, argument(call, 3));

	if (item == NULL) {
		lua_pushboolean(call->lua, 0);
	} else {
		push_score(call, item->score);
	}
	return 1;
}

static int call_zrange(const struct call *call)
{
	const struct mem_object *zset = found(call, MEM_ZSET);
	long first = strtol(argument(call, 3).data, NULL, 10);
	long last = strtol(argument(call, 4).data, NULL, 10);
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
		push(call, mem_view(sorted[i]->name));
		lua_rawseti(call->lua, -2, at++);
		if (with_scores) {
			push_score(call, sorted[i]->score);
			lua_rawseti(call->lua, -2, at++);
		}
	}
	free(sorted);
	return 1;
}

static void push_id(const struct call *call, uint64_t epoch, uint64_t n)
{
	char text[48];

	(void)snprintf(text, sizeof text, "%" PRIu64 "-%" PRIu64, epoch, n);
	lua_pushstring(call->lua, text);
}

/* "<epoch>-*": the next n of this epoch, where it is not below the last id. */
static int call_xadd(const struct call *call)
{
	const char *id = argument(call, 3).data;
	char *end = NULL;
	uint64_t epoch = strtoull(id, &end, 10);

	if (end == id || strcmp(end, "-*") != 0) {
		return luaL_error(
		    call->lua, "ERR Invalid stream ID specified as stream command argument");
	}
	struct mem_object *stream = changed(call, MEM_STREAM);
	if (epoch < stream->last_epoch) {
		return luaL_error(call->lua,
		    "ERR The ID specified in XADD is equal or smaller than "
		    "the target stream top item");
	}
	stream->last_n = epoch == stream->last_epoch ? stream->last_n + 1 : 0;
	stream->last_epoch = epoch;
	mem_record_add(stream, argument(call, 4), argument(call, 5));
	push_id(call, stream->last_epoch, stream->last_n);
	return 1;
}

/* "-", "+", "<epoch>-<n>", "(<epoch>-<n>"; an epoch alone means its first id, or its last. */
static void parse_bound(const char *text, bool is_end, uint64_t *ret_epoch, uint64_t *ret_n)
{
	char *end = NULL;

	if (*text == '-' || *text == '+') {
		*ret_epoch = *ret_n = *text == '-' ? 0 : UINT64_MAX;
		return;
	}
	bool is_open = *text == '(';
	*ret_epoch = strtoull(text + (is_open ? 1 : 0), &end, 10);
	*ret_n = *end == '-' ? strtoull(end + 1, NULL, 10) : is_end ? UINT64_MAX : 0;
	if (is_open && !is_end) {
		(*ret_n)++;
	} else if (is_open) {
		(*ret_n)--;
	}
}

static bool is_at_or_after(const struct mem_item *item, uint64_t epoch, uint64_t n)
{
	return item->epoch > epoch || (item->epoch == epoch && item->n >= n);
}

static void push_record(const struct call *call, const struct mem_item *item)
{
	lua_createtable(call->lua, 2, 0);
	push_id(call, item->epoch, item->n);
	lua_rawseti(call->lua, -2, 1);
	lua_createtable(call->lua, 2, 0);
	push(call, mem_view(item->name));
	lua_rawseti(call->lua, -2, 1);
	push(call, mem_view(item->value));
	lua_rawseti(call->lua, -2, 2);
	lua_rawseti(call->lua, -2, 2);
}

/* XRANGE, and XREVRANGE with its bounds the other way round. */
static int call_xrange(const struct call *call, bool is_reversed)
{
	const struct mem_object *stream = found(call, MEM_STREAM);
	uint64_t from_epoch = 0, from_n = 0, to_epoch = 0, to_n = 0;
	long most = call->count > 4 ? lua_tointeger(call->lua, 6) : -1;
	size_t count = stream == NULL ? 0 : stream->count;
	int at = 1;

	parse_bound(argument(call, is_reversed ? 4 : 3).data, false, &from_epoch, &from_n);
	parse_bound(argument(call, is_reversed ? 3 : 4).data, true, &to_epoch, &to_n);
	lua_newtable(call->lua);
	for (size_t i = 0; i < count && at - 1 != most; i++) {
		const struct mem_item *item = &stream->items[is_reversed ? count - 1 - i : i];
		bool is_below_end = !is_at_or_after(item, to_epoch, to_n) ||
		    (item->epoch == to_epoch && item->n == to_n);
		if (is_at_or_after(item, from_epoch, from_n) && is_below_end) {
			push_record(call, item);
			lua_rawseti(call->lua, -2, at++);
		}
	}
	return 1;
}

static int call_xtrim(const struct call *call)
{
	uint64_t epoch = 0, n = 0;
	size_t count = 0;

	check_writes(call);
	if (!is(argument(call, 3), "MINID") || !is(argument(call, 4), "=")) {
		return luaL_error(call->lua, "ERR syntax error");
	}
	if (found(call, MEM_STREAM) == NULL) {
		lua_pushinteger(call->lua, 0);
		return 1;
	}
	struct mem_object *stream = changed(call, MEM_STREAM);
	parse_bound(argument(call, 5).data, false, &epoch, &n);
	while (count < stream->count && !is_at_or_after(&stream->items[count], epoch, n)) {
		count++;
	}
	mem_records_drop(stream, count);
	lua_pushinteger(call->lua, (lua_Integer)count);
	return 1;
}

static int push_ok(const struct call *call)
{
	lua_newtable(call->lua);
	lua_pushliteral(call->lua, "OK");
	lua_setfield(call->lua, -2, "ok");
	return 1;
}

static int call_xsetid(const struct call *call)
{
	uint64_t epoch = 0, n = 0;

	check_writes(call);
	if (found(call, MEM_STREAM) == NULL) {
		return luaL_error(call->lua, "ERR no such key");
	}
	struct mem_object *stream = changed(call, MEM_STREAM);
	parse_bound(argument(call, 3).data, false, &epoch, &n);
	if (stream->count > 0 && is_at_or_after(&stream->items[stream->count - 1], epoch, n + 1)) {
		return luaL_error(call->lua,
		    "ERR The ID specified in XSETID is smaller than the "
		    "target stream top item");
	}
	stream->last_epoch = epoch;
	stream->last_n = n;
	return push_ok(call);
}

static int call_xinfo(const struct call *call)
{
	/* XINFO STREAM <key> */
	const struct mem_object *stream = mem_find(call->server->mem, argument(call, 3));

	if (stream == NULL) {
		return luaL_error(call->lua, "ERR no such key");
	}
	if (stream->kind != MEM_STREAM) {
		refuse_kind(call);
	}
	lua_newtable(call->lua);
	lua_pushliteral(call->lua, "length");
	lua_rawseti(call->lua, -2, 1);
	lua_pushinteger(call->lua, (lua_Integer)stream->count);
	lua_rawseti(call->lua, -2, 2);
	lua_pushliteral(call->lua, "last-generated-id");
	lua_rawseti(call->lua, -2, 3);
	push_id(call, stream->last_epoch, stream->last_n);
	lua_rawseti(call->lua, -2, 4);
	return 1;
}

/* XGROUP CREATE <key> <group> $ MKSTREAM, XGROUP DESTROY <key> <group>: how an empty stream is made. */
static int call_xgroup(const struct call *call)
{
	bool creates = is(argument(call, 2), "CREATE");
	const struct mem_object *there = mem_find(call->server->mem, argument(call, 3));

	check_writes(call);
	if (there != NULL && there->kind != MEM_STREAM) {
		refuse_kind(call);
	}
	if (there == NULL && !creates) {
		return luaL_error(call->lua, "ERR The XGROUP subcommand requires the key to exist");
	}
	bool had_group = there != NULL && there->has_group;
	if (creates && had_group) {
		return luaL_error(call->lua, "BUSYGROUP Consumer Group name already exists");
	}
	mem_change(call->server->mem, argument(call, 3), MEM_STREAM)->has_group = creates;
	if (creates) {
		return push_ok(call);
	}
	lua_pushinteger(call->lua, had_group ? 1 : 0);
	return 1;
}

static int dispatch(const struct call *call, struct cg_view name)
{
	if (is(name, "HGET")) {
		return call_hget(call);
	} else if (is(name, "HMGET")) {
		return call_hmget(call);
	} else if (is(name, "HSET")) {
		return call_hset(call);
	} else if (is(name, "HDEL")) {
		return call_remove_items(call, MEM_HASH);
	} else if (is(name, "HLEN")) {
		return call_length(call, MEM_HASH);
	} else if (is(name, "HGETALL")) {
		return call_hgetall(call);
	} else if (is(name, "HSCAN")) {
		return call_hscan(call);
	} else if (is(name, "ZADD")) {
		return call_zadd(call);
	} else if (is(name, "ZREM")) {
		return call_remove_items(call, MEM_ZSET);
	} else if (is(name, "ZSCORE")) {
		return call_zscore(call);
	} else if (is(name, "ZRANGE")) {
		return call_zrange(call);
	}
	return -1;
}

static int dispatch_rest(const struct call *call, struct cg_view name)
{
	if (is(name, "TIME")) {
		return call_time(call);
	} else if (is(name, "INFO")) {
		return call_info(call);
	} else if (is(name, "EXISTS")) {
		return call_exists(call);
	} else if (is(name, "DEL") || is(name, "UNLINK")) {
		return call_delete(call);
	} else if (is(name, "XADD")) {
		return call_xadd(call);
	} else if (is(name, "XLEN")) {
		return call_length(call, MEM_STREAM);
	} else if (is(name, "XRANGE") || is(name, "XREVRANGE")) {
		return call_xrange(call, name.len > 6);
	} else if (is(name, "XTRIM")) {
		return call_xtrim(call);
	} else if (is(name, "XINFO")) {
		return call_xinfo(call);
	} else if (is(name, "XSETID")) {
		return call_xsetid(call);
	} else if (is(name, "XGROUP")) {
		return call_xgroup(call);
	}
	return luaL_error(
	    call->lua, "ERR unknown command of the simulation's store: %s", name.data);
}

int scripting_redis_call(lua_State *lua)
{
	struct call call = {.lua = lua,
	    .server = lua_touserdata(lua, lua_upvalueindex(1)),
	    .count = lua_gettop(lua)};
	struct cg_view name = argument(&call, 1);
	int results = dispatch(&call, name);

	return results >= 0 ? results : dispatch_rest(&call, name);
}
