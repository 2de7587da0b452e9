/*
 * The tariff: the rate of a call by the longest prefix of its destination.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_GATE_TARIFF_H
#define CG_GATE_TARIFF_H

#include "gate/ports/terms.h"

/* Whether plans and rates stand in the order that the search relies on. */
bool cg_tariff_is_sorted(const struct cg_terms_snapshot *terms);

/* NULL where there is no such plan. */
const struct cg_plan *cg_tariff_plan(const struct cg_terms_snapshot *terms, const char *plan_id);

/*
 * The rate of this plan, currency and resource whose prefix is the longest that
 * `destination` begins with; NULL where none covers it.
 */
const struct cg_rate *cg_tariff_find(const struct cg_terms_snapshot *terms,
    const struct cg_plan *plan, const struct cg_currency *currency, struct cg_view resource_type,
    struct cg_view destination);

#endif /* CG_GATE_TARIFF_H */
