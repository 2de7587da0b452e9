/*
 * The connections that were accepted here and handed to gRPC, which closes them without a word.
 * So each is noted with the inode of its socket: a descriptor that is closed, or is another
 * socket by now, is none of them any more.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_CONNECTIONS_H
#define CG_RPC_CONNECTIONS_H

#include <sys/types.h>

#include "base/base.h"

#define CG_DOORS_MAX 8

struct cg_connection {
	int fd;
	uint32_t door;
	ino_t inode;
	uint64_t peer; /* see cg_peer_hash() */
};

struct cg_connections {
	struct cg_connection *all;
	uint32_t count; /* some of them may have ended since */
	uint32_t count_max;
	uint32_t door_counts[CG_DOORS_MAX];
	uint32_t door_max;
	uint64_t swept_at_ms;
};

void cg_connections_init(struct cg_connections *connections, uint32_t count_max, uint32_t door_max);
void cg_connections_deinit(struct cg_connections *connections);

/* Notes one more; false: there are as many as there may be, in all or at this door. */
bool cg_connections_add(
    struct cg_connections *connections, int fd, uint32_t door, uint64_t peer, uint64_t now_ms);

/* How many there are, looked at now. */
uint32_t cg_connections_count(struct cg_connections *connections);

/* Shuts down the one that `peer` is on; false: it has ended. */
bool cg_connections_cut(const struct cg_connections *connections, uint64_t peer);

/* Shuts all of them down; how many. */
uint32_t cg_connections_cut_all(struct cg_connections *connections);

/* How gRPC calls a peer, as a number: "fd:17", "ipv4:10.0.0.7:40112", "ipv6:%5B::1%5D:40112". */
uint64_t cg_peer_hash(const char *text);

/* The same for an accepted socket: `as_fd` where gRPC is handed the descriptor alone. */
uint64_t cg_peer_hash_of(int fd, bool as_fd);

#endif /* CG_RPC_CONNECTIONS_H */
