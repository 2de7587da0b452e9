/* SPDX-License-Identifier: Apache-2.0 */
#include "../loop/turn.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "fake_redis.h"
#include "store/store_internal.h"

#define PARTITIONS 16
#define WAIT_MS    8000

struct fixture {
	struct cg_loop *loop;
	struct fake_redis redis;
	struct cg_store *store;
	unsigned connected;
	unsigned disconnected;
	unsigned refused;
	uint32_t refused_partition;
};

static const struct cg_uuid company = {{0xC0, 0x1, 0xD0}};

static const struct cg_deployment deployment = {
    .id = {{1, 2, 3, 4}}, .partition_count = PARTITIONS};

static void on_connected(void *owner)
{
	((struct fixture *)owner)->connected++;
}

static void on_disconnected(void *owner)
{
	((struct fixture *)owner)->disconnected++;
}

static void on_refused(void *owner, uint32_t partition)
{
	struct fixture *f = owner;

	f->refused++;
	f->refused_partition = partition;
}

static int set_up(void **state)
{
	static struct fixture f;

	f = (struct fixture){.loop = cg_loop_create()};
	fake_redis_create(&f.redis);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->store != NULL) {
		cg_store_close(f->store);
		cg_store_destroy(f->store);
	}
	cg_loop_destroy(f->loop);
	fake_redis_destroy(&f->redis);
	return 0;
}

static void create_store(struct fixture *f, const char *password)
{
	const struct cg_store_config config = {
	    .address = f->redis.address,
	    .password = password,
	    .partition_count = PARTITIONS,
	    .inflight_max = 1024,
	    .connect_timeout_ms = 1000,
	};
	const struct cg_partition_listener listener = {
	    .on_connected = on_connected,
	    .on_disconnected = on_disconnected,
	    .on_refused = on_refused,
	    .owner = f,
	};

	f->store = cg_store_create(f->loop, &config);
	cg_store_listen(f->store, &listener);
	cg_store_start(f->store);
}

static bool is_connected(void *arg)
{
	return cg_store_is_connected(((struct fixture *)arg)->store);
}

static bool is_away(void *arg)
{
	return !is_connected(arg);
}

static void connect_store(struct fixture *f)
{
	create_store(f, NULL);
	assert_true(turn_until(f->loop, is_connected, f, WAIT_MS));
}

/* Operations in a row, as a blocking program would have them. */
static unsigned ended;

static bool has_ended(void *arg)
{
	return ended >= *(unsigned *)arg;
}

static void on_store_done(struct cg_store_op *op)
{
	(void)op;
	ended++;
}

static void on_partition_done(struct cg_partition_op *op)
{
	(void)op;
	ended++;
}

static void submit(struct fixture *f, struct cg_store_op *op)
{
	struct cg_store_port *port = cg_store_port(f->store);

	op->company = company;
	op->deadline_at_ms = cg_loop_now_ms(f->loop) + 2000;
	op->done = on_store_done;
	port->submit(port, op);
}

static enum cg_status call(struct fixture *f, struct cg_store_op *op)
{
	unsigned wanted = ended + 1;

	submit(f, op);
	assert_true(turn_until(f->loop, has_ended, &wanted, WAIT_MS));
	return op->status;
}

static enum cg_status ask(struct fixture *f, struct cg_partition_op *op)
{
	struct cg_partition_port *port = cg_store_partition_port(f->store);
	unsigned wanted = ended + 1;

	op->deadline_at_ms = cg_loop_now_ms(f->loop) + 2000;
	op->done = on_partition_done;
	port->submit(port, op);
	assert_true(turn_until(f->loop, has_ended, &wanted, WAIT_MS));
	return op->status;
}

static void on_events_done(struct cg_events_op *op)
{
	(void)op;
	ended++;
}

static enum cg_status ask_events(struct fixture *f, struct cg_events_op *op)
{
	struct cg_events_port *port = cg_store_events_port(f->store);
	unsigned wanted = ended + 1;

	op->partition = cg_store_partition_of(&company, PARTITIONS);
	op->deadline_at_ms = cg_loop_now_ms(f->loop) + 2000;
	op->done = on_events_done;
	port->submit(port, op);
	assert_true(turn_until(f->loop, has_ended, &wanted, WAIT_MS));
	return op->status;
}

static enum cg_partition_condition hello(struct fixture *f, uint32_t partition)
{
	struct cg_partition_op op = {
	    .verb = CG_PARTITION_HELLO, .partition = partition, .in.hello = deployment};

	assert_int_equal(ask(f, &op), CG_OK);
	return op.out.hello.condition;
}

/* What the recovery of a fresh store does. */
static void take_into_use(struct fixture *f, uint32_t partition, uint64_t epoch)
{
	struct cg_partition_port *port = cg_store_partition_port(f->store);
	struct cg_partition_op fence = {.verb = CG_PARTITION_FENCE, .partition = partition};
	struct cg_partition_op serve = {.verb = CG_PARTITION_SERVE, .partition = partition};

	fence.in.fence.epoch = epoch;
	fence.in.fence.deployment = deployment;
	assert_int_equal(ask(f, &fence), CG_OK);
	assert_false(fence.out.fence.overtaken);
	serve.in.serve.epoch = epoch;
	assert_int_equal(ask(f, &serve), CG_OK);
	assert_false(serve.out.serve.overtaken);
	port->set_epoch(port, partition, epoch);
}

static void set_terms(struct cg_store_op *op)
{
	op->terms = (struct cg_wallet_terms){.version = 1,
	    .calls_max = 10,
	    .cut_warning_ms = 30000,
	    .cut_repeat_ms = 5000,
	    .currency = {"usd"}};
}

static void load_wallet(struct fixture *f)
{
	struct cg_store_op load = {.verb = CG_STORE_LOAD};

	set_terms(&load);
	load.in.load.announces = true;
	load.known_epoch = cg_store_port(f->store)->epoch(
	    cg_store_port(f->store), cg_store_partition_of(&company, PARTITIONS));
	assert_int_equal(call(f, &load), CG_OK);
	assert_int_equal(load.outcome, CG_STORE_DONE);
}

static void init_authorize(struct cg_store_op *op, struct cg_view call_id)
{
	*op = (struct cg_store_op){.verb = CG_STORE_AUTHORIZE};
	set_terms(op);
	op->in.authorize = (struct cg_store_authorize_in){
	    .call_id = call_id,
	    .resource_type = CG_VIEW_LITERAL("voice_outbound"),
	    .destination = CG_VIEW_LITERAL("+4915112345678"),
	    .has_price = true,
	    .price = {.rate_per_minute = {90000}, .increment_ms = 1000},
	    .limits = {.reserve_ms = 60000,
	        .longest_ms = 3600000,
	        .lease_ms = 120000,
	        .guard_ms = 5000},
	    .start = true,
	};
}

static void credit(struct fixture *f, int64_t micros)
{
	struct cg_store_op op = {.verb = CG_STORE_CREDIT, .asked = true};

	op.known_epoch = cg_store_port(f->store)->epoch(
	    cg_store_port(f->store), cg_store_partition_of(&company, PARTITIONS));
	op.in.credit = (struct cg_store_credit_in){
	    .type = CG_ENTRY_TOP_UP,
	    .amount = {micros},
	    .reference_id = CG_VIEW_LITERAL("payment-1"),
	    .description = CG_VIEW_LITERAL("a payment"),
	};
	assert_int_equal(call(f, &op), CG_OK);
	assert_int_equal(op.outcome, CG_STORE_DONE);
	assert_int_equal(op.out.posted.balance.micros, micros);
}

static void settle(struct fixture *f, int64_t duration_ms, int64_t cost_micros)
{
	struct cg_store_op op = {.verb = CG_STORE_SETTLE};

	op.in.settle = (struct cg_store_settle_in){
	    .call_id = CG_VIEW_LITERAL("call-1"),
	    .duration_ms = duration_ms,
	    .basis = CG_BASIS_REPORTED,
	};
	assert_int_equal(call(f, &op), CG_OK);
	assert_int_equal(op.outcome, CG_STORE_DONE);
	assert_int_equal(op.out.settle.cost.micros, cost_micros);
	assert_int_equal(op.out.settle.duration_ms, duration_ms);
}

static void expect_entries(struct fixture *f, uint32_t partition)
{
	struct cg_entry entries[8];
	struct cg_partition_op read = {.verb = CG_PARTITION_READ, .partition = partition};

	read.in.read.entries = entries;
	read.in.read.entries_max = CG_COUNT_OF(entries);
	assert_int_equal(ask(f, &read), CG_OK);
	/* The array's content is there until the next turn alone: look at numbers only. */
	assert_int_equal(read.out.read.count, 2);
	assert_int_equal(entries[0].body.type, CG_ENTRY_TOP_UP);
	assert_int_equal(entries[0].version, 1);
	assert_int_equal(entries[1].body.type, CG_ENTRY_USAGE);
	assert_int_equal(entries[1].body.amount.micros, -93000);
	assert_int_equal(entries[1].body.balance_after.micros, 4907000);
	assert_true(cg_uuid_equal(&entries[1].company, &company));
}

static void test_from_a_fresh_store_to_a_settled_call(void **state)
{
	struct fixture *f = *state;
	uint32_t partition = cg_store_partition_of(&company, PARTITIONS);
	struct cg_store_op op;

	fake_redis_start(&f->redis, NULL);
	connect_store(f);
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		assert_int_equal(hello(f, i), CG_PARTITION_NO_HEAD);
		take_into_use(f, i, 1);
		assert_int_equal(hello(f, i), CG_PARTITION_HEALTHY);
	}
	init_authorize(&op, CG_VIEW_LITERAL("call-1"));
	assert_int_equal(call(f, &op), CG_OK);
	assert_int_equal(op.outcome, CG_STORE_ABSENT);
	load_wallet(f);
	credit(f, 5000000);
	init_authorize(&op, CG_VIEW_LITERAL("call-1"));
	assert_int_equal(call(f, &op), CG_OK);
	assert_int_equal(op.outcome, CG_STORE_DONE);
	assert_int_equal(op.out.authorize.decision, CG_DECISION_ALLOWED);
	assert_int_equal(op.state, CG_CALL_METERING);
	assert_int_equal(op.epoch, 1);
	settle(f, 61001, 93000);
	expect_entries(f, partition);
	assert_int_equal(f->refused, 0);
}

static void test_a_refused_epoch_is_told_once(void **state)
{
	struct fixture *f = *state;
	uint32_t partition = cg_store_partition_of(&company, PARTITIONS);
	struct cg_partition_port *port = NULL;
	struct cg_store_op ops[3] = {
	    {.verb = CG_STORE_BALANCE}, {.verb = CG_STORE_BALANCE}, {.verb = CG_STORE_BALANCE}};
	unsigned wanted = ended + 3;

	fake_redis_start(&f->redis, NULL);
	connect_store(f);
	port = cg_store_partition_port(f->store);
	take_into_use(f, partition, 1);
	port->set_epoch(port, partition, 2);
	for (size_t i = 0; i < 3; i++) {
		submit(f, &ops[i]);
	}
	assert_true(turn_until(f->loop, has_ended, &wanted, WAIT_MS));
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(ops[i].status, CG_RECOVERING);
		assert_int_equal(ops[i].epoch, 2);
	}
	assert_int_equal(f->refused, 1);
	assert_int_equal(f->refused_partition, partition);
	assert_int_equal(cg_store_port(f->store)->epoch(cg_store_port(f->store), partition), 0);

	/* The right one again, and all is well. */
	assert_int_equal(hello(f, partition), CG_PARTITION_HEALTHY);
	port->set_epoch(port, partition, 1);
	assert_int_equal(call(f, &ops[0]), CG_OK);
	assert_int_equal(ops[0].outcome, CG_STORE_ABSENT);
}

static void test_servers_that_will_not_do_are_refused(void **state)
{
	static const char *const options[][3] = {
	    {"--appendonly", "no", NULL},
	    {"--maxmemory-policy", "allkeys-lru", NULL},
	    {"--replicaof", "127.0.0.1 1", NULL},
	    {"--requirepass", "secret", NULL},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < CG_COUNT_OF(options); i++) {
		fake_redis_start(&f->redis, options[i]);
		create_store(f, i == 3 ? "wrong" : NULL);
		while (f->store->conn.attempts < 2 || f->store->conn.state != CG_CONN_BACKOFF ||
		    fake_redis_tell(&f->redis, "PING") == 0) {
			turn_for(f->loop, 10);
		}
		f->store->conn.attempts = 0;
		turn_for(f->loop, 150);
		assert_int_equal(f->connected, 0);
		cg_store_close(f->store);
		cg_store_destroy(f->store);
		f->store = NULL;
		fake_redis_kill(&f->redis);
	}
	fake_redis_start(&f->redis, options[3]);
	create_store(f, "secret");
	assert_true(turn_until(f->loop, is_connected, f, WAIT_MS));
}

static void test_a_store_that_was_killed_is_another_history(void **state)
{
	struct fixture *f = *state;
	uint32_t partition = cg_store_partition_of(&company, PARTITIONS);
	struct cg_store_op op = {.verb = CG_STORE_BALANCE};
	unsigned wanted = 0;
	/* The head has to be in the file: everysec may put even the write off, not only the sync. */
	static const char *const options[] = {"--appendfsync", "always", NULL};

	fake_redis_start(&f->redis, options);
	connect_store(f);
	take_into_use(f, partition, 1);
	load_wallet(f);
	assert_int_equal(kill(f->redis.pid, SIGSTOP), 0);
	wanted = ended + 1;
	submit(f, &op);
	turn_for(f->loop, 20);
	fake_redis_kill(&f->redis);
	assert_true(turn_until(f->loop, has_ended, &wanted, WAIT_MS));
	assert_int_equal(op.status, CG_LOST);
	assert_int_equal(f->disconnected, 1);
	assert_int_equal(call(f, &op), CG_UNAVAILABLE);

	fake_redis_start(&f->redis, options);
	assert_true(turn_until(f->loop, is_connected, f, WAIT_MS));
	assert_int_equal(call(f, &op), CG_RECOVERING);
	assert_int_equal(hello(f, partition), CG_PARTITION_OTHER_HISTORY);
}

static void test_a_library_that_vanished_is_loaded_again(void **state)
{
	struct fixture *f = *state;
	uint32_t partition = cg_store_partition_of(&company, PARTITIONS);
	struct cg_store_op op = {.verb = CG_STORE_BALANCE};

	fake_redis_start(&f->redis, NULL);
	connect_store(f);
	take_into_use(f, partition, 1);
	assert_int_equal(fake_redis_tell(&f->redis, "FUNCTION FLUSH"), '+');
	assert_int_equal(call(f, &op), CG_UNAVAILABLE);
	assert_true(turn_until(f->loop, is_away, f, WAIT_MS));
	assert_true(turn_until(f->loop, is_connected, f, WAIT_MS));
	/* The history is the server's own: hello sets the mark again. */
	assert_int_equal(hello(f, partition), CG_PARTITION_HEALTHY);
}

static void test_a_flushed_store_refuses_what_it_knew(void **state)
{
	struct fixture *f = *state;
	uint32_t partition = cg_store_partition_of(&company, PARTITIONS);
	struct cg_store_op op = {.verb = CG_STORE_BALANCE};

	fake_redis_start(&f->redis, NULL);
	connect_store(f);
	take_into_use(f, partition, 1);
	load_wallet(f);
	assert_int_equal(call(f, &op), CG_OK);
	assert_int_equal(op.outcome, CG_STORE_DONE);
	assert_int_equal(fake_redis_tell(&f->redis, "FLUSHALL"), '+');
	assert_int_equal(call(f, &op), CG_RECOVERING);
	assert_int_equal(f->refused, 1);
	assert_int_equal(hello(f, partition), CG_PARTITION_NO_HEAD);
}

/* Everything from the first record on, as the types' names; the position where it ends. */
static struct cg_position read_types(struct fixture *f, uint32_t most, char *text, size_t size)
{
	/* The end of a history that had nothing: of epoch 0. */
	const struct cg_stream_id before = {.epoch = 0, .n = (UINT64_C(1) << 53) - 1};
	struct cg_event events[16];
	struct cg_events_op op = {.verb = CG_EVENTS_READ};
	size_t len = 0;

	op.in.read.after = (struct cg_position){.event = before, .entry = before};
	op.in.read.events = events;
	op.in.read.events_max = most;
	do {
		assert_int_equal(ask_events(f, &op), CG_OK);
		for (uint32_t i = 0; i < op.out.read.count; i++) {
			assert_true(cg_uuid_equal(&events[i].company, &company));
			len += (size_t)snprintf(
			    text + len, size - len, "%s ", cg_event_type_name(events[i].type));
		}
		op.in.read.after = op.out.read.position;
	} while (op.out.read.more);
	return op.in.read.after;
}

static void prepare(struct fixture *f)
{
	fake_redis_start(&f->redis, NULL);
	connect_store(f);
	take_into_use(f, cg_store_partition_of(&company, PARTITIONS), 1);
	load_wallet(f);
}

static void expect_the_end(struct fixture *f, const struct cg_position *position)
{
	struct cg_events_op tick = {.verb = CG_EVENTS_TICK};
	struct cg_events_op now = {.verb = CG_EVENTS_READ};

	tick.in.tick.events_keep = 1000;
	assert_int_equal(ask_events(f, &tick), CG_OK);
	assert_true(cg_position_equal(&tick.out.tick.last, position));
	assert_true(tick.now_ms > INT64_C(1600000000000));
	now.in.read.from_now = true;
	assert_int_equal(ask_events(f, &now), CG_OK);
	assert_true(cg_position_equal(&now.out.read.position, position));
}

static void test_what_happened_is_read_in_its_order(void **state)
{
	static const char expected[] =
	    "WALLET_UPDATED CREDITED CALL_AUTHORIZED CALL_STARTED CALL_STOPPED CALL_SETTLED ";
	struct fixture *f = *state;
	struct cg_store_op op;
	char text[256];

	prepare(f);
	credit(f, 5000000);
	init_authorize(&op, CG_VIEW_LITERAL("call-1"));
	op.announces = true;
	assert_int_equal(call(f, &op), CG_OK);
	assert_int_equal(op.state, CG_CALL_METERING);
	op = (struct cg_store_op){.verb = CG_STORE_STOP, .announces = true};
	op.in.stop.call_id = CG_VIEW_LITERAL("call-1");
	assert_int_equal(call(f, &op), CG_OK);
	settle(f, 61001, 93000);
	for (uint32_t most = 1; most <= 16; most += 5) {
		struct cg_position end = read_types(f, most, text, sizeof text);
		assert_string_equal(text, expected);
		expect_the_end(f, &end);
	}
}

static void start_a_call_that_ends_soon(struct fixture *f)
{
	struct cg_store_op op;

	/* 9001 are held for the guard; 300 pay for 200 ms. */
	credit(f, 9301);
	init_authorize(&op, CG_VIEW_LITERAL("call-1"));
	op.in.authorize.limits.reserve_ms = 1;
	assert_int_equal(call(f, &op), CG_OK);
	assert_int_equal(op.state, CG_CALL_METERING);
}

static void test_a_tick_cuts_off_at_the_end_of_the_money(void **state)
{
	struct fixture *f = *state;
	struct cg_events_op tick = {.verb = CG_EVENTS_TICK};
	int64_t next_ms = 0;
	char text[256];

	prepare(f);
	start_a_call_that_ends_soon(f);
	tick.in.tick.events_keep = 1000;
	assert_int_equal(ask_events(f, &tick), CG_OK);
	assert_int_equal(tick.out.tick.due_count, 1);
	assert_true(cg_uuid_equal(&tick.out.tick.due[0].company, &company));
	tick.in.tick.wallets[0] = tick.out.tick.due[0].company;
	tick.in.tick.wallet_count = 1;
	/* First the warning, then the end; after that the next one is the repetition. */
	for (unsigned rounds = 0; next_ms < 1000; rounds++) {
		assert_true(rounds < 1000);
		turn_for(f->loop, 5);
		assert_int_equal(ask_events(f, &tick), CG_OK);
		assert_int_equal(tick.out.tick.due_count, 1);
		next_ms = tick.out.tick.due[0].at_ms - tick.now_ms;
	}
	assert_int_equal(tick.out.tick.worked, 1);
	assert_in_range(next_ms, 4000, 5000);
	(void)read_types(f, 16, text, sizeof text);
	assert_string_equal(text, "WALLET_UPDATED CREDITED CUT_WARNING CUT_OFF ");
}

/* The last entry of the partition. */
static struct cg_ledger_entry_body last_entry(struct fixture *f)
{
	static struct cg_entry entries[8];
	struct cg_partition_op read = {.verb = CG_PARTITION_READ};

	read.partition = cg_store_partition_of(&company, PARTITIONS);
	read.in.read.entries = entries;
	read.in.read.entries_max = CG_COUNT_OF(entries);
	assert_int_equal(ask(f, &read), CG_OK);
	assert_true(read.out.read.count > 0);
	return entries[read.out.read.count - 1].body;
}

static void test_a_late_settle_corrects_what_was_assumed(void **state)
{
	struct fixture *f = *state;
	struct cg_store_op op = {.verb = CG_STORE_SETTLE, .asked = true};
	char text[256];

	prepare(f);
	credit(f, 5000000);
	op.known_epoch = 1;
	op.in.settle = (struct cg_store_settle_in){
	    .call_id = CG_VIEW_LITERAL("call-1"),
	    .resource_type = CG_VIEW_LITERAL("voice_outbound"),
	    .duration_ms = 60000,
	    .basis = CG_BASIS_REPORTED,
	    .has_price = true,
	    .price = {.rate_per_minute = {90000}, .increment_ms = 1000},
	    .is_assumed = true,
	    .assumed_cost = {180000},
	    .assumed_billed_ms = 120000,
	};
	assert_int_equal(call(f, &op), CG_OK);
	assert_int_equal(op.outcome, CG_STORE_DONE);
	assert_true(op.out.settle.is_correction);
	assert_int_equal(op.out.settle.cost.micros, 90000);
	assert_int_equal(op.out.settle.corrected.micros, -90000);
	assert_int_equal(op.out.settle.balance.micros, 5090000);

	struct cg_ledger_entry_body body = last_entry(f);
	assert_int_equal(body.type, CG_ENTRY_ADJUSTMENT);
	assert_true(body.is_correction);
	assert_int_equal(body.amount.micros, 90000);
	assert_int_equal(body.quantity, -60000);
	assert_int_equal(body.billed_ms, 60000);
	assert_int_equal(body.available.micros, 5090000);
	(void)read_types(f, 16, text, sizeof text);
	assert_string_equal(text, "WALLET_UPDATED CREDITED CALL_CORRECTED ");
}

static void test_shadow_mode_says_what_it_would_have_spared(void **state)
{
	struct fixture *f = *state;
	struct cg_store_op op;
	char text[256];

	prepare(f);
	init_authorize(&op, CG_VIEW_LITERAL("call-1"));
	op.terms.version = 2;
	op.terms.shadow = true;
	assert_int_equal(call(f, &op), CG_OK);
	assert_int_equal(op.out.authorize.decision, CG_DECISION_ALLOWED);
	assert_int_equal(op.out.authorize.shadow_decision, CG_DECISION_INSUFFICIENT_FUNDS);
	settle(f, 60000, 90000);

	struct cg_ledger_entry_body body = last_entry(f);
	assert_int_equal(body.type, CG_ENTRY_USAGE);
	assert_true(body.has_shadow);
	assert_int_equal(body.shadow_decision, CG_DECISION_INSUFFICIENT_FUNDS);
	assert_int_equal(body.shadow_saved.micros, 90000);
	(void)read_types(f, 16, text, sizeof text);
	assert_non_null(strstr(text, "CALL_SETTLED"));
}

static void test_a_position_of_another_history_is_out_of_range(void **state)
{
	struct fixture *f = *state;
	struct cg_event events[4];
	struct cg_events_op op = {.verb = CG_EVENTS_READ};

	prepare(f);
	op.in.read.events = events;
	op.in.read.events_max = CG_COUNT_OF(events);
	assert_int_equal(ask_events(f, &op), CG_OUT_OF_RANGE);
	assert_true(op.now_ms > INT64_C(1600000000000));
	op.in.read.after = (struct cg_position){.event = {9, 1}, .entry = {9, 1}};
	assert_int_equal(ask_events(f, &op), CG_OUT_OF_RANGE);
	assert_int_equal(f->refused, 0);
}

static void test_a_tick_under_another_epoch_is_told(void **state)
{
	struct fixture *f = *state;
	struct cg_partition_port *port = NULL;
	struct cg_events_port *events = NULL;
	struct cg_events_op tick = {.verb = CG_EVENTS_TICK};

	prepare(f);
	port = cg_store_partition_port(f->store);
	events = cg_store_events_port(f->store);
	port->set_epoch(port, cg_store_partition_of(&company, PARTITIONS), 2);
	assert_int_equal(ask_events(f, &tick), CG_RECOVERING);
	assert_int_equal(f->refused, 1);
	assert_int_equal(f->refused_partition, tick.partition);
	assert_int_equal(events->epoch(events, tick.partition), 0);
}

#define REDIS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    REDIS_TEST(test_from_a_fresh_store_to_a_settled_call),
	    REDIS_TEST(test_a_refused_epoch_is_told_once),
	    REDIS_TEST(test_servers_that_will_not_do_are_refused),
	    REDIS_TEST(test_a_store_that_was_killed_is_another_history),
	    REDIS_TEST(test_a_library_that_vanished_is_loaded_again),
	    REDIS_TEST(test_a_flushed_store_refuses_what_it_knew),
	    REDIS_TEST(test_what_happened_is_read_in_its_order),
	    REDIS_TEST(test_a_tick_cuts_off_at_the_end_of_the_money),
	    REDIS_TEST(test_a_late_settle_corrects_what_was_assumed),
	    REDIS_TEST(test_shadow_mode_says_what_it_would_have_spared),
	    REDIS_TEST(test_a_position_of_another_history_is_out_of_range),
	    REDIS_TEST(test_a_tick_under_another_epoch_is_told),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	cg_log_set_level(CG_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
