/* SPDX-License-Identifier: Apache-2.0 */
#include "profiles.h"

#include <string.h>

#include "base/base.h"

#define NO_MORE SIM_RULE_COUNT
#define OFTEN   700
#define ALONE   1000

/* As the struct has them: what is favoured, how much, strikes and deeds every so many ms, doubled, ... */
static const struct profile profiles[] = {
    {"usual", STRIKE_COUNT, 0, 2500, 500, 60, 30, false, 6000, 4000, 300000, {NO_MORE}},
    {"late-words", STRIKE_LATE_WORDS, OFTEN, 3500, 100, 400, 0, false, 6000, 4000, 300000,
        {SIM_RULE_EPOCH, NO_MORE}},
    {"late-reading", STRIKE_LATE_READING, OFTEN, 3500, 100, 400, 0, false, 6000, 4000, 300000,
        {SIM_RULE_KNOWN_EPOCH, NO_MORE}},
    {"bounce", STRIKE_BOUNCE, OFTEN, 2500, 250, 60, 0, false, 6000, 4000, 300000,
        {SIM_RULE_REPLID, NO_MORE}},
    {"lagging-standby", STRIKE_LAGGING_STANDBY, OFTEN, 2500, 150, 60, 0, false, 20000, 10000,
        300000, {SIM_RULE_KEYS_KEPT, NO_MORE}},
    {"slow-store", STRIKE_SLOW_STORE, ALONE, 2500, 250, 60, 0, false, 6000, 4000, 300000,
        {SIM_RULE_NOT_AFTER, NO_MORE}},
    {"fork", STRIKE_FORK_UNFLUSHED, OFTEN, 3000, 150, 60, 0, false, 6000, 4000, 300000,
        {SIM_RULE_SERVED, NO_MORE}},
    {"fork-dropped", STRIKE_FORK_DROPPED, OFTEN, 3000, 150, 60, 0, false, 6000, 4000, 300000,
        {SIM_RULE_SERVED_FROM, NO_MORE}},
    {"late-flush", STRIKE_LATE_FLUSH, OFTEN, 3000, 80, 60, 0, false, 6000, 4000, 300000,
        {SIM_RULE_READ_AFTER, SIM_RULE_FLUSH_EPOCH, SIM_RULE_FENCE_LEDGER, NO_MORE}},
    {"lost-recovery", STRIKE_LOSE_RECOVERY, OFTEN, 3000, 150, 60, 0, false, 6000, 4000, 300000,
        {SIM_RULE_BEGINNING, NO_MORE}},
    {"standbys", STRIKE_FAIL_OVER_TWICE, OFTEN, 5000, 150, 60, 0, false, 6000, 5500, 300000,
        {SIM_RULE_PASSED, NO_MORE}},
    {"rush", STRIKE_COUNT, 0, 20000, 110, 60, 0, false, 6000, 4000, 60000,
        {SIM_RULE_HOLD, NO_MORE}},
    {"old-backup", STRIKE_CUT_LEDGER, ALONE, 8000, 400, 60, 0, true, 6000, 4000, 300000,
        {SIM_RULE_TELL_TRIMMED, NO_MORE}},
    {"poison", STRIKE_POISON, OFTEN, 2500, 150, 60, 0, false, 6000, 4000, 300000,
        {SIM_RULE_SET_ASIDE, SIM_RULE_ASIDE_LAST, SIM_RULE_ASIDE_WAITS, SIM_RULE_RETRY_WHOLE,
            NO_MORE}},
    {"moving-keys", STRIKE_MOVE_KEYS, OFTEN, 2500, 150, 60, 0, false, 6000, 4000, 300000,
        {SIM_RULE_DECLARED, NO_MORE}},
    {"again", STRIKE_COUNT, 0, 4000, 250, 60, 500, false, 6000, 4000, 300000,
        {SIM_RULE_DUPLICATES, NO_MORE}},
};

const struct profile *const profile_usual = &profiles[0];

const struct profile *profile_named(const char *name)
{
	for (size_t i = 0; i < CG_COUNT_OF(profiles); i++) {
		if (strcmp(profiles[i].name, name) == 0) {
			return &profiles[i];
		}
	}
	return NULL;
}

const struct profile *profile_of_rule(enum sim_rule rule)
{
	for (size_t i = 0; i < CG_COUNT_OF(profiles); i++) {
		for (size_t j = 0; profiles[i].rules[j] != NO_MORE; j++) {
			if (profiles[i].rules[j] == rule) {
				return &profiles[i];
			}
		}
	}
	return profile_usual;
}

const struct profile *profile_after(const struct profile *profile)
{
	return profile + 1 < profiles + CG_COUNT_OF(profiles) ? profile + 1 : NULL;
}
