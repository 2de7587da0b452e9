/*
 * Requests in flight per connection.  A connection is known by the hash of how gRPC calls its
 * peer; it has a place for as long as it has a request, so the table is as large as there may be
 * requests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_INFLIGHT_H
#define CG_RPC_INFLIGHT_H

#include "base/base.h"

struct cg_inflight_place {
	uint64_t peer;
	uint32_t count; /* 0: free */
};

struct cg_inflight {
	struct cg_inflight_place *places;
	uint32_t mask;
};

/* At most `all_max` requests at once. */
void cg_inflight_init(struct cg_inflight *inflight, uint32_t all_max);
void cg_inflight_deinit(struct cg_inflight *inflight);

/* One more; how many the connection has now. */
uint32_t cg_inflight_enter(struct cg_inflight *inflight, uint64_t peer);
/* How many it has. */
uint32_t cg_inflight_count(const struct cg_inflight *inflight, uint64_t peer);
/* One less, of those that entered. */
void cg_inflight_leave(struct cg_inflight *inflight, uint64_t peer);

#endif /* CG_RPC_INFLIGHT_H */
