/*
 * A store that is a struct: what the partition port promises, in memory.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_TESTS_LEDGER_FAKE_STORE_H
#define CG_TESTS_LEDGER_FAKE_STORE_H

#include "gate/ports/partition.h"
#include "loop/loop.h"

#define FAKE_PARTITIONS 4

enum fake_state {
	FAKE_NONE,
	FAKE_RECOVERING,
	FAKE_SERVING
};

/* What happens to one operation, the `trouble_in`-th from now on. */
enum fake_trouble {
	FAKE_FINE,
	FAKE_NOT_DONE,  /* it never came there */
	FAKE_UNKNOWN,   /* it was done, and its answer is lost */
	FAKE_OVERTAKES, /* another sidecar's fence comes before it */
};

struct fake_partition {
	enum fake_state state;
	bool other_history; /* as after a restart */
	uint64_t epoch;
	uint64_t served; /* the last epoch that was served */
	uint64_t judged; /* the last one it was fenced by that the ledger holds for served */
	uint64_t next_n;
	struct cg_entry_id last;
	struct cg_entry_id trimmed;
	struct cg_entry *entries;
	uint32_t count;
	uint32_t capacity;
	uint64_t served_here;      /* the epoch that set_epoch() told */
	uint64_t unreadable;       /* n + 1 of an entry that cannot be read; 0: there is none */
	uint32_t unreadable_count; /* how often a reading met it */
	uint32_t drop_count;
	uint32_t fence_count;
	uint32_t repair_count;
	void (*on_repair)(void *owner, const struct cg_partition_op *op);
	void *repair_owner;
	enum fake_trouble trouble;
	uint32_t trouble_in;
	enum cg_partition_verb troubled_verb; /* the last one that met it */
};

struct fake_kept {
	enum fake_state state;
	uint64_t epoch, served;
	struct cg_entry_id last, trimmed;
	struct cg_entry *entries;
	uint32_t count;
};

struct fake_store {
	struct cg_partition_port port;
	struct cg_loop *loop;
	struct cg_timer *timer;
	struct cg_list waiting;
	struct fake_partition partitions[FAKE_PARTITIONS];
	bool is_dead; /* answers nothing but CG_UNAVAILABLE */
	uint32_t read_count;
	struct fake_kept kept;
};

void fake_store_init(struct fake_store *store, struct cg_loop *loop);
void fake_store_deinit(struct fake_store *store);

/* Appends it under the partition's epoch; the texts must outlive the store. */
struct cg_entry_id fake_store_append(
    struct fake_store *store, uint32_t partition, const struct cg_entry *entry);

/* FLUSHALL, for one partition. */
void fake_store_forget(struct fake_store *store, uint32_t partition);

/* One partition as it is now; and, later, that again, as after a failover or an old snapshot. */
void fake_store_keep(struct fake_store *store, uint32_t partition);
void fake_store_fall_back(struct fake_store *store, uint32_t partition);

#endif /* CG_TESTS_LEDGER_FAKE_STORE_H */
