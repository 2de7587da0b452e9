/*
 * The address of a host, without blocking the loop: libpq would look it up inside
 * PQconnectStart().
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_LEDGER_RESOLVE_H
#define CG_LEDGER_RESOLVE_H

#include "loop/loop.h"

#define CG_RESOLVE_ADDRESS_BYTES 64

struct cg_resolve;

/* `address`: numeric, or NULL where there is none.  Comes once, on the loop. */
struct cg_resolve *cg_resolve__start(struct cg_loop *loop, const char *host,
    void (*on_end)(void *owner, const char *address), void *owner);

/* Nobody waits any more; the thread finishes by itself.  Not after on_end. */
void cg_resolve__abandon(struct cg_resolve *resolve);

/*
 * Whether libpq would have to look a name up for this URI: one host, not numeric, not a
 * path, no hostaddr.  Then the name is in `host` (256 bytes).
 */
bool cg_resolve__is_needed(const char *url, char *host);

#endif /* CG_LEDGER_RESOLVE_H */
