/*
 * callgate-simulate: runs seeds, and says which of them fail.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "world.h"

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	bool quiet = argc > 3;
	cg_log_set_level(CG_LOG_ERROR + 1);
	int failed = 0;
	for (uint64_t i = 0; i < count; i++) {
		struct world_end e = world_run(seed + i, count == 1, quiet);
		if (e.violations > 0) {
			failed++;
			sim_trace_print();
		}
		if (count == 1) {
			printf("%" PRIu64 " events, %" PRIu64 " answers, %" PRIu64 " ms\n", e.events, e.answers, e.virtual_ms);
		}
	}
	printf("%d failed of %" PRIu64 "\n", failed, count);
	return failed != 0;
}
