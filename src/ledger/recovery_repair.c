/*
 * Recovery of a partition whose history is the latest, and shorter than the ledger: what the
 * ledger has above the stream's end, a page at a time, wallet by wallet.
 *
 *   REPAIR_READ (Postgres, which also keeps the turn) --a page--> REPAIR_PUT (store)
 *        ^  `--nothing above--> recovery.c, SERVED                    |
 *        '------------------------every wallet of it answered---------'
 *
 * In REPAIR_PUT so many functions are on their way at a time.  None of them adds to the stream,
 * so a recovery that begins again finds the same end, and the same entries above it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "ledger/ledger_internal.h"
#include "ledger/tail_page.h"

#define LANES          32
#define PAGE_MOST      512
#define PAGE_LEAST     16
#define PAGES_ROWS_ALL 65536 /* of all partitions together: what a recovery of everything takes */

struct lane {
	struct cg_partition_op op;
	struct cg_part *part;
	bool is_busy;
};

struct cg_recovery_repair {
	struct cg_entry_id after; /* read up to here */
	struct cg_tail_page page;
	uint32_t next; /* the first of the page's entries that is not sent yet */
	uint32_t busy_count;
	bool has_failed;
	uint64_t entry_count; /* so far, for the log */
	uint64_t begun_at_ms;
	struct lane lanes[LANES];
};

static void enter_read(struct cg_part *part);

void cg_recovery_repair__end(struct cg_part *part)
{
	if (part->repair != NULL) {
		cg_tail_page__deinit(&part->repair->page);
		free(part->repair);
		part->repair = NULL;
	}
}

static size_t text_bytes(const struct cg_repair_entry *entry)
{
	return entry->key.reference_id.len + entry->row.resource_type.len +
	    entry->row.destination.len + entry->row.meta.pairs.len;
}

/* How many of the page's entries from `first` on are one wallet's and fit one function call. */
static uint32_t count_from(const struct cg_recovery_repair *repair, uint32_t first)
{
	const struct cg_tail_page *page = &repair->page;
	size_t bytes = 0;
	uint32_t count = 0;

	while (first + count < page->count && count < CG_REPAIR_ENTRIES_MOST &&
	    cg_uuid_equal(&page->wallets[first].company, &page->wallets[first + count].company)) {
		struct cg_repair_entry *entry = &page->entries[first + count];

		if (text_bytes(entry) > CG_REPAIR_TEXT_MAX_BYTES) {
			/* Whoever asks for the call is told it without its meta; the ledger has it. */
			entry->row.meta.pairs.len = 0;
		}
		bytes += text_bytes(entry);
		if (bytes > CG_REPAIR_TEXT_MAX_BYTES) {
			break;
		}
		count++;
	}
	return count;
}

static void finish(struct cg_part *part)
{
	struct cg_recovery_repair *repair = part->repair;

	cg_log(CG_LOG_WARN, "partition lost entries that the ledger has: repaired", "partition",
	    cg_log_int(part->index), "entries", cg_log_int((int64_t)repair->entry_count), "took_ms",
	    cg_log_int((int64_t)(cg_loop_now_ms(part->ledger->loop) - repair->begun_at_ms)), NULL);
	cg_recovery_repair__end(part);
	cg_recovery_steps__enter_served(part, part->served_epoch);
}

static void send_more(struct cg_part *part);

static void on_repaired(struct cg_partition_op *op)
{
	struct lane *lane = CG_CONTAINER_OF(op, struct lane, op);
	struct cg_part *part = lane->part;
	struct cg_recovery_repair *repair = part->repair;

	lane->is_busy = false;
	repair->busy_count--;
	if (op->status != CG_OK || op->out.repair.overtaken) {
		repair->has_failed = true;
	}
	send_more(part);
}

static struct lane *free_lane(struct cg_recovery_repair *repair)
{
	for (uint32_t i = 0; i < LANES; i++) {
		if (!repair->lanes[i].is_busy) {
			return &repair->lanes[i];
		}
	}
	return NULL;
}

static void send_one(struct cg_part *part, struct lane *lane, uint32_t first, uint32_t count)
{
	const struct cg_tail_page *page = &part->repair->page;

	lane->is_busy = true;
	lane->part = part;
	part->repair->busy_count++;
	lane->op.in.repair.epoch = part->epoch;
	lane->op.in.repair.company = page->wallets[first].company;
	lane->op.in.repair.posted = page->wallets[first].posted;
	lane->op.in.repair.version = page->wallets[first].version;
	lane->op.in.repair.entries = &page->entries[first];
	lane->op.in.repair.entry_count = count;
	cg_recovery__submit(part, &lane->op, CG_PARTITION_REPAIR, on_repaired);
}

/* Sends what there is room for; goes on where everything was answered. */
static void send_more(struct cg_part *part)
{
	struct cg_recovery_repair *repair = part->repair;
	struct lane *lane = NULL;
	bool stops = repair->has_failed || part->hello_wanted || part->ledger->is_closed;

	while (!stops && repair->next < repair->page.count && (lane = free_lane(repair)) != NULL) {
		uint32_t first = repair->next;
		uint32_t count = count_from(repair, first);

		repair->next += count;
		if (repair->page.wallets[first].is_known) {
			send_one(part, lane, first, count);
		}
	}
	/* What is under way has our memory: nothing ends before all of it is back. */
	if (repair->busy_count > 0 || cg_recovery__is_void(part)) {
		return;
	}
	if (repair->has_failed) {
		cg_recovery__again(part, CG_RETRY_LATER_MS);
	} else {
		enter_read(part);
	}
}

static const char *prepare_page(struct cg_job *job, struct cg_params *params)
{
	struct cg_part *part = CG_CONTAINER_OF(job, struct cg_part, job);

	return cg_tail_page__statement(
	    params, part->index, part->epoch, &part->repair->after, part->repair->page.capacity);
}

static bool on_page(struct cg_job *job, enum cg_status status, const PGresult *result)
{
	struct cg_part *part = CG_CONTAINER_OF(job, struct cg_part, job);
	struct cg_recovery_repair *repair = part->repair;

	if (cg_recovery__is_void(part)) {
		return false;
	}
	if (status != CG_OK || !cg_tail_page__decode(&repair->page, result)) {
		cg_recovery__again(part, CG_RETRY_LATER_MS);
		return false;
	}
	if (repair->page.count == 0) {
		finish(part);
		return false;
	}
	repair->after.epoch = repair->page.last_epoch;
	repair->after.n = repair->page.last_n;
	repair->entry_count += repair->page.count;
	repair->next = 0;
	part->phase = CG_PART_REPAIR_PUT;
	send_more(part);
	return false;
}

static void enter_read(struct cg_part *part)
{
	part->phase = CG_PART_REPAIR_READ;
	cg_recovery__ask_ledger(part, prepare_page, on_page);
}

static uint32_t page_rows(const struct cg_part *part)
{
	uint32_t rows = PAGES_ROWS_ALL / part->ledger->config.partition_count;

	return rows > PAGE_MOST ? PAGE_MOST : rows < PAGE_LEAST ? PAGE_LEAST : rows;
}

void cg_recovery_repair__enter(struct cg_part *part)
{
	struct cg_recovery_repair *repair = calloc(1, sizeof *repair);

	CG_ASSERT(repair != NULL);
	part->repair = repair;
	cg_tail_page__init(&repair->page, page_rows(part));
	repair->after = (struct cg_entry_id){
	    .partition = part->index, .epoch = part->stream_epoch, .n = part->stream_n};
	repair->begun_at_ms = cg_loop_now_ms(part->ledger->loop);
	enter_read(part);
}
