/*
 * How far the ledger is behind the store, and what the flush has done.
 *
 * How many entries wait is the distance of two ids: the stream's end, as the last tick told it,
 * and the cursor.  Within one epoch ids are numbered without gaps; what a former epoch left is
 * not counted, and is gone within a few batches of a recovery.
 *
 * Since when is known from the entries themselves while they are read.  While nothing is read,
 * because Postgres is away, it is the instant at which the first one was seen.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include "ledger/ledger_internal.h"

/* Where a stream has nothing of the epoch in force, its end is told as the last id before it. */
#define BEFORE_THE_EPOCH (UINT64_C(1) << 53)

static uint64_t now_of(const struct cg_part *part)
{
	return cg_loop_now_ms(part->ledger->loop);
}

static uint64_t waiting(const struct cg_part *part)
{
	const struct cg_stream_end *end = &part->end;
	const struct cg_cursor_row *cursor = &part->cursor;

	if (end->epoch < cursor->last_epoch || end->n + 1 >= BEFORE_THE_EPOCH) {
		return 0;
	}
	if (end->epoch > cursor->last_epoch) {
		return end->epoch == 0 ? 0 : end->n + 1;
	}
	return end->n > cursor->last_n ? end->n - cursor->last_n : 0;
}

uint64_t cg_lag__read(
    struct cg_part *part, const struct cg_entry *entries, uint32_t count, int64_t store_now_ms)
{
	uint64_t now_ms = now_of(part);

	if (count == 0) {
		part->oldest_at_ms = 0;
		return 0;
	}
	int64_t first_age_ms = store_now_ms - entries[0].body.at_ms;
	int64_t last_age_ms = store_now_ms - entries[count - 1].body.at_ms;
	/* A clock that was set back must not make them young, nor a wild one very old. */
	uint64_t first_ms = first_age_ms < 0 ? 0 : (uint64_t)first_age_ms;
	uint64_t last_ms = last_age_ms < 0 ? 0 : (uint64_t)last_age_ms;
	part->oldest_at_ms = first_ms < now_ms ? now_ms - first_ms : 1;
	return last_ms < now_ms ? now_ms - last_ms : 1;
}

void cg_lag__flushed(struct cg_part *part, const struct cg_flush_answer *answer, uint32_t rows,
    uint64_t took_ns, uint64_t next_at_ms)
{
	struct cg_ledger_counts *counts = &part->ledger->counts;

	if (answer == NULL) {
		counts->failures++;
		return;
	}
	counts->batches++;
	counts->rows += rows;
	counts->quarantined += (uint64_t)answer->quarantined;
	counts->duplicates += (uint64_t)answer->duplicates;
	cg_metric_observe(&counts->flush, &cg_metric_lateness_ns, took_ns);
	part->oldest_at_ms = next_at_ms;
}

void cg_ledger_saw_end(
    struct cg_ledger *ledger, uint32_t partition, uint64_t last_epoch, uint64_t last_n)
{
	CG_ASSERT(partition < ledger->config.partition_count);
	struct cg_part *part = &ledger->parts[partition];

	part->end = (struct cg_stream_end){last_epoch, last_n};
	if (part->oldest_at_ms == 0 && waiting(part) > 0) {
		part->oldest_at_ms = now_of(part);
	}
}

struct cg_ledger_lag cg_ledger_lag(const struct cg_ledger *ledger, uint32_t partition)
{
	CG_ASSERT(partition < ledger->config.partition_count);
	const struct cg_part *part = &ledger->parts[partition];
	struct cg_ledger_lag lag = {.entries = waiting(part)};

	/* The end that was seen may be older than the flush: then the entries say nothing. */
	if (lag.entries > 0 && part->oldest_at_ms != 0) {
		lag.age_ms = now_of(part) - part->oldest_at_ms;
	}
	return lag;
}

static void put_lags(struct cg_ledger *ledger, struct cg_metrics_out *out, bool is_age)
{
	char labels[32];

	for (uint32_t i = 0; i < ledger->config.partition_count; i++) {
		struct cg_ledger_lag lag = cg_ledger_lag(ledger, i);
		(void)snprintf(labels, sizeof labels, "partition=\"%u\"", (unsigned)i);
		cg_metrics_put(out, labels, (int64_t)(is_age ? lag.age_ms : lag.entries));
	}
}

static void put_entries(void *owner, struct cg_metrics_out *out)
{
	put_lags(owner, out, false);
}

static void put_age(void *owner, struct cg_metrics_out *out)
{
	put_lags(owner, out, true);
}

static void put_serving(void *owner, struct cg_metrics_out *out)
{
	const struct cg_ledger *ledger = owner;
	int64_t serving = 0;

	for (uint32_t i = 0; i < ledger->config.partition_count; i++) {
		serving += ledger->parts[i].phase == CG_PART_SERVING ? 1 : 0;
	}
	cg_metrics_put(out, NULL, serving);
}

static void put_partitions(void *owner, struct cg_metrics_out *out)
{
	const struct cg_ledger *ledger = owner;

	cg_metrics_put(out, NULL, ledger->config.partition_count);
}

static void put_connected(void *owner, struct cg_metrics_out *out)
{
	cg_metrics_put(out, NULL, cg_ledger_is_connected(owner) ? 1 : 0);
}

static void put_flush(void *owner, struct cg_metrics_out *out)
{
	const struct cg_ledger *ledger = owner;

	cg_metrics_put_histogram(out, NULL, &ledger->counts.flush, &cg_metric_lateness_ns);
}

#define COUNTER(text, what)                                                                        \
	{                                                                                          \
		.name = (text), .help = (what), .kind = CG_METRIC_COUNTER                          \
	}
#define GAUGE(text, what)                                                                          \
	{                                                                                          \
		.name = (text), .help = (what), .kind = CG_METRIC_GAUGE                            \
	}

static void measure_partitions(struct cg_ledger *ledger, struct cg_metrics *metrics)
{
	static const struct cg_metric_family connected =
	    GAUGE("callgate_ledger_connected", "1: connected to Postgres.");
	static const struct cg_metric_family partitions =
	    GAUGE("callgate_partitions", "Partitions of the deployment.");
	static const struct cg_metric_family serving =
	    GAUGE("callgate_partitions_serving", "Partitions whose epoch is confirmed here.");
	static const struct cg_metric_family entries = GAUGE("callgate_outbox_entries",
	    "Entries in the store that wait for the ledger, by partition.");
	static const struct cg_metric_family age = {.name = "callgate_outbox_age_seconds",
	    .help =
	        "Age of the oldest entry that waits for the ledger, by partition; 0: none waits.",
	    .kind = CG_METRIC_GAUGE,
	    .decimals = 3};

	cg_metrics_add(metrics, &connected, put_connected, ledger);
	cg_metrics_add(metrics, &partitions, put_partitions, ledger);
	cg_metrics_add(metrics, &serving, put_serving, ledger);
	cg_metrics_add(metrics, &entries, put_entries, ledger);
	cg_metrics_add(metrics, &age, put_age, ledger);
}

void cg_ledger_measure(struct cg_ledger *ledger, struct cg_metrics *metrics)
{
	static const struct cg_metric_family batches = COUNTER(
	    "callgate_flush_batches_total", "Batches that this sidecar brought into the ledger.");
	static const struct cg_metric_family rows = COUNTER(
	    "callgate_flush_rows_total", "Entries that this sidecar brought into the ledger.");
	static const struct cg_metric_family failures = COUNTER("callgate_flush_failures_total",
	    "Batches that did not go through, another sidecar's having come first among them.");
	static const struct cg_metric_family quarantined = COUNTER(
	    "callgate_quarantined_entries_total", "Entries set aside in callgate.quarantine.");
	static const struct cg_metric_family duplicates =
	    COUNTER("callgate_duplicate_entries_total",
	        "Entries under keys that the ledger already had: booked, and taken back.");
	static const struct cg_metric_family recoveries = COUNTER(
	    "callgate_recoveries_total", "Recoveries of a partition that this sidecar completed.");
	static const struct cg_metric_family refusals = COUNTER("callgate_partition_refusals_total",
	    "Looks at a partition that ended in refusing to serve it: an operator decides.");
	static const struct cg_metric_family orphaned = COUNTER("callgate_orphaned_entries_total",
	    "Entries of a history that is not the latest, copied to callgate.orphans.");
	static const struct cg_metric_family flush = {.name = "callgate_flush_duration_seconds",
	    .help = "From a batch being ready until Postgres has committed it.",
	    .kind = CG_METRIC_HISTOGRAM,
	    .decimals = 9};
	struct cg_ledger_counts *counts = &ledger->counts;

	measure_partitions(ledger, metrics);
	cg_metrics_add_value(metrics, &batches, NULL, &counts->batches);
	cg_metrics_add_value(metrics, &rows, NULL, &counts->rows);
	cg_metrics_add_value(metrics, &failures, NULL, &counts->failures);
	cg_metrics_add(metrics, &flush, put_flush, ledger);
	cg_metrics_add_value(metrics, &quarantined, NULL, &counts->quarantined);
	cg_metrics_add_value(metrics, &duplicates, NULL, &counts->duplicates);
	cg_metrics_add_value(metrics, &recoveries, NULL, &counts->recoveries);
	cg_metrics_add_value(metrics, &refusals, NULL, &counts->refusals);
	cg_metrics_add_value(metrics, &orphaned, NULL, &counts->orphaned);
}
