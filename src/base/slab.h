/*
 * A fixed number of equal cells, allocated once: memory per call comes from here, and
 * running out is an answer (CG_FULL).  Free cells are poisoned under AddressSanitizer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BASE_SLAB_H
#define CG_BASE_SLAB_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct cg_slab {
	char *cells;
	uint32_t *free_cells; /* a stack of indices */
	size_t cell_bytes;
	uint32_t cell_count;
	uint32_t free_count;
};

/* Takes `cell_count` cells of `cell_bytes` each from the heap; CG_FULL where it has none. */
enum cg_status cg_slab_init(struct cg_slab *slab, size_t cell_bytes, uint32_t cell_count);

/* Every cell must have been given back. */
void cg_slab_deinit(struct cg_slab *slab);

/* A cell with undefined content, or NULL where all are taken. */
void *cg_slab_take(struct cg_slab *slab);

void cg_slab_give(struct cg_slab *slab, void *cell);

static inline uint32_t cg_slab_taken_count(const struct cg_slab *slab)
{
	return slab->cell_count - slab->free_count;
}

#endif /* CG_BASE_SLAB_H */
