/* SPDX-License-Identifier: Apache-2.0 */
#include "../loop/turn.h"

#include <signal.h>
#include <string.h>
#include <time.h>

#include "ending.h"
#include "fake_server.h"
#include "store/store_internal.h"

#define EPOCH 7

struct fixture {
	struct cg_loop *loop;
	struct fake_server *server;
	struct cg_store *store;
	unsigned connected;
	unsigned disconnected;
	unsigned wanted; /* what a condition compares with */
};

struct op {
	struct cg_store_op op;
	struct fixture *f;
	unsigned done;
	unsigned order;
	struct op *then; /* is submitted by this one's callback */
};

static unsigned ends; /* so that the order in which operations end can be told */

static void on_connected(void *owner)
{
	struct fixture *f = owner;
	struct cg_partition_port *port = cg_store_partition_port(f->store);

	f->connected++;
	for (uint32_t i = 0; i < port->partition_count; i++) {
		port->set_epoch(port, i, EPOCH);
	}
}

static void on_disconnected(void *owner)
{
	((struct fixture *)owner)->disconnected++;
}

static void on_done(struct cg_store_op *base)
{
	struct op *op = CG_CONTAINER_OF(base, struct op, op);
	struct cg_store_port *port = cg_store_port(op->f->store);

	op->done++;
	op->order = ++ends;
	if (op->then != NULL) {
		port->submit(port, &op->then->op);
		assert_int_equal(op->then->done, 0);
	}
}

static void init_op(struct fixture *f, struct op *op, uint64_t within_ms)
{
	*op = (struct op){.f = f};
	op->op.verb = CG_STORE_BALANCE;
	op->op.company.bytes[0] = 1;
	op->op.deadline_at_ms = cg_loop_now_ms(f->loop) + within_ms;
	op->op.done = on_done;
	op->op.status = CG_STATUS_COUNT;
}

static void submit(struct fixture *f, struct op *op, uint64_t within_ms)
{
	struct cg_store_port *port = cg_store_port(f->store);

	init_op(f, op, within_ms);
	port->submit(port, &op->op);
	assert_int_equal(op->done, 0);
}

static void expect_end(struct fixture *f, struct op *op, enum cg_status status)
{
	expect_ending(f->loop, &op->done, &op->op.status, status);
}

static bool has_connected(void *arg)
{
	struct fixture *f = arg;

	return f->connected >= f->wanted;
}

static bool has_disconnected(void *arg)
{
	struct fixture *f = arg;

	return f->disconnected >= f->wanted;
}

static bool has_heard(void *arg)
{
	struct fixture *f = arg;

	return f->server->functions >= f->wanted;
}

static bool has_tried(void *arg)
{
	struct fixture *f = arg;

	return f->server->connections >= f->wanted;
}

static bool wait_for(struct fixture *f, bool (*holds)(void *arg), unsigned count)
{
	f->wanted = count;
	return turn_until(f->loop, holds, f, 3000);
}

static void create_store(struct fixture *f, const struct cg_store_config *changes)
{
	struct cg_store_config config = *changes;
	const struct cg_partition_listener listener = {
	    .on_connected = on_connected, .on_disconnected = on_disconnected, .owner = f};

	f->connected = 0;
	config.address = f->server->address;
	config.partition_count = 4;
	config.inflight_max = config.inflight_max == 0 ? 64 : config.inflight_max;
	config.connect_timeout_ms =
	    config.connect_timeout_ms == 0 ? 1000 : config.connect_timeout_ms;
	f->store = cg_store_create(f->loop, &config);
	cg_store_listen(f->store, &listener);
	cg_store_start(f->store);
}

static void connect_store(struct fixture *f)
{
	create_store(f, &(struct cg_store_config){0});
	assert_true(wait_for(f, has_connected, 1));
	assert_true(cg_store_is_connected(f->store));
}

static int set_up(void **state)
{
	static struct fixture f;

	f = (struct fixture){.loop = cg_loop_create()};
	f.server = fake_server_create(f.loop);
	*state = &f;
	return 0;
}

static void destroy_store(struct fixture *f)
{
	if (f->store != NULL) {
		cg_store_close(f->store);
		turn_for(f->loop, 1);
		cg_store_destroy(f->store);
		f->store = NULL;
	}
}

/* Operations live on the stacks of tests: what still was under way would end in nowhere. */
static void expect_nothing_under_way(const struct cg_store *store)
{
	assert_false(cg_store__has_refused(store));
	for (uint64_t n = store->ring.first; n != store->ring.next; n++) {
		assert_int_equal(store->ring.slots[n & store->ring.mask].kind, CG_SLOT_OVER);
	}
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->store != NULL) {
		expect_nothing_under_way(f->store);
	}
	destroy_store(f);
	fake_server_destroy(f->server);
	cg_loop_destroy(f->loop);
	return 0;
}

static bool is_backing_off(void *arg)
{
	return ((struct fixture *)arg)->store->conn.state == CG_CONN_BACKOFF;
}

static void expect_refused(struct fixture *f, const struct cg_store_config *config)
{
	unsigned before = f->server->connections;

	create_store(f, config);
	assert_true(turn_until(f->loop, is_backing_off, f, 3000));
	assert_int_equal(f->server->connections, before + 1);
	assert_int_equal(f->connected, 0);
	assert_int_equal(f->disconnected, 0);
	assert_false(cg_store_is_connected(f->store));
	destroy_store(f);
}

static void test_a_password_is_given_and_a_wrong_one_is_refused(void **state)
{
	struct fixture *f = *state;

	f->server->password = "secret";
	expect_refused(f, &(struct cg_store_config){.password = "wrong"});
	create_store(f, &(struct cg_store_config){.password = "secret", .database = 3});
	assert_true(wait_for(f, has_connected, 1));
	destroy_store(f);
	create_store(f, &(struct cg_store_config){.username = "me", .password = "secret"});
	assert_true(wait_for(f, has_connected, 1));
}

static void test_servers_that_would_lose_money_are_refused(void **state)
{
	static const struct {
		const char *role;
		const char *info;
	} servers[] = {
	    {"*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n$9\r\nconnected\r\n:1\r\n", NULL},
	    {"-NOPERM this user has no permissions to run the 'role' command\r\n", NULL},
	    {"+OK\r\n", NULL},
	    {NULL, "loading:1\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n"},
	    {NULL, "loading:0\r\naof_enabled:0\r\nmaxmemory_policy:noeviction\r\n"},
	    {NULL, "loading:0\r\naof_enabled:1\r\nmaxmemory_policy:allkeys-lru\r\n"},
	    {NULL, "async_loading:0\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n"},
	    {NULL, ""},
	};
	struct fixture *f = *state;
	const char *role = f->server->role;
	const char *info = f->server->info;

	for (size_t i = 0; i < CG_COUNT_OF(servers); i++) {
		f->server->role = servers[i].role == NULL ? role : servers[i].role;
		f->server->info = servers[i].info == NULL ? info : servers[i].info;
		expect_refused(f, &(struct cg_store_config){0});
	}
	/* For development, some of them will do. */
	f->server->role = role;
	f->server->info = servers[4].info;
	create_store(f, &(struct cg_store_config){.allow_volatile = true});
	assert_true(wait_for(f, has_connected, 1));
	assert_int_equal(f->server->loads, 0);
}

static void test_the_library_is_loaded_only_where_it_differs(void **state)
{
	struct fixture *f = *state;

	f->server->library = NULL;
	connect_store(f);
	assert_int_equal(f->server->loads, 1);
	assert_false(f->server->replaced);
	destroy_store(f);

	f->server->library = "#!lua name=callgate\nanother";
	connect_store(f);
	assert_int_equal(f->server->loads, 2);
	assert_true(f->server->replaced);
	destroy_store(f);

	f->server->library = "same";
	connect_store(f);
	assert_int_equal(f->server->loads, 2);
	destroy_store(f);

	/* Two sidecars at once: whoever is second looks again instead of replacing. */
	f->server->library = NULL;
	f->server->load_error = "-ERR Library 'callgate' already exists\r\n";
	connect_store(f);
	assert_int_equal(f->server->loads, 3);
	assert_false(f->server->replaced);
	destroy_store(f);

	f->server->library = NULL;
	f->server->load_error = "-OOM no room\r\n";
	f->server->connections = 0;
	create_store(f, &(struct cg_store_config){0});
	assert_true(wait_for(f, has_connected, 1));
	assert_int_equal(f->server->connections, 2);
}

#define FIT_TO_SERVE "loading:0\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n"

/* Once per start of the server, whoever of the sidecars comes first; no answer keeps it unserved. */
static void test_a_server_that_has_just_started_is_asked_to_rewrite_its_file(void **state)
{
	static const struct {
		const char *info;
		const char *error;
		unsigned asked;
	} servers[] = {
	    {FIT_TO_SERVE "aof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n"
	                  "aof_last_rewrite_time_sec:-1\r\n",
	        NULL, 1},
	    {FIT_TO_SERVE "aof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n"
	                  "aof_last_rewrite_time_sec:-1\r\n",
	        "-NOPERM this user has no permissions to run the 'bgrewriteaof' command\r\n", 1},
	    {FIT_TO_SERVE "aof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n"
	                  "aof_last_rewrite_time_sec:-1\r\n",
	        "-ERR Background append only file rewriting already in progress\r\n", 1},
	    {FIT_TO_SERVE "aof_rewrite_in_progress:1\r\naof_rewrite_scheduled:0\r\n"
	                  "aof_last_rewrite_time_sec:-1\r\n",
	        NULL, 0},
	    {FIT_TO_SERVE "aof_rewrite_in_progress:0\r\naof_rewrite_scheduled:1\r\n"
	                  "aof_last_rewrite_time_sec:-1\r\n",
	        NULL, 0},
	    {FIT_TO_SERVE "aof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n"
	                  "aof_last_rewrite_time_sec:12\r\n",
	        NULL, 0},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < CG_COUNT_OF(servers); i++) {
		f->server->info = servers[i].info;
		f->server->rewrite_error = servers[i].error;
		f->server->rewrites = 0;
		connect_store(f);
		assert_int_equal(f->server->rewrites, servers[i].asked);
		destroy_store(f);
	}
}

static void test_garbage_for_a_greeting_is_refused(void **state)
{
	static const char *const words[] = {
	    "-ERR max number of clients reached\r\n",
	    "HTTP/1.1 400 Bad Request\r\n\r\n",
	    "*1000000000\r\n",
	    "*5000\r\n",
	    "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
	    "$-5\r\n",
	    "+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
	    "\r\n",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < CG_COUNT_OF(words); i++) {
		f->server->first_words = words[i];
		/* At once, not because the time is over. */
		expect_refused(f, &(struct cg_store_config){.connect_timeout_ms = 60000});
	}
}

static void test_what_is_refused_is_tried_again_for_ever_and_not_at_once(void **state)
{
	struct fixture *f = *state;
	uint64_t begin_ns = cg_loop_clock_ns();

	f->server->role = "+OK\r\n";
	create_store(f, &(struct cg_store_config){0});
	assert_true(wait_for(f, has_tried, 4));
	/* Halves of 50, 100 and 200 ms at least. */
	assert_true(cg_loop_clock_ns() - begin_ns >= 170 * UINT64_C(1000000));
	f->server->role = "*1\r\n$6\r\nmaster\r\n";
	assert_true(wait_for(f, has_connected, 1));
}

static void test_a_greeting_that_does_not_come_is_not_waited_for(void **state)
{
	struct fixture *f = *state;

	f->server->is_mute = true;
	expect_refused(f, &(struct cg_store_config){.connect_timeout_ms = 30});
}

static void test_while_away_operations_end_at_once_and_did_not_happen(void **state)
{
	struct fixture *f = *state;
	struct op op;
	struct op second;

	fake_server_stop_listening(f->server);
	create_store(f, &(struct cg_store_config){0});
	submit(f, &op, 1000);
	op.then = &second;
	init_op(f, &second, 1000);
	expect_end(f, &op, CG_UNAVAILABLE);
	expect_end(f, &second, CG_UNAVAILABLE);
	assert_int_equal(cg_store_port(f->store)->epoch(cg_store_port(f->store), 0), 0);
	/* An epoch for a store that is not there is not kept. */
	on_connected(f);
	assert_int_equal(cg_store_port(f->store)->epoch(cg_store_port(f->store), 0), 0);

	fake_server_listen(f->server);
	assert_true(wait_for(f, has_connected, 2));
}

static void test_without_its_epoch_an_operation_is_not_sent(void **state)
{
	struct fixture *f = *state;
	struct cg_partition_port *port = NULL;
	struct op op;

	connect_store(f);
	port = cg_store_partition_port(f->store);
	init_op(f, &op, 1000);
	op.op.known_epoch = EPOCH - 1;
	cg_store_port(f->store)->submit(cg_store_port(f->store), &op.op);
	expect_end(f, &op, CG_RECOVERING);
	assert_int_equal(op.op.epoch, EPOCH);

	for (uint32_t i = 0; i < port->partition_count; i++) {
		port->set_epoch(port, i, 0);
	}
	submit(f, &op, 1000);
	expect_end(f, &op, CG_RECOVERING);
	assert_int_equal(op.op.epoch, 0);
	assert_int_equal(f->server->functions, 0);
}

static void test_answers_find_their_operations_in_order(void **state)
{
	struct fixture *f = *state;
	struct op ops[4];

	connect_store(f);
	for (size_t i = 0; i < 4; i++) {
		submit(f, &ops[i], 2000);
	}
	assert_true(wait_for(f, has_heard, 4));
	fake_server_say(f->server, "-OOM a\r\n$1\r\n?\r\n-BUSY b\r\n");
	expect_end(f, &ops[2], CG_UNAVAILABLE);
	assert_int_equal(ops[0].op.status, CG_UNAVAILABLE);
	assert_int_equal(ops[1].op.status, CG_INTERNAL);
	assert_true(ops[0].order < ops[1].order && ops[1].order < ops[2].order);
	assert_int_equal(ops[3].done, 0);
	for (const char *byte = "-ERR some error\r\n"; *byte != '\0'; byte++) {
		assert_int_equal(ops[3].done, 0);
		fake_server_say_bytes(f->server, byte, 1);
		turn_for(f->loop, 1);
	}
	expect_end(f, &ops[3], CG_INTERNAL);
	assert_int_equal(f->disconnected, 0);
}

static void test_a_late_answer_is_nobody_elses(void **state)
{
	struct fixture *f = *state;
	struct op late;
	struct op next;

	connect_store(f);
	submit(f, &late, 20);
	expect_end(f, &late, CG_TIMEOUT);
	submit(f, &next, 2000);
	assert_true(wait_for(f, has_heard, 2));
	fake_server_say(f->server, "-ERR for the late one\r\n");
	turn_for(f->loop, 20);
	assert_int_equal(next.done, 0);
	fake_server_say(f->server, "-OOM for the next\r\n");
	expect_end(f, &next, CG_UNAVAILABLE);
	assert_int_equal(late.done, 1);
	assert_int_equal(f->disconnected, 0);

	submit(f, &late, 0);
	expect_end(f, &late, CG_UNAVAILABLE);
	assert_int_equal(f->server->functions, 2);
}

static void test_each_ends_at_its_own_deadline(void **state)
{
	struct fixture *f = *state;
	struct op ops[3];
	uint64_t begin_ns = cg_loop_clock_ns();

	connect_store(f);
	submit(f, &ops[0], 60000);
	submit(f, &ops[1], 80);
	submit(f, &ops[2], 20);
	expect_end(f, &ops[2], CG_TIMEOUT);
	assert_true(cg_loop_clock_ns() - begin_ns < UINT64_C(70000000));
	assert_int_equal(ops[1].done, 0);
	expect_end(f, &ops[1], CG_TIMEOUT);
	assert_int_equal(ops[0].done, 0);
	cg_store_close(f->store);
	assert_int_equal(ops[0].op.status, CG_LOST);
	cg_store_destroy(f->store);
	f->store = NULL;
}

static void test_what_was_sent_is_lost_with_the_connection(void **state)
{
	struct fixture *f = *state;
	struct op sent;
	struct op refused;

	connect_store(f);
	submit(f, &sent, 2000);
	assert_true(wait_for(f, has_heard, 1));
	init_op(f, &refused, 2000);
	sent.then = &refused;
	fake_server_hang_up(f->server);
	expect_end(f, &sent, CG_LOST);
	expect_end(f, &refused, CG_UNAVAILABLE);
	assert_int_equal(f->disconnected, 1);
	assert_int_equal(cg_store_port(f->store)->epoch(cg_store_port(f->store), 0), 0);
	assert_true(wait_for(f, has_connected, 2));
	submit(f, &sent, 2000);
	assert_true(wait_for(f, has_heard, 2));
	fake_server_say(f->server, "-OOM\r\n");
	expect_end(f, &sent, CG_UNAVAILABLE);
}

static void test_what_was_not_sent_certainly_did_not_happen(void **state)
{
	struct fixture *f = *state;
	struct op op;

	connect_store(f);
	submit(f, &op, 2000);
	/* In the same turn, before anything could leave. */
	cg_conn_drop(&f->store->conn, "the test wants it");
	assert_int_equal(op.done, 1);
	assert_int_equal(op.op.status, CG_UNAVAILABLE);
	assert_true(wait_for(f, has_connected, 2));
	turn_for(f->loop, 10);
	assert_int_equal(f->server->functions, 0);
}

static void test_answers_nobody_asked_for_end_the_connection(void **state)
{
	static const char *const words[] = {"+OK\r\n", "$1\r\nx\r\n", "-ERR x\r\n", ":1\r\n",
	    "*0\r\n", "$99999999\r\n", "$-1\r\n", "garbage"};
	struct fixture *f = *state;

	connect_store(f);
	for (unsigned i = 0; i < CG_COUNT_OF(words); i++) {
		fake_server_say(f->server, words[i]);
		assert_true(wait_for(f, has_disconnected, i + 1));
		f->store->conn.attempts = 0; /* The pauses are another test's. */
		assert_true(wait_for(f, has_connected, i + 2));
	}
}

static void test_an_answer_before_its_question_left_is_nobodys(void **state)
{
	const struct cg_resp early = {
	    .kind = CG_RESP_STATUS, .content = CG_VIEW_LITERAL("OK"), .total_bytes = 5};
	struct fixture *f = *state;
	struct op op;

	connect_store(f);
	submit(f, &op, 2000);
	assert_non_null(cg_store__on_reply(f->store, &early));
	assert_int_equal(op.done, 0);
	cg_conn_drop(&f->store->conn, "as its caller would");
	assert_int_equal(op.op.status, CG_UNAVAILABLE);
}

static void test_half_an_answer_does_not_outlive_its_connection(void **state)
{
	struct fixture *f = *state;
	struct op op;

	connect_store(f);
	submit(f, &op, 2000);
	assert_true(wait_for(f, has_heard, 1));
	fake_server_say(f->server, "$20\r\nabc");
	turn_for(f->loop, 10);
	fake_server_hang_up(f->server);
	expect_end(f, &op, CG_LOST);
	assert_true(wait_for(f, has_connected, 2));
	submit(f, &op, 2000);
	assert_true(wait_for(f, has_heard, 2));
	fake_server_say(f->server, "-OOM\r\n");
	expect_end(f, &op, CG_UNAVAILABLE);
	assert_int_equal(f->disconnected, 1);
}

static void test_a_server_that_changed_is_greeted_anew(void **state)
{
	static const char *const words[] = {"-READONLY You can't\r\n",
	    "-ERR Function not found\r\n", "-LOADING Redis is loading\r\n", "-NOAUTH x\r\n"};
	struct fixture *f = *state;

	connect_store(f);
	for (unsigned i = 0; i < CG_COUNT_OF(words); i++) {
		struct op refused;
		struct op behind;

		submit(f, &refused, 2000);
		submit(f, &behind, 2000);
		assert_true(wait_for(f, has_heard, 2 * i + 2));
		fake_server_say(f->server, words[i]);
		expect_end(f, &behind, CG_LOST);
		assert_int_equal(refused.op.status, CG_UNAVAILABLE);
		assert_true(wait_for(f, has_connected, i + 2));
	}
	struct op op;
	submit(f, &op, 2000);
	assert_true(wait_for(f, has_heard, f->server->functions + 1));
	fake_server_say(f->server, "+OK\r\n");
	expect_end(f, &op, CG_INTERNAL);
	assert_true(wait_for(f, has_disconnected, 5));
}

static void test_more_than_the_limit_is_refused(void **state)
{
	struct fixture *f = *state;
	struct op ops[5];

	create_store(f, &(struct cg_store_config){.inflight_max = 4});
	assert_true(wait_for(f, has_connected, 1));
	for (size_t i = 0; i < 5; i++) {
		submit(f, &ops[i], 2000);
	}
	expect_end(f, &ops[4], CG_FULL);
	assert_int_equal(ops[0].done, 0);
	assert_true(wait_for(f, has_heard, 4));
	fake_server_say(f->server, "-OOM\r\n");
	expect_end(f, &ops[0], CG_UNAVAILABLE);
	submit(f, &ops[0], 2000);
	assert_true(wait_for(f, has_heard, 5));
	for (size_t i = 0; i < 4; i++) {
		fake_server_say(f->server, "-OOM\r\n");
	}
	expect_end(f, &ops[0], CG_UNAVAILABLE);
	for (size_t i = 1; i < 4; i++) {
		assert_int_equal(ops[i].op.status, CG_UNAVAILABLE);
	}
}

static void test_a_server_that_reads_slowly_gets_every_command_once(void **state)
{
	enum {
		MANY = 4000,
		ROUNDS = 4
	};
	static struct op ops[MANY];
	struct fixture *f = *state;

	create_store(f, &(struct cg_store_config){.inflight_max = MANY});
	assert_true(wait_for(f, has_connected, 1));
	cg_watch_set(f->server->reads, 0);
	for (size_t i = 0; i < MANY; i++) {
		submit(f, &ops[i], 20000);
		if ((i + 1) % (MANY / ROUNDS) == 0) {
			turn_for(f->loop, 2);
		}
	}
	/* More than the kernel takes: some of it still lies here. */
	assert_true(f->store->output.is_writing);
	cg_watch_set(f->server->reads, CG_WATCH_READ);
	assert_true(wait_for(f, has_heard, MANY));
	assert_int_equal(f->server->heard_bytes, 0);
	for (size_t i = 0; i < MANY; i++) {
		assert_int_equal(ops[i].done, 0);
		fake_server_say(f->server, "-OOM\r\n");
		if (i % 100 == 99) {
			expect_end(f, &ops[i], CG_UNAVAILABLE);
		}
	}
	turn_for(f->loop, 5);
	assert_int_equal(f->server->functions, MANY);
	assert_int_equal(f->disconnected, 0);
}

static void test_a_server_that_hangs_costs_few_operations_and_is_left(void **state)
{
	struct fixture *f = *state;
	struct op op;

	connect_store(f);
	f->store->pace = (struct cg_store_pace){
	    .watch_ms = 10, .ping_after_ms = 60000, .stall_ms = 30, .hang_ms = 300};
	f->server->is_mute = true;
	submit(f, &op, 40);
	expect_end(f, &op, CG_TIMEOUT);
	/* Its like are no longer sent: they certainly do not happen. */
	submit(f, &op, 2000);
	expect_end(f, &op, CG_UNAVAILABLE);
	assert_int_equal(f->server->functions, 1);

	/* One byte, and it is trusted again. */
	fake_server_say(f->server, "-");
	turn_for(f->loop, 5);
	submit(f, &op, 2000);
	assert_true(wait_for(f, has_heard, 2));
	assert_int_equal(f->disconnected, 0);
	f->server->is_mute = false;
	cg_timer_start(f->store->watchdog, 10);
	expect_end(f, &op, CG_LOST);
	assert_true(wait_for(f, has_connected, 2));
}

static bool is_answering(void *arg)
{
	return cg_store_is_answering(((struct fixture *)arg)->store);
}

static bool is_not_answering(void *arg)
{
	return !is_answering(arg);
}

static void on_partition_done(struct cg_partition_op *op)
{
	(void)op;
}

/* Nobody's time was over: the age of the oldest is enough. */
static void test_nothing_is_sent_behind_an_answer_that_is_long_owed(void **state)
{
	struct fixture *f = *state;
	struct cg_partition_port *port = NULL;
	struct op owed[2];
	struct op op;

	connect_store(f);
	assert_true(cg_store_is_answering(f->store));
	f->store->pace.stall_ms = 40;
	submit(f, &owed[0], 20000);
	assert_true(turn_until(f->loop, is_not_answering, f, 1000));
	assert_true(cg_store_is_connected(f->store));
	submit(f, &op, 20000);
	expect_end(f, &op, CG_UNAVAILABLE);
	struct cg_partition_op hello = {
	    .verb = CG_PARTITION_HELLO, .deadline_at_ms = UINT64_MAX, .done = on_partition_done};
	port = cg_store_partition_port(f->store);
	port->submit(port, &hello);
	turn_for(f->loop, 5);
	assert_int_equal(hello.status, CG_UNAVAILABLE);
	assert_int_equal(f->server->functions, 1);
	assert_int_equal(owed[0].done, 0);

	/* The answers that are owed are the probe. */
	fake_server_say(f->server, "-OOM\r\n");
	expect_end(f, &owed[0], CG_UNAVAILABLE);
	assert_true(cg_store_is_answering(f->store));
	submit(f, &owed[1], 20000);
	assert_true(wait_for(f, has_heard, 2));
	fake_server_say(f->server, "-OOM\r\n");
	expect_end(f, &owed[1], CG_UNAVAILABLE);
	assert_true(cg_store_is_answering(f->store));
}

/* It answers, and too late: not each answer lets everybody in again. */
static void test_a_slow_server_catches_up_first(void **state)
{
	struct fixture *f = *state;
	struct op ops[3];

	connect_store(f);
	f->store->pace.stall_ms = 200;
	for (size_t i = 0; i < 3; i++) {
		submit(f, &ops[i], 20000);
		turn_for(f->loop, i == 0 ? 20 : 2);
	}
	fake_server_say(f->server, "-OO"); /* bytes, and no answer */
	turn_for(f->loop, 5);
	assert_true(turn_until(f->loop, is_not_answering, f, 1000));
	fake_server_say(f->server, "M\r\n");
	expect_end(f, &ops[0], CG_UNAVAILABLE);
	assert_false(cg_store_is_answering(f->store)); /* the next is nearly as old */
	fake_server_say(f->server, "-OOM\r\n-OOM\r\n");
	expect_end(f, &ops[2], CG_UNAVAILABLE);
	assert_true(cg_store_is_answering(f->store));
}

/* What came while we did something else for too long is read before anybody is judged. */
static void test_our_own_long_turn_is_not_the_servers_silence(void **state)
{
	const struct timespec long_turn = {.tv_nsec = 150000000};
	struct fixture *f = *state;
	struct op op;

	connect_store(f);
	f->store->pace.stall_ms = 60;
	submit(f, &op, 40);
	assert_true(wait_for(f, has_heard, 1));
	fake_server_say(f->server, "-OOM\r\n");
	assert_int_equal(nanosleep(&long_turn, NULL), 0);
	expect_end(f, &op, CG_UNAVAILABLE);
	assert_true(cg_store_is_answering(f->store));
	assert_int_equal(f->store->breaker.opened_at_ms, 0); /* nor was it open in between */

	/* And where it said nothing, it is judged all the same. */
	submit(f, &op, 40);
	assert_true(wait_for(f, has_heard, 2));
	assert_int_equal(nanosleep(&long_turn, NULL), 0);
	expect_end(f, &op, CG_TIMEOUT);
	assert_true(turn_until(f->loop, is_not_answering, f, 1000));
}

/* Before anything is sent, and anew with each connection: another server has another clock. */
static void test_every_connection_learns_the_servers_clock(void **state)
{
	struct fixture *f = *state;
	struct cg_store_port *port = NULL;

	create_store(f, &(struct cg_store_config){0});
	port = cg_store_port(f->store);
	assert_int_equal(port->store_time(port, cg_loop_now_ms(f->loop)), 0);
	for (unsigned i = 1; i <= 2; i++) {
		int64_t server_ms = i == 1 ? INT64_C(1787300000250) : INT64_C(1687300000999);
		assert_true(wait_for(f, has_connected, i));
		int64_t named_ms = port->store_time(port, cg_loop_now_ms(f->loop));
		assert_true(named_ms > server_ms - 500);
		assert_true(named_ms < server_ms + 500);
		f->server->time = "*2\r\n$10\r\n1687300000\r\n$6\r\n999999\r\n";
		fake_server_hang_up(f->server);
		assert_true(wait_for(f, has_disconnected, i));
	}
	assert_true(wait_for(f, has_connected, 3));
	destroy_store(f);

	static const char *const words[] = {"+OK\r\n", "*0\r\n", "*1\r\n$1\r\n1\r\n",
	    "*2\r\n$1\r\nx\r\n$1\r\n1\r\n", "*2\r\n$1\r\n1\r\n$7\r\n1000000\r\n",
	    "*2\r\n$19\r\n9223372036854775807\r\n$1\r\n0\r\n", "-ERR no\r\n"};
	for (size_t i = 0; i < CG_COUNT_OF(words); i++) {
		f->server->time = words[i];
		f->disconnected = 0;
		expect_refused(f, &(struct cg_store_config){.connect_timeout_ms = 60000});
	}
}

static bool has_pinged(void *arg)
{
	struct fixture *f = arg;

	return f->server->pings >= f->wanted;
}

static void test_an_idle_server_is_asked_whether_it_lives(void **state)
{
	struct fixture *f = *state;

	connect_store(f);
	f->store->pace = (struct cg_store_pace){
	    .watch_ms = 5, .ping_after_ms = 20, .stall_ms = 200, .hang_ms = 100};
	cg_timer_start(f->store->watchdog, 5);
	assert_true(wait_for(f, has_pinged, 3));
	assert_int_equal(f->disconnected, 0);
	f->server->ignores_pings = true;
	assert_true(wait_for(f, has_disconnected, 1));
	f->server->ignores_pings = false;
	assert_true(wait_for(f, has_connected, 2));
}

static void test_closing_ends_everything_before_it_returns(void **state)
{
	struct fixture *f = *state;
	struct op sent;
	struct op unsent;
	struct op submitted_by_callback;

	connect_store(f);
	submit(f, &sent, 2000);
	assert_true(wait_for(f, has_heard, 1));
	submit(f, &unsent, 2000);
	init_op(f, &submitted_by_callback, 2000);
	unsent.then = &submitted_by_callback;
	cg_store_close(f->store);
	assert_int_equal(sent.op.status, CG_LOST);
	assert_int_equal(unsent.op.status, CG_CLOSING);
	assert_int_equal(submitted_by_callback.op.status, CG_CLOSING);
	assert_int_equal(sent.done + unsent.done + submitted_by_callback.done, 3);
	assert_int_equal(f->disconnected, 1);
	turn_for(f->loop, 20);
	assert_int_equal(sent.done + unsent.done + submitted_by_callback.done, 3);
	assert_int_equal(f->server->functions, 1);
	cg_store_destroy(f->store);
	f->store = NULL;
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    STORE_TEST(test_a_password_is_given_and_a_wrong_one_is_refused),
	    STORE_TEST(test_servers_that_would_lose_money_are_refused),
	    STORE_TEST(test_the_library_is_loaded_only_where_it_differs),
	    STORE_TEST(test_a_server_that_has_just_started_is_asked_to_rewrite_its_file),
	    STORE_TEST(test_garbage_for_a_greeting_is_refused),
	    STORE_TEST(test_what_is_refused_is_tried_again_for_ever_and_not_at_once),
	    STORE_TEST(test_a_greeting_that_does_not_come_is_not_waited_for),
	    STORE_TEST(test_while_away_operations_end_at_once_and_did_not_happen),
	    STORE_TEST(test_without_its_epoch_an_operation_is_not_sent),
	    STORE_TEST(test_answers_find_their_operations_in_order),
	    STORE_TEST(test_a_late_answer_is_nobody_elses),
	    STORE_TEST(test_each_ends_at_its_own_deadline),
	    STORE_TEST(test_what_was_sent_is_lost_with_the_connection),
	    STORE_TEST(test_what_was_not_sent_certainly_did_not_happen),
	    STORE_TEST(test_answers_nobody_asked_for_end_the_connection),
	    STORE_TEST(test_an_answer_before_its_question_left_is_nobodys),
	    STORE_TEST(test_half_an_answer_does_not_outlive_its_connection),
	    STORE_TEST(test_a_server_that_changed_is_greeted_anew),
	    STORE_TEST(test_more_than_the_limit_is_refused),
	    STORE_TEST(test_a_server_that_reads_slowly_gets_every_command_once),
	    STORE_TEST(test_a_server_that_hangs_costs_few_operations_and_is_left),
	    STORE_TEST(test_nothing_is_sent_behind_an_answer_that_is_long_owed),
	    STORE_TEST(test_a_slow_server_catches_up_first),
	    STORE_TEST(test_our_own_long_turn_is_not_the_servers_silence),
	    STORE_TEST(test_every_connection_learns_the_servers_clock),
	    STORE_TEST(test_an_idle_server_is_asked_whether_it_lives),
	    STORE_TEST(test_closing_ends_everything_before_it_returns),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	cg_log_set_level(CG_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
