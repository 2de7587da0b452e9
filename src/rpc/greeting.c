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

/*
 * Each that comes in may bring as many requests as one may have in flight, all at once: after a
 * handful, one in so many milliseconds.  The others wait here, accepted, where they cost nothing.
 */
#define COMES_IN_MS   4
#define COME_IN_BURST 16

/*
 * Likewise while there is little room for calls: what the next one brings has to be made room for,
 * and would stand in everybody's queue.  Nobody waits for ever: the honest may have taken it.
 */
#define COMES_IN_BUSY_MS 16

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define PREFACE_BYTES (sizeof preface - 1)

struct greeting {
	struct cg_list link;
	struct cg_greetings *all;
	struct cg_rpc_door *door;
	int fd;
	bool is_encrypted;
	bool is_ours;
	bool is_partial; /* its watch rests */
	bool is_held;    /* likewise: it has said enough */
	struct cg_watch *watch;
	uint64_t accepted_at_ms;
};

enum said {
	SAID_ENOUGH,
	SAID_HELD, /* likewise, and it waits for its turn */
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
	greeting->all->held_count -= greeting->is_held ? 1 : 0;
	free(greeting);
}

static bool has_room(const struct cg_greetings *greetings)
{
	return greetings->full_until_ms <=
	    cg_loop_now_ms(greetings->loop) + (uint64_t)COMES_IN_MS * COME_IN_BURST;
}

/* Whether one that has greeted comes in now: there is room, and nobody before him. */
static bool comes_in(struct cg_greetings *greetings, bool was_held, bool is_ours)
{
	uint64_t now_ms = cg_loop_now_ms(greetings->loop);

	/* Who looks whether we are alive must not wait for those who keep us busy. */
	if (is_ours) {
		return true;
	}
	if (!has_room(greetings) || (!was_held && greetings->held_count > 0)) {
		return false;
	}
	greetings->full_until_ms =
	    (greetings->full_until_ms > now_ms ? greetings->full_until_ms : now_ms) +
	    (greetings->is_busy ? COMES_IN_BUSY_MS : COMES_IN_MS);
	return true;
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
	case SAID_HELD:
	case SAID_A_PART:
	case SAID_NOTHING:
		break;
	}
	return false;
}

/* What it still has to do is waited for: to speak, to say the rest, or nothing. */
static void wait_on(struct greeting *greeting, enum said said)
{
	greeting->is_partial = said == SAID_A_PART;
	greeting->is_held = said == SAID_HELD;
	greeting->all->held_count += greeting->is_held ? 1 : 0;
	cg_watch_set(greeting->watch, said == SAID_NOTHING ? CG_WATCH_READ : 0);
}

static void look(struct greeting *greeting)
{
	struct cg_greetings *greetings = greeting->all;
	struct cg_rpc_door *door = greeting->door;
	int fd = greeting->fd;
	bool was_held = greeting->is_held;
	enum said said = look_at(fd, greeting->is_encrypted);

	if (said == SAID_ENOUGH && !comes_in(greetings, was_held, greeting->is_ours)) {
		said = SAID_HELD;
	}
	if (said == SAID_HELD || said == SAID_A_PART || said == SAID_NOTHING) {
		greetings->held_count -= was_held ? 1 : 0;
		wait_on(greeting, said);
		return;
	}
	/* Before gRPC has it: a descriptor is watched in one place. */
	forget(greeting);
	(void)is_decided(greetings, door, fd, said);
}

static void on_ready(void *owner, unsigned events)
{
	(void)events;
	look(owner);
}

void cg_greetings_wait(
    struct cg_greetings *greetings, struct cg_rpc_door *door, const struct cg_guest *newcomer)
{
	int fd = newcomer->fd;
	enum said said = look_at(fd, newcomer->is_encrypted);

	if (said == SAID_ENOUGH && !comes_in(greetings, false, newcomer->is_ours)) {
		said = SAID_HELD;
	}
	if (is_decided(greetings, door, fd, said)) {
		return;
	}
	struct greeting *greeting = calloc(1, sizeof *greeting);
	CG_ASSERT(greeting != NULL);
	*greeting = (struct greeting){
	    .all = greetings,
	    .door = door,
	    .fd = fd,
	    .is_encrypted = newcomer->is_encrypted,
	    .is_ours = newcomer->is_ours,
	    .accepted_at_ms = cg_loop_now_ms(greetings->loop),
	};
	greeting->watch = cg_watch_create(greetings->loop, fd, on_ready, greeting);
	cg_list_append(&greetings->waiting, &greeting->link);
	wait_on(greeting, said);
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
		if (greeting->is_held) {
			/* It is not its fault. */
			if (has_room(greetings)) {
				look(greeting);
			}
		} else if (now_ms >= greeting->accepted_at_ms + CG_GREETING_MAX_MS) {
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
