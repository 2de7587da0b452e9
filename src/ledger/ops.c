/*
 * The port: operations become jobs of the pool.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "ledger/ledger_internal.h"

static const struct cg_op_verb *const verbs[CG_LEDGER_VERB_COUNT] = {
    [CG_LEDGER_WALLET_READ] = &cg_wallets__read,
    [CG_LEDGER_WALLET_CREATE] = &cg_wallets__create,
    [CG_LEDGER_WALLET_UPDATE] = &cg_wallets__update,
    [CG_LEDGER_KEY_READ] = &cg_keys__read,
    [CG_LEDGER_RECEIPT_WRITE] = &cg_receipts__write,
    [CG_LEDGER_TERMS_READ] = &cg_terms__read,
};

void cg_ops__end_later(struct cg_ledger *ledger, struct cg_ledger_op *op, enum cg_status status)
{
	op->status = status;
	cg_list_init(&op->link);
	cg_list_append(&ledger->ending, &op->link);
	cg_timer_start(ledger->ending_timer, 0);
}

/* What the port's statuses mean for money: see gate/ports/store.h. */
static enum cg_status port_status(enum cg_status status)
{
	if (status == CG_INVALID || status == CG_KEY_REUSED) {
		return CG_INTERNAL; /* we sent what Postgres does not take */
	}
	return status == CG_DENIED ? CG_UNAVAILABLE : status;
}

static const char *prepare(struct cg_job *job, struct cg_params *params)
{
	struct cg_op_job *work = CG_CONTAINER_OF(job, struct cg_op_job, job);

	return verbs[work->op->verb]->prepare(work, params);
}

static bool on_end(struct cg_job *job, enum cg_status status, const PGresult *result)
{
	struct cg_op_job *work = CG_CONTAINER_OF(job, struct cg_op_job, job);
	struct cg_ledger *ledger = work->ledger;
	struct cg_ledger_op *op = work->op;

	op->status = port_status(status);
	if (status == CG_OK && verbs[op->verb]->decode(work, result)) {
		return true;
	}
	unsigned char *pairs = work->pairs;
	cg_slab_give(&ledger->op_jobs, work);
	op->done(op); /* Nothing of it may be touched after this. */
	PQfreemem(pairs);
	return false;
}

static void submit(struct cg_ledger_port *self, struct cg_ledger_op *op)
{
	struct cg_ledger *ledger = CG_CONTAINER_OF(self, struct cg_ledger, port);

	CG_ASSERT((unsigned)op->verb < CG_LEDGER_VERB_COUNT);
	op->replayed = false;
	if (ledger->is_closed || (ledger->is_stopping && op->verb != CG_LEDGER_AWAIT)) {
		cg_ops__end_later(ledger, op, CG_CLOSING);
		return;
	}
	if (op->verb == CG_LEDGER_AWAIT) {
		cg_await__submit(ledger, op);
		return;
	}
	struct cg_op_job *work = cg_slab_take(&ledger->op_jobs);
	if (work == NULL) {
		cg_ops__end_later(ledger, op, CG_FULL);
		return;
	}
	*work = (struct cg_op_job){
	    .job = {.deadline_at_ms = op->deadline_at_ms, .prepare = prepare, .on_end = on_end},
	    .ledger = ledger,
	    .op = op,
	};
	cg_pool__submit(ledger->pool, &work->job);
}

static void kick(struct cg_ledger_port *self, uint32_t partition)
{
	struct cg_ledger *ledger = CG_CONTAINER_OF(self, struct cg_ledger, port);

	CG_ASSERT(partition < ledger->config.partition_count);
	cg_flush__kick(&ledger->parts[partition]);
}

const struct cg_ledger_port cg_ops__port = {.submit = submit, .kick = kick};
