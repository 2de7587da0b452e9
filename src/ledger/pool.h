/*
 * A few connections and the statements that wait for one.
 *
 * A job is one or more statements in a row; it ends once, with a status as in cg_pg__run(),
 * or CG_TIMEOUT (it may have happened), CG_UNAVAILABLE (Postgres is away, or it was still
 * waiting when its deadline passed: nothing happened), CG_CLOSING.  A server's refusal for
 * want of rights or of a schema ends CG_DENIED and is logged here.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_LEDGER_POOL_H
#define CG_LEDGER_POOL_H

#include "ledger/pg.h"

struct cg_job {
	uint64_t deadline_at_ms;
	/* The statement, and its parameters: called when a connection is free. */
	const char *(*prepare)(struct cg_job *job, struct cg_params *params);
	/*
	 * status CG_OK: read `result`.  True, with CG_OK only: prepare again, there is another
	 * statement.  Else the job has ended, and the pool does not touch it any more.
	 */
	bool (*on_end)(struct cg_job *job, enum cg_status status, const PGresult *result);
	struct cg_list link; /* the pool's */
	bool is_running;
};

struct cg_pool;

struct cg_pool *cg_pool__create(struct cg_loop *loop, const char *url, const char *what,
    uint32_t connections, uint32_t connect_timeout_ms);
/* opened (may be NULL): a connection was made. */
void cg_pool__start(struct cg_pool *pool, void (*opened)(void *owner), void *owner);

/* on_end never runs before this has returned. */
void cg_pool__submit(struct cg_pool *pool, struct cg_job *job);

bool cg_pool__is_connected(const struct cg_pool *pool);
/* Every connection's last attempt failed: what is submitted ends CG_UNAVAILABLE at once. */
bool cg_pool__is_away(const struct cg_pool *pool);

/* Jobs end CG_CLOSING, in here. */
void cg_pool__close(struct cg_pool *pool);
void cg_pool__destroy(struct cg_pool *pool);

#endif /* CG_LEDGER_POOL_H */
