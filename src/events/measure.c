/*
 * What this room counts, told to whoever asks.
 *
 * How late a cut-off is: from T*, the instant at which nothing was left, until it was read here
 * for those who watch, both by the store's clock.  So a sidecar that nobody watches counts none,
 * and one that is watched counts those of all sidecars in the partitions that it reads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "events/events_internal.h"

#define NS_PER_MS UINT64_C(1000000)

void cg_measure__read(struct cg_events *events, const struct cg_event *event, int64_t now_ms)
{
	/* The first one alone: a repetition is late by intent. */
	if (event->type != CG_EVENT_CUT_OFF || event->repeat > 1 || event->exhausts_at_ms <= 0) {
		return;
	}
	int64_t late_ms = now_ms - event->exhausts_at_ms;
	cg_metric_observe(&events->cut_off_lateness, &cg_metric_lateness_ns,
	    late_ms > 0 ? (uint64_t)late_ms * NS_PER_MS : 0);
}

static void put_lateness(void *owner, struct cg_metrics_out *out)
{
	const struct cg_events *events = owner;

	cg_metrics_put_histogram(out, NULL, &events->cut_off_lateness, &cg_metric_lateness_ns);
}

static void put_watchers(void *owner, struct cg_metrics_out *out)
{
	const struct cg_events *events = owner;

	cg_metrics_put(out, NULL, events->counts.watchers);
}

void cg_events_measure(struct cg_events *events, struct cg_metrics *metrics)
{
	static const struct cg_metric_family watchers = {
	    .name = "callgate_watchers", .help = "Watches that are open.", .kind = CG_METRIC_GAUGE};
	static const struct cg_metric_family lateness = {
	    .name = "callgate_cut_off_lateness_seconds",
	    .help = "From the instant at which nothing was left until its CUT_OFF was read for "
	            "watchers here.",
	    .kind = CG_METRIC_HISTOGRAM,
	    .decimals = 9};
	static const struct cg_metric_family ticks = {.name = "callgate_ticks_total",
	    .help = "Looks at the due work of a partition.",
	    .kind = CG_METRIC_COUNTER};
	static const struct cg_metric_family attended = {.name = "callgate_wallets_attended_total",
	    .help = "Wallets whose due work was done by a tick of this sidecar.",
	    .kind = CG_METRIC_COUNTER};
	static const struct cg_metric_family read = {.name = "callgate_events_read_total",
	    .help = "Events read from the store for watchers.",
	    .kind = CG_METRIC_COUNTER};

	cg_metrics_add(metrics, &watchers, put_watchers, events);
	cg_metrics_add(metrics, &lateness, put_lateness, events);
	cg_metrics_add_value(metrics, &ticks, NULL, &events->counts.ticks);
	cg_metrics_add_value(metrics, &attended, NULL, &events->counts.wallets_attended);
	cg_metrics_add_value(metrics, &read, NULL, &events->counts.events_read);
	cg_metrics_add_limit(metrics, "limit=\"watch_slow\"", &events->counts.watchers_too_slow);
}

struct cg_stream_id cg_events_entries_end(const struct cg_events *events, uint32_t partition)
{
	CG_ASSERT(partition < events->store->partition_count);
	return events->parts[partition].last.entry;
}
