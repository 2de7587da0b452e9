/*
 * What the daemon knows of all rooms together: whether calls can be let in, and what is told of
 * it: health, metrics, the log.
 *
 * A partition admits calls where its epoch is confirmed here and fewer entries wait for the
 * ledger than --outbox-max.  The sidecar serves where at least one partition admits them: one
 * that recovers is its companies' trouble, at every sidecar alike, and whoever turned away from
 * a sidecar for it could not settle the others' calls.  Which ones do is in /readyz and metrics.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_DAEMON_OVERVIEW_H
#define CG_DAEMON_OVERVIEW_H

#include "admin/admin.h"
#include "daemon/config.h"
#include "events/events.h"
#include "gate/gate.h"
#include "ledger/ledger.h"
#include "rpc/probe.h"
#include "rpc/server.h"
#include "store/store.h"

/* As many doors as a server may have. */
#define CG_OVERVIEW_DOORS_MAX 8

struct cg_overview {
	struct cg_loop *loop;
	struct cg_store *store;
	struct cg_store *timely;
	struct cg_ledger *ledger;
	struct cg_gate *gate;
	struct cg_events *events;
	uint64_t outbox_max; /* 0: no limit */
	bool is_ending;

	struct cg_metrics metrics;
	struct cg_admin *admin;                             /* NULL: off */
	struct cg_rpc_probe *probes[CG_OVERVIEW_DOORS_MAX]; /* one for each door, or none */
	uint32_t probe_count;
	uint64_t looked_at_ns; /* when the loop came by last */
	uint32_t partitions;
	uint32_t partitions_served;    /* their epoch is confirmed here */
	uint32_t partitions_admitting; /* and their outbox is below its limit */
	bool is_serving;
};

/*
 * Registers everything and begins to serve it where --metrics-listen asks for it, and to probe
 * the server.  The rooms are filled in.  `on_dead`: the server does not answer any more.
 */
enum cg_status cg_overview_open(struct cg_overview *overview, const struct cg_config *config,
    struct cg_rpc_server *server, void (*on_dead)(void *owner), void *owner, struct cg_error *err);

/* About every 100 ms: looks at all rooms; true where is_serving has changed. */
bool cg_overview_look(struct cg_overview *overview);

/* The server is about to end: it is not probed any more. */
void cg_overview_end_probe(struct cg_overview *overview);

/* After either outcome of open, before the loop is destroyed. */
void cg_overview_close(struct cg_overview *overview);

#endif /* CG_DAEMON_OVERVIEW_H */
