/*
 * callgate.flush(), as sql/migrations have it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>

#include "postgres.h"
#include "redis.h"

/* The numbers of the parameters, from 0. */
enum parameter {
	PARTITION,
	EPOCH,
	LAST_EPOCH,
	LAST_N,
	TRIMMED_EPOCH,
	TRIMMED_N,
	MODE,
	EPOCHS,
	NS,
	COMPANIES,
	VERSIONS,
	TYPES,
	AMOUNTS,
	BALANCES,
	ATS,
	REFERENCES,
	DESCRIPTIONS,
	RESOURCES,
	QUANTITIES,
	CHARGES,
	METAS,
	RAW,
};

#define SET_ASIDE 2 /* the mode */

static int compare(uint64_t a_epoch, uint64_t a_n, uint64_t b_epoch, uint64_t b_n)
{
	if (a_epoch != b_epoch) {
		return a_epoch < b_epoch ? -1 : 1;
	}
	return a_n == b_n ? 0 : a_n < b_n ? -1 : 1;
}

static PGresult *answer(
    const char *outcome, const struct pg_cursor *cursor, int64_t quarantined, int64_t duplicates)
{
	PGresult *result = pg_result(6);

	pg_put_text(result, 0, 0, outcome);
	pg_put_int(result, 0, 1, (int64_t)cursor->epoch);
	pg_put_int(result, 0, 2, (int64_t)cursor->last_epoch);
	pg_put_int(result, 0, 3, (int64_t)cursor->last_n);
	pg_put_int(result, 0, 4, quarantined);
	pg_put_int(result, 0, 5, duplicates);
	return result;
}

static void read_entry(const struct pg_statement *s, uint32_t i, struct pg_row *row)
{
	struct cg_view bytes;

	*row = (struct pg_row){.partition = (uint32_t)pg_int(s, PARTITION)};
	row->epoch = (uint64_t)pg_element_int(s, EPOCHS, i);
	row->n = (uint64_t)pg_element_int(s, NS, i);
	CG_ASSERT(pg_element(s, COMPANIES, i, &bytes));
	row->company = sim_company_of(bytes.data);
	row->version = (uint64_t)pg_element_int(s, VERSIONS, i);
	pg_element_text(s, TYPES, i, row->type, sizeof row->type);
	row->amount = pg_element_int(s, AMOUNTS, i);
	row->balance_after = pg_element_int(s, BALANCES, i);
	row->at_ms = pg_element_int(s, ATS, i);
	pg_element_text(s, REFERENCES, i, row->reference, sizeof row->reference);
	pg_element_text(s, RESOURCES, i, row->resource, sizeof row->resource);
	row->quantity = pg_element_int(s, QUANTITIES, i);
	row->is_charge = pg_element(s, CHARGES, i, &bytes) && bytes.data[0] != 0;
	if (pg_element(s, METAS, i, &bytes)) {
		row->meta = pg_keep_text(bytes.data + 1, bytes.len - 1); /* the format's version */
	}
	if (pg_int(s, MODE) == SET_ASIDE) {
		row->raw = pg_keep_text(s->values[RAW], (size_t)s->lengths[RAW]);
	}
}

void pg_apply_receipt(const struct pg_row *row)
{
	size_t receipt = pg_receipt_find(row->company, row->type, row->reference);

	if (strcmp(row->type, "usage") != 0 && receipt < postgres.now.receipt_count &&
	    !pg_receipt_is_applied(receipt)) {
		*pg_applied_add() = (struct pg_applied){.receipt = receipt,
		    .partition = row->partition,
		    .epoch = row->epoch,
		    .n = row->n};
	}
}

static void add_key(const struct pg_row *row)
{
	struct pg_key *key = pg_key_add();

	*key = (struct pg_key){
	    .company = row->company, .partition = row->partition, .epoch = row->epoch, .n = row->n};
	memcpy(key->type, row->type, sizeof key->type);
	memcpy(key->reference, row->reference, sizeof key->reference);
}

/* A key that is there already. */
static void check_second(const struct pg_row *row)
{
	/* The ledger was asked before this money moved, and did not have the key. */
	bool was_asked_for = strcmp(row->type, "usage") != 0 || row->is_charge ||
	    (row->meta != NULL && strstr(row->meta, "\"late\":true") != NULL);
	const struct pg_row *first =
	    pg_row_of(pg_key_find(row->company, row->type, row->reference));
	/* Set aside without its key, it was not found under it. */
	bool was_hidden = row->raw != NULL || first->raw != NULL;
	if (was_asked_for && !was_hidden) {
		sim_violated(
		    "%s %s is charged or credited a second time", row->type, row->reference);
	}
}

/* Booked as an adjustment of its own, and taken back by a receipt. */
static void take_back(struct pg_row *row)
{
	char entry_id[48];

	(void)snprintf(entry_id, sizeof entry_id, "%" PRIu32 "-%" PRIu64 "-%" PRIu64,
	    row->partition, row->epoch, row->n);
	if (sim_rule_holds(SIM_RULE_DUPLICATES) && row->amount != 0) {
		struct pg_receipt receipt = {
		    .company = row->company, .amount = -row->amount, .at_ms = pg_now_ms()};
		(void)snprintf(receipt.type, sizeof receipt.type, "adjustment");
		(void)snprintf(receipt.reference, sizeof receipt.reference, "undo:%s", entry_id);
		if (pg_receipt_find(receipt.company, receipt.type, receipt.reference) ==
		    postgres.now.receipt_count) {
			*pg_receipt_add() = receipt;
		}
	}
	(void)snprintf(row->type, sizeof row->type, "adjustment");
	(void)snprintf(row->reference, sizeof row->reference, "dup:%s", entry_id);
	row->resource[0] = '\0';
}

/* As callgate.corrects() has it: the charge that stands is the one that was corrected. */
static bool is_of_what_stands(const struct pg_row *correction)
{
	const struct pg_key *key = pg_key_find(
	    correction->company, "usage", correction->reference + strlen("correction:"));
	const struct pg_row *charge = key == NULL ? NULL : pg_row_of(key);

	return charge != NULL && charge->meta != NULL && correction->meta != NULL &&
	    strstr(charge->meta, "\"basis\":\"assumed\"") != NULL &&
	    pg_meta_int(charge->meta, "billed_ms") + correction->quantity ==
	    pg_meta_int(correction->meta, "billed_ms") &&
	    pg_meta_int(charge->meta, "rate_micros_per_minute") ==
	    pg_meta_int(correction->meta, "rate_micros_per_minute") &&
	    pg_meta_int(charge->meta, "connect_fee_micros") ==
	    pg_meta_int(correction->meta, "connect_fee_micros");
}

static bool is_unfounded(const struct pg_row *row)
{
	return strcmp(row->type, "adjustment") == 0 && row->resource[0] != '\0' &&
	    !is_of_what_stands(row);
}

void pg_book(struct pg_row *row, int64_t *ret_duplicates)
{
	struct pg_wallet *wallet = &postgres.now.wallets[row->company];

	if (is_unfounded(row)) {
		take_back(row);
		(*ret_duplicates)++;
	} else if (pg_key_find(row->company, row->type, row->reference) != NULL) {
		check_second(row);
		take_back(row);
		(*ret_duplicates)++;
	}
	add_key(row);
	row->hash = pg_hash(wallet->chain, row);
	wallet->chain = row->hash;
	wallet->balance = row->balance_after;
	wallet->version = row->version;
	*pg_row_add() = *row;
}

bool pg_follows(const struct pg_row *row)
{
	const struct pg_wallet *wallet = &postgres.now.wallets[row->company];

	return row->company < SIM_COMPANIES && wallet->is_there &&
	    row->version == wallet->version + 1 &&
	    row->balance_after == wallet->balance + row->amount;
}

static const char *refusal(const struct pg_statement *s, const struct pg_cursor *cursor)
{
	if (!cursor->is_there) {
		return "no_cursor";
	}
	if (cursor->fence != (uint64_t)pg_int(s, EPOCH) && sim_rule_holds(SIM_RULE_FLUSH_EPOCH)) {
		return "fenced";
	}
	if ((cursor->last_epoch != (uint64_t)pg_int(s, LAST_EPOCH) ||
	        cursor->last_n != (uint64_t)pg_int(s, LAST_N)) &&
	    sim_rule_holds(SIM_RULE_FLUSH_COMPARE)) {
		return "moved";
	}
	if (compare(cursor->last_epoch, cursor->last_n, (uint64_t)pg_int(s, TRIMMED_EPOCH),
	        (uint64_t)pg_int(s, TRIMMED_N)) < 0 &&
	    sim_rule_holds(SIM_RULE_TELL_TRIMMED)) {
		return "trimmed";
	}
	return NULL;
}

PGresult *pg_flush(const struct pg_statement *s)
{
	uint32_t partition = (uint32_t)pg_int(s, PARTITION);
	struct pg_cursor *cursor = &postgres.now.cursors[partition];
	uint32_t count = pg_array_count(s, NS);
	int mode = (int)pg_int(s, MODE);
	const char *refused = refusal(s, cursor);
	int64_t quarantined = 0, duplicates = 0;
	/* In a transaction of its own it could be left out by a crash between the two. */
	bool moves = sim_rule_holds(SIM_RULE_FLUSH_ATOMIC) || !sim_fault(50);

	if (refused != NULL) {
		return answer(refused, cursor, 0, 0);
	}
	for (uint32_t i = 0; i < count; i++) {
		struct pg_row row;
		read_entry(s, i, &row);
		if (pg_refuses(&row, mode)) {
			return NULL;
		}
		if (compare(row.epoch, row.n, cursor->last_epoch, cursor->last_n) <= 0 &&
		    sim_rule_holds(SIM_RULE_FLUSH_COMPARE)) {
			sim_violated("flush: entries are not in the order of their ids");
		}
		pg_apply_receipt(&row);
		if (redis_entry_was_lost(partition, row.epoch, row.n)) {
			postgres.not_before_ms = sim.now_ms; /* under way when the store lost it */
		}
		if (mode != SET_ASIDE && pg_follows(&row) && pg_aside_last(row.company) == NULL) {
			pg_book(&row, &duplicates);
		} else {
			pg_set_aside(&row, mode);
			quarantined++;
		}
		if (moves) {
			cursor->last_epoch = row.epoch;
			cursor->last_n = row.n;
		}
	}
	if (count > 0) {
		sim_trace("ledger: p%" PRIu32 " flushed %" PRIu32 " up to %" PRIu64 "-%" PRIu64
		          ", %d duplicates",
		    partition, count, cursor->last_epoch, cursor->last_n, (int)duplicates);
	}
	return answer("done", cursor, quarantined, duplicates);
}
