/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/greeting.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/connections.h"

/* Who has said a part is looked at again so much later: the kernel would tell of him all the time. */
#define LOOK_AGAIN_MS 20

#define TLS_HANDSHAKE 0x16

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define PREFACE_BYTES (sizeof preface - 1)

struct greeting {
	struct cg_list link;
	struct cg_greetings *all;
	struct cg_rpc_door *door;
	int fd;
	bool is_encrypted;
	bool is_partial; /* its watch rests */
	struct cg_watch *watch;
	uint64_t accepted_at_ms;
};

enum said {
	SAID_ENOUGH,
	SAID_A_PART,
	SAID_NOTHING,
	SAID_ELSE,
	SAID_GOODBYE, /* the other end has closed */
};

void cg_greetings_init(struct cg_greetings *greetings, struct cg_loop *loop)
{
	greetings->loop = loop;
	cg_list_init(&greetings->waiting);
}

static enum said look_at(int fd, bool is_encrypted)
{
	char bytes[PREFACE_BYTES];
	ssize_t len = recv(fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);

	if (len < 0) {
		return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? SAID_NOTHING
		                                                                 : SAID_GOODBYE;
	}
	if (len == 0) {
		return SAID_GOODBYE;
	}
	if (is_encrypted) {
		return bytes[0] == TLS_HANDSHAKE ? SAID_ENOUGH : SAID_ELSE;
	}
	if (memcmp(bytes, preface, (size_t)len) != 0) {
		return SAID_ELSE;
	}
	return (size_t)len == PREFACE_BYTES ? SAID_ENOUGH : SAID_A_PART;
}

static void forget(struct greeting *greeting)
{
	cg_list_remove(&greeting->link);
	cg_watch_close(greeting->watch);
	free(greeting);
}

/* Acts on what was said; false: it still waits. */
static bool is_decided(
    struct cg_greetings *greetings, struct cg_rpc_door *door, int fd, enum said said)
{
	switch (said) {
	case SAID_ENOUGH:
		greetings->on_greeted(door, fd);
		return true;
	case SAID_ELSE:
		(void)close(fd);
		greetings->on_rubbish(door);
		return true;
	case SAID_GOODBYE:
		(void)close(fd);
		return true;
	case SAID_A_PART:
	case SAID_NOTHING:
		break;
	}
	return false;
}

static void look(struct greeting *greeting)
{
	struct cg_greetings *greetings = greeting->all;
	struct cg_rpc_door *door = greeting->door;
	int fd = greeting->fd;
	enum said said = look_at(fd, greeting->is_encrypted);

	if (said != SAID_A_PART && said != SAID_NOTHING) {
		/* Before gRPC has it: a descriptor is watched in one place. */
		forget(greeting);
		(void)is_decided(greetings, door, fd, said);
		return;
	}
	greeting->is_partial = said == SAID_A_PART;
	cg_watch_set(greeting->watch, greeting->is_partial ? 0 : CG_WATCH_READ);
}

static void on_ready(void *owner, unsigned events)
{
	(void)events;
	look(owner);
}

void cg_greetings_wait(
    struct cg_greetings *greetings, struct cg_rpc_door *door, int fd, bool is_encrypted)
{
	enum said said = look_at(fd, is_encrypted);

	if (is_decided(greetings, door, fd, said)) {
		return;
	}
	struct greeting *greeting = calloc(1, sizeof *greeting);
	CG_ASSERT(greeting != NULL);
	*greeting = (struct greeting){
	    .all = greetings,
	    .door = door,
	    .fd = fd,
	    .is_encrypted = is_encrypted,
	    .is_partial = said == SAID_A_PART,
	    .accepted_at_ms = cg_loop_now_ms(greetings->loop),
	};
	greeting->watch = cg_watch_create(greetings->loop, fd, on_ready, greeting);
	cg_list_append(&greetings->waiting, &greeting->link);
	cg_watch_set(greeting->watch, greeting->is_partial ? 0 : CG_WATCH_READ);
}

void cg_greetings_look(struct cg_greetings *greetings)
{
	uint64_t now_ms = cg_loop_now_ms(greetings->loop);
	struct cg_list *next = NULL;

	if (now_ms < greetings->looked_at_ms + LOOK_AGAIN_MS) {
		return;
	}
	greetings->looked_at_ms = now_ms;
	for (struct cg_list *link = greetings->waiting.next; link != &greetings->waiting;
	     link = next) {
		struct greeting *greeting = CG_CONTAINER_OF(link, struct greeting, link);
		next = link->next;
		if (now_ms >= greeting->accepted_at_ms + CG_GREETING_MAX_MS) {
			int fd = greeting->fd;
			forget(greeting);
			(void)close(fd); /* cg_connections_look() notes the end, and counts it. */
		} else if (greeting->is_partial) {
			look(greeting);
		}
	}
}

void cg_greetings_close(struct cg_greetings *greetings)
{
	struct cg_list *next = NULL;

	for (struct cg_list *link = greetings->waiting.next; link != &greetings->waiting;
	     link = next) {
		struct greeting *greeting = CG_CONTAINER_OF(link, struct greeting, link);
		int fd = greeting->fd;
		next = link->next;
		forget(greeting);
		(void)close(fd);
	}
}
