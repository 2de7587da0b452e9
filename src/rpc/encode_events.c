/*
 * What a watcher is told: an event, or that nothing happened.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "events/events.h"
#include "rpc/encode_internal.h"

_Static_assert((int)CALLGATE__V1__EVENT_TYPE__EVENT_TYPE_CALL_OVERDUE == (int)CG_EVENT_CALL_OVERDUE,
    "event types differ");
_Static_assert(
    (int)CALLGATE__V1__ENTRY_TYPE__ENTRY_TYPE_USAGE == (int)CG_ENTRY_USAGE, "entry types differ");

/* Of which events the contract says when the wallet is exhausted. */
static bool says_when_exhausted(enum cg_event_type type)
{
	return type == CG_EVENT_CUT_WARNING || type == CG_EVENT_CUT_OFF ||
	    type == CG_EVENT_BALANCE_LOW || type == CG_EVENT_CREDITED;
}

static void encode_exhaustion(Callgate__V1__Event *message, const struct cg_event *event)
{
	if (!says_when_exhausted(event->type) || event->exhausts_at_ms <= 0) {
		return;
	}
	message->exhausts_at_ms = event->exhausts_at_ms;
	if ((event->type == CG_EVENT_CUT_WARNING || event->type == CG_EVENT_BALANCE_LOW) &&
	    event->exhausts_at_ms > event->at_ms) {
		message->remaining_ms = event->exhausts_at_ms - event->at_ms;
	}
}

static Callgate__V1__Event__MetaEntry *encode_pair(
    struct cg_view key, struct cg_view value, struct cg_arena *arena)
{
	CG_MESSAGE(entry, Event__MetaEntry, callgate__v1__event__meta_entry__init);
	entry->key = cg_arena_text(arena, key);
	entry->value = cg_arena_text(arena, value);
	return entry;
}

/*
 * A key that stands twice stays twice: on the wire, too, the later one holds.  Last of all,
 * since what does not fit is left out: that a call is to end must be told, whatever its meta
 * has grown to.
 */
static void encode_meta(Callgate__V1__Event *message, struct cg_view pairs, struct cg_arena *arena)
{
	struct cg_view rest = pairs;
	struct cg_view key;
	struct cg_view value;
	size_t count = cg_meta_count(pairs);

	message->meta = cg_arena_take(arena, count * sizeof(void *));
	for (size_t i = 0; i < count && !arena->overflow; i++) {
		(void)cg_meta_next(&rest, &key, &value);
		message->meta[i] = encode_pair(key, value, arena);
	}
	message->n_meta = arena->overflow ? 0 : count;
}

static Callgate__V1__Event *encode_event(const struct cg_event *event, struct cg_arena *arena)
{
	CG_MESSAGE(message, Event, callgate__v1__event__init);
	message->id = cg_arena_take(arena, CG_EVENT_ID_TEXT_BYTES);
	if (message->id == NULL) {
		return NULL;
	}
	cg_event_id_format(event, message->id);
	message->at_ms = event->at_ms;
	message->company_id = cg_encode__uuid(&event->company, arena);
	message->call_id = cg_arena_text(arena, event->call_id);
	message->type = (Callgate__V1__EventType)event->type;
	message->amount_micros = event->amount.micros;
	message->available_micros = event->available.micros;
	message->repeat = event->repeat > INT32_MAX ? INT32_MAX : (int32_t)event->repeat;
	message->decision = (Callgate__V1__Decision)event->decision;
	message->shadow_decision = (Callgate__V1__Decision)event->shadow_decision;
	message->shadow = event->shadow;
	if (event->is_entry) {
		message->ledger_id = message->id;
	}
	message->billed_ms = event->billed_ms;
	message->basis = (Callgate__V1__DurationBasis)event->basis;
	message->entry_type = (Callgate__V1__EntryType)event->entry_type;
	message->reference_id = cg_arena_text(arena, event->reference_id);
	encode_exhaustion(message, event);
	return message;
}

const ProtobufCMessage *cg_rpc_encode_watch(
    const struct cg_watch_message *told, struct cg_arena *arena)
{
	cg_arena_reset(arena);
	CG_MESSAGE(message, WatchResponse, callgate__v1__watch_response__init);
	message->resume_token = cg_arena_text(arena, told->resume_token);
	message->as_of_ms = told->as_of_ms;
	if (told->event != NULL) {
		message->event = encode_event(told->event, arena);
	}
	if (arena->overflow) {
		return NULL;
	}
	if (told->event != NULL) {
		encode_meta(message->event, told->event->meta.pairs, arena);
	}
	return &message->base;
}
