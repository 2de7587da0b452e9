/*
 * Who may connect to a unix socket, by what the kernel says of him.
 *
 * The socket's mode admits its owner and its group; this holds also where somebody has changed the
 * mode, and where more or fewer are meant.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_PEERS_H
#define CG_RPC_PEERS_H

#include <sys/types.h>

#include "base/base.h"

#define CG_PEERS_MAX 32

struct cg_peers {
	bool any;
	bool group; /* the process's own, which is the socket's */
	uid_t uids[CG_PEERS_MAX];
	gid_t gids[CG_PEERS_MAX];
	uint32_t uid_count;
	uint32_t gid_count;
};

/*
 * "any", or a list of "group", "uid:N" and "gid:N" separated by commas.  Root and the process's own
 * user are always admitted.  CG_INVALID: `err` says what it must be.
 */
enum cg_status cg_peers_parse(
    struct cg_view text, struct cg_peers *ret_peers, struct cg_error *err);

/* Whether the one at the other end may; *ret_uid is his, -1 where the kernel does not say. */
bool cg_peers_admit(const struct cg_peers *peers, int fd, int64_t *ret_uid);

/*
 * Who it is for cg_bans_add(): a process where the socket is a unix one, else a host, of which an
 * IPv6 one has a whole /64.  0: nobody in particular.
 */
uint64_t cg_peers_source(int fd, bool is_unix);

/* That of this process, at a unix socket. */
uint64_t cg_peers_own_source(void);

#endif /* CG_RPC_PEERS_H */
