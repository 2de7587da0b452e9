/*
 * What the gate says for as long as the ledger is away: seldom, and with a count of the rest.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fake_caller.h"
#include "log_pipe.h"

#define TICK_MS UINT64_C(100)

static unsigned count_of(const char *text, const char *what)
{
	unsigned count = 0;

	for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what)) {
		count++;
	}
	return count;
}

/* Another one like it, as it happens while Postgres is away. */
static void fail_once(struct fixture *f, void (*happen)(struct fixture *f))
{
	f->world.fault = (struct world_fault){1, CG_UNAVAILABLE, false};
	happen(f);
	world_run(&f->world);
	f->world.now_ms += TICK_MS;
}

static void read_terms(struct fixture *f)
{
	cg_gate_tick(f->gate);
	assert_true(world_next_is_ledger(&f->world, CG_LEDGER_TERMS_READ));
}

static void announce_receipt(struct fixture *f)
{
	struct cg_ledger_listener listener = cg_gate_listener(f->gate);
	struct cg_uuid company = world_company(1);
	struct cg_ledger_receipt_in due = {
	    .type = CG_ENTRY_TOP_UP, .amount = {50}, .reference_id = cg_view_of("pay-1")};

	listener.on_receipt_due(listener.owner, &company, &due);
}

/* The first is said at once, then one in a second; nine of ten are counted. */
static void check_it_is_said_once_a_second(
    struct fixture *f, void (*happen)(struct fixture *f), const char *line)
{
	cg_log_set_level(CG_LOG_WARN); /* The fixture has said that nothing is worth a line. */
	fail_once(f, happen);
	const char *first = log_pipe_said();
	assert_int_equal(count_of(first, line), 1);
	assert_int_equal(count_of(first, "status=unavailable"), 1);
	assert_int_equal(count_of(first, "held_back=0\n"), 1);
	for (unsigned i = 0; i < 9; i++) {
		fail_once(f, happen);
	}
	assert_string_equal(log_pipe_said(), "");
	fail_once(f, happen);
	const char *next = log_pipe_said();
	assert_int_equal(count_of(next, line), 1);
	assert_int_equal(count_of(next, "held_back=9\n"), 1);
}

static void test_terms_that_cannot_be_read_are_said_once_a_second(void **state)
{
	(void)state;
	struct fixture f;

	fixture_start(&f);
	struct cg_ledger_listener listener = cg_gate_listener(f.gate);
	f.world.fault = (struct world_fault){1, CG_UNAVAILABLE, false};
	listener.on_terms_changed(listener.owner, NULL);
	world_run(&f.world); /* From now on every tick tries. */
	f.world.now_ms += 10 * TICK_MS;
	check_it_is_said_once_a_second(&f, read_terms, "msg=\"terms not read\"");
	fixture_end(&f);
}

static void test_a_receipt_that_cannot_be_applied_is_said_once_a_second(void **state)
{
	(void)state;
	struct fixture f;

	fixture_start(&f);
	(void)world_add_wallet(&f.world, 1, 100);
	check_it_is_said_once_a_second(
	    &f, announce_receipt, "msg=\"a receipt is still to be applied\"");
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_terms_that_cannot_be_read_are_said_once_a_second,
	        log_pipe_open, log_pipe_close),
	    cmocka_unit_test_setup_teardown(
	        test_a_receipt_that_cannot_be_applied_is_said_once_a_second, log_pipe_open,
	        log_pipe_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
