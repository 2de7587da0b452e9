/* SPDX-License-Identifier: Apache-2.0 */
#include "store/partitions.h"

#include <stdlib.h>

void cg_partitions_init(struct cg_partitions *partitions, uint32_t count)
{
	CG_ASSERT(count > 0);
	partitions->epochs = calloc(count, sizeof *partitions->epochs);
	CG_ASSERT(partitions->epochs != NULL);
	partitions->count = count;
}

void cg_partitions_deinit(struct cg_partitions *partitions)
{
	free(partitions->epochs);
}

uint64_t cg_partitions_epoch(const struct cg_partitions *partitions, uint32_t partition)
{
	CG_ASSERT(partition < partitions->count);
	return partitions->epochs[partition];
}

void cg_partitions_set(struct cg_partitions *partitions, uint32_t partition, uint64_t epoch)
{
	CG_ASSERT(partition < partitions->count);
	partitions->epochs[partition] = epoch;
}

void cg_partitions_clear(struct cg_partitions *partitions)
{
	memset(partitions->epochs, 0, partitions->count * sizeof *partitions->epochs);
}

bool cg_partitions_refuse(struct cg_partitions *partitions, uint32_t partition, uint64_t epoch)
{
	if (epoch == 0 || cg_partitions_epoch(partitions, partition) != epoch) {
		return false;
	}
	partitions->epochs[partition] = 0;
	return true;
}
