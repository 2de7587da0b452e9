/*
 * The answers of Gate's methods.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "rpc/encode.h"

#include "rpc/encode_internal.h"

/* The contract's enums have the numbers of gate/ports/types.h. */
_Static_assert((int)CALLGATE__V1__DECISION__DECISION_DENIED_BARRED == (int)CG_DECISION_BARRED,
    "decisions differ");
_Static_assert((int)CALLGATE__V1__CALL_STATE__CALL_STATE_STOPPED == (int)CG_CALL_STOPPED,
    "call states differ");
_Static_assert((int)CALLGATE__V1__DURATION_BASIS__DURATION_BASIS_ASSUMED == (int)CG_BASIS_ASSUMED,
    "bases differ");
#define DECISION(value) ((Callgate__V1__Decision)(value))
#define STATE(value)    ((Callgate__V1__CallState)(value))
#define BASIS(value)    ((Callgate__V1__DurationBasis)(value))

Callgate__V1__Price *cg_encode__price(
    const struct cg_price *price, const struct cg_currency *currency, struct cg_arena *arena)
{
	CG_MESSAGE(message, Price, callgate__v1__price__init);
	message->rate_micros_per_minute = price->rate_per_minute.micros;
	message->connect_fee_micros = price->connect_fee.micros;
	message->minimum_ms = price->minimum_ms;
	message->increment_ms = price->increment_ms;
	message->currency = cg_arena_text(arena, cg_view_of(currency->code));
	return message;
}

char *cg_encode__uuid(const struct cg_uuid *uuid, struct cg_arena *arena)
{
	char *text = cg_arena_take(arena, CG_UUID_TEXT_LEN + 1);

	if (text != NULL) {
		cg_uuid_format(uuid, text);
	}
	return text;
}

char *cg_encode__entry_id(const struct cg_entry_id *id, struct cg_arena *arena)
{
	char *text = cg_arena_take(arena, CG_ENTRY_ID_TEXT_BYTES);

	if (text != NULL) {
		text[0] = '\0';
		if (id->epoch != 0) {
			cg_entry_id_format(id, text);
		}
	}
	return text;
}

static const ProtobufCMessage *encode_authorize(
    const struct cg_authorize_out *out, struct cg_arena *arena)
{
	const struct cg_store_authorize_out *store = &out->store;

	CG_MESSAGE(message, AuthorizeResponse, callgate__v1__authorize_response__init);
	message->decision = DECISION(store->decision);
	message->shadow_decision = DECISION(store->shadow_decision);
	message->state = STATE(store->state);
	if (store->has_price) {
		message->price = cg_encode__price(&store->price, &out->currency, arena);
	}
	message->held_micros = store->held.micros;
	message->available_micros = store->available.micros;
	message->required_micros = store->required.micros;
	message->max_duration_ms = store->max_duration_ms;
	message->expires_at_ms = store->expires_at_ms;
	message->replayed = store->replayed;
	message->degraded = out->degraded;
	message->as_of_ms = out->as_of_ms;
	return &message->base;
}

static const ProtobufCMessage *encode_start(const struct cg_start_out *out, struct cg_arena *arena)
{
	CG_MESSAGE(message, StartResponse, callgate__v1__start_response__init);
	message->decision = DECISION(out->store.decision);
	message->shadow_decision = DECISION(out->store.shadow_decision);
	message->state = STATE(out->state);
	message->started_at_ms = out->store.started_at_ms;
	message->max_duration_ms = out->store.max_duration_ms;
	message->replayed = out->store.replayed;
	message->available_micros = out->store.available.micros;
	message->as_of_ms = out->as_of_ms;
	return &message->base;
}

static const ProtobufCMessage *encode_stop(const struct cg_stop_out *out, struct cg_arena *arena)
{
	CG_MESSAGE(message, StopResponse, callgate__v1__stop_response__init);
	message->state = STATE(out->state);
	message->metered_ms = out->store.metered_ms;
	message->accrued_micros = out->store.accrued.micros;
	message->available_micros = out->store.available.micros;
	message->replayed = out->store.replayed;
	return &message->base;
}

Callgate__V1__SettleResponse *cg_rpc_encode_settle(
    const struct cg_settle_out *out, struct cg_arena *arena)
{
	const struct cg_store_settle_out *store = &out->store;

	CG_MESSAGE(message, SettleResponse, callgate__v1__settle_response__init);
	message->state = STATE(out->state);
	message->cost_micros = store->cost.micros;
	message->billed_ms = store->billed_ms;
	message->balance_micros = store->balance.micros;
	message->available_micros = store->available.micros;
	message->replayed = store->replayed;
	message->late = store->late;
	message->ledger_id = cg_encode__entry_id(&store->entry_id, arena);
	message->duration_ms = store->duration_ms;
	message->basis = BASIS(store->basis);
	message->price = cg_encode__price(&store->price, &out->currency, arena);
	message->corrected_micros = store->corrected.micros;
	return message;
}

static const ProtobufCMessage *encode_cancel(
    const struct cg_cancel_out *out, struct cg_arena *arena)
{
	CG_MESSAGE(message, CancelResponse, callgate__v1__cancel_response__init);
	message->state = STATE(out->state);
	message->released_micros = out->store.released.micros;
	message->available_micros = out->store.available.micros;
	message->replayed = out->store.replayed;
	return &message->base;
}

static const ProtobufCMessage *encode_adopt(const struct cg_adopt_out *out, struct cg_arena *arena)
{
	CG_MESSAGE(message, AdoptResponse, callgate__v1__adopt_response__init);
	message->state = STATE(out->state);
	message->price = cg_encode__price(&out->store.price, &out->currency, arena);
	message->max_duration_ms = out->store.max_duration_ms;
	message->held_micros = out->store.held.micros;
	message->available_micros = out->store.available.micros;
	message->replayed = out->store.replayed;
	message->as_of_ms = out->as_of_ms;
	return &message->base;
}

static const ProtobufCMessage *encode_any(const struct cg_request *req, struct cg_arena *arena)
{
	Callgate__V1__SettleResponse *settled;

	switch (req->method) {
	case CG_METHOD_AUTHORIZE:
		return encode_authorize(&req->out.authorize, arena);
	case CG_METHOD_START:
		return encode_start(&req->out.start, arena);
	case CG_METHOD_STOP:
		return encode_stop(&req->out.stop, arena);
	case CG_METHOD_SETTLE:
		settled = cg_rpc_encode_settle(&req->out.settle, arena);
		return settled == NULL ? NULL : &settled->base;
	case CG_METHOD_CANCEL:
		return encode_cancel(&req->out.cancel, arena);
	case CG_METHOD_ADOPT:
		return encode_adopt(&req->out.adopt, arena);
	case CG_METHOD_CREATE_WALLET:
	case CG_METHOD_GET_WALLET:
	case CG_METHOD_UPDATE_WALLET:
	case CG_METHOD_GET_BALANCE:
	case CG_METHOD_GET_CALL:
	case CG_METHOD_LIST_CALLS:
	case CG_METHOD_CREDIT:
	case CG_METHOD_CHARGE:
		return cg_encode__wallets(req, arena);
	case CG_METHOD_COUNT:
		break;
	}
	CG_UNREACHABLE();
}

const ProtobufCMessage *cg_rpc_encode(const struct cg_request *req, struct cg_arena *arena)
{
	CG_ASSERT(req->status == CG_OK);
	cg_arena_reset(arena);
	const ProtobufCMessage *message = encode_any(req, arena);
	return arena->overflow ? NULL : message;
}
