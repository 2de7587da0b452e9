/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/overview.h"

#include <inttypes.h>
#include <stdio.h>

/* The loop comes by every 100 ms: so much later, it does not turn. */
#define ALIVE_MAX_MS 5000

/* The self-probe's failures in a row. */
#define PROBE_FAILURES_MAX 2

#define NS_PER_MS UINT64_C(1000000)

static uint64_t age_ms(const struct cg_overview *o)
{
	return (cg_loop_clock_ns() - o->looked_at_ns) / NS_PER_MS;
}

static void look_at_partitions(struct cg_overview *o)
{
	struct cg_store_port *store = cg_store_port(o->store);

	o->partitions = store->partition_count;
	o->partitions_served = 0;
	o->partitions_admitting = 0;
	for (uint32_t i = 0; i < store->partition_count; i++) {
		struct cg_stream_id end = cg_events_entries_end(o->events, i);
		cg_ledger_saw_end(o->ledger, i, end.epoch, end.n);
		if (store->epoch(store, i) != 0) {
			uint64_t waiting = cg_ledger_lag(o->ledger, i).entries;
			o->partitions_served++;
			o->partitions_admitting +=
			    o->outbox_max == 0 || waiting < o->outbox_max ? 1 : 0;
		}
	}
}

static const char *store_state(const struct cg_overview *o)
{
	return cg_store_is_answering(o->store) ? "answering"
	    : cg_store_is_connected(o->store)  ? "connected"
	                                       : "away";
}

bool cg_overview_look(struct cg_overview *o)
{
	o->looked_at_ns = cg_loop_clock_ns();
	look_at_partitions(o);
	bool serves = !o->is_ending && cg_gate_is_ready(o->gate) &&
	    cg_store_is_answering(o->store) && o->partitions_admitting > 0;
	if (serves == o->is_serving) {
		return false;
	}
	o->is_serving = serves;
	cg_log(CG_LOG_INFO, serves ? "serving" : "not serving", "store", store_state(o), "ledger",
	    cg_ledger_is_connected(o->ledger) ? "connected" : "away", "partitions_served",
	    cg_log_int(o->partitions_served), "partitions_admitting",
	    cg_log_int(o->partitions_admitting), NULL);
	return true;
}

static bool is_alive(void *owner, struct cg_buffer *text)
{
	const struct cg_overview *o = owner;
	uint64_t age = age_ms(o);

	cg_buffer_printf(text, "loop came by %" PRIu64 " ms ago\n", age);
	return age < ALIVE_MAX_MS;
}

static bool is_ready(void *owner, struct cg_buffer *text)
{
	const struct cg_overview *o = owner;

	cg_buffer_printf(text,
	    "%s\nending: %s\nstore: %s\nledger: %s\nplans and rates: %s\n"
	    "partitions: %" PRIu32 "\npartitions served: %" PRIu32
	    "\npartitions admitting calls: %" PRIu32 "\n",
	    o->is_serving ? "ready" : "not ready", o->is_ending ? "yes" : "no", store_state(o),
	    cg_ledger_is_connected(o->ledger) ? "connected" : "away",
	    cg_gate_is_ready(o->gate) ? "known" : "not known yet", o->partitions,
	    o->partitions_served, o->partitions_admitting);
	return o->is_serving;
}

static void put_serving(void *owner, struct cg_metrics_out *out)
{
	const struct cg_overview *o = owner;

	cg_metrics_put(out, NULL, o->is_serving ? 1 : 0);
}

static void put_admitting(void *owner, struct cg_metrics_out *out)
{
	const struct cg_overview *o = owner;

	cg_metrics_put(out, NULL, o->partitions_admitting);
}

static void put_loop_age(void *owner, struct cg_metrics_out *out)
{
	cg_metrics_put(out, NULL, (int64_t)age_ms(owner));
}

static void put_build(void *owner, struct cg_metrics_out *out)
{
	(void)owner;
	cg_metrics_put(out, "version=\"" CG_VERSION "\"", 1);
}

static void measure(
    struct cg_overview *o, const struct cg_config *config, struct cg_rpc_server *server)
{
	static const struct cg_metric_family build = {.name = "callgate_build_info",
	    .help = "1, with the version of the program.",
	    .kind = CG_METRIC_GAUGE};
	static const struct cg_metric_family serving = {
	    .name = "callgate_serving", .help = "1: health says SERVING.", .kind = CG_METRIC_GAUGE};
	static const struct cg_metric_family admitting = {.name = "callgate_partitions_admitting",
	    .help = "Partitions that are served and whose outbox is below its limit.",
	    .kind = CG_METRIC_GAUGE};
	static const struct cg_metric_family loop_age = {.name = "callgate_loop_age_seconds",
	    .help = "Since the loop came by last; it does so every 0.1 s.",
	    .kind = CG_METRIC_GAUGE,
	    .decimals = 3};

	cg_metrics_add(&o->metrics, &build, put_build, o);
	cg_metrics_add(&o->metrics, &serving, put_serving, o);
	cg_metrics_add(&o->metrics, &admitting, put_admitting, o);
	cg_metrics_add(&o->metrics, &loop_age, put_loop_age, o);
	cg_gate_measure(
	    o->gate, &o->metrics, config->holds_look != 0 && config->metrics_listen[0] != '\0');
	cg_rpc_server_measure(server, &o->metrics);
	cg_store_measure(
	    o->store, "connection=\"operations\"", "limit=\"store_operations\"", &o->metrics);
	cg_store_measure(o->timely, "connection=\"events\"", "limit=\"store_events\"", &o->metrics);
	cg_ledger_measure(o->ledger, &o->metrics);
	cg_events_measure(o->events, &o->metrics);
	cg_admin_measure_process(&o->metrics);
}

static void put_looks(void *owner, struct cg_metrics_out *out)
{
	const struct cg_overview *o = owner;
	uint64_t looks = 0;

	for (uint32_t i = 0; i < o->probe_count; i++) {
		looks += *cg_rpc_probe_looks(o->probes[i]);
	}
	cg_metrics_put(out, NULL, (int64_t)looks);
}

static void put_failures(void *owner, struct cg_metrics_out *out)
{
	const struct cg_overview *o = owner;
	uint64_t failures = 0;

	for (uint32_t i = 0; i < o->probe_count; i++) {
		failures += *cg_rpc_probe_failures(o->probes[i]);
	}
	cg_metrics_put(out, NULL, (int64_t)failures);
}

/* Every door is looked at on its own: one may be dead while the others answer. */
static void start_probes(struct cg_overview *o, const struct cg_config *config,
    struct cg_rpc_server *server, void (*on_dead)(void *owner), void *owner)
{
	static const struct cg_metric_family looks = {.name = "callgate_probe_looks_total",
	    .help = "Health checks by the sidecar of itself, through its own sockets.",
	    .kind = CG_METRIC_COUNTER};
	static const struct cg_metric_family failures = {.name = "callgate_probe_failures_total",
	    .help = "Those that were not answered.",
	    .kind = CG_METRIC_COUNTER};

	if (config->probe_interval_ms == 0) {
		return;
	}
	o->probe_count = cg_rpc_server_door_count(server);
	CG_ASSERT(o->probe_count <= CG_OVERVIEW_DOORS_MAX);
	for (uint32_t i = 0; i < o->probe_count; i++) {
		struct cg_rpc_outside outside;
		cg_rpc_server_look(server, i, &outside);
		o->probes[i] = cg_rpc_probe_open(o->loop,
		    &(struct cg_rpc_probe_config){
		        .address = outside.address,
		        .interval_ms = (uint32_t)config->probe_interval_ms,
		        .timeout_ms = (uint32_t)config->probe_timeout_ms,
		        .failures_max = PROBE_FAILURES_MAX,
		        .accepted = outside.accepted,
		        .is_encrypted = outside.is_encrypted,
		    },
		    on_dead, owner);
	}
	cg_metrics_add(&o->metrics, &looks, put_looks, o);
	cg_metrics_add(&o->metrics, &failures, put_failures, o);
}

enum cg_status cg_overview_open(struct cg_overview *o, const struct cg_config *config,
    struct cg_rpc_server *server, void (*on_dead)(void *owner), void *owner, struct cg_error *err)
{
	enum cg_status status = CG_OK;

	o->outbox_max = (uint64_t)config->outbox_max;
	o->looked_at_ns = cg_loop_clock_ns();
	cg_metrics_init(&o->metrics);
	measure(o, config, server);
	start_probes(o, config, server, on_dead, owner);
	if (config->metrics_listen[0] != '\0') {
		struct cg_admin_config admin = {
		    .listen = config->metrics_listen,
		    .metrics = &o->metrics,
		    .is_alive = is_alive,
		    .is_ready = is_ready,
		    .owner = o,
		};
		status = cg_admin_open(o->loop, &admin, &o->admin, err);
	}
	if (status == CG_OK && o->admin != NULL) {
		cg_log(CG_LOG_INFO, "metrics", "listen", config->metrics_listen, NULL);
	}
	return status;
}

void cg_overview_end_probe(struct cg_overview *o)
{
	for (uint32_t i = 0; i < o->probe_count; i++) {
		cg_rpc_probe_stop(o->probes[i]);
	}
}

void cg_overview_close(struct cg_overview *o)
{
	if (o->admin != NULL) {
		cg_admin_close(o->admin);
		o->admin = NULL;
	}
	for (uint32_t i = 0; i < o->probe_count; i++) {
		cg_rpc_probe_close(o->probes[i]);
	}
	o->probe_count = 0;
	cg_metrics_deinit(&o->metrics);
}
