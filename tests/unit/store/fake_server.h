/*
 * A server on the test's own loop that greets as Redis does and says of functions only what
 * the test tells it to.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef FAKE_SERVER_H
#define FAKE_SERVER_H

#include "loop/loop.h"

struct fake_server {
	struct cg_loop *loop;
	char dir[64];
	char address[96]; /* "unix:..." */
	int listener;
	struct cg_watch *accepts;
	int fd; /* -1: nobody is connected */
	struct cg_watch *reads;

	char heard[1 << 20];
	size_t heard_bytes;

	unsigned connections;
	unsigned functions; /* calls heard */
	unsigned pings;
	unsigned greetings; /* commands of greetings */
	unsigned loads;
	bool replaced;
	unsigned rewrites; /* BGREWRITEAOFs heard */

	/* What it answers while greeting. */
	const char *password; /* NULL: none wanted */
	const char *role;
	const char *info;
	const char *time;          /* TIME's answer, as it goes over the wire */
	const char *library;       /* NULL: it holds none; "same": ours */
	const char *load_error;    /* the next FUNCTION LOAD is answered so */
	const char *rewrite_error; /* BGREWRITEAOF is answered so; NULL: well */
	const char *first_words;   /* said to whoever connects, before he asks */
	bool is_mute;              /* hears, and says nothing */
	bool ignores_pings;
};

struct fake_server *fake_server_create(struct cg_loop *loop);
void fake_server_destroy(struct fake_server *server);

void fake_server_say(struct fake_server *server, const char *bytes);
void fake_server_say_bytes(struct fake_server *server, const char *bytes, size_t len);
void fake_server_hang_up(struct fake_server *server);

/* Nobody can connect, and again. */
void fake_server_stop_listening(struct fake_server *server);
void fake_server_listen(struct fake_server *server);

#endif /* FAKE_SERVER_H */
