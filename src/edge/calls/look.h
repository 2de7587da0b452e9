/*
 * What becomes of a call that nobody has reported, once the provider was asked for it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EDGE_CALLS_LOOK_H
#define CG_EDGE_CALLS_LOOK_H

#include "edge/calls/duration.h"

/* How the gate has the call. */
enum cg_look_gate {
	CG_LOOK_GATE_UNKNOWN, /* no such call, or it was cancelled, expired or abandoned */
	CG_LOOK_GATE_AUTHORIZED,
	CG_LOOK_GATE_METERING, /* or stopped */
	CG_LOOK_GATE_SETTLED,
};

enum cg_look_act {
	CG_LOOK_LATER,   /* nothing is known; ask again */
	CG_LOOK_DONE,    /* it has been charged */
	CG_LOOK_SETTLE,  /* for `duration`, polled */
	CG_LOOK_CANCEL,  /* it never connected, and nothing was metered: give the hold back */
	CG_LOOK_START,   /* it talks, and the gate holds funds only */
	CG_LOOK_ADOPT,   /* it talks, and the gate does not know it */
	CG_LOOK_RUNS,    /* it talks, and is metered */
	CG_LOOK_GIVE_UP, /* the provider no longer has it, and it did connect: a person decides */
};

struct cg_look_facts {
	enum cg_look_gate gate;
	bool was_connected;                /* a webhook said in-progress */
	struct cg_duration_facts duration; /* with the snapshot */
};

struct cg_look {
	enum cg_look_act act;
	struct cg_duration duration; /* for SETTLE */
};

struct cg_look cg_look_decide(const struct cg_look_facts *facts);

#endif /* CG_EDGE_CALLS_LOOK_H */
