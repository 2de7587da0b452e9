/*
 * Who had a connection cut for a flood stays out for a while: what a flood has brought into gRPC
 * by the time that it is seen must be thrown away call by call, and whoever comes back at once
 * would keep the sidecar's one thread at that for good.
 *
 * A source is a process behind a unix socket, a host behind TCP.  Those on loopback, and those of
 * which the kernel does not tell the process (of another PID namespace), are none: keeping one of
 * them out would keep out all others too.  The first time costs CG_BAN_FIRST_MS, each further one
 * twice the one before, CG_BAN_LAST_MS at most; who behaves for as long as that begins anew.  The
 * connections that a source has already are left alone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_BANS_H
#define CG_RPC_BANS_H

#include "base/base.h"

#define CG_BAN_FIRST_MS 1000
#define CG_BAN_LAST_MS  60000

/* Where all are taken, the one that ends first makes room. */
#define CG_BANS_MAX 256

struct cg_ban {
	uint64_t source;
	uint64_t until_ms;
	uint64_t length_ms;
};

/* All zeros: nobody is kept out. */
struct cg_bans {
	struct cg_ban all[CG_BANS_MAX];
	uint32_t count;
};

/* `source` 0, nobody in particular, is never kept out.  Any monotonic clock. */
void cg_bans_add(struct cg_bans *bans, uint64_t source, uint64_t now_ms);
bool cg_bans_hold(const struct cg_bans *bans, uint64_t source, uint64_t now_ms);

#endif /* CG_RPC_BANS_H */
