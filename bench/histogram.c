/* SPDX-License-Identifier: Apache-2.0 */
#include "histogram.h"

#include <stddef.h>

enum {
	STEP_BITS = 6, /* 2^6 steps */
};

/* Below 64 ns each value has its own bucket; above, the top six bits after the first one. */
static size_t bucket_of(uint64_t ns)
{
	unsigned power;
	size_t bucket;

	if (ns < CG_HISTOGRAM_STEPS) {
		return (size_t)ns;
	}
	power = 63 - (unsigned)__builtin_clzll(ns) - STEP_BITS;
	bucket =
	    (size_t)(power + 1) * CG_HISTOGRAM_STEPS + (size_t)(ns >> power) - CG_HISTOGRAM_STEPS;
	return bucket < CG_HISTOGRAM_BUCKETS ? bucket : CG_HISTOGRAM_BUCKETS - 1;
}

static uint64_t upper_end(size_t bucket)
{
	size_t power = bucket / CG_HISTOGRAM_STEPS;
	uint64_t step = bucket % CG_HISTOGRAM_STEPS;

	if (power == 0) {
		return step;
	}
	return ((CG_HISTOGRAM_STEPS + step + 1) << (power - 1)) - 1;
}

void cg_histogram_add(struct cg_histogram *histogram, uint64_t ns)
{
	histogram->count++;
	histogram->sum_ns += ns;
	histogram->buckets[bucket_of(ns)]++;
	if (ns > histogram->max_ns) {
		histogram->max_ns = ns;
	}
}

uint64_t cg_histogram_percentile(const struct cg_histogram *histogram, double share)
{
	double wanted = share * (double)histogram->count;
	uint64_t seen = 0;

	if (histogram->count == 0) {
		return 0;
	}
	for (size_t i = 0; i < CG_HISTOGRAM_BUCKETS; i++) {
		seen += histogram->buckets[i];
		if (seen > 0 && (double)seen >= wanted) {
			uint64_t end = upper_end(i);

			/* The last bucket also holds whatever is beyond its end. */
			if (i + 1 == CG_HISTOGRAM_BUCKETS) {
				break;
			}
			return end < histogram->max_ns ? end : histogram->max_ns;
		}
	}
	return histogram->max_ns;
}
