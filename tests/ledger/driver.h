/*
 * The ledger on a loop, driven step by step, beside a plain connection for looking.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_TESTS_LEDGER_DRIVER_H
#define CG_TESTS_LEDGER_DRIVER_H

#include <libpq-fe.h>

#include "fake_store.h"
#include "ledger/ledger.h"

struct driver {
	struct cg_loop *loop;
	struct cg_timer *timer;
	struct fake_store store;
	struct cg_ledger *ledger;
	PGconn *sql;
	bool (*condition)(struct driver *d);
	uint64_t give_up_at_ms;
	bool came_true;
	/* What the ledger has told. */
	uint32_t plans_changed;
	uint32_t wallets_changed;
	uint32_t receipts_due;
	bool is_drained;
	/* Operations that have ended, for conditions. */
	uint32_t ended;
	uint32_t wanted;
};

/* What test_room.py says in the environment, else a word on stderr; `sidecar`: as that role. */
bool driver_find_urls(const char **ret_owner_url, const char **ret_sidecar_url);

/* `owner_url`: the same database for driver_number(). */
void driver_start(
    struct driver *d, const char *database_url, const char *owner_url, uint32_t partition_count);
void driver_stop(struct driver *d);

/* Runs the loop until the condition holds; false after `timeout_ms`. */
bool driver_wait(struct driver *d, bool (*condition)(struct driver *d), uint64_t timeout_ms);

/* Submits, and runs the loop until it has ended. */
void driver_run(struct driver *d, struct cg_ledger_op *op);
/* Submits; the end is counted in d->ended. */
void driver_submit(struct driver *d, struct cg_ledger_op *op, uint64_t timeout_ms);

/* One number from the database. */
long long driver_number(struct driver *d, const char *statement);

bool every_partition_is_served(struct driver *d);
bool all_have_ended(struct driver *d);

#endif /* CG_TESTS_LEDGER_DRIVER_H */
