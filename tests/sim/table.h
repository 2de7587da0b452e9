/*
 * The table of the rules: each one taken away, seeds must fail.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_TABLE_H
#define CG_SIM_TABLE_H

#include <stdint.h>

/*
 * Each rule in its own profile, `seeds` of them at most; `enough` failed ones of a rule are
 * enough, 0: all are run.  The lowest that failed is run once more with the rule in place, and
 * must pass: else it says nothing of the rule.  0 where every rule is missed, else 1.
 */
int table_print(uint64_t seeds, uint64_t enough);

#endif /* CG_SIM_TABLE_H */
