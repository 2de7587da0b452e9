/*
 * The one plan of a simulated world, and what its calls cost.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_PRICES_H
#define CG_SIM_PRICES_H

#include <stdint.h>

#define PRICES_CREDIT       "0"
#define PRICES_CALLS_MAX    "8"
#define PRICES_LONGEST_MS   "20000"
#define PRICES_LEASE_MS     "6000"
#define PRICES_RESERVE_MS   "4000"
#define PRICES_GUARD_MS     "2000"
#define PRICES_RATE         "600001"
#define PRICES_FEE          "700"
#define PRICES_MINIMUM_MS   "1500"
#define PRICES_INCREMENT_MS "700"

/* By meter.md, written down a second time. */
static inline int64_t prices_cost(int64_t duration_ms)
{
	int64_t billed_ms = (duration_ms + 699) / 700 * 700;

	if (duration_ms == 0) {
		return 0;
	}
	billed_ms = billed_ms < 1500 ? 1500 : billed_ms;
	return 700 + (600001 * billed_ms + 59999) / 60000;
}

#endif /* CG_SIM_PRICES_H */
