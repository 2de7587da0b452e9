/*
 * Operations on partitions: their commands, their replies, and the ledger entries.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/wire_internal.h"

#define PARTITION_KEYS                                                                             \
	CG_WIRE_KEY_HEAD, CG_WIRE_KEY_LEDGER, CG_WIRE_KEY_EVENTS, CG_WIRE_KEY_DUE,                 \
	    CG_WIRE_KEY_ENDED_0, CG_WIRE_KEY_ENDED_1
#define FUNCTION(text, count, ...)                                                                 \
	{                                                                                          \
		text, count,                                                                       \
		{                                                                                  \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}

#define ENTRY_LAYOUT        2
#define ENTRY_IS_CHARGE     1u
#define ENTRY_LATE          2u
#define ENTRY_IS_CORRECTION 4u
#define ENTRY_HAS_SHADOW    8u

#define LOST_IS_CHARGE    1u
#define LOST_LATE         2u
#define LOST_IS_CORRECTED 4u

static const struct cg_wire_function functions[] = {
    [CG_PARTITION_HELLO] = FUNCTION("hello", 1, CG_WIRE_KEY_HEAD),
    [CG_PARTITION_FENCE] = FUNCTION("fence", 6, PARTITION_KEYS),
    [CG_PARTITION_DROP] = FUNCTION("drop", 6, PARTITION_KEYS),
    /* As an operation's: repairing is one, except that nothing is due meanwhile. */
    [CG_PARTITION_REPAIR] =
        FUNCTION("repair", 7, CG_WIRE_KEY_HEAD, CG_WIRE_KEY_WALLET, CG_WIRE_KEY_DUE,
            CG_WIRE_KEY_ENDED_0, CG_WIRE_KEY_ENDED_1, CG_WIRE_KEY_LEDGER, CG_WIRE_KEY_EVENTS),
    [CG_PARTITION_SERVE] = FUNCTION("serve", 1, CG_WIRE_KEY_HEAD),
    [CG_PARTITION_READ] = FUNCTION("read", 2, CG_WIRE_KEY_HEAD, CG_WIRE_KEY_LEDGER),
    [CG_PARTITION_TRIM] = FUNCTION("trim", 6, PARTITION_KEYS),
};

static void put_deployment(struct cg_buffer *out, const struct cg_deployment *deployment)
{
	cg_buffer_bytes(out, deployment->id.bytes, sizeof deployment->id.bytes);
	cg_buffer_uint(out, deployment->partition_count, 4);
}

/* As 22_repair.lua reads it; of a corrected call the correction's id, duration and basis. */
static void put_lost(struct cg_buffer *out, const struct cg_repair_entry *entry)
{
	const struct cg_ledger_row *row = &entry->row;
	const struct cg_entry_id *id = row->is_corrected ? &row->correction_id : &row->entry_id;
	bool corrected = row->is_corrected;

	cg_buffer_uint(out, entry->key.type, 1);
	cg_buffer_uint(out,
	    (row->is_charge ? LOST_IS_CHARGE : 0u) | (row->late ? LOST_LATE : 0u) |
	        (corrected ? LOST_IS_CORRECTED : 0u),
	    1);
	cg_buffer_uint(out, id->epoch, 8);
	cg_buffer_uint(out, id->n, 8);
	cg_wire_put_int(out, row->amount.micros);
	cg_wire_put_int(out, corrected ? row->corrected.micros : 0);
	cg_wire_put_int(out, row->quantity);
	cg_wire_put_price(out, true, &row->price);
	cg_buffer_uint(
	    out, (uint64_t)(corrected ? row->corrected_duration_ms : row->duration_ms), 4);
	cg_buffer_uint(out, (uint64_t)(corrected ? row->corrected_billed_ms : row->billed_ms), 4);
	cg_buffer_uint(out, corrected ? row->corrected_basis : row->basis, 1);
	cg_buffer_uint(out, (uint64_t)row->authorized_at_ms, 6);
	cg_buffer_uint(out, (uint64_t)row->started_at_ms, 6);
	cg_buffer_uint(out, (uint64_t)row->ended_at_ms, 6);
	cg_buffer_text(out, entry->key.reference_id, 1);
	cg_buffer_text(out, row->resource_type, 1);
	cg_buffer_text(out, row->destination, 1);
	cg_buffer_text(out, row->meta.pairs, 2);
}

static void put_repair(struct cg_buffer *out, const struct cg_partition_op *op)
{
	CG_ASSERT(op->in.repair.entry_count <= CG_REPAIR_ENTRIES_MOST);
	cg_buffer_uint(out, op->in.repair.epoch, 8);
	cg_wire_put_int(out, op->in.repair.posted.micros);
	cg_buffer_uint(out, op->in.repair.version, 8);
	cg_buffer_uint(out, op->in.repair.entry_count, 4);
	for (uint32_t i = 0; i < op->in.repair.entry_count; i++) {
		put_lost(out, &op->in.repair.entries[i]);
	}
}

void cg_wire_encode_partition(const struct cg_partition_op *op, uint64_t epoch,
    const struct cg_wire_config *config, struct cg_buffer *out)
{
	/* Of REPAIR alone a wallet is among the keys. */
	size_t begin =
	    cg_wire_begin(out, &functions[op->verb], op->partition, &op->in.repair.company, 1);

	switch (op->verb) {
	case CG_PARTITION_HELLO:
		put_deployment(out, &op->in.hello);
		break;
	case CG_PARTITION_FENCE:
		cg_buffer_uint(out, op->in.fence.epoch, 8);
		put_deployment(out, &op->in.fence.deployment);
		cg_buffer_uint(out, op->in.fence.ledger_served, 8);
		cg_buffer_uint(out, op->in.fence.ledger_served_from, 8);
		break;
	case CG_PARTITION_DROP:
		cg_buffer_uint(out, op->in.drop.epoch, 8);
		break;
	case CG_PARTITION_REPAIR:
		put_repair(out, op);
		break;
	case CG_PARTITION_SERVE:
		cg_buffer_uint(out, op->in.serve.epoch, 8);
		break;
	case CG_PARTITION_READ:
		cg_buffer_uint(out, epoch, 8);
		cg_buffer_uint(out, op->in.read.after_epoch, 8);
		cg_buffer_uint(out, op->in.read.after_n, 8);
		cg_buffer_uint(out, op->in.read.entries_max, 4);
		break;
	case CG_PARTITION_TRIM:
		cg_buffer_uint(out, epoch, 8);
		cg_buffer_uint(out, op->in.trim.upto_epoch, 8);
		cg_buffer_uint(out, op->in.trim.upto_n, 8);
		cg_buffer_uint(out, op->in.trim.flushed_epoch, 8);
		cg_buffer_uint(out, op->in.trim.flushed_n, 8);
		cg_wire_put_int(out, op->in.trim.margin_ms);
		cg_wire_put_int(out, config->ended_keep_ms);
		cg_buffer_uint(out, config->ended_max, 8);
		break;
	}
	cg_wire_end(out, begin);
}

static void take_hello(struct cg_cursor *in, struct cg_partition_op *op)
{
	uint64_t condition = cg_cursor_uint(in, 1);

	if (condition > CG_PARTITION_OTHER_DEPLOYMENT) {
		in->overrun = true;
		return;
	}
	op->out.hello.condition = (enum cg_partition_condition)condition;
	op->out.hello.epoch = cg_cursor_uint(in, 8);
	op->out.hello.trimmed_epoch = cg_cursor_uint(in, 8);
	op->out.hello.trimmed_n = cg_cursor_uint(in, 8);
	op->out.hello.now_ms = cg_cursor_int(in, 8);
}

static void take_fence(struct cg_cursor *in, struct cg_partition_op *op)
{
	op->out.fence.overtaken = cg_wire_take_bool(in);
	op->out.fence.former_epoch = cg_cursor_uint(in, 8);
	op->out.fence.served_epoch = cg_cursor_uint(in, 8);
	op->out.fence.judged_epoch = cg_cursor_uint(in, 8);
	op->out.fence.last_epoch = cg_cursor_uint(in, 8);
	op->out.fence.last_n = cg_cursor_uint(in, 8);
	op->out.fence.trimmed_epoch = cg_cursor_uint(in, 8);
	op->out.fence.trimmed_n = cg_cursor_uint(in, 8);
}

static void take_flags(struct cg_cursor *in, struct cg_ledger_entry_body *body)
{
	uint64_t flags = cg_cursor_uint(in, 1);

	body->is_charge = (flags & ENTRY_IS_CHARGE) != 0;
	body->late = (flags & ENTRY_LATE) != 0;
	body->is_correction = (flags & ENTRY_IS_CORRECTION) != 0;
	body->has_shadow = (flags & ENTRY_HAS_SHADOW) != 0;
}

static void take_shadow(struct cg_cursor *in, struct cg_ledger_entry_body *body)
{
	body->shadow_decision = (enum cg_decision)cg_wire_take_enum(in, CG_DECISION_BARRED);
	body->shadow_cut_at_ms = cg_wire_take_uint(in, 6);
	body->shadow_saved = cg_wire_take_money(in);
}

/* The body that append() in callgate/10_entries.lua packs; at_ms stands at byte 43, where trim reads it. */
static void take_body(struct cg_cursor *in, struct cg_entry *entry)
{
	struct cg_ledger_entry_body *body = &entry->body;

	uint64_t layout = cg_cursor_uint(in, 1);
	struct cg_view company = cg_cursor_bytes(in, sizeof entry->company.bytes);
	entry->version = cg_cursor_uint(in, 8);
	uint64_t type = cg_cursor_uint(in, 1);
	body->amount = cg_wire_take_money(in);
	body->balance_after = cg_wire_take_money(in);
	body->at_ms = (int64_t)cg_cursor_uint(in, 6);
	take_flags(in, body);
	body->quantity = cg_cursor_int(in, 8);
	cg_wire_take_price(in, &body->price);
	cg_wire_take_currency(in, &body->currency);
	body->duration_ms = (int64_t)cg_cursor_uint(in, 4);
	body->billed_ms = (int64_t)cg_cursor_uint(in, 4);
	uint64_t basis = cg_cursor_uint(in, 1);
	body->authorized_at_ms = (int64_t)cg_cursor_uint(in, 6);
	body->started_at_ms = (int64_t)cg_cursor_uint(in, 6);
	body->ended_at_ms = (int64_t)cg_cursor_uint(in, 6);
	body->available = cg_wire_take_money(in);
	body->exhausts_at_ms = (int64_t)cg_cursor_uint(in, 6);
	body->reference_id = cg_cursor_text(in, 1);
	body->description = cg_cursor_text(in, 2);
	body->resource_type = cg_cursor_text(in, 1);
	body->destination = cg_cursor_text(in, 1);
	body->meta.pairs = cg_cursor_text(in, 2);
	if (body->has_shadow) {
		take_shadow(in, body);
	}

	if (in->overrun || in->left != 0 || layout != ENTRY_LAYOUT || type < CG_ENTRY_TOP_UP ||
	    type > CG_ENTRY_USAGE || basis > CG_BASIS_ASSUMED) {
		in->overrun = true;
		return;
	}
	memcpy(entry->company.bytes, company.data, sizeof entry->company.bytes);
	body->type = (enum cg_entry_type)type;
	body->basis = (enum cg_basis)basis;
}

bool cg_wire_read_entry(
    const struct cg_wire_record *record, uint32_t partition, struct cg_entry *ret_entry)
{
	struct cg_cursor body;

	*ret_entry = (struct cg_entry){
	    .id = {.partition = partition, .epoch = record->id.epoch, .n = record->id.n}};
	cg_cursor_init(&body, record->blob);
	take_body(&body, ret_entry);
	return !body.overrun;
}

static void take_read(struct cg_cursor *in, struct cg_partition_op *op)
{
	uint64_t count = cg_cursor_uint(in, 4);

	op->out.read.more = cg_wire_take_bool(in);
	op->out.read.now_ms = cg_cursor_int(in, 8);
	op->out.read.trimmed_epoch = cg_cursor_uint(in, 8);
	op->out.read.trimmed_n = cg_cursor_uint(in, 8);
	if (count > op->in.read.entries_max) {
		in->overrun = true;
		return;
	}
	bool is_readable = true;
	for (uint64_t i = 0; i < count && !in->overrun; i++) {
		struct cg_wire_record record;
		cg_wire_take_record(in, &record);
		is_readable = is_readable &&
		    cg_wire_read_entry(
		        &record, op->partition, &op->in.read.entries[op->out.read.count]);
		op->out.read.count += is_readable ? 1 : 0;
	}
	op->out.read.is_unreadable = !is_readable;
	op->out.read.more = op->out.read.more || !is_readable;
}

static void take_trim(struct cg_cursor *in, struct cg_partition_op *op)
{
	op->out.trim.removed = (uint32_t)cg_cursor_uint(in, 4);
	op->out.trim.length = cg_cursor_uint(in, 8);
}

void cg_wire_decode_partition(struct cg_partition_op *op, struct cg_view reply)
{
	struct cg_cursor in;

	memset(&op->out, 0, sizeof op->out);
	if (reply.len == 1 && (uint8_t)reply.data[0] == CG_WIRE_REFUSED) {
		op->status = CG_RECOVERING;
		return;
	}
	cg_cursor_init(&in, reply);
	bool done = cg_cursor_uint(&in, 1) == CG_STORE_DONE;

	switch (op->verb) {
	case CG_PARTITION_HELLO:
		take_hello(&in, op);
		break;
	case CG_PARTITION_FENCE:
		take_fence(&in, op);
		break;
	case CG_PARTITION_DROP:
		op->out.drop.overtaken = cg_wire_take_bool(&in);
		break;
	case CG_PARTITION_REPAIR:
		op->out.repair.overtaken = cg_wire_take_bool(&in);
		break;
	case CG_PARTITION_SERVE:
		op->out.serve.overtaken = cg_wire_take_bool(&in);
		break;
	case CG_PARTITION_READ:
		take_read(&in, op);
		break;
	case CG_PARTITION_TRIM:
		take_trim(&in, op);
		break;
	}
	op->status = !done || in.overrun || in.left != 0 ? CG_INTERNAL : CG_OK;
}
