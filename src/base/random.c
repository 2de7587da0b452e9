/* SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"

#include "base/assert.h"

void cg_random_init(struct cg_random *random, uint64_t seed)
{
	random->state = seed;
}

/* SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): any seed will do, 0 too. */
uint64_t cg_random_next(struct cg_random *random)
{
	random->state += UINT64_C(0x9E3779B97F4A7C15);
	uint64_t z = random->state;
	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

uint64_t cg_random_below(struct cg_random *random, uint64_t bound)
{
	CG_ASSERT(bound > 0);
	/* The bias is below bound / 2^64: nothing that jitter or a simulation could notice. */
	return cg_random_next(random) % bound;
}
