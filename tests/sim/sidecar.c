/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar.h"

#include "clock.h"
#include "events/events.h"
#include "ledger/ledger_internal.h"
#include "profiles.h"
#include "rules.h"
#include "seams.h"
#include "store/store_internal.h"

#define TICK_MS 100

struct sidecar {
	uint32_t number;
	bool is_alive;
	uint64_t began_at_ms;
	struct cg_clock_port clock;
	struct cg_loop *loop;
	struct cg_store *store;
	struct cg_store *timely;
	struct cg_ledger *ledger;
	struct cg_gate *gate;
	struct cg_events *events;
	struct cg_timer *tick;
	struct cg_timer *soon;
	struct seams seams;
};

static struct sidecar sidecars[SIM_SIDECARS];

static uint64_t now_ms(struct cg_clock_port *self)
{
	return cg_loop_now_ms(CG_CONTAINER_OF(self, struct sidecar, clock)->loop);
}

static void on_tick(void *owner)
{
	struct sidecar *s = owner;

	cg_gate_tick(s->gate);
	cg_gate_end_late(s->gate);
	cg_timer_start(s->tick, TICK_MS);
}

static void on_soon(void *owner)
{
	cg_gate_tick(((struct sidecar *)owner)->gate);
}

static void wake_gate(void *owner)
{
	struct sidecar *s = owner;

	if (s->soon != NULL) {
		cg_timer_start(s->soon, 0);
	}
}

/* What its keepers set by hours is set by seconds here. */
static void hurry(struct cg_store *store)
{
	store->wire.ended_keep_ms = 200;
	store->wire.ended_max = 3;
}

static void create_store(struct sidecar *s)
{
	struct cg_store_config config = {
	    .address = "unix:/nowhere",
	    .partition_count = SIM_PARTITIONS,
	    .inflight_max = 256,
	    .connect_timeout_ms = 1000,
	    .outbox_max = 1000,
	};

	s->store = cg_store_create(s->loop, &config);
	config.leader = s->store;
	s->timely = cg_store_create(s->loop, &config);
	hurry(s->store);
	hurry(s->timely);
}

static void create_ledger(struct sidecar *s)
{
	struct cg_ledger_config config = {
	    .database_url = "postgres://nowhere",
	    .partition_count = SIM_PARTITIONS,
	    .connections = 3,
	    .requests_max = 256,
	    .flush_interval_ms = 20,
	    .flush_batch_max = 50,
	    .trim_margin_ms =
	        sim_rule_holds(SIM_RULE_TRIM_MARGIN) ? (int64_t)sim.profile->margin_ms : 0,
	    .terms_poll_ms = 5000,
	    .receipt_after_ms = 3000,
	    .connect_timeout_ms = 2000,
	};

	s->ledger = cg_ledger_create(s->loop, &config, cg_store_partition_port(s->store));
}

void sidecar_start(uint32_t number)
{
	struct sidecar *s = &sidecars[number];
	struct cg_gate_config gate = {
	    .wallets_max = 16,
	    .store_timeout_ms = 250,
	    .ledger_timeout_ms = 5000,
	    .receipts_max = 16,
	    .degraded_calls_max = 16,
	    .lifecycle_events = true,
	    .wake = wake_gate,
	    .wake_owner = s,
	};
	struct cg_events_config events = {.tick_ms = 500,
	    .kept_max = 64,
	    .kept_bytes = 1 << 16,
	    .events_keep = 500,
	    .watchers_max = 1,
	    .heartbeat_ms = 60000,
	    .slow_ms = 60000};

	CG_ASSERT(!s->is_alive);
	*s = (struct sidecar){.number = number,
	    .is_alive = true,
	    .began_at_ms = sim.now_ms,
	    .clock = {.now_ms = now_ms}};
	s->loop = cg_loop_create();
	s->soon = cg_timer_create(s->loop, on_soon, s);
	create_store(s);
	create_ledger(s);
	seams_init(&s->seams, cg_store_port(s->store), cg_ledger_port(s->ledger));
	s->gate = cg_gate_create(&gate, &s->seams.store, &s->seams.ledger, &s->clock);
	s->events = cg_events_create(s->loop, &events, cg_store_events_port(s->timely));
	struct cg_partition_listener of_store = cg_ledger_partition_listener(s->ledger);
	struct cg_ledger_listener of_ledger = cg_gate_listener(s->gate);
	cg_store_listen(s->store, &of_store);
	cg_ledger_listen(s->ledger, &of_ledger);
	cg_store_start(s->store);
	cg_store_start(s->timely);
	cg_ledger_start(s->ledger);
	cg_gate_start(s->gate);
	cg_events_start(s->events);
	s->tick = cg_timer_create(s->loop, on_tick, s);
	cg_timer_start(s->tick, 1);
	sim_trace("sidecar %d begins", (int)number);
}

/*
 * Its memory is given back as at an orderly end, but nothing that is said then leaves it: its
 * connections are closed before anything could be written, and callers do not hear of it.
 */
void sidecar_crash(uint32_t number)
{
	struct sidecar *s = &sidecars[number];

	sim_trace("sidecar %d dies", (int)number);
	s->is_alive = false;
	cg_events_close(s->events);
	cg_timer_close(s->tick);
	cg_timer_close(s->soon);
	s->soon = NULL;
	cg_ledger_close(s->ledger);
	cg_store_close(s->timely);
	cg_store_close(s->store);
	cg_loop_destroy(s->loop);
	cg_gate_destroy(s->gate);
	cg_events_destroy(s->events);
	cg_ledger_destroy(s->ledger);
	cg_store_destroy(s->timely);
	cg_store_destroy(s->store);
}

bool sidecar_is_alive(uint32_t number)
{
	return sidecars[number].is_alive;
}

uint32_t sidecar_of_loop(const struct cg_loop *loop)
{
	uint32_t number = 0;

	while (sidecars[number].loop != loop) {
		number++;
		CG_ASSERT(number < SIM_SIDECARS);
	}
	return number;
}

uint64_t sidecar_age_ms(uint32_t number)
{
	return sim.now_ms - sidecars[number].began_at_ms;
}

void sidecar_submit(uint32_t number, struct cg_request *request, uint64_t timeout_ms)
{
	struct sidecar *s = &sidecars[number];

	request->deadline_at_ms = cg_loop_now_ms(s->loop) + timeout_ms;
	cg_gate_submit(s->gate, request);
}

int sidecar_phase(uint32_t number, uint32_t partition)
{
	return (int)sidecars[number].ledger->parts[partition].phase;
}

bool sidecar_serves(uint32_t number, uint32_t partition)
{
	struct cg_store_port *port = cg_store_port(sidecars[number].store);

	return sidecars[number].is_alive && port->epoch(port, partition) != 0;
}

bool sidecar_is_clean(uint32_t number)
{
	return cg_flush__is_clean(sidecars[number].ledger);
}
