/*
 * Seeds in processes of their own, so that a failed assertion is a failed seed and no more,
 * and so that every core has one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_RUNNER_H
#define CG_SIM_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#include "world.h"

struct runner {
	const struct profile *profile;
	const uint64_t *seeds; /* NULL: from `from` on */
	uint64_t from, count;
	uint64_t enough; /* failed seeds after which no more are begun; 0: all are run */
	bool is_silent;  /* what asserts say is not shown */

	/* What came of it. */
	uint64_t ran, failed;
	uint64_t failed_seeds[8]; /* the lowest ones */
	uint64_t failed_kept;
	struct world_end sum;
	double seconds;
};

void runner_run(struct runner *runner);

#endif /* CG_SIM_RUNNER_H */
