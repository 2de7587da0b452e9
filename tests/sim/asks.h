/*
 * One request of a deed on its way to a sidecar and back.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_ASKS_H
#define CG_SIM_ASKS_H

#include "callers.h"

/* What came of it, to whoever sent it. */
struct ask_answer {
	enum cg_method method;
	enum cg_status status;            /* CG_LOST: no answer */
	bool is_first;                    /* not a duplicate of one that was sent as well */
	const struct cg_request *request; /* where there is an answer */
};

/* `on_answer` comes once, later. */
void ask_send(struct deed *deed, enum cg_method method, bool commits,
    void (*on_answer)(struct deed *deed, const struct ask_answer *answer));

/* Every ask that nobody answered is given back. */
uint32_t asks_under_way(void);

#endif /* CG_SIM_ASKS_H */
