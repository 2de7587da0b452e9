/*
 * Whoever uses the gate: edges with calls, a payment provider with credits, a biller with
 * charges.  Each deed has one key, repeats what it got no answer to, and remembers what it was
 * told; only what reached it counts as acknowledged.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_CALLERS_H
#define CG_SIM_CALLERS_H

#include "gate/request.h"
#include "sim.h"

#define CALLERS_DEEDS_MAX 400

enum deed_kind {
	DEED_CALL,
	DEED_CREDIT,
	DEED_CHARGE
};

/* How a call is meant to go. */
enum call_plan {
	CALL_USUAL,     /* authorized, started, settled */
	CALL_AT_ONCE,   /* authorized and started in one */
	CALL_CANCELLED, /* authorized, and then not made */
	CALL_RINGS_OUT, /* authorized, and nothing more is heard of it */
	CALL_LATE,      /* settled, and never authorized */
	CALL_ADOPTED,   /* found running */
	CALL_LEFT,      /* as usual, and settled only when it was given up for long */
	CALL_PLAN_COUNT
};

/* What was acknowledged under a key. */
struct deed_ack {
	bool is_acked;
	uint64_t at_ms;
	struct cg_entry_id entry;
};

struct deed {
	enum deed_kind kind;
	enum cg_entry_type type;
	uint32_t number, company;
	int64_t amount; /* of a credit, a charge */
	/* Of a call. */
	uint64_t talk_ms;
	uint64_t talk_began_ms, talk_ended_ms; /* on the simulation's clock; 0: not */
	int64_t started_at_ms;                 /* the same on the store's, as the edge believes */
	int64_t duration_ms;                   /* once it is settled: of every Settle of it */
	/* Under way. */
	uint64_t authorize_answered_ms;
	struct sim_event *wait;
	struct deed_ack accepted, committed; /* told */
	enum call_plan plan;
	uint32_t authorizes_pending;
	uint32_t pending;
	uint32_t tries;
	char id[32];
	bool commits; /* asks for COMMITTED */
	bool is_talking, may_be_running, is_settling;
	bool is_cut_off;  /* told so, or about to be */
	bool is_adopted;  /* at least it was asked for: the store did not know it */
	bool forgets;     /* gives up settling after one try, until it is reminded at the end */
	bool says_again;  /* its last word once more, long after it was answered */
	bool lives_again; /* is authorized once more when it is long over */
	bool
	    is_unguarded; /* some Authorize went to a sidecar that had no idea of the store's clock */
	bool has_ended;   /* nothing more is meant to happen */
	bool repeated_well; /* at the end, when it was repeated */
};

void callers_begin(void);
void callers_end(void);
/* Nobody hears answers any more. */
bool callers_are_gone(void);

/* No new deeds. */
void callers_stop(void);
/* Those that gave up go on. */
void callers_remind(void);
/* Everybody has said what he had to say. */
bool callers_are_done(void);
/* Once more under every key that has a final word, COMMITTED, until it is answered. */
void callers_repeat(void);

uint32_t callers_count(void);
const struct deed *callers_deed(uint32_t number);
const struct deed *callers_find(uint32_t company, struct cg_view id);
/* Whether the deed must have left an entry once it was repeated. */
bool deed_leaves_entry(const struct deed *deed);
int64_t deed_amount(const struct deed *deed);
const char *deed_entry_type(const struct deed *deed);

/* What the store has just written to an events stream, by the contract's number. */
void callers_on_event(int type, uint32_t company, struct cg_view call_id);

#endif /* CG_SIM_CALLERS_H */
