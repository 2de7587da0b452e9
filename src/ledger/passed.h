/*
 * How far a partition's cursor had come a margin ago.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_LEDGER_PASSED_H
#define CG_LEDGER_PASSED_H

#include "gate/ports/types.h"

/* In so many steps the cursor's way over a margin is remembered. */
#define CG_PASSED_STEPS 8

struct cg_passed {
	struct cg_entry_id steps[CG_PASSED_STEPS]; /* as a ring; epoch 0: not there yet */
	uint32_t next;
	uint64_t noted_at_ms; /* when the last one was noted; 0: there is none */
	struct cg_entry_id
	    trimmable; /* up to here the cursor had passed a margin ago; epoch 0: nothing */
};

/*
 * Where the cursor is now, told as often as it is known: what it passed is trimmable after
 * `margin_ms` at the earliest and about an eighth more at the latest, counted from when it was
 * told.  0: at once.  Where the cursor went back, all that it had passed is forgotten.
 * `now_ms`: the loop's, above 0.
 */
void cg_passed_note(
    struct cg_passed *passed, struct cg_entry_id cursor, uint64_t margin_ms, uint64_t now_ms);

#endif /* CG_LEDGER_PASSED_H */
