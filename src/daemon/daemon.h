/*
 * callgated put together: the only room that knows all rooms, and the one place where the
 * order of starting and ending is written down.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_DAEMON_DAEMON_H
#define CG_DAEMON_DAEMON_H

#include "daemon/config.h"

/*
 * Serves until SIGTERM or SIGINT, then ends in order.
 *   CG_OK  an orderly end; anything else: it could not start, or its own listener died; `err` says which
 */
enum cg_status cg_daemon_run(const struct cg_config *config, struct cg_error *err);

/*
 * The end of the process after cg_daemon_run(), whatever it gave: without waiting longer than a
 * second for threads that gRPC may have asleep.
 */
_Noreturn void cg_daemon_exit(int exit_status);

#endif /* CG_DAEMON_DAEMON_H */
