/*
 * The ledger room against a real Postgres: $CG_TEST_DATABASE_URL, migrated, of its own;
 * $CG_TEST_SIDECAR_URL: the same as a member of callgate_sidecar.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "books.h"
#include "gate/ports/terms.h"

static const char *url;         /* as the owner, for looking */
static const char *sidecar_url; /* as the ledger logs in */

static struct driver *begin(void)
{
	static struct driver d;

	driver_start(&d, sidecar_url, url, FAKE_PARTITIONS);
	assert_true(driver_wait(&d, every_partition_is_served, 10000));
	return &d;
}

static struct cg_ledger_op receipt_of(
    const struct cg_uuid *company, int64_t amount, const char *reference)
{
	struct cg_ledger_op op = {.verb = CG_LEDGER_RECEIPT_WRITE, .company = *company};

	op.in.receipt.type = CG_ENTRY_TOP_UP;
	op.in.receipt.amount.micros = amount;
	op.in.receipt.reference_id = cg_view_of(reference);
	op.in.receipt.asked_by = cg_view_of("test");
	return op;
}

static void test_money_comes_and_goes_and_is_found_by_its_key(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct books books = {.company = company_of(1)};
	struct cg_wallet wallet = create_wallet(d, &books.company);

	assert_string_equal(wallet.plan_id, "starter");
	assert_int_equal(wallet.posted.micros, 0);
	struct cg_ledger_op receipt = receipt_of(&books.company, 50000000, "pay-1");
	driver_run(d, &receipt);
	assert_int_equal(receipt.outcome, CG_LEDGER_DONE);
	assert_false(receipt.replayed);
	commit(d, &books, CG_ENTRY_TOP_UP, 50000000, "pay-1");
	receipt = receipt_of(&books.company, 50000000, "pay-1");
	driver_run(d, &receipt);
	assert_int_equal(receipt.outcome, CG_LEDGER_POSTED);
	assert_int_equal(receipt.out.row.balance_after.micros, 50000000);
	receipt = receipt_of(&books.company, 50000001, "pay-1");
	driver_run(d, &receipt);
	assert_int_equal(receipt.outcome, CG_LEDGER_KEY_REUSED);

	commit(d, &books, CG_ENTRY_USAGE, -93000, "call-1");
	struct cg_ledger_op key = {.verb = CG_LEDGER_KEY_READ, .company = books.company};
	key.in.key = (struct cg_ledger_key){CG_ENTRY_USAGE, cg_view_of("call-1")};
	driver_run(d, &key);
	assert_int_equal(key.status, CG_OK);
	assert_int_equal(key.outcome, CG_LEDGER_DONE);
	assert_int_equal(key.out.row.amount.micros, -93000);
	assert_int_equal(key.out.row.billed_ms, 62000);
	assert_int_equal(key.out.row.price.rate_per_minute.micros, 90000);
	assert_int_equal(key.out.row.basis, CG_BASIS_REPORTED);
	key.in.key.reference_id = cg_view_of("call-2");
	driver_run(d, &key);
	assert_int_equal(key.outcome, CG_LEDGER_NO_KEY);

	struct cg_ledger_op read = {.verb = CG_LEDGER_WALLET_READ, .company = books.company};
	driver_run(d, &read);
	assert_int_equal(read.out.wallet.posted.micros, 50000000 - 93000);
	assert_int_equal(read.out.wallet.version, 2);
	read.company = company_of(99);
	driver_run(d, &read);
	assert_int_equal(read.outcome, CG_LEDGER_NO_WALLET);
	driver_stop(d);
}

static void test_a_meta_comes_back_as_it_went(void **state)
{
	(void)state;
	static const char pairs[] = "\x01"
	                            "a"
	                            "\x02\x00"
	                            "b\""
	                            "\x03"
	                            "k\\y"
	                            "\x01\x00"
	                            "\t";
	struct driver *d = begin();
	struct books books = {.company = company_of(2)};

	(void)create_wallet(d, &books.company);
	struct cg_entry entry = entry_of(&books, CG_ENTRY_USAGE, -5, "meta-1");
	entry.body.meta.pairs = (struct cg_view){pairs, sizeof pairs - 1};
	struct cg_entry_id id = fake_store_append(&d->store, partition_of(&books.company), &entry);
	struct cg_ledger_op op = await_of(&books.company, id, CG_ENTRY_USAGE, "meta-1");
	driver_run(d, &op);
	assert_int_equal(op.outcome, CG_LEDGER_DONE);

	struct cg_ledger_op key = {.verb = CG_LEDGER_KEY_READ, .company = books.company};
	key.in.key = (struct cg_ledger_key){CG_ENTRY_USAGE, cg_view_of("meta-1")};
	/* The views are gone when the operation has ended; what was counted is not. */
	driver_run(d, &key);
	assert_int_equal(key.out.row.meta.pairs.len, sizeof pairs - 1);
	assert_int_equal(
	    driver_number(
	        d, "select count(*) from usage_logs where meta -> 'meta' ->> 'a' = 'b\"'"),
	    1);
	driver_stop(d);
}

static bool plans_have_changed(struct driver *d)
{
	return d->plans_changed > 0;
}

static bool wallets_have_changed(struct driver *d)
{
	return d->wallets_changed > 0;
}

static void test_terms_are_read_and_changes_are_told(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct cg_uuid company = company_of(3);
	struct cg_ledger_op op = {.verb = CG_LEDGER_TERMS_READ};

	(void)create_wallet(d, &company);
	driver_run(d, &op);
	assert_int_equal(op.out.terms->plan_count, 5);
	assert_string_equal(op.out.terms->plans[0].plan_id, "enterprise");
	assert_true(op.out.terms->plans[0].credit_unlimited);
	assert_int_equal(op.out.terms->plans[0].cut_warning_ms, 30000);
	assert_int_equal(op.out.terms->plans[0].cut_repeat_ms, 5000);
	assert_false(op.out.terms->plans[0].outage_allows);
	assert_int_equal(op.out.terms->plans[0].outage_longest_ms, 600000);
	assert_int_equal(op.out.terms->plans[0].outage_calls_max, 5);
	assert_int_equal(op.out.terms->rates[0].plan, 0);
	assert_true(op.out.terms->rate_count >= 20);
	cg_terms_snapshot_free(op.out.terms);

	/* The first word comes with the connection; what follows is a change. */
	assert_true(driver_wait(d, plans_have_changed, 5000));
	d->plans_changed = 0;
	assert_int_equal(
	    driver_number(d,
	        "with u as (update callgate.plans set calls_max = 11 where plan_id = 'growth'"
	        " returning 1) select count(*) from u"),
	    1);
	assert_true(driver_wait(d, plans_have_changed, 500));
	d->wallets_changed = 0;
	struct cg_ledger_op freeze = {.verb = CG_LEDGER_WALLET_UPDATE, .company = company};
	freeze.in.wallet_update.sets_frozen = freeze.in.wallet_update.frozen = true;
	driver_run(d, &freeze);
	assert_true(freeze.out.wallet.frozen);
	assert_true(driver_wait(d, wallets_have_changed, 500));
	driver_stop(d);
}

static bool a_receipt_is_due(struct driver *d)
{
	return d->receipts_due > 0;
}

static void test_a_receipt_without_an_entry_is_told(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct books books = {.company = company_of(4)};

	(void)create_wallet(d, &books.company);
	struct cg_ledger_op receipt = receipt_of(&books.company, 7000000, "pay-4");
	driver_run(d, &receipt);
	assert_int_equal(d->receipts_due, 0);
	assert_true(driver_wait(d, a_receipt_is_due, 5000));
	commit(d, &books, CG_ENTRY_TOP_UP, 7000000, "pay-4");
	assert_int_equal(
	    driver_number(d, "select count(*) from callgate.receipts where entry_id is null"), 0);
	driver_stop(d);
}

static struct cg_ledger_op ops[2000];
static char references[2000][24];

static void submit_calls(struct driver *d, struct books *books, uint32_t wallets, uint32_t calls)
{
	for (uint32_t i = 0; i < calls; i++) {
		struct books *b = &books[i % wallets];
		(void)snprintf(references[i], sizeof references[i], "many-%u", i);
		struct cg_entry_id id = write_entry(d, b, CG_ENTRY_USAGE, -93000, references[i]);
		ops[i] = await_of(&b->company, id, CG_ENTRY_USAGE, references[i]);
		driver_submit(d, &ops[i], 30000);
	}
}

static void check_calls(struct driver *d, uint32_t calls)
{
	for (uint32_t i = 0; i < calls; i++) {
		assert_int_equal(ops[i].status, CG_OK);
		assert_int_equal(ops[i].outcome, CG_LEDGER_DONE);
	}
	assert_int_equal(
	    driver_number(
	        d, "select count(*) from wallet_transactions where reference_id like 'many-%'"),
	    calls);
	assert_int_equal(
	    driver_number(
	        d, "select count(*) from usage_logs where meta ->> 'call_id' like 'many-%'"),
	    calls);
	assert_int_equal(driver_number(d, "select count(*) from callgate.quarantine"), 0);
}

/* Whose wallets: 10 of them, fresh for each test. */
static void make_books(struct driver *d, struct books *books, uint32_t first)
{
	for (uint32_t i = 0; i < 10; i++) {
		books[i] = (struct books){.company = company_of(first + i)};
		(void)create_wallet(d, &books[i].company);
	}
}

static const char severs[] = "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                             " where pid <> pg_backend_pid() and application_name = 'callgated'"
                             " and datname = current_database()";

/*
 * Goal: whenever connections are cut, also between a commit and its answer, every entry is
 * in the ledger once and every waiter hears of it, or that it could not be known.
 */
static void test_cut_connections_lose_nothing_and_double_nothing(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct books books[10];

	make_books(d, books, 20);
	submit_calls(d, books, 10, 2000);
	for (int i = 0; i < 20; i++) {
		(void)driver_wait(d, all_have_ended, 7);
		assert_true(driver_number(d, severs) >= 0);
	}
	assert_true(driver_wait(d, all_have_ended, 30000));
	/* A look-up cut off may have told its waiters so; the entries are there all the same. */
	for (uint32_t i = 0; i < 2000; i++) {
		if (ops[i].status != CG_OK) {
			assert_true(ops[i].status == CG_LOST || ops[i].status == CG_UNAVAILABLE);
			driver_run(d, &ops[i]);
		}
	}
	check_calls(d, 2000);
	driver_stop(d);
}

static void test_a_flushed_store_is_recovered_and_calls_go_on(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct cg_partition_listener store = cg_ledger_partition_listener(d->ledger);
	struct books books = {.company = company_of(40)};
	uint64_t epoch = d->store.partitions[0].epoch;

	(void)create_wallet(d, &books.company);
	struct cg_entry_id id = write_entry(d, &books, CG_ENTRY_USAGE, -1, "before");
	struct cg_ledger_op op = await_of(&books.company, id, CG_ENTRY_USAGE, "before");
	driver_run(d, &op);
	fake_store_forget(&d->store, 0);
	store.on_refused(store.owner, 0);
	assert_int_equal(d->store.partitions[0].served_here, 0);
	assert_true(driver_wait(d, every_partition_is_served, 10000));
	assert_true(d->store.partitions[0].epoch > epoch);
	/* What was committed under the old epoch is found by its key. */
	driver_run(d, &op);
	assert_int_equal(op.outcome, CG_LEDGER_DONE);
	commit(d, &books, CG_ENTRY_USAGE, -1, "after");
	/* An entry that was never flushed, of an epoch that is over. */
	op = await_of(&books.company, (struct cg_entry_id){0, epoch, 999}, CG_ENTRY_USAGE, "never");
	driver_run(d, &op);
	assert_int_equal(op.outcome, CG_LEDGER_OVERTAKEN);
	driver_stop(d);
}

static void test_a_restarted_store_keeps_its_history(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct cg_partition_listener store = cg_ledger_partition_listener(d->ledger);
	struct books books = {.company = company_of(44)};
	uint32_t drops = d->store.partitions[0].drop_count;

	(void)create_wallet(d, &books.company);
	commit(d, &books, CG_ENTRY_USAGE, -1, "kept-1");
	store.on_disconnected(store.owner);
	struct cg_entry entry = entry_of(&books, CG_ENTRY_USAGE, -1, "kept-2");
	(void)fake_store_append(&d->store, 0, &entry);
	d->store.partitions[0].other_history = true;
	store.on_connected(store.owner);
	assert_true(driver_wait(d, every_partition_is_served, 10000));
	assert_int_equal(d->store.partitions[0].drop_count, drops);
	commit(d, &books, CG_ENTRY_USAGE, -1, "kept-3");
	assert_int_equal(
	    driver_number(
	        d, "select count(*) from wallet_transactions where reference_id like 'kept-%'"),
	    3);
	driver_stop(d);
}

/* `began`: a recovery of the old snapshot was begun before, and not finished. */
static void recover_older_history(bool began, unsigned company)
{
	struct driver *d = begin();
	struct cg_partition_listener store = cg_ledger_partition_listener(d->ledger);
	struct books books = {.company = company_of(company)};
	struct fake_partition *p = &d->store.partitions[0];
	long long orphans = driver_number(
	    d, "select count(*) from callgate.orphans where reference_id = 'old-2'::bytea");

	(void)create_wallet(d, &books.company);
	commit(d, &books, CG_ENTRY_USAGE, -1, "old-1");
	/*
	 * An old snapshot: an epoch was served since, and nothing was written under it; so only
	 * the epochs tell.  It has an entry that never was flushed.
	 */
	struct books lost = books;
	struct cg_entry entry = entry_of(&lost, CG_ENTRY_USAGE, -1, "old-2");
	(void)fake_store_append(&d->store, 0, &entry);
	(void)driver_number(d,
	    "update callgate.cursors set epoch = epoch + 1, served = served + 1"
	    " where partition = 0 returning 1");
	if (began) {
		p->epoch += 2;
		p->state = FAKE_RECOVERING;
		(void)driver_number(d,
		    "update callgate.cursors set epoch = epoch + 1"
		    " where partition = 0 returning 1");
	}
	uint32_t drops = p->drop_count;
	store.on_refused(store.owner, 0);
	assert_true(driver_wait(d, every_partition_is_served, 10000));
	assert_int_equal(p->drop_count, drops + 1);
	assert_int_equal(
	    driver_number(
	        d, "select count(*) from callgate.orphans where reference_id = 'old-2'::bytea"),
	    orphans + 1);
	commit(d, &books, CG_ENTRY_USAGE, -1, "old-3");
	driver_stop(d);
}

static void test_an_older_history_is_copied_and_dropped(void **state)
{
	(void)state;
	recover_older_history(false, 48);
}

static bool has_met_it(struct driver *d)
{
	return d->store.partitions[0].unreadable_count >= 2; /* and has tried again */
}

/* What cannot be copied is not dropped: nobody is charged for what only an operator can read. */
static void test_an_older_history_that_cannot_be_read_stays(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct cg_partition_listener store = cg_ledger_partition_listener(d->ledger);
	struct books books = {.company = company_of(300)};
	struct fake_partition *p = &d->store.partitions[0];
	uint32_t drops = p->drop_count;

	struct cg_entry entry = entry_of(&books, CG_ENTRY_USAGE, -1, "odd-1");
	p->unreadable = fake_store_append(&d->store, 0, &entry).n + 1;
	(void)driver_number(d,
	    "update callgate.cursors set epoch = epoch + 1, served = served + 1"
	    " where partition = 0 returning 1");
	store.on_refused(store.owner, 0);
	p->unreadable_count = 0;
	assert_true(driver_wait(d, has_met_it, 20000));
	assert_int_equal(p->drop_count, drops);
	assert_false(every_partition_is_served(d));
	p->unreadable = 0;
	assert_true(driver_wait(d, every_partition_is_served, 20000));
	assert_int_equal(p->drop_count, drops + 1);
	assert_int_equal(
	    driver_number(
	        d, "select count(*) from callgate.orphans where reference_id = 'odd-1'::bytea"),
	    1);
	driver_stop(d);
}

static void test_an_older_history_is_dropped_after_a_recovery_that_did_not_finish(void **state)
{
	(void)state;
	unsigned company = 200; /* nobody else's, and in the partition that is set back */
	struct cg_uuid id = company_of(company);

	while (partition_of(&id) != 0) {
		id = company_of(++company);
	}
	recover_older_history(true, company);
}

static void test_a_refused_text_costs_its_payload_alone(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct books books[10];

	make_books(d, books, 60);
	for (uint32_t i = 0; i < 20; i++) {
		(void)snprintf(references[i], sizeof references[i], "many-x%u", i);
		struct cg_entry entry =
		    entry_of(&books[i % 10], CG_ENTRY_USAGE, -93000, references[i]);
		if (i == 7) {
			entry.body.description = cg_view_of("\xff\xfe");
		}
		uint32_t partition = partition_of(&books[i % 10].company);
		struct cg_entry_id id = fake_store_append(&d->store, partition, &entry);
		ops[i] = await_of(&books[i % 10].company, id, CG_ENTRY_USAGE, references[i]);
		driver_submit(d, &ops[i], 10000);
	}
	assert_true(driver_wait(d, all_have_ended, 15000));
	for (uint32_t i = 0; i < 20; i++) {
		assert_int_equal(ops[i].status, CG_OK);
		assert_int_equal(ops[i].outcome, CG_LEDGER_DONE);
	}
	assert_int_equal(
	    driver_number(d, "select count(*) from callgate.quarantine where kind = 'payload'"), 1);
	driver_stop(d);
}

static void test_a_refused_reference_sets_its_wallet_aside_and_no_other(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct books bad = {.company = company_of(80)};
	struct books good = {.company = company_of(84)};

	(void)create_wallet(d, &bad.company);
	(void)create_wallet(d, &good.company);
	struct cg_entry_id id = write_entry(d, &bad, CG_ENTRY_USAGE, -5, "\xff");
	commit(d, &good, CG_ENTRY_USAGE, -5, "good");
	struct cg_ledger_op op = await_of(&bad.company, id, CG_ENTRY_USAGE, "bad");
	driver_run(d, &op);
	assert_int_equal(op.outcome, CG_LEDGER_OVERTAKEN);
	id = write_entry(d, &bad, CG_ENTRY_USAGE, -6, "bad-2");
	op = await_of(&bad.company, id, CG_ENTRY_USAGE, "bad-2");
	driver_run(d, &op);
	assert_int_equal(op.outcome, CG_LEDGER_OVERTAKEN);
	struct cg_ledger_op read = {.verb = CG_LEDGER_WALLET_READ, .company = bad.company};
	driver_run(d, &read);
	assert_int_equal(read.out.wallet.posted.micros, -11);
	assert_int_equal(read.out.wallet.version, 2);
	driver_stop(d);
}

/* Another sidecar's flusher moves the cursor: its waiters here hear of it too. */
static void test_two_sidecars_flush_one_stream(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct books books[10];
	struct cg_ledger_config config = {.database_url = sidecar_url,
	    .partition_count = FAKE_PARTITIONS,
	    .connections = 2,
	    .requests_max = 100,
	    .flush_interval_ms = 3,
	    .flush_batch_max = 50,
	    .trim_margin_ms = 1,
	    .terms_poll_ms = 500,
	    .receipt_after_ms = 3000,
	    .connect_timeout_ms = 1000};
	struct cg_ledger *other = cg_ledger_create(d->loop, &config, &d->store.port);
	struct cg_partition_listener store = cg_ledger_partition_listener(other);

	cg_ledger_start(other);
	store.on_connected(store.owner);
	make_books(d, books, 100);
	submit_calls(d, books, 10, 1000);
	for (uint32_t i = 0; i < FAKE_PARTITIONS; i++) {
		cg_ledger_port(other)->kick(cg_ledger_port(other), i);
	}
	assert_true(driver_wait(d, all_have_ended, 20000));
	for (uint32_t i = 0; i < 1000; i++) {
		assert_int_equal(ops[i].status, CG_OK);
		assert_int_equal(ops[i].outcome, CG_LEDGER_DONE);
	}
	cg_ledger_close(other);
	assert_int_equal(
	    driver_number(d, "select count(*) - count(distinct entry_id) from wallet_transactions"),
	    0);
	driver_stop(d);
	cg_ledger_destroy(other);
}

static void on_drained(void *owner)
{
	struct driver *d = owner;

	d->is_drained = true;
}

static bool is_drained(struct driver *d)
{
	return d->is_drained;
}

static void test_drain_flushes_what_is_left(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct books books = {.company = company_of(120)};

	(void)create_wallet(d, &books.company);
	struct cg_entry entry = entry_of(&books, CG_ENTRY_USAGE, -5, "drained");
	(void)fake_store_append(&d->store, partition_of(&books.company), &entry);
	cg_ledger_drain(d->ledger, cg_loop_now_ms(d->loop) + 5000, on_drained, d);
	assert_false(d->is_drained);
	assert_true(driver_wait(d, is_drained, 6000));
	assert_int_equal(
	    driver_number(
	        d, "select count(*) from wallet_transactions where reference_id = 'drained'"),
	    1);
	struct cg_ledger_op read = {.verb = CG_LEDGER_WALLET_READ, .company = books.company};
	driver_run(d, &read);
	assert_int_equal(read.status, CG_CLOSING);
	driver_stop(d);
}

static void test_without_postgres_operations_end_at_once(void **state)
{
	(void)state;
	static struct driver d;
	struct cg_ledger_op read = {.verb = CG_LEDGER_WALLET_READ, .company = company_of(1)};

	driver_start(&d, "postgresql://nobody@/nothing?host=/nonexistent", url, FAKE_PARTITIONS);
	uint64_t from_ms = cg_loop_now_ms(d.loop);
	driver_run(&d, &read);
	assert_int_equal(read.status, CG_UNAVAILABLE);
	assert_true(cg_loop_now_ms(d.loop) - from_ms < 1000);
	assert_false(cg_ledger_is_connected(d.ledger));
	driver_stop(&d);
}

static void test_another_partition_count_is_not_served(void **state)
{
	(void)state;
	static struct driver d;

	driver_start(&d, sidecar_url, url, FAKE_PARTITIONS - 1);
	assert_false(driver_wait(&d, every_partition_is_served, 700));
	for (uint32_t i = 0; i < FAKE_PARTITIONS; i++) {
		assert_int_equal(d.store.partitions[i].fence_count, 0);
	}
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_money_comes_and_goes_and_is_found_by_its_key),
	    cmocka_unit_test(test_a_meta_comes_back_as_it_went),
	    cmocka_unit_test(test_terms_are_read_and_changes_are_told),
	    cmocka_unit_test(test_a_receipt_without_an_entry_is_told),
	    cmocka_unit_test(test_cut_connections_lose_nothing_and_double_nothing),
	    cmocka_unit_test(test_a_flushed_store_is_recovered_and_calls_go_on),
	    cmocka_unit_test(test_a_restarted_store_keeps_its_history),
	    cmocka_unit_test(test_an_older_history_is_copied_and_dropped),
	    cmocka_unit_test(test_an_older_history_that_cannot_be_read_stays),
	    cmocka_unit_test(test_an_older_history_is_dropped_after_a_recovery_that_did_not_finish),
	    cmocka_unit_test(test_a_refused_text_costs_its_payload_alone),
	    cmocka_unit_test(test_a_refused_reference_sets_its_wallet_aside_and_no_other),
	    cmocka_unit_test(test_two_sidecars_flush_one_stream),
	    cmocka_unit_test(test_drain_flushes_what_is_left),
	    cmocka_unit_test(test_without_postgres_operations_end_at_once),
	    cmocka_unit_test(test_another_partition_count_is_not_served),
	};

	if (!driver_find_urls(&url, &sidecar_url)) {
		return 2;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
