/* SPDX-License-Identifier: Apache-2.0 */
#include "seams.h"

#include "clock.h"
#include "gate/request.h"
#include "postgres.h"
#include "rules.h"

static void submit_to_store(struct cg_store_port *self, struct cg_store_op *op)
{
	struct seams *seams = CG_CONTAINER_OF(self, struct seams, store);

	if (!sim_rule_holds(SIM_RULE_KNOWN_EPOCH)) {
		op->known_epoch = 0;
	}
	seams->real_store->submit(seams->real_store, op);
}

static uint64_t epoch_of(struct cg_store_port *self, uint32_t partition)
{
	struct seams *seams = CG_CONTAINER_OF(self, struct seams, store);

	return seams->real_store->epoch(seams->real_store, partition);
}

static int64_t store_time(struct cg_store_port *self, uint64_t at_ms)
{
	struct seams *seams = CG_CONTAINER_OF(self, struct seams, store);

	return seams->real_store->store_time(seams->real_store, at_ms);
}

/* Waits as if a position alone said that an entry is committed. */
static void look_at_position(void *arg)
{
	struct cg_ledger_op *op = arg;
	const struct cg_entry_id *id = &op->in.await.entry_id;
	const struct pg_cursor *cursor = &postgres.now.cursors[id->partition];

	if (cursor->last_epoch > id->epoch ||
	    (cursor->last_epoch == id->epoch && cursor->last_n >= id->n)) {
		op->status = CG_OK;
		op->outcome = CG_LEDGER_DONE;
		op->done(op);
	} else {
		(void)sim_after(20, look_at_position, op);
	}
}

static void say_done(void *arg)
{
	struct cg_ledger_op *op = arg;

	op->status = CG_OK;
	op->outcome = CG_LEDGER_DONE;
	op->done(op);
}

static bool is_replayed(const struct cg_ledger_op *op)
{
	const struct cg_request *request = (const struct cg_request *)((const char *)op -
	    offsetof(struct cg_request, work.ledger));

	return request->method == CG_METHOD_SETTLE ? request->out.settle.store.replayed
	                                           : request->out.posted.replayed;
}

static void submit_to_ledger(struct cg_ledger_port *self, struct cg_ledger_op *op)
{
	struct seams *seams = CG_CONTAINER_OF(self, struct seams, ledger);
	bool awaits = op->verb == CG_LEDGER_AWAIT;

	if (awaits && !sim_rule_holds(SIM_RULE_REPLAYED_WAITS) && is_replayed(op)) {
		(void)sim_after(1, say_done, op);
	} else if (awaits && !sim_rule_holds(SIM_RULE_COMMITTED_EPOCH)) {
		(void)sim_after(1, look_at_position, op);
	} else {
		seams->real_ledger->submit(seams->real_ledger, op);
	}
}

static void kick(struct cg_ledger_port *self, uint32_t partition)
{
	struct seams *seams = CG_CONTAINER_OF(self, struct seams, ledger);

	seams->real_ledger->kick(seams->real_ledger, partition);
}

void seams_init(struct seams *seams, struct cg_store_port *store, struct cg_ledger_port *ledger)
{
	*seams = (struct seams){.store = {.submit = submit_to_store,
	                            .epoch = epoch_of,
	                            .store_time = store_time,
	                            .partition_count = store->partition_count},
	    .ledger = {.submit = submit_to_ledger, .kick = kick},
	    .real_store = store,
	    .real_ledger = ledger};
}
