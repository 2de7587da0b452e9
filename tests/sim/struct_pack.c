/*
 * struct.pack() and struct.unpack(), as Redis has them, for the formats that begin with '<'
 * and are made of B, H, I<n>, i<n>, d and c<n>.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <lauxlib.h>
#include <lua.h>

#include "scripting.h"

static size_t take_number(const char **at, size_t unless)
{
	size_t value = 0;

	if (**at < '0' || **at > '9') {
		return unless;
	}
	while (**at >= '0' && **at <= '9') {
		value = value * 10 + (size_t)(*(*at)++ - '0');
	}
	return value;
}

/* The size of the option at hand; `*at` moves behind it. */
static size_t take_size(lua_State *lua, char option, const char **at)
{
	switch (option) {
	case 'B':
		return 1;
	case 'H':
		return 2;
	case 'd':
		return 8;
	case 'I':
	case 'i': {
		size_t size = take_number(at, 4);
		if (size < 1 || size > 8) {
			luaL_error(lua, "integral size %d is out of limits", (int)size);
		}
		return size;
	}
	case 'c':
		return take_number(at, 1);
	default:
		luaL_error(lua, "invalid format option '%c'", option);
		return 0;
	}
}

static void put_integer(luaL_Buffer *buffer, lua_Number number, size_t size)
{
	/* As Redis does: a negative number goes through a signed integer. */
	uint64_t value = number < 0 ? (uint64_t)(int64_t)number : (uint64_t)number;

	for (size_t i = 0; i < size; i++) {
		luaL_addchar(buffer, (char)(value & 255));
		value >>= 8;
	}
}

static void put_bytes(lua_State *lua, luaL_Buffer *buffer, int argument, size_t size)
{
	size_t len = 0;
	const char *text = luaL_checklstring(lua, argument, &len);

	if (size == 0) {
		size = len;
	}
	luaL_argcheck(lua, len >= size, argument, "string too short");
	luaL_addlstring(buffer, text, size);
}

static int pack(lua_State *lua)
{
	const char *format = luaL_checkstring(lua, 1);
	luaL_Buffer buffer;
	int argument = 2;

	luaL_buffinit(lua, &buffer);
	while (*format != '\0') {
		char option = *format++;
		if (option == '<' || option == ' ') {
			continue;
		}
		size_t size = take_size(lua, option, &format);
		if (option == 'c') {
			put_bytes(lua, &buffer, argument++, size);
		} else if (option == 'd') {
			double number = luaL_checknumber(lua, argument++);
			char bytes[8];
			memcpy(bytes, &number, 8);
			luaL_addlstring(&buffer, bytes, 8);
		} else {
			put_integer(&buffer, luaL_checknumber(lua, argument++), size);
		}
	}
	luaL_pushresult(&buffer);
	return 1;
}

static lua_Number take_integer(const char *bytes, size_t size, bool is_signed)
{
	uint64_t value = 0;

	for (size_t i = size; i > 0; i--) {
		value = value << 8 | (uint8_t)bytes[i - 1];
	}
	if (!is_signed) {
		return (lua_Number)value;
	}
	uint64_t sign = UINT64_C(1) << (8 * size - 1);
	return (lua_Number)(int64_t)((value ^ sign) - sign);
}

static int unpack(lua_State *lua)
{
	const char *format = luaL_checkstring(lua, 1);
	size_t len = 0;
	const char *data = luaL_checklstring(lua, 2, &len);
	size_t at = (size_t)luaL_optinteger(lua, 3, 1) - 1;
	int count = 0;

	while (*format != '\0') {
		char option = *format++;
		if (option == '<' || option == ' ') {
			continue;
		}
		size_t size = take_size(lua, option, &format);
		if (option == 'c' && size == 0) {
			luaL_argcheck(lua, count > 0 && lua_isnumber(lua, -1), 1,
			    "format 'c0' needs a previous size");
			size = (size_t)lua_tonumber(lua, -1);
			lua_pop(lua, 1);
			count--;
		}
		luaL_argcheck(lua, at <= len && size <= len - at, 2, "data string too short");
		luaL_checkstack(lua, 2, "too many results");
		if (option == 'c') {
			lua_pushlstring(lua, data + at, size);
		} else if (option == 'd') {
			double number = 0;
			memcpy(&number, data + at, 8);
			lua_pushnumber(lua, number);
		} else {
			lua_pushnumber(lua, take_integer(data + at, size, option == 'i'));
		}
		at += size;
		count++;
	}
	lua_pushinteger(lua, (lua_Integer)at + 1);
	return count + 1;
}

void scripting_open_struct(lua_State *lua)
{
	lua_newtable(lua);
	lua_pushcfunction(lua, pack);
	lua_setfield(lua, -2, "pack");
	lua_pushcfunction(lua, unpack);
	lua_setfield(lua, -2, "unpack");
	lua_setglobal(lua, "struct");
}
