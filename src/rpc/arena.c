/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/arena.h"

#include <stdalign.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define CG_ARENA_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CG_ARENA_POISONS 1
#endif
#endif

#ifdef CG_ARENA_POISONS
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes)   ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

static void *allocate(void *owner, size_t bytes)
{
	return cg_arena_take(owner, bytes);
}

static void release(void *owner, void *memory)
{
	/* All of it goes with the reset. */
	(void)owner;
	(void)memory;
}

void cg_arena_init(struct cg_arena *arena, size_t capacity_bytes)
{
	*arena = (struct cg_arena){
	    .allocator = {.alloc = allocate, .free = release, .allocator_data = arena},
	    .memory = malloc(capacity_bytes),
	    .capacity_bytes = capacity_bytes,
	};
	CG_ASSERT(arena->memory != NULL);
	ASAN_POISON_MEMORY_REGION(arena->memory, capacity_bytes);
}

void cg_arena_deinit(struct cg_arena *arena)
{
	ASAN_UNPOISON_MEMORY_REGION(arena->memory, arena->capacity_bytes);
	free(arena->memory);
	*arena = (struct cg_arena){0};
}

void cg_arena_reset(struct cg_arena *arena)
{
	ASAN_POISON_MEMORY_REGION(arena->memory, arena->used_bytes);
	arena->used_bytes = 0;
	arena->overflow = false;
}

void *cg_arena_take(struct cg_arena *arena, size_t bytes)
{
	size_t align = alignof(max_align_t);
	size_t left = arena->capacity_bytes - arena->used_bytes;

	if (bytes > left || (bytes + align - 1) / align * align > left) {
		arena->overflow = true;
		return NULL;
	}
	char *memory = arena->memory + arena->used_bytes;
	arena->used_bytes += (bytes + align - 1) / align * align;
	ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
	return memory;
}

char *cg_arena_text(struct cg_arena *arena, struct cg_view text)
{
	char *copy = cg_arena_take(arena, text.len + 1);

	if (copy != NULL) {
		if (text.len > 0) {
			memcpy(copy, text.data, text.len);
		}
		copy[text.len] = '\0';
	}
	return copy;
}
