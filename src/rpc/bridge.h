/*
 * From gRPC's completion queues to the loop.
 *
 * Two queues.  `arrivals` carries what comes in (requests, the end of the server); whoever
 * sleeps on it reads the network.  `replies` belongs to the calls: nobody sleeps on it, the
 * loop empties it after it has sent answers, so that a finished answer wakes nobody.
 *
 * Two ways to sleep on `arrivals`.  In the loop: gRPC's own epoll descriptor is watched
 * beside all others, and a request is handled by the thread that read it.  In a thread of
 * its own, which hands over what arrived: where the descriptor cannot be found, or when
 * asked for.  The first saves two wake-ups per request, a third of its time.
 *
 *   opened --start--> WAITING --stop--> on_stopped, all is given back
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_BRIDGE_H
#define CG_RPC_BRIDGE_H

#include <grpc/grpc.h>

#include "base/base.h"
#include "loop/loop.h"

/* Something gRPC will report once; its address is the tag. */
struct cg_rpc_op {
	void (*done)(struct cg_rpc_op *op, bool ok);
};

struct cg_rpc_bridge;

/*
 * `arrivals_max`: how many operations can be under way on `arrivals` at once.
 * `on_turn` runs at the end of every turn of the loop, after the answers that had finished
 * were reported.
 */
struct cg_rpc_bridge *cg_rpc_bridge_open(
    struct cg_loop *loop, uint32_t arrivals_max, void (*on_turn)(void *owner), void *owner);

/*
 * Begins to wait.  `polled_fd`: a descriptor that gRPC has been given, by which its epoll
 * descriptor is found; -1: wait in a thread.  Whether it waits in the loop.
 */
bool cg_rpc_bridge_start(struct cg_rpc_bridge *bridge, int polled_fd);

/* gRPC was given one more connection. */
void cg_rpc_bridge_connected(struct cg_rpc_bridge *bridge);

grpc_completion_queue *cg_rpc_bridge_arrivals(struct cg_rpc_bridge *bridge);
grpc_completion_queue *cg_rpc_bridge_replies(struct cg_rpc_bridge *bridge);

/*
 * The queue of calls whose messages come one by one: `replies` where the loop waits for gRPC,
 * since whoever reads the network then looks at it.  A thread that waits looks at `arrivals`
 * alone.  Known once it waits.
 */
grpc_completion_queue *cg_rpc_bridge_streams(struct cg_rpc_bridge *bridge);

/* One more operation was started on `replies`; on the queue of streams. */
void cg_rpc_bridge_expect(struct cg_rpc_bridge *bridge);
void cg_rpc_bridge_expect_stream(struct cg_rpc_bridge *bridge);

/* `on_turn` is to run before the loop sleeps. */
void cg_rpc_bridge_wake(struct cg_rpc_bridge *bridge);

/*
 * Nothing may be under way on either queue.  After `on_stopped`, which runs on the loop
 * thread, the bridge is gone.
 */
void cg_rpc_bridge_stop(struct cg_rpc_bridge *bridge, void (*on_stopped)(void *owner));

#endif /* CG_RPC_BRIDGE_H */
