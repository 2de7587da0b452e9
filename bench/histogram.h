/*
 * Durations, counted in buckets whose width grows with the value: 64 to each power of two,
 * so that a percentile is off by less than 1.6 %.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BENCH_HISTOGRAM_H
#define CG_BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
	CG_HISTOGRAM_STEPS = 64,  /* buckets to a power of two */
	CG_HISTOGRAM_POWERS = 36, /* up to 2^41 ns, half an hour; the last bucket holds the rest */
	CG_HISTOGRAM_BUCKETS = CG_HISTOGRAM_STEPS * CG_HISTOGRAM_POWERS,
};

/* All zeros is an empty one. */
struct cg_histogram {
	uint64_t count;
	uint64_t max_ns;
	uint64_t sum_ns;
	uint64_t buckets[CG_HISTOGRAM_BUCKETS];
};

void cg_histogram_add(struct cg_histogram *histogram, uint64_t ns);

/*
 * The duration that `share` (0..1) of those counted do not exceed, as the upper end of its
 * bucket, no more than the largest one counted; 0 where none was.
 */
uint64_t cg_histogram_percentile(const struct cg_histogram *histogram, double share);

#endif /* CG_BENCH_HISTOGRAM_H */
