/* SPDX-License-Identifier: Apache-2.0 */
#include "turn.h"

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

struct count {
	struct cg_loop *loop;
	struct cg_timer *timer;
	struct cg_hook *hook;
	struct cg_watch *watch;
	unsigned fired;
	unsigned events;
	unsigned wanted;
	int fd;
};

static bool reached(void *arg)
{
	struct count *c = arg;

	return c->fired >= c->wanted;
}

static int set_up(void **state)
{
	*state = cg_loop_create();
	return 0;
}

static int tear_down(void **state)
{
	cg_loop_destroy(*state);
	return 0;
}

static void on_count(void *owner)
{
	struct count *c = owner;

	c->fired++;
}

static void test_a_timer_fires_once_and_not_before_its_time(void **state)
{
	struct cg_loop *loop = *state;
	struct count c = {.wanted = 1};
	struct cg_timer *timer = cg_timer_create(loop, on_count, &c);
	uint64_t begin_ns = cg_loop_clock_ns();

	assert_false(cg_timer_is_running(timer));
	cg_timer_start(timer, 20);
	assert_true(cg_timer_is_running(timer));
	assert_int_equal(c.fired, 0);
	assert_true(turn_until(loop, reached, &c, 2000));
	assert_true(cg_loop_clock_ns() - begin_ns >= 19 * UINT64_C(1000000));
	assert_false(cg_timer_is_running(timer));
	turn_for(loop, 40);
	assert_int_equal(c.fired, 1);
	cg_timer_close(timer);
}

static void test_a_timer_started_again_moves_and_a_cancelled_one_is_silent(void **state)
{
	struct cg_loop *loop = *state;
	struct count c = {.wanted = 1};
	struct cg_timer *timer = cg_timer_create(loop, on_count, &c);

	cg_timer_start(timer, 1);
	cg_timer_start(timer, 60000);
	turn_for(loop, 20);
	assert_int_equal(c.fired, 0);
	cg_timer_start(timer, 1);
	cg_timer_cancel(timer);
	turn_for(loop, 20);
	assert_int_equal(c.fired, 0);
	cg_timer_start(timer, 0);
	assert_int_equal(c.fired, 0);
	assert_true(turn_until(loop, reached, &c, 2000));
	cg_timer_start(timer, 0);
	cg_timer_close(timer);
	turn_for(loop, 5);
	assert_int_equal(c.fired, 1);
}

static void on_again(void *owner)
{
	struct count *c = owner;

	c->fired++;
	cg_timer_start(c->timer, 0);
}

static void test_a_timer_that_restarts_itself_for_now_lets_others_run(void **state)
{
	struct cg_loop *loop = *state;
	struct count c = {.wanted = 5};

	c.timer = cg_timer_create(loop, on_again, &c);
	cg_timer_start(c.timer, 0);
	/* The hook inside turn_until() is one of the others. */
	assert_true(turn_until(loop, reached, &c, 2000));
	cg_timer_close(c.timer);
}

static void *send_many(void *arg)
{
	for (int i = 0; i < 1000; i++) {
		cg_wake_send(arg);
	}
	return NULL;
}

static void test_wakes_of_another_thread_arrive_and_coalesce(void **state)
{
	struct cg_loop *loop = *state;
	struct count c = {.wanted = 1};
	struct cg_wake *wake = cg_wake_create(loop, on_count, &c);
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, send_many, wake), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(c.fired, 0);
	assert_true(turn_until(loop, reached, &c, 2000));
	assert_int_equal(c.fired, 1);

	/* One sent while the loop sleeps ends its sleep. */
	c.wanted = 2;
	assert_int_equal(pthread_create(&thread, NULL, send_many, wake), 0);
	assert_true(turn_until(loop, reached, &c, 2000));
	assert_int_equal(pthread_join(thread, NULL), 0);

	cg_wake_send(wake);
	unsigned before = c.fired;
	cg_wake_close(wake);
	turn_for(loop, 5);
	assert_int_equal(c.fired, before);
}

static void on_turn_ask(void *owner)
{
	struct count *c = owner;

	if (++c->fired < c->wanted) {
		cg_hook_request(c->hook);
	} else {
		cg_loop_stop(c->loop);
	}
}

static void on_too_late(void *owner)
{
	struct count *c = owner;

	c->events = 1;
	cg_loop_stop(c->loop);
}

static void test_a_requested_hook_runs_before_the_loop_sleeps(void **state)
{
	struct cg_loop *loop = *state;
	struct count c = {.wanted = 3, .loop = loop};
	struct cg_timer *limit = cg_timer_create(loop, on_too_late, &c);

	/* Nothing else would wake the loop before the timer does. */
	c.hook = cg_hook_create(loop, on_turn_ask, &c);
	cg_timer_start(limit, 2000);
	cg_loop_run(loop);
	assert_int_equal(c.fired, 3);
	assert_int_equal(c.events, 0);
	cg_timer_close(limit);
	cg_hook_close(c.hook);

	/* A hook is not a spin: a few turns, not thousands. */
	c = (struct count){.wanted = 1000000};
	c.hook = cg_hook_create(loop, on_count, &c);
	turn_for(loop, 20);
	assert_true(c.fired < 60); /* turn_for() has a timer of 1 ms */
	cg_hook_close(c.hook);
}

static void on_turn_until(void *owner)
{
	struct count *c = owner;

	if (++c->fired == c->wanted) {
		cg_loop_stop(c->loop);
	}
}

static void test_a_loop_that_is_kept_awake_does_not_sleep(void **state)
{
	struct cg_loop *loop = *state;
	struct count c = {.wanted = 100, .loop = loop};
	struct cg_timer *limit = cg_timer_create(loop, on_too_late, &c);

	/* Nothing happens, and nothing is due for two seconds. */
	c.hook = cg_hook_create(loop, on_turn_until, &c);
	cg_timer_start(limit, 2000);
	cg_loop_keep_awake(loop);
	cg_loop_run(loop);
	assert_int_equal(c.fired, 100);
	assert_int_equal(c.events, 0);
	cg_timer_close(limit);
	cg_hook_close(c.hook);
}

static void on_ready(void *owner, unsigned events)
{
	struct count *c = owner;
	char byte;

	c->fired++;
	c->events |= events;
	if ((events & CG_WATCH_READ) != 0) {
		(void)!read(c->fd, &byte, 1);
	}
	if (c->fired >= c->wanted) {
		cg_watch_set(c->watch, 0);
	}
}

static void test_a_watch_tells_what_was_asked_and_nothing_else(void **state)
{
	struct cg_loop *loop = *state;
	struct count c = {.wanted = 1};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	c.fd = pair[0];
	c.watch = cg_watch_create(loop, pair[0], on_ready, &c);
	assert_int_equal(write(pair[1], "abc", 3), 3);
	turn_for(loop, 10);
	assert_int_equal(c.fired, 0);

	cg_watch_set(c.watch, CG_WATCH_READ);
	assert_true(turn_until(loop, reached, &c, 2000));
	assert_int_equal(c.events, CG_WATCH_READ);

	c.events = 0;
	c.wanted = 2;
	cg_watch_set(c.watch, CG_WATCH_WRITE);
	assert_true(turn_until(loop, reached, &c, 2000));
	assert_int_equal(c.events, CG_WATCH_WRITE);
	turn_for(loop, 10);
	assert_int_equal(c.fired, 2);

	cg_watch_set(c.watch, CG_WATCH_READ);
	cg_watch_close(c.watch);
	assert_int_equal(close(pair[0]), 0);
	turn_for(loop, 10);
	assert_int_equal(c.fired, 2);
	assert_int_equal(close(pair[1]), 0);
}

static void test_a_watch_tells_that_the_other_end_is_gone(void **state)
{
	struct cg_loop *loop = *state;
	struct count c = {.wanted = 1};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	c.fd = pair[0];
	c.watch = cg_watch_create(loop, pair[0], on_ready, &c);
	cg_watch_set(c.watch, CG_WATCH_READ);
	/* Unread bytes make it a reset. */
	assert_int_equal(write(pair[0], "abc", 3), 3);
	assert_int_equal(close(pair[1]), 0);
	assert_true(turn_until(loop, reached, &c, 2000));
	assert_true((c.events & CG_WATCH_READ) != 0);
	cg_watch_close(c.watch);
	assert_int_equal(close(pair[0]), 0);
}

static void test_a_signal_arrives_on_the_loop(void **state)
{
	struct cg_loop *loop = *state;
	struct count c = {.wanted = 1};
	struct cg_signal *sig = cg_signal_create(loop, SIGUSR1, on_count, &c);

	assert_int_equal(raise(SIGUSR1), 0);
	assert_int_equal(c.fired, 0);
	assert_true(turn_until(loop, reached, &c, 2000));
	cg_signal_close(sig);
}

static void test_destroying_a_loop_closes_what_is_open(void **state)
{
	struct cg_loop *loop = cg_loop_create();
	struct count c = {0};

	(void)state;
	/* The leak checker is who looks here. */
	cg_timer_start(cg_timer_create(loop, on_count, &c), 1);
	cg_wake_send(cg_wake_create(loop, on_count, &c));
	(void)cg_hook_create(loop, on_count, &c);
	(void)cg_signal_create(loop, SIGUSR1, on_count, &c);
	cg_loop_destroy(loop);
	assert_int_equal(c.fired, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
	        test_a_timer_fires_once_and_not_before_its_time, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        test_a_timer_started_again_moves_and_a_cancelled_one_is_silent, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        test_a_timer_that_restarts_itself_for_now_lets_others_run, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        test_wakes_of_another_thread_arrive_and_coalesce, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        test_a_requested_hook_runs_before_the_loop_sleeps, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        test_a_loop_that_is_kept_awake_does_not_sleep, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        test_a_watch_tells_what_was_asked_and_nothing_else, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        test_a_watch_tells_that_the_other_end_is_gone, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_a_signal_arrives_on_the_loop, set_up, tear_down),
	    cmocka_unit_test(test_destroying_a_loop_closes_what_is_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
