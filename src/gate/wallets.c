/*
 * Wallets: one operation at the ledger.
 *
 *  NEW --> LEDGER --read, refused, had been created before---------> DONE
 *             '--created, updated--> WALLET --read--> LOAD --however--^
 *                                      ^ '--failed----------|---------^
 *                                      '--recovered, once---'
 *
 * What was created or updated is also told to the store, so that a wallet whose calls are
 * running, or whose balance is looked at, has its new terms, and its new end, before anybody
 * authorizes its next call; and so that those who watch hear of it.  That is a courtesy: the
 * ledger has it, so whatever becomes of the telling, the answer is OK, after moments.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "gate/gate_internal.h"

/* Once more, for what a single event may have spoilt. */
#define TELLINGS_MAX 2

static void tell_store(struct cg_request *req);

static void on_told(struct cg_store_op *op)
{
	struct cg_request *req = CG_CONTAINER_OF(op, struct cg_request, work.store);

	if (op->status == CG_RECOVERING && req->work.rounds < TELLINGS_MAX) {
		tell_store(req); /* What had been read was of the epoch before. */
	} else {
		cg_answer__ok(req);
	}
}

/* A reading that was under way when the wallet changed may not have seen that. */
static bool is_outdated(const struct cg_request *req, const struct cg_loaded *loaded)
{
	return loaded->outcome != CG_LEDGER_DONE ||
	    loaded->wallet.terms_version < req->out.wallet.wallet.terms_version;
}

static void on_read_again(struct cg_request *req, const struct cg_loaded *loaded)
{
	bool was_read = loaded->status == CG_OK && loaded->epoch != 0;

	if (was_read && !is_outdated(req, loaded)) {
		(void)cg_plans__resolve(req, &loaded->wallet);
		cg_ask__put_wallet(req, loaded, true, on_told);
	} else if (was_read && req->work.rounds < TELLINGS_MAX) {
		tell_store(req); /* The next one has it. */
	} else {
		cg_answer__ok(req);
	}
}

/* What came with the answer was not read under an epoch: only a reading may be put there. */
static void tell_store(struct cg_request *req)
{
	cg_answer__move(req, CG_STEP_WALLET);
	req->work.rounds++;
	/* The answer is known: a ledger that is slow now is not waited for as one that has it. */
	req->work.loaded_by_ms = cg_round__store_deadline(req);
	req->work.loaded = on_read_again;
	if (cg_terms_cache__load(req->work.gate, req) != CG_OK) {
		cg_answer__ok(req);
	}
}

static void on_wallet(struct cg_request *req, const struct cg_ledger_op *op)
{
	bool is_news = op->verb == CG_LEDGER_WALLET_UPDATE ||
	    (op->verb == CG_LEDGER_WALLET_CREATE && !op->replayed);

	/* What was changed is in force here at once; elsewhere when the ledger has told. */
	cg_terms_cache__learn(req->work.gate, &op->out.wallet);
	req->out.wallet.wallet = op->out.wallet;
	req->out.wallet.replayed = op->replayed;
	if (is_news) {
		tell_store(req);
	} else {
		cg_answer__ok(req);
	}
}

static void on_outcome(struct cg_request *req, const struct cg_ledger_op *op)
{
	switch (op->outcome) {
	case CG_LEDGER_DONE:
		on_wallet(req, op);
		return;
	case CG_LEDGER_NO_WALLET:
	case CG_LEDGER_NO_COMPANY:
		cg_answer__end(req, CG_NOT_FOUND, CG_REASON_NO_WALLET);
		return;
	case CG_LEDGER_NO_PLAN:
		cg_answer__invalid(req, "plan_id", "an existing plan");
		return;
	case CG_LEDGER_CURRENCY_DIFFERS:
		cg_answer__end(req, CG_KEY_REUSED, CG_REASON_KEY_REUSED);
		return;
	case CG_LEDGER_NO_KEY:
	case CG_LEDGER_KEY_REUSED:
	case CG_LEDGER_POSTED:
	case CG_LEDGER_OUT_OF_RANGE:
	case CG_LEDGER_OVERTAKEN:
	case CG_LEDGER_OTHER_ENTRY:
		break;
	}
	/* An outcome that this operation cannot have. */
	cg_answer__end(req, CG_INTERNAL, CG_REASON_LEDGER_UNAVAILABLE);
}

static void on_answered(struct cg_ledger_op *op)
{
	struct cg_request *req = CG_CONTAINER_OF(op, struct cg_request, work.ledger);

	if (op->status == CG_OK) {
		on_outcome(req, op);
	} else if (req->work.machine->changes_nothing) {
		cg_answer__ledger_read_failed(req, op->status);
	} else {
		cg_answer__ledger_failed(req, op->status);
	}
}

static void begin_create(struct cg_request *req)
{
	req->work.ledger.in.wallet_create = req->in.create_wallet;
	cg_round__submit_ledger(req, CG_STEP_LEDGER, CG_LEDGER_WALLET_CREATE, on_answered);
}

static void begin_get(struct cg_request *req)
{
	cg_round__submit_ledger(req, CG_STEP_LEDGER, CG_LEDGER_WALLET_READ, on_answered);
}

static void begin_update(struct cg_request *req)
{
	req->work.ledger.in.wallet_update = req->in.update_wallet;
	cg_round__submit_ledger(req, CG_STEP_LEDGER, CG_LEDGER_WALLET_UPDATE, on_answered);
}

#define TELLING                                                                                    \
	{                                                                                          \
		[CG_STEP_NEW] = CG_STEP_BIT(LEDGER),                                               \
		[CG_STEP_LEDGER] = CG_STEP_BIT(WALLET) | CG_STEP_BIT(DONE),                        \
		[CG_STEP_WALLET] = CG_STEP_BIT(WALLET) | CG_STEP_BIT(LOAD) | CG_STEP_BIT(DONE),    \
		[CG_STEP_LOAD] = CG_STEP_BIT(WALLET) | CG_STEP_BIT(DONE),                          \
	}

const struct cg_machine cg_create_wallet__machine = {.allowed = TELLING, .begin = begin_create};
const struct cg_machine cg_update_wallet__machine = {.allowed = TELLING, .begin = begin_update};
const struct cg_machine cg_get_wallet__machine = {
    .allowed = {[CG_STEP_NEW] = CG_STEP_BIT(LEDGER), [CG_STEP_LEDGER] = CG_STEP_BIT(DONE)},
    .begin = begin_get,
    .changes_nothing = true,
};
