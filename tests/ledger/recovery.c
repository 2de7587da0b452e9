/*
 * Recovery by repair against a real Postgres, as ledger_integration is called: what is handed to
 * the store, and that it is handed whole whenever a step is lost, refused or overtaken.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "books.h"

#define PARTITION   0u
#define WALLETS     3u
#define LOST        90u /* more than one function call takes of a wallet's */
#define ENTRIES     (LOST + 6)
#define HANDED_MOST 4096u

static const char *url;
static const char *sidecar_url;
static unsigned first_company; /* fresh wallets for each test */
static char references[ENTRIES][32];

/* What the store was handed by the recovery at hand: a new epoch begins anew. */
static struct {
	struct driver *d;
	uint64_t epoch;
	uint32_t count;
	char references[HANDED_MOST][32];
	struct books books[WALLETS];
	uint32_t book_count;
	const char *statement; /* run with the next one, once */
	bool reconnects;       /* with the next one, once */
} handed;

static void note_entry(const struct cg_repair_entry *entry)
{
	const struct cg_ledger_row *row = &entry->row;

	assert_true(handed.count < HANDED_MOST);
	(void)snprintf(handed.references[handed.count++], sizeof handed.references[0], "%.*s",
	    (int)entry->key.reference_id.len, entry->key.reference_id.data);
	assert_int_equal(row->entry_id.partition, PARTITION);
	assert_true(row->entry_id.epoch > 0);
	if (entry->key.type == CG_ENTRY_USAGE) {
		assert_int_equal(row->amount.micros, -93000);
		assert_int_equal(row->price.rate_per_minute.micros, 90000);
		assert_int_equal(row->duration_ms, 61001);
		assert_int_equal(row->billed_ms, 62000);
		assert_int_equal(row->basis, CG_BASIS_REPORTED);
		assert_true(cg_view_equal(row->destination, cg_view_of("+447911123456")));
		assert_true(cg_view_equal(row->resource_type, cg_view_of("voice_outbound")));
		assert_true(row->started_at_ms > 0 && row->ended_at_ms > row->started_at_ms);
	} else {
		assert_int_equal(row->amount.micros, 500000);
	}
}

static void on_repair(void *owner, const struct cg_partition_op *op)
{
	struct driver *d = owner;
	const char *statement = handed.statement;
	struct cg_partition_listener store = cg_ledger_partition_listener(d->ledger);

	if (handed.epoch != op->in.repair.epoch) {
		handed.epoch = op->in.repair.epoch;
		handed.count = 0;
	}
	assert_true(op->in.repair.entry_count >= 1);
	assert_true(op->in.repair.entry_count <= CG_REPAIR_ENTRIES_MOST);
	for (uint32_t i = 0; i < op->in.repair.entry_count; i++) {
		note_entry(&op->in.repair.entries[i]);
	}
	for (uint32_t i = 0; i < handed.book_count; i++) {
		if (cg_uuid_equal(&handed.books[i].company, &op->in.repair.company)) {
			assert_int_equal(op->in.repair.posted.micros, handed.books[i].balance);
			assert_int_equal(op->in.repair.version, handed.books[i].version);
		}
	}
	handed.statement = NULL;
	if (statement != NULL) {
		assert_true(driver_number(d, statement) >= 0);
	}
	if (handed.reconnects) {
		handed.reconnects = false;
		store.on_disconnected(store.owner);
		store.on_connected(store.owner);
	}
}

static struct driver *begin(void)
{
	static struct driver d;

	driver_start(&d, sidecar_url, url, FAKE_PARTITIONS);
	assert_true(driver_wait(&d, every_partition_is_served, 10000));
	memset(&handed, 0, sizeof handed);
	handed.d = &d;
	d.store.partitions[PARTITION].on_repair = on_repair;
	d.store.partitions[PARTITION].repair_owner = &d;
	handed.book_count = WALLETS;
	for (uint32_t i = 0; i < WALLETS; i++) {
		handed.books[i] = (struct books){.company = company_of(first_company)};
		(void)create_wallet(&d, &handed.books[i].company);
		first_company += FAKE_PARTITIONS;
	}
	return &d;
}

/* Entry `number`: of the first wallet far more than of the others, and every tenth a credit. */
static void write_one(struct driver *d, uint32_t number)
{
	bool is_credit = number % 10 == 9;
	struct books *books = &handed.books[number % 8 < 6 ? 0 : number % 8 - 5];

	(void)snprintf(
	    references[number], sizeof references[number], "r-%u-%u", first_company, number);
	(void)write_entry(d, books, is_credit ? CG_ENTRY_BONUS : CG_ENTRY_USAGE,
	    is_credit ? 500000 : -93000, references[number]);
}

/* The stream is flushed in its order: with the last entry all of them are in the ledger. */
static void write_some(struct driver *d, uint32_t first, uint32_t end)
{
	static char last[32];

	for (uint32_t i = first; i < end; i++) {
		write_one(d, i);
	}
	(void)snprintf(last, sizeof last, "%s", references[end - 1]);
	struct cg_entry_id id = d->store.partitions[PARTITION].last;
	struct books *books = &handed.books[(end - 1) % 8 < 6 ? 0 : (end - 1) % 8 - 5];
	struct cg_ledger_op op = await_of(
	    &books->company, id, (end - 1) % 10 == 9 ? CG_ENTRY_BONUS : CG_ENTRY_USAGE, last);
	driver_run(d, &op);
	assert_int_equal(op.status, CG_OK);
	assert_int_equal(op.outcome, CG_LEDGER_DONE);
}

/* Some entries that the store keeps, and then some that it loses. */
static void live_on_and_keep(struct driver *d)
{
	write_some(d, 0, ENTRIES - LOST);
	fake_store_keep(&d->store, PARTITION);
	write_some(d, ENTRIES - LOST, ENTRIES);
}

static void fall_back(struct driver *d)
{
	struct cg_partition_listener store = cg_ledger_partition_listener(d->ledger);

	store.on_disconnected(store.owner);
	fake_store_fall_back(&d->store, PARTITION);
	store.on_connected(store.owner);
}

static uint32_t times_handed(const char *reference)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < handed.count; i++) {
		count += strcmp(handed.references[i], reference) == 0 ? 1 : 0;
	}
	return count;
}

static void check_handed_whole(void)
{
	for (uint32_t i = 0; i < ENTRIES; i++) {
		assert_int_equal(times_handed(references[i]), i < ENTRIES - LOST ? 0 : 1);
	}
	assert_int_equal(handed.count, LOST);
}

/* The recovery that was served handed over everything; nothing was dropped; life goes on. */
static void check_and_stop(struct driver *d, uint32_t drops)
{
	struct fake_partition *p = &d->store.partitions[PARTITION];

	assert_true(driver_wait(d, every_partition_is_served, 20000));
	assert_int_equal(p->drop_count, drops);
	assert_int_equal(p->epoch, handed.epoch);
	check_handed_whole();
	commit(d, &handed.books[0], CG_ENTRY_USAGE, -93000, "after");
	assert_int_equal(driver_number(d, "select count(*) from callgate.quarantine"), 0);
	driver_stop(d);
}

static void test_what_was_lost_is_handed_over_whole(void **state)
{
	(void)state;
	struct driver *d = begin();
	uint32_t drops = d->store.partitions[PARTITION].drop_count;

	live_on_and_keep(d);
	/* The turn is kept for longer than a step may take. */
	handed.statement = "select 1 / (case when turn_until > clock_timestamp() + interval '6 s'"
	                   " then 1 else 0 end) from callgate.cursors where partition = 0";
	fall_back(d);
	check_and_stop(d, drops);
}

static void test_nothing_is_handed_over_where_nothing_was_lost(void **state)
{
	(void)state;
	struct driver *d = begin();

	live_on_and_keep(d);
	fake_store_keep(&d->store, PARTITION);
	fall_back(d);
	assert_true(driver_wait(d, every_partition_is_served, 20000));
	assert_int_equal(d->store.partitions[PARTITION].repair_count, 0);
	driver_stop(d);
}

/*
 * Goal: wherever a recovery is broken off at the store, the next one hands over the same.
 *
 * Method: each operation from the first hello on, until one that no recovery comes to any more,
 * is not done, or done without an answer, or preceded by another sidecar's fence.
 */
static void test_each_step_at_the_store_may_fail(void **state)
{
	(void)state;
	static const enum fake_trouble troubles[] = {FAKE_NOT_DONE, FAKE_UNKNOWN, FAKE_OVERTAKES};
	uint32_t met[CG_PARTITION_TRIM + 1] = {0};

	for (size_t i = 0; i < CG_COUNT_OF(troubles); i++) {
		for (uint32_t nth = 0; nth < 7; nth++) {
			struct driver *d = begin();
			struct fake_partition *p = &d->store.partitions[PARTITION];
			uint32_t drops = p->drop_count;

			live_on_and_keep(d);
			p->trouble = troubles[i];
			p->trouble_in = nth;
			fall_back(d);
			assert_true(driver_wait(d, every_partition_is_served, 20000));
			p->trouble = FAKE_FINE;
			met[p->troubled_verb]++;
			check_and_stop(d, drops);
		}
	}
	assert_true(met[CG_PARTITION_FENCE] >= 3);
	assert_true(met[CG_PARTITION_REPAIR] >= 6);
	assert_true(met[CG_PARTITION_SERVE] >= 3);
}

/* Whatever happens to the ledger while the store is being handed what it lost. */
static void test_the_ledger_may_fail_in_the_middle(void **state)
{
	(void)state;
	static const char *const statements[] = {
	    /* every connection is cut */
	    "select count(pg_terminate_backend(pid)) from pg_stat_activity where"
	    " pid <> pg_backend_pid() and application_name = 'callgated'"
	    " and datname = current_database()",
	    /* another sidecar has taken an epoch */
	    "update callgate.cursors set epoch = epoch + 1 where partition = 0 returning 1",
	};

	for (size_t i = 0; i <= CG_COUNT_OF(statements); i++) {
		struct driver *d = begin();
		uint32_t drops = d->store.partitions[PARTITION].drop_count;

		live_on_and_keep(d);
		handed.statement = i < CG_COUNT_OF(statements) ? statements[i] : NULL;
		handed.reconnects =
		    i == CG_COUNT_OF(statements); /* or the store's connection ends */
		uint64_t epoch = d->store.partitions[PARTITION].epoch;
		fall_back(d);
		assert_true(driver_wait(d, every_partition_is_served, 20000));
		assert_true(d->store.partitions[PARTITION].epoch >= epoch + 2);
		check_and_stop(d, drops);
	}
}

/*
 * `from`: what the ledger holds the history that was served last for having come from.  The store
 * knows of that epoch by the fence alone.
 */
static void recover_what_only_the_fence_reached(bool is_same_history)
{
	struct driver *d = begin();
	struct fake_partition *p = &d->store.partitions[PARTITION];
	char statement[256];

	live_on_and_keep(d);
	uint32_t drops = p->drop_count;
	d->store.kept.epoch = p->epoch + 1;
	d->store.kept.state = FAKE_RECOVERING;
	(void)snprintf(statement, sizeof statement,
	    "with t as (select callgate.epoch_take(0, %llu, %llu) as ok)"
	    " select callgate.epoch_served(0, %llu, %llu)::integer from t where ok",
	    (unsigned long long)p->epoch, (unsigned long long)p->epoch + 1,
	    (unsigned long long)p->epoch + 1,
	    (unsigned long long)p->epoch + (is_same_history ? 0 : 1));
	assert_true(driver_number(d, statement) >= 0);
	fall_back(d);
	assert_true(driver_wait(d, every_partition_is_served, 20000));
	if (is_same_history) {
		check_and_stop(d, drops);
		return;
	}
	assert_int_equal(p->drop_count, drops + 1);
	assert_int_equal(p->repair_count, 0);
	driver_stop(d);
}

/* Served in the ledger, and the store lost its last step: it was judged to its end. */
static void test_a_history_whose_last_step_was_lost_is_repaired(void **state)
{
	(void)state;
	recover_what_only_the_fence_reached(true);
}

/* A replica that heard of the fence, and not of the drop: not the history that was served. */
static void test_a_history_that_was_dropped_elsewhere_is_dropped(void **state)
{
	(void)state;
	recover_what_only_the_fence_reached(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_was_lost_is_handed_over_whole),
	    cmocka_unit_test(test_nothing_is_handed_over_where_nothing_was_lost),
	    cmocka_unit_test(test_each_step_at_the_store_may_fail),
	    cmocka_unit_test(test_the_ledger_may_fail_in_the_middle),
	    cmocka_unit_test(test_a_history_whose_last_step_was_lost_is_repaired),
	    cmocka_unit_test(test_a_history_that_was_dropped_elsewhere_is_dropped),
	};

	if (!driver_find_urls(&url, &sidecar_url)) {
		return 2;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
