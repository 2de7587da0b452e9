/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/rate.h"

#include <stdlib.h>

#define NS_PER_S  UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

void cg_rate_init(struct cg_rate *rate, uint32_t per_second, uint32_t burst, uint64_t seed)
{
	*rate = (struct cg_rate){.seed = seed};
	if (per_second == 0) {
		return;
	}
	rate->interval_ns = NS_PER_S / per_second;
	rate->burst_ns = (burst == 0 ? 0 : burst - 1) * rate->interval_ns;
	rate->buckets = calloc((size_t)CG_RATE_SETS * CG_RATE_WAYS, sizeof rate->buckets[0]);
	CG_ASSERT(rate->buckets != NULL);
}

void cg_rate_deinit(struct cg_rate *rate)
{
	free(rate->buckets);
}

static struct cg_rate_bucket *set_of(struct cg_rate *rate, const struct cg_uuid *company)
{
	uint64_t low = 0;
	uint64_t high = 0;

	memcpy(&low, company->bytes, sizeof low);
	memcpy(&high, company->bytes + sizeof low, sizeof high);
	uint64_t mixed = (low ^ rate->seed) * UINT64_C(0x9E3779B97F4A7C15);
	mixed = (mixed ^ mixed >> 32 ^ high) * UINT64_C(0xC2B2AE3D27D4EB4F);
	return &rate->buckets[(size_t)(mixed >> 40) % CG_RATE_SETS * CG_RATE_WAYS];
}

/* The company's bucket, or the one that makes room for it. */
static struct cg_rate_bucket *find(struct cg_rate *rate, const struct cg_uuid *company)
{
	struct cg_rate_bucket *set = set_of(rate, company);
	struct cg_rate_bucket *fullest = &set[0];

	for (size_t i = 0; i < CG_RATE_WAYS; i++) {
		if (cg_uuid_equal(&set[i].company, company)) {
			return &set[i];
		}
		if (set[i].spent_until_ns < fullest->spent_until_ns) {
			fullest = &set[i];
		}
	}
	*fullest = (struct cg_rate_bucket){.company = *company};
	return fullest;
}

bool cg_rate_admits(struct cg_rate *rate, const struct cg_uuid *company, uint64_t now_ns,
    int64_t *ret_retry_after_ms)
{
	if (rate->buckets == NULL) {
		return true;
	}
	struct cg_rate_bucket *bucket = find(rate, company);
	uint64_t spent_until_ns = bucket->spent_until_ns > now_ns ? bucket->spent_until_ns : now_ns;
	uint64_t ahead_ns = spent_until_ns - now_ns;

	if (ahead_ns > rate->burst_ns) {
		*ret_retry_after_ms =
		    (int64_t)((ahead_ns - rate->burst_ns + NS_PER_MS - 1) / NS_PER_MS);
		return false;
	}
	bucket->spent_until_ns = spent_until_ns + rate->interval_ns;
	return true;
}
