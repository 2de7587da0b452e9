/*
 * Every ending of every operation of every method.
 *
 * Goal: no ending loses an answer or gives two, gives one before submit has returned,
 * leaves an operation behind, claims that nothing happened where something did, or charges
 * twice when the caller asks again.
 *
 * Method: each scenario is a world and a request.  It runs once undisturbed, and then
 * again for each of its operations and each way in which that one can end; after every
 * run the same promises are checked, and the caller asks again with the same key.
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

struct scenario {
	const char *name;
	void (*prepare)(struct fixture *f);
	void (*ask)(struct asked *a, struct fixture *f);
	enum cg_status status;   /* undisturbed */
	enum cg_entry_type type; /* of the entry that it makes, under "k"; NONE: it makes none */
	int64_t amount;
};

static void cache_terms(struct fixture *f)
{
	struct asked a;

	asked_init(&a, f, CG_METHOD_GET_BALANCE);
	asked_run(&a, f);
	assert_int_equal(a.req.status, CG_OK);
}

static void in_ledger_only(struct fixture *f)
{
	(void)world_add_wallet(&f->world, 1, 1000000);
}

static void in_store(struct fixture *f)
{
	world_put_in_store(world_add_wallet(&f->world, 1, 1000000));
}

static void in_store_and_cached(struct fixture *f)
{
	in_store(f);
	cache_terms(f);
}

static void call_metering(struct fixture *f)
{
	in_store(f);
	(void)world_add_call(&f->world, 1, "k", 5);
}

static void call_ringing(struct fixture *f)
{
	in_store(f);
	world_add_call(&f->world, 1, "k", 5)->state = CG_CALL_AUTHORIZED;
}

/* Settled for 1000 ms, in the ledger, and the store has forgotten all. */
static void settled_and_forgotten(struct fixture *f)
{
	struct asked a;

	call_metering(f);
	asked_settle(&a, f, 1000);
	asked_run(&a, f);
	assert_int_equal(a.req.status, CG_OK);
	world_flush(&f->world);
	world_forget(&f->world);
}

static void abandoned(struct fixture *f)
{
	in_store(f);
	world_abandon(&f->world, 1, false);
}

static void abandoned_and_forgotten(struct fixture *f)
{
	in_store(f);
	world_abandon(&f->world, 1, true);
}

static void corrected_and_forgotten(struct fixture *f)
{
	struct asked a;

	abandoned(f);
	asked_settle(&a, f, 1000);
	asked_run(&a, f);
	assert_int_equal(a.req.status, CG_OK);
	world_flush(&f->world);
	world_forget(&f->world);
}

static void credited_and_forgotten(struct fixture *f)
{
	struct asked a;

	in_store(f);
	asked_credit(&a, f, 500);
	asked_run(&a, f);
	assert_int_equal(a.req.status, CG_OK);
	world_flush(&f->world);
	world_forget(&f->world);
}

static void charged_and_forgotten(struct fixture *f)
{
	struct asked a;

	in_store(f);
	asked_charge(&a, f, 900);
	asked_run(&a, f);
	assert_int_equal(a.req.status, CG_OK);
	world_flush(&f->world);
	world_forget(&f->world);
}

static void ask_authorize(struct asked *a, struct fixture *f)
{
	asked_authorize(a, f);
}

static void ask_start(struct asked *a, struct fixture *f)
{
	asked_call(a, f, CG_METHOD_START);
}

static void ask_stop(struct asked *a, struct fixture *f)
{
	asked_call(a, f, CG_METHOD_STOP);
}

static void ask_cancel(struct asked *a, struct fixture *f)
{
	asked_call(a, f, CG_METHOD_CANCEL);
}

static void ask_get_call(struct asked *a, struct fixture *f)
{
	asked_call(a, f, CG_METHOD_GET_CALL);
}

static void ask_settle(struct asked *a, struct fixture *f)
{
	asked_settle(a, f, 1000);
}

static void ask_settle_committed(struct asked *a, struct fixture *f)
{
	asked_settle(a, f, 1000);
	a->req.in.settle.durability = CG_DURABILITY_COMMITTED;
}

static void ask_settle_other(struct asked *a, struct fixture *f)
{
	asked_settle(a, f, 2000);
}

static void ask_settle_metered(struct asked *a, struct fixture *f)
{
	asked_settle(a, f, 0);
	a->req.in.settle.as_metered = true;
}

static void ask_adopt(struct asked *a, struct fixture *f)
{
	asked_adopt(a, f);
}

static void ask_credit(struct asked *a, struct fixture *f)
{
	asked_credit(a, f, 500);
}

static void ask_credit_committed(struct asked *a, struct fixture *f)
{
	asked_credit(a, f, 500);
	a->req.in.credit.durability = CG_DURABILITY_COMMITTED;
}

static void ask_charge(struct asked *a, struct fixture *f)
{
	asked_charge(a, f, 900);
}

static void ask_charge_committed(struct asked *a, struct fixture *f)
{
	asked_charge(a, f, 900);
	a->req.in.charge.durability = CG_DURABILITY_COMMITTED;
}

static void ask_balance(struct asked *a, struct fixture *f)
{
	asked_init(a, f, CG_METHOD_GET_BALANCE);
}

static void ask_create(struct asked *a, struct fixture *f)
{
	asked_init(a, f, CG_METHOD_CREATE_WALLET);
	a->req.company = world_company(2);
	a->req.in.create_wallet.plan_id = CG_VIEW_LITERAL("starter");
	memcpy(a->req.in.create_wallet.currency.code, "usd", 4);
}

static void ask_get_wallet(struct asked *a, struct fixture *f)
{
	asked_init(a, f, CG_METHOD_GET_WALLET);
}

static void ask_update(struct asked *a, struct fixture *f)
{
	asked_init(a, f, CG_METHOD_UPDATE_WALLET);
	a->req.in.update_wallet.sets_frozen = true;
	a->req.in.update_wallet.frozen = true;
}

static void on_call(struct cg_request *req, const struct cg_call *call)
{
	(void)req;
	assert_true(call->call_id.len > 0);
}

static void ask_list(struct asked *a, struct fixture *f)
{
	asked_init(a, f, CG_METHOD_LIST_CALLS);
	a->req.in.list_calls.page_size = 10;
	a->req.in.list_calls.on_call = on_call;
}

static void ask_list_all(struct asked *a, struct fixture *f)
{
	ask_list(a, f);
	a->req.company = (struct cg_uuid){{0}};
	a->req.in.list_calls.all_companies = true;
}

#define NO_ENTRY CG_ENTRY_NONE, 0

static const struct scenario scenarios[] = {
    {"authorize", in_store_and_cached, ask_authorize, CG_OK, NO_ENTRY},
    {"authorize, terms unknown", in_store, ask_authorize, CG_OK, NO_ENTRY},
    {"authorize, wallet to load", in_ledger_only, ask_authorize, CG_OK, NO_ENTRY},
    {"start", call_ringing, ask_start, CG_OK, NO_ENTRY},
    {"start, unknown", in_store, ask_start, CG_NOT_FOUND, NO_ENTRY},
    {"start, wallet to load", in_ledger_only, ask_start, CG_NOT_FOUND, NO_ENTRY},
    {"stop", call_metering, ask_stop, CG_OK, NO_ENTRY},
    {"cancel", call_ringing, ask_cancel, CG_OK, NO_ENTRY},
    {"cancel, metering", call_metering, ask_cancel, CG_WRONG_STATE, NO_ENTRY},
    {"cancel, unknown", in_ledger_only, ask_cancel, CG_OK, NO_ENTRY},
    {"settle", call_metering, ask_settle, CG_OK, CG_ENTRY_USAGE, -1000},
    {"settle, committed", call_metering, ask_settle_committed, CG_OK, CG_ENTRY_USAGE, -1000},
    {"settle, late", in_ledger_only, ask_settle, CG_OK, CG_ENTRY_USAGE, -1000},
    {"settle, late, terms unknown", in_store, ask_settle_committed, CG_OK, CG_ENTRY_USAGE, -1000},
    {"settle, from the row", settled_and_forgotten, ask_settle_committed, CG_OK, CG_ENTRY_USAGE,
        -1000},
    {"settle, other content", settled_and_forgotten, ask_settle_other, CG_KEY_REUSED,
        CG_ENTRY_USAGE, -1000},
    {"settle, a charge's", charged_and_forgotten, ask_settle, CG_KEY_REUSED, CG_ENTRY_USAGE, -900},
    {"settle, abandoned", abandoned, ask_settle_committed, CG_OK, CG_ENTRY_USAGE, -1000},
    {"settle, abandoned, from the row", abandoned_and_forgotten, ask_settle, CG_OK, CG_ENTRY_USAGE,
        -1000},
    {"settle, abandoned, committed", abandoned_and_forgotten, ask_settle_committed, CG_OK,
        CG_ENTRY_USAGE, -1000},
    {"settle, abandoned, as metered", abandoned_and_forgotten, ask_settle_metered, CG_WRONG_STATE,
        CG_ENTRY_USAGE, -5000},
    {"settle, corrected", corrected_and_forgotten, ask_settle_committed, CG_OK, CG_ENTRY_USAGE,
        -1000},
    {"settle, corrected, other content", corrected_and_forgotten, ask_settle_other, CG_KEY_REUSED,
        CG_ENTRY_USAGE, -1000},
    {"start, abandoned", abandoned, ask_start, CG_WRONG_STATE, CG_ENTRY_USAGE, -5000},
    {"adopt, abandoned", abandoned_and_forgotten, ask_adopt, CG_WRONG_STATE, CG_ENTRY_USAGE, -5000},
    {"get call, abandoned", abandoned_and_forgotten, ask_get_call, CG_OK, CG_ENTRY_USAGE, -5000},
    {"adopt", in_store_and_cached, ask_adopt, CG_OK, NO_ENTRY},
    {"adopt, wallet to load", in_ledger_only, ask_adopt, CG_OK, NO_ENTRY},
    {"adopt, settled", settled_and_forgotten, ask_adopt, CG_WRONG_STATE, CG_ENTRY_USAGE, -1000},
    {"credit", in_store, ask_credit, CG_OK, CG_ENTRY_TOP_UP, 500},
    {"credit, committed", in_ledger_only, ask_credit_committed, CG_OK, CG_ENTRY_TOP_UP, 500},
    {"credit, from the row", credited_and_forgotten, ask_credit_committed, CG_OK, CG_ENTRY_TOP_UP,
        500},
    {"charge", in_store, ask_charge, CG_OK, CG_ENTRY_USAGE, -900},
    {"charge, committed", in_ledger_only, ask_charge_committed, CG_OK, CG_ENTRY_USAGE, -900},
    {"charge, from the row", charged_and_forgotten, ask_charge, CG_OK, CG_ENTRY_USAGE, -900},
    {"charge, a call's", settled_and_forgotten, ask_charge, CG_KEY_REUSED, CG_ENTRY_USAGE, -1000},
    {"balance", in_store_and_cached, ask_balance, CG_OK, NO_ENTRY},
    {"balance, wallet to load", in_ledger_only, ask_balance, CG_OK, NO_ENTRY},
    {"get call", call_metering, ask_get_call, CG_OK, NO_ENTRY},
    {"get call, from the row", settled_and_forgotten, ask_get_call, CG_OK, CG_ENTRY_USAGE, -1000},
    {"get call, unknown", in_store, ask_get_call, CG_NOT_FOUND, NO_ENTRY},
    {"create wallet", in_store, ask_create, CG_OK, NO_ENTRY},
    {"get wallet", in_store, ask_get_wallet, CG_OK, NO_ENTRY},
    {"update wallet", in_store_and_cached, ask_update, CG_OK, NO_ENTRY},
    {"list calls", call_metering, ask_list, CG_OK, NO_ENTRY},
    {"list calls, wallet to load", in_ledger_only, ask_list, CG_OK, NO_ENTRY},
    {"list calls of all", call_metering, ask_list_all, CG_OK, NO_ENTRY},
};

static const struct world_fault endings[] = {
    {0, CG_TIMEOUT, true},
    {0, CG_TIMEOUT, false},
    {0, CG_LOST, true},
    {0, CG_LOST, false},
    {0, CG_INTERNAL, true},
    {0, CG_INTERNAL, false},
    {0, CG_UNAVAILABLE, false},
    {0, CG_RECOVERING, false},
    {0, CG_FULL, false},
    {0, CG_CLOSING, false},
    {0, CG_DENIED, false},
};

/* As much of the world as a request may change. */
struct picture {
	uint64_t entry_count;
	uint64_t call_count;
	uint64_t receipt_count;
	uint64_t wallet_count;
	uint64_t states;
	uint64_t terms_version;
};

static struct picture picture_of(const struct world *world)
{
	struct picture picture = {.entry_count = world->entry_count,
	    .call_count = world->call_count,
	    .receipt_count = world->receipt_count,
	    .wallet_count = world->wallet_count,
	    .terms_version = world->wallets[0].ledger.terms_version};

	for (unsigned i = 0; i < world->call_count; i++) {
		picture.states += (uint64_t)world->calls[i].state;
	}
	return picture;
}

static bool is_reason_given(const struct cg_request *req)
{
	switch (req->status) {
	case CG_UNAVAILABLE:
	case CG_TIMEOUT:
	case CG_LOST:
		return req->reason == CG_REASON_STORE_UNAVAILABLE ||
		    req->reason == CG_REASON_LEDGER_UNAVAILABLE ||
		    req->reason == CG_REASON_RECOVERING ||
		    req->reason == CG_REASON_TOO_MANY_IN_FLIGHT ||
		    req->reason == CG_REASON_SHUTTING_DOWN;
	case CG_INTERNAL:
		return req->reason == CG_REASON_STORE_UNAVAILABLE ||
		    req->reason == CG_REASON_LEDGER_UNAVAILABLE;
	case CG_FULL:
		return req->reason == CG_REASON_TOO_MANY_IN_FLIGHT;
	case CG_CLOSING:
		return req->reason == CG_REASON_SHUTTING_DOWN;
	case CG_RECOVERING:
		return req->reason == CG_REASON_RECOVERING;
	case CG_OK:
	case CG_INVALID:
	case CG_NOT_FOUND:
	case CG_WRONG_STATE:
	case CG_KEY_REUSED:
	case CG_OUT_OF_RANGE:
	case CG_DENIED:
	case CG_STATUS_COUNT:
		break;
	}
	return false;
}

static void check_entry(const struct scenario *s, const struct world *world, const char *when)
{
	if (s->type == CG_ENTRY_NONE) {
		assert_int_equal(world->entry_count, 0);
	} else if (world_count(world, s->type, "k") != 1) {
		fail_msg("%s, %s: %u entries", s->name, when, world_count(world, s->type, "k"));
	}
	assert_true(world_count(world, CG_ENTRY_ADJUSTMENT, "correction:k") <= 1);
	struct cg_uuid company = world_company(1);
	assert_int_equal(world_sum(world, &company), s->amount);
}

static void check_promises(const struct scenario *s, struct fixture *f, const struct asked *a,
    const struct picture *before)
{
	struct picture after = picture_of(&f->world);

	if (a->dones != 1 || a->was_early || cg_gate_inflight_count(f->gate) != 0 ||
	    f->world.pending_count != 0) {
		fail_msg("%s: %u answers, %s, %u under way", s->name, a->dones,
		    a->was_early ? "early" : "not early", f->world.pending_count);
	}
	if (a->req.status == s->status) {
		return;
	}
	/* What failed says why, and says "nothing happened" only where that is so. */
	if (!is_reason_given(&a->req)) {
		fail_msg("%s: status %s, reason %d", s->name, cg_status_name(a->req.status),
		    (int)a->req.reason);
	}
	if (!cg_status_is_unknown(a->req.status) && memcmp(&after, before, sizeof after) != 0) {
		fail_msg(
		    "%s: something happened, status %s", s->name, cg_status_name(a->req.status));
	}
}

/* Whether the scenario has as many operations as the fault would need. */
static bool run_with(const struct scenario *s, const struct world_fault *fault)
{
	struct fixture f;
	struct asked a;
	struct asked again;

	fixture_start(&f);
	s->prepare(&f);
	struct picture before = picture_of(&f.world);
	s->ask(&a, &f);
	f.world.fault = *fault;
	asked_run(&a, &f);
	bool was_met = f.world.fault.at == 0;
	f.world.fault.at = 0;
	check_promises(s, &f, &a, &before);

	/* The caller asks again, and this time nothing is in the way.  (Nobody asks again of a
	 * sidecar that is closing.) */
	if (fault->status != CG_CLOSING) {
		s->ask(&again, &f);
		asked_run(&again, &f);
		assert_int_equal(again.dones, 1);
		if (again.req.status != s->status) {
			fail_msg("%s, again: %s after %s at %u", s->name,
			    cg_status_name(again.req.status), cg_status_name(fault->status),
			    fault->at);
		}
		check_entry(s, &f.world, "again");
	}
	fixture_end(&f);
	return was_met;
}

static void test_every_ending_keeps_its_promises(void **state)
{
	(void)state;
	unsigned runs = 0;

	for (size_t i = 0; i < CG_COUNT_OF(scenarios); i++) {
		const struct world_fault none = {0};
		(void)run_with(&scenarios[i], &none);
		for (size_t e = 0; e < CG_COUNT_OF(endings); e++) {
			struct world_fault fault = endings[e];
			bool was_met = true;
			for (unsigned at = 1; was_met; at++) {
				fault.at = at;
				was_met = run_with(&scenarios[i], &fault);
				runs++;
				assert_in_range(at, 1, 20);
			}
		}
	}
	assert_in_range(runs, 1000, 20000);
}

/* Undisturbed, each scenario ends as its table says, having made its entry at once. */
static void test_undisturbed_each_method_ends_as_it_should(void **state)
{
	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(scenarios); i++) {
		const struct scenario *s = &scenarios[i];
		struct fixture f;
		struct asked a;

		fixture_start(&f);
		s->prepare(&f);
		s->ask(&a, &f);
		asked_run(&a, &f);
		if (a.req.status != s->status) {
			fail_msg("%s: %s", s->name, cg_status_name(a.req.status));
		}
		check_entry(s, &f.world, "undisturbed");
		fixture_end(&f);
	}
}

/* Both ports close while it is under way, whatever it waits for. */
static void test_closing_ports_end_every_request(void **state)
{
	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(scenarios); i++) {
		for (unsigned at = 0; at < 6; at++) {
			struct fixture f;
			struct asked a;
			struct asked later;

			fixture_start(&f);
			scenarios[i].prepare(&f);
			scenarios[i].ask(&a, &f);
			asked_submit(&a, &f);
			for (unsigned step = 0; step < at; step++) {
				(void)world_step(&f.world);
			}
			f.world.is_closing = true;
			world_run(&f.world);
			cg_gate_tick(f.gate);
			assert_int_equal(a.dones, 1);

			scenarios[i].ask(&later, &f);
			asked_run(&later, &f);
			assert_int_equal(later.dones, 1);
			assert_false(later.was_early);
			cg_gate_tick(f.gate);
			fixture_end(&f);
		}
	}
}

/* A partition that nobody serves: answered at once, and Credit has its receipt. */
static void test_unserved_partition_is_answered_at_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(scenarios); i++) {
		struct fixture f;
		struct asked a;

		fixture_start(&f);
		scenarios[i].prepare(&f);
		struct picture before = picture_of(&f.world);
		f.world.epoch = 0;
		scenarios[i].ask(&a, &f);
		asked_run(&a, &f);
		check_promises(&scenarios[i], &f, &a, &before);
		if (a.req.method == CG_METHOD_CREDIT) {
			assert_int_equal(f.world.receipt_count, 1);
		}
		fixture_end(&f);
	}
}

/* An epoch that changes under every operation: a bounded number of times, then an answer. */
static void change_epoch(struct world *world, struct cg_store_op *op)
{
	(void)op;
	world_forget(world);
}

static void test_restless_store_ends_in_recovering(void **state)
{
	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(scenarios); i++) {
		struct fixture f;
		struct asked a;

		fixture_start(&f);
		scenarios[i].prepare(&f);
		f.world.on_store_submit = change_epoch;
		scenarios[i].ask(&a, &f);
		asked_run(&a, &f);
		assert_int_equal(a.dones, 1);
		assert_int_equal(f.world.pending_count, 0);
		fixture_end(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_undisturbed_each_method_ends_as_it_should),
	    cmocka_unit_test(test_every_ending_keeps_its_promises),
	    cmocka_unit_test(test_closing_ports_end_every_request),
	    cmocka_unit_test(test_unserved_partition_is_answered_at_once),
	    cmocka_unit_test(test_restless_store_ends_in_recovering),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
