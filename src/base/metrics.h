/*
 * What a process tells of itself, for whoever asks: a registry that every room adds to and none
 * needs to know the reader of (src/admin/ writes it out for Prometheus).
 *
 * The hot path knows nothing of this: it counts in plain integers that belong to its room, or
 * notes a duration in a histogram of fixed bounds, which allocates nothing.  They are read when
 * somebody asks, on the loop's thread like everything else.
 *
 * Names follow Prometheus: base units (seconds, bytes), `_total` for what only grows.  Labels
 * take few values, all known beforehand: never a company, a call, or anything a caller says.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BASE_METRICS_H
#define CG_BASE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cg_metric_kind {
	CG_METRIC_COUNTER,
	CG_METRIC_GAUGE,
	CG_METRIC_HISTOGRAM,
};

/* What is measured; static.  Several rooms may add to one, under one name, kind and help. */
struct cg_metric_family {
	const char *name;
	const char *help; /* one sentence, without a line's end or a backslash */
	enum cg_metric_kind kind;
	int decimals; /* of the integers that are put: 9 where they are nanoseconds; else 0 */
};

struct cg_metrics_out;

struct cg_metrics_source {
	const struct cg_metric_family *family;
	void (*collect)(void *owner, struct cg_metrics_out *out); /* NULL: `value` alone */
	void *owner;
	const char *labels; /* of `value`; NULL: none */
	const uint64_t *value;
};

struct cg_metrics {
	struct cg_metrics_source *sources;
	size_t count;
	size_t capacity;
};

void cg_metrics_init(struct cg_metrics *metrics);
void cg_metrics_deinit(struct cg_metrics *metrics);

/*
 * Adds what `collect` puts whenever somebody asks.  All of it is for the start of a process:
 * it takes from the heap, and aborts where the heap is empty.  `owner` must be there for as
 * long as cg_metrics_write() is called.
 */
void cg_metrics_add(struct cg_metrics *metrics, const struct cg_metric_family *family,
    void (*collect)(void *owner, struct cg_metrics_out *out), void *owner);

/* Adds one counter or gauge that its owner keeps.  `labels`: static, `kind="a",for="b"`, or NULL. */
void cg_metrics_add_value(struct cg_metrics *metrics, const struct cg_metric_family *family,
    const char *labels, const uint64_t *value);

/* Adds one counter of callgate_limits_hit_total.  `labels`: `limit="name"`, static. */
void cg_metrics_add_limit(struct cg_metrics *metrics, const char *labels, const uint64_t *hits);

/*
 * A histogram's counts.  `bounds` are upper bounds, rising, in the unit that is observed; what
 * exceeds the last is counted as well.
 */
#define CG_HISTOGRAM_BOUNDS_MAX 16
struct cg_metric_bounds {
	size_t count; /* 1 .. CG_HISTOGRAM_BOUNDS_MAX */
	uint64_t upper[CG_HISTOGRAM_BOUNDS_MAX];
};

struct cg_metric_histogram {
	uint64_t buckets[CG_HISTOGRAM_BOUNDS_MAX + 1]; /* each its own, not those below it */
	uint64_t sum;
};

/* 100 us to 10 s, in nanoseconds: what a request takes. */
extern const struct cg_metric_bounds cg_metric_latency_ns;
/* 1 ms to 60 s, in nanoseconds: how late something is, how long a statement takes. */
extern const struct cg_metric_bounds cg_metric_lateness_ns;

static inline void cg_metric_observe(
    struct cg_metric_histogram *histogram, const struct cg_metric_bounds *bounds, uint64_t value)
{
	size_t i = 0;

	while (i < bounds->count && value > bounds->upper[i]) {
		i++;
	}
	histogram->buckets[i]++;
	histogram->sum += value;
}

/* Within `collect`: one sample of its family. */
void cg_metrics_put(struct cg_metrics_out *out, const char *labels, int64_t value);
void cg_metrics_put_histogram(struct cg_metrics_out *out, const char *labels,
    const struct cg_metric_histogram *histogram, const struct cg_metric_bounds *bounds);

/* The text that is made of them all, on the heap. */
struct cg_metrics_text {
	char *data;
	size_t len;
	size_t capacity;
};

/*
 * Writes everything as Prometheus text, version 0.0.4: each family once, in the order of first
 * registration.  CG_METRICS_TEXT_MAX at most; false beyond that, and then there is no text.
 * `ret_text` is to be given back by cg_metrics_text_deinit().
 */
#define CG_METRICS_TEXT_MAX ((size_t)8 * 1024 * 1024)
bool cg_metrics_write(const struct cg_metrics *metrics, struct cg_metrics_text *ret_text);
void cg_metrics_text_deinit(struct cg_metrics_text *text);

#endif /* CG_BASE_METRICS_H */
