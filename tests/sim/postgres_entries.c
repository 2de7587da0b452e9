/*
 * What was booked under a key, and what the ledger has above an id.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "postgres.h"

/* A cell of the answer. */
struct cell {
	PGresult *result;
	int row, column;
};

const char *pg_meta_value(const char *meta, const char *name)
{
	char wanted[48];

	(void)snprintf(wanted, sizeof wanted, "\"%s\":", name);
	const char *from = meta == NULL ? NULL : strstr(meta, wanted);
	return from == NULL ? NULL : from + strlen(wanted);
}

/* Quoted or a number; null where it is not there. */
static void put_meta(struct cell at, const char *meta, const char *name)
{
	char text[PG_TEXT_BYTES];
	const char *from = pg_meta_value(meta, name);

	if (from == NULL) {
		pg_put_null(at.result, at.row, at.column);
		return;
	}
	bool is_quoted = *from == '"';
	size_t len = strcspn(from + is_quoted, is_quoted ? "\"" : ",}");
	CG_ASSERT(len < sizeof text);
	memcpy(text, from + is_quoted, len);
	text[len] = '\0';
	/* As jsonb prints it. */
	pg_put_text(at.result, at.row, at.column, text);
}

int64_t pg_meta_int(const char *meta, const char *name)
{
	const char *from = pg_meta_value(meta, name);

	return from == NULL ? 0 : strtoll(from, NULL, 10);
}

static void put_entry_id(struct cell at, const struct pg_row *row)
{
	char text[48] = "";

	if (row->epoch != 0) {
		(void)snprintf(text, sizeof text, "%" PRIu32 "-%" PRIu64 "-%" PRIu64,
		    row->partition, row->epoch, row->n);
	}
	pg_put_text(at.result, at.row, at.column, text);
}

const struct pg_row *pg_row_under(uint32_t company, const char *type, const char *reference)
{
	const struct pg_key *key = pg_key_find(company, type, reference);

	if (key != NULL) {
		return pg_row_of(key);
	}
	for (size_t i = 0; i < postgres.now.aside_count; i++) {
		const struct pg_row *aside = &postgres.aside[i];
		if (aside->company == company && pg_is_aside(i) && strcmp(aside->type, type) == 0 &&
		    strcmp(aside->reference, reference) == 0) {
			return aside;
		}
	}
	return NULL;
}

static const struct pg_row *correction_of(uint32_t company, const char *call_id)
{
	static const struct pg_row none;
	char reference[PG_TEXT_BYTES + 16];

	(void)snprintf(reference, sizeof reference, "correction:%s", call_id);
	const struct pg_row *row = pg_row_under(company, "adjustment", reference);
	return row == NULL ? &none : row;
}

/* 28 columns from `at` on, as src/ledger/keys.c names them. */
static void put_entry(struct cell at, const struct pg_row *row, const struct pg_row *corrected)
{
	static const char *const names[] = {"destination", "rate_micros_per_minute",
	    "connect_fee_micros", "minimum_ms", "increment_ms", "duration_ms", "billed_ms", "basis",
	    "late", "authorized_at_ms", "started_at_ms", "ended_at_ms"};
	static const char *const corrections[] = {"duration_ms", "billed_ms", "basis"};
	PGresult *result = at.result;
	int first = at.column;

	put_entry_id(at, row);
	pg_put_text(result, at.row, first + 1, row->type);
	pg_put_int(result, at.row, first + 2, row->amount);
	pg_put_int(result, at.row, first + 3, row->balance_after);
	pg_put_int(result, at.row, first + 4, row->at_ms);
	pg_put_text(result, at.row, first + 5, "");
	pg_put_text(result, at.row, first + 6, row->resource);
	pg_put_bool(result, at.row, first + 7, row->is_charge);
	pg_put_int(result, at.row, first + 8, row->is_charge ? row->quantity : 0);
	pg_put_text(result, at.row, first + 9, "usd");
	pg_put_null(result, at.row, first + 10);
	pg_put_int(result, at.row, first + 11, corrected->amount);
	for (int i = 0; i < (int)CG_COUNT_OF(names); i++) {
		put_meta((struct cell){result, at.row, first + 12 + i}, row->meta, names[i]);
	}
	put_entry_id((struct cell){result, at.row, first + 24}, corrected);
	for (int i = 0; i < (int)CG_COUNT_OF(corrections); i++) {
		put_meta(
		    (struct cell){result, at.row, first + 25 + i}, corrected->meta, corrections[i]);
	}
}

PGresult *pg_key_read(const struct pg_statement *s)
{
	static const struct pg_row none;
	char type[16], reference[PG_TEXT_BYTES];
	uint32_t company = pg_company(s, 0);
	PGresult *result = pg_result(28);

	pg_text(s, 1, type, sizeof type);
	pg_text(s, 2, reference, sizeof reference);
	const struct pg_row *row = pg_row_under(company, type, reference);
	if (row != NULL) {
		bool is_usage = strcmp(type, "usage") == 0;
		put_entry((struct cell){result, 0, 0}, row,
		    is_usage ? correction_of(company, reference) : &none);
	}
	return result;
}

static bool is_after(const struct pg_row *row, uint64_t epoch, uint64_t n)
{
	return row->epoch > epoch || (row->epoch == epoch && row->n > n);
}

/* The next one above the id that the ledger has, in quarantine or not; NULL: none. */
static const struct pg_row *next_above(uint32_t partition, uint64_t epoch, uint64_t n)
{
	const struct pg_row *next = NULL;
	const struct pg_row *tables[] = {postgres.rows, postgres.aside};
	size_t counts[] = {postgres.now.row_count, postgres.now.aside_count};

	for (int t = 0; t < 2; t++) {
		for (size_t i = 0; i < counts[t]; i++) {
			const struct pg_row *row = &tables[t][i];
			bool is_there = t == 0 || pg_is_aside(i);
			if (is_there && row->partition == partition && is_after(row, epoch, n) &&
			    (next == NULL || is_after(next, row->epoch, row->n))) {
				next = row;
			}
		}
	}
	return next;
}

static void put_tail_row(PGresult *result, int at, const struct pg_row *row)
{
	static const struct pg_row none;
	const struct pg_wallet *wallet = &postgres.now.wallets[row->company];
	const struct pg_row *aside =
	    sim_rule_holds(SIM_RULE_ASIDE_LAST) ? pg_aside_last(row->company) : NULL;
	const struct pg_row *told = row;
	const char *call_id = row->reference;
	bool is_usage = strcmp(row->type, "usage") == 0;

	if (strncmp(row->reference, "correction:", 11) == 0) {
		/* Of a correction its call. */
		call_id = row->reference + 11;
		told = pg_row_under(row->company, "usage", call_id);
		is_usage = true;
	}
	pg_put_bool(result, at, 0, true);
	pg_put_int(result, at, 1, (int64_t)row->epoch);
	pg_put_int(result, at, 2, (int64_t)row->n);
	pg_put_uuid(result, at, 3, &sim.companies[row->company]);
	pg_put_int(result, at, 4, aside == NULL ? wallet->balance : aside->balance_after);
	pg_put_int(result, at, 5, (int64_t)(aside == NULL ? wallet->version : aside->version));
	pg_put_text(result, at, 6, is_usage ? "usage" : row->type);
	pg_put_text(result, at, 7, call_id);
	put_entry((struct cell){result, at, 8}, told == NULL ? row : told,
	    is_usage ? correction_of(row->company, call_id) : &none);
}

/* turn_keep() and the page in one statement: partition, epoch, for how long, after, most. */
PGresult *pg_tail_read(const struct pg_statement *s)
{
	uint32_t partition = (uint32_t)pg_int(s, 0);
	struct pg_cursor *cursor = &postgres.now.cursors[partition];
	uint64_t epoch = (uint64_t)pg_int(s, 3);
	uint64_t n = (uint64_t)pg_int(s, 4);
	bool keeps = cursor->is_there && cursor->epoch == (uint64_t)pg_int(s, 1);
	PGresult *result = pg_result(36);
	int at = 0;

	if (keeps) {
		cursor->turn_until_ms = pg_now_ms() + pg_int(s, 2);
	}
	while (keeps && at < pg_int(s, 5)) {
		const struct pg_row *row = next_above(partition, epoch, n);
		if (row == NULL || !sim_rule_holds(SIM_RULE_REPAIR)) {
			break;
		}
		put_tail_row(result, at++, row);
		epoch = row->epoch;
		n = row->n;
	}
	if (at == 0) {
		pg_put_bool(result, 0, 0, keeps);
		for (int i = 1; i < 36; i++) {
			pg_put_null(result, 0, i);
		}
	}
	return result;
}
