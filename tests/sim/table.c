/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <inttypes.h>
#include <stdio.h>

#include "profiles.h"
#include "runner.h"

static bool passes_with_rule(const struct profile *profile, uint64_t seed)
{
	struct runner r = {.profile = profile, .from = seed, .count = 1, .is_silent = true};

	sim_rules_restore();
	runner_run(&r);
	return r.failed == 0;
}

/* False: it is not missed, or what misses it says nothing. */
static bool print_rule(enum sim_rule rule, uint64_t seeds, uint64_t enough)
{
	const struct profile *profile = profile_of_rule(rule);
	struct runner r = {
	    .profile = profile, .from = 1, .count = seeds, .enough = enough, .is_silent = true};
	char fails[32];

	sim_rule_take_away(rule);
	runner_run(&r);
	bool is_missed = r.failed > 0;
	bool is_proof = is_missed && passes_with_rule(profile, r.failed_seeds[0]);
	sim_rules_restore();
	(void)snprintf(fails, sizeof fails, "%" PRIu64 "/%" PRIu64, r.failed, r.ran);
	(void)printf("%-16s %-16s %8s %6" PRIu64 "  %s%s\n", sim_rule_name(rule), profile->name,
	    fails, is_missed ? r.failed_seeds[0] : 0, sim_rule_says(rule),
	    !is_missed      ? ": NOT MISSED"
	        : !is_proof ? ": THE SEED FAILS WITH IT, TOO"
	                    : "");
	(void)fflush(stdout);
	return is_proof;
}

int table_print(uint64_t seeds, uint64_t enough)
{
	unsigned missed = 0;

	(void)printf(
	    "%-16s %-16s %8s %6s  %s\n", "without", "profile", "fail", "first", "the rule says");
	for (unsigned i = 0; i < SIM_RULE_COUNT; i++) {
		missed += print_rule((enum sim_rule)i, seeds, enough) ? 1 : 0;
	}
	(void)printf("%u rules, %u of them missed\n", (unsigned)SIM_RULE_COUNT, missed);
	return missed == SIM_RULE_COUNT ? 0 : 1;
}
