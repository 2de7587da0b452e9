/* SPDX-License-Identifier: Apache-2.0 */
#include "operator.h"

#include <stddef.h>

#include "callers.h"
#include "clock.h"
#include "postgres.h"

#define VISIT_MS       700
#define ANSWER_MOST_MS 3000 /* an answer that is under way for longer is lost */

static struct sim_event *next_visit;

/* It waits, so it is in no ledger.  A standby may have lost that it was. */
static void check_nobody_was_told(void)
{
	for (uint32_t i = 0; i < callers_count(); i++) {
		const struct deed *deed = callers_deed(i);
		const struct deed_ack *told = &deed->committed;
		bool counts = told->is_acked &&
		    (postgres.failed_over_at_ms == 0 ||
		        told->at_ms > postgres.failed_over_at_ms + ANSWER_MOST_MS);
		if (counts &&
		    pg_aside_find(told->entry.partition, told->entry.epoch, told->entry.n) !=
		        NULL) {
			sim_violated("%s was answered COMMITTED, and is in quarantine", deed->id);
		}
	}
}

static void visit(void *arg)
{
	(void)arg;
	next_visit = sim_after(VISIT_MS, visit, NULL);
	if (!pg_is_up()) {
		return;
	}
	check_nobody_was_told();
	for (uint32_t i = 0; i < SIM_COMPANIES; i++) {
		if (pg_aside_last(i) != NULL && (!sim.has_faults || sim_permille(400))) {
			pg_retry(i);
		}
	}
}

void operator_begin(void)
{
	next_visit = sim_after(VISIT_MS, visit, NULL);
}

void operator_end(void)
{
	sim_cancel(next_visit);
}
