/*
 * One line of logfmt per event worth an operator's eye: start, stop, a connection that
 * changed, a refusal by limit.  Never a secret, never a payload.
 *
 *   cg_log(CG_LOG_INFO, "store connected", "address", address, "attempt", "3", NULL);
 *   -> at=2026-11-22T09:48:13.123Z level=info msg="store connected" address=... attempt=3
 *
 * Any thread may log; a line is one write().
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BASE_LOG_H
#define CG_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum cg_log_level {
	CG_LOG_DEBUG,
	CG_LOG_INFO,
	CG_LOG_WARN,
	CG_LOG_ERROR,
};

/* Nothing below `level` is written; CG_LOG_INFO unless set. */
void cg_log_set_level(enum cg_log_level level);

/* Whether a line of this level is written at all: where making it costs something. */
bool cg_log_is_on(enum cg_log_level level);

/* Where lines go: a descriptor, 2 unless set. */
void cg_log_set_descriptor(int fd);

/*
 * `what`, then pairs of key and value (both const char *; a NULL value is written as
 * empty), then NULL.  Values are quoted where needed and control characters escaped, so
 * that no peer can forge a line; a line longer than 1 KiB is cut.
 */
__attribute__((sentinel)) void cg_log(enum cg_log_level level, const char *what, ...);

/* A number for a cg_log() value: valid until the eighth following use in the same thread. */
const char *cg_log_int(int64_t value);

/*
 * Lets one event through per `interval_ms` and counts the others, so that a flood of
 * refusals cannot flood the log.  `now_ms`: any monotonic clock.
 */
struct cg_log_limit {
	uint64_t next_at_ms;
	uint64_t held_back;
};

/* Whether to log now; then *ret_held_back is how many were left out since the last. */
int cg_log_limit_admits(
    struct cg_log_limit *limit, uint64_t now_ms, uint64_t interval_ms, uint64_t *ret_held_back);

#endif /* CG_BASE_LOG_H */
