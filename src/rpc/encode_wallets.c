/*
 * The answers of Wallets' methods.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "rpc/encode_internal.h"

static Callgate__V1__Wallet *encode_wallet(const struct cg_wallet *wallet, struct cg_arena *arena)
{
	CG_MESSAGE(message, Wallet, callgate__v1__wallet__init);
	message->company_id = cg_encode__uuid(&wallet->company, arena);
	message->wallet_id = cg_encode__uuid(&wallet->wallet_id, arena);
	message->currency = cg_arena_text(arena, cg_view_of(wallet->currency.code));
	message->plan_id = cg_arena_text(arena, cg_view_of(wallet->plan_id));
	message->frozen = wallet->frozen;
	message->created_at_ms = wallet->created_at_ms;
	if (wallet->has_low_balance && wallet->low_balance_remaining_ms > 0) {
		message->low_balance_case =
		    CALLGATE__V1__WALLET__LOW_BALANCE_LOW_BALANCE_REMAINING_MS;
		message->low_balance_remaining_ms = wallet->low_balance_remaining_ms;
	} else if (wallet->has_low_balance) {
		message->low_balance_case = CALLGATE__V1__WALLET__LOW_BALANCE_LOW_BALANCE_MICROS;
		message->low_balance_micros = wallet->low_balance.micros;
	}
	return message;
}

static const ProtobufCMessage *encode_created(const struct cg_request *req, struct cg_arena *arena)
{
	CG_MESSAGE(message, CreateWalletResponse, callgate__v1__create_wallet_response__init);
	message->wallet = encode_wallet(&req->out.wallet.wallet, arena);
	message->replayed = req->out.wallet.replayed;
	return &message->base;
}

static const ProtobufCMessage *encode_got(const struct cg_request *req, struct cg_arena *arena)
{
	CG_MESSAGE(message, GetWalletResponse, callgate__v1__get_wallet_response__init);
	message->wallet = encode_wallet(&req->out.wallet.wallet, arena);
	return &message->base;
}

static const ProtobufCMessage *encode_updated(const struct cg_request *req, struct cg_arena *arena)
{
	CG_MESSAGE(message, UpdateWalletResponse, callgate__v1__update_wallet_response__init);
	message->wallet = encode_wallet(&req->out.wallet.wallet, arena);
	return &message->base;
}

static const ProtobufCMessage *encode_balance(const struct cg_request *req, struct cg_arena *arena)
{
	const struct cg_balance_out *out = &req->out.balance;

	CG_MESSAGE(message, GetBalanceResponse, callgate__v1__get_balance_response__init);
	message->company_id = cg_encode__uuid(&req->company, arena);
	message->currency = cg_arena_text(arena, cg_view_of(out->currency.code));
	message->plan_id = cg_arena_text(arena, cg_view_of(out->plan_id));
	message->posted_micros = out->store.posted.micros;
	message->held_micros = out->store.held.micros;
	message->accrued_micros = out->store.accrued.micros;
	message->credit_limit_micros = out->store.credit_limit.micros;
	message->available_micros = out->store.available.micros;
	message->burn_micros_per_minute = out->store.burn_per_minute.micros;
	message->active_calls = out->store.active_calls;
	message->exhausts_at_ms = out->store.exhausts_at_ms;
	message->as_of_ms = out->as_of_ms;
	message->credit_unlimited = out->store.credit_unlimited;
	message->frozen = out->store.frozen;
	return &message->base;
}

static Callgate__V1__Call__MetaEntry *encode_pair(
    struct cg_view key, struct cg_view value, struct cg_arena *arena)
{
	Callgate__V1__Call__MetaEntry *entry = cg_arena_take(arena, sizeof *entry);

	if (entry == NULL) {
		return NULL;
	}
	callgate__v1__call__meta_entry__init(entry);
	entry->key = cg_arena_text(arena, key);
	entry->value = cg_arena_text(arena, value);
	return entry;
}

/* A key that stands twice stays twice: on the wire, too, the later one holds. */
static void encode_meta(Callgate__V1__Call *message, struct cg_view pairs, struct cg_arena *arena)
{
	struct cg_view rest = pairs;
	struct cg_view key;
	struct cg_view value;
	size_t count = cg_meta_count(pairs);

	message->meta = cg_arena_take(arena, count * sizeof(void *));
	if (message->meta == NULL) {
		return;
	}
	for (size_t i = 0; i < count; i++) {
		(void)cg_meta_next(&rest, &key, &value);
		message->meta[i] = encode_pair(key, value, arena);
	}
	message->n_meta = count;
}

static Callgate__V1__Call *encode_call(const struct cg_call *call, struct cg_arena *arena)
{
	CG_MESSAGE(message, Call, callgate__v1__call__init);
	message->call_id = cg_arena_text(arena, call->call_id);
	message->state = (Callgate__V1__CallState)call->state;
	if (call->price.increment_ms != 0) { /* 0: it never had one */
		message->price = cg_encode__price(&call->price, &call->currency, arena);
	}
	message->resource_type = cg_arena_text(arena, call->resource_type);
	message->destination = cg_arena_text(arena, call->destination);
	message->company_id = cg_encode__uuid(&call->company, arena);
	message->held_micros = call->held.micros;
	message->accrued_micros = call->accrued.micros;
	message->authorized_at_ms = call->authorized_at_ms;
	message->started_at_ms = call->started_at_ms;
	message->expires_at_ms = call->expires_at_ms;
	message->shadow_decision = (Callgate__V1__Decision)call->shadow_decision;
	message->ended_at_ms = call->ended_at_ms;
	message->cost_micros = call->cost.micros;
	message->billed_ms = call->billed_ms;
	message->duration_ms = call->duration_ms;
	message->basis = (Callgate__V1__DurationBasis)call->basis;
	message->late = call->late;
	message->ledger_id = cg_encode__entry_id(&call->entry_id, arena);
	encode_meta(message, call->meta.pairs, arena);
	return message;
}

const ProtobufCMessage *cg_rpc_encode_call(const struct cg_call *call, struct cg_arena *arena)
{
	cg_arena_reset(arena);
	const Callgate__V1__Call *message = encode_call(call, arena);
	return arena->overflow ? NULL : &message->base;
}

static const ProtobufCMessage *encode_get_call(const struct cg_request *req, struct cg_arena *arena)
{
	CG_MESSAGE(message, GetCallResponse, callgate__v1__get_call_response__init);
	message->call = encode_call(&req->out.call, arena);
	return &message->base;
}

static const ProtobufCMessage *encode_list(const struct cg_request *req, struct cg_arena *arena)
{
	CG_MESSAGE(message, ListCallsResponse, callgate__v1__list_calls_response__init);
	message->next_page_token = cg_arena_text(arena, req->out.list_calls.next_page_token);
	return &message->base;
}

static const ProtobufCMessage *encode_credit(const struct cg_request *req, struct cg_arena *arena)
{
	const struct cg_store_posted_out *out = &req->out.posted;

	CG_MESSAGE(message, CreditResponse, callgate__v1__credit_response__init);
	message->balance_micros = out->balance.micros;
	message->available_micros = out->available.micros;
	message->replayed = out->replayed;
	message->ledger_id = cg_encode__entry_id(&out->entry_id, arena);
	return &message->base;
}

static const ProtobufCMessage *encode_charge(const struct cg_request *req, struct cg_arena *arena)
{
	const struct cg_store_posted_out *out = &req->out.posted;

	CG_MESSAGE(message, ChargeResponse, callgate__v1__charge_response__init);
	message->balance_micros = out->balance.micros;
	message->available_micros = out->available.micros;
	message->replayed = out->replayed;
	message->ledger_id = cg_encode__entry_id(&out->entry_id, arena);
	return &message->base;
}

const ProtobufCMessage *cg_encode__wallets(const struct cg_request *req, struct cg_arena *arena)
{
	static const ProtobufCMessage *(*const encoders[CG_METHOD_COUNT])(
	    const struct cg_request *, struct cg_arena *) = {
	    [CG_METHOD_CREATE_WALLET] = encode_created,
	    [CG_METHOD_GET_WALLET] = encode_got,
	    [CG_METHOD_UPDATE_WALLET] = encode_updated,
	    [CG_METHOD_GET_BALANCE] = encode_balance,
	    [CG_METHOD_GET_CALL] = encode_get_call,
	    [CG_METHOD_LIST_CALLS] = encode_list,
	    [CG_METHOD_CREDIT] = encode_credit,
	    [CG_METHOD_CHARGE] = encode_charge,
	};

	CG_ASSERT(encoders[req->method] != NULL);
	return encoders[req->method](req, arena);
}
