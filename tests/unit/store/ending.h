/*
 * How the tests of the ports wait for an operation.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_UNIT_STORE_ENDING_H
#define CG_UNIT_STORE_ENDING_H

#include "../loop/turn.h"

#include "base/base.h"

#define ENDING_MOST_MS 3000

static inline bool ending_has_come(void *arg)
{
	return *(const unsigned *)arg > 0;
}

/* `done` counts how often its callback ran: once, and with that status. */
static inline void expect_ending(
    struct cg_loop *loop, unsigned *done, const enum cg_status *status, enum cg_status wanted)
{
	assert_true(turn_until(loop, ending_has_come, done, ENDING_MOST_MS));
	if (*status != wanted) {
		fail_msg("%s instead of %s", cg_status_name(*status), cg_status_name(wanted));
	}
	assert_int_equal(*done, 1);
}

#endif /* CG_UNIT_STORE_ENDING_H */
