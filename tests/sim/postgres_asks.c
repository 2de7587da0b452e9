/*
 * What else a sidecar says to the ledger, as sql/migrations have it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "postgres.h"
#include "prices.h"
#include "redis.h"
#include "store_records.h"

static PGresult *one_text(const char *text)
{
	PGresult *result = pg_result(1);

	pg_put_text(result, 0, 0, text);
	return result;
}

static PGresult *deployment_read(const struct pg_statement *s)
{
	PGresult *result = pg_result(2);

	(void)s;
	pg_put_uuid(result, 0, 0, &postgres.deployment);
	pg_put_int(result, 0, 1, SIM_PARTITIONS);
	return result;
}

static PGresult *turn_take(const struct pg_statement *s)
{
	struct pg_cursor *cursor = &postgres.now.cursors[pg_int(s, 0)];
	uint64_t taken = (uint64_t)pg_int(s, 2); /* by who asks; 0: nothing */
	bool is_free = cursor->turn_until_ms < pg_now_ms() || (taken > 0 && cursor->epoch == taken);

	cursor->is_there = true;
	if (is_free) {
		cursor->turn_until_ms = pg_now_ms() + pg_int(s, 1);
	}
	return one_text(is_free ? "t" : "f");
}

/* The fence; and what was served last, which nobody changes any more. */
static PGresult *epoch_begin(const struct pg_statement *s)
{
	struct pg_cursor *cursor = &postgres.now.cursors[pg_int(s, 0)];
	uint64_t as_read = (uint64_t)pg_int(s, 1);
	uint64_t epoch = (uint64_t)pg_int(s, 2);
	bool takes = cursor->is_there && cursor->epoch == as_read && epoch > as_read;

	if (takes) {
		cursor->epoch = epoch;
		cursor->fence = sim_rule_holds(SIM_RULE_FENCE_LEDGER) ? epoch : cursor->fence;
		sim_trace("ledger: p%d takes epoch %" PRIu64, (int)pg_int(s, 0), epoch);
	}
	PGresult *result = pg_result(3);
	pg_put_bool(result, 0, 0, takes);
	pg_put_int(result, 0, 1, sim_rule_holds(SIM_RULE_SERVED) ? (int64_t)cursor->served : 0);
	pg_put_int(
	    result, 0, 2, sim_rule_holds(SIM_RULE_SERVED_FROM) ? (int64_t)cursor->served_from : 0);
	return result;
}

static PGresult *turn_keep(const struct pg_statement *s)
{
	struct pg_cursor *cursor = &postgres.now.cursors[pg_int(s, 0)];
	bool holds = cursor->is_there && cursor->epoch == (uint64_t)pg_int(s, 1);

	if (holds) {
		cursor->turn_until_ms = pg_now_ms() + pg_int(s, 2);
	}
	return one_text(holds ? "t" : "f");
}

static PGresult *epoch_served(const struct pg_statement *s)
{
	struct pg_cursor *cursor = &postgres.now.cursors[pg_int(s, 0)];
	uint64_t epoch = (uint64_t)pg_int(s, 1);
	bool holds = cursor->is_there && cursor->epoch == epoch;

	if (holds) {
		cursor->served = epoch;
		cursor->served_from = (uint64_t)pg_int(s, 2);
		cursor->served_last_epoch = cursor->last_epoch;
		cursor->served_last_n = cursor->last_n;
		*pg_served_add() = (struct pg_served){.partition = (uint32_t)pg_int(s, 0),
		    .epoch = epoch,
		    .from_epoch = cursor->served_from,
		    .end_epoch = (uint64_t)pg_int(s, 3),
		    .end_n = (uint64_t)pg_int(s, 4)};
		cursor->fence = epoch;
		cursor->turn_until_ms = 0;
		redis_was_recovered((uint32_t)pg_int(s, 0), epoch);
		sim_trace("ledger: p%d serves epoch %" PRIu64, (int)pg_int(s, 0), epoch);
	}
	return one_text(holds ? "t" : "f");
}

/* With turn_keep() in one statement. */
static PGresult *orphans_put(const struct pg_statement *s)
{
	uint32_t partition = (uint32_t)pg_int(s, 0);
	struct pg_cursor *cursor = &postgres.now.cursors[partition];
	bool keeps = cursor->is_there && cursor->epoch == (uint64_t)pg_int(s, 1);

	if (keeps) {
		cursor->turn_until_ms = pg_now_ms() + pg_int(s, 11);
	}
	for (uint32_t i = 0; keeps && i < pg_array_count(s, 2); i++) {
		pg_orphan_add((struct cg_entry_id){.partition = partition,
		                  .epoch = (uint64_t)pg_element_int(s, 2, i),
		                  .n = (uint64_t)pg_element_int(s, 3, i)},
		    redis_is_fork(partition) || postgres.line_is_broken[partition]);
	}
	return one_text(keeps ? "t" : "f");
}

static void put_cursor(PGresult *result, int row, uint32_t partition)
{
	const struct pg_cursor *cursor = &postgres.now.cursors[partition];

	pg_put_int(result, row, 0, partition);
	pg_put_int(result, row, 1, (int64_t)cursor->epoch);
	pg_put_int(result, row, 2, (int64_t)cursor->last_epoch);
	pg_put_int(result, row, 3, (int64_t)cursor->last_n);
	pg_put_int(result, row, 4, sim_rule_holds(SIM_RULE_SERVED) ? (int64_t)cursor->served : 0);
}

/* partition; of a history: served under, its end. */
static bool is_beginning(const struct pg_statement *s)
{
	uint32_t partition = (uint32_t)pg_int(s, 0);
	uint64_t under = (uint64_t)pg_int(s, 1);
	uint64_t end_epoch = (uint64_t)pg_int(s, 2), end_n = (uint64_t)pg_int(s, 3);
	const struct pg_served *line =
	    pg_served_find(partition, postgres.now.cursors[partition].served);

	while (line != NULL && line->from_epoch < line->epoch && line->from_epoch > under) {
		line = pg_served_find(partition, line->from_epoch);
	}
	postgres.line_is_broken[partition] = line == NULL;
	return sim_rule_holds(SIM_RULE_BEGINNING) && under > 0 && line != NULL &&
	    line->from_epoch < line->epoch && line->from_epoch == under &&
	    (end_epoch < line->end_epoch || (end_epoch == line->end_epoch && end_n <= line->end_n));
}

/* As a recovery reads it, before its fence and after it: then with a judgment. */
static PGresult *cursor_read(const struct pg_statement *s)
{
	uint32_t partition = (uint32_t)pg_int(s, 0);
	struct pg_cursor *cursor = &postgres.now.cursors[partition];
	bool judges = strstr(s->text, "callgate.is_beginning(") != NULL;
	PGresult *result = pg_result(judges ? 6 : 5);
	struct store_head head;

	if (!cursor->is_there) {
		return result;
	}
	put_cursor(result, 0, partition);
	if (judges) {
		pg_put_bool(result, 0, 5, is_beginning(s));
	}
	bool is_fenced =
	    store_head_read(partition, &head) && !head.is_serving && head.epoch == cursor->epoch;
	if (!is_fenced) {
		postgres.looked[partition] =
		    (struct cg_entry_id){.epoch = cursor->last_epoch, .n = cursor->last_n};
	} else if (!sim_rule_holds(SIM_RULE_READ_AFTER)) {
		pg_put_int(result, 0, 2, (int64_t)postgres.looked[partition].epoch);
		pg_put_int(result, 0, 3, (int64_t)postgres.looked[partition].n);
	}
	return result;
}

/* Where entries are named: a row for each of them that is in quarantine, else one with null. */
static int put_cursor_and_aside(
    PGresult *result, int row, uint32_t partition, const struct pg_statement *s)
{
	int first = row;

	for (size_t i = 0; i < postgres.now.aside_count; i++) {
		const struct pg_row *aside = &postgres.aside[i];
		char entry_id[48], named[CG_ENTRY_ID_TEXT_BYTES];
		(void)snprintf(entry_id, sizeof entry_id, "%" PRIu32 "-%" PRIu64 "-%" PRIu64,
		    aside->partition, aside->epoch, aside->n);
		bool counts = aside->partition == partition && pg_is_aside(i) &&
		    sim_rule_holds(SIM_RULE_ASIDE_WAITS);
		for (uint32_t j = 0; counts && j < pg_array_count(s, 0); j++) {
			pg_element_text(s, 0, j, named, sizeof named);
			if (strcmp(named, entry_id) == 0) {
				put_cursor(result, row, partition);
				pg_put_text(result, row++, 5, entry_id);
			}
		}
	}
	if (row == first) {
		put_cursor(result, row, partition);
		pg_put_null(result, row++, 5);
	}
	return row;
}

static PGresult *cursors_read(const struct pg_statement *s)
{
	PGresult *result = pg_result(6);
	int row = 0;

	for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
		if (postgres.now.cursors[p].is_there) {
			row = put_cursor_and_aside(result, row, p, s);
		}
	}
	return result;
}

/* Up to where the cursor is, for the margin: where nothing was noted for an eighth of it. */
static void note_passed(uint32_t partition, uint64_t margin_ms)
{
	const struct pg_cursor *cursor = &postgres.now.cursors[partition];
	const struct pg_passed *last = pg_passed_find(partition, 0);
	bool is_noted = last != NULL &&
	    (8 * (sim.now_ms - last->at_ms) < margin_ms ||
	        (last->epoch == cursor->last_epoch && last->n == cursor->last_n));

	if (cursor->last_epoch > 0 && !is_noted) {
		*pg_passed_add() = (struct pg_passed){.partition = partition,
		    .epoch = cursor->last_epoch,
		    .n = cursor->last_n,
		    .at_ms = sim.now_ms};
	}
}

static PGresult *cursors_look(const struct pg_statement *s)
{
	PGresult *result = pg_result(7);
	int row = 0;

	for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
		if (!postgres.now.cursors[p].is_there) {
			continue;
		}
		note_passed(p, (uint64_t)pg_int(s, 0));
		const struct pg_passed *passed = pg_passed_find(p, (uint64_t)pg_int(s, 0));
		put_cursor(result, row, p);
		pg_put_int(result, row, 5, passed == NULL ? 0 : (int64_t)passed->epoch);
		pg_put_int(result, row, 6, passed == NULL ? 0 : (int64_t)passed->n);
		row++;
	}
	return result;
}

/* Of a correction that was taken back: the key of its call's charge. */
static const struct pg_key *stands_instead(
    uint32_t company, const char *call_id, const struct pg_statement *s, uint32_t i)
{
	char entry_id[48], duplicate[64];

	pg_element_text(s, 3, i, entry_id, sizeof entry_id);
	(void)snprintf(duplicate, sizeof duplicate, "dup:%s", entry_id);
	return pg_key_find(company, "adjustment", duplicate) == NULL
	    ? NULL
	    : pg_key_find(company, "usage", call_id);
}

static PGresult *keys_booked(const struct pg_statement *s)
{
	PGresult *result = pg_result(2);

	for (uint32_t i = 0; i < pg_array_count(s, 0); i++) {
		char type[16], reference[PG_TEXT_BYTES], entry_id[48];
		struct cg_view bytes;
		CG_ASSERT(pg_element(s, 0, i, &bytes));
		pg_element_text(s, 1, i, type, sizeof type);
		pg_element_text(s, 2, i, reference, sizeof reference);
		uint32_t company = sim_company_of(bytes.data);
		const struct pg_key *key = pg_key_find(company, type, reference);
		if (key == NULL && strncmp(reference, "correction:", 11) == 0) {
			key = stands_instead(company, reference + 11, s, i);
		}
		/* As pg_key_read(), which tells of what is set aside, too. */
		const struct pg_row *row = sim_rule_holds(SIM_RULE_ASIDE_WAITS)
		    ? NULL
		    : pg_row_under(company, type, reference);
		pg_put_int(result, (int)i, 0, i + 1);
		if (key == NULL && row == NULL) {
			pg_put_null(result, (int)i, 1);
			continue;
		}
		(void)snprintf(entry_id, sizeof entry_id, "%" PRIu32 "-%" PRIu64 "-%" PRIu64,
		    key == NULL ? row->partition : key->partition,
		    key == NULL ? row->epoch : key->epoch, key == NULL ? row->n : key->n);
		pg_put_text(result, (int)i, 1, entry_id);
	}
	return result;
}

static PGresult *receipt_write(const struct pg_statement *s)
{
	struct pg_receipt receipt = {
	    .company = pg_company(s, 0), .amount = pg_int(s, 2), .at_ms = pg_now_ms()};

	pg_text(s, 1, receipt.type, sizeof receipt.type);
	pg_text(s, 3, receipt.reference, sizeof receipt.reference);
	const struct pg_row *row = pg_row_under(receipt.company, receipt.type, receipt.reference);
	if (row != NULL && sim_rule_holds(SIM_RULE_ASK_LEDGER)) {
		return one_text(row->amount == receipt.amount ? "posted" : "key_reused");
	}
	size_t noted = pg_receipt_find(receipt.company, receipt.type, receipt.reference);
	if (noted < postgres.now.receipt_count) {
		bool is_same = postgres.receipts[noted].amount == receipt.amount;
		return one_text(is_same ? "replayed" : "key_reused");
	}
	if (sim_rule_holds(SIM_RULE_RECEIPT_FIRST)) {
		*pg_receipt_add() = receipt;
	}
	return one_text("written");
}

static PGresult *receipts_due(const struct pg_statement *s)
{
	PGresult *result = pg_result(7);
	int row = 0;

	for (size_t i = 0; i < postgres.now.receipt_count && row < pg_int(s, 2); i++) {
		const struct pg_receipt *receipt = &postgres.receipts[i];
		if ((int64_t)(i + 1) <= pg_int(s, 1) || pg_receipt_is_applied(i) ||
		    receipt->at_ms >= pg_now_ms() - pg_int(s, 0) ||
		    !sim_rule_holds(SIM_RULE_RECEIPTS_SWEPT)) {
			continue;
		}
		pg_put_int(result, row, 0, (int64_t)i + 1);
		pg_put_uuid(result, row, 1, &sim.companies[receipt->company]);
		pg_put_text(result, row, 2, receipt->type);
		pg_put_int(result, row, 3, receipt->amount);
		pg_put_text(result, row, 4, receipt->reference);
		pg_put_text(result, row, 5, "");
		pg_put_text(result, row++, 6, "");
	}
	return result;
}

static PGresult *wallet_read(const struct pg_statement *s)
{
	uint32_t company = pg_company(s, 0);
	PGresult *result = pg_result(12);

	if (company >= SIM_COMPANIES || !postgres.now.wallets[company].is_there) {
		return result;
	}
	const struct pg_wallet *wallet = &postgres.now.wallets[company];
	const struct pg_row *aside =
	    sim_rule_holds(SIM_RULE_ASIDE_LAST) ? pg_aside_last(company) : NULL;
	pg_put_uuid(result, 0, 0, &sim.companies[company]);
	pg_put_text(result, 0, 1, "usd");
	pg_put_text(result, 0, 2, "plan");
	pg_put_bool(result, 0, 3, false);
	pg_put_bool(result, 0, 4, false);
	pg_put_null(result, 0, 5);
	pg_put_bool(result, 0, 6, false);
	pg_put_int(result, 0, 7, 0);
	pg_put_int(result, 0, 8, 1);
	pg_put_int(result, 0, 9, 0);
	pg_put_int(result, 0, 10, aside == NULL ? wallet->balance : aside->balance_after);
	pg_put_int(result, 0, 11, (int64_t)(aside == NULL ? wallet->version : aside->version));
	return result;
}

/* One plan with one rate. */
static PGresult *terms_read(const struct pg_statement *s)
{
	static const char *const plan[] = {"0", "plan", "1", PRICES_CREDIT, "false", "false",
	    PRICES_CALLS_MAX, PRICES_LONGEST_MS, PRICES_LEASE_MS, PRICES_RESERVE_MS,
	    PRICES_GUARD_MS, "1000", "2000", "false", "1000", "0"};
	static const char *const rate[] = {"1", "plan", "usd", "voice", "", PRICES_RATE, PRICES_FEE,
	    PRICES_MINIMUM_MS, PRICES_INCREMENT_MS, "", "", "", "", "", "", ""};
	PGresult *result = pg_result(CG_COUNT_OF(plan));

	(void)s;
	for (int i = 0; i < (int)CG_COUNT_OF(plan); i++) {
		pg_put_text(result, 0, i, plan[i]);
	}
	for (int i = 0; i < (int)CG_COUNT_OF(plan); i++) {
		pg_put_text(result, 1, i, rate[i]);
	}
	return result;
}

static PGresult *terms_latest(const struct pg_statement *s)
{
	(void)s;
	return one_text("1");
}

static PGresult *terms_changes(const struct pg_statement *s)
{
	(void)s;
	return pg_result(3);
}

static PGresult *listen(const struct pg_statement *s)
{
	(void)s;
	return PQmakeEmptyPGresult(NULL, PGRES_COMMAND_OK);
}

PGresult *pg_ask(const struct pg_statement *s)
{
	static const struct {
		const char *word;
		PGresult *(*run)(const struct pg_statement *s);
	} functions[] = {
	    {"callgate.deployment_read(", deployment_read},
	    {"callgate.orphans_put(", orphans_put},
	    {"callgate.tail_read(", pg_tail_read},
	    {"callgate.turn_keep(", turn_keep},
	    {"callgate.cursor_read(", cursor_read},
	    {"callgate.turn_take(", turn_take},
	    {"callgate.epoch_begin(", epoch_begin},
	    {"callgate.epoch_served(", epoch_served},
	    {"callgate.cursors_read(", cursors_read},
	    {"callgate.cursors_look(", cursors_look},
	    {"callgate.keys_booked(", keys_booked},
	    {"callgate.key_read(", pg_key_read},
	    {"callgate.receipt_write(", receipt_write},
	    {"callgate.receipts_due(", receipts_due},
	    {"callgate.wallet_read(", wallet_read},
	    {"callgate.terms_latest(", terms_latest},
	    {"callgate.terms_changes(", terms_changes},
	    {"from callgate.plans", terms_read},
	    {"listen callgate_terms", listen},
	};

	for (size_t i = 0; i < CG_COUNT_OF(functions); i++) {
		if (strstr(s->text, functions[i].word) != NULL) {
			return functions[i].run(s);
		}
	}
	(void)fprintf(stderr, "the simulated ledger does not know: %s\n", s->text);
	abort();
}
