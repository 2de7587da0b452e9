/*
 * Goal: an operation ends in the same way at whichever port it was submitted.
 *
 * Method: one operation of each kind goes through every ending, and the same is looked for.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../loop/turn.h"

#include <signal.h>
#include <string.h>

#include "fake_server.h"
#include "store/store_internal.h"

#define EPOCH     7
#define PARTITION 2
#define KINDS     3

struct fixture {
	struct cg_loop *loop;
	struct fake_server *server;
	struct cg_store *store;
	unsigned connected;
	unsigned refused; /* how often the listener was told of PARTITION */
	unsigned wanted;  /* what a condition compares with */
};

struct op {
	union {
		struct cg_store_op store;
		struct cg_partition_op partition;
		struct cg_events_op events;
	} as;
	struct cg_store *of;
	enum cg_slot_kind kind;
	enum cg_status status;
	unsigned done;
	struct op *then; /* is submitted by this one's callback */
};

static const enum cg_slot_kind kinds[KINDS] = {CG_SLOT_STORE, CG_SLOT_PARTITION, CG_SLOT_EVENTS};

static void submit_op(struct op *op);

static void ended(struct op *op, enum cg_status status)
{
	op->done++;
	op->status = status;
	if (op->then != NULL) {
		submit_op(op->then);
	}
}

static void on_store_done(struct cg_store_op *op)
{
	ended(CG_CONTAINER_OF(op, struct op, as.store), op->status);
}

static void on_partition_done(struct cg_partition_op *op)
{
	ended(CG_CONTAINER_OF(op, struct op, as.partition), op->status);
}

static void on_events_done(struct cg_events_op *op)
{
	ended(CG_CONTAINER_OF(op, struct op, as.events), op->status);
}

/* The smallest of each kind. */
static void init_op(struct fixture *f, struct op *op, enum cg_slot_kind kind, uint64_t within_ms)
{
	uint64_t deadline_at_ms = cg_loop_now_ms(f->loop) + within_ms;

	*op = (struct op){.of = f->store, .kind = kind, .status = CG_STATUS_COUNT};
	if (kind == CG_SLOT_STORE) {
		op->as.store = (struct cg_store_op){.verb = CG_STORE_LIVE_WALLETS,
		    .in.live.partition = PARTITION,
		    .deadline_at_ms = deadline_at_ms,
		    .done = on_store_done};
	} else if (kind == CG_SLOT_PARTITION) {
		op->as.partition = (struct cg_partition_op){.verb = CG_PARTITION_TRIM,
		    .partition = PARTITION,
		    .deadline_at_ms = deadline_at_ms,
		    .done = on_partition_done};
	} else {
		op->as.events = (struct cg_events_op){.verb = CG_EVENTS_TICK,
		    .partition = PARTITION,
		    .deadline_at_ms = deadline_at_ms,
		    .done = on_events_done};
	}
}

static void submit_op(struct op *op)
{
	if (op->kind == CG_SLOT_STORE) {
		struct cg_store_port *port = cg_store_port(op->of);
		port->submit(port, &op->as.store);
	} else if (op->kind == CG_SLOT_PARTITION) {
		struct cg_partition_port *port = cg_store_partition_port(op->of);
		port->submit(port, &op->as.partition);
	} else {
		struct cg_events_port *port = cg_store_events_port(op->of);
		port->submit(port, &op->as.events);
	}
	assert_int_equal(op->done, 0);
}

static void submit(struct fixture *f, struct op *op, enum cg_slot_kind kind, uint64_t within_ms)
{
	init_op(f, op, kind, within_ms);
	submit_op(op);
}

static void on_connected(void *owner)
{
	struct fixture *f = owner;
	struct cg_partition_port *port = cg_store_partition_port(f->store);

	f->connected++;
	port->set_epoch(port, PARTITION, EPOCH);
}

static void on_refused(void *owner, uint32_t partition)
{
	struct fixture *f = owner;

	assert_int_equal(partition, PARTITION);
	f->refused++;
}

static bool has_connected(void *arg)
{
	struct fixture *f = arg;

	return f->connected >= f->wanted;
}

static bool has_heard(void *arg)
{
	struct fixture *f = arg;

	return f->server->functions >= f->wanted;
}

static bool is_done(void *arg)
{
	return ((struct op *)arg)->done > 0;
}

static void expect_end(struct fixture *f, struct op *op, enum cg_status status)
{
	assert_true(turn_until(f->loop, is_done, op, 3000));
	if (op->status != status) {
		fail_msg("kind %d: %s instead of %s", (int)op->kind, cg_status_name(op->status),
		    cg_status_name(status));
	}
	assert_int_equal(op->done, 1);
}

static void create_store(struct fixture *f, uint32_t inflight_max)
{
	const struct cg_store_config config = {
	    .address = f->server->address,
	    .partition_count = 4,
	    .inflight_max = inflight_max,
	    .connect_timeout_ms = 1000,
	};
	const struct cg_partition_listener listener = {
	    .on_connected = on_connected, .on_refused = on_refused, .owner = f};

	f->store = cg_store_create(f->loop, &config);
	cg_store_listen(f->store, &listener);
	cg_store_start(f->store);
}

static void wait_connected(struct fixture *f)
{
	f->wanted = f->connected + 1;
	assert_true(turn_until(f->loop, has_connected, f, 3000));
}

static void wait_heard(struct fixture *f, unsigned count)
{
	f->wanted = count;
	assert_true(turn_until(f->loop, has_heard, f, 3000));
}

static int set_up(void **state)
{
	static struct fixture f;

	f = (struct fixture){.loop = cg_loop_create()};
	f.server = fake_server_create(f.loop);
	create_store(&f, 64);
	*state = &f;
	return 0;
}

static void destroy_store(struct fixture *f)
{
	cg_store_close(f->store);
	turn_for(f->loop, 1);
	cg_store_destroy(f->store);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	destroy_store(f);
	fake_server_destroy(f->server);
	cg_loop_destroy(f->loop);
	return 0;
}

static void test_refused_at_once_it_certainly_did_not_happen(void **state)
{
	struct fixture *f = *state;
	struct cg_partition_port *port = cg_store_partition_port(f->store);
	struct op op;
	struct op then;

	for (size_t i = 0; i < KINDS; i++) {
		submit(f, &op, kinds[i], 1000);
		op.then = &then;
		init_op(f, &then, kinds[i], 1000);
		expect_end(f, &op, CG_UNAVAILABLE);
		expect_end(f, &then, CG_UNAVAILABLE);
	}
	if (f->connected == 0) {
		wait_connected(f);
	}
	/* Its time is over. */
	for (size_t i = 0; i < KINDS; i++) {
		submit(f, &op, kinds[i], 0);
		expect_end(f, &op, CG_UNAVAILABLE);
	}
	/* Not served; what takes a partition into use goes out all the same. */
	port->set_epoch(port, PARTITION, 0);
	assert_int_equal(
	    cg_store_events_port(f->store)->epoch(cg_store_events_port(f->store), PARTITION), 0);
	submit(f, &op, CG_SLOT_STORE, 1000);
	expect_end(f, &op, CG_RECOVERING);
	submit(f, &op, CG_SLOT_EVENTS, 1000);
	expect_end(f, &op, CG_RECOVERING);
	assert_int_equal(f->server->functions, 0);
	submit(f, &op, CG_SLOT_PARTITION, 1000);
	wait_heard(f, 1);
	fake_server_say(f->server, "-OOM\r\n");
	expect_end(f, &op, CG_UNAVAILABLE);
}

static void test_answers_end_each_kind(void **state)
{
	static const struct {
		const char *bytes;
		enum cg_status status;
	} answers[] = {
	    {"-OOM no\r\n", CG_UNAVAILABLE},
	    {"-ERR what\r\n", CG_INTERNAL},
	    {"$1\r\n?\r\n", CG_INTERNAL},
	    {"$0\r\n\r\n", CG_INTERNAL},
	};
	struct fixture *f = *state;
	struct op ops[KINDS];

	wait_connected(f);
	for (size_t i = 0; i < CG_COUNT_OF(answers); i++) {
		for (size_t kind = 0; kind < KINDS; kind++) {
			submit(f, &ops[kind], kinds[kind], 2000);
		}
		wait_heard(f, (unsigned)(i + 1) * KINDS);
		for (size_t kind = 0; kind < KINDS; kind++) {
			assert_int_equal(ops[kind].done, 0);
			fake_server_say(f->server, answers[i].bytes);
			expect_end(f, &ops[kind], answers[i].status);
		}
	}
	assert_int_equal(f->connected, 1);
}

static void test_a_refused_epoch_is_told_by_each_kind(void **state)
{
	struct fixture *f = *state;
	struct cg_partition_port *port = cg_store_partition_port(f->store);
	struct cg_events_port *events = cg_store_events_port(f->store);
	struct op ops[2];

	wait_connected(f);
	for (unsigned i = 0; i < KINDS; i++) {
		port->set_epoch(port, PARTITION, EPOCH);
		assert_int_equal(events->epoch(events, PARTITION), EPOCH);
		submit(f, &ops[0], kinds[i], 2000);
		submit(f, &ops[1], kinds[i], 2000);
		wait_heard(f, 2 * i + 2);
		fake_server_say(f->server, "$1\r\n\xfe\r\n$1\r\n\xfe\r\n");
		expect_end(f, &ops[0], CG_RECOVERING);
		expect_end(f, &ops[1], CG_RECOVERING);
		assert_int_equal(f->refused, i + 1);
		assert_int_equal(events->epoch(events, PARTITION), 0);
	}
}

static void test_without_an_answer_it_may_have_happened(void **state)
{
	struct fixture *f = *state;
	struct op late[KINDS];
	struct op lost[KINDS];

	wait_connected(f);
	for (size_t i = 0; i < KINDS; i++) {
		submit(f, &lost[i], kinds[i], 60000);
		submit(f, &late[i], kinds[i], 20);
	}
	for (size_t i = 0; i < KINDS; i++) {
		expect_end(f, &late[i], CG_TIMEOUT);
		assert_int_equal(lost[i].done, 0);
	}
	wait_heard(f, 2 * KINDS);
	fake_server_hang_up(f->server);
	for (size_t i = 0; i < KINDS; i++) {
		expect_end(f, &lost[i], CG_LOST);
	}
}

static void test_more_than_the_limit_is_refused_at_each_port(void **state)
{
	struct fixture *f = *state;
	struct op first;
	struct op op;

	destroy_store(f);
	create_store(f, 1);
	wait_connected(f);
	submit(f, &first, CG_SLOT_EVENTS, 2000);
	for (size_t i = 0; i < KINDS; i++) {
		submit(f, &op, kinds[i], 2000);
		expect_end(f, &op, CG_FULL);
	}
	wait_heard(f, 1);
	fake_server_say(f->server, "-OOM\r\n");
	expect_end(f, &first, CG_UNAVAILABLE);
}

static void test_closing_ends_each_kind(void **state)
{
	struct fixture *f = *state;
	struct op sent[KINDS];
	struct op unsent[KINDS];
	struct op then[KINDS];

	wait_connected(f);
	for (size_t i = 0; i < KINDS; i++) {
		submit(f, &sent[i], kinds[i], 2000);
	}
	wait_heard(f, KINDS);
	for (size_t i = 0; i < KINDS; i++) {
		submit(f, &unsent[i], kinds[i], 2000);
		init_op(f, &then[i], kinds[i], 2000);
		unsent[i].then = &then[i];
	}
	cg_store_close(f->store);
	for (size_t i = 0; i < KINDS; i++) {
		assert_int_equal(sent[i].status, CG_LOST);
		assert_int_equal(unsent[i].status, CG_CLOSING);
		assert_int_equal(then[i].status, CG_CLOSING);
		assert_int_equal(sent[i].done + unsent[i].done + then[i].done, 3);
	}
	cg_store_destroy(f->store);
	create_store(f, 64);
}

/* More bytes in one turn than the buffer holds: each leaves whole, and once. */
static void test_ticks_with_the_most_wallets_leave_whole(void **state)
{
	enum {
		MANY = 300
	};
	static struct op ops[MANY];
	struct fixture *f = *state;

	destroy_store(f);
	create_store(f, MANY);
	wait_connected(f);
	for (size_t i = 0; i < MANY; i++) {
		init_op(f, &ops[i], CG_SLOT_EVENTS, 20000);
		ops[i].as.events.in.tick.wallet_count = CG_TICK_WALLETS_MAX;
		submit_op(&ops[i]);
	}
	assert_true(f->store->ring.unsent > f->store->ring.first);
	assert_true(f->store->ring.unsent < f->store->ring.next);
	wait_heard(f, MANY);
	assert_int_equal(f->server->heard_bytes, 0);
	for (size_t i = 0; i < MANY; i++) {
		assert_int_equal(ops[i].done, 0);
		fake_server_say(f->server, "-OOM\r\n");
		if (i % 100 == 99) {
			expect_end(f, &ops[i], CG_UNAVAILABLE);
		}
	}
	assert_int_equal(f->server->functions, MANY);
}

/* A further connection, to a server of its own: what goes over which is seen. */
struct follower {
	struct fake_server *server;
	struct cg_store *store;
};

static bool follower_is_connected(void *arg)
{
	return cg_store_is_connected(((struct follower *)arg)->store);
}

static bool follower_has_heard(void *arg)
{
	return ((struct follower *)arg)->server->functions > 0;
}

static void open_follower(struct fixture *f, struct follower *w)
{
	w->server = fake_server_create(f->loop);
	w->store = cg_store_create(f->loop,
	    &(struct cg_store_config){.address = w->server->address,
	        .partition_count = 4,
	        .inflight_max = 64,
	        .connect_timeout_ms = 1000,
	        .leader = f->store});
	cg_store_start(w->store);
	assert_true(turn_until(f->loop, follower_is_connected, w, 3000));
}

static void close_follower(struct fixture *f, struct follower *w)
{
	cg_store_close(w->store);
	turn_for(f->loop, 1);
	cg_store_destroy(w->store);
	fake_server_destroy(w->server);
}

static void submit_to(
    struct fixture *f, const struct follower *w, struct op *op, enum cg_slot_kind kind)
{
	init_op(f, op, kind, 2000);
	op->of = w->store;
	submit_op(op);
}

/* Goal: over a further connection the leader's epochs hold, and nothing else does. */
static void test_a_further_connection_goes_by_the_epochs_of_its_leader(void **state)
{
	struct fixture *f = *state;
	struct follower w;
	struct op op;

	wait_connected(f);
	open_follower(f, &w);
	struct cg_events_port *events = cg_store_events_port(w.store);
	struct cg_partition_port *leads = cg_store_partition_port(f->store);
	assert_int_equal(events->epoch(events, PARTITION), EPOCH);
	leads->set_epoch(leads, PARTITION, 0);
	assert_int_equal(events->epoch(events, PARTITION), 0);
	submit_to(f, &w, &op, CG_SLOT_EVENTS);
	expect_end(f, &op, CG_RECOVERING);
	submit_to(f, &w, &op, CG_SLOT_STORE);
	expect_end(f, &op, CG_RECOVERING);
	assert_int_equal(w.server->functions, 0);

	leads->set_epoch(leads, PARTITION, EPOCH + 1);
	submit_to(f, &w, &op, CG_SLOT_EVENTS);
	assert_true(turn_until(f->loop, follower_has_heard, &w, 3000));
	assert_int_equal(f->server->functions, 0);
	/* What it hears of an epoch is told to whoever listens to the leader. */
	fake_server_say(w.server, "$1\r\n\xfe\r\n");
	expect_end(f, &op, CG_RECOVERING);
	assert_int_equal(f->refused, 1);
	assert_int_equal(cg_store_port(f->store)->epoch(cg_store_port(f->store), PARTITION), 0);
	close_follower(f, &w);
}

/* Goal: either connection may be lost alone, and the other one goes on. */
static void test_leader_and_follower_are_lost_one_by_one(void **state)
{
	struct fixture *f = *state;
	struct follower w;
	struct op sent;
	struct op op;

	wait_connected(f);
	open_follower(f, &w);
	fake_server_stop_listening(f->server);
	submit_to(f, &w, &sent, CG_SLOT_EVENTS);
	assert_true(turn_until(f->loop, follower_has_heard, &w, 3000));
	fake_server_hang_up(f->server);
	turn_for(f->loop, 20);
	/* Without its leader there is no epoch; what is under way is answered. */
	submit_to(f, &w, &op, CG_SLOT_EVENTS);
	expect_end(f, &op, CG_RECOVERING);
	assert_int_equal(sent.done, 0);
	fake_server_say(w.server, "$1\r\n\xfe\r\n");
	expect_end(f, &sent, CG_RECOVERING);
	assert_int_equal(f->refused, 0); /* That epoch was given up before. */

	fake_server_listen(f->server);
	wait_connected(f);
	submit_to(f, &w, &sent, CG_SLOT_EVENTS);
	turn_for(f->loop, 20);
	fake_server_stop_listening(w.server);
	fake_server_hang_up(w.server);
	expect_end(f, &sent, CG_LOST);
	submit_to(f, &w, &op, CG_SLOT_EVENTS);
	expect_end(f, &op, CG_UNAVAILABLE);
	assert_int_equal(cg_store_port(f->store)->epoch(cg_store_port(f->store), PARTITION), EPOCH);
	assert_int_equal(f->connected, 2);
	close_follower(f, &w);
}

#define PORTS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    PORTS_TEST(test_refused_at_once_it_certainly_did_not_happen),
	    PORTS_TEST(test_answers_end_each_kind),
	    PORTS_TEST(test_a_refused_epoch_is_told_by_each_kind),
	    PORTS_TEST(test_without_an_answer_it_may_have_happened),
	    PORTS_TEST(test_more_than_the_limit_is_refused_at_each_port),
	    PORTS_TEST(test_closing_ends_each_kind),
	    PORTS_TEST(test_a_further_connection_goes_by_the_epochs_of_its_leader),
	    PORTS_TEST(test_leader_and_follower_are_lost_one_by_one),
	    PORTS_TEST(test_ticks_with_the_most_wallets_leave_whole),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	cg_log_set_level(CG_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
