/*
 * redis.call() on streams: XADD, XRANGE, XREVRANGE, XTRIM, XSETID, XINFO, XGROUP.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "redis_call.h"

static void push_id(const struct call *call, uint64_t epoch, uint64_t n)
{
	char text[48];

	(void)snprintf(text, sizeof text, "%" PRIu64 "-%" PRIu64, epoch, n);
	lua_pushstring(call->lua, text);
}

/* "<epoch>-*": the next n of this epoch, where it is not below the last id. */
static int call_xadd(const struct call *call)
{
	const char *id = call_argument(call, 3).data;
	char *end = NULL;
	uint64_t epoch = strtoull(id, &end, 10);

	if (end == id || strcmp(end, "-*") != 0) {
		return luaL_error(
		    call->lua, "ERR Invalid stream ID specified as stream command argument");
	}
	struct mem_object *stream = call_changed(call, MEM_STREAM);
	if (epoch < stream->last_epoch) {
		return luaL_error(call->lua,
		    "ERR The ID specified in XADD is equal or smaller than "
		    "the target stream top item");
	}
	stream->last_n = epoch == stream->last_epoch ? stream->last_n + 1 : 0;
	stream->last_epoch = epoch;
	mem_record_add(stream, call_argument(call, 4), call_argument(call, 5));
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
	call_push(call, mem_view(item->name));
	lua_rawseti(call->lua, -2, 1);
	call_push(call, mem_view(item->value));
	lua_rawseti(call->lua, -2, 2);
	lua_rawseti(call->lua, -2, 2);
}

/* XRANGE, and XREVRANGE with its bounds the other way round. */
static int call_xrange(const struct call *call, bool is_reversed)
{
	const struct mem_object *stream = call_found(call, MEM_STREAM);
	uint64_t from_epoch = 0, from_n = 0, to_epoch = 0, to_n = 0;
	long most = call->count > 4 ? lua_tointeger(call->lua, 6) : -1;
	size_t count = stream == NULL ? 0 : stream->count;
	int at = 1;

	parse_bound(call_argument(call, is_reversed ? 4 : 3).data, false, &from_epoch, &from_n);
	parse_bound(call_argument(call, is_reversed ? 3 : 4).data, true, &to_epoch, &to_n);
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

	call_check_writes(call);
	if (!call_is(call_argument(call, 3), "MINID") || !call_is(call_argument(call, 4), "=")) {
		return luaL_error(call->lua, "ERR syntax error");
	}
	if (call_found(call, MEM_STREAM) == NULL) {
		lua_pushinteger(call->lua, 0);
		return 1;
	}
	struct mem_object *stream = call_changed(call, MEM_STREAM);
	parse_bound(call_argument(call, 5).data, false, &epoch, &n);
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

	call_check_writes(call);
	if (call_found(call, MEM_STREAM) == NULL) {
		return luaL_error(call->lua, "ERR no such key");
	}
	struct mem_object *stream = call_changed(call, MEM_STREAM);
	parse_bound(call_argument(call, 3).data, false, &epoch, &n);
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
	const struct mem_object *stream = mem_find(call->server->mem, call_key(call, 3));

	if (stream == NULL) {
		return luaL_error(call->lua, "ERR no such key");
	}
	if (stream->kind != MEM_STREAM) {
		call_refuse_kind(call);
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
	bool creates = call_is(call_argument(call, 2), "CREATE");
	const struct mem_object *there = mem_find(call->server->mem, call_key(call, 3));

	call_check_writes(call);
	if (there != NULL && there->kind != MEM_STREAM) {
		call_refuse_kind(call);
	}
	if (there == NULL && !creates) {
		return luaL_error(call->lua, "ERR The XGROUP subcommand requires the key to exist");
	}
	bool had_group = there != NULL && there->has_group;
	if (creates && had_group) {
		return luaL_error(call->lua, "BUSYGROUP Consumer Group name already exists");
	}
	mem_change(call->server->mem, call_argument(call, 3), MEM_STREAM)->has_group = creates;
	if (creates) {
		return push_ok(call);
	}
	lua_pushinteger(call->lua, had_group ? 1 : 0);
	return 1;
}

int call_stream(const struct call *call, struct cg_view name)
{
	if (call_is(name, "XADD")) {
		return call_xadd(call);
	} else if (call_is(name, "XRANGE") || call_is(name, "XREVRANGE")) {
		return call_xrange(call, name.len > 6);
	} else if (call_is(name, "XTRIM")) {
		return call_xtrim(call);
	} else if (call_is(name, "XINFO")) {
		return call_xinfo(call);
	} else if (call_is(name, "XSETID")) {
		return call_xsetid(call);
	} else if (call_is(name, "XGROUP")) {
		return call_xgroup(call);
	}
	return -1;
}
