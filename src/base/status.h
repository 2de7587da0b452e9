/*
 * How an operation that depends on the world ended: what can be done now, and what it
 * means for money.  A business refusal (no funds, barred) is not a status but an outcome.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BASE_STATUS_H
#define CG_BASE_STATUS_H

#include <stdbool.h>

/* X(value, name, sentence) */
#define CG_STATUS_MAP(X)                                                                           \
	X(OK, "ok", "it happened")                                                                 \
	X(INVALID, "invalid", "the request is malformed; nothing happened")                        \
	X(NOT_FOUND, "not_found", "what was asked for does not exist; nothing happened")           \
	X(WRONG_STATE, "wrong_state", "its state does not admit it; nothing happened")             \
	X(KEY_REUSED, "key_reused", "the key was used with other content; nothing happened")       \
	X(OUT_OF_RANGE, "out_of_range",                                                            \
	    "beyond what is kept or can be represented; nothing happened")                         \
	X(FULL, "full", "a limit is reached; nothing happened")                                    \
	X(UNAVAILABLE, "unavailable", "out of reach; it certainly did not happen")                 \
	X(RECOVERING, "recovering", "this partition is being recovered; it did not happen")        \
	X(TIMEOUT, "timeout", "no answer in time; it may have happened")                           \
	X(LOST, "lost", "the connection ended before the answer; it may have happened")            \
	X(CLOSING, "closing", "we are shutting down; it did not happen")                           \
	X(DENIED, "denied", "the server refuses us: credentials or rights; it did not happen")     \
	X(INTERNAL, "internal",                                                                    \
	    "our bug, or an answer that breaks the protocol; it may have happened")

enum cg_status {
#define X(value, name, sentence) CG_##value,
	CG_STATUS_MAP(X)
#undef X
	CG_STATUS_COUNT
};

/* The short name, as it stands in logs; never NULL. */
const char *cg_status_name(enum cg_status status);

/* One sentence for people; never NULL. */
const char *cg_status_sentence(enum cg_status status);

/* Whether the operation may have taken effect although it did not end with CG_OK. */
bool cg_status_is_unknown(enum cg_status status);

#endif /* CG_BASE_STATUS_H */
