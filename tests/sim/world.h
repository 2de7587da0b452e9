/*
 * One seed from its beginning to its end.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_WORLD_H
#define CG_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "profiles.h"

/* What a seed came to. */
struct world_end {
	uint32_t violations;
	uint64_t events, answers, virtual_ms;
};

/* `is_traced`: every line of its trace as it comes. */
struct world_end world_run(uint64_t seed, const struct profile *profile, bool is_traced);

#endif /* CG_SIM_WORLD_H */
