/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/calls/cut.h"

#define BIT(state) (1u << CG_CUT_##state)

static const unsigned allowed[CG_CUT_STATE_COUNT] = {
    [CG_CUT_TALKING] = BIT(LEAVING) | BIT(ENDING) | BIT(ASKING) | BIT(OVER),
    [CG_CUT_LEAVING] = BIT(ENDING) | BIT(OVER),
    [CG_CUT_ENDING] = BIT(ASKING) | BIT(OVER),
    [CG_CUT_ASKING] = BIT(LEAVING) | BIT(ENDING) | BIT(ASKING) | BIT(OVER),
    [CG_CUT_OVER] = 0,
};

static const struct cg_cut_step nothing = {CG_CUT_NOTHING, 0, false};

static void move(struct cg_cut *cut, enum cg_cut_state next)
{
	CG_ASSERT((allowed[cut->state] & (1u << next)) != 0);
	cut->state = next;
}

const char *cg_cut_state_name(enum cg_cut_state state)
{
	static const char *const names[] = {[CG_CUT_TALKING] = "talking",
	    [CG_CUT_LEAVING] = "leaving",
	    [CG_CUT_ENDING] = "ending",
	    [CG_CUT_ASKING] = "asking",
	    [CG_CUT_OVER] = "over"};

	return (unsigned)state < CG_COUNT_OF(names) ? names[state] : "?";
}

void cg_cut_init(struct cg_cut *cut, bool has_url)
{
	*cut = (struct cg_cut){.state = CG_CUT_TALKING, .has_url = has_url};
}

struct cg_cut_step cg_cut_warned(struct cg_cut *cut, uint64_t now_ms)
{
	if (cut->state != CG_CUT_TALKING || cut->was_warned) {
		return nothing;
	}
	/* A warning is a courtesy: nobody is asked for a URL on its behalf, but one may be on its way. */
	if (!cut->has_url) {
		cut->is_warning_owed = true;
		cut->warned_at_ms = now_ms;
		return nothing;
	}
	cut->was_warned = true;
	return (struct cg_cut_step){.act = CG_CUT_SAY_WARNING};
}

static struct cg_cut_step leave(struct cg_cut *cut, const struct cg_cut_config *config)
{
	if (config->goodbye_ms == 0) {
		move(cut, CG_CUT_ENDING);
		cut->attempts++;
		return (struct cg_cut_step){.act = CG_CUT_END_CALL};
	}
	move(cut, CG_CUT_LEAVING);
	/* Also where the answer never comes: the goodbye's time is counted from here. */
	return (struct cg_cut_step){.act = CG_CUT_SAY_GOODBYE, .again_ms = config->goodbye_ms};
}

struct cg_cut_step cg_cut_begun(
    struct cg_cut *cut, const struct cg_cut_config *config, uint64_t now_ms)
{
	if (cut->state != CG_CUT_TALKING) {
		return nothing; /* A repetition: it is under way. */
	}
	cut->began_at_ms = now_ms;
	if (!cut->has_url) {
		move(cut, CG_CUT_ASKING);
		return (struct cg_cut_step){.act = CG_CUT_ASK};
	}
	return leave(cut, config);
}

struct cg_cut_step cg_cut_said(struct cg_cut *cut, const struct cg_cut_config *config, bool taken)
{
	(void)config;
	if (cut->state != CG_CUT_LEAVING || taken) {
		return nothing; /* Its time runs already. */
	}
	move(cut, CG_CUT_ENDING);
	cut->attempts++;
	return (struct cg_cut_step){.act = CG_CUT_END_CALL};
}

struct cg_cut_step cg_cut_end_answered(struct cg_cut *cut, const struct cg_cut_config *config)
{
	if (cut->state != CG_CUT_ENDING) {
		return nothing;
	}
	/* What it answered is not documented: only what became of the call counts. */
	move(cut, CG_CUT_ASKING);
	return (struct cg_cut_step){.again_ms = config->poll_ms};
}

struct cg_cut_step cg_cut_asked(
    struct cg_cut *cut, const struct cg_cut_config *config, bool has_url, uint64_t now_ms)
{
	if (cut->state != CG_CUT_ASKING) {
		return nothing;
	}
	cut->has_url = cut->has_url || has_url;
	bool alarm = !cut->was_alarmed && now_ms - cut->began_at_ms >= config->alarm_ms;
	cut->was_alarmed = cut->was_alarmed || alarm;
	struct cg_cut_step step = {.act = CG_CUT_NOTHING, .again_ms = config->poll_ms};
	if (cut->has_url && cut->attempts == 0) {
		step = leave(cut, config);
	} else if (cut->has_url) {
		move(cut, CG_CUT_ENDING);
		cut->attempts++;
		step = (struct cg_cut_step){.act = CG_CUT_END_CALL};
	}
	step.alarm = alarm;
	return step;
}

struct cg_cut_step cg_cut_due(struct cg_cut *cut, const struct cg_cut_config *config)
{
	(void)config;
	if (cut->state == CG_CUT_LEAVING) {
		move(cut, CG_CUT_ENDING);
		cut->attempts++;
		return (struct cg_cut_step){.act = CG_CUT_END_CALL};
	}
	if (cut->state == CG_CUT_ASKING) {
		return (struct cg_cut_step){.act = CG_CUT_ASK};
	}
	return nothing;
}

struct cg_cut_step cg_cut_found_url(
    struct cg_cut *cut, const struct cg_cut_config *config, uint64_t now_ms)
{
	bool is_owed = cut->is_warning_owed && now_ms - cut->warned_at_ms < config->warning_late_ms;

	cut->has_url = true;
	cut->is_warning_owed = false;
	return is_owed ? cg_cut_warned(cut, now_ms) : nothing;
}

void cg_cut_ended(struct cg_cut *cut)
{
	if (cut->state != CG_CUT_OVER) {
		move(cut, CG_CUT_OVER);
	}
}
