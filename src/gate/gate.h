/*
 * The gate: what a request goes through.  It includes nothing but base/ and its own
 * ports: no loop, gRPC, Redis, Postgres, clock.
 *
 * It prices (terms cache, longest prefix), asks the store, loads wallets and asks the
 * ledger for keys where the store says so, waits for commits, and answers once.
 * It never adds two amounts of a wallet.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_GATE_GATE_H
#define CG_GATE_GATE_H

#include "gate/ports/clock.h"
#include "gate/request.h"

struct cg_gate_config {
	uint32_t wallets_max;      /* cached terms of companies; the least recently used go */
	uint32_t store_timeout_ms; /* an answer from the store comes within this, or TIMEOUT: 250 */
	uint32_t ledger_timeout_ms; /* likewise from the ledger: 5000 */
	uint32_t receipts_max;      /* receipts being applied by the sweeper at once */
	/* Calls running by the outage policy of their plans; beyond, the policy is deny.  > 0 */
	uint32_t degraded_calls_max;
	/*
	 * AUTHORIZED, STARTED, STOPPED and CANCELLED are told too: each is a write more on the
	 * path of a live call.
	 */
	bool lifecycle_events;
	/*
	 * Asks for a cg_gate_tick() in the next turn of the loop, for an answer that needs no
	 * port and yet must not come before submit has returned.  NULL: it waits for the next
	 * regular tick.
	 */
	void (*wake)(void *owner);
	/* An entry was just written in this partition: watchers may want to hear.  NULL: nobody. */
	void (*wrote)(void *owner, uint32_t partition);
	void *wake_owner; /* of both */
};

/* Aborts where the heap is empty; the ports must outlive the gate. */
struct cg_gate *cg_gate_create(const struct cg_gate_config *config, struct cg_store_port *store,
    struct cg_ledger_port *ledger, struct cg_clock_port *clock);

/* Begins: reads the terms, and again until it has them. */
void cg_gate_start(struct cg_gate *gate);

void cg_gate_submit(struct cg_gate *gate, struct cg_request *req);

/* Whether plans and rates are known, so that Authorize can be answered. */
bool cg_gate_is_ready(const struct cg_gate *gate);

/* Requests submitted and not yet answered. */
uint32_t cg_gate_inflight_count(const struct cg_gate *gate);

/*
 * Registers what it counts: decisions by result, requests in flight.  `looks_at_holds`: also what
 * is held in all and since when, which asks the store about 200 times a second.
 */
void cg_gate_measure(struct cg_gate *gate, struct cg_metrics *metrics, bool looks_at_holds);

/* What the daemon hands to the ledger, so that changed terms and due receipts get here. */
struct cg_ledger_listener cg_gate_listener(struct cg_gate *gate);

/*
 * Called about every 100 ms by the daemon: retries a failed reading of the terms, gives answers
 * that needed no port.  The gate has no timers of its own.
 */
void cg_gate_tick(struct cg_gate *gate);

/*
 * Ends the waiting of requests whose time has passed, for terms and behind one another.
 * Called about every 10 ms: an answer must not be late by more.
 */
void cg_gate_end_late(struct cg_gate *gate);

/*
 * Every request must have been answered, and both ports closed, so that nothing of the
 * gate's own (terms being read) is in flight there.
 */
void cg_gate_destroy(struct cg_gate *gate);

#endif /* CG_GATE_GATE_H */
