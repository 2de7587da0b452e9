/*
 * Receipts that have no entry after a few seconds: applied as Credit would, by an internal
 * request.  Whoever wrote the receipt may have died, or met a store that was away.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "gate/gate_internal.h"

/* Who asked for it stands in the receipt already; a longer name is cut, and compared by nobody. */
#define ASKED_BY_MAX_BYTES 256

/* As long as the store takes one: the ledger's own (`undo:<entry id>`) may exceed a caller's. */
#define REFERENCE_MAX_BYTES 255

struct receipt {
	struct cg_request req;
	struct cg_list busy;
	char reference_id[REFERENCE_MAX_BYTES];
	char description[CG_DESCRIPTION_MAX_BYTES];
	char asked_by[ASKED_BY_MAX_BYTES];
};

void cg_receipts__init(struct cg_gate *gate)
{
	CG_ASSERT(cg_slab_init(&gate->receipts, sizeof(struct receipt),
	              gate->config.receipts_max > 0 ? gate->config.receipts_max : 1) == CG_OK);
	cg_list_init(&gate->receipts_busy);
}

void cg_receipts__deinit(struct cg_gate *gate)
{
	cg_slab_deinit(&gate->receipts);
}

static void note_failure(struct cg_gate *gate, const struct cg_request *req)
{
	uint64_t held_back = 0;

	if (cg_log_limit_admits(
	        &gate->receipts_log, cg_round__now(gate), CG_LOG_INTERVAL_MS, &held_back)) {
		cg_log(CG_LOG_WARN, "a receipt is still to be applied", "status",
		    cg_status_name(req->status), "type", cg_entry_type_name(req->in.credit.type),
		    "held_back", cg_log_int((int64_t)held_back), NULL);
	}
}

static void on_applied(struct cg_request *req)
{
	struct receipt *receipt = CG_CONTAINER_OF(req, struct receipt, req);
	struct cg_gate *gate = req->work.gate;

	/* A failure of the world is met again: the receipt is announced until it has its entry. */
	if (req->status != CG_OK && req->status != CG_CLOSING) {
		note_failure(gate, req);
	}
	cg_list_remove(&receipt->busy);
	cg_slab_give(&gate->receipts, receipt);
}

static bool is_busy(const struct cg_gate *gate, const struct cg_uuid *company,
    const struct cg_ledger_receipt_in *due)
{
	const struct cg_list *head = &gate->receipts_busy;

	for (struct cg_list *link = head->next; link != head; link = link->next) {
		struct receipt *receipt = CG_CONTAINER_OF(link, struct receipt, busy);
		const struct cg_credit_in *in = &receipt->req.in.credit;
		if (cg_uuid_equal(&receipt->req.company, company) && in->type == due->type &&
		    cg_view_equal(in->reference_id, due->reference_id)) {
			return true;
		}
	}
	return false;
}

static struct cg_view copy(char *memory, size_t capacity, struct cg_view text)
{
	size_t len = text.len < capacity ? text.len : capacity;

	if (len > 0) {
		memcpy(memory, text.data, len);
	}
	return (struct cg_view){memory, len};
}

void cg_receipts__on_due(
    void *owner, const struct cg_uuid *company, const struct cg_ledger_receipt_in *due)
{
	struct cg_gate *gate = owner;

	/* One that does not fit did not come from here; cutting its key would be another key. */
	if (is_busy(gate, company, due) || due->reference_id.len > REFERENCE_MAX_BYTES ||
	    due->description.len > CG_DESCRIPTION_MAX_BYTES) {
		return;
	}
	struct receipt *receipt = cg_slab_take(&gate->receipts);
	if (receipt == NULL) {
		return; /* It is announced again. */
	}
	receipt->req = (struct cg_request){
	    .method = CG_METHOD_CREDIT,
	    .company = *company,
	    /* Time for the receipt, for a wallet that is not loaded, and for the store. */
	    .deadline_at_ms = cg_round__now(gate) + 2 * (uint64_t)gate->config.ledger_timeout_ms,
	    .in.credit =
	        {
	            .amount = due->amount,
	            .type = due->type,
	            .reference_id =
	                copy(receipt->reference_id, REFERENCE_MAX_BYTES, due->reference_id),
	            .description =
	                copy(receipt->description, CG_DESCRIPTION_MAX_BYTES, due->description),
	            .durability = CG_DURABILITY_ACCEPTED,
	            .asked_by = copy(receipt->asked_by, ASKED_BY_MAX_BYTES, due->asked_by),
	        },
	    .done = on_applied,
	};
	cg_list_append(&gate->receipts_busy, &receipt->busy);
	cg_gate_submit(gate, &receipt->req);
}
