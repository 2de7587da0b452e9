/* SPDX-License-Identifier: Apache-2.0 */
#include "base/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define FIRST_SOURCES 64
#define FIRST_BYTES   ((size_t)16 * 1024)

#define US UINT64_C(1000)
#define MS (1000 * US)
#define S  (1000 * MS)

const struct cg_metric_bounds cg_metric_latency_ns = {.count = 16,
    .upper = {100 * US, 200 * US, 300 * US, 500 * US, MS, 2 * MS, 3 * MS, 5 * MS, 10 * MS, 25 * MS,
        50 * MS, 100 * MS, 250 * MS, S, 5 * S, 10 * S}};

const struct cg_metric_bounds cg_metric_lateness_ns = {.count = 15,
    .upper = {MS, 2 * MS, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 150 * MS, 250 * MS, 500 * MS,
        S, 2 * S, 5 * S, 15 * S, 60 * S}};

static const struct cg_metric_family limits_hit = {
    .name = "callgate_limits_hit_total",
    .help = "Requests, streams and connections refused or ended by a limit, by its name.",
    .kind = CG_METRIC_COUNTER,
};

struct cg_metrics_out {
	struct cg_metrics_text *text;
	const struct cg_metric_family *family;
	bool overflow;
};

void cg_metrics_init(struct cg_metrics *metrics)
{
	*metrics = (struct cg_metrics){NULL, 0, 0};
}

void cg_metrics_deinit(struct cg_metrics *metrics)
{
	free(metrics->sources);
	cg_metrics_init(metrics);
}

static bool is_same_family(const struct cg_metric_family *a, const struct cg_metric_family *b)
{
	return strcmp(a->name, b->name) == 0;
}

static void add(struct cg_metrics *metrics, const struct cg_metrics_source *source)
{
	const struct cg_metric_family *family = source->family;

	for (size_t i = 0; i < metrics->count; i++) {
		const struct cg_metric_family *other = metrics->sources[i].family;
		CG_ASSERT(!is_same_family(family, other) ||
		    (family->kind == other->kind && family->decimals == other->decimals &&
		        strcmp(family->help, other->help) == 0));
	}
	if (metrics->count == metrics->capacity) {
		metrics->capacity = metrics->capacity == 0 ? FIRST_SOURCES : 2 * metrics->capacity;
		metrics->sources =
		    realloc(metrics->sources, metrics->capacity * sizeof metrics->sources[0]);
		CG_ASSERT(metrics->sources != NULL);
	}
	metrics->sources[metrics->count++] = *source;
}

void cg_metrics_add(struct cg_metrics *metrics, const struct cg_metric_family *family,
    void (*collect)(void *owner, struct cg_metrics_out *out), void *owner)
{
	add(metrics,
	    &(struct cg_metrics_source){.family = family, .collect = collect, .owner = owner});
}

void cg_metrics_add_value(struct cg_metrics *metrics, const struct cg_metric_family *family,
    const char *labels, const uint64_t *value)
{
	CG_ASSERT(family->kind != CG_METRIC_HISTOGRAM);
	add(metrics,
	    &(struct cg_metrics_source){.family = family, .labels = labels, .value = value});
}

void cg_metrics_add_limit(struct cg_metrics *metrics, const char *labels, const uint64_t *hits)
{
	cg_metrics_add_value(metrics, &limits_hit, labels, hits);
}

/* Room for `more` bytes; false, and nothing more is written, where the text is too long. */
static bool grow(struct cg_metrics_out *out, size_t more)
{
	struct cg_metrics_text *text = out->text;
	size_t capacity = text->capacity == 0 ? FIRST_BYTES : text->capacity;

	out->overflow = out->overflow || text->len + more > CG_METRICS_TEXT_MAX;
	if (out->overflow) {
		return false;
	}
	while (capacity < text->len + more) {
		capacity *= 2;
	}
	if (capacity > text->capacity) {
		char *data = realloc(text->data, capacity);
		if (data == NULL) {
			out->overflow = true;
			return false;
		}
		text->data = data;
		text->capacity = capacity;
	}
	return true;
}

static void put_bytes(struct cg_metrics_out *out, const char *bytes, size_t len)
{
	if (grow(out, len)) {
		memcpy(out->text->data + out->text->len, bytes, len);
		out->text->len += len;
	}
}

static void put_text(struct cg_metrics_out *out, const char *text)
{
	put_bytes(out, text, strlen(text));
}

/*
 * A decimal number of `decimals` places behind the point, trailing zeros left out.  By hand:
 * with thousands of partitions printf() would keep the loop for milliseconds.
 */
static void put_number(struct cg_metrics_out *out, uint64_t value, bool is_negative, int decimals)
{
	char digits[32];
	size_t at = sizeof digits;
	bool is_significant = false;

	for (int place = 0; place < decimals; place++) {
		unsigned digit = (unsigned)(value % 10);
		value /= 10;
		is_significant = is_significant || digit != 0;
		if (is_significant) {
			digits[--at] = (char)('0' + digit);
		}
	}
	if (is_significant) {
		digits[--at] = '.';
	}
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	if (is_negative) {
		digits[--at] = '-';
	}
	put_bytes(out, digits + at, sizeof digits - at);
}

static void put_unsigned(struct cg_metrics_out *out, uint64_t value)
{
	put_number(out, value, false, 0);
}

/* Everything up to the value. */
static void put_series(struct cg_metrics_out *out, const char *suffix, const char *labels)
{
	put_text(out, out->family->name);
	put_text(out, suffix);
	if (labels != NULL && labels[0] != '\0') {
		put_bytes(out, "{", 1);
		put_text(out, labels);
		put_bytes(out, "}", 1);
	}
	put_bytes(out, " ", 1);
}

void cg_metrics_put(struct cg_metrics_out *out, const char *labels, int64_t value)
{
	uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

	put_series(out, "", labels);
	put_number(out, magnitude, value < 0, out->family->decimals);
	put_bytes(out, "\n", 1);
}

static void put_bucket(
    struct cg_metrics_out *out, const char *labels, const uint64_t *upper, uint64_t count)
{
	put_text(out, out->family->name);
	put_text(out, "_bucket{");
	if (labels != NULL && labels[0] != '\0') {
		put_text(out, labels);
		put_bytes(out, ",", 1);
	}
	put_text(out, "le=\"");
	if (upper != NULL) {
		put_number(out, *upper, false, out->family->decimals);
	} else {
		put_text(out, "+Inf");
	}
	put_text(out, "\"} ");
	put_unsigned(out, count);
	put_bytes(out, "\n", 1);
}

void cg_metrics_put_histogram(struct cg_metrics_out *out, const char *labels,
    const struct cg_metric_histogram *histogram, const struct cg_metric_bounds *bounds)
{
	uint64_t count = 0;

	CG_ASSERT(out->family->kind == CG_METRIC_HISTOGRAM);
	for (size_t i = 0; i < bounds->count; i++) {
		count += histogram->buckets[i];
		put_bucket(out, labels, &bounds->upper[i], count);
	}
	count += histogram->buckets[bounds->count];
	put_bucket(out, labels, NULL, count);
	put_series(out, "_sum", labels);
	put_number(out, histogram->sum, false, out->family->decimals);
	put_bytes(out, "\n", 1);
	put_series(out, "_count", labels);
	put_unsigned(out, count);
	put_bytes(out, "\n", 1);
}

static void put_head(struct cg_metrics_out *out)
{
	static const char *const kinds[] = {
	    [CG_METRIC_COUNTER] = " counter\n",
	    [CG_METRIC_GAUGE] = " gauge\n",
	    [CG_METRIC_HISTOGRAM] = " histogram\n",
	};

	put_text(out, "# HELP ");
	put_text(out, out->family->name);
	put_bytes(out, " ", 1);
	put_text(out, out->family->help);
	put_text(out, "\n# TYPE ");
	put_text(out, out->family->name);
	put_text(out, kinds[out->family->kind]);
}

static void put_source(struct cg_metrics_out *out, const struct cg_metrics_source *source)
{
	if (source->collect != NULL) {
		source->collect(source->owner, out);
	} else {
		cg_metrics_put(out, source->labels, (int64_t)*source->value);
	}
}

/* A family's samples stand together, whichever rooms they come from. */
static void put_family(struct cg_metrics_out *out, const struct cg_metrics *metrics, size_t first)
{
	out->family = metrics->sources[first].family;
	put_head(out);
	for (size_t i = first; i < metrics->count; i++) {
		if (is_same_family(metrics->sources[i].family, out->family)) {
			put_source(out, &metrics->sources[i]);
		}
	}
}

static bool was_before(const struct cg_metrics *metrics, size_t index)
{
	for (size_t i = 0; i < index; i++) {
		if (is_same_family(metrics->sources[i].family, metrics->sources[index].family)) {
			return true;
		}
	}
	return false;
}

bool cg_metrics_write(const struct cg_metrics *metrics, struct cg_metrics_text *ret_text)
{
	struct cg_metrics_text text = {NULL, 0, 0};
	struct cg_metrics_out out = {.text = &text};

	for (size_t i = 0; i < metrics->count; i++) {
		if (!was_before(metrics, i)) {
			put_family(&out, metrics, i);
		}
	}
	if (out.overflow) {
		cg_metrics_text_deinit(&text);
		return false;
	}
	*ret_text = text;
	return true;
}

void cg_metrics_text_deinit(struct cg_metrics_text *text)
{
	free(text->data);
	*text = (struct cg_metrics_text){NULL, 0, 0};
}
