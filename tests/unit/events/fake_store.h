/*
 * A store in memory behind the events port: streams that only grow, or are cut at their
 * beginning, and wallets that become due.  It answers a little later, on the test's loop.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef FAKE_STORE_H
#define FAKE_STORE_H

#include "gate/ports/events.h"
#include "gate/ports/store.h"
#include "loop/loop.h"

#define FAKE_PARTITIONS 4
#define FAKE_WALLETS    256
#define FAKE_CLOCK_MS   INT64_C(1700000000000) /* the store's clock is ahead of the loop's */

struct fake_happened {
	struct cg_uuid company;
	enum cg_event_type type;
	bool is_entry;
	uint32_t number; /* of this company's: 1, 2, ... */
	struct cg_position position;
};

struct fake_wallet {
	struct cg_uuid company;
	int64_t at_ms; /* on the store's clock; 0: nothing due */
	int64_t attended_at_ms;
};

struct fake_part {
	uint64_t epoch;
	bool is_away; /* not served here, whatever happens elsewhere */
	struct fake_happened *happened;
	uint32_t count;
	uint32_t capacity;
	uint32_t first;              /* what lies before is not kept any more */
	struct cg_position position; /* the last ids of both streams */
	bool is_stuck;               /* its due wallets are never attended to */
	unsigned ticks;
	unsigned empty_ticks; /* naming no wallet */
	unsigned reads;
	unsigned under_way; /* ticks */
};

struct fake_store {
	struct cg_events_port port;
	struct cg_loop *loop;
	struct cg_list waiting;
	struct cg_timer *timer;
	struct fake_part parts[FAKE_PARTITIONS];
	struct fake_wallet wallets[FAKE_WALLETS];
	uint32_t wallet_count;
	uint32_t read_max;          /* a reading brings no more; 0: as asked */
	uint32_t latency_ms;        /* 0: the next turn */
	enum cg_status tick_status; /* CG_OK, or what every tick ends with */
	enum cg_status read_status;
	unsigned meta_bytes; /* of every event */
	unsigned readings_under_way;
	unsigned readings_most;
	unsigned ticks_most; /* of one partition at once */
	unsigned ticks;
	unsigned ticks_beside; /* while one of another partition was under way */
};

void fake_store_init(struct fake_store *store, struct cg_loop *loop);
/* The loop is changed: what is under way ends CG_CLOSING. */
void fake_store_close(struct fake_store *store);
void fake_store_move(struct fake_store *store, struct cg_loop *loop);
void fake_store_deinit(struct fake_store *store);

struct cg_uuid fake_company(uint32_t n);
uint32_t fake_partition(uint32_t n);

/* Something happens to company `n`. */
void fake_store_happen(struct fake_store *store, uint32_t n, enum cg_event_type type);
void fake_store_due(struct fake_store *store, uint32_t n, int64_t in_ms);
/* Only the last `keep` of a partition are kept. */
/* Only the first `count` ever happened: a store that lost its tail, or another one. */
void fake_store_go_back(struct fake_store *store, uint32_t partition, uint32_t count);

void fake_store_trim(struct fake_store *store, uint32_t partition, uint32_t keep);
int64_t fake_store_now(const struct fake_store *store);

#endif /* FAKE_STORE_H */
