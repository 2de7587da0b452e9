/*
 * The ledger's side of a request: terms, a wallet that the store lacks, a key that it does
 * not know, the balance of now beside a row, the commit of an entry.
 *
 * What is read here is sent to the store with the epoch that was in force before the
 * reading: were the partition recovered in between, the store refuses, and the request
 * begins again (ledger.md, Keys).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "gate/gate_internal.h"

static const struct cg_wallet *find_cached(struct cg_request *req)
{
	struct cg_gate *gate = req->work.gate;

	return gate->terms == NULL ? NULL : cg_terms_cache__find(gate, &req->company);
}

void cg_ask__store_with_cached_terms(struct cg_request *req)
{
	const struct cg_wallet *wallet = find_cached(req);

	if (wallet == NULL || req->work.machine->resolve(req, wallet)) {
		cg_round__ask_store_anew(req);
	}
}

void cg_ask__store_with_terms(struct cg_request *req)
{
	const struct cg_wallet *wallet = find_cached(req);

	if (wallet == NULL) {
		cg_ask__terms(req);
	} else if (req->work.machine->resolve(req, wallet)) {
		cg_round__ask_store_anew(req);
	}
}

/* True where the reading found the wallet and there are plans to read it by; else answered. */
static bool has_wallet(struct cg_request *req, const struct cg_loaded *loaded)
{
	if (loaded->status != CG_OK) {
		cg_answer__ledger_read_failed(req, loaded->status);
		return false;
	}
	if (loaded->outcome != CG_LEDGER_DONE) {
		cg_answer__end(req, CG_NOT_FOUND, CG_REASON_NO_WALLET);
		return false;
	}
	if (req->work.gate->terms == NULL) {
		cg_answer__ledger_read_failed(req, CG_UNAVAILABLE);
		return false;
	}
	return true;
}

static void wait_for_wallet(struct cg_request *req, enum cg_step step,
    void (*loaded)(struct cg_request *req, const struct cg_loaded *loaded))
{
	cg_answer__move(req, step);
	req->work.loaded = loaded;
	enum cg_status status = cg_terms_cache__load(req->work.gate, req);
	if (status != CG_OK) {
		cg_answer__ledger_read_failed(req, status);
	}
}

static void on_terms(struct cg_request *req, const struct cg_loaded *loaded)
{
	if (has_wallet(req, loaded) && req->work.machine->resolve(req, &loaded->wallet)) {
		cg_round__ask_store_anew(req);
	}
}

void cg_ask__terms(struct cg_request *req)
{
	wait_for_wallet(req, CG_STEP_TERMS, on_terms);
}

void cg_ask__put_wallet(struct cg_request *req, const struct cg_loaded *loaded, bool announces,
    void (*done)(struct cg_store_op *op))
{
	struct cg_request_work *work = &req->work;

	CG_ASSERT(loaded->epoch != 0);
	cg_answer__move(req, CG_STEP_LOAD);
	work->store = (struct cg_store_op){
	    .verb = CG_STORE_LOAD,
	    .company = req->company,
	    .deadline_at_ms = cg_round__store_deadline(req),
	    .known_epoch = loaded->epoch,
	    .terms = work->terms,
	    .in.load = {.posted = loaded->wallet.posted,
	        .version = loaded->wallet.version,
	        .announces = announces},
	    .done = done,
	};
	work->gate->store->submit(work->gate->store, &work->store);
}

static void on_wallet_put(struct cg_store_op *op)
{
	struct cg_request *req = CG_CONTAINER_OF(op, struct cg_request, work.store);

	if (op->status == CG_RECOVERING) {
		cg_round__begin_again(req);
	} else if (op->status != CG_OK) {
		/* However the loading ended: the request itself was not sent again. */
		cg_answer__store_failed(
		    req, cg_status_is_unknown(op->status) ? CG_UNAVAILABLE : op->status);
	} else if (op->outcome != CG_STORE_DONE) {
		cg_answer__refused(req, op->outcome, op->state);
	} else {
		cg_round__ask_store_anew(req);
	}
}

static void on_wallet(struct cg_request *req, const struct cg_loaded *loaded)
{
	struct cg_request_work *work = &req->work;

	if (!has_wallet(req, loaded) || !work->machine->resolve(req, &loaded->wallet)) {
		return;
	}
	if (loaded->epoch == 0) {
		/* Read while nobody served the partition: it proves nothing. */
		cg_round__begin_again(req);
		return;
	}
	cg_ask__put_wallet(req, loaded, false, on_wallet_put);
}

void cg_ask__wallet(struct cg_request *req)
{
	if (cg_round__admits_another(req)) {
		wait_for_wallet(req, CG_STEP_WALLET, on_wallet);
	}
}

static void on_no_row(struct cg_request *req)
{
	req->work.is_asked = true;
	if (req->work.machine->on_no_row != NULL) {
		req->work.machine->on_no_row(req);
	} else {
		cg_round__ask_store_anew(req);
	}
}

static void on_key_read(struct cg_ledger_op *op)
{
	struct cg_request *req = CG_CONTAINER_OF(op, struct cg_request, work.ledger);

	if (op->status != CG_OK) {
		cg_answer__ledger_read_failed(req, op->status);
	} else if (op->outcome == CG_LEDGER_DONE) {
		req->work.machine->on_row(req, &op->out.row);
	} else if (op->outcome == CG_LEDGER_NO_KEY) {
		on_no_row(req);
	} else if (op->outcome == CG_LEDGER_NO_WALLET) {
		cg_answer__end(req, CG_NOT_FOUND, CG_REASON_NO_WALLET);
	} else {
		cg_answer__end(req, CG_INTERNAL, CG_REASON_LEDGER_UNAVAILABLE);
	}
}

void cg_ask__key(struct cg_request *req, uint64_t epoch)
{
	if (epoch == 0) {
		/* The answer of a store that names no epoch could not be proved with any. */
		cg_round__begin_again(req);
		return;
	}
	if (!cg_round__admits_another(req)) {
		return;
	}
	req->work.asked_epoch = epoch;
	req->work.ledger.in.key = req->work.machine->key(req);
	cg_round__submit_ledger(req, CG_STEP_KEY, CG_LEDGER_KEY_READ, on_key_read);
}

void cg_ask__balance(struct cg_request *req)
{
	cg_order__pass_on(req);
	req->work.wants_balance = true;
	req->work.was_resent = false;
	cg_round__ask_store_anew(req);
}

void cg_ask__kick(struct cg_request *req)
{
	struct cg_ledger_port *ledger = req->work.gate->ledger;

	ledger->kick(ledger, cg_round__partition(req));
	if (req->work.gate->config.wrote != NULL) {
		req->work.gate->config.wrote(
		    req->work.gate->config.wake_owner, cg_round__partition(req));
	}
}

static void on_committed(struct cg_ledger_op *op)
{
	struct cg_request *req = CG_CONTAINER_OF(op, struct cg_request, work.ledger);

	if (op->status == CG_OK && op->outcome == CG_LEDGER_DONE) {
		if (req->work.has_row) {
			cg_ask__balance(req);
		} else {
			cg_answer__ok(req);
		}
		return;
	}
	req->work.has_row = false;
	if (op->status == CG_OK && op->outcome == CG_LEDGER_OTHER_ENTRY) {
		/* The store forgot what was charged before: the ledger's row is the answer. */
		if (req->work.machine->restart != NULL) {
			req->work.machine->restart(req);
		} else {
			cg_ask__key(req, req->work.store.epoch);
		}
		return;
	}
	/*
	 * The store has it, and the ledger does not say so: it may still come, or, overtaken
	 * by a recovery or set aside, not.  The caller asks again with the same key.
	 */
	req->work.may_have_happened = true;
	cg_answer__ledger_failed(req, op->status == CG_OK ? CG_LOST : op->status);
}

void cg_ask__await(struct cg_request *req, const struct cg_entry_id *id, struct cg_ledger_key key)
{
	cg_order__pass_on(req);
	cg_ask__kick(req);
	req->work.ledger.in.await = (struct cg_ledger_await_in){.entry_id = *id, .key = key};
	cg_round__submit_ledger(req, CG_STEP_AWAIT, CG_LEDGER_AWAIT, on_committed);
}

void cg_ask__row_stands(struct cg_request *req, const struct cg_entry_id *id,
    struct cg_ledger_key key, enum cg_durability durability)
{
	if (durability == CG_DURABILITY_COMMITTED) {
		req->work.has_row = true;
		cg_ask__await(req, id, key);
	} else {
		cg_ask__balance(req);
	}
}
