/*
 * The epoch in force for each partition, and whether the store has refused it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_STORE_PARTITIONS_H
#define CG_STORE_PARTITIONS_H

#include "base/base.h"

struct cg_partitions {
	uint64_t *epochs; /* 0: not served */
	uint32_t count;
};

void cg_partitions_init(struct cg_partitions *partitions, uint32_t count);
void cg_partitions_deinit(struct cg_partitions *partitions);

uint64_t cg_partitions_epoch(const struct cg_partitions *partitions, uint32_t partition);
void cg_partitions_set(struct cg_partitions *partitions, uint32_t partition, uint64_t epoch);

/* The connection ended: nothing is served. */
void cg_partitions_clear(struct cg_partitions *partitions);

/*
 * A function refused `epoch`.  True where that is the one in force: then it no longer is, so
 * that of many refusals only the first is news.  An answer to an operation sent under a
 * former epoch says nothing about this one.
 */
bool cg_partitions_refuse(struct cg_partitions *partitions, uint32_t partition, uint64_t epoch);

#endif /* CG_STORE_PARTITIONS_H */
