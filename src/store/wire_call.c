/*
 * Operations on wallets become commands.  The layout of each argument stands above the
 * function in callgate/ that reads it; the order here is the same.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/wire_internal.h"

#define READING_KEYS                                                                               \
	CG_WIRE_KEY_HEAD, CG_WIRE_KEY_WALLET, CG_WIRE_KEY_DUE, CG_WIRE_KEY_ENDED_0,                \
	    CG_WIRE_KEY_ENDED_1
/* Whatever writes a wallet first does what is due on it, and that may write anything. */
#define WRITING_KEYS READING_KEYS, CG_WIRE_KEY_LEDGER, CG_WIRE_KEY_EVENTS
#define FUNCTION(text, count, ...)                                                                 \
	{                                                                                          \
		text, count,                                                                       \
		{                                                                                  \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}

#define FLAG_ANNOUNCES    8u
#define FLAG_ONLY_PRESENT 16u

static const struct cg_wire_function functions[CG_STORE_VERB_COUNT] = {
    [CG_STORE_AUTHORIZE] = FUNCTION("authorize", 7, WRITING_KEYS),
    [CG_STORE_START] = FUNCTION("start", 7, WRITING_KEYS),
    [CG_STORE_STOP] = FUNCTION("stop", 7, WRITING_KEYS),
    [CG_STORE_SETTLE] = FUNCTION("settle", 7, WRITING_KEYS),
    [CG_STORE_CANCEL] = FUNCTION("cancel", 7, WRITING_KEYS),
    [CG_STORE_ADOPT] = FUNCTION("adopt", 7, WRITING_KEYS),
    [CG_STORE_CREDIT] = FUNCTION("credit", 7, WRITING_KEYS),
    [CG_STORE_CHARGE] = FUNCTION("charge", 7, WRITING_KEYS),
    [CG_STORE_BALANCE] = FUNCTION("balance", 2, CG_WIRE_KEY_HEAD, CG_WIRE_KEY_WALLET),
    [CG_STORE_GET_CALL] = FUNCTION("get_call", 5, READING_KEYS),
    [CG_STORE_CALLS] = FUNCTION("calls", 2, CG_WIRE_KEY_HEAD, CG_WIRE_KEY_WALLET),
    [CG_STORE_LIVE_WALLETS] = FUNCTION("live_wallets", 2, CG_WIRE_KEY_HEAD, CG_WIRE_KEY_DUE),
    [CG_STORE_LOAD] = FUNCTION("load", 7, WRITING_KEYS),
};

/* Of many operations the wallets come last. */
#define MANY_KEYS                                                                                  \
	CG_WIRE_KEY_HEAD, CG_WIRE_KEY_DUE, CG_WIRE_KEY_ENDED_0, CG_WIRE_KEY_ENDED_1,               \
	    CG_WIRE_KEY_LEDGER, CG_WIRE_KEY_EVENTS, CG_WIRE_KEY_WALLET

static const struct cg_wire_function many_functions[CG_WIRE_GROUP_COUNT] = {
    [CG_WIRE_BEGINNING] = FUNCTION("begin_many", 7, MANY_KEYS),
    [CG_WIRE_FINISHING] = FUNCTION("finish_many", 7, MANY_KEYS),
};

static unsigned bit(bool set, unsigned value)
{
	return set ? value : 0;
}

/* 44 bytes, which the record keeps as they are. */
static void put_terms(struct cg_buffer *out, const struct cg_wallet_terms *terms)
{
	unsigned flags = bit(terms->credit_unlimited, 1) | bit(terms->suspended, 2) |
	    bit(terms->frozen, 4) | bit(terms->shadow, 8) | bit(terms->has_low_balance, 16);

	cg_buffer_uint(out, terms->version, 8);
	cg_wire_put_int(out, terms->credit_limit.micros);
	cg_buffer_uint(out, flags, 1);
	cg_buffer_uint(out, terms->calls_max, 4);
	cg_wire_put_int(out, terms->low_balance.micros);
	cg_buffer_uint(out, terms->low_balance_remaining_ms, 4);
	cg_buffer_uint(out, terms->cut_warning_ms, 4);
	cg_buffer_uint(out, terms->cut_repeat_ms, 4);
	cg_buffer_bytes(out, terms->currency.code, sizeof terms->currency.code - 1);
}

static void put_limits(struct cg_buffer *out, const struct cg_call_limits *limits)
{
	cg_buffer_uint(out, limits->reserve_ms, 4);
	cg_buffer_uint(out, limits->longest_ms, 4);
	cg_buffer_uint(out, limits->lease_ms, 4);
	cg_buffer_uint(out, limits->guard_ms, 4);
}

static void put_authorize(
    struct cg_buffer *out, const struct cg_store_op *op, const struct cg_wire_config *config)
{
	const struct cg_store_authorize_in *in = &op->in.authorize;

	cg_wire_put_int(out, op->not_after_ms);
	cg_buffer_uint(out, config->outbox_max, 8);
	unsigned flags = bit(in->start, 1) | bit(in->validate_only, 2) | bit(in->has_price, 4) |
	    bit(op->announces, FLAG_ANNOUNCES);
	cg_buffer_uint(out, flags, 1);
	put_terms(out, &op->terms);
	cg_wire_put_price(out, in->has_price, &in->price);
	put_limits(out, &in->limits);
	cg_buffer_text(out, in->call_id, 1);
	cg_buffer_text(out, in->resource_type, 1);
	cg_buffer_text(out, in->destination, 1);
	cg_buffer_text(out, in->meta.pairs, 2);
}

static void put_start(struct cg_buffer *out, const struct cg_store_op *op)
{
	cg_wire_put_int(out, op->not_after_ms);
	cg_buffer_uint(out, bit(op->announces, FLAG_ANNOUNCES), 1);
	put_terms(out, &op->terms);
	cg_wire_put_int(out, op->in.start.started_at_ms);
	cg_buffer_text(out, op->in.start.call_id, 1);
}

static void put_stop(struct cg_buffer *out, const struct cg_store_op *op)
{
	cg_buffer_uint(out, bit(op->announces, FLAG_ANNOUNCES), 1);
	put_terms(out, &op->terms);
	cg_wire_put_int(out, op->in.stop.ended_at_ms);
	cg_buffer_text(out, op->in.stop.call_id, 1);
}

static void put_settle(struct cg_buffer *out, const struct cg_store_op *op)
{
	const struct cg_store_settle_in *in = &op->in.settle;

	unsigned flags = bit(in->as_metered, 1) | bit(op->asked, 2) | bit(in->has_price, 4) |
	    bit(in->is_assumed, 16);

	cg_buffer_uint(out, flags, 1);
	put_terms(out, &op->terms);
	cg_wire_put_int(out, in->duration_ms);
	cg_wire_put_int(out, in->started_at_ms);
	cg_wire_put_int(out, in->ended_at_ms);
	cg_buffer_uint(out, in->basis == CG_BASIS_NONE ? CG_BASIS_REPORTED : in->basis, 1);
	cg_wire_put_price(out, in->has_price, &in->price);
	cg_wire_put_int(out, in->assumed_cost.micros);
	cg_buffer_uint(out, (uint64_t)in->assumed_billed_ms, 4);
	cg_buffer_text(out, in->call_id, 1);
	cg_buffer_text(out, in->resource_type, 1);
	cg_buffer_text(out, in->destination, 1);
	cg_buffer_text(out, in->meta.pairs, 2);
}

static void put_cancel(struct cg_buffer *out, const struct cg_store_op *op)
{
	cg_buffer_uint(out, bit(op->announces, FLAG_ANNOUNCES), 1);
	put_terms(out, &op->terms);
	cg_buffer_text(out, op->in.cancel.call_id, 1);
}

static void put_adopt(
    struct cg_buffer *out, const struct cg_store_op *op, const struct cg_wire_config *config)
{
	const struct cg_store_adopt_in *in = &op->in.adopt;

	cg_buffer_uint(out, config->outbox_max, 8);
	cg_buffer_uint(out, bit(op->asked, 2) | bit(in->has_price, 4), 1);
	put_terms(out, &op->terms);
	cg_wire_put_price(out, in->has_price, &in->price);
	put_limits(out, &in->limits);
	cg_wire_put_int(out, in->started_at_ms);
	cg_buffer_text(out, in->call_id, 1);
	cg_buffer_text(out, in->resource_type, 1);
	cg_buffer_text(out, in->destination, 1);
	cg_buffer_text(out, in->meta.pairs, 2);
}

static void put_credit(struct cg_buffer *out, const struct cg_store_op *op)
{
	const struct cg_store_credit_in *in = &op->in.credit;

	cg_buffer_uint(out, op->asked, 1);
	put_terms(out, &op->terms);
	cg_buffer_uint(out, in->type, 1);
	cg_wire_put_int(out, in->amount.micros);
	cg_buffer_text(out, in->reference_id, 1);
	cg_buffer_text(out, in->description, 2);
}

static void put_charge(struct cg_buffer *out, const struct cg_store_op *op)
{
	const struct cg_store_charge_in *in = &op->in.charge;

	cg_buffer_uint(out, op->asked, 1);
	put_terms(out, &op->terms);
	cg_wire_put_int(out, in->amount.micros);
	cg_wire_put_int(out, in->quantity);
	cg_buffer_text(out, in->reference_id, 1);
	cg_buffer_text(out, in->resource_type, 1);
	cg_buffer_text(out, in->description, 2);
	cg_buffer_text(out, in->meta.pairs, 2);
}

static void put_load(struct cg_buffer *out, const struct cg_store_op *op)
{
	const struct cg_store_load_in *in = &op->in.load;

	put_terms(out, &op->terms);
	cg_wire_put_int(out, in->posted.micros);
	cg_buffer_uint(out, in->version, 8);
	cg_buffer_uint(
	    out, bit(in->announces, FLAG_ANNOUNCES) | bit(in->only_present, FLAG_ONLY_PRESENT), 1);
}

static void put_calls(struct cg_buffer *out, const struct cg_store_op *op)
{
	cg_wire_put_int(out, op->in.calls.after_at_ms);
	cg_buffer_uint(out, op->in.calls.calls_max, 4);
	cg_buffer_text(out, op->in.calls.after_call_id, 1);
}

static void put_argument(
    struct cg_buffer *out, const struct cg_store_op *op, const struct cg_wire_config *config)
{
	switch (op->verb) {
	case CG_STORE_AUTHORIZE:
		put_authorize(out, op, config);
		return;
	case CG_STORE_START:
		put_start(out, op);
		return;
	case CG_STORE_STOP:
		put_stop(out, op);
		return;
	case CG_STORE_SETTLE:
		put_settle(out, op);
		return;
	case CG_STORE_CANCEL:
		put_cancel(out, op);
		return;
	case CG_STORE_ADOPT:
		put_adopt(out, op, config);
		return;
	case CG_STORE_CREDIT:
		put_credit(out, op);
		return;
	case CG_STORE_CHARGE:
		put_charge(out, op);
		return;
	case CG_STORE_GET_CALL:
		cg_buffer_uint(out, op->asked, 1);
		cg_buffer_text(out, op->in.get_call, 1);
		return;
	case CG_STORE_CALLS:
		put_calls(out, op);
		return;
	case CG_STORE_LOAD:
		put_load(out, op);
		return;
	case CG_STORE_BALANCE:
		put_terms(out, &op->terms);
		return;
	case CG_STORE_LIVE_WALLETS:
		return;
	case CG_STORE_VERB_COUNT:
		break;
	}
	CG_UNREACHABLE();
}

/* The argument, as it is alone and among many. */
static void put_operation(struct cg_buffer *out, const struct cg_store_op *op, uint64_t epoch,
    const struct cg_wire_config *config)
{
	cg_buffer_uint(out, op->known_epoch != 0 ? op->known_epoch : epoch, 8);
	put_argument(out, op, config);
}

void cg_wire_encode(const struct cg_store_op *op, uint32_t partition, uint64_t epoch,
    const struct cg_wire_config *config, struct cg_buffer *out)
{
	CG_ASSERT(op->verb < CG_STORE_VERB_COUNT);
	size_t begin = cg_wire_begin(out, &functions[op->verb], partition, &op->company, 1);
	put_operation(out, op, epoch, config);
	cg_wire_end(out, begin);
}

enum cg_wire_group cg_wire_group_of(enum cg_store_verb verb)
{
	switch (verb) {
	case CG_STORE_AUTHORIZE:
	case CG_STORE_START:
	case CG_STORE_ADOPT:
		return CG_WIRE_BEGINNING;
	case CG_STORE_STOP:
	case CG_STORE_SETTLE:
	case CG_STORE_CANCEL:
		return CG_WIRE_FINISHING;
	case CG_STORE_CREDIT:
	case CG_STORE_CHARGE:
	case CG_STORE_BALANCE:
	case CG_STORE_GET_CALL:
	case CG_STORE_CALLS:
	case CG_STORE_LIVE_WALLETS:
	case CG_STORE_LOAD:
	case CG_STORE_VERB_COUNT:
		break;
	}
	return CG_WIRE_ALONE;
}

/* Where the company stands among those that have been met; a new one is added. */
static uint32_t place_of(
    const struct cg_uuid *company, struct cg_uuid *companies, uint32_t *company_count)
{
	for (uint32_t i = 0; i < *company_count; i++) {
		if (cg_uuid_equal(&companies[i], company)) {
			return i;
		}
	}
	companies[*company_count] = *company;
	return (*company_count)++;
}

void cg_wire_encode_many(const struct cg_store_op *const *ops, uint32_t count, uint32_t partition,
    const struct cg_wire_config *config, struct cg_buffer *out)
{
	enum cg_wire_group group = cg_wire_group_of(ops[0]->verb);
	struct cg_uuid companies[CG_WIRE_MANY_MAX];
	uint32_t company_count = 0;
	uint8_t places[2 * CG_WIRE_MANY_MAX];

	CG_ASSERT(count > 1 && count <= CG_WIRE_MANY_MAX && group != CG_WIRE_ALONE);
	for (size_t i = 0; i < count; i++) {
		CG_ASSERT(cg_wire_group_of(ops[i]->verb) == group);
		places[2 * i] = (uint8_t)ops[i]->verb;
		places[2 * i + 1] = (uint8_t)place_of(&ops[i]->company, companies, &company_count);
	}
	cg_wire_begin_call(
	    out, &many_functions[group], partition, companies, company_count, 1 + count);
	size_t begin = cg_wire_begin_argument(out);
	cg_buffer_bytes(out, places, 2 * (size_t)count);
	cg_wire_end(out, begin);
	for (uint32_t i = 0; i < count; i++) {
		begin = cg_wire_begin_argument(out);
		put_operation(out, ops[i], ops[i]->epoch, config);
		cg_wire_end(out, begin);
	}
}
