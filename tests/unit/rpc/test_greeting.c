/*
 * Who has greeted comes in in turn, however long that takes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/connections.h"
#include "rpc/greeting.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

/* The last of them waits for longer than somebody may take who says nothing. */
#define CROWD     1400
#define CROWD_MAX (2 * CROWD)

struct fixture {
	struct cg_loop *loop;
	struct cg_hook *hook;
	struct cg_greetings greetings;
	int fds[CROWD_MAX]; /* theirs and ours, in turn */
	uint32_t fd_count;
	int came_in[CROWD_MAX];
	uint32_t came_in_count;
	uint32_t wanted_count;
	int crowd[CROWD];
	uint32_t crowd_count;
	bool is_crowded;
};

static struct fixture fixture;

static void on_greeted(struct cg_rpc_door *door, int fd)
{
	(void)door;
	fixture.came_in[fixture.came_in_count++] = fd;
	if (fixture.came_in_count == fixture.wanted_count) {
		cg_loop_stop(fixture.loop);
	}
}

static void on_rubbish(struct cg_rpc_door *door)
{
	(void)door;
	fail();
}

/* Returns the descriptor by which it comes. */
static int greet(struct fixture *f, bool is_ours)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(write(pair[1], PREFACE, sizeof PREFACE - 1), sizeof PREFACE - 1);
	f->fds[f->fd_count++] = pair[1];
	cg_greetings_wait(
	    &f->greetings, NULL, &(struct cg_guest){.fd = pair[0], .is_ours = is_ours});
	return pair[0];
}

static void join(struct fixture *f)
{
	f->crowd[f->crowd_count++] = greet(f, false);
}

static void on_turn(void *owner)
{
	(void)owner;
	/* There may be room by now, and others have waited for it. */
	if (fixture.is_crowded && fixture.crowd_count < CROWD) {
		join(&fixture);
	}
	cg_greetings_look(&fixture.greetings);
	cg_hook_request(fixture.hook);
	/* Whoever was closed instead never comes. */
	if (cg_list_is_empty(&fixture.greetings.waiting)) {
		cg_loop_stop(fixture.loop);
	}
}

static int set_up(void **state)
{
	struct rlimit descriptors;

	/* Usually 1024, where one may have more. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &descriptors), 0);
	descriptors.rlim_cur = descriptors.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &descriptors), 0);
	fixture = (struct fixture){0};
	fixture.loop = cg_loop_create();
	fixture.hook = cg_hook_create(fixture.loop, on_turn, NULL);
	cg_greetings_init(&fixture.greetings, fixture.loop);
	fixture.greetings.on_greeted = on_greeted;
	fixture.greetings.on_rubbish = on_rubbish;
	*state = &fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	cg_greetings_close(&f->greetings);
	cg_hook_close(f->hook);
	cg_loop_destroy(f->loop);
	for (uint32_t i = 0; i < f->fd_count; i++) {
		(void)close(f->fds[i]);
	}
	return 0;
}

static void test_all_come_in_and_in_turn(void **state)
{
	struct fixture *f = *state;
	uint64_t begun_ms = cg_loop_now_ms(f->loop);

	while (f->crowd_count < CROWD - 50) {
		join(f);
	}
	assert_true(f->came_in_count > 0 && f->came_in_count < 100);
	f->is_crowded = true;
	f->wanted_count = CROWD;
	cg_loop_run(f->loop);
	assert_int_equal(f->came_in_count, CROWD);
	assert_memory_equal(f->came_in, f->crowd, sizeof f->crowd);
	assert_true(cg_loop_now_ms(f->loop) > begun_ms + CG_GREETING_MAX_MS);
	for (uint32_t i = 0; i < CROWD; i++) {
		(void)close(f->crowd[i]);
	}
}

static void test_who_is_of_this_process_does_not_wait(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 0; i < 100; i++) {
		(void)greet(f, false);
	}
	uint32_t before = f->came_in_count;
	int ours = greet(f, true);
	assert_int_equal(f->came_in_count, before + 1);
	assert_int_equal(f->came_in[before], ours);
	for (uint32_t i = 0; i < f->came_in_count; i++) {
		(void)close(f->came_in[i]);
	}
}

/* How many of them come in within so many milliseconds. */
static uint32_t come_in_within(struct fixture *f, uint64_t ms)
{
	uint64_t begun_ms = cg_loop_now_ms(f->loop);

	while (f->crowd_count < CROWD) {
		join(f);
	}
	uint32_t before = f->came_in_count;
	while (cg_loop_now_ms(f->loop) < begun_ms + ms) {
		f->wanted_count = f->came_in_count + 1;
		cg_loop_run(f->loop);
	}
	return f->came_in_count - before;
}

static void test_where_there_is_much_to_do_newcomers_come_in_more_slowly(void **state)
{
	struct fixture *f = *state;

	f->greetings.is_busy = true;
	uint32_t busy = come_in_within(f, 400);
	/* One comes in all the same, and as many as before as soon as there is less to do. */
	assert_in_range(busy, 1, 400 / 16 + 4);
	f->greetings.is_busy = false;
	assert_true(come_in_within(f, 400) > 2 * busy);
	for (uint32_t i = 0; i < f->came_in_count; i++) {
		(void)close(f->came_in[i]);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_all_come_in_and_in_turn, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        test_who_is_of_this_process_does_not_wait, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        test_where_there_is_much_to_do_newcomers_come_in_more_slowly, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
