/*
 * Requests: from the public structs to protobuf-c's.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "client/codec.h"

#include <callgate/v1/callgate.pb-c.h>

/* protobuf-c's members are not const, but packing only reads them. */
static char *text(const char *value)
{
	return value == NULL ? (char *)protobuf_c_empty_string : (char *)value;
}

/*
 * protoc-c gives every map an entry type of its own, all of one layout; this makes the
 * entries of any of them.  Each map below asserts that its own is laid out like this one.
 */
typedef Callgate__V1__AuthorizeRequest__MetaEntry meta_entry;

static bool encode_meta(struct cg_arena *arena, const ProtobufCMessageDescriptor *descriptor,
    const struct callgate_meta *meta, size_t count, meta_entry ***ret_entries)
{
	meta_entry **pointers;
	meta_entry *entries;

	if (count == 0) {
		*ret_entries = NULL;
		return true;
	}
	pointers = cg_arena_take(arena, count, sizeof(void *));
	entries = cg_arena_take(arena, count, sizeof(*entries));
	if (pointers == NULL || entries == NULL) {
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		protobuf_c_message_init(descriptor, &entries[i]);
		entries[i].key = text(meta[i].key);
		entries[i].value = text(meta[i].value);
		pointers[i] = &entries[i];
	}
	*ret_entries = pointers;
	return true;
}

static void encode_settle_duration(
    const struct callgate_settle_request *from, Callgate__V1__SettleRequest *to)
{
	switch (from->duration) {
	case CALLGATE_SETTLE_DURATION_UNSET:
		break;
	case CALLGATE_SETTLE_DURATION_MS:
		to->duration_case = CALLGATE__V1__SETTLE_REQUEST__DURATION_DURATION_MS;
		to->duration_ms = from->duration_ms;
		break;
	case CALLGATE_SETTLE_DURATION_AS_METERED:
		to->duration_case = CALLGATE__V1__SETTLE_REQUEST__DURATION_AS_METERED;
		to->as_metered = from->as_metered;
		break;
	}
}

static void encode_wallet_changes(
    const struct callgate_update_wallet_request *from, Callgate__V1__UpdateWalletRequest *to)
{
	if (from->sets_plan) {
		to->plan_case = CALLGATE__V1__UPDATE_WALLET_REQUEST__PLAN_PLAN_ID;
		to->plan_id = text(from->plan_id);
	}
	if (from->sets_frozen) {
		to->freeze_case = CALLGATE__V1__UPDATE_WALLET_REQUEST__FREEZE_FROZEN;
		to->frozen = from->frozen;
	}
	switch (from->low_balance) {
	case CALLGATE_LOW_BALANCE_UNSET:
		break;
	case CALLGATE_LOW_BALANCE_MICROS:
		to->low_balance_case =
		    CALLGATE__V1__UPDATE_WALLET_REQUEST__LOW_BALANCE_LOW_BALANCE_MICROS;
		to->low_balance_micros = from->low_balance_micros;
		break;
	case CALLGATE_LOW_BALANCE_REMAINING_MS:
		to->low_balance_case =
		    CALLGATE__V1__UPDATE_WALLET_REQUEST__LOW_BALANCE_LOW_BALANCE_REMAINING_MS;
		to->low_balance_remaining_ms = from->low_balance_remaining_ms;
		break;
	}
}

static bool encode_types(const struct callgate_watch_request *from, Callgate__V1__WatchRequest *to,
    struct cg_arena *arena)
{
	if (from->type_count == 0) {
		return true;
	}
	to->types = cg_arena_take(arena, from->type_count, sizeof(*to->types));
	if (to->types == NULL) {
		return false;
	}
	for (size_t i = 0; i < from->type_count; i++) {
		to->types[i] = (unsigned)from->types[i];
	}
	to->n_types = from->type_count;
	return true;
}

#define TEXT(name)      to->name = text(from->name);
#define INT(name)       to->name = from->name;
#define SMALL(name)     to->name = from->name;
#define BOOL(name)      to->name = from->name;
#define ENUM(name)      to->name = (unsigned)from->name;
#define SETTLE_DURATION encode_settle_duration(from, to);
#define WALLET_CHANGES  encode_wallet_changes(from, to);
#define TYPES                                                                                      \
	if (!encode_types(from, to, arena)) {                                                      \
		return NULL;                                                                       \
	}
#define META(Type, message)                                                                        \
	_Static_assert(sizeof(Callgate__V1__##Type##__MetaEntry) == sizeof(meta_entry), "layout"); \
	if (!encode_meta(arena, &callgate__v1__##message##__meta_entry__descriptor, from->meta,    \
	        from->meta_count, (meta_entry ***)(void *)&to->meta)) {                            \
		return NULL;                                                                       \
	}                                                                                          \
	to->n_meta = from->meta_count;

#define X(name, NAME, Type, service)                                                               \
	static const ProtobufCMessage *encode_##name(const void *request, struct cg_arena *arena)  \
	{                                                                                          \
		const struct callgate_##name##_request *from = request;                            \
		Callgate__V1__##Type##Request *to = cg_arena_take(arena, 1, sizeof(*to));          \
                                                                                                   \
		if (to == NULL) {                                                                  \
			return NULL;                                                               \
		}                                                                                  \
		callgate__v1__##name##_request__init(to);                                          \
		FIELDS_##NAME##_REQUEST return &to->base;                                          \
	}
METHODS(X)
#undef X

const ProtobufCMessage *cg_codec_encode(
    enum cg_codec codec, const void *request, struct cg_arena *arena)
{
	static const ProtobufCMessage *(*const encoders[])(const void *, struct cg_arena *) = {
#define X(name, NAME, Type, service) [CG_CODEC_##NAME] = encode_##name,
	    METHODS(X)
#undef X
	};

	return encoders[codec](request, arena);
}
