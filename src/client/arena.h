/*
 * Memory of one operation: its request while it is being packed, then its answer.  Taken
 * by advancing a mark and given back all at once, with a limit on the sum, so that an
 * answer of any shape costs a bounded amount of memory.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLIENT_ARENA_H
#define CG_CLIENT_ARENA_H

#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

/* A listing of 1 000 calls that carry a few entries of meta each needs about 2 MB. */
#define CG_ARENA_LIMIT_BYTES ((size_t)64 * 1024 * 1024)

/* Holds every answer but a listing: no operation on a call's path reaches the heap. */
#define CG_ARENA_FIRST_BYTES ((size_t)1536)

struct cg_arena_block;

struct cg_arena {
	char *at;
	size_t left_bytes;
	size_t taken_bytes; /* of blocks from the heap */
	struct cg_arena_block *blocks;
	ProtobufCAllocator allocator; /* this arena, for protobuf-c */
	_Alignas(16) char first[CG_ARENA_FIRST_BYTES];
};

void cg_arena_init(struct cg_arena *arena);

/* Everything that was taken is gone; the arena is as after init. */
void cg_arena_reset(struct cg_arena *arena);

/* Zeroed memory aligned for any type; NULL where the limit or the heap is exhausted. */
void *cg_arena_take(struct cg_arena *arena, size_t count, size_t bytes);

#endif /* CG_CLIENT_ARENA_H */
