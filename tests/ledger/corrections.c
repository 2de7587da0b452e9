/*
 * Corrections and shadow mode, from the store's entry to the books and back by its key:
 * $CG_TEST_DATABASE_URL, migrated, of its own; $CG_TEST_SIDECAR_URL: the same as a member
 * of callgate_sidecar.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "books.h"

/* What an abandoned call was charged for, and what it turned out to be. */
#define ASSUMED_COST       93000
#define REPORTED_MS        40500
#define REPORTED_BILLED_MS 41000
#define REPORTED_COST      61500

static const char *url;         /* as the owner, for looking */
static const char *sidecar_url; /* as the ledger logs in */

static struct driver *begin(void)
{
	static struct driver d;

	driver_start(&d, sidecar_url, url, FAKE_PARTITIONS);
	assert_true(driver_wait(&d, every_partition_is_served, 10000));
	return &d;
}

static struct cg_entry abandoned_of(struct books *books, const char *call_id)
{
	struct cg_entry entry = entry_of(books, CG_ENTRY_USAGE, -ASSUMED_COST, call_id);

	entry.body.basis = CG_BASIS_ASSUMED;
	return entry;
}

/* `reference`: correction:<call id> */
static struct cg_entry correction_of(struct books *books, int64_t amount, const char *reference)
{
	/* Everything of the call's stands in it as of a usage. */
	struct cg_entry entry = entry_of(books, CG_ENTRY_USAGE, amount, reference);

	entry.body.type = CG_ENTRY_ADJUSTMENT;
	entry.body.is_correction = true;
	entry.body.duration_ms = REPORTED_MS;
	entry.body.quantity = REPORTED_BILLED_MS - entry.body.billed_ms;
	entry.body.billed_ms = REPORTED_BILLED_MS;
	entry.body.basis = CG_BASIS_REPORTED;
	return entry;
}

static void expect_await(struct driver *d, const struct cg_uuid *company, struct cg_entry_id id,
    const char *reference, enum cg_ledger_outcome outcome)
{
	struct cg_ledger_op op = await_of(company, id, CG_ENTRY_ADJUSTMENT, reference);

	driver_run(d, &op);
	assert_int_equal(op.status, CG_OK);
	assert_int_equal(op.outcome, outcome);
}

/* An abandoned call and its correction, both in the ledger; the correction's id. */
static struct cg_entry_id correct(
    struct driver *d, struct books *books, int64_t amount, const char *reference)
{
	struct cg_entry entry = abandoned_of(books, reference + strlen("correction:"));

	(void)append(d, &entry);
	entry = correction_of(books, amount, reference);
	struct cg_entry_id id = append(d, &entry);
	expect_await(d, &books->company, id, reference, CG_LEDGER_DONE);
	return id;
}

static struct cg_ledger_row read_key(
    struct driver *d, const struct cg_uuid *company, enum cg_entry_type type, const char *reference)
{
	struct cg_ledger_op op = {.verb = CG_LEDGER_KEY_READ, .company = *company};

	op.in.key = (struct cg_ledger_key){type, cg_view_of(reference)};
	driver_run(d, &op);
	assert_int_equal(op.status, CG_OK);
	assert_int_equal(op.outcome, CG_LEDGER_DONE);
	return op.out.row;
}

static void expect_id(const struct cg_entry_id *id, const struct cg_entry_id *expected)
{
	assert_int_equal(id->partition, expected->partition);
	assert_int_equal(id->epoch, expected->epoch);
	assert_int_equal(id->n, expected->n);
}

static void test_a_correction_books_the_difference(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct books books = {.company = company_of(1)};

	(void)create_wallet(d, &books.company);
	(void)correct(d, &books, ASSUMED_COST - REPORTED_COST, "correction:booked");
	assert_int_equal(driver_number(d,
	                     "select count(*) from wallet_transactions where type = 'adjustment'"
	                     " and reference_id = 'correction:booked' and amount = 3.15"),
	    1);
	assert_int_equal(
	    driver_number(d, "select count(*) from usage_logs where meta ->> 'call_id' = 'booked'"),
	    2);
	assert_int_equal(
	    driver_number(d,
	        "select count(*) from usage_logs where (meta -> 'correction')::boolean"
	        " and cost = -3.15 and quantity = -0.35 and meta ->> 'call_id' = 'booked'"
	        " and meta ->> 'billed_ms' = '41000' and meta ->> 'duration_ms' = '40500'"
	        " and meta ->> 'basis' = 'reported' and meta ->> 'rate_micros_per_minute' = '90000'"
	        " and resource_type = 'voice_outbound' and meta ->> 'entry_id' ="
	        " (select entry_id from callgate.keys where reference_id = 'correction:booked')"),
	    1);
	assert_int_equal(driver_number(d,
	                     "select round(1000000 * sum(quantity)) from usage_logs"
	                     " where meta ->> 'call_id' = 'booked'"),
	    683333); /* 41 s of a minute */
	driver_stop(d);
}

static void test_a_call_is_read_with_its_correction(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct books books = {.company = company_of(2)};

	(void)create_wallet(d, &books.company);
	struct cg_entry_id id = correct(d, &books, ASSUMED_COST - REPORTED_COST, "correction:read");
	struct cg_ledger_row row = read_key(d, &books.company, CG_ENTRY_USAGE, "read");
	assert_int_equal(row.amount.micros, -ASSUMED_COST);
	assert_int_equal(row.basis, CG_BASIS_ASSUMED);
	assert_int_equal(row.billed_ms, 62000);
	assert_true(row.is_corrected);
	expect_id(&row.correction_id, &id);
	assert_int_equal(row.corrected.micros, ASSUMED_COST - REPORTED_COST);
	assert_int_equal(row.corrected_duration_ms, REPORTED_MS);
	assert_int_equal(row.corrected_billed_ms, REPORTED_BILLED_MS);
	assert_int_equal(row.corrected_basis, CG_BASIS_REPORTED);

	row = read_key(d, &books.company, CG_ENTRY_ADJUSTMENT, "correction:read");
	expect_id(&row.entry_id, &id);
	assert_false(row.is_corrected);
	commit(d, &books, CG_ENTRY_USAGE, -1, "plain");
	row = read_key(d, &books.company, CG_ENTRY_USAGE, "plain");
	assert_false(row.is_corrected);
	assert_int_equal(row.correction_id.epoch, 0);
	assert_int_equal(row.corrected.micros, 0);
	driver_stop(d);
}

static void test_a_correction_of_nothing_is_one(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct books books = {.company = company_of(3)};

	(void)create_wallet(d, &books.company);
	struct cg_entry_id id = correct(d, &books, 0, "correction:nothing");
	struct cg_ledger_row row = read_key(d, &books.company, CG_ENTRY_USAGE, "nothing");
	assert_true(row.is_corrected);
	expect_id(&row.correction_id, &id);
	assert_int_equal(row.corrected.micros, 0);
	assert_int_equal(row.corrected_basis, CG_BASIS_REPORTED);
	driver_stop(d);
}

/* The first correction is in the ledger; the second, of a lost history, must not pass for it. */
static void test_a_correction_is_awaited_under_its_own_key(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct books books = {.company = company_of(4)};

	(void)create_wallet(d, &books.company);
	struct cg_entry_id id = correct(d, &books, 5, "correction:awaited");
	expect_await(d, &books.company, id, "correction:awaited", CG_LEDGER_DONE);
	struct cg_entry again = correction_of(&books, 5, "correction:awaited");
	struct cg_entry_id second = append(d, &again);
	expect_await(d, &books.company, second, "correction:awaited", CG_LEDGER_OTHER_ENTRY);
	assert_int_equal(
	    driver_number(
	        d, "select count(*) from usage_logs where meta ->> 'call_id' = 'awaited'"),
	    2);
	struct cg_entry_id never = {id.partition, id.epoch - 1, 7};
	expect_await(d, &books.company, never, "correction:unwritten", CG_LEDGER_OVERTAKEN);
	driver_stop(d);
}

/* The store has made them: what they say holds, and nothing of them is lost. */
static void test_what_is_set_aside_is_read_and_kept(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct books books = {.company = company_of(5)};

	(void)create_wallet(d, &books.company);
	commit(d, &books, CG_ENTRY_USAGE, -1, "before");
	books.version++; /* a gap */
	struct cg_entry entry = abandoned_of(&books, "aside");
	entry.body.has_shadow = true;
	entry.body.shadow_decision = CG_DECISION_SUSPENDED;
	entry.body.shadow_saved.micros = 93000;
	(void)append(d, &entry);
	entry = correction_of(&books, 7, "correction:aside");
	struct cg_entry_id id = append(d, &entry);
	expect_await(d, &books.company, id, "correction:aside", CG_LEDGER_OVERTAKEN);

	struct cg_ledger_row row = read_key(d, &books.company, CG_ENTRY_USAGE, "aside");
	assert_true(row.is_corrected);
	expect_id(&row.correction_id, &id);
	assert_int_equal(row.corrected.micros, 7);
	assert_int_equal(row.corrected_duration_ms, REPORTED_MS);
	assert_int_equal(
	    driver_number(d,
	        "select count(*) from callgate.quarantine where kind = 'wallet'"
	        " and quantity = -21000 and resource_type = 'voice_outbound' and meta ->> "
	        "'call_id' = 'aside'"
	        " and (meta -> 'correction')::boolean and meta ->> 'billed_ms' = '41000'"),
	    1);
	assert_int_equal(
	    driver_number(d,
	        "select count(*) from callgate.quarantine where meta ->> 'call_id' = 'aside'"
	        " and meta ->> 'shadow_decision' = 'denied_suspended'"
	        " and meta ->> 'shadow_saved_micros' = '93000'"),
	    1);
	assert_int_equal(
	    driver_number(d, "select count(*) from callgate.shadow_calls where call_id = 'aside'"),
	    0);
	driver_stop(d);
}

static void test_what_text_cannot_hold_is_kept_whole(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct books books = {.company = company_of(6)};

	(void)create_wallet(d, &books.company);
	struct cg_entry entry = abandoned_of(&books, "x\xff");
	entry.body.has_shadow = true;
	entry.body.shadow_saved.micros = 7;
	struct cg_entry_id id = append(d, &entry);
	struct cg_ledger_op op = await_of(&books.company, id, CG_ENTRY_USAGE, "x");
	driver_run(d, &op);
	assert_int_equal(op.outcome, CG_LEDGER_OVERTAKEN);
	assert_int_equal(
	    driver_number(d,
	        "select count(*) from callgate.quarantine where meta is null and quantity = 62000"
	        " and position('\"duration_ms\":61001'::bytea in raw) > 0"
	        " and position('\"shadow_saved_micros\":7'::bytea in raw) > 0"
	        " and position('\"call_id\":\"x'::bytea || '\\xff'::bytea in raw) > 0"),
	    1);
	driver_stop(d);
}

static struct cg_entry shadow_of(
    struct books *books, const char *call_id, enum cg_decision decision, int64_t cut_at_ms)
{
	struct cg_entry entry = entry_of(books, CG_ENTRY_USAGE, -93000, call_id);

	entry.body.has_shadow = true;
	entry.body.shadow_decision = decision;
	entry.body.shadow_cut_at_ms = cut_at_ms;
	entry.body.shadow_saved.micros = cut_at_ms == 0 ? 93000 : 50000;
	return entry;
}

static void test_shadow_calls_are_noted_beside_the_money(void **state)
{
	(void)state;
	struct driver *d = begin();
	struct books books = {.company = company_of(7)};

	(void)create_wallet(d, &books.company);
	struct cg_entry entry = shadow_of(&books, "sh-denied", CG_DECISION_CONCURRENCY_LIMIT, 0);
	entry.body.basis = CG_BASIS_ASSUMED;
	(void)append(d, &entry);
	entry = shadow_of(&books, "sh-cut", CG_DECISION_ALLOWED, INT64_C(1787300000001));
	/* Refused as it comes: the description goes, the rest does not. */
	entry.body.description = cg_view_of("\xff");
	(void)append(d, &entry);
	commit(d, &books, CG_ENTRY_USAGE, -93000, "sh-plain");
	entry = correction_of(&books, 31500, "correction:sh-denied");
	expect_await(d, &books.company, append(d, &entry), "correction:sh-denied", CG_LEDGER_DONE);
	assert_int_equal(
	    driver_number(
	        d, "select count(*) from callgate.shadow_calls where call_id like 'sh-%'"),
	    3);
	assert_int_equal(
	    driver_number(d,
	        "select 10000 * sum(saved) from callgate.shadow_calls where call_id = 'sh-denied'"),
	    REPORTED_COST);
	assert_int_equal(
	    driver_number(d,
	        "select count(*) from callgate.shadow_calls s join wallet_transactions t"
	        " using (entry_id, company_id) where s.call_id = 'sh-denied'"
	        " and s.decision = 'denied_concurrency_limit' and s.cut_at is null and s.cost = 9.3"
	        " and s.saved = 9.3 and s.at = t.created_at and not s.is_correction"),
	    1);
	assert_int_equal(driver_number(d,
	                     "select count(*) from callgate.shadow_calls where call_id = 'sh-cut'"
	                     " and decision = 'allowed' and cut_at = to_timestamp(1787300000.001) "
	                     "and saved = 5"),
	    1);
	driver_stop(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_correction_books_the_difference),
	    cmocka_unit_test(test_a_call_is_read_with_its_correction),
	    cmocka_unit_test(test_a_correction_of_nothing_is_one),
	    cmocka_unit_test(test_a_correction_is_awaited_under_its_own_key),
	    cmocka_unit_test(test_what_is_set_aside_is_read_and_kept),
	    cmocka_unit_test(test_what_text_cannot_hold_is_kept_whole),
	    cmocka_unit_test(test_shadow_calls_are_noted_beside_the_money),
	};

	if (!driver_find_urls(&url, &sidecar_url)) {
		return 2;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
