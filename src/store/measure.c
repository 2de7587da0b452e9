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

static void put_breaker(void *owner, struct cg_metrics_out *out)
{
	const struct cg_store *store = owner;

	cg_metrics_put(out, store->counts.labels, store->breaker.is_open ? 1 : 0);
}

static void measure_breaker(struct cg_store *store, struct cg_metrics *metrics)
{
	static const struct cg_metric_family is_open = {.name = "callgate_store_breaker_open",
	    .help = "1: the store does not answer in time, so nothing is sent to it.",
	    .kind = CG_METRIC_GAUGE};
	static const struct cg_metric_family opened = {
	    .name = "callgate_store_breaker_opened_total",
	    .help = "How often the breaker opened: the store did not answer in time.",
	    .kind = CG_METRIC_COUNTER};
	static const struct cg_metric_family refused = {
	    .name = "callgate_store_breaker_refused_total",
	    .help = "Operations that were not sent since the breaker was open.",
	    .kind = CG_METRIC_COUNTER};
	const char *labels = store->counts.labels;

	cg_metrics_add(metrics, &is_open, put_breaker, store);
	cg_metrics_add_value(metrics, &opened, labels, &store->breaker.opened_total);
	cg_metrics_add_value(metrics, &refused, labels, &store->breaker.refused_total);
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
	measure_breaker(store, metrics);
	cg_metrics_add_limit(metrics, limit, &store->counts.refused_full);
}
