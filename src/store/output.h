/*
 * What goes to the store: commands are written one behind the other into a buffer, and leave
 * together, once per turn.  While the kernel has no room for the last lot, the next one
 * gathers in a second buffer; no memory is taken after the start.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_STORE_OUTPUT_H
#define CG_STORE_OUTPUT_H

#include "base/base.h"

struct cg_output {
	struct cg_buffer gathering; /* commands are appended here */
	char *other;                /* the other buffer's memory */
	bool is_writing;            /* `other` is on its way */
};

void cg_output_init(struct cg_output *output, size_t capacity);
void cg_output_deinit(struct cg_output *output);

/* Drops whatever is there. */
void cg_output_reset(struct cg_output *output);

/* Whether there is something that cg_output_take() would hand over. */
bool cg_output_is_due(const struct cg_output *output);

/* What is to be written now; the buffers change places.  Only where it is due. */
struct cg_view cg_output_take(struct cg_output *output);

/* What was taken last has left. */
void cg_output_written(struct cg_output *output);

#endif /* CG_STORE_OUTPUT_H */
