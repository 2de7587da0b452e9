/*
 * The store's side of a request, the same for every method:
 *
 *              .---- RECOVERING, TOO_LATE, LOST: a bounded number of times ----.
 *              v                                                              |
 *   --> STORE (or BALANCE) --answered--> the method's on_answer, on_balance   |
 *              |---------------------------------------------------------------'
 *              |--ABSENT--> WALLET --> LOAD --> STORE       (ask.c)
 *              |--ASK-----> KEY --> STORE, or the row's     (ask.c)
 *              '--failed--> DONE
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "gate/gate_internal.h"

uint64_t cg_round__now(const struct cg_gate *gate)
{
	return gate->clock->now_ms(gate->clock);
}

uint32_t cg_round__partition(const struct cg_request *req)
{
	if (req->work.listing != NULL) {
		return cg_listing__partition(req);
	}
	return cg_store_partition_of(&req->company, req->work.gate->store->partition_count);
}

static uint64_t deadline_after(const struct cg_request *req, uint32_t timeout_ms)
{
	uint64_t end = cg_round__now(req->work.gate) + timeout_ms;

	return req->work.ends_by_ms < end ? req->work.ends_by_ms : end;
}

uint64_t cg_round__store_deadline(const struct cg_request *req)
{
	return deadline_after(req, req->work.gate->config.store_timeout_ms);
}

uint64_t cg_round__ledger_deadline(const struct cg_request *req)
{
	return deadline_after(req, req->work.gate->config.ledger_timeout_ms);
}

bool cg_round__admits_another(struct cg_request *req)
{
	req->work.rounds++;
	if (req->work.rounds <= CG_ROUNDS_MAX &&
	    cg_round__now(req->work.gate) < req->work.ends_by_ms) {
		return true;
	}
	cg_answer__store_failed(req, CG_RECOVERING);
	return false;
}

void cg_round__begin_again(struct cg_request *req)
{
	struct cg_store_port *store = req->work.gate->store;

	/* Where nobody serves the partition, asking again would only be refused again. */
	if (store->epoch(store, cg_round__partition(req)) == 0) {
		cg_answer__store_failed(req, CG_RECOVERING);
		return;
	}
	if (!cg_round__admits_another(req)) {
		return;
	}
	req->work.is_asked = false;
	if (req->work.machine->restart != NULL && !req->work.wants_balance) {
		req->work.machine->restart(req);
	} else {
		cg_round__ask_store_anew(req);
	}
}

/* The connection ended before the answer.  The same operation again: its key tells. */
static void on_lost(struct cg_request *req)
{
	struct cg_request_work *work = &req->work;

	if (!work->was_resent && cg_round__now(work->gate) < work->store_deadline_at_ms) {
		work->was_resent = true;
		cg_round__ask_store(req);
		return;
	}
	/* Which is LOST, where the operation could have changed something. */
	cg_answer__store_failed(req, CG_UNAVAILABLE);
}

/*
 * By the store's clock.  The port's idea of that may be what was wrong, and the answer has
 * taught it better: once more.
 */
static void on_too_late(struct cg_request *req)
{
	struct cg_request_work *work = &req->work;

	if (!work->was_resent && cg_round__now(work->gate) < work->store_deadline_at_ms) {
		work->was_resent = true;
		cg_round__ask_store(req);
		return;
	}
	cg_answer__store_failed(req, CG_UNAVAILABLE);
}

static void on_outcome(struct cg_request *req, const struct cg_store_op *op)
{
	switch (op->outcome) {
	case CG_STORE_ABSENT:
		if (req->work.machine->on_absent != NULL) {
			req->work.machine->on_absent(req);
		} else {
			cg_ask__wallet(req);
		}
		return;
	case CG_STORE_TOO_LATE:
		on_too_late(req);
		return;
	case CG_STORE_ASK:
		if (req->work.machine->key != NULL && !req->work.wants_balance) {
			cg_ask__key(req, op->epoch);
		} else {
			cg_answer__refused(req, op->outcome, op->state);
		}
		return;
	case CG_STORE_DONE:
	case CG_STORE_UNKNOWN_CALL:
	case CG_STORE_WRONG_STATE:
	case CG_STORE_KEY_REUSED:
	case CG_STORE_NO_PRICE:
	case CG_STORE_OUT_OF_RANGE:
	case CG_STORE_OUTBOX_FULL:
		break;
	}
	if (!req->work.wants_balance) {
		req->work.machine->on_answer(req, op);
	} else if (op->outcome == CG_STORE_DONE) {
		req->work.machine->on_balance(req, &op->out.balance);
	} else {
		cg_answer__refused(req, op->outcome, op->state);
	}
}

static void on_store_answered(struct cg_store_op *op)
{
	struct cg_request *req = CG_CONTAINER_OF(op, struct cg_request, work.store);

	bool changes = !req->work.machine->changes_nothing && !req->work.wants_balance;

	if (cg_status_is_unknown(op->status) && changes) {
		req->work.may_have_happened = true;
	}
	if (op->status == CG_OK) {
		on_outcome(req, op);
	} else if (op->status == CG_RECOVERING) {
		cg_round__begin_again(req);
	} else if (op->status == CG_LOST) {
		on_lost(req);
	} else {
		cg_answer__store_failed(req,
		    cg_status_is_unknown(op->status) && !changes ? CG_UNAVAILABLE : op->status);
	}
}

void cg_round__ask_store(struct cg_request *req)
{
	struct cg_request_work *work = &req->work;

	work->store = (struct cg_store_op){
	    .company = req->company,
	    .deadline_at_ms = work->store_deadline_at_ms,
	    .known_epoch = work->is_asked ? work->asked_epoch : 0,
	    .asked = work->is_asked,
	    .terms = work->terms,
	    .done = on_store_answered,
	};
	if (work->wants_balance) {
		cg_answer__move(req, CG_STEP_BALANCE);
		work->store.verb = CG_STORE_BALANCE;
		work->store.known_epoch = 0;
		work->store.asked = false;
	} else {
		cg_answer__move(req, CG_STEP_STORE);
		work->machine->fill(req, &work->store);
	}
	/* What was answered UNAVAILABLE must not begin afterwards. */
	if (work->store.verb == CG_STORE_AUTHORIZE || work->store.verb == CG_STORE_START) {
		work->store.not_after_ms =
		    work->gate->store->store_time(work->gate->store, work->store_deadline_at_ms);
	}
	work->gate->store->submit(work->gate->store, &work->store);
}

void cg_round__ask_store_anew(struct cg_request *req)
{
	req->work.store_deadline_at_ms = cg_round__store_deadline(req);
	cg_round__ask_store(req);
}

void cg_round__submit_ledger(struct cg_request *req, enum cg_step step, enum cg_ledger_verb verb,
    void (*done)(struct cg_ledger_op *op))
{
	struct cg_ledger_op *op = &req->work.ledger;

	cg_answer__move(req, step);
	op->verb = verb;
	op->company = req->company;
	op->deadline_at_ms = cg_round__ledger_deadline(req);
	op->done = done;
	op->replayed = false;
	req->work.gate->ledger->submit(req->work.gate->ledger, op);
}
