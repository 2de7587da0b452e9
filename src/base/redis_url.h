/*
 * The store's address out of its URL.  The forms are those of redis-py, so that one
 * setting serves the sidecar and the tools around it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BASE_REDIS_URL_H
#define CG_BASE_REDIS_URL_H

#include <stdint.h>

#include "base/error.h"
#include "base/status.h"

#define CG_REDIS_URL_BYTES 512

struct cg_redis_url {
	char address[CG_REDIS_URL_BYTES];  /* "unix:/path" or "host:port" */
	char username[CG_REDIS_URL_BYTES]; /* empty: none */
	char password[CG_REDIS_URL_BYTES];
	uint32_t database;
};

/*
 * Reads "unix:///path[?db=N&password=...]" or "redis://[user[:password]@]host[:port][/db]".
 * CG_INVALID: `err` says what is wrong, naming the flag and never the value.
 */
enum cg_status cg_redis_url_read(
    const char *url, struct cg_redis_url *ret_redis, struct cg_error *err);

#endif /* CG_BASE_REDIS_URL_H */
