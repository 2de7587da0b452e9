/*
 * Answers: from protobuf-c's structs to the public ones.  Texts stay where protobuf-c
 * unpacked them, in the arena; nothing is copied.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "client/codec.h"
#include "client/codec_internal.h"

#include <callgate/v1/callgate.pb-c.h>

#define LAST_DECISION       CALLGATE_DECISION_DENIED_BARRED
#define LAST_CALL_STATE     CALLGATE_CALL_STATE_STOPPED
#define LAST_DURATION_BASIS CALLGATE_DURATION_BASIS_ASSUMED
#define LAST_ENTRY_TYPE     CALLGATE_ENTRY_TYPE_USAGE
#define LAST_EVENT_TYPE     CALLGATE_EVENT_TYPE_CALL_OVERDUE
#define LAST_ERROR_REASON   CALLGATE_ERROR_REASON_TOO_MANY_AUTHORIZES

/* A value that this version does not know counts as UNSPECIFIED, which is 0 everywhere. */
static unsigned known(int64_t value, int64_t last)
{
	return value >= 0 && value <= last ? (unsigned)value : 0;
}

/* protoc-c's entry types are all of one layout; each map below asserts its own. */
typedef Callgate__V1__Call__MetaEntry meta_entry;

static bool decode_meta(struct cg_arena *arena, meta_entry *const *entries, size_t count,
    const struct callgate_meta **ret_meta)
{
	struct callgate_meta *meta = NULL;

	if (count > 0) {
		meta = cg_arena_take(arena, count, sizeof(*meta));
		if (meta == NULL) {
			return false;
		}
	}
	for (size_t i = 0; i < count; i++) {
		meta[i].key = entries[i]->key;
		meta[i].value = entries[i]->value;
	}
	*ret_meta = meta;
	return true;
}

static void decode_low_balance(const Callgate__V1__Wallet *from, struct callgate_wallet *to)
{
	if (from->low_balance_case == CALLGATE__V1__WALLET__LOW_BALANCE_LOW_BALANCE_MICROS) {
		to->low_balance = CALLGATE_LOW_BALANCE_MICROS;
		to->low_balance_micros = from->low_balance_micros;
	} else if (from->low_balance_case ==
	    CALLGATE__V1__WALLET__LOW_BALANCE_LOW_BALANCE_REMAINING_MS) {
		to->low_balance = CALLGATE_LOW_BALANCE_REMAINING_MS;
		to->low_balance_remaining_ms = from->low_balance_remaining_ms;
	}
}

#define TEXT(name)        to->name = from->name;
#define INT(name)         to->name = from->name;
#define SMALL(name)       to->name = from->name;
#define BOOL(name)        to->name = from->name != 0;
#define KNOWN(name, TYPE) to->name = known((int64_t)from->name, LAST_##TYPE);
#define LOW_BALANCE       decode_low_balance(from, to);

/* Where the message inside is there, `has_` says so and it is decoded in place. */
#define INNER(name, decoder)                                                                       \
	if (from->name != NULL) {                                                                  \
		to->has_##name = true;                                                             \
		if (!decoder(from->name, &to->name, arena)) {                                      \
			return false;                                                              \
		}                                                                                  \
	}
#define PRICE    INNER(price, fill_price)
#define WALLET   INNER(wallet, fill_wallet)
#define ONE_CALL INNER(call, fill_call)
#define SETTLED  INNER(settled, fill_settle_response)

#define META(Type, message)                                                                        \
	_Static_assert(sizeof(Callgate__V1__##Type##__MetaEntry) == sizeof(meta_entry), "layout"); \
	if (!decode_meta(                                                                          \
	        arena, (meta_entry *const *)(void *)from->meta, from->n_meta, &to->meta)) {        \
		return false;                                                                      \
	}                                                                                          \
	to->meta_count = from->n_meta;

#define CALLS                                                                                      \
	if (!decode_calls(from->calls, from->n_calls, &to->calls, arena)) {                        \
		return false;                                                                      \
	}                                                                                          \
	to->calls_count = from->n_calls;

#define EVENT                                                                                      \
	if (from->event != NULL && !decode_event(from->event, &to->event, arena)) {                \
		return false;                                                                      \
	}

#define FILL(name, NAME, Type)                                                                     \
	static bool fill_##name(                                                                   \
	    const Callgate__V1__##Type *from, struct callgate_##name *to, struct cg_arena *arena)  \
	{                                                                                          \
		(void)arena;                                                                       \
		FIELDS_##NAME return true;                                                         \
	}

FILL(price, PRICE, Price)
FILL(wallet, WALLET, Wallet)
FILL(call, CALL, Call)

static bool decode_calls(Callgate__V1__Call *const *from, size_t count,
    const struct callgate_call **ret_calls, struct cg_arena *arena)
{
	struct callgate_call *calls = NULL;

	if (count > 0) {
		calls = cg_arena_take(arena, count, sizeof(*calls));
		if (calls == NULL) {
			return false;
		}
	}
	for (size_t i = 0; i < count; i++) {
		if (!fill_call(from[i], &calls[i], arena)) {
			return false;
		}
	}
	*ret_calls = calls;
	return true;
}

FILL(event, EVENT, Event)

static bool decode_event(const Callgate__V1__Event *from, const struct callgate_event **ret_event,
    struct cg_arena *arena)
{
	struct callgate_event *event = cg_arena_take(arena, 1, sizeof(*event));

	if (event == NULL || !fill_event(from, event, arena)) {
		return false;
	}
	*ret_event = event;
	return true;
}

#define X(name, NAME, Type, service) FILL(name##_response, NAME##_RESPONSE, Type##Response)
METHODS(X)
#undef X

FILL(error_detail, ERROR_DETAIL, ErrorDetail)

#define X(name, NAME, Type, service)                                                               \
	static const void *decode_##name(struct cg_view bytes, struct cg_arena *arena)             \
	{                                                                                          \
		struct callgate_##name##_response *to = cg_arena_take(arena, 1, sizeof(*to));      \
		const Callgate__V1__##Type##Response *from =                                       \
		    callgate__v1__##name##_response__unpack(                                       \
		        &arena->allocator, bytes.len, (const uint8_t *)bytes.data);                \
                                                                                                   \
		if (to == NULL || from == NULL || !fill_##name##_response(from, to, arena)) {      \
			return NULL;                                                               \
		}                                                                                  \
		return to;                                                                         \
	}
METHODS(X)
#undef X

const void *cg_codec_decode(enum cg_codec codec, struct cg_view bytes, struct cg_arena *arena)
{
	static const void *(*const decoders[])(struct cg_view, struct cg_arena *) = {
#define X(name, NAME, Type, service) [CG_CODEC_##NAME] = decode_##name,
	    METHODS(X)
#undef X
	};

	return decoders[codec](bytes, arena);
}

bool cg_codec__fill_detail(
    struct cg_view bytes, struct cg_arena *arena, struct callgate_error_detail *ret_detail)
{
	struct callgate_error_detail detail = {0};
	const Callgate__V1__ErrorDetail *from = callgate__v1__error_detail__unpack(
	    &arena->allocator, bytes.len, (const uint8_t *)bytes.data);

	if (from == NULL || !fill_error_detail(from, &detail, arena)) {
		return false;
	}
	*ret_detail = detail;
	return true;
}
