/*
 * The very end of gRPC in a process: its threads joined, its memory given back.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_SHUTDOWN_H
#define CG_RPC_SHUTDOWN_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The last that a process does with gRPC: after on_closed of its server, from any thread, once.
 * True where nothing of gRPC is left, or it was never used.
 *
 * False where its threads have not ended within `wait_ms`: they are still running, and the
 * caller must leave by _exit(), under which nothing is taken away from them.  Nothing is lost
 * by that: every call is answered and every connection gone.
 */
bool cg_rpc_shutdown(uint32_t wait_ms);

#endif /* CG_RPC_SHUTDOWN_H */
