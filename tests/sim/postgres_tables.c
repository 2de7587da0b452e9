/*
 * Rows: made, found, taken back.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdlib.h>

#include "postgres.h"
#include "profiles.h"

struct pg pg;

struct kept_text {
	struct kept_text *next;
	char text[];
};

static struct kept_text *texts;

const char *pg_keep_text(const char *data, size_t len)
{
	struct kept_text *kept = malloc(sizeof *kept + len + 1);

	CG_ASSERT(kept != NULL);
	memcpy(kept->text, data, len);
	kept->text[len] = '\0';
	kept->next = texts;
	texts = kept;
	return kept->text;
}

static void *grow(void *rows, size_t count, size_t *room, size_t size)
{
	if (count < *room) {
		return rows;
	}
	*room = *room == 0 ? 64 : 2 * *room;
	rows = realloc(rows, *room * size);
	CG_ASSERT(rows != NULL);
	return rows;
}

struct pg_row *pg_row_add(void)
{
	pg.rows = grow(pg.rows, pg.now.row_count, &pg.row_room, sizeof *pg.rows);
	return &pg.rows[pg.now.row_count++];
}

struct pg_key *pg_key_add(void)
{
	pg.keys = grow(pg.keys, pg.now.key_count, &pg.key_room, sizeof *pg.keys);
	return &pg.keys[pg.now.key_count++];
}

struct pg_receipt *pg_receipt_add(void)
{
	pg.receipts =
	    grow(pg.receipts, pg.now.receipt_count, &pg.receipt_room, sizeof *pg.receipts);
	return &pg.receipts[pg.now.receipt_count++];
}

struct pg_applied *pg_applied_add(void)
{
	pg.applied = grow(pg.applied, pg.now.applied_count, &pg.applied_room, sizeof *pg.applied);
	return &pg.applied[pg.now.applied_count++];
}

struct pg_row *pg_aside_add(void)
{
	pg.aside = grow(pg.aside, pg.now.aside_count, &pg.aside_room, sizeof *pg.aside);
	return &pg.aside[pg.now.aside_count++];
}

void pg_orphan_add(struct cg_entry_id id)
{
	sim_trace("ledger: %" PRIu32 "-%" PRIu64 "-%" PRIu64 " is an orphan", id.partition,
	    id.epoch, id.n);
	pg.orphans = grow(pg.orphans, pg.orphan_count, &pg.orphan_room, sizeof *pg.orphans);
	pg.orphans[pg.orphan_count++] = id;
}

bool pg_is_orphan(const struct cg_entry_id *id)
{
	for (size_t i = 0; i < pg.orphan_count; i++) {
		const struct cg_entry_id *orphan = &pg.orphans[i];
		if (orphan->partition == id->partition && orphan->epoch == id->epoch &&
		    orphan->n == id->n) {
			return true;
		}
	}
	return false;
}

const struct pg_key *pg_key_find(uint32_t company, const char *type, const char *reference)
{
	for (size_t i = 0; i < pg.now.key_count; i++) {
		const struct pg_key *key = &pg.keys[i];
		if (key->company == company && strcmp(key->reference, reference) == 0 &&
		    strcmp(key->type, type) == 0) {
			return key;
		}
	}
	return NULL;
}

const struct pg_row *pg_row_of(const struct pg_key *key)
{
	for (size_t i = 0; i < pg.now.row_count; i++) {
		const struct pg_row *row = &pg.rows[i];
		if (row->partition == key->partition && row->epoch == key->epoch &&
		    row->n == key->n) {
			return row;
		}
	}
	return NULL;
}

size_t pg_receipt_find(uint32_t company, const char *type, const char *reference)
{
	for (size_t i = 0; i < pg.now.receipt_count; i++) {
		const struct pg_receipt *receipt = &pg.receipts[i];
		if (receipt->company == company && strcmp(receipt->type, type) == 0 &&
		    strcmp(receipt->reference, reference) == 0) {
			return i;
		}
	}
	return pg.now.receipt_count;
}

bool pg_receipt_is_applied(size_t receipt)
{
	for (size_t i = 0; i < pg.now.applied_count; i++) {
		if (pg.applied[i].receipt == receipt) {
			return true;
		}
	}
	return false;
}

const struct pg_row *pg_aside_last(uint32_t company)
{
	const struct pg_row *last = NULL;

	for (size_t i = 0; i < pg.now.aside_count; i++) {
		if (pg.aside[i].company == company &&
		    (last == NULL || pg.aside[i].version >= last->version)) {
			last = &pg.aside[i];
		}
	}
	return last;
}

static uint64_t mix(uint64_t hash, const void *data, size_t len)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++) {
		hash = (hash ^ bytes[i]) * UINT64_C(1099511628211);
	}
	return hash;
}

uint64_t pg_hash(uint64_t before, const struct pg_row *row)
{
	uint64_t hash = mix(UINT64_C(14695981039346656037), &before, sizeof before);

	hash = mix(hash, &row->epoch, sizeof row->epoch);
	hash = mix(hash, &row->n, sizeof row->n);
	hash = mix(hash, &row->version, sizeof row->version);
	hash = mix(hash, &row->amount, sizeof row->amount);
	hash = mix(hash, &row->balance_after, sizeof row->balance_after);
	hash = mix(hash, row->type, strlen(row->type));
	return mix(hash, row->reference, strlen(row->reference));
}

static void commit(void)
{
	pg.commits = grow(pg.commits, pg.commit_count, &pg.commit_room, sizeof *pg.commits);
	pg.now.at_ms = sim.now_ms;
	pg.commits[pg.commit_count++] = pg.now;
}

void pg_begin(void)
{
	for (size_t i = 0; i < sizeof pg.deployment.bytes; i++) {
		pg.deployment.bytes[i] = (uint8_t)(1 + sim_below(255));
	}
	for (uint32_t i = 0; i < SIM_COMPANIES; i++) {
		pg.now.wallets[i].is_there = true;
	}
	commit();
}

void pg_end(void)
{
	free(pg.rows);
	free(pg.keys);
	free(pg.receipts);
	free(pg.applied);
	free(pg.aside);
	free(pg.orphans);
	free(pg.commits);
	while (texts != NULL) {
		struct kept_text *next = texts->next;
		free(texts);
		texts = next;
	}
	memset(&pg, 0, sizeof pg);
}

bool pg_is_up(void)
{
	return sim.now_ms >= pg.up_at_ms;
}

int64_t pg_now_ms(void)
{
	return INT64_C(1700000000000) + (int64_t)sim.now_ms;
}

PGresult *pg_execute(const struct pg_statement *statement)
{
	size_t tables = pg.now.row_count + pg.now.key_count + pg.now.receipt_count +
	    pg.now.applied_count + pg.now.aside_count;
	struct pg_state before = pg.now;
	PGresult *result = strstr(statement->text, "callgate.flush(") != NULL ? pg_flush(statement)
	                                                                      : pg_ask(statement);

	size_t tables_now = pg.now.row_count + pg.now.key_count + pg.now.receipt_count +
	    pg.now.applied_count + pg.now.aside_count;
	if (result == NULL) {
		pg.now = before;
	} else if (tables != tables_now ||
	    memcmp(before.cursors, pg.now.cursors, sizeof before.cursors) != 0 ||
	    memcmp(before.wallets, pg.now.wallets, sizeof before.wallets) != 0) {
		commit();
	}
	return result;
}

void pg_restart(uint64_t down_ms)
{
	sim_trace("ledger: restarts, down for %" PRIu64, down_ms);
	pg.up_at_ms = sim.now_ms + down_ms;
}

bool pg_fail_far_back(uint32_t partition, uint64_t trimmed_epoch, uint64_t trimmed_n)
{
	for (size_t i = pg.commit_count; i > 0; i--) {
		const struct pg_cursor *cursor = &pg.commits[i - 1].cursors[partition];
		if (cursor->is_there && cursor->epoch == pg.now.cursors[partition].epoch &&
		    (cursor->last_epoch < trimmed_epoch ||
		        (cursor->last_epoch == trimmed_epoch && cursor->last_n < trimmed_n))) {
			sim_trace("ledger: goes back by %zu commits, behind what was trimmed",
			    pg.commit_count - i);
			pg.now = pg.commits[i - 1];
			pg.commit_count = i;
			return true;
		}
	}
	return false;
}

void pg_fail_over(uint64_t down_ms)
{
	uint64_t lag_ms = sim_below(sim.profile->lag_ms);
	uint64_t since_ms = sim.now_ms - pg.failed_over_at_ms;
	size_t last = pg.commit_count - 1;

	/* What went back goes back further only as far as both together stay within the bound. */
	if (pg.failovers > 0 && lag_ms > since_ms &&
	    since_ms + pg.last_lag_ms > sim.profile->lag_ms) {
		lag_ms = since_ms;
	}

	while (last > 0 && pg.commits[last].at_ms + lag_ms > sim.now_ms &&
	    pg.commits[last].at_ms > pg.not_before_ms) {
		last--;
	}
	sim_trace("ledger: a standby takes over, %zu commits lost, down for %" PRIu64,
	    pg.commit_count - 1 - last, down_ms);
	pg.now = pg.commits[last];
	pg.commit_count = last + 1;
	pg.is_behind = true;
	pg.last_lag_ms = lag_ms > since_ms && pg.failovers > 0 ? since_ms + pg.last_lag_ms : lag_ms;
	pg.failed_over_at_ms = sim.now_ms;
	pg.failovers++;
	pg.up_at_ms = sim.now_ms + down_ms;
}
