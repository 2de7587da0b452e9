/*
 * The ledger in Postgres: what the gate reads and writes there, the flush of the store's
 * entries into it, and the steps by which a partition is taken into use (ledger.md).
 *
 * True of everything here: called on the loop's thread; nothing blocks it; Postgres being
 * away is a state, not an error: it is tried again for ever, and operations meanwhile end
 * CG_UNAVAILABLE at once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_LEDGER_LEDGER_H
#define CG_LEDGER_LEDGER_H

#include "gate/ports/ledger.h"
#include "gate/ports/partition.h"
#include "loop/loop.h"

struct cg_ledger;

struct cg_ledger_config {
	const char *database_url; /* libpq URI; copied */
	uint32_t partition_count; /* recorded when the deployment is made; must equal afterwards */
	uint32_t connections;     /* for reads, receipts, wallets; 2..16 */
	uint32_t requests_max;    /* waiting operations; beyond: CG_FULL */
	uint32_t flush_interval_ms; /* 5 */
	uint32_t flush_batch_max;   /* 1..1000; 500 */
	int64_t trim_margin_ms;     /* 600 000 */
	uint32_t terms_poll_ms;     /* 500 */
	uint32_t receipt_after_ms;  /* a receipt without an entry is applied again: 3000 */
	uint32_t connect_timeout_ms;
	/* Farther off from the sidecar's and from Postgres's clock the store is not served; 0: served. */
	int64_t clock_skew_max_ms;
};

/* Aborts where the heap is empty; `partitions` must outlive the ledger. */
struct cg_ledger *cg_ledger_create(struct cg_loop *loop, const struct cg_ledger_config *config,
    struct cg_partition_port *partitions);

struct cg_ledger_port *cg_ledger_port(struct cg_ledger *ledger);

/* What the daemon hands to the store, so that its connections and refusals get here. */
struct cg_partition_listener cg_ledger_partition_listener(struct cg_ledger *ledger);

/* Who is told of changed terms and due receipts; copied; before the start. */
void cg_ledger_listen(struct cg_ledger *ledger, const struct cg_ledger_listener *listener);

void cg_ledger_start(struct cg_ledger *ledger);

/*
 * A partition's stream ends at this id, as somebody who looked at it says: what waits for the
 * ledger is counted from there, also while Postgres is away and nothing is read.
 */
void cg_ledger_saw_end(
    struct cg_ledger *ledger, uint32_t partition, uint64_t last_epoch, uint64_t last_n);

/* What waits in a partition for the ledger. */
struct cg_ledger_lag {
	uint64_t entries; /* at least so many: those of a former epoch are not counted */
	uint64_t age_ms;  /* of the oldest, within about 100 ms; 0: none waits */
};
struct cg_ledger_lag cg_ledger_lag(const struct cg_ledger *ledger, uint32_t partition);

/* Registers what it counts: lag, flush batches and rows, recoveries. */
void cg_ledger_measure(struct cg_ledger *ledger, struct cg_metrics *metrics);

bool cg_ledger_is_connected(const struct cg_ledger *ledger);

/*
 * Stops taking new work (CG_CLOSING), flushes what the store holds until nothing is left or
 * the deadline has passed, then calls on_drained once, never before this has returned.
 */
void cg_ledger_drain(struct cg_ledger *ledger, uint64_t deadline_at_ms,
    void (*on_drained)(void *owner), void *owner);

/* Ends every operation CG_CLOSING and every connection. */
void cg_ledger_close(struct cg_ledger *ledger);

/* After close, and after the partition port has answered what it was asked. */
void cg_ledger_destroy(struct cg_ledger *ledger);

#endif /* CG_LEDGER_LEDGER_H */
