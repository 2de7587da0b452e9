/*
 * Due work and the reading of events: their commands and their replies.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/wire_internal.h"

#define FLAG_FROM_NOW 1u
#define READ_MAX      1000

static const struct cg_wire_function functions[] = {
    [CG_EVENTS_TICK] = {"tick", 7,
        {CG_WIRE_KEY_HEAD, CG_WIRE_KEY_DUE, CG_WIRE_KEY_ENDED_0, CG_WIRE_KEY_ENDED_1,
            CG_WIRE_KEY_LEDGER, CG_WIRE_KEY_EVENTS, CG_WIRE_KEY_WALLET}},
    [CG_EVENTS_READ] = {"events", 3, {CG_WIRE_KEY_HEAD, CG_WIRE_KEY_LEDGER, CG_WIRE_KEY_EVENTS}},
};

static void put_id(struct cg_buffer *out, const struct cg_stream_id *id)
{
	cg_buffer_uint(out, id->epoch, 8);
	cg_buffer_uint(out, id->n, 8);
}

static void put_read(struct cg_buffer *out, const struct cg_events_op *op)
{
	/* From now on nothing is read, but the function wants a number it knows. */
	uint32_t most = op->in.read.from_now ? 1 : op->in.read.events_max;

	CG_ASSERT(most >= 1 && most <= READ_MAX);
	cg_buffer_uint(out, op->in.read.from_now ? FLAG_FROM_NOW : 0, 1);
	put_id(out, &op->in.read.after.event);
	put_id(out, &op->in.read.after.entry);
	cg_buffer_uint(out, most, 4);
}

void cg_wire_encode_events(const struct cg_events_op *op, uint64_t epoch, struct cg_buffer *out)
{
	bool is_tick = op->verb == CG_EVENTS_TICK;
	uint32_t wallet_count = is_tick ? op->in.tick.wallet_count : 0;

	CG_ASSERT(wallet_count <= CG_TICK_WALLETS_MAX);
	size_t begin = cg_wire_begin(out, &functions[op->verb], op->partition,
	    is_tick ? op->in.tick.wallets : NULL, wallet_count);
	cg_buffer_uint(out, epoch, 8);
	if (is_tick) {
		cg_buffer_uint(out, op->in.tick.events_keep, 4);
	} else {
		put_read(out, op);
	}
	cg_wire_end(out, begin);
}

static void take_id(struct cg_cursor *in, struct cg_stream_id *ret_id)
{
	ret_id->epoch = cg_cursor_uint(in, 8);
	ret_id->n = cg_cursor_uint(in, 8);
}

static void take_tick(struct cg_cursor *in, struct cg_events_op *op)
{
	op->out.tick.worked = (uint32_t)cg_cursor_uint(in, 4);
	take_id(in, &op->out.tick.last.event);
	take_id(in, &op->out.tick.last.entry);
	uint64_t count = cg_cursor_uint(in, 4);
	if (count > CG_TICK_WALLETS_MAX) {
		in->overrun = true;
		return;
	}
	for (uint64_t i = 0; i < count; i++) {
		struct cg_due *due = &op->out.tick.due[i];
		struct cg_view company = cg_cursor_bytes(in, sizeof due->company.bytes);
		if (company.len > 0) {
			memcpy(due->company.bytes, company.data, company.len);
		}
		due->at_ms = cg_wire_take_uint(in, 8);
	}
	op->out.tick.due_count = (uint32_t)count;
}

/* The list begins here; walks to its end, so that the framing of every record is checked. */
static void take_list(struct cg_cursor *in, struct cg_wire_list *list)
{
	struct cg_wire_record record;

	list->records = *in;
	for (uint32_t i = 0; i < list->count && !in->overrun; i++) {
		cg_wire_take_record(in, &record);
	}
}

static void take_read(struct cg_cursor *in, struct cg_events_op *op)
{
	uint32_t most = op->in.read.from_now ? 0 : op->in.read.events_max;
	struct cg_wire_list events = {0};
	struct cg_wire_list entries = {0};

	take_id(in, &events.last);
	take_id(in, &entries.last);
	events.goes_on = cg_wire_take_bool(in);
	entries.goes_on = cg_wire_take_bool(in);
	events.count = (uint32_t)cg_cursor_uint(in, 4);
	entries.count = (uint32_t)cg_cursor_uint(in, 4);
	if (events.count > most || entries.count > most) {
		in->overrun = true;
		return;
	}
	take_list(in, &events);
	take_list(in, &entries);
	if (!in->overrun && !cg_wire_merge(op, &events, &entries)) {
		in->overrun = true;
	}
}

static bool may_answer(const struct cg_events_op *op, unsigned outcome)
{
	return outcome == CG_STORE_DONE ||
	    (outcome == CG_STORE_OUT_OF_RANGE && op->verb == CG_EVENTS_READ);
}

void cg_wire_decode_events(struct cg_events_op *op, struct cg_view reply)
{
	struct cg_cursor in;

	memset(&op->out, 0, sizeof op->out);
	op->now_ms = 0;
	if (reply.len == 1 && (uint8_t)reply.data[0] == CG_WIRE_REFUSED) {
		op->status = CG_RECOVERING;
		return;
	}
	cg_cursor_init(&in, reply);
	unsigned outcome = cg_wire_take_enum(&in, CG_STORE_TOO_LATE);
	(void)cg_wire_take_enum(&in, CG_CALL_NONE); /* where others have a call's state */
	op->now_ms = cg_wire_take_uint(&in, 8);
	op->status = outcome == CG_STORE_DONE ? CG_OK : CG_OUT_OF_RANGE;

	if (outcome == CG_STORE_DONE && op->verb == CG_EVENTS_TICK) {
		take_tick(&in, op);
	} else if (outcome == CG_STORE_DONE) {
		take_read(&in, op);
	}
	if (in.overrun || in.left != 0 || !may_answer(op, outcome)) {
		memset(&op->out, 0, sizeof op->out);
		op->status = CG_INTERNAL;
	}
}
