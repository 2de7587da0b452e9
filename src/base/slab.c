/* SPDX-License-Identifier: Apache-2.0 */
#include "base/slab.h"

#include <stdalign.h>
#include <stdlib.h>

#include "base/assert.h"

#if defined(__SANITIZE_ADDRESS__)
#define CG_SLAB_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CG_SLAB_POISONS 1
#endif
#endif

#ifdef CG_SLAB_POISONS
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes)   ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

enum cg_status cg_slab_init(struct cg_slab *slab, size_t cell_bytes, uint32_t cell_count)
{
	size_t align = alignof(max_align_t);

	CG_ASSERT(cell_bytes > 0 && cell_count > 0);
	*slab = (struct cg_slab){
	    .cell_bytes = (cell_bytes + align - 1) / align * align,
	    .cell_count = cell_count,
	    .free_count = cell_count,
	};
	slab->cells = calloc(cell_count, slab->cell_bytes);
	slab->free_cells = calloc(cell_count, sizeof slab->free_cells[0]);
	if (slab->cells == NULL || slab->free_cells == NULL) {
		free(slab->cells);
		free(slab->free_cells);
		return CG_FULL;
	}

	/* The lowest cell is taken first, so that a lightly loaded slab stays in the cache. */
	for (uint32_t i = 0; i < cell_count; i++) {
		slab->free_cells[i] = cell_count - 1 - i;
	}
	ASAN_POISON_MEMORY_REGION(slab->cells, slab->cell_bytes * cell_count);
	return CG_OK;
}

void cg_slab_deinit(struct cg_slab *slab)
{
	CG_ASSERT(slab->free_count == slab->cell_count);
	ASAN_UNPOISON_MEMORY_REGION(slab->cells, slab->cell_bytes * slab->cell_count);
	free(slab->cells);
	free(slab->free_cells);
	*slab = (struct cg_slab){0};
}

void *cg_slab_take(struct cg_slab *slab)
{
	if (slab->free_count == 0) {
		return NULL;
	}
	char *cell = slab->cells + slab->cell_bytes * slab->free_cells[--slab->free_count];
	ASAN_UNPOISON_MEMORY_REGION(cell, slab->cell_bytes);
	return cell;
}

void cg_slab_give(struct cg_slab *slab, void *cell)
{
	size_t offset = (size_t)((char *)cell - slab->cells);

	CG_ASSERT(offset % slab->cell_bytes == 0 && offset / slab->cell_bytes < slab->cell_count);
	CG_ASSERT(slab->free_count < slab->cell_count);
	slab->free_cells[slab->free_count++] = (uint32_t)(offset / slab->cell_bytes);
	ASAN_POISON_MEMORY_REGION(cell, slab->cell_bytes);
}
