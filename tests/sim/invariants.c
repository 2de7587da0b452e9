/* SPDX-License-Identifier: Apache-2.0 */
#include "invariants.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "callers.h"
#include "postgres.h"
#include "redis.h"
#include "store/wire.h"
#include "store_records.h"

static bool is_after(uint64_t a_epoch, uint64_t a_n, uint64_t b_epoch, uint64_t b_n)
{
	return a_epoch > b_epoch || (a_epoch == b_epoch && a_n > b_n);
}

/* Whether the store would serve this epoch: asked as any sidecar does. */
static bool is_confirmed(uint32_t partition, uint64_t epoch)
{
	static const struct cg_wire_config config = {.partition_count = SIM_PARTITIONS};
	/* world.c: the first of its companies has its number.  Absent is an answer, too. */
	struct cg_store_op op = {.verb = CG_STORE_BALANCE, .company = sim.companies[partition]};
	char memory[1024];
	struct cg_buffer command;

	cg_buffer_init(&command, memory, sizeof memory);
	cg_wire_encode(&op, partition, epoch, &config, &command);
	struct cg_view reply = redis_execute(cg_buffer_view(&command));
	if (reply.data[0] != '$') {
		return false; /* its keys are on their way to another node */
	}
	const char *line = memchr(reply.data, '\n', reply.len);
	cg_wire_decode(&op, partition,
	    (struct cg_view){line + 1, reply.len - (size_t)(line + 1 - reply.data) - 2});
	return op.status == CG_OK;
}

static void check_record(uint32_t company, const struct store_wallet *wallet)
{
	int64_t due = 0;
	bool is_in_due_set = store_due_read(company, &due);

	if (wallet->held != wallet->held_by_calls || wallet->burn != wallet->burn_by_calls ||
	    wallet->calls != wallet->live_calls) {
		sim_violated("company %" PRIu32 ": held %" PRId64 " of %" PRId64 ", burn %" PRId64
		             " of %" PRId64 ", calls %" PRId64 " of %" PRId64,
		    company, wallet->held, wallet->held_by_calls, wallet->burn,
		    wallet->burn_by_calls, wallet->calls, wallet->live_calls);
	}
	if (wallet->live_calls > 0 && (!is_in_due_set || wallet->due == 0 || due != wallet->due)) {
		sim_violated(
		    "company %" PRIu32 " has calls, and is not in the due set as it says", company);
	}
}

/* posted = balance + what was not flushed yet; versions likewise, without gaps. */
static void check_wallet_now(uint32_t company, const struct store_head *head)
{
	const struct pg_wallet *booked = &postgres.now.wallets[company];
	const struct pg_cursor *cursor = &postgres.now.cursors[store_partition_of(company)];
	const struct mem_object *stream = store_ledger_stream(store_partition_of(company));
	struct store_wallet wallet;
	int64_t balance = booked->balance;
	uint64_t version = booked->version;

	if (!store_wallet_read(company, &wallet) || wallet.generation < head->floor ||
	    pg_aside_last(company) != NULL) {
		return;
	}
	for (size_t i = 0; stream != NULL && i < stream->count; i++) {
		struct store_entry entry = store_entry_of(&stream->items[i]);
		if (entry.company == company &&
		    is_after(entry.epoch, entry.n, cursor->last_epoch, cursor->last_n)) {
			balance += entry.amount;
			version++;
		}
	}
	if (wallet.posted != balance || wallet.version != version) {
		sim_violated("company %" PRIu32 ": the store has %" PRId64 " at version %" PRIu64
		             ", the ledger and the stream %" PRId64 " at %" PRIu64,
		    company, wallet.posted, wallet.version, balance, version);
	}
	check_record(company, &wallet);
}

void invariants_check_now(void)
{
	for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
		const struct pg_cursor *cursor = &postgres.now.cursors[p];
		struct store_head head;
		bool is_of_one_history = store_head_read(p, &head) && head.is_serving &&
		    cursor->is_there && head.epoch == cursor->epoch &&
		    head.epoch == cursor->served && is_confirmed(p, head.epoch);
		for (uint32_t i = p; i < SIM_COMPANIES && is_of_one_history; i += SIM_PARTITIONS) {
			check_wallet_now(i, &head);
		}
	}
}

/* Keys, balances, versions, chains: the ledger by itself. */
static void check_books(uint32_t company)
{
	int64_t balance = 0;
	uint64_t version = 0, chain = 0;

	for (size_t i = 0; i < postgres.now.row_count; i++) {
		const struct pg_row *row = &postgres.rows[i];
		if (row->company != company) {
			continue;
		}
		balance += row->amount;
		version++;
		chain = pg_hash(chain, row);
		if (row->balance_after != balance || row->version != version ||
		    row->hash != chain) {
			sim_violated("company %" PRIu32 ": entry %" PRIu32 "-%" PRIu64 "-%" PRIu64
			             " does not follow",
			    company, row->partition, row->epoch, row->n);
		}
		const struct pg_key *key = pg_key_find(company, row->type, row->reference);
		if (key == NULL || pg_row_of(key) != row) {
			sim_violated("company %" PRIu32 ": %s %s is booked twice", company,
			    row->type, row->reference);
		}
	}
	if (balance != postgres.now.wallets[company].balance ||
	    version != postgres.now.wallets[company].version) {
		sim_violated(
		    "company %" PRIu32 ": its balance is not the sum of its rows", company);
	}
}

static const struct pg_row *booked(const struct deed *deed)
{
	const struct pg_key *key = pg_key_find(deed->company, deed_entry_type(deed), deed->id);

	return key == NULL ? NULL : pg_row_of(key);
}

/* What was assumed of a call that nobody settled in time, and what its Settle corrected. */
static const struct pg_row *correction(const struct deed *deed)
{
	char reference[PG_TEXT_BYTES];

	(void)snprintf(reference, sizeof reference, "correction:%s", deed->id);
	const struct pg_key *key = pg_key_find(deed->company, "adjustment", reference);
	return deed->kind != DEED_CALL || key == NULL ? NULL : pg_row_of(key);
}

static void check_acknowledged(const struct deed *deed)
{
	const struct pg_row *row = booked(deed);
	const struct pg_row *corrected = correction(deed);
	bool is_assumed =
	    row != NULL && row->meta != NULL && strstr(row->meta, "\"basis\":\"assumed\"") != NULL;
	int64_t amount =
	    row == NULL ? 0 : row->amount + (corrected == NULL ? 0 : corrected->amount);

	if (row != NULL && amount != deed_amount(deed) && (corrected != NULL || !is_assumed)) {
		sim_violated("%s is booked with %" PRId64 " instead of %" PRId64, deed->id, amount,
		    deed_amount(deed));
	}
	if (row != NULL && (corrected != NULL || !is_assumed)) {
		return;
	}
	if (deed->committed.is_acked) {
		sim_violated("%s was answered COMMITTED and is not in the ledger", deed->id);
	} else if (deed->accepted.is_acked && deed->kind == DEED_CREDIT) {
		sim_violated("%s was acknowledged and is not in the ledger", deed->id);
	} else if (deed->accepted.is_acked &&
	    !redis_entry_was_lost(deed->accepted.entry.partition, deed->accepted.entry.epoch,
	        deed->accepted.entry.n) &&
	    !pg_is_explained_orphan(&deed->accepted.entry)) {
		sim_violated("%s was accepted, the store lost nothing of it, and it is not in the "
		             "ledger as %" PRIu32 "-%" PRIu64 "-%" PRIu64,
		    deed->id, deed->accepted.entry.partition, deed->accepted.entry.epoch,
		    deed->accepted.entry.n);
	}
}

void invariants_check_acknowledged(void)
{
	for (uint32_t i = 0; i < callers_count(); i++) {
		if (deed_leaves_entry(callers_deed(i))) {
			check_acknowledged(callers_deed(i));
		}
	}
}

/* Of a company: what its deeds amount to, and nothing else. */
static int64_t check_deeds(uint32_t company)
{
	int64_t sum = 0;

	for (uint32_t i = 0; i < callers_count(); i++) {
		const struct deed *deed = callers_deed(i);
		if (deed->company != company || !deed_leaves_entry(deed)) {
			continue;
		}
		if (booked(deed) == NULL) {
			sim_violated("%s was repeated, and is not in the ledger", deed->id);
		}
		if (!deed->repeated_well) {
			sim_violated("%s was repeated, and never answered well", deed->id);
		}
		sum += deed_amount(deed);
	}
	return sum;
}

static void check_company_at_end(uint32_t company)
{
	int64_t sum = check_deeds(company);
	struct store_wallet wallet;
	struct store_head head;

	check_books(company);
	if (postgres.now.wallets[company].balance != sum) {
		sim_violated("company %" PRIu32 " has %" PRId64
		             " in the ledger, its deeds make %" PRId64,
		    company, postgres.now.wallets[company].balance, sum);
	}
	if (store_head_read(store_partition_of(company), &head) &&
	    store_wallet_read(company, &wallet) && wallet.generation >= head.floor) {
		if (wallet.posted != sum ||
		    wallet.version != postgres.now.wallets[company].version) {
			sim_violated("company %" PRIu32 " has %" PRId64
			             " in the store, its deeds make %" PRId64,
			    company, wallet.posted, sum);
		}
		if (wallet.held != 0 || wallet.burn != 0 || wallet.live_calls != 0) {
			sim_violated("company %" PRIu32 ": %" PRId64 " calls live, nobody talks",
			    company, wallet.live_calls);
		}
	}
}

static bool is_entry_booked(const struct cg_entry_id *id)
{
	const struct pg_key key = {.partition = id->partition, .epoch = id->epoch, .n = id->n};

	return pg_row_of(&key) != NULL;
}

/* What was dropped is booked, or was lost before that, or there is a reason why it was not kept. */
static void check_orphans(void)
{
	for (size_t i = 0; i < postgres.orphan_count; i++) {
		const struct cg_entry_id *id = &postgres.orphans[i].id;
		if (!pg_is_explained_orphan(id) && !is_entry_booked(id) &&
		    !redis_entry_was_lost(id->partition, id->epoch, id->n)) {
			sim_violated("%" PRIu32 "-%" PRIu64 "-%" PRIu64
			             " is an orphan of a history that was the latest",
			    id->partition, id->epoch, id->n);
		}
	}
}

void invariants_check_end(void)
{
	check_orphans();
	if (postgres.orphan_count > 0 && redis_lost_at_ms() == 0) {
		sim_violated(
		    "%zu entries are orphans of a store that lost nothing", postgres.orphan_count);
	}
	invariants_check_now();
	invariants_check_acknowledged();
	for (uint32_t i = 0; i < SIM_COMPANIES; i++) {
		check_company_at_end(i);
	}
}

bool invariants_are_drained(void)
{
	for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
		const struct mem_object *stream = store_ledger_stream(p);
		const struct pg_cursor *cursor = &postgres.now.cursors[p];
		if (stream == NULL) {
			return false;
		}
		if (stream->count > 0) {
			const struct mem_item *last = &stream->items[stream->count - 1];
			if (is_after(last->epoch, last->n, cursor->last_epoch, cursor->last_n)) {
				return false;
			}
		}
	}
	for (size_t i = 0; i < postgres.now.receipt_count; i++) {
		if (!pg_receipt_is_applied(i)) {
			return false;
		}
	}
	for (uint32_t i = 0; i < SIM_COMPANIES; i++) {
		if (pg_aside_last(i) != NULL) {
			return false;
		}
	}
	return true;
}
