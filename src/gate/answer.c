/*
 * The end of every request: one answer, never before submit has returned.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "gate/gate_internal.h"

void cg_answer__move(struct cg_request *req, enum cg_step next)
{
	CG_ASSERT((req->work.machine->allowed[req->work.state] & (1u << next)) != 0);
	req->work.state = (int)next;
}

static void give(struct cg_request *req)
{
	CG_ASSERT(req->work.gate->inflight_count > 0);
	req->work.gate->inflight_count--;
	cg_measure__answered(req);
	req->done(req); /* Last: the owner may recycle the request in there. */
}

static void finish(struct cg_request *req)
{
	struct cg_gate *gate = req->work.gate;

	cg_answer__move(req, CG_STEP_DONE);
	if (req->work.listing != NULL) {
		cg_listing__release(req);
	}
	free(req->work.assumed.meta);
	req->work.assumed.meta = NULL;
	cg_order__pass_on(req);
	if (!req->work.is_submitting) {
		give(req);
		return;
	}
	cg_list_append(&gate->deferred, &req->work.link);
	if (gate->config.wake != NULL) {
		gate->config.wake(gate->config.wake_owner);
	}
}

void cg_answer__flush(struct cg_gate *gate)
{
	struct cg_list given;

	/* Those only that were put off by now: a `done` may submit and put off again. */
	cg_list_init(&given);
	for (struct cg_list *link = cg_list_pop(&gate->deferred); link != NULL;
	     link = cg_list_pop(&gate->deferred)) {
		cg_list_append(&given, link);
	}
	for (struct cg_list *link = cg_list_pop(&given); link != NULL; link = cg_list_pop(&given)) {
		give(CG_CONTAINER_OF(link, struct cg_request, work.link));
	}
}

enum cg_call_state cg_answer__state_of(const struct cg_ledger_row *row)
{
	return row->basis == CG_BASIS_ASSUMED && !row->is_corrected ? CG_CALL_ABANDONED
	                                                            : CG_CALL_SETTLED;
}

void cg_answer__ok(struct cg_request *req)
{
	req->status = CG_OK;
	finish(req);
}

void cg_answer__end(struct cg_request *req, enum cg_status status, enum cg_reason reason)
{
	req->status = status;
	req->reason = reason;
	req->has_settled = req->has_settled && status == CG_KEY_REUSED;
	finish(req);
}

void cg_answer__invalid(struct cg_request *req, const char *field, const char *bound)
{
	req->field = field;
	req->bound = bound;
	cg_answer__end(req, CG_INVALID, CG_REASON_INVALID_FIELD);
}

void cg_answer__wrong_state(struct cg_request *req, enum cg_call_state state)
{
	req->state = state;
	cg_answer__end(req, CG_WRONG_STATE, CG_REASON_WRONG_STATE);
}

/*
 * "It did not happen" is true of the last attempt; an earlier one may have ended without
 * our knowing, and then so has the request.
 */
static void fail(struct cg_request *req, enum cg_status status, enum cg_reason reason)
{
	if (req->work.may_have_happened && !cg_status_is_unknown(status)) {
		status = CG_LOST;
	}
	cg_answer__end(req, status, reason);
}

static bool is_common_failure(struct cg_request *req, enum cg_status status)
{
	if (status == CG_CLOSING) {
		fail(req, CG_CLOSING, CG_REASON_SHUTTING_DOWN);
		return true;
	}
	if (status == CG_FULL) {
		fail(req, CG_FULL, CG_REASON_TOO_MANY_IN_FLIGHT);
		return true;
	}
	return false;
}

void cg_answer__store_failed(struct cg_request *req, enum cg_status status)
{
	if (is_common_failure(req, status)) {
		return;
	}
	/* Where it is our bug, no policy makes it better. */
	if (req->work.machine->on_away != NULL && status != CG_INTERNAL &&
	    req->work.machine->on_away(req)) {
		return;
	}
	if (status == CG_RECOVERING) {
		fail(req, status, CG_REASON_RECOVERING);
	} else if (cg_status_is_unknown(status)) {
		fail(req, status, CG_REASON_STORE_UNAVAILABLE);
	} else {
		fail(req, CG_UNAVAILABLE, CG_REASON_STORE_UNAVAILABLE);
	}
}

void cg_answer__ledger_failed(struct cg_request *req, enum cg_status status)
{
	if (is_common_failure(req, status)) {
		return;
	}
	fail(req, cg_status_is_unknown(status) ? status : CG_UNAVAILABLE,
	    CG_REASON_LEDGER_UNAVAILABLE);
}

void cg_answer__ledger_read_failed(struct cg_request *req, enum cg_status status)
{
	if (!is_common_failure(req, status)) {
		fail(req, CG_UNAVAILABLE, CG_REASON_LEDGER_UNAVAILABLE);
	}
}

void cg_answer__refused(
    struct cg_request *req, enum cg_store_outcome outcome, enum cg_call_state state)
{
	switch (outcome) {
	case CG_STORE_UNKNOWN_CALL:
		cg_answer__end(req, CG_NOT_FOUND, CG_REASON_UNKNOWN_CALL);
		return;
	case CG_STORE_WRONG_STATE:
		cg_answer__wrong_state(req, state);
		return;
	case CG_STORE_KEY_REUSED:
		cg_answer__end(req, CG_KEY_REUSED, CG_REASON_KEY_REUSED);
		return;
	case CG_STORE_NO_PRICE:
		cg_answer__end(req, CG_WRONG_STATE, CG_REASON_NO_PRICE);
		return;
	case CG_STORE_OUT_OF_RANGE:
		cg_answer__end(req, CG_OUT_OF_RANGE, CG_REASON_NONE);
		return;
	case CG_STORE_OUTBOX_FULL:
		fail(req, CG_UNAVAILABLE, CG_REASON_OUTBOX_FULL);
		return;
	case CG_STORE_DONE:
	case CG_STORE_ABSENT:
	case CG_STORE_ASK:
	case CG_STORE_TOO_LATE:
		break;
	}
	/* An outcome that this operation cannot have. */
	cg_answer__end(req, CG_INTERNAL, CG_REASON_STORE_UNAVAILABLE);
}
