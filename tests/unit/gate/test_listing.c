/*
 * Pages of live calls.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fake_caller.h"
#include "gate/page_token.h"

/* What a whole listing, page by page, has given. */
static struct {
	char seen[1024][160]; /* "<company>/<call>" */
	int64_t at_ms[1024];
	unsigned count;
} listing;

static void on_call(struct cg_request *req, const struct cg_call *call)
{
	char company[CG_UUID_TEXT_LEN + 1];

	(void)req;
	assert_true(listing.count < CG_COUNT_OF(listing.seen));
	cg_uuid_format(&call->company, company);
	(void)snprintf(listing.seen[listing.count], sizeof listing.seen[0], "%.8s/%.*s", company,
	    (int)call->call_id.len, call->call_id.data);
	listing.at_ms[listing.count++] = call->authorized_at_ms;
}

static void list(struct fixture *f, struct asked *a, unsigned company, uint32_t page_size)
{
	char token[CG_PAGE_TOKEN_MAX_BYTES + 1];

	memcpy(token, a->token, sizeof token);
	asked_init(a, f, CG_METHOD_LIST_CALLS);
	a->req.company = company == 0 ? (struct cg_uuid){{0}} : world_company(company);
	a->req.in.list_calls.all_companies = company == 0;
	a->req.in.list_calls.page_size = page_size;
	a->req.in.list_calls.page_token = cg_view_of(token);
	a->req.in.list_calls.on_call = on_call;
	a->token[0] = '\0';
	asked_run(a, f);
	assert_int_equal(a->dones, 1);
	assert_false(a->was_early);
}

static unsigned times_seen(unsigned company, const char *id)
{
	char company_text[CG_UUID_TEXT_LEN + 1];
	char name[160];
	unsigned times = 0;
	struct cg_uuid uuid = world_company(company);

	cg_uuid_format(&uuid, company_text);
	(void)snprintf(name, sizeof name, "%.8s/%s", company_text, id);
	for (unsigned i = 0; i < listing.count; i++) {
		times += strcmp(listing.seen[i], name) == 0 ? 1 : 0;
	}
	return times;
}

static void add_calls(struct fixture *f, unsigned company, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		char id[32];
		/* Several at one instant: the id decides. */
		(void)snprintf(id, sizeof id, "call-%u", (i * 7) % count);
		(void)world_add_call(&f->world, company, id, 100 + (i * 7) % count / 3);
	}
}

static void test_one_companys_calls_come_oldest_first(void **state)
{
	(void)state;
	for (uint32_t page_size = 1; page_size <= 23; page_size++) {
		struct fixture f;
		struct asked a;
		unsigned pages = 0;

		fixture_start(&f);
		world_put_in_store(world_add_wallet(&f.world, 1, 100));
		world_put_in_store(world_add_wallet(&f.world, 2, 100));
		add_calls(&f, 1, 20);
		add_calls(&f, 2, 5);
		listing.count = 0;
		a.token[0] = '\0';
		do {
			unsigned before = listing.count;
			list(&f, &a, 1, page_size);
			assert_int_equal(a.req.status, CG_OK);
			assert_true(listing.count - before <= page_size);
			pages++;
		} while (a.token[0] != '\0');
		assert_int_equal(listing.count, 20);
		assert_int_equal(pages, (20 + page_size - 1) / page_size);
		for (unsigned i = 1; i < listing.count; i++) {
			assert_true(listing.at_ms[i - 1] < listing.at_ms[i] ||
			    (listing.at_ms[i - 1] == listing.at_ms[i] &&
			        strcmp(listing.seen[i - 1], listing.seen[i]) < 0));
		}
		fixture_end(&f);
	}
}

/* Between any two pages calls end and begin; those that live throughout are met once. */
static void change_calls(struct fixture *f, unsigned page)
{
	char id[32];
	unsigned company = 1 + page % 20;

	(void)snprintf(id, sizeof id, "brief-%u", page);
	(void)world_add_call(&f->world, company, id, 50 + (page * 37) % 100);
	for (unsigned i = 0; i < f->world.call_count; i++) {
		struct world_call *call = &f->world.calls[i];
		if (strncmp(call->id, "brief-", 6) == 0 && (i + page) % 3 == 0) {
			call->is_live = false;
		}
	}
}

static void test_calls_that_live_throughout_are_listed_once(void **state)
{
	(void)state;
	for (uint32_t page_size = 1; page_size <= 12; page_size++) {
		struct fixture f;
		struct asked a;
		unsigned page = 0;

		fixture_start(&f);
		for (unsigned company = 1; company <= 20; company++) {
			world_put_in_store(world_add_wallet(&f.world, company, 100));
			add_calls(&f, company, company % 4);
		}
		unsigned steady_count = f.world.call_count;
		listing.count = 0;
		a.token[0] = '\0';
		do {
			list(&f, &a, 0, page_size);
			assert_int_equal(a.req.status, CG_OK);
			change_calls(&f, page);
			assert_true(++page < 100);
		} while (a.token[0] != '\0');
		for (unsigned i = 0; i < steady_count; i++) {
			unsigned company = (unsigned)f.world.calls[i].company.bytes[1];
			assert_int_equal(times_seen(company, f.world.calls[i].id), 1);
		}
		fixture_end(&f);
	}
}

/* Half of the time is over: what was found is a page, and its token goes on. */
static void pass_time(struct world *world, struct cg_store_op *op)
{
	(void)op;
	world->now_ms += 100;
}

static void test_slow_listing_ends_its_page_early(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;
	unsigned pages = 0;

	fixture_start(&f);
	for (unsigned company = 1; company <= 20; company++) {
		world_put_in_store(world_add_wallet(&f.world, company, 100));
		add_calls(&f, company, 1);
	}
	f.world.on_store_submit = pass_time;
	listing.count = 0;
	a.token[0] = '\0';
	do {
		uint64_t begun = f.world.now_ms;
		list(&f, &a, 0, 1000);
		assert_int_equal(a.req.status, CG_OK);
		assert_true(f.world.now_ms - begun <= 1000);
		assert_true(++pages < 30);
	} while (a.token[0] != '\0');
	assert_int_equal(listing.count, 20);
	assert_true(pages > 2);
	fixture_end(&f);
}

static void test_page_ends_before_it_is_too_long_to_send(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	world_put_in_store(world_add_wallet(&f.world, 1, 100));
	f.world.calls_are_big = true; /* 8 KiB each. */
	for (unsigned i = 0; i < WORLD_CALLS; i++) {
		char id[32];
		(void)snprintf(id, sizeof id, "c%03u", i);
		(void)world_add_call(&f.world, 1, id, 1000 + i);
	}
	listing.count = 0;
	a.token[0] = '\0';
	list(&f, &a, 1, 1000);
	assert_int_equal(a.req.status, CG_OK);
	assert_in_range(listing.count, 100, WORLD_CALLS - 1);
	assert_true(a.token[0] != '\0');
	list(&f, &a, 1, 1000);
	assert_int_equal(listing.count, WORLD_CALLS);
	assert_int_equal(a.token[0], '\0');
	fixture_end(&f);
}

static void test_token_belongs_to_its_listing(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;
	char of_one[CG_PAGE_TOKEN_MAX_BYTES + 1];
	char of_all[CG_PAGE_TOKEN_MAX_BYTES + 1];
	char text[CG_PAGE_TOKEN_MAX_BYTES + 1];

	fixture_start(&f);
	for (unsigned company = 1; company <= 2; company++) {
		world_put_in_store(world_add_wallet(&f.world, company, 100));
		add_calls(&f, company, 3);
	}
	a.token[0] = '\0';
	listing.count = 0;
	list(&f, &a, 1, 1);
	memcpy(of_one, a.token, sizeof of_one);
	a.token[0] = '\0';
	list(&f, &a, 0, 1);
	memcpy(of_all, a.token, sizeof of_all);
	assert_true(of_one[0] != '\0' && of_all[0] != '\0');
	listing.count = 0;

	/* Another company's, the other kind's. */
	memcpy(a.token, of_one, sizeof of_one);
	list(&f, &a, 2, 1);
	assert_int_equal(a.req.status, CG_INVALID);
	assert_string_equal(a.req.field, "page_token");
	memcpy(a.token, of_one, sizeof of_one);
	list(&f, &a, 0, 1);
	assert_int_equal(a.req.status, CG_INVALID);
	memcpy(a.token, of_all, sizeof of_all);
	list(&f, &a, 1, 1);
	assert_int_equal(a.req.status, CG_INVALID);

	/* Cut anywhere up to its last field, and any byte of its head changed to one that is none. */
	size_t head = strlen(of_one) - strlen("call-0");
	for (size_t i = 1; i <= head; i++) {
		memcpy(text, of_one, sizeof text);
		text[i] = '\0';
		memcpy(a.token, text, sizeof text);
		list(&f, &a, 1, 1);
		assert_int_equal(a.req.status, CG_INVALID);
		memcpy(text, of_one, sizeof text);
		text[i - 1] = '~';
		memcpy(a.token, text, sizeof text);
		list(&f, &a, 1, 1);
		assert_int_equal(a.req.status, CG_INVALID);
	}
	assert_int_equal(listing.count, 0);

	/* Refused ones give back what they took. */
	for (unsigned i = 0; i < 200; i++) {
		memcpy(a.token, "nonsense", sizeof "nonsense");
		list(&f, &a, 1, 1000);
		assert_int_equal(a.req.status, CG_INVALID);
	}
	a.token[0] = '\0';
	list(&f, &a, 1, 1000);
	assert_int_equal(a.req.status, CG_OK);
	fixture_end(&f);
}

static void test_tokens_read_as_they_were_written(void **state)
{
	(void)state;
	char memory[CG_PAGE_TOKEN_MAX_BYTES];
	char long_id[CG_CALL_ID_MAX_BYTES + 1];
	struct cg_buffer text;
	struct cg_page_token token = {.company = world_company(3), .at_ms = INT64_C(1) << 50};
	struct cg_page_token read;

	memset(long_id, ':', sizeof long_id);
	token.partition = cg_store_partition_of(&token.company, 16);
	for (size_t len = 1; len <= CG_CALL_ID_MAX_BYTES; len++) {
		token.call_id = (struct cg_view){long_id, len};
		cg_buffer_init(&text, memory, sizeof memory);
		cg_page_token_format(&token, &text);
		assert_false(text.overflow);
		assert_true(text.len < 256);
		assert_true(cg_page_token_parse(cg_buffer_view(&text), 16, &read));
		assert_int_equal(read.at_ms, token.at_ms);
		assert_true(cg_view_equal(read.call_id, token.call_id));
		assert_false(cg_page_token_parse(cg_buffer_view(&text), token.partition, &read));
	}
	token.call_id = (struct cg_view){long_id, sizeof long_id};
	cg_buffer_init(&text, memory, sizeof memory);
	cg_page_token_format(&token, &text);
	assert_false(cg_page_token_parse(cg_buffer_view(&text), 16, &read));
}

static void test_company_without_wallet_has_no_listing(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	a.token[0] = '\0';
	list(&f, &a, 1, 10);
	assert_int_equal(a.req.status, CG_NOT_FOUND);
	(void)world_add_wallet(&f.world, 1, 100);
	a.token[0] = '\0';
	listing.count = 0;
	list(&f, &a, 1, 10);
	assert_int_equal(a.req.status, CG_OK);
	assert_int_equal(listing.count, 0);
	a.token[0] = '\0';
	list(&f, &a, 0, 10);
	assert_int_equal(a.req.status, CG_OK);
	assert_int_equal(a.token[0], '\0');
	fixture_end(&f);
}

/* In between the store forgets a wallet that it has just named: it has no calls then. */
static void forget_wallets(struct world *world, struct cg_store_op *op)
{
	if (op->verb == CG_STORE_CALLS) {
		for (unsigned i = 0; i < world->wallet_count; i += 2) {
			world->wallets[i].is_in_store = false;
		}
	}
}

static void test_wallet_that_vanishes_is_passed_over(void **state)
{
	(void)state;
	struct fixture f;
	struct asked a;

	fixture_start(&f);
	for (unsigned company = 1; company <= 8; company++) {
		world_put_in_store(world_add_wallet(&f.world, company, 100));
		add_calls(&f, company, 1);
	}
	f.world.on_store_submit = forget_wallets;
	listing.count = 0;
	a.token[0] = '\0';
	list(&f, &a, 0, 100);
	assert_int_equal(a.req.status, CG_OK);
	for (unsigned company = 2; company <= 8; company += 2) {
		assert_int_equal(times_seen(company, "call-0"), 1);
	}
	assert_int_equal(f.world.read_count[CG_LEDGER_WALLET_READ], 0);
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_one_companys_calls_come_oldest_first),
	    cmocka_unit_test(test_calls_that_live_throughout_are_listed_once),
	    cmocka_unit_test(test_slow_listing_ends_its_page_early),
	    cmocka_unit_test(test_page_ends_before_it_is_too_long_to_send),
	    cmocka_unit_test(test_token_belongs_to_its_listing),
	    cmocka_unit_test(test_tokens_read_as_they_were_written),
	    cmocka_unit_test(test_company_without_wallet_has_no_listing),
	    cmocka_unit_test(test_wallet_that_vanishes_is_passed_over),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
