/*
 * Memory for one message at a time, given back all at once.
 *
 * protobuf-c makes an allocation per string, map entry and unknown field: 64 KiB from a peer
 * can ask for forty times as much.  Here they come out of one block that is as large as any
 * message within the contract's bounds needs; a message that needs more is refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_ARENA_H
#define CG_RPC_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"

/* Room for the largest message within bounds: a map of 2080 pairs, as protobuf-c unpacks it. */
#define CG_ARENA_BYTES ((size_t)768 * 1024)

struct cg_arena {
	ProtobufCAllocator allocator; /* what protobuf-c is given */
	char *memory;
	size_t capacity_bytes;
	size_t used_bytes;
	bool overflow; /* something did not fit since the last reset */
};

/* Aborts where the heap is empty: there is one per server, made at start. */
void cg_arena_init(struct cg_arena *arena, size_t capacity_bytes);
void cg_arena_deinit(struct cg_arena *arena);

/* Everything taken is gone. */
void cg_arena_reset(struct cg_arena *arena);

/* Aligned for anything, undefined content; NULL (and `overflow`) where it does not fit. */
void *cg_arena_take(struct cg_arena *arena, size_t bytes);

/* A terminated copy; NULL as above. */
char *cg_arena_text(struct cg_arena *arena, struct cg_view text);

#endif /* CG_RPC_ARENA_H */
