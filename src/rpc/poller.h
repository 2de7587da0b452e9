/*
 * The descriptor that gRPC core sleeps on.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_POLLER_H
#define CG_RPC_POLLER_H

/*
 * The epoll descriptor of this process that watches `polled_fd`; -1 where there is none
 * (gRPC polls another way, or /proc is not there).
 */
int cg_rpc_poller_find(int polled_fd);

/* How many descriptors an epoll descriptor watches; -1 where that cannot be told. */
int cg_rpc_poller_count(int epoll_fd);

#endif /* CG_RPC_POLLER_H */
