/*
 * What the files of this room share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EDGE_STORE_INTERNAL_H
#define CG_EDGE_STORE_INTERNAL_H

#include "edge/store/store.h"
#include "ledger/pool.h"

struct cg_edge_store {
	struct cg_edge_store_config config;
	struct cg_loop *loop;
	struct cg_pool *pool;
	uint32_t task_count;               /* submitted, and not ended */
	struct cg_edge_admitted *admitted; /* see admitted.c */
	uint32_t admitted_count;
	struct cg_timer *admitted_timer;
};

enum cg_edge_task_answer {
	CG_EDGE_TASK_NOTHING,
	CG_EDGE_TASK_CALLS,
	CG_EDGE_TASK_IDS,
	CG_EDGE_TASK_SETTINGS,
};

/* One operation: its parameters are made when it is submitted, and lent to the lane. */
struct cg_edge_task {
	struct cg_job job;
	struct cg_edge_store *store;
	struct cg_params params;
	const char *statement;
	enum cg_edge_task_answer answer;
	cg_edge_rows_done done;
	cg_edge_settings_done settings_done;
	void *owner;
};

struct cg_edge_task *cg_edge_store__task(const char *statement, enum cg_edge_task_answer answer);
void cg_edge_store__submit(
    struct cg_edge_store *store, struct cg_edge_task *task, cg_edge_rows_done done, void *owner);

/* admitted.c */
void cg_edge_store__admitted_init(struct cg_edge_store *store);
void cg_edge_store__admitted_close(struct cg_edge_store *store);

#endif /* CG_EDGE_STORE_INTERNAL_H */
