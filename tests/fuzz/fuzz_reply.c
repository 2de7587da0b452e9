/*
 * Whatever a server may answer: bytes, cut as the first of them say, through the reader of
 * replies and the decoder of the operation that waits for them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "store/input.h"
#include "store/reply.h"
#include "store/wire.h"

#define ENTRIES_MAX 8

/* libFuzzer calls it, by this name. */
/* NOLINTNEXTLINE(readability-identifier-naming) */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct waiting {
	struct cg_input *input;
	uint8_t verb;
	struct cg_call calls[ENTRIES_MAX];
	struct cg_entry entries[ENTRIES_MAX];
	struct cg_event events[ENTRIES_MAX];
	uint64_t sum; /* of every byte that an answer shows: reading them is the test */
};

static void read_view(struct waiting *w, struct cg_view view)
{
	for (size_t i = 0; i < view.len; i++) {
		w->sum += (unsigned char)view.data[i];
	}
}

static void read_call(struct waiting *w, const struct cg_call *call)
{
	read_view(w, call->call_id);
	read_view(w, call->resource_type);
	read_view(w, call->destination);
	read_view(w, call->meta.pairs);
}

static void read_entry(struct waiting *w, const struct cg_entry *entry)
{
	read_view(w, entry->body.reference_id);
	read_view(w, entry->body.description);
	read_view(w, entry->body.resource_type);
	read_view(w, entry->body.destination);
	read_view(w, entry->body.meta.pairs);
}

static void decode_for_store(struct waiting *w, struct cg_view content)
{
	struct cg_store_op op = {.verb = (enum cg_store_verb)(w->verb % CG_STORE_VERB_COUNT)};

	if (op.verb == CG_STORE_CALLS) {
		op.in.calls.calls = w->calls;
		op.in.calls.calls_max = ENTRIES_MAX;
	}
	cg_wire_decode(&op, 3, content);
	CG_ASSERT(op.status == CG_OK || op.status == CG_RECOVERING || op.status == CG_INTERNAL);
	if (op.status != CG_OK || op.outcome != CG_STORE_DONE) {
		return;
	}
	if (op.verb == CG_STORE_CALLS) {
		CG_ASSERT(op.out.calls.count <= ENTRIES_MAX);
		for (uint32_t i = 0; i < op.out.calls.count; i++) {
			read_call(w, &w->calls[i]);
		}
	} else if (op.verb == CG_STORE_GET_CALL) {
		read_call(w, &op.out.call);
	} else if (op.verb == CG_STORE_LIVE_WALLETS) {
		read_view(w, op.out.live.companies);
	}
}

static void decode_for_partition(struct waiting *w, struct cg_view content)
{
	struct cg_partition_op op = {
	    .verb = (enum cg_partition_verb)(w->verb % (CG_PARTITION_TRIM + 1))};

	if (op.verb == CG_PARTITION_READ) {
		op.in.read.entries = w->entries;
		op.in.read.entries_max = ENTRIES_MAX;
	}
	cg_wire_decode_partition(&op, content);
	CG_ASSERT(op.status == CG_OK || op.status == CG_RECOVERING || op.status == CG_INTERNAL);
	if (op.status == CG_OK && op.verb == CG_PARTITION_READ) {
		CG_ASSERT(op.out.read.count <= ENTRIES_MAX);
		for (uint32_t i = 0; i < op.out.read.count; i++) {
			read_entry(w, &w->entries[i]);
		}
	}
}

static void read_event(struct waiting *w, const struct cg_event *event)
{
	char text[CG_EVENT_ID_TEXT_BYTES];

	CG_ASSERT(cg_event_type_name(event->type) != NULL);
	cg_event_id_format(event, text);
	read_view(w, cg_view_of(text));
	read_view(w, event->call_id);
	read_view(w, event->reference_id);
	read_view(w, event->meta.pairs);
}

/* Every event is further on than the one before it, and nothing is told of what lies ahead. */
static void read_events(struct waiting *w, const struct cg_events_op *op)
{
	struct cg_position at = op->in.read.after;

	CG_ASSERT(op->out.read.count <= op->in.read.events_max);
	/* Who reads on must get on, also where all that was read could not be understood. */
	CG_ASSERT(op->out.read.count > 0 || !op->out.read.more ||
	    !cg_position_equal(&op->out.read.position, &op->in.read.after));
	for (uint32_t i = 0; i < op->out.read.count; i++) {
		const struct cg_position *position = &w->events[i].position;
		CG_ASSERT(cg_position_reaches(position, &at));
		CG_ASSERT(!cg_position_equal(position, &at));
		at = *position;
		read_event(w, &w->events[i]);
	}
	CG_ASSERT(cg_position_reaches(&op->out.read.position, &at));
}

static void decode_for_events(struct waiting *w, struct cg_view content)
{
	struct cg_events_op op = {.verb = (enum cg_events_verb)(w->verb % (CG_EVENTS_READ + 1))};

	if (op.verb == CG_EVENTS_READ) {
		op.in.read.from_now = (w->verb & 2u) != 0;
		op.in.read.events = w->events;
		op.in.read.events_max = 1 + w->verb / 4 % ENTRIES_MAX;
	}
	cg_wire_decode_events(&op, content);
	CG_ASSERT(op.status == CG_OK || op.status == CG_RECOVERING || op.status == CG_INTERNAL ||
	    (op.status == CG_OUT_OF_RANGE && op.verb == CG_EVENTS_READ));
	if (op.status == CG_OK && op.verb == CG_EVENTS_READ) {
		read_events(w, &op);
	} else if (op.status == CG_OK) {
		CG_ASSERT(op.out.tick.due_count <= CG_TICK_WALLETS_MAX);
		for (uint32_t i = 0; i < op.out.tick.due_count; i++) {
			CG_ASSERT(op.out.tick.due[i].at_ms >= 0);
		}
	}
}

static const char *on_reply(void *owner, const struct cg_resp *reply)
{
	struct waiting *w = owner;

	read_view(w, reply->content);
	if (reply->kind == CG_RESP_ERROR) {
		return cg_reply_classify(reply->content).ends_connection ? "ended" : NULL;
	}
	if (reply->kind == CG_RESP_BULK && w->verb < 0x80) {
		decode_for_store(w, reply->content);
	} else if (reply->kind == CG_RESP_BULK && w->verb < 0xC0) {
		decode_for_partition(w, reply->content);
	} else if (reply->kind == CG_RESP_BULK) {
		decode_for_events(w, reply->content);
	}
	w->verb++;
	return NULL;
}

/* The verb, the size of a piece (0: all at once), the bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cg_input input;
	struct waiting w = {.input = &input};

	if (size < 2) {
		return 0;
	}
	size_t piece = data[1] == 0 ? size : data[1];
	w.verb = data[0];
	cg_input_init(&input, on_reply, &w);
	for (size_t at = 2; at < size; at += piece) {
		size_t len = size - at < piece ? size - at : piece;
		/* A copy of its own, so that a byte read beyond it is seen. */
		char *copy = malloc(len);
		memcpy(copy, data + at, len);
		const char *why = cg_input_take(&input, (struct cg_view){copy, len});
		free(copy);
		if (why != NULL) {
			break;
		}
	}
	cg_input_deinit(&input);
	return w.sum == UINT64_MAX ? 1 : 0; /* Never, but the compiler cannot know. */
}
