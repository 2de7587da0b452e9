/*
 * What a connection to the store counts, told to whoever asks.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/store_internal.h"

static void put_connected(void *owner, struct cg_metrics_out *out)
{
	const struct cg_store *store = owner;

	cg_metrics_put(out, store->counts.labels, cg_store_is_connected(store) ? 1 : 0);
}

static void put_pending(void *owner, struct cg_metrics_out *out)
{
	const struct cg_store *store = owner;

	cg_metrics_put(out, store->counts.labels, (int64_t)(store->ring.next - store->ring.first));
}

void cg_store_measure(
    struct cg_store *store, const char *labels, const char *limit, struct cg_metrics *metrics)
{
	static const struct cg_metric_family connected = {.name = "callgate_store_connected",
	    .help = "1: connected to the store, its functions in place.",
	    .kind = CG_METRIC_GAUGE};
	static const struct cg_metric_family connects = {.name = "callgate_store_connects_total",
	    .help = "Connections made to the store.",
	    .kind = CG_METRIC_COUNTER};
	static const struct cg_metric_family pending = {
	    .name = "callgate_store_operations_in_flight",
	    .help = "Operations sent to the store, or waiting to be.",
	    .kind = CG_METRIC_GAUGE};
	static const struct cg_metric_family timeouts = {.name = "callgate_store_timeouts_total",
	    .help = "Operations that the store did not answer in time.",
	    .kind = CG_METRIC_COUNTER};

	store->counts.labels = labels;
	cg_metrics_add(metrics, &connected, put_connected, store);
	cg_metrics_add_value(metrics, &connects, labels, &store->counts.connects);
	cg_metrics_add(metrics, &pending, put_pending, store);
	cg_metrics_add_value(metrics, &timeouts, labels, &store->counts.timeouts);
	cg_metrics_add_limit(metrics, limit, &store->counts.refused_full);
}
