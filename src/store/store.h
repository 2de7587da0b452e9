/*
 * The live wallets, in Redis: one connection, made again whenever it ends, and behind it the
 * ports of gate/ports/store.h, gate/ports/partition.h and gate/ports/events.h.
 *
 * Nothing is sent twice by this room: what was sent and got no answer ends CG_LOST or
 * CG_TIMEOUT, and its caller, who knows the key, decides.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_STORE_STORE_H
#define CG_STORE_STORE_H

#include "gate/ports/events.h"
#include "gate/ports/partition.h"
#include "gate/ports/store.h"
#include "loop/loop.h"

struct cg_store;

struct cg_store_config {
	const char *address;  /* "unix:/path" or "host:port" */
	const char *username; /* NULL: none */
	const char *password; /* NULL: none */
	uint32_t database;    /* SELECT; 0 */
	uint32_t partition_count;
	uint32_t inflight_max;       /* operations sent or waiting to be sent; beyond: CG_FULL */
	uint32_t connect_timeout_ms; /* for the connection and its greeting together */
	/*
	 * The oldest operation unanswered for so long: more end CG_UNAVAILABLE, not sent, until
	 * the server answers.  0: 250.
	 */
	uint32_t stall_ms;
	uint64_t outbox_max; /* entries of one partition waiting for the ledger; 0: no limit */
	bool allow_volatile; /* serve although AOF is off or eviction is on (development) */
	/*
	 * NULL, or the store whose epochs hold here too: then this one is a further connection to
	 * the same server, for what must not wait behind operations.  It must outlive this one.
	 */
	struct cg_store *leader;
};

/* The texts of `config` are copied. */
struct cg_store *cg_store_create(struct cg_loop *loop, const struct cg_store_config *config);

/* They live as long as the store. */
struct cg_store_port *cg_store_port(struct cg_store *store);
struct cg_partition_port *cg_store_partition_port(struct cg_store *store);
struct cg_events_port *cg_store_events_port(struct cg_store *store);

/* Once, before cg_store_start(). */
void cg_store_listen(struct cg_store *store, const struct cg_partition_listener *listener);

/* Begins to connect, and connects again for ever, 50 ms to 2 s apart. */
void cg_store_start(struct cg_store *store);

/* Greeted, and the function library in place; partitions may still be without an epoch. */
bool cg_store_is_connected(const struct cg_store *store);

/* Connected, and what it is sent is answered in time. */
bool cg_store_is_answering(const struct cg_store *store);

/*
 * Registers what it counts.  `labels`: `connection="operations"`, which of the process's
 * connections this is; `limit`: the same for its limit, `limit="store_operations"`.  Static.
 */
void cg_store_measure(
    struct cg_store *store, const char *labels, const char *limit, struct cg_metrics *metrics);

/*
 * Everything in flight ends before this returns: what was sent CG_LOST, the rest, and what
 * those callbacks submit, CG_CLOSING.  The listener hears on_disconnected where there was a
 * connection.  Then silence: an operation submitted later is never answered.
 * Not from within a callback of the store.
 */
void cg_store_close(struct cg_store *store);

/* After cg_store_close(); the loop may be gone already. */
void cg_store_destroy(struct cg_store *store);

#endif /* CG_STORE_STORE_H */
