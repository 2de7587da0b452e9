/*
 * What the room under test logs, as its tests read it: setup and teardown of one, and what was
 * said.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_TESTS_LOG_PIPE_H
#define CG_TESTS_LOG_PIPE_H

/* From here on lines go where log_pipe_said() finds them, not to stderr. */
int log_pipe_open(void **state);
int log_pipe_close(void **state);

/* The lines since the last time, "" where there are none; valid until the next time. */
const char *log_pipe_said(void);

#endif /* CG_TESTS_LOG_PIPE_H */
