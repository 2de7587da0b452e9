/* SPDX-License-Identifier: Apache-2.0 */
#include "base/redis_url.h"

#include <stdio.h>

#include "base/view.h"

#define DATABASE_MAX 15 /* as a server has them by default */

static bool begins_with(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static int hex_of(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Copies with %XX decoded (RFC 3986, 2.1); false for a broken one or an encoded NUL. */
static bool decode(struct cg_view from, char to[CG_REDIS_URL_BYTES])
{
	size_t len = 0;

	for (size_t i = 0; i < from.len; i++) {
		char c = from.data[i];
		if (c == '%') {
			int high = i + 2 < from.len ? hex_of(from.data[i + 1]) : -1;
			int low = i + 2 < from.len ? hex_of(from.data[i + 2]) : -1;
			if (high < 0 || low < 0 || high + low == 0) {
				return false;
			}
			c = (char)(high * 16 + low);
			i += 2;
		}
		to[len++] = c;
	}
	to[len] = '\0';
	return true;
}

static enum cg_status refuse(struct cg_error *err, const char *what)
{
	/* The value itself may hold a password and is not repeated. */
	cg_error_set(err, "--redis-url: %s", what);
	return CG_INVALID;
}

static bool put_database(struct cg_view text, struct cg_redis_url *redis)
{
	int64_t number = 0;

	if (!cg_view_parse_int(text, &number) || number < 0 || number > DATABASE_MAX) {
		return false;
	}
	redis->database = (uint32_t)number;
	return true;
}

static enum cg_status read_query(
    const char *query, struct cg_redis_url *redis, struct cg_error *err)
{
	while (*query != '\0') {
		size_t len = strcspn(query, "&");
		struct cg_view pair = {query, len};

		if (begins_with(query, "db=")) {
			if (!put_database((struct cg_view){pair.data + 3, pair.len - 3}, redis)) {
				return refuse(err, "db must be from 0 to 15");
			}
		} else if (begins_with(query, "password=")) {
			if (!decode(
			        (struct cg_view){pair.data + 9, pair.len - 9}, redis->password)) {
				return refuse(err, "password has a broken %XX");
			}
		} else if (begins_with(query, "username=")) {
			if (!decode(
			        (struct cg_view){pair.data + 9, pair.len - 9}, redis->username)) {
				return refuse(err, "username has a broken %XX");
			}
		} else {
			return refuse(err, "knows the parameters db, username and password");
		}
		query += len + (query[len] == '&' ? 1 : 0);
	}
	return CG_OK;
}

static enum cg_status read_unix(const char *path, struct cg_redis_url *redis, struct cg_error *err)
{
	size_t len = strcspn(path, "?");

	/* sun_path has 108 bytes, the last for the end (unix(7)). */
	if (path[0] != '/' || len > 107) {
		return refuse(err, "unix:// needs an absolute path of at most 107 characters");
	}
	(void)snprintf(redis->address, sizeof redis->address, "unix:%.*s", (int)len, path);
	return path[len] == '?' ? read_query(path + len + 1, redis, err) : CG_OK;
}

static enum cg_status read_credentials(
    struct cg_view user_info, struct cg_redis_url *redis, struct cg_error *err)
{
	const char *colon = memchr(user_info.data, ':', user_info.len);
	size_t user_len = colon != NULL ? (size_t)(colon - user_info.data) : user_info.len;
	struct cg_view password = {
	    colon != NULL ? colon + 1 : "", colon != NULL ? user_info.len - user_len - 1 : 0};

	if (!decode((struct cg_view){user_info.data, user_len}, redis->username) ||
	    !decode(password, redis->password)) {
		return refuse(err, "user or password has a broken %XX");
	}
	return CG_OK;
}

static enum cg_status read_tcp(const char *rest, struct cg_redis_url *redis, struct cg_error *err)
{
	const char *at = strrchr(rest, '@');
	enum cg_status status = CG_OK;

	if (at != NULL) {
		status = read_credentials((struct cg_view){rest, (size_t)(at - rest)}, redis, err);
		rest = at + 1;
	}
	size_t len = strcspn(rest, "/");
	if (status == CG_OK && (len == 0 || len > 255)) {
		return refuse(err, "redis:// needs a host");
	}
	if (status == CG_OK && rest[len] == '/' && rest[len + 1] != '\0' &&
	    !put_database(cg_view_of(rest + len + 1), redis)) {
		return refuse(err, "the database must be from 0 to 15");
	}
	/* A port stands behind the last colon that is not inside an IPv6 address. */
	const char *bracket = memchr(rest, ']', len);
	const char *from = bracket != NULL ? bracket : rest;
	bool has_port = memchr(from, ':', len - (size_t)(from - rest)) != NULL;
	(void)snprintf(redis->address, sizeof redis->address, "%.*s%s", (int)len, rest,
	    has_port ? "" : ":6379");
	return status;
}

enum cg_status cg_redis_url_read(
    const char *url, struct cg_redis_url *ret_redis, struct cg_error *err)
{
	*ret_redis = (struct cg_redis_url){.database = 0};
	if (strlen(url) >= CG_REDIS_URL_BYTES) {
		return refuse(err, "is longer than 511 characters");
	}
	if (begins_with(url, "unix://")) {
		return read_unix(url + strlen("unix://"), ret_redis, err);
	}
	if (begins_with(url, "redis://")) {
		return read_tcp(url + strlen("redis://"), ret_redis, err);
	}
	return refuse(err, "must begin with unix:// or redis://");
}
