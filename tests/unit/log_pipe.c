/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "base/base.h"
#include "log_pipe.h"

static int pipe_ends[2];

int log_pipe_open(void **state)
{
	(void)state;
	assert_int_equal(pipe(pipe_ends), 0);
	/* A test that expects a line and finds none fails, and does not wait for one. */
	assert_int_equal(fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK), 0);
	cg_log_set_descriptor(pipe_ends[1]);
	return 0;
}

int log_pipe_close(void **state)
{
	(void)state;
	cg_log_set_descriptor(STDERR_FILENO);
	return close(pipe_ends[0]) + close(pipe_ends[1]);
}

const char *log_pipe_said(void)
{
	static char text[65536]; /* A pipe holds no more. */
	ssize_t len = read(pipe_ends[0], text, sizeof text - 1);

	text[len > 0 ? len : 0] = '\0';
	return text;
}
