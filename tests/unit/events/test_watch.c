/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "fake_room.h"

#define ALL UINT32_MAX

static int set_up(void **state)
{
	static struct fake_room room;

	fake_room_init(&room);
	*state = &room;
	return 0;
}

static int tear_down(void **state)
{
	fake_room_deinit(*state);
	return 0;
}

struct wanted {
	const struct fake_client *client;
	unsigned told;
	unsigned beats;
};

static bool is_told(void *arg)
{
	const struct wanted *wanted = arg;

	return wanted->client->told >= wanted->told && wanted->client->beats >= wanted->beats;
}

static bool until_told(struct fake_room *room, const struct fake_client *client, unsigned told)
{
	struct wanted wanted = {.client = client, .told = told};

	return fake_room_until(room, is_told, &wanted);
}

static bool has_token(void *arg)
{
	return ((const struct fake_client *)arg)->token_len > 0;
}

static bool is_ended(void *arg)
{
	return ((const struct fake_client *)arg)->ends > 0;
}

static bool is_waiting(void *arg)
{
	return ((const struct fake_client *)arg)->is_waiting;
}

static void open_at_now(struct fake_room *room, struct fake_client *client, uint32_t n)
{
	fake_client_init(client);
	assert_int_equal(fake_client_open(client, room->events, n), CG_OK);
	assert_true(fake_room_until(room, has_token, client));
	assert_true(client->first_was_beat);
}

static void test_each_is_told_what_it_asked_for(void **state)
{
	struct fake_room *room = *state;
	struct fake_client all, one, credits;

	fake_room_up(room);
	fake_store_happen(&room->store, 1, CG_EVENT_CUT_OFF); /* Before anybody watched. */
	open_at_now(room, &all, ALL);
	open_at_now(room, &one, 1);
	fake_client_init(&credits);
	credits.in.types = 1u << CG_EVENT_CREDITED;
	assert_int_equal(fake_client_open(&credits, room->events, ALL), CG_OK);
	assert_true(fake_room_until(room, has_token, &credits));
	fake_client_begin_at(&all, &room->store);
	fake_client_begin_at(&one, &room->store);

	for (unsigned i = 0; i < 30; i++) {
		fake_store_happen(
		    &room->store, i % 3, i % 2 == 0 ? CG_EVENT_CUT_OFF : CG_EVENT_CREDITED);
	}
	assert_true(until_told(room, &all, 30));
	assert_true(until_told(room, &one, 10));
	assert_true(until_told(room, &credits, 15));
	fake_room_for(room, 50);
	assert_int_equal(all.told, 30);
	assert_int_equal(one.told, 10);
	assert_int_equal(credits.told, 15);
	assert_int_equal(all.disorder + one.disorder + credits.disorder, 0);
	assert_true(all.as_of_ms >= FAKE_CLOCK_MS);
	/* What is told last has a token up to there. */
	assert_memory_equal(all.saved, all.numbers, 3 * sizeof all.numbers[0]);
	assert_memory_equal(one.saved, one.numbers, 3 * sizeof one.numbers[0]);
	assert_int_equal(cg_events_counts(room->events).watchers, 3);
	fake_client_close(&all);
	fake_client_close(&one);
	fake_client_close(&credits);
	assert_int_equal(cg_events_counts(room->events).watchers, 0);
	fake_client_deinit(&all);
	fake_client_deinit(&one);
	fake_client_deinit(&credits);
}

/* Long before the next beat of the ticker. */
static void test_a_poke_is_heard_at_once(void **state)
{
	struct fake_room *room = *state;
	struct fake_client client;

	room->config.tick_ms = 60000;
	fake_room_up(room);
	open_at_now(room, &client, ALL);
	unsigned reads = room->store.parts[fake_partition(5)].reads;
	for (unsigned i = 0; i < 50; i++) {
		fake_store_happen(&room->store, 5, CG_EVENT_CUT_OFF);
		cg_events_poke(room->events, fake_partition(5));
	}
	uint64_t begin_ns = cg_loop_clock_ns();
	assert_true(until_told(room, &client, 50));
	assert_true(cg_loop_clock_ns() - begin_ns < UINT64_C(1000000000));
	assert_in_range(room->store.parts[fake_partition(5)].reads, reads + 1, reads + 2);
	fake_client_close(&client);
	fake_client_deinit(&client);
}

static void test_heartbeats_come_at_once_and_then_regularly(void **state)
{
	struct fake_room *room = *state;
	struct fake_client client;

	room->config.heartbeat_ms = 40;
	for (uint32_t i = 0; i < FAKE_PARTITIONS; i++) {
		room->store.parts[i].is_away = true; /* Where now is cannot be told yet. */
	}
	fake_room_up(room);
	fake_client_init(&client);
	assert_int_equal(fake_client_open(&client, room->events, ALL), CG_OK);
	struct wanted wanted = {.client = &client, .beats = 4};
	assert_true(fake_room_until(room, is_told, &wanted));
	assert_int_equal(client.token_len, 0);
	for (uint32_t i = 0; i < FAKE_PARTITIONS; i++) {
		room->store.parts[i].is_away = false;
	}
	assert_true(fake_room_until(room, has_token, &client));
	/* After the token nothing is missed. */
	fake_client_begin_at(&client, &room->store);
	unsigned told = client.told;
	fake_store_happen(&room->store, 3, CG_EVENT_CUT_OFF);
	assert_true(until_told(room, &client, told + 1));
	unsigned beats = client.beats;
	fake_room_for(room, 400);
	assert_in_range(client.beats - beats, 4, 11);
	fake_client_close(&client);
	fake_client_deinit(&client);
}

/* Its message stays under way while the others go on, and what is kept remains bounded. */
static void test_a_slow_watcher_is_ended_and_others_go_on(void **state)
{
	struct fake_room *room = *state;
	struct fake_client lazy, stuck, fast;
	unsigned most = 0;

	room->config.kept_max = 100;
	room->config.slow_ms = 400;
	fake_room_up(room);
	open_at_now(room, &lazy, ALL);
	open_at_now(room, &stuck, 1);
	open_at_now(room, &fast, ALL);
	lazy.is_lazy = true;
	stuck.is_lazy = true;
	while (most < 500) {
		for (unsigned i = 0; i < 50; i++) {
			fake_store_happen(&room->store, i % 4, CG_EVENT_CUT_OFF);
		}
		most += 50;
		assert_true(until_told(room, &fast, most));
	}
	assert_int_equal(fast.disorder, 0);
	assert_int_equal(fast.ends + lazy.ends + stuck.ends, 0);
	/* It comes for the next, which is gone. */
	assert_true(lazy.is_waiting);
	fake_client_take(&lazy);
	assert_true(fake_room_until(room, is_ended, &lazy));
	assert_int_equal(lazy.why, CG_WATCH_END_TOO_SLOW);
	assert_int_equal(lazy.told, 1);
	/* It never comes. */
	assert_true(fake_room_until(room, is_ended, &stuck));
	assert_int_equal(stuck.why, CG_WATCH_END_TOO_SLOW);
	assert_int_equal(fast.ends, 0);
	assert_int_equal(cg_events_counts(room->events).watchers_too_slow, 2);
	/* With its last token nothing is lost. */
	lazy.is_lazy = false;
	assert_int_equal(fake_client_open(&lazy, room->events, ALL), CG_OK);
	assert_true(until_told(room, &lazy, 1 + 500));
	assert_int_equal(lazy.disorder, 0);
	fake_client_close(&lazy);
	fake_client_close(&fast);
	fake_client_deinit(&lazy);
	fake_client_deinit(&stuck);
	fake_client_deinit(&fast);
}

static void test_a_position_that_is_not_kept_ends_those_who_follow_it(void **state)
{
	struct fake_room *room = *state;
	struct fake_client all, one, other, neighbour;
	uint32_t elsewhere = 2;

	while (fake_partition(elsewhere) == fake_partition(1)) {
		elsewhere++;
	}
	fake_room_up(room);
	open_at_now(room, &all, ALL);
	open_at_now(room, &one, 1);
	open_at_now(room, &other, elsewhere);
	open_at_now(room, &neighbour, 1);
	all.reopens_in_end = true;
	one.closes_in_end = &neighbour;
	/* Unread, and gone. */
	for (unsigned i = 0; i < 20; i++) {
		fake_store_happen(&room->store, 1, CG_EVENT_CUT_OFF);
	}
	fake_store_trim(&room->store, fake_partition(1), 5);
	assert_true(fake_room_until(room, is_ended, &one));
	assert_int_equal(one.why, CG_WATCH_END_TOO_OLD);
	assert_true(fake_room_until(room, has_token, &all));
	assert_null(neighbour.watcher);
	assert_int_equal(neighbour.ends, 0);
	assert_int_equal(other.ends, 0);
	/* Who came back is told what happens from now on. */
	fake_client_begin_at(&all, &room->store);
	fake_store_happen(&room->store, 1, CG_EVENT_CUT_OFF);
	fake_store_happen(&room->store, elsewhere, CG_EVENT_CUT_OFF);
	assert_true(until_told(room, &all, 2));
	assert_true(until_told(room, &other, 1));
	assert_int_equal(all.disorder + other.disorder, 0);
	fake_client_close(&all);
	fake_client_close(&other);
	fake_client_deinit(&all);
	fake_client_deinit(&one);
	fake_client_deinit(&other);
	fake_client_deinit(&neighbour);
}

static void test_closing_where_one_is_told_is_safe(void **state)
{
	struct fake_room *room = *state;
	struct fake_client client, held;

	fake_room_up(room);
	open_at_now(room, &held, ALL);
	held.is_lazy = true;
	fake_store_happen(&room->store, 1, CG_EVENT_CUT_OFF);
	assert_true(fake_room_until(room, is_waiting, &held));
	open_at_now(room, &client, ALL);
	client.closes_in_deliver = true;
	fake_store_happen(&room->store, 1, CG_EVENT_CUT_OFF);
	client.in.types = 1; /* The numbers before are not its own. */
	assert_true(until_told(room, &client, 1));
	assert_null(client.watcher);
	/* With a message under way, too. */
	fake_client_close(&held);
	assert_int_equal(cg_events_counts(room->events).watchers, 0);
	fake_client_deinit(&client);
	fake_client_deinit(&held);
}

static void test_limits_and_bad_tokens_are_answers(void **state)
{
	struct fake_room *room = *state;
	struct fake_client a, b, c;

	room->config.watchers_max = 2;
	fake_room_up(room);
	open_at_now(room, &a, ALL);
	open_at_now(room, &b, 1);
	fake_client_init(&c);
	assert_int_equal(fake_client_open(&c, room->events, 2), CG_FULL);
	fake_client_close(&b);
	memcpy(c.token, "nonsense", 8);
	c.token_len = 8;
	assert_int_equal(fake_client_open(&c, room->events, 2), CG_INVALID);
	/* That of one company is not enough for all. */
	memcpy(c.token, b.token, b.token_len);
	c.token_len = b.token_len;
	assert_int_equal(fake_client_open(&c, room->events, ALL), CG_INVALID);
	c.token_len = 0;
	assert_int_equal(fake_client_open(&c, room->events, 2), CG_OK);
	cg_events_end_watchers(room->events);
	assert_int_equal(a.why, CG_WATCH_END_CLOSING);
	assert_int_equal(a.ends + c.ends, 2);
	assert_int_equal(fake_client_open(&b, room->events, 2), CG_CLOSING);
	fake_client_deinit(&a);
	fake_client_deinit(&b);
	fake_client_deinit(&c);
}

#define MANY 5000

struct crowd {
	struct fake_client *clients;
	uint32_t count;
	unsigned each;
};

static bool crowd_is_told(void *arg)
{
	const struct crowd *crowd = arg;

	for (uint32_t i = 0; i < crowd->count; i++) {
		if (crowd->clients[i].token_len == 0 || crowd->clients[i].told < crowd->each) {
			return false;
		}
	}
	return true;
}

static void test_five_thousand_watch_a_thousand_companies(void **state)
{
	struct fake_room *room = *state;
	struct crowd crowd = {.clients = calloc(MANY, sizeof *crowd.clients), .count = MANY};

	fake_room_up(room);
	for (uint32_t i = 0; i < MANY; i++) {
		fake_client_init(&crowd.clients[i]);
		assert_int_equal(
		    fake_client_open(&crowd.clients[i], room->events, i % 1000), CG_OK);
	}
	assert_true(fake_room_until(room, crowd_is_told, &crowd));
	uint64_t begin_ns = cg_loop_clock_ns();
	for (unsigned round = 0; round < 4; round++) {
		for (uint32_t n = 0; n < 1000; n++) {
			fake_store_happen(&room->store, n, CG_EVENT_CUT_OFF);
		}
		crowd.each++;
		assert_true(fake_room_until(room, crowd_is_told, &crowd));
	}
	print_message("20000 deliveries of 4000 events to 5000 watchers: %u ms\n",
	    (unsigned)((cg_loop_clock_ns() - begin_ns) / 1000000));
	for (uint32_t i = 0; i < MANY; i++) {
		assert_int_equal(crowd.clients[i].told, 4);
		assert_int_equal(crowd.clients[i].disorder, 0);
		fake_client_close(&crowd.clients[i]);
		fake_client_deinit(&crowd.clients[i]);
	}
	free(crowd.clients);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_each_is_told_what_it_asked_for),
	    TEST(test_a_poke_is_heard_at_once),
	    TEST(test_heartbeats_come_at_once_and_then_regularly),
	    TEST(test_a_slow_watcher_is_ended_and_others_go_on),
	    TEST(test_a_position_that_is_not_kept_ends_those_who_follow_it),
	    TEST(test_closing_where_one_is_told_is_safe),
	    TEST(test_limits_and_bad_tokens_are_answers),
	    TEST(test_five_thousand_watch_a_thousand_companies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
