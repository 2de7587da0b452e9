/*
 * The terms of companies' wallets: a bounded cache, the least recently used go.
 *
 * Rules true of everything here:
 *  - at most one reading of a company is in flight; whoever wants it meanwhile waits for
 *    that one;
 *  - what is being read, or waited for, is never evicted;
 *  - a pointer to a cached wallet is good until the event that got it returns, or calls
 *    back into somebody else.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_GATE_TERMS_CACHE_H
#define CG_GATE_TERMS_CACHE_H

#include "gate/request.h"

/*
 * Readings in flight at the ledger: enough to fill its connections, few enough that a cold
 * start with thousands of companies queues here and not there.
 */
#define CG_TERMS_LOADS_MAX 64

/* How a reading of a wallet ended. */
struct cg_loaded {
	enum cg_status status;
	enum cg_ledger_outcome outcome;
	struct cg_wallet wallet; /* where CG_OK and DONE */
	uint64_t epoch;          /* the partition's before the reading began; 0: not served then */
};

struct cg_cached_wallet {
	struct cg_cached_wallet *next; /* in its bucket */
	struct cg_list use;            /* in `idle`, or in `busy` */
	struct cg_list queue;          /* in `queued`, or in `stale` */
	struct cg_list waiters;        /* requests, by work.link */
	struct cg_uuid company;
	struct cg_wallet wallet;
	bool is_known;   /* `wallet` holds */
	bool is_busy;    /* queued, or being read */
	bool is_changed; /* and not read since */
};

struct cg_terms_cache {
	struct cg_slab wallets;
	struct cg_slab loads;
	struct cg_cached_wallet **buckets;
	uint32_t bucket_mask;
	struct cg_list idle; /* the least recently used first */
	struct cg_list busy;
	struct cg_list queued; /* busy, and waiting for a load */
	struct cg_list stale; /* idle, changed, and its reading failed: the next tick tries again */
	bool is_closed;       /* the ledger is closing: nothing is read any more */
};

void cg_terms_cache__init(struct cg_gate *gate);
void cg_terms_cache__deinit(struct cg_gate *gate);

/* NULL where it is not cached. */
const struct cg_wallet *cg_terms_cache__find(struct cg_gate *gate, const struct cg_uuid *company);

/*
 * Reads the wallet, or joins its reading; req->work.loaded is called when it has ended, at
 * the latest at the cg_gate_end_late() after req->work.loaded_by_ms.  CG_FULL at once where every
 * cell is being read.
 */
enum cg_status cg_terms_cache__load(struct cg_gate *gate, struct cg_request *req);

/* Reads a cached wallet anew in the background; the old terms hold until then. */
void cg_terms_cache__changed(struct cg_gate *gate, const struct cg_uuid *company);

/* A wallet came by: newer terms of a cached company take effect. */
void cg_terms_cache__learn(struct cg_gate *gate, const struct cg_wallet *wallet);

/* Tries failed readings again. */
void cg_terms_cache__tick(struct cg_gate *gate);

/* Ends the waiting of those whose time has passed. */
void cg_terms_cache__end_late(struct cg_gate *gate);

#endif /* CG_GATE_TERMS_CACHE_H */
