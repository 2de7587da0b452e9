/*
 * A real Redis of the test's own, on a unix socket in a directory of its own.  (Its file is
 * named like the fakes because every test of this room is linked with those.)
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef FAKE_REDIS_H
#define FAKE_REDIS_H

#include <sys/types.h>

struct fake_redis {
	char dir[64];
	char address[96]; /* "unix:..." */
	pid_t pid;
};

void fake_redis_create(struct fake_redis *redis);

/* `options`: one more option and its value each, ended by NULL. */
void fake_redis_start(struct fake_redis *redis, const char *const *options);

/* One command, words apart; its answer's first byte, 0 where there was none. */
char fake_redis_tell(struct fake_redis *redis, const char *words);

void fake_redis_kill(struct fake_redis *redis);
void fake_redis_destroy(struct fake_redis *redis);

#endif /* FAKE_REDIS_H */
