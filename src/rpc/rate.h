/*
 * Authorizes per second and company: a bucket for each company that was heard of lately.
 *
 * A bucket is one instant: until when it is spent (GCRA).  One whose instant has passed is full
 * and need not be remembered.  So the table is bounded: a company falls on a handful of places,
 * and where all of them are taken the one that is nearest to full makes room, to the good of its
 * company and of no one else.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_RATE_H
#define CG_RPC_RATE_H

#include "base/base.h"

#define CG_RATE_WAYS 8
#define CG_RATE_SETS 1024 /* a power of two */

struct cg_rate_bucket {
	struct cg_uuid company;
	uint64_t spent_until_ns;
};

struct cg_rate {
	uint64_t interval_ns;           /* of one; 0: no limit */
	uint64_t burst_ns;              /* how far ahead a bucket may be spent */
	uint64_t seed;                  /* companies must not be able to choose their places */
	struct cg_rate_bucket *buckets; /* NULL where there is no limit */
};

/* `per_second` 0: no limit.  `burst`: what an unused bucket holds, at least 1. */
void cg_rate_init(struct cg_rate *rate, uint32_t per_second, uint32_t burst, uint64_t seed);
void cg_rate_deinit(struct cg_rate *rate);

/*
 * Takes one, on any monotonic clock.  False: there is none, which costs the company nothing;
 * *ret_retry_after_ms (1 or more) is when there will be.
 */
bool cg_rate_admits(struct cg_rate *rate, const struct cg_uuid *company, uint64_t now_ns,
    int64_t *ret_retry_after_ms);

#endif /* CG_RPC_RATE_H */
