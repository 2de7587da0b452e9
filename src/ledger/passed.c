/*
 * What may be trimmed is what the cursor passed a margin ago: the margin is how far a standby
 * that takes over may lag behind, and an entry that waited for the ledger for longer than that
 * is no less lost with it.  So its own age says nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "ledger/passed.h"

#include "ledger/ledger_internal.h"

void cg_passed_note(
    struct cg_passed *passed, struct cg_entry_id cursor, uint64_t margin_ms, uint64_t now_ms)
{
	/* Rounded up: eight steps are never less than the margin. */
	uint64_t step_ms = (margin_ms + CG_PASSED_STEPS - 1) / CG_PASSED_STEPS;
	const struct cg_entry_id *latest =
	    &passed->steps[(passed->next + CG_PASSED_STEPS - 1) % CG_PASSED_STEPS];

	if (cg_position_compare(cursor.epoch, cursor.n, latest->epoch, latest->n) < 0) {
		/* Another ledger leads, and lacks them: what was passed before is passed anew. */
		*passed = (struct cg_passed){0};
	}
	if (passed->noted_at_ms != 0 && now_ms < passed->noted_at_ms + step_ms) {
		return;
	}
	passed->trimmable = margin_ms > 0 ? passed->steps[passed->next] : cursor;
	passed->steps[passed->next] = cursor;
	passed->next = (passed->next + 1) % CG_PASSED_STEPS;
	passed->noted_at_ms = now_ms;
}
