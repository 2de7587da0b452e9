/*
 * Rows: made, found, taken back.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdlib.h>

#include "postgres.h"
#include "profiles.h"

struct pg postgres;

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
	postgres.rows =
	    grow(postgres.rows, postgres.now.row_count, &postgres.row_room, sizeof *postgres.rows);
	return &postgres.rows[postgres.now.row_count++];
}

struct pg_key *pg_key_add(void)
{
	postgres.keys =
	    grow(postgres.keys, postgres.now.key_count, &postgres.key_room, sizeof *postgres.keys);
	return &postgres.keys[postgres.now.key_count++];
}

struct pg_receipt *pg_receipt_add(void)
{
	postgres.receipts = grow(postgres.receipts, postgres.now.receipt_count,
	    &postgres.receipt_room, sizeof *postgres.receipts);
	return &postgres.receipts[postgres.now.receipt_count++];
}

struct pg_applied *pg_applied_add(void)
{
	postgres.applied = grow(postgres.applied, postgres.now.applied_count,
	    &postgres.applied_room, sizeof *postgres.applied);
	return &postgres.applied[postgres.now.applied_count++];
}

struct pg_row *pg_aside_add(void)
{
	postgres.aside = grow(
	    postgres.aside, postgres.now.aside_count, &postgres.aside_room, sizeof *postgres.aside);
	return &postgres.aside[postgres.now.aside_count++];
}

struct pg_left *pg_left_add(void)
{
	postgres.left = grow(
	    postgres.left, postgres.now.left_count, &postgres.left_room, sizeof *postgres.left);
	return &postgres.left[postgres.now.left_count++];
}

struct pg_served *pg_served_add(void)
{
	postgres.served = grow(postgres.served, postgres.now.served_count, &postgres.served_room,
	    sizeof *postgres.served);
	return &postgres.served[postgres.now.served_count++];
}

struct pg_passed *pg_passed_add(void)
{
	postgres.passed = grow(postgres.passed, postgres.now.passed_count, &postgres.passed_room,
	    sizeof *postgres.passed);
	return &postgres.passed[postgres.now.passed_count++];
}

const struct pg_passed *pg_passed_find(uint32_t partition, uint64_t age_ms)
{
	for (size_t i = postgres.now.passed_count; i > 0; i--) {
		const struct pg_passed *passed = &postgres.passed[i - 1];
		if (passed->partition == partition && passed->at_ms + age_ms <= sim.now_ms) {
			return passed;
		}
	}
	return NULL;
}

const struct pg_served *pg_served_find(uint32_t partition, uint64_t epoch)
{
	for (size_t i = postgres.now.served_count; i > 0; i--) {
		const struct pg_served *served = &postgres.served[i - 1];
		if (served->partition == partition && served->epoch == epoch) {
			return served;
		}
	}
	return NULL;
}

void pg_orphan_add(struct cg_entry_id id, bool is_explained)
{
	sim_trace("ledger: %" PRIu32 "-%" PRIu64 "-%" PRIu64 " is an orphan", id.partition,
	    id.epoch, id.n);
	postgres.orphans = grow(postgres.orphans, postgres.orphan_count, &postgres.orphan_room,
	    sizeof *postgres.orphans);
	postgres.orphans[postgres.orphan_count++] = (struct pg_orphan){id, is_explained};
}

bool pg_is_explained_orphan(const struct cg_entry_id *id)
{
	for (size_t i = 0; i < postgres.orphan_count; i++) {
		const struct cg_entry_id *orphan = &postgres.orphans[i].id;
		if (orphan->partition == id->partition && orphan->epoch == id->epoch &&
		    orphan->n == id->n && postgres.orphans[i].is_explained) {
			return true;
		}
	}
	return false;
}

const struct pg_key *pg_key_find(uint32_t company, const char *type, const char *reference)
{
	for (size_t i = 0; i < postgres.now.key_count; i++) {
		const struct pg_key *key = &postgres.keys[i];
		if (key->company == company && strcmp(key->reference, reference) == 0 &&
		    strcmp(key->type, type) == 0) {
			return key;
		}
	}
	return NULL;
}

const struct pg_row *pg_row_of(const struct pg_key *key)
{
	for (size_t i = 0; i < postgres.now.row_count; i++) {
		const struct pg_row *row = &postgres.rows[i];
		if (row->partition == key->partition && row->epoch == key->epoch &&
		    row->n == key->n) {
			return row;
		}
	}
	return NULL;
}

size_t pg_receipt_find(uint32_t company, const char *type, const char *reference)
{
	for (size_t i = 0; i < postgres.now.receipt_count; i++) {
		const struct pg_receipt *receipt = &postgres.receipts[i];
		if (receipt->company == company && strcmp(receipt->type, type) == 0 &&
		    strcmp(receipt->reference, reference) == 0) {
			return i;
		}
	}
	return postgres.now.receipt_count;
}

bool pg_receipt_is_applied(size_t receipt)
{
	for (size_t i = 0; i < postgres.now.applied_count; i++) {
		if (postgres.applied[i].receipt == receipt) {
			return true;
		}
	}
	return false;
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

void pg_commit(void)
{
	postgres.commits = grow(postgres.commits, postgres.commit_count, &postgres.commit_room,
	    sizeof *postgres.commits);
	postgres.now.at_ms = sim.now_ms;
	postgres.commits[postgres.commit_count++] = postgres.now;
}

void pg_begin(void)
{
	for (size_t i = 0; i < sizeof postgres.deployment.bytes; i++) {
		postgres.deployment.bytes[i] = (uint8_t)(1 + sim_below(255));
	}
	for (uint32_t i = 0; i < SIM_COMPANIES; i++) {
		postgres.now.wallets[i].is_there = true;
	}
	pg_commit();
}

void pg_end(void)
{
	free(postgres.rows);
	free(postgres.keys);
	free(postgres.receipts);
	free(postgres.applied);
	free(postgres.aside);
	free(postgres.left);
	free(postgres.served);
	free(postgres.passed);
	free(postgres.orphans);
	free(postgres.commits);
	while (texts != NULL) {
		struct kept_text *next = texts->next;
		free(texts);
		texts = next;
	}
	memset(&postgres, 0, sizeof postgres);
}

bool pg_is_up(void)
{
	return sim.now_ms >= postgres.up_at_ms;
}

int64_t pg_now_ms(void)
{
	return INT64_C(1700000000000) + (int64_t)sim.now_ms;
}

/* Wallets change only with a row. */
static bool have_cursors_changed(const struct pg_state *before)
{
	for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
		const struct pg_cursor *a = &before->cursors[p];
		const struct pg_cursor *b = &postgres.now.cursors[p];
		if (a->is_there != b->is_there || a->epoch != b->epoch || a->fence != b->fence ||
		    a->last_epoch != b->last_epoch || a->last_n != b->last_n ||
		    a->served != b->served || a->served_from != b->served_from ||
		    a->served_last_epoch != b->served_last_epoch ||
		    a->served_last_n != b->served_last_n || a->turn_until_ms != b->turn_until_ms) {
			return true;
		}
	}
	return false;
}

static size_t count_rows(void)
{
	const struct pg_state *now = &postgres.now;

	return now->row_count + now->key_count + now->receipt_count + now->applied_count +
	    now->aside_count + now->left_count + now->passed_count;
}

PGresult *pg_execute(const struct pg_statement *statement)
{
	size_t rows = count_rows();
	struct pg_state before = postgres.now;
	PGresult *result = strstr(statement->text, "callgate.flush(") != NULL ? pg_flush(statement)
	                                                                      : pg_ask(statement);

	if (result == NULL) {
		postgres.now = before;
	} else if (rows != count_rows() || have_cursors_changed(&before)) {
		pg_commit();
	}
	return result;
}

void pg_restart(uint64_t down_ms)
{
	sim_trace("ledger: restarts, down for %" PRIu64, down_ms);
	postgres.up_at_ms = sim.now_ms + down_ms;
}

bool pg_fail_far_back(uint32_t partition, uint64_t trimmed_epoch, uint64_t trimmed_n)
{
	for (size_t i = postgres.commit_count;
	     i > 0 && postgres.commits[i - 1].at_ms > postgres.not_before_ms; i--) {
		const struct pg_cursor *cursor = &postgres.commits[i - 1].cursors[partition];
		if (cursor->is_there && cursor->epoch == postgres.now.cursors[partition].epoch &&
		    (cursor->last_epoch < trimmed_epoch ||
		        (cursor->last_epoch == trimmed_epoch && cursor->last_n < trimmed_n))) {
			sim_trace("ledger: goes back by %zu commits, behind what was trimmed",
			    postgres.commit_count - i);
			postgres.now = postgres.commits[i - 1];
			postgres.commit_count = i;
			postgres.failed_over_at_ms = sim.now_ms;
			return true;
		}
	}
	return false;
}

void pg_fail_over(uint64_t down_ms)
{
	uint64_t lag_ms = sim_below(sim.profile->lag_ms);
	size_t last = postgres.commit_count - 1;
	size_t passed_count = postgres.now.passed_count;

	while (last > 0 && postgres.commits[last].at_ms + lag_ms > sim.now_ms &&
	    postgres.commits[last].at_ms > postgres.not_before_ms) {
		last--;
	}
	sim_trace("ledger: a standby takes over, %zu commits lost, down for %" PRIu64,
	    postgres.commit_count - 1 - last, down_ms);
	postgres.now = postgres.commits[last];
	if (!sim_rule_holds(SIM_RULE_PASSED)) {
		postgres.now.passed_count = passed_count;
	}
	postgres.commit_count = last + 1;
	postgres.is_behind = true;
	postgres.failed_over_at_ms = sim.now_ms;
	postgres.up_at_ms = sim.now_ms + down_ms;
}
