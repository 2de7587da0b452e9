/*
 * Replies to operations on wallets.  Every one begins with outcome, state, instant and
 * currency; what follows depends on the verb and stands in callgate/ where it is packed.
 *
 * Nothing in a reply is trusted: whatever does not fit ends CG_INTERNAL.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/wire_internal.h"

#define FLAG_PRICE      1u
#define FLAG_REPLAYED   2u
#define FLAG_LATE       4u
#define FLAG_CORRECTION 8u

static enum cg_call_state take_state(struct cg_cursor *in)
{
	return (enum cg_call_state)cg_wire_take_enum(in, CG_CALL_STOPPED);
}

static enum cg_decision take_decision(struct cg_cursor *in)
{
	return (enum cg_decision)cg_wire_take_enum(in, CG_DECISION_BARRED);
}

static enum cg_basis take_basis(struct cg_cursor *in)
{
	return (enum cg_basis)cg_wire_take_enum(in, CG_BASIS_ASSUMED);
}

/* epoch 0: none, and then no partition either. */
static void take_entry_id(struct cg_cursor *in, uint32_t partition, struct cg_entry_id *ret_id)
{
	ret_id->epoch = cg_cursor_uint(in, 8);
	ret_id->n = cg_cursor_uint(in, 8);
	ret_id->partition = ret_id->epoch == 0 ? 0 : partition;
}

static void take_authorize(struct cg_cursor *in, struct cg_store_authorize_out *out)
{
	out->decision = take_decision(in);
	out->shadow_decision = take_decision(in);
	uint64_t flags = cg_cursor_uint(in, 1);
	out->has_price = (flags & FLAG_PRICE) != 0;
	out->replayed = (flags & FLAG_REPLAYED) != 0;
	cg_wire_take_price(in, &out->price);
	out->held = cg_wire_take_money(in);
	out->available = cg_wire_take_money(in);
	out->required = cg_wire_take_money(in);
	out->max_duration_ms = cg_wire_take_uint(in, 4);
	out->expires_at_ms = cg_wire_take_uint(in, 6);
}

static void take_start(struct cg_cursor *in, struct cg_store_start_out *out)
{
	out->decision = take_decision(in);
	out->shadow_decision = take_decision(in);
	out->started_at_ms = cg_wire_take_uint(in, 6);
	out->max_duration_ms = cg_wire_take_uint(in, 4);
	out->available = cg_wire_take_money(in);
	out->replayed = cg_wire_take_bool(in);
}

static void take_stop(struct cg_cursor *in, struct cg_store_stop_out *out)
{
	out->metered_ms = cg_wire_take_uint(in, 6);
	out->accrued = cg_wire_take_money(in);
	out->available = cg_wire_take_money(in);
	out->replayed = cg_wire_take_bool(in);
}

static void take_settle(struct cg_cursor *in, uint32_t partition, struct cg_store_settle_out *out)
{
	out->cost = cg_wire_take_money(in);
	out->billed_ms = cg_wire_take_uint(in, 4);
	out->balance = cg_wire_take_money(in);
	out->available = cg_wire_take_money(in);
	uint64_t flags = cg_cursor_uint(in, 1);
	out->replayed = (flags & FLAG_REPLAYED) != 0;
	out->late = (flags & FLAG_LATE) != 0;
	out->is_correction = (flags & FLAG_CORRECTION) != 0;
	out->duration_ms = cg_wire_take_uint(in, 4);
	out->basis = take_basis(in);
	cg_wire_take_price(in, &out->price);
	out->corrected = cg_wire_take_money(in);
	take_entry_id(in, partition, &out->entry_id);
}

static void take_cancel(struct cg_cursor *in, struct cg_store_cancel_out *out)
{
	out->released = cg_wire_take_money(in);
	out->available = cg_wire_take_money(in);
	out->replayed = cg_wire_take_bool(in);
}

static void take_adopt(struct cg_cursor *in, struct cg_store_adopt_out *out)
{
	cg_wire_take_price(in, &out->price);
	out->max_duration_ms = cg_wire_take_uint(in, 4);
	out->held = cg_wire_take_money(in);
	out->available = cg_wire_take_money(in);
	out->replayed = cg_wire_take_bool(in);
}

static void take_posted(struct cg_cursor *in, uint32_t partition, struct cg_store_posted_out *out)
{
	out->balance = cg_wire_take_money(in);
	out->available = cg_wire_take_money(in);
	out->replayed = cg_wire_take_bool(in);
	take_entry_id(in, partition, &out->entry_id);
}

static void take_balance(struct cg_cursor *in, struct cg_store_balance_out *out)
{
	out->posted = cg_wire_take_money(in);
	out->held = cg_wire_take_money(in);
	out->accrued = cg_wire_take_money(in);
	out->credit_limit = cg_wire_take_money(in);
	out->available = cg_wire_take_money(in);
	out->burn_per_minute = cg_wire_take_money(in);
	out->active_calls = cg_wire_take_uint(in, 4);
	out->exhausts_at_ms = cg_wire_take_uint(in, 8);
	uint64_t flags = cg_cursor_uint(in, 1);
	out->credit_unlimited = (flags & 1u) != 0;
	out->frozen = (flags & 2u) != 0;
	out->version = cg_cursor_uint(in, 8);
}

static void take_call(
    struct cg_cursor *in, const struct cg_store_op *op, uint32_t partition, struct cg_call *call)
{
	*call = (struct cg_call){.company = op->company, .currency = op->currency};
	call->state = take_state(in);
	cg_wire_take_price(in, &call->price);
	call->held = cg_wire_take_money(in);
	call->accrued = cg_wire_take_money(in);
	call->authorized_at_ms = cg_wire_take_uint(in, 6);
	call->started_at_ms = cg_wire_take_uint(in, 6);
	call->expires_at_ms = cg_wire_take_uint(in, 6);
	call->shadow_decision = take_decision(in);
	call->ended_at_ms = cg_wire_take_uint(in, 6);
	call->cost = cg_wire_take_money(in);
	call->billed_ms = cg_wire_take_uint(in, 4);
	call->duration_ms = cg_wire_take_uint(in, 4);
	call->basis = take_basis(in);
	call->late = cg_wire_take_bool(in);
	take_entry_id(in, partition, &call->entry_id);
	call->call_id = cg_cursor_text(in, 1);
	call->resource_type = cg_cursor_text(in, 1);
	call->destination = cg_cursor_text(in, 1);
	call->meta.pairs = cg_cursor_text(in, 2);
}

static void take_calls(struct cg_cursor *in, struct cg_store_op *op, uint32_t partition)
{
	uint64_t count = cg_cursor_uint(in, 4);

	op->out.calls.more = cg_wire_take_bool(in);
	if (count > op->in.calls.calls_max) {
		in->overrun = true;
		return;
	}
	for (uint64_t i = 0; i < count && !in->overrun; i++) {
		take_call(in, op, partition, &op->in.calls.calls[i]);
	}
	op->out.calls.count = (uint32_t)count;
}

static void take_live(struct cg_cursor *in, struct cg_store_live_out *out)
{
	if (in->left % sizeof(struct cg_uuid) != 0) {
		in->overrun = true;
		return;
	}
	out->companies = cg_cursor_bytes(in, in->left);
}

/* Where the outcome is DONE; of SETTLE also where the key stands for other content. */
static void take_out(struct cg_cursor *in, struct cg_store_op *op, uint32_t partition)
{
	switch (op->verb) {
	case CG_STORE_AUTHORIZE:
		take_authorize(in, &op->out.authorize);
		op->out.authorize.state = op->state;
		return;
	case CG_STORE_START:
		take_start(in, &op->out.start);
		return;
	case CG_STORE_STOP:
		take_stop(in, &op->out.stop);
		return;
	case CG_STORE_SETTLE:
		take_settle(in, partition, &op->out.settle);
		return;
	case CG_STORE_CANCEL:
		take_cancel(in, &op->out.cancel);
		return;
	case CG_STORE_ADOPT:
		take_adopt(in, &op->out.adopt);
		return;
	case CG_STORE_CREDIT:
	case CG_STORE_CHARGE:
		take_posted(in, partition, &op->out.posted);
		return;
	case CG_STORE_BALANCE:
		take_balance(in, &op->out.balance);
		return;
	case CG_STORE_GET_CALL:
		take_call(in, op, partition, &op->out.call);
		return;
	case CG_STORE_CALLS:
		take_calls(in, op, partition);
		return;
	case CG_STORE_LIVE_WALLETS:
		take_live(in, &op->out.live);
		return;
	case CG_STORE_LOAD:
		return;
	case CG_STORE_VERB_COUNT:
		break;
	}
	CG_UNREACHABLE();
}

void cg_wire_decode(struct cg_store_op *op, uint32_t partition, struct cg_view reply)
{
	struct cg_cursor in;

	memset(&op->out, 0, sizeof op->out);
	cg_cursor_init(&in, reply);
	if (reply.len == 1 && (uint8_t)reply.data[0] == CG_WIRE_REFUSED) {
		op->status = CG_RECOVERING;
		return;
	}
	op->outcome = (enum cg_store_outcome)cg_wire_take_enum(&in, CG_STORE_TOO_LATE);
	op->state = take_state(&in);
	op->as_of_ms = cg_wire_take_uint(&in, 8);
	cg_wire_take_currency(&in, &op->currency);

	/* A key taken by something else than a settled call comes without details. */
	bool has_details = op->outcome == CG_STORE_DONE ||
	    (op->verb == CG_STORE_SETTLE && op->outcome == CG_STORE_KEY_REUSED);
	if (has_details) {
		take_out(&in, op, partition);
	}
	op->status = in.overrun || in.left != 0 ? CG_INTERNAL : CG_OK;
}

bool cg_wire_take_one(struct cg_cursor *replies, struct cg_view *ret_reply)
{
	*ret_reply = cg_cursor_text(replies, 2);
	if (replies->overrun || ret_reply->len == 0) {
		*ret_reply = CG_VIEW_LITERAL("the reply to many operations is for fewer");
		return false;
	}
	if ((uint8_t)ret_reply->data[0] != CG_WIRE_FAILED) {
		return true;
	}
	ret_reply->data++;
	ret_reply->len--;
	return false;
}
