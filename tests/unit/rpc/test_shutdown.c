/*
 * The end of gRPC: with nothing of it left, and with something that does not end.
 *
 * Each in a process of its own: gRPC ends once, and no process forks that has used it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>

#include "rpc/shutdown.h"

#define PATIENCE_MS 60000
#define BOUND_MS    200

/* What a child says of its end. */
#define ENDED    10
#define LEFT     11
#define TOO_SOON 12

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What became of it in another process. */
static int outcome_of(int (*body)(void))
{
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		(void)alarm(PATIENCE_MS / 1000);
		_exit(body());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int end_unused(void)
{
	return cg_rpc_shutdown(PATIENCE_MS) ? ENDED : LEFT;
}

static int end_used(void)
{
	grpc_init();
	grpc_completion_queue *queue = grpc_completion_queue_create_for_next(NULL);
	grpc_completion_queue_shutdown(queue);
	while (grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).type !=
	    GRPC_QUEUE_SHUTDOWN) {
	}
	grpc_completion_queue_destroy(queue);
	return cg_rpc_shutdown(PATIENCE_MS) ? ENDED : LEFT;
}

static void ignore(gpr_log_func_args *line)
{
	(void)line;
}

/* Called by whatever thread of gRPC's ends something: that never does. */
static void stay(gpr_log_func_args *line)
{
	(void)line;
	for (;;) {
		(void)pause();
	}
}

static int end_with_something_that_stays(void)
{
	/* gRPC then logs each step of ending its threads. */
	(void)setenv("GRPC_VERBOSITY", "DEBUG", 1);
	(void)setenv("GRPC_TRACE", "executor", 1);
	gpr_set_log_function(ignore);
	grpc_init();
	gpr_set_log_function(stay);
	int64_t begun_ms = now_ms();
	bool is_over = cg_rpc_shutdown(BOUND_MS);
	if (now_ms() - begun_ms < BOUND_MS) {
		return TOO_SOON;
	}
	return is_over ? ENDED : LEFT;
}

static void test_what_was_never_used_has_ended(void **state)
{
	(void)state;
	assert_int_equal(outcome_of(end_unused), ENDED);
}

static void test_nothing_is_left_where_nothing_is_under_way(void **state)
{
	(void)state;
	assert_int_equal(outcome_of(end_used), ENDED);
}

static void test_what_does_not_end_is_left_behind_in_time(void **state)
{
	(void)state;
	assert_int_equal(outcome_of(end_with_something_that_stays), LEFT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_was_never_used_has_ended),
	    cmocka_unit_test(test_nothing_is_left_where_nothing_is_under_way),
	    cmocka_unit_test(test_what_does_not_end_is_left_behind_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
