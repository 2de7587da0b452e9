/*
 * A look at every partition's cursor, once a second: what other sidecars have done, and what may
 * be trimmed.  That is what the cursor had passed a margin ago: the margin is how far a standby
 * that takes over may lag behind, and an entry that waited for the ledger for longer than that is
 * no less lost with it.  So its own age says nothing; and when it was passed only the ledger knows
 * that has it (callgate.passed).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "ledger/ledger_internal.h"

#define LOOK_EVERY_MS 1000

/* Columns: partition, epoch, last_epoch, last_n, served. */
void cg_cursors__decode(const PGresult *result, int row, struct cg_cursor_row *ret_row)
{
	*ret_row = (struct cg_cursor_row){
	    .epoch = (uint64_t)cg_result__int(result, row, 1),
	    .last_epoch = (uint64_t)cg_result__int(result, row, 2),
	    .last_n = (uint64_t)cg_result__int(result, row, 3),
	    .served = (uint64_t)cg_result__int(result, row, 4),
	};
}

static const char *prepare(struct cg_job *job, struct cg_params *params)
{
	struct cg_ledger *ledger = CG_CONTAINER_OF(job, struct cg_ledger, cursors_job);

	cg_params__int8(params, ledger->config.trim_margin_ms);
	return "select c.partition, c.epoch, c.last_epoch, c.last_n, c.served,"
	       " c.passed_epoch, c.passed_n from callgate.cursors_look($1) c";
}

static bool on_end(struct cg_job *job, enum cg_status status, const PGresult *result)
{
	struct cg_ledger *ledger = CG_CONTAINER_OF(job, struct cg_ledger, cursors_job);

	ledger->cursors_job_runs = false;
	if (status != CG_OK || ledger->is_closed) {
		return false;
	}
	for (int row = 0; row < PQntuples(result); row++) {
		int64_t partition = cg_result__int(result, row, 0);
		struct cg_cursor_row seen;

		if (partition >= 0 && partition < (int64_t)ledger->config.partition_count) {
			cg_cursors__decode(result, row, &seen);
			ledger->parts[partition].trimmable =
			    (struct cg_entry_id){.partition = (uint32_t)partition,
			        .epoch = (uint64_t)cg_result__int(result, row, 5),
			        .n = (uint64_t)cg_result__int(result, row, 6)};
			cg_recovery__cursor_seen(&ledger->parts[partition], &seen);
		}
	}
	return false;
}

void cg_cursors__tick(struct cg_ledger *ledger, uint64_t now_ms)
{
	if (ledger->cursors_job_runs || now_ms < ledger->cursors_at_ms + LOOK_EVERY_MS ||
	    !cg_pool__is_connected(ledger->pool)) {
		return;
	}
	ledger->cursors_at_ms = now_ms;
	ledger->cursors_job_runs = true;
	ledger->cursors_job =
	    (struct cg_job){.deadline_at_ms = now_ms + 5000, .prepare = prepare, .on_end = on_end};
	cg_pool__submit(ledger->pool, &ledger->cursors_job);
}
