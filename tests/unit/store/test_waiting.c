/*
 * Operations that wait together leave in one call, and each ends by its own part of the reply.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../loop/turn.h"

#include <signal.h>
#include <string.h>

#include "ending.h"
#include "fake_server.h"
#include "store/store_internal.h"

#define EPOCH      7
#define PARTITIONS 4

/* A reply of an operation whose wallet is not there: outcome, state, instant, currency. */
#define ABSENT       "\x01\0\0\0\0\0\0\0\0\0\0\0\0"
#define ABSENT_BYTES 13

struct fixture {
	struct cg_loop *loop;
	struct fake_server *server;
	struct cg_store *store;
	unsigned connected;
	unsigned wanted;
};

struct op {
	struct cg_store_op op;
	unsigned done;
};

static void on_connected(void *owner)
{
	struct fixture *f = owner;
	struct cg_partition_port *port = cg_store_partition_port(f->store);

	f->connected++;
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		port->set_epoch(port, i, EPOCH);
	}
}

static bool has_connected(void *arg)
{
	return ((struct fixture *)arg)->connected >= ((struct fixture *)arg)->wanted;
}

static bool has_heard(void *arg)
{
	return ((struct fixture *)arg)->server->functions >= ((struct fixture *)arg)->wanted;
}

static bool wait_for(struct fixture *f, bool (*holds)(void *arg), unsigned count)
{
	f->wanted = count;
	return turn_until(f->loop, holds, f, 3000);
}

static int set_up(void **state)
{
	static struct fixture f;

	f = (struct fixture){.loop = cg_loop_create()};
	f.server = fake_server_create(f.loop);
	*state = &f;
	return 0;
}

static void connect_store(struct fixture *f, uint32_t inflight_max)
{
	const struct cg_store_config config = {
	    .address = f->server->address,
	    .partition_count = PARTITIONS,
	    .inflight_max = inflight_max,
	    .connect_timeout_ms = 1000,
	};
	const struct cg_partition_listener listener = {.on_connected = on_connected, .owner = f};

	f->store = cg_store_create(f->loop, &config);
	cg_store_listen(f->store, &listener);
	cg_store_start(f->store);
	assert_true(wait_for(f, has_connected, 1));
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->store != NULL) {
		cg_store_close(f->store);
		turn_for(f->loop, 1);
		cg_store_destroy(f->store);
	}
	fake_server_destroy(f->server);
	cg_loop_destroy(f->loop);
	return 0;
}

static void on_done(struct cg_store_op *op)
{
	CG_CONTAINER_OF(op, struct op, op)->done++;
}

/* The n-th company of a partition. */
static struct cg_uuid company_of(uint32_t partition, unsigned n)
{
	struct cg_uuid company = {{0}};

	for (;; company.bytes[0]++) {
		if (cg_store_partition_of(&company, PARTITIONS) == partition && n-- == 0) {
			return company;
		}
	}
}

static void submit(struct fixture *f, struct op *op, enum cg_store_verb verb, uint32_t partition,
    uint64_t within_ms)
{
	struct cg_store_port *port = cg_store_port(f->store);

	*op = (struct op){.op = {.verb = verb,
	                      .company = company_of(partition, 0),
	                      .deadline_at_ms = cg_loop_now_ms(f->loop) + within_ms,
	                      .done = on_done,
	                      .status = CG_STATUS_COUNT}};
	if (verb == CG_STORE_CANCEL) {
		op->op.in.cancel.call_id = CG_VIEW_LITERAL("c1");
	} else if (verb == CG_STORE_START) {
		op->op.in.start.call_id = CG_VIEW_LITERAL("c1");
	}
	port->submit(port, &op->op);
	assert_int_equal(op->done, 0);
}

/* A reply to many, of `count` parts. */
static void answer(struct fixture *f, const char *const *parts, const size_t *bytes, size_t count)
{
	char memory[4096];
	char line[32];
	struct cg_buffer content;

	cg_buffer_init(&content, memory, sizeof memory);
	for (size_t i = 0; i < count; i++) {
		cg_buffer_text(&content, (struct cg_view){parts[i], bytes[i]}, 2);
	}
	(void)snprintf(line, sizeof line, "$%zu\r\n", content.len);
	fake_server_say(f->server, line);
	fake_server_say_bytes(f->server, content.data, content.len);
	fake_server_say(f->server, "\r\n");
}

static void answer_absent(struct fixture *f, size_t count)
{
	const char *parts[CG_WIRE_MANY_MAX];
	size_t bytes[CG_WIRE_MANY_MAX];

	for (size_t i = 0; i < count; i++) {
		parts[i] = ABSENT;
		bytes[i] = ABSENT_BYTES;
	}
	answer(f, parts, bytes, count);
}

static void expect_end(struct fixture *f, struct op *op, enum cg_status status)
{
	expect_ending(f->loop, &op->done, &op->op.status, status);
}

static void test_those_of_one_turn_and_partition_leave_in_one_call(void **state)
{
	struct fixture *f = *state;
	struct op ops[3];

	connect_store(f, 64);
	for (size_t i = 0; i < 3; i++) {
		submit(f, &ops[i], CG_STORE_CANCEL, 1, 2000);
	}
	assert_true(wait_for(f, has_heard, 1));
	turn_for(f->loop, 5);
	assert_int_equal(f->server->functions, 1);
	answer_absent(f, 3);
	for (size_t i = 0; i < 3; i++) {
		expect_end(f, &ops[i], CG_OK);
		assert_int_equal(ops[i].op.outcome, CG_STORE_ABSENT);
	}
}

static void test_groups_and_partitions_have_calls_of_their_own(void **state)
{
	struct fixture *f = *state;
	struct op ops[6];

	connect_store(f, 64);
	for (size_t i = 0; i < 6; i += 3) {
		submit(f, &ops[i], CG_STORE_CANCEL, 1, 2000);
		submit(f, &ops[i + 1], CG_STORE_START, 1, 2000);
		submit(f, &ops[i + 2], CG_STORE_CANCEL, 2, 2000);
	}
	assert_true(wait_for(f, has_heard, 3));
	turn_for(f->loop, 5);
	assert_int_equal(f->server->functions, 3);
	answer_absent(f, 2);
	answer_absent(f, 2);
	answer_absent(f, 2);
	for (size_t i = 0; i < 6; i++) {
		expect_end(f, &ops[i], CG_OK);
	}
}

static void test_one_alone_goes_as_it_always_did(void **state)
{
	struct fixture *f = *state;
	struct op op;

	connect_store(f, 64);
	submit(f, &op, CG_STORE_CANCEL, 1, 2000);
	assert_true(wait_for(f, has_heard, 1));
	fake_server_say_bytes(f->server, "$13\r\n" ABSENT "\r\n", 5 + ABSENT_BYTES + 2);
	expect_end(f, &op, CG_OK);
}

static void test_one_that_failed_fails_alone(void **state)
{
	struct fixture *f = *state;
	const char *parts[] = {ABSENT, "\xFDmalformed", "\xFE", ABSENT};
	const size_t bytes[] = {ABSENT_BYTES, 10, 1, ABSENT_BYTES};
	struct op ops[4];

	connect_store(f, 64);
	for (size_t i = 0; i < 4; i++) {
		submit(f, &ops[i], CG_STORE_CANCEL, 1, 2000);
	}
	assert_true(wait_for(f, has_heard, 1));
	answer(f, parts, bytes, 4);
	expect_end(f, &ops[3], CG_OK);
	expect_end(f, &ops[0], CG_OK);
	expect_end(f, &ops[1], CG_INTERNAL);
	expect_end(f, &ops[2], CG_RECOVERING);
}

static void test_a_reply_for_fewer_leaves_the_rest_unknown(void **state)
{
	struct fixture *f = *state;
	struct op ops[4];

	connect_store(f, 64);
	for (size_t i = 0; i < 3; i++) {
		submit(f, &ops[i], CG_STORE_CANCEL, 1, 2000);
	}
	assert_true(wait_for(f, has_heard, 1));
	submit(f, &ops[3], CG_STORE_CANCEL, 1, 2000);
	assert_true(wait_for(f, has_heard, 2));
	answer_absent(f, 1);
	expect_end(f, &ops[2], CG_INTERNAL);
	expect_end(f, &ops[1], CG_INTERNAL);
	expect_end(f, &ops[0], CG_OK);
	/* And what comes after is still the next one's. */
	assert_int_equal(ops[3].done, 0);
	fake_server_say_bytes(f->server, "$13\r\n" ABSENT "\r\n", 5 + ABSENT_BYTES + 2);
	expect_end(f, &ops[3], CG_OK);
}

static void test_an_error_is_for_all_of_them(void **state)
{
	struct fixture *f = *state;
	struct op ops[4];

	connect_store(f, 64);
	for (size_t i = 0; i < 3; i++) {
		submit(f, &ops[i], CG_STORE_START, 1, 2000);
	}
	assert_true(wait_for(f, has_heard, 1));
	submit(f, &ops[3], CG_STORE_START, 1, 2000);
	assert_true(wait_for(f, has_heard, 2));
	fake_server_say(f->server, "-OOM no memory\r\n");
	for (size_t i = 0; i < 3; i++) {
		expect_end(f, &ops[i], CG_UNAVAILABLE);
	}
	assert_int_equal(ops[3].done, 0);
	fake_server_say(f->server, "-BUSY\r\n");
	expect_end(f, &ops[3], CG_UNAVAILABLE);
}

static void test_the_deadline_of_one_is_not_that_of_the_others(void **state)
{
	struct fixture *f = *state;
	struct op ops[3];

	connect_store(f, 64);
	submit(f, &ops[0], CG_STORE_CANCEL, 1, 20);
	submit(f, &ops[1], CG_STORE_CANCEL, 1, 2000);
	submit(f, &ops[2], CG_STORE_CANCEL, 1, 25);
	expect_end(f, &ops[0], CG_TIMEOUT);
	expect_end(f, &ops[2], CG_TIMEOUT);
	assert_int_equal(ops[1].done, 0);
	answer_absent(f, 3);
	expect_end(f, &ops[1], CG_OK);
	assert_int_equal(ops[0].done, 1);
}

static void test_what_nobody_waits_for_any_more_is_for_nobody(void **state)
{
	struct fixture *f = *state;
	struct op ops[3];

	connect_store(f, 64);
	submit(f, &ops[0], CG_STORE_CANCEL, 1, 20);
	submit(f, &ops[1], CG_STORE_CANCEL, 1, 20);
	expect_end(f, &ops[0], CG_TIMEOUT);
	expect_end(f, &ops[1], CG_TIMEOUT);
	submit(f, &ops[2], CG_STORE_CANCEL, 1, 2000);
	assert_true(wait_for(f, has_heard, 2));
	answer_absent(f, 2);
	turn_for(f->loop, 20);
	assert_int_equal(ops[2].done, 0);
	fake_server_say_bytes(f->server, "$13\r\n" ABSENT "\r\n", 5 + ABSENT_BYTES + 2);
	expect_end(f, &ops[2], CG_OK);
}

static void test_a_call_takes_so_many_and_no_more(void **state)
{
	struct fixture *f = *state;
	static struct op ops[2 * CG_WIRE_MANY_MAX + 1];

	connect_store(f, 1024);
	for (size_t i = 0; i < CG_COUNT_OF(ops); i++) {
		submit(f, &ops[i], CG_STORE_CANCEL, 1, 2000);
	}
	assert_true(wait_for(f, has_heard, 3));
	answer_absent(f, CG_WIRE_MANY_MAX);
	answer_absent(f, CG_WIRE_MANY_MAX);
	fake_server_say_bytes(f->server, "$13\r\n" ABSENT "\r\n", 5 + ABSENT_BYTES + 2);
	for (size_t i = 0; i < CG_COUNT_OF(ops); i++) {
		expect_end(f, &ops[i], CG_OK);
	}
	assert_int_equal(f->server->functions, 3);
}

static void test_what_comes_alone_goes_behind_those_that_wait(void **state)
{
	struct fixture *f = *state;
	struct op ops[3];

	connect_store(f, 64);
	submit(f, &ops[0], CG_STORE_CANCEL, 1, 2000);
	submit(f, &ops[1], CG_STORE_CANCEL, 1, 2000);
	submit(f, &ops[2], CG_STORE_BALANCE, 1, 2000);
	assert_true(wait_for(f, has_heard, 2));
	answer_absent(f, 2);
	fake_server_say_bytes(f->server, "$13\r\n" ABSENT "\r\n", 5 + ABSENT_BYTES + 2);
	for (size_t i = 0; i < 3; i++) {
		expect_end(f, &ops[i], CG_OK);
	}
}

static void test_those_that_wait_count_against_the_limit(void **state)
{
	struct fixture *f = *state;
	struct op ops[5];

	connect_store(f, 4);
	for (size_t i = 0; i < 5; i++) {
		submit(f, &ops[i], CG_STORE_CANCEL, 1, 2000);
	}
	expect_end(f, &ops[4], CG_FULL);
	assert_true(wait_for(f, has_heard, 1));
	answer_absent(f, 4);
	for (size_t i = 0; i < 4; i++) {
		expect_end(f, &ops[i], CG_OK);
	}
}

static void test_those_that_wait_end_with_the_store(void **state)
{
	struct fixture *f = *state;
	struct op sent[2];
	struct op waiting[2];

	connect_store(f, 64);
	submit(f, &sent[0], CG_STORE_CANCEL, 1, 2000);
	submit(f, &sent[1], CG_STORE_CANCEL, 1, 2000);
	assert_true(wait_for(f, has_heard, 1));
	submit(f, &waiting[0], CG_STORE_CANCEL, 1, 2000);
	submit(f, &waiting[1], CG_STORE_START, 2, 2000);
	cg_store_close(f->store);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(sent[i].done, 1);
		assert_int_equal(sent[i].op.status, CG_LOST);
		assert_int_equal(waiting[i].done, 1);
		assert_int_equal(waiting[i].op.status, CG_CLOSING);
	}
	cg_store_destroy(f->store);
	f->store = NULL;
}

#define WAITING_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WAITING_TEST(test_those_of_one_turn_and_partition_leave_in_one_call),
	    WAITING_TEST(test_groups_and_partitions_have_calls_of_their_own),
	    WAITING_TEST(test_one_alone_goes_as_it_always_did),
	    WAITING_TEST(test_one_that_failed_fails_alone),
	    WAITING_TEST(test_a_reply_for_fewer_leaves_the_rest_unknown),
	    WAITING_TEST(test_an_error_is_for_all_of_them),
	    WAITING_TEST(test_the_deadline_of_one_is_not_that_of_the_others),
	    WAITING_TEST(test_what_nobody_waits_for_any_more_is_for_nobody),
	    WAITING_TEST(test_a_call_takes_so_many_and_no_more),
	    WAITING_TEST(test_what_comes_alone_goes_behind_those_that_wait),
	    WAITING_TEST(test_those_that_wait_count_against_the_limit),
	    WAITING_TEST(test_those_that_wait_end_with_the_store),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	cg_log_set_level(CG_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
