/*
 * Numbers for jitter, and for simulations that replay a seed.  Not for secrets.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BASE_RANDOM_H
#define CG_BASE_RANDOM_H

#include <stdint.h>

struct cg_random {
	uint64_t state;
};

/* Equal seeds give equal sequences. */
void cg_random_init(struct cg_random *random, uint64_t seed);

uint64_t cg_random_next(struct cg_random *random);

/* A number in [0, bound); bound > 0. */
uint64_t cg_random_below(struct cg_random *random, uint64_t bound);

#endif /* CG_BASE_RANDOM_H */
