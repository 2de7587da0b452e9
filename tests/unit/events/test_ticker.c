/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_room.h"

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

static bool all_attended(void *arg)
{
	const struct fake_room *room = arg;

	for (uint32_t i = 0; i < room->store.wallet_count; i++) {
		if (room->store.wallets[i].at_ms != 0) {
			return false;
		}
	}
	return true;
}

static bool all_ticked(void *arg)
{
	const struct fake_room *room = arg;

	for (uint32_t i = 0; i < FAKE_PARTITIONS; i++) {
		if (room->store.parts[i].ticks == 0) {
			return false;
		}
	}
	return true;
}

/* It sleeps until then: nothing is asked in between, and nothing is late by the long tick_ms. */
static void test_a_wallet_is_attended_to_when_it_is_due(void **state)
{
	struct fake_room *room = *state;
	struct fake_part *part = &room->store.parts[fake_partition(7)];

	room->config.tick_ms = 1000;
	fake_room_up(room);
	/* Learned by the first tick or, just before a beat, by the next. */
	fake_store_due(&room->store, 7, 70);
	int64_t due_at_ms = room->store.wallets[0].at_ms;
	assert_true(fake_room_until(room, all_attended, room));
	assert_true(room->store.wallets[0].attended_at_ms >= due_at_ms);
	assert_true(room->store.wallets[0].attended_at_ms <= due_at_ms + 50);
	/* It asked at the start, maybe at a beat, and then when the wallet was due. */
	assert_in_range(part->ticks, 2, 5);
	assert_int_equal(cg_events_counts(room->events).wallets_attended, 1);
}

static void test_an_idle_partition_is_asked_once_per_beat(void **state)
{
	struct fake_room *room = *state;

	room->config.tick_ms = 50;
	fake_room_up(room);
	fake_room_for(room, 500);
	for (uint32_t i = 0; i < FAKE_PARTITIONS; i++) {
		assert_in_range(room->store.parts[i].ticks, 3, 12);
		assert_int_equal(room->store.parts[i].reads, 0); /* Nobody watches. */
	}
	assert_int_equal(room->store.ticks_most, 1);
}

/* Their functions one after the other would keep the store from everybody else. */
static void test_partitions_are_not_ticked_all_at_once(void **state)
{
	struct fake_room *room = *state;

	room->config.tick_ms = 100;
	fake_room_up(room);
	fake_room_for(room, 1000);
	assert_in_range(room->store.ticks, 20, 60);
	assert_true(room->store.ticks_beside < room->store.ticks / 2);
}

static void test_more_than_one_tick_can_name_is_done_at_once(void **state)
{
	struct fake_room *room = *state;

	room->config.tick_ms = 10000;
	for (uint32_t n = 0; room->store.wallet_count < 200; n++) {
		if (fake_partition(n) == 0) {
			fake_store_due(&room->store, n, -5);
		}
	}
	fake_room_up(room);
	assert_true(fake_room_until(room, all_attended, room));
	assert_int_equal(cg_events_counts(room->events).wallets_attended, 200);
	assert_int_equal(room->store.ticks_most, 1);
	/* Without a pause in between, as far as the machine has the time. */
	int64_t least_ms = INT64_MAX;
	for (uint32_t i = 1; i < 200; i++) {
		int64_t pause_ms = room->store.wallets[i].attended_at_ms -
		    room->store.wallets[i - 1].attended_at_ms;
		if (pause_ms > 0 && pause_ms < least_ms) {
			least_ms = pause_ms;
		}
	}
	assert_true(least_ms <= 8 || least_ms == INT64_MAX);
}

/* What is due and cannot be done does not become a busy loop, nor does it delay the others. */
static void test_due_wallets_that_are_stuck_starve_nothing(void **state)
{
	struct fake_room *room = *state;
	struct fake_part *stuck = &room->store.parts[fake_partition(1)];

	room->config.tick_ms = 50;
	stuck->is_stuck = true;
	fake_store_due(&room->store, 1, -5);
	fake_room_up(room);
	fake_room_for(room, 300);
	assert_in_range(stuck->ticks, 4, 60);
	stuck->is_stuck = false;
	assert_true(fake_room_until(room, all_attended, room));
}

static void test_a_partition_that_is_not_served_is_only_looked_at(void **state)
{
	struct fake_room *room = *state;
	struct fake_part *part = &room->store.parts[fake_partition(7)];

	part->is_away = true;
	fake_store_due(&room->store, 7, -5);
	fake_room_up(room);
	fake_room_for(room, 100);
	assert_int_equal(part->ticks, 0);
	part->is_away = false;
	assert_true(fake_room_until(room, all_attended, room));
}

static void test_trouble_backs_off_to_the_beat(void **state)
{
	struct fake_room *room = *state;

	room->config.tick_ms = 50;
	room->store.tick_status = CG_TIMEOUT;
	fake_store_due(&room->store, 7, -5);
	fake_room_up(room);
	fake_room_for(room, 400);
	assert_in_range(room->store.parts[fake_partition(7)].ticks, 2, 9);
	room->store.tick_status = CG_OK;
	assert_true(fake_room_until(room, all_attended, room));
}

static void test_closing_while_ticks_are_under_way(void **state)
{
	struct fake_room *room = *state;

	room->store.latency_ms = 10000;
	fake_room_up(room);
	assert_true(fake_room_until(room, all_ticked, room));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_a_wallet_is_attended_to_when_it_is_due),
	    TEST(test_an_idle_partition_is_asked_once_per_beat),
	    TEST(test_partitions_are_not_ticked_all_at_once),
	    TEST(test_more_than_one_tick_can_name_is_done_at_once),
	    TEST(test_due_wallets_that_are_stuck_starve_nothing),
	    TEST(test_a_partition_that_is_not_served_is_only_looked_at),
	    TEST(test_trouble_backs_off_to_the_beat),
	    TEST(test_closing_while_ticks_are_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
