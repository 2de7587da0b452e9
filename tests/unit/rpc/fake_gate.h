/*
 * A gate that decides nothing: it answers what the request's id asks for.
 *
 *   call_id "status-<n>"    that status, with a reason that goes with it
 *   call_id "slow-<ms>..."  answered after so long
 *   anything else           answered at the end of the turn
 *
 * For methods without a call_id the answer comes at the end of the turn.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_TEST_FAKE_GATE_H
#define CG_TEST_FAKE_GATE_H

#include "gate/gate.h"
#include "loop/loop.h"

struct cg_gate *fake_gate_create(struct cg_loop *loop);
void fake_gate_destroy(struct cg_gate *gate);

uint64_t fake_gate_submitted(const struct cg_gate *gate);
uint64_t fake_gate_answered(const struct cg_gate *gate);

#endif /* CG_TEST_FAKE_GATE_H */
