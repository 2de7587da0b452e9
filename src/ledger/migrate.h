/*
 * The schema, carried inside the program: sql/migrations/ in the order of their versions.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_LEDGER_MIGRATE_H
#define CG_LEDGER_MIGRATE_H

#include "base/base.h"

/*
 * Brings the database up to date; blocks.  Each migration in a transaction of its own,
 * recorded as Supabase's runner records its own, under an advisory lock: two at once follow
 * one another.  `report` (may be NULL) hears, oldest first, of every migration
 * that was applied just now, or in a dry run (applied: false) would have been.
 *
 * CG_UNAVAILABLE  no connection; CG_INTERNAL  a migration failed, those before it stand
 */
enum cg_status cg_migrate(const char *database_url, bool dry_run,
    void (*report)(void *owner, const char *version, const char *name, bool applied), void *owner,
    struct cg_error *err);

#endif /* CG_LEDGER_MIGRATE_H */
