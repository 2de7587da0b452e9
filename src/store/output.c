/* SPDX-License-Identifier: Apache-2.0 */
#include "store/output.h"

#include <stdlib.h>

void cg_output_init(struct cg_output *output, size_t capacity)
{
	char *memory = malloc(capacity);

	output->other = malloc(capacity);
	CG_ASSERT(memory != NULL && output->other != NULL);
	cg_buffer_init(&output->gathering, memory, capacity);
	output->is_writing = false;
}

void cg_output_deinit(struct cg_output *output)
{
	free(output->gathering.data);
	free(output->other);
}

void cg_output_reset(struct cg_output *output)
{
	output->gathering.len = 0;
	output->gathering.overflow = false;
	output->is_writing = false;
}

bool cg_output_is_due(const struct cg_output *output)
{
	return output->gathering.len > 0 && !output->is_writing;
}

struct cg_view cg_output_take(struct cg_output *output)
{
	struct cg_view bytes = cg_buffer_view(&output->gathering);

	CG_ASSERT(cg_output_is_due(output));
	char *empty = output->other;
	output->other = output->gathering.data;
	cg_buffer_init(&output->gathering, empty, output->gathering.capacity);
	output->is_writing = true;
	return bytes;
}

void cg_output_written(struct cg_output *output)
{
	output->is_writing = false;
}
