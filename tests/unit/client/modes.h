/*
 * Tests of the client run twice: with the poller's thread, and polling inline.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_UNIT_CLIENT_MODES_H
#define CG_UNIT_CLIENT_MODES_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <callgate/client.h>

#include "fake_server.h"

/* What set_up() finds in *state: whether the client polls inline. */
static bool modes_thread = false;
static bool modes_inline = true;

static inline bool modes_polls_inline(void **state)
{
	return *(const bool *)*state;
}

/* A socket of this process and this kind of tests; `address` is "unix:" and its path. */
static inline void modes_make_address(char *address, size_t size, const char *what)
{
	(void)snprintf(address, size, "unix:/tmp/cg-unit-%s.%d.sock", what, (int)getpid());
}

/* Either may be NULL. */
static inline void modes_end(
    struct callgate_client *client, struct fake_server *server, const char *address)
{
	callgate_client_close(client);
	if (server != NULL) {
		fake_server_stop(server);
	}
	(void)unlink(address + strlen("unix:"));
}

/* Of the program's own set_up() and tear_down(). */
#define THREAD(name)                                                                               \
	{                                                                                          \
		"thread: " #name, name, set_up, tear_down, &modes_thread                           \
	}
#define BOTH(name)                                                                                 \
	THREAD(name),                                                                              \
	{                                                                                          \
		"inline: " #name, name, set_up, tear_down, &modes_inline                           \
	}

#endif /* CG_UNIT_CLIENT_MODES_H */
