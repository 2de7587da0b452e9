/* SPDX-License-Identifier: Apache-2.0 */
#include "client/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

enum {
	ALIGN_BYTES = 16,
	BLOCK_BYTES = 16 * 1024, /* the smallest from the heap: most listings need a few */
};

struct cg_arena_block {
	struct cg_arena_block *next;
	size_t bytes;
	_Alignas(16) char data[];
};

static void *allocate(void *context, size_t bytes)
{
	return cg_arena_take(context, 1, bytes);
}

/* protobuf-c gives back piece by piece; the pieces go all at once with the arena. */
static void forget(void *context, void *pointer)
{
	(void)context;
	(void)pointer;
}

void cg_arena_init(struct cg_arena *arena)
{
	arena->at = arena->first;
	arena->left_bytes = sizeof(arena->first);
	arena->taken_bytes = 0;
	arena->blocks = NULL;
	arena->allocator = (ProtobufCAllocator){allocate, forget, arena};
}

void cg_arena_reset(struct cg_arena *arena)
{
	while (arena->blocks != NULL) {
		struct cg_arena_block *block = arena->blocks;

		arena->blocks = block->next;
		free(block);
	}
	cg_arena_init(arena);
}

/* What was left of the block before is given up: blocks are few and larger each time. */
static bool add_block(struct cg_arena *arena, size_t bytes)
{
	size_t size = arena->taken_bytes > BLOCK_BYTES ? arena->taken_bytes : BLOCK_BYTES;
	struct cg_arena_block *block;

	if (size < bytes) {
		size = bytes;
	}
	if (size > CG_ARENA_LIMIT_BYTES - arena->taken_bytes) {
		size = bytes;
	}
	if (size > CG_ARENA_LIMIT_BYTES - arena->taken_bytes) {
		return false;
	}
	block = malloc(sizeof(*block) + size);
	if (block == NULL) {
		return false;
	}
	block->next = arena->blocks;
	block->bytes = size;
	arena->blocks = block;
	arena->taken_bytes += size;
	arena->at = block->data;
	arena->left_bytes = size;
	return true;
}

void *cg_arena_take(struct cg_arena *arena, size_t count, size_t bytes)
{
	void *taken;

	if (bytes != 0 && count > CG_ARENA_LIMIT_BYTES / bytes) {
		return NULL;
	}
	bytes = (count * bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
	if (bytes > arena->left_bytes && !add_block(arena, bytes)) {
		return NULL;
	}
	taken = arena->at;
	arena->at += bytes;
	arena->left_bytes -= bytes;
	memset(taken, 0, bytes);
	return taken;
}
