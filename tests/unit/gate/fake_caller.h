/*
 * A caller of the gate, beside the fake world that it stands on: it counts the answers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_TESTS_GATE_FAKE_CALLER_H
#define CG_TESTS_GATE_FAKE_CALLER_H

#include "fake_world.h"

struct fixture {
	struct world world;
	struct cg_gate *gate;
	unsigned wakes;
};

/* One request and what became of it. */
struct asked {
	struct cg_request req;
	unsigned dones;
	bool is_submitting;
	bool was_early;                          /* answered before submit returned */
	char plan_id[CG_PLAN_ID_MAX_BYTES + 1];  /* of GetBalance, copied in `done` */
	char token[CG_PAGE_TOKEN_MAX_BYTES + 1]; /* of ListCalls */
};

/* Four wallets' terms, the ports' and the receipts' usual limits; the terms are read. */
void fixture_start(struct fixture *f);
void fixture_start_with(struct fixture *f, const struct cg_gate_config *config);
struct cg_gate_config fixture_config(struct fixture *f);

/* Everything that is under way ends; then nothing may be left anywhere. */
void fixture_end(struct fixture *f);

/* One second to answer, company 1, and `asked` counts. */
void asked_init(struct asked *a, const struct fixture *f, enum cg_method method);
void asked_submit(struct asked *a, struct fixture *f);

/* Submits, and runs until it is answered. */
void asked_run(struct asked *a, struct fixture *f);

/* Sensible content of each method, for the call or reference "k". */
void asked_authorize(struct asked *a, struct fixture *f);
void asked_settle(struct asked *a, struct fixture *f, int64_t duration_ms);
void asked_credit(struct asked *a, struct fixture *f, int64_t amount);
void asked_charge(struct asked *a, struct fixture *f, int64_t amount);
void asked_adopt(struct asked *a, struct fixture *f);
void asked_call(
    struct asked *a, struct fixture *f, enum cg_method method); /* START STOP CANCEL GET_CALL */

#endif /* CG_TESTS_GATE_FAKE_CALLER_H */
