/*
 * Ending a call whose wallet is exhausted, and telling it before.
 *
 *   TALKING --warning--> (say, or once its control URL is known, unless that takes long)
 *      |
 *   cut-off
 *      v       said, or control URL not known
 *   LEAVING ------goodbye_ms later, or refused----> ENDING --answered--> ASKING
 *   (say and end)                                  (end-call)  ^           |
 *                                                              '--runs-----'  alarm after alarm_ms
 *   any --ended--> OVER
 *
 * LEAVING waits for the goodbye to be spoken, ENDING for the provider's answer, ASKING for what
 * the provider says about the call.  There is no other way to end a call at the provider than
 * its control URL, so this goes on, each poll_ms, until the call has ended; its own limit ends
 * it at the latest.
 *
 * Pure: whoever drives it does what each step says, and tells it what came of that.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EDGE_CALLS_CUT_H
#define CG_EDGE_CALLS_CUT_H

#include "base/base.h"

enum cg_cut_state {
	CG_CUT_TALKING,
	CG_CUT_LEAVING,
	CG_CUT_ENDING,
	CG_CUT_ASKING,
	CG_CUT_OVER,
	CG_CUT_STATE_COUNT,
};

struct cg_cut_config {
	uint32_t goodbye_ms; /* for the last sentence; 0: none is said */
	uint32_t poll_ms;
	uint32_t alarm_ms;        /* from the first CUT_OFF on */
	uint32_t warning_late_ms; /* a warning that comes later says what is not true any more */
};

struct cg_cut {
	enum cg_cut_state state;
	bool was_warned;
	bool is_warning_owed; /* since warned_at_ms: it could not be said yet */
	bool has_url;
	bool was_alarmed;
	uint32_t attempts; /* end-calls sent */
	uint64_t warned_at_ms;
	uint64_t began_at_ms;
};

/* What to do now; nothing else. */
enum cg_cut_act {
	CG_CUT_NOTHING,
	CG_CUT_SAY_WARNING,
	CG_CUT_SAY_GOODBYE, /* and end: one message */
	CG_CUT_END_CALL,
	CG_CUT_ASK, /* the provider for the call: does it run, and where is it controlled */
};

struct cg_cut_step {
	enum cg_cut_act act;
	uint32_t again_ms; /* call cg_cut_due() after this; 0: not by time */
	bool alarm;        /* tell a person: it does not end */
};

void cg_cut_init(struct cg_cut *cut, bool has_url);

/* Until the call is OVER, each answers what to do next; afterwards nothing. */
struct cg_cut_step cg_cut_warned(struct cg_cut *cut, uint64_t now_ms);
/* CUT_OFF, the first or a repetition. */
struct cg_cut_step cg_cut_begun(
    struct cg_cut *cut, const struct cg_cut_config *config, uint64_t now_ms);
/* Say-and-end was answered: whether the provider took it. */
struct cg_cut_step cg_cut_said(struct cg_cut *cut, const struct cg_cut_config *config, bool taken);
struct cg_cut_step cg_cut_end_answered(struct cg_cut *cut, const struct cg_cut_config *config);
/* The provider was asked: whether the call runs (also where it did not answer), and is controllable. */
struct cg_cut_step cg_cut_asked(
    struct cg_cut *cut, const struct cg_cut_config *config, bool has_url, uint64_t now_ms);
/* again_ms is over. */
struct cg_cut_step cg_cut_due(struct cg_cut *cut, const struct cg_cut_config *config);
/* A control URL became known. */
struct cg_cut_step cg_cut_found_url(
    struct cg_cut *cut, const struct cg_cut_config *config, uint64_t now_ms);
void cg_cut_ended(struct cg_cut *cut);

const char *cg_cut_state_name(enum cg_cut_state state);

#endif /* CG_EDGE_CALLS_CUT_H */
