/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_redis.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

#define ARGUMENTS_MAX 32

void fake_redis_create(struct fake_redis *r)
{
	*r = (struct fake_redis){0};
	(void)strcpy(r->dir, "/tmp/cg-redis-XXXXXX");
	CG_ASSERT(mkdtemp(r->dir) != NULL);
	(void)snprintf(r->address, sizeof r->address, "unix:%s/s", r->dir);
}

static void become_redis(struct fake_redis *r, const char *const *options)
{
	const char *arguments[ARGUMENTS_MAX] = {"redis-server", "--port", "0", "--unixsocket",
	    r->address + 5, "--dir", r->dir, "--save", "", "--appendonly", "yes"};
	size_t count = 11;
	int log = open("/dev/null", O_WRONLY);

	for (size_t i = 0; options != NULL && options[i] != NULL; i++) {
		arguments[count++] = options[i];
	}
	(void)dup2(log, STDOUT_FILENO);
	/* The array's strings are not written to; execvp() only lacks the word. */
	union {
		const char **given;
		char **wanted;
	} argv = {.given = arguments};
	(void)execvp("redis-server", argv.wanted);
	_exit(127);
}

void fake_redis_start(struct fake_redis *r, const char *const *options)
{
	(void)unlink(r->address + 5);
	r->pid = fork();
	CG_ASSERT(r->pid >= 0);
	if (r->pid == 0) {
		become_redis(r, options);
	}
}

char fake_redis_tell(struct fake_redis *r, const char *words)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char first = 0;

	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", r->address + 5);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
	    send(fd, words, strlen(words), MSG_NOSIGNAL) == (ssize_t)strlen(words) &&
	    send(fd, "\r\n", 2, MSG_NOSIGNAL) == 2) {
		(void)!recv(fd, &first, 1, 0);
	}
	(void)close(fd);
	return first;
}

void fake_redis_kill(struct fake_redis *r)
{
	if (r->pid > 0) {
		(void)kill(r->pid, SIGKILL);
		(void)waitpid(r->pid, NULL, 0);
		r->pid = 0;
	}
}

static void remove_below(const char *dir)
{
	char command[128];

	(void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
	CG_ASSERT(strncmp(dir, "/tmp/cg-redis-", 14) == 0);
	(void)!system(command);
}

void fake_redis_destroy(struct fake_redis *r)
{
	fake_redis_kill(r);
	remove_below(r->dir);
}
