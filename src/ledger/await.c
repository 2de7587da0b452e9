/*
 * Waiting until an entry's own row is in the ledger.
 *
 * Most waiters are answered by the flush of this very process.  The others (another
 * sidecar's flusher was quicker, the entry is an old one, its batch had entries set aside, the epoch
 * changed) are looked up, a round of them in two statements:
 *
 *   ENTRIES: cursors, and which of the entries are in quarantine
 *   KEYS:    of those whose epoch is over, whether their key is booked
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "ledger/ledger_internal.h"

#define ROUND_MOST    256
#define LOOK_EVERY_MS 100
#define LOOK_WAIT_MS  5000

/* What a round has found out of one waiter. */
enum verdict {
	VERDICT_WAITS,
	VERDICT_DONE,
	VERDICT_OVERTAKEN,
	VERDICT_ASK_KEY,
	VERDICT_OTHER_ENTRY
};

struct cg_await {
	struct cg_ledger *ledger;
	struct cg_job job;
	bool is_running;
	bool asks_keys; /* the second statement */
	bool is_wanted; /* a waiter may be answered at once */
	uint64_t next_at_ms;
	uint32_t waiter_count;
	struct cg_ledger_op *round[ROUND_MOST];
	enum verdict verdicts[ROUND_MOST];
	uint32_t round_count;
};

static struct cg_ledger_op *op_of(struct cg_list *link)
{
	return CG_CONTAINER_OF(link, struct cg_ledger_op, link);
}

static struct cg_part *part_of(struct cg_ledger *ledger, const struct cg_ledger_op *op)
{
	uint32_t partition = op->in.await.entry_id.partition;

	return &ledger->parts[partition % ledger->config.partition_count];
}

static bool is_at_or_below(const struct cg_entry_id *id, uint64_t epoch, uint64_t n)
{
	return cg_position_compare(id->epoch, id->n, epoch, n) <= 0;
}

static void end(struct cg_ledger_op *op, enum cg_status status, enum cg_ledger_outcome outcome)
{
	op->status = status;
	op->outcome = outcome;
	op->done(op);
}

static void end_all(struct cg_list *ended, enum cg_status status)
{
	for (struct cg_list *link; (link = cg_list_pop(ended)) != NULL;) {
		end(op_of(link), status, CG_LEDGER_DONE);
	}
}

void cg_await__submit(struct cg_ledger *ledger, struct cg_ledger_op *op)
{
	struct cg_await *await = ledger->await;
	struct cg_part *part = part_of(ledger, op);
	const struct cg_entry_id *id = &op->in.await.entry_id;

	if (await->waiter_count >= ledger->config.requests_max) {
		cg_ops__end_later(ledger, op, CG_FULL);
		return;
	}
	await->waiter_count++;
	cg_list_init(&op->link);
	cg_list_append(&part->waiters, &op->link);
	if (id->epoch != part->cursor.epoch ||
	    is_at_or_below(id, part->cursor.last_epoch, part->cursor.last_n)) {
		await->is_wanted = true;
		cg_ledger__tick_within(ledger, 0);
	} else {
		cg_flush__kick(part);
	}
}

void cg_await__moved(struct cg_part *part, uint64_t from_epoch, uint64_t from_n)
{
	struct cg_list ended;

	cg_list_init(&ended);
	for (struct cg_list *link = part->waiters.next, *next; link != &part->waiters;
	     link = next) {
		const struct cg_entry_id *id = &op_of(link)->in.await.entry_id;

		next = link->next;
		if (id->epoch == part->cursor.epoch && !is_at_or_below(id, from_epoch, from_n) &&
		    is_at_or_below(id, part->cursor.last_epoch, part->cursor.last_n)) {
			cg_list_remove(link);
			cg_list_append(&ended, link);
			part->ledger->await->waiter_count--;
		}
	}
	end_all(&ended, CG_OK);
}

void cg_await__look(struct cg_part *part)
{
	if (!cg_list_is_empty(&part->waiters)) {
		part->ledger->await->is_wanted = true;
		cg_ledger__tick_within(part->ledger, 0);
	}
}

static void encode_entries(const struct cg_await *await, struct cg_params *params)
{
	cg_params__array(params, CG_OID_TEXT, await->round_count);
	for (uint32_t i = 0; i < await->round_count; i++) {
		char text[CG_ENTRY_ID_TEXT_BYTES];

		cg_entry_id_format(&await->round[i]->in.await.entry_id, text);
		cg_params__element(params, cg_view_of(text));
	}
}

static void encode_keys(const struct cg_await *await, struct cg_params *params)
{
	cg_params__array(params, CG_OID_UUID, await->round_count);
	for (uint32_t i = 0; i < await->round_count; i++) {
		const struct cg_uuid *company = &await->round[i]->company;

		cg_params__element(
		    params, (struct cg_view){(const char *)company->bytes, sizeof company->bytes});
	}
	cg_params__array(params, CG_OID_TEXT, await->round_count);
	for (uint32_t i = 0; i < await->round_count; i++) {
		cg_params__element(
		    params, cg_view_of(cg_entry_type_name(await->round[i]->in.await.key.type)));
	}
	cg_params__array(params, CG_OID_TEXT, await->round_count);
	for (uint32_t i = 0; i < await->round_count; i++) {
		cg_params__element(params, await->round[i]->in.await.key.reference_id);
	}
	encode_entries(await, params);
}

static const char *prepare(struct cg_job *job, struct cg_params *params)
{
	struct cg_await *await = CG_CONTAINER_OF(job, struct cg_await, job);

	if (await->asks_keys) {
		encode_keys(await, params);
		return "select k.ord, k.entry_id from callgate.keys_booked($1, $2, $3, $4) k";
	}
	encode_entries(await, params);
	/* One row per partition, and per entry in quarantine one more. */
	return "select c.partition, c.epoch, c.last_epoch, c.last_n, c.served, q"
	       " from callgate.cursors_read($1) c"
	       " left join lateral unnest(c.quarantined) q on true";
}

/* One row is a cursor, and the name of an entry in quarantine or null. */
static void judge_by_row(struct cg_await *await, const PGresult *result, int row)
{
	struct cg_cursor_row cursor;
	struct cg_entry_id aside = {0};

	cg_cursors__decode(result, row, &cursor);
	(void)cg_entry_id_parse(cg_result__view(result, row, 5), &aside);
	for (uint32_t i = 0; i < await->round_count; i++) {
		const struct cg_entry_id *id = &await->round[i]->in.await.entry_id;

		if ((int64_t)id->partition != cg_result__int(result, row, 0) ||
		    await->verdicts[i] == VERDICT_OVERTAKEN) {
			continue;
		}
		if (aside.epoch == id->epoch && aside.n == id->n && id->epoch != 0) {
			await->verdicts[i] = VERDICT_OVERTAKEN;
		} else if (cursor.epoch != id->epoch ||
		    is_at_or_below(id, cursor.last_epoch, cursor.last_n)) {
			/* Also where the cursor has passed: it may be booked as a duplicate. */
			await->verdicts[i] = VERDICT_ASK_KEY;
		}
	}
}

/* True: the keys of some must be asked. */
static bool judge_entries(struct cg_await *await, const PGresult *result)
{
	bool asks = false;

	for (int row = 0; row < PQntuples(result); row++) {
		judge_by_row(await, result, row);
	}
	for (uint32_t i = 0; i < await->round_count; i++) {
		asks = asks || await->verdicts[i] == VERDICT_ASK_KEY;
	}
	return asks;
}

/* The key alone proves nothing: another entry, of another history, may have taken it. */
static enum verdict verdict_of_key(const struct cg_entry_id *id, struct cg_view booked_by)
{
	struct cg_entry_id booked;

	if (booked_by.len == 0 || !cg_entry_id_parse(booked_by, &booked)) {
		return VERDICT_OVERTAKEN;
	}
	bool is_own =
	    booked.partition == id->partition && booked.epoch == id->epoch && booked.n == id->n;
	return is_own ? VERDICT_DONE : VERDICT_OTHER_ENTRY;
}

static void judge_keys(struct cg_await *await, const PGresult *result)
{
	for (int row = 0; row < PQntuples(result) && row < (int)await->round_count; row++) {
		if (await->verdicts[row] == VERDICT_ASK_KEY) {
			await->verdicts[row] = verdict_of_key(
			    &await->round[row]->in.await.entry_id, cg_result__view(result, row, 1));
		}
	}
}

static enum cg_ledger_outcome outcome_of(enum verdict verdict)
{
	return verdict == VERDICT_DONE       ? CG_LEDGER_DONE
	    : verdict == VERDICT_OTHER_ENTRY ? CG_LEDGER_OTHER_ENTRY
	                                     : CG_LEDGER_OVERTAKEN;
}

/* Waiters that are to go on waiting go back; the others are answered. */
static void end_round(struct cg_await *await, enum cg_status status)
{
	uint32_t count = await->round_count;
	struct cg_ledger_op *round[ROUND_MOST];
	enum verdict verdicts[ROUND_MOST];

	/* Copied: an answer may submit, and so begin to wait anew. */
	memcpy(round, await->round, sizeof round);
	memcpy(verdicts, await->verdicts, sizeof verdicts);
	await->round_count = 0;
	await->is_running = false;
	for (uint32_t i = 0; i < count; i++) {
		if (status == CG_OK && verdicts[i] == VERDICT_WAITS) {
			cg_list_append(&part_of(await->ledger, round[i])->waiters, &round[i]->link);
			continue;
		}
		await->waiter_count--;
		end(round[i], status, outcome_of(verdicts[i]));
	}
}

static bool on_end(struct cg_job *job, enum cg_status status, const PGresult *result)
{
	struct cg_await *await = CG_CONTAINER_OF(job, struct cg_await, job);

	if (status == CG_OK && !await->asks_keys && judge_entries(await, result)) {
		await->asks_keys = true;
		return true;
	}
	if (status == CG_OK && await->asks_keys) {
		judge_keys(await, result);
	}
	end_round(await, status == CG_INVALID || status == CG_DENIED ? CG_INTERNAL : status);
	return false;
}

static void fill_round(struct cg_await *await)
{
	struct cg_ledger *ledger = await->ledger;

	await->round_count = 0;
	for (uint32_t i = 0; i < ledger->config.partition_count; i++) {
		struct cg_list *link;

		while (await->round_count < ROUND_MOST &&
		    (link = cg_list_pop(&ledger->parts[i].waiters)) != NULL) {
			await->verdicts[await->round_count] = VERDICT_WAITS;
			await->round[await->round_count++] = op_of(link);
		}
	}
}

static void end_late(struct cg_ledger *ledger, uint64_t now_ms)
{
	struct cg_list late;

	cg_list_init(&late);
	for (uint32_t i = 0; i < ledger->config.partition_count; i++) {
		struct cg_list *head = &ledger->parts[i].waiters;

		for (struct cg_list *link = head->next, *next; link != head; link = next) {
			next = link->next;
			if (op_of(link)->deadline_at_ms <= now_ms) {
				cg_list_remove(link);
				cg_list_append(&late, link);
				ledger->await->waiter_count--;
			}
		}
	}
	end_all(&late, CG_TIMEOUT);
}

void cg_await__tick(struct cg_ledger *ledger, uint64_t now_ms)
{
	struct cg_await *await = ledger->await;

	if (await->waiter_count == 0) {
		return;
	}
	end_late(ledger, now_ms);
	if (await->is_running || ledger->is_closed ||
	    (!await->is_wanted && now_ms < await->next_at_ms)) {
		return;
	}
	await->is_wanted = false;
	await->next_at_ms = now_ms + LOOK_EVERY_MS;
	fill_round(await);
	if (await->round_count == 0) {
		return;
	}
	await->is_running = true;
	await->asks_keys = false;
	await->job = (struct cg_job){
	    .deadline_at_ms = now_ms + LOOK_WAIT_MS, .prepare = prepare, .on_end = on_end};
	cg_pool__submit(ledger->pool, &await->job);
}

bool cg_await__has_waiters(const struct cg_ledger *ledger)
{
	return ledger->await->waiter_count > 0;
}

void cg_await__close(struct cg_ledger *ledger)
{
	struct cg_list ended;

	cg_list_init(&ended);
	for (uint32_t i = 0; i < ledger->config.partition_count; i++) {
		for (struct cg_list *link;
		     (link = cg_list_pop(&ledger->parts[i].waiters)) != NULL;) {
			cg_list_append(&ended, link);
			ledger->await->waiter_count--;
		}
	}
	end_all(&ended, CG_CLOSING);
}

void cg_await__create(struct cg_ledger *ledger)
{
	ledger->await = calloc(1, sizeof *ledger->await);
	CG_ASSERT(ledger->await != NULL);
	ledger->await->ledger = ledger;
}

void cg_await__destroy(struct cg_ledger *ledger)
{
	free(ledger->await);
}
