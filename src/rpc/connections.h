/*
 * The connections that were accepted here and handed to gRPC, which closes them without a word.
 * So each is noted with the inode of its socket: a descriptor that is closed, or is another
 * socket by now, is none of them any more.
 *
 * Why one has ended is told by when: gRPC itself ends those that are too old, that nobody uses,
 * and that never say what a client of HTTP/2 says first.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_CONNECTIONS_H
#define CG_RPC_CONNECTIONS_H

#include <sys/types.h>

#include "base/base.h"

#define CG_DOORS_MAX 8

/* One that has not said by then what a client says first is closed. */
#define CG_GREETING_MAX_MS 5000

struct cg_connection {
	int fd;
	uint32_t door;
	ino_t inode;
	uint64_t peer;   /* see cg_peer_hash() */
	uint64_t source; /* see cg_peers_source() */
	uint64_t accepted_at_ms;
	uint64_t used_at_ms; /* when a request came last, or a stream ended; 0: never */
	uint64_t wasting_since_ms;
	uint32_t wasted; /* calls that came to nothing, since then */
	bool is_cut;
};

/* One that has just been accepted. */
struct cg_newcomer {
	int fd;
	uint32_t door;
	uint64_t peer;
	uint64_t source;
};

struct cg_connections_config {
	uint32_t count_max; /* in all */
	uint32_t door_max;  /* at one door */
	uint64_t age_ms;    /* after which gRPC ends them, give or take a tenth */
	uint64_t idle_ms;
	uint32_t waste_max;
};

/* How they ended, as far as it was not their peers' doing; only ever grows. */
struct cg_connections_ends {
	uint64_t *old;
	uint64_t *idle;
	uint64_t *silent; /* never used, and closed as soon as gRPC waits no longer */
	uint64_t
	    *unused; /* the only ones that may have been their peers' doing: nothing was asked */
};

struct cg_connections {
	struct cg_connections_config config;
	struct cg_connections_ends ends;
	struct cg_connection *all;
	uint32_t count; /* some of them may have ended since */
	uint32_t door_counts[CG_DOORS_MAX];
	uint32_t *places; /* by peer: 1 + where it is in `all`; 0: free */
	uint32_t mask;
	uint64_t swept_at_ms;
	uint64_t looked_at_ms;
	uint32_t look_at; /* in `all`: whose turn it is */
};

void cg_connections_init(struct cg_connections *connections,
    const struct cg_connections_config *config, const struct cg_connections_ends *ends);
void cg_connections_deinit(struct cg_connections *connections);

/* Notes one more; false: there are as many as there may be, in all or at this door. */
bool cg_connections_add(
    struct cg_connections *connections, const struct cg_newcomer *newcomer, uint64_t now_ms);

/* Something of it was asked for, or has ended. */
void cg_connections_use(struct cg_connections *connections, uint64_t peer, uint64_t now_ms);

/*
 * A call came to nothing through its peer's doing.  True: within a second there were more of them
 * than anybody has who means well, `waste_max` of the configuration.
 */
bool cg_connections_waste(struct cg_connections *connections, uint64_t peer, uint64_t now_ms);

/* Whose descriptor it is; false: nobody's. */
bool cg_connections_peer_of(const struct cg_connections *connections, int fd, uint64_t *ret_peer);

/* Looks at a few whether they have ended: for every turn of the loop. */
void cg_connections_look(struct cg_connections *connections, uint64_t now_ms);

/* How many there are, looked at now. */
uint32_t cg_connections_count(struct cg_connections *connections, uint64_t now_ms);

/*
 * Shuts down the one that `peer` is on; false: it has ended, or was shut down before.  *ret_source
 * is who it was.
 */
bool cg_connections_cut(struct cg_connections *connections, uint64_t peer, uint64_t *ret_source);

/* Whether that was done. */
bool cg_connections_is_cut(const struct cg_connections *connections, uint64_t peer);

/* Shuts all of them down; how many. */
uint32_t cg_connections_cut_all(struct cg_connections *connections);

/*
 * How gRPC calls a peer, as a number: "fd:17", "ipv4:10.0.0.7:40112", "ipv6:%5B::1%5D:40112".
 * One caller may have the same name at two doors.
 */
uint64_t cg_peer_hash(const char *text, uint32_t door);

/* The same for an accepted socket: `as_fd` where gRPC is handed the descriptor alone. */
uint64_t cg_peer_hash_of(int fd, uint32_t door, bool as_fd);

#endif /* CG_RPC_CONNECTIONS_H */
