/*
 * A connection between accept and gRPC: whoever connects has CG_GREETING_MAX_MS to say what a
 * client says first, and is closed otherwise.  gRPC would wait for it without an end where it is
 * handed a descriptor, and would keep a transport for whoever says something else.
 *
 *   accepted --enough was said--> held --its turn has come--> gRPC's
 *      |-----something else-----> closed
 *      '-----nothing, or not all of it, in time--> closed
 *
 * Whoever has greeted comes in after those that have waited before him, however long that takes.
 * Nothing is taken off the connection: the bytes are looked at and left to gRPC.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_GREETING_H
#define CG_RPC_GREETING_H

#include "base/base.h"
#include "loop/loop.h"

struct cg_rpc_door;

struct cg_greetings {
	struct cg_loop *loop;
	/* It may go on: the descriptor is gRPC's.  Or it has said what no client says: it is closed. */
	void (*on_greeted)(struct cg_rpc_door *door, int fd);
	void (*on_rubbish)(struct cg_rpc_door *door);
	struct cg_list waiting; /* oldest first */
	uint64_t looked_at_ms;
	uint64_t full_until_ms; /* by those that came in */
	uint32_t held_count;    /* of `waiting`: have greeted, and wait for their turn */
	bool is_busy;           /* the caller's: newcomers come in more slowly */
};

void cg_greetings_init(struct cg_greetings *greetings, struct cg_loop *loop);

struct cg_guest {
	int fd;
	bool is_encrypted; /* of the greeting only that it is TLS can be seen */
	bool is_ours;      /* this process: it comes in before all others */
};

/* Takes the descriptor. */
void cg_greetings_wait(
    struct cg_greetings *greetings, struct cg_rpc_door *door, const struct cg_guest *newcomer);

/* For every turn of the loop: closes those whose time is over. */
void cg_greetings_look(struct cg_greetings *greetings);

/* Closes all that wait. */
void cg_greetings_close(struct cg_greetings *greetings);

#endif /* CG_RPC_GREETING_H */
