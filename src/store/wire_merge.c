/*
 * The two streams of a partition as one sequence of events.
 *
 * An event carries the last id that the ledger stream had when it was written: it comes after
 * the entries up to there and before all later ones.  So the order is a fact of the streams,
 * and every reader finds the same one, wherever its readings begin and end.  What cannot be
 * placed yet, because the record before it was not read, is left for the next reading.
 *
 * A record that cannot be read (of a library to come, or somebody else's) is left out and
 * counted: it must not keep what follows it from anybody.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store/wire_internal.h"

#define EVENT_LAYOUT    1
#define EVENT_IS_SHADOW 1u

/* One of the streams, as far as it has been merged. */
struct source {
	struct cg_cursor rest;
	uint32_t left;              /* records from `next` on */
	bool goes_on;               /* the stream does, after those */
	struct cg_stream_id at;     /* up to where it has been told */
	struct cg_wire_record next; /* where left > 0 */
};

struct merge {
	struct cg_events_op *op;
	struct source events;
	struct source entries;
	struct cg_event event;       /* events.next, read */
	struct cg_stream_id written; /* the last entry when it was written */
	bool is_broken;
};

enum step {
	STEP_EVENT,
	STEP_ENTRY,
	STEP_END,
};

static bool is_after(const struct cg_stream_id *a, const struct cg_stream_id *b)
{
	return a->epoch > b->epoch || (a->epoch == b->epoch && a->n > b->n);
}

static bool read_event(const struct cg_wire_record *record, struct cg_event *ret_event,
    struct cg_stream_id *ret_written)
{
	struct cg_cursor in;

	*ret_event = (struct cg_event){0};
	cg_cursor_init(&in, record->blob);
	uint64_t layout = cg_cursor_uint(&in, 1);
	unsigned type = cg_wire_take_enum(&in, CG_EVENT_TYPE_COUNT - 1);
	struct cg_view company = cg_cursor_bytes(&in, sizeof ret_event->company.bytes);
	ret_event->at_ms = cg_wire_take_uint(&in, 6);
	ret_written->epoch = cg_cursor_uint(&in, 8);
	ret_written->n = cg_cursor_uint(&in, 8);
	ret_event->amount = cg_wire_take_money(&in);
	ret_event->available = cg_wire_take_money(&in);
	ret_event->exhausts_at_ms = cg_wire_take_uint(&in, 6);
	ret_event->repeat = (uint32_t)cg_cursor_uint(&in, 4);
	ret_event->decision = (enum cg_decision)cg_wire_take_enum(&in, CG_DECISION_BARRED);
	ret_event->shadow_decision = (enum cg_decision)cg_wire_take_enum(&in, CG_DECISION_BARRED);
	ret_event->shadow = (cg_cursor_uint(&in, 1) & EVENT_IS_SHADOW) != 0;
	ret_event->call_id = cg_cursor_text(&in, 1);
	ret_event->meta.pairs = cg_cursor_text(&in, 2);

	if (in.overrun || in.left != 0 || layout != EVENT_LAYOUT || type == CG_EVENT_NONE) {
		return false;
	}
	memcpy(ret_event->company.bytes, company.data, sizeof ret_event->company.bytes);
	ret_event->type = (enum cg_event_type)type;
	return true;
}

/* What a correction's reference says behind its prefix; empty: it is none. */
static struct cg_view corrected_call(const struct cg_ledger_entry_body *body)
{
	const struct cg_view prefix = CG_VIEW_LITERAL("correction:");
	struct cg_view reference = body->reference_id;

	if (!body->is_correction || body->type != CG_ENTRY_ADJUSTMENT ||
	    reference.len <= prefix.len || memcmp(reference.data, prefix.data, prefix.len) != 0) {
		return (struct cg_view){0};
	}
	return (struct cg_view){reference.data + prefix.len, reference.len - prefix.len};
}

static enum cg_event_type type_of(const struct cg_ledger_entry_body *body)
{
	if (body->type != CG_ENTRY_USAGE) {
		return corrected_call(body).len > 0 ? CG_EVENT_CALL_CORRECTED : CG_EVENT_CREDITED;
	}
	if (body->is_charge) {
		return CG_EVENT_CHARGED;
	}
	return body->basis == CG_BASIS_ASSUMED ? CG_EVENT_CALL_ABANDONED : CG_EVENT_CALL_SETTLED;
}

/* What an entry says to those who watch. */
static struct cg_event event_of(const struct cg_entry *entry)
{
	const struct cg_ledger_entry_body *body = &entry->body;
	struct cg_event event = {
	    .type = type_of(body),
	    .company = entry->company,
	    .is_entry = true,
	    .at_ms = body->at_ms,
	    .amount = body->amount,
	    .available = body->available,
	    .exhausts_at_ms = body->exhausts_at_ms,
	    .entry_type = body->type,
	    .meta = body->meta,
	};

	if (event.type == CG_EVENT_CREDITED) {
		event.reference_id = body->reference_id;
		return event;
	}
	/* Taken from the wallet is charged to the customer. */
	event.amount.micros = -body->amount.micros;
	if (event.type == CG_EVENT_CHARGED) {
		event.reference_id = body->reference_id;
		return event;
	}
	event.call_id =
	    event.type == CG_EVENT_CALL_CORRECTED ? corrected_call(body) : body->reference_id;
	event.billed_ms = body->billed_ms;
	event.basis = body->basis;
	return event;
}

static void look_at_next(struct merge *m, struct source *source)
{
	if (source->left == 0) {
		return;
	}
	cg_wire_take_record(&source->rest, &source->next);
	/* One that goes back would have its reader go in circles. */
	if (!is_after(&source->next.id, &source->at)) {
		m->is_broken = true;
	}
}

static void pass(struct source *source)
{
	source->at = source->next.id;
	source->left--;
}

static void skip(struct merge *m, struct source *source)
{
	pass(source);
	m->op->out.read.skipped++;
	look_at_next(m, source);
}

static void look_at_event(struct merge *m)
{
	look_at_next(m, &m->events);
	while (m->events.left > 0 && !m->is_broken &&
	    !read_event(&m->events.next, &m->event, &m->written)) {
		skip(m, &m->events);
	}
}

static void tell(struct merge *m, struct source *source, struct cg_event event)
{
	pass(source);
	event.partition = m->op->partition;
	event.position = (struct cg_position){.event = m->events.at, .entry = m->entries.at};
	m->op->in.read.events[m->op->out.read.count++] = event;
}

static void tell_event(struct merge *m)
{
	tell(m, &m->events, m->event);
	look_at_event(m);
}

static void tell_entry(struct merge *m)
{
	struct cg_entry entry;

	if (!cg_wire_read_entry(&m->entries.next, m->op->partition, &entry) ||
	    entry.body.amount.micros == INT64_MIN) {
		skip(m, &m->entries);
		return;
	}
	tell(m, &m->entries, event_of(&entry));
	look_at_next(m, &m->entries);
}

static enum step next_step(const struct merge *m)
{
	const struct source *entries = &m->entries;

	if (m->is_broken || m->op->out.read.count == m->op->in.read.events_max) {
		return STEP_END;
	}
	if (m->events.left == 0) {
		/* The first event that was not read may come before the next entry. */
		return m->events.goes_on || entries->left == 0 ? STEP_END : STEP_ENTRY;
	}
	if (entries->left > 0) {
		return is_after(&entries->next.id, &m->written) ? STEP_EVENT : STEP_ENTRY;
	}
	/* The first entry that was not read may come before the next event. */
	return entries->goes_on && is_after(&m->written, &entries->at) ? STEP_END : STEP_EVENT;
}

/* Nothing is left: the next reading begins at the stream's end. */
static void skip_to(struct cg_stream_id *at, const struct cg_stream_id *last)
{
	if (is_after(last, at)) {
		*at = *last;
	}
}

static void init_source(
    struct source *source, const struct cg_wire_list *list, const struct cg_stream_id *after)
{
	*source = (struct source){
	    .rest = list->records, .left = list->count, .goes_on = list->goes_on, .at = *after};
}

bool cg_wire_merge(
    struct cg_events_op *op, const struct cg_wire_list *events, const struct cg_wire_list *entries)
{
	static const struct cg_position nowhere;
	const struct cg_position *after = op->in.read.from_now ? &nowhere : &op->in.read.after;
	struct merge m = {.op = op};
	enum step step = STEP_END;

	init_source(&m.events, events, &after->event);
	init_source(&m.entries, entries, &after->entry);
	look_at_event(&m);
	look_at_next(&m, &m.entries);
	while ((step = next_step(&m)) != STEP_END) {
		if (step == STEP_EVENT) {
			tell_event(&m);
		} else {
			tell_entry(&m);
		}
	}
	op->out.read.more =
	    m.events.left > 0 || m.entries.left > 0 || m.events.goes_on || m.entries.goes_on;
	if (!op->out.read.more) {
		skip_to(&m.events.at, &events->last);
		skip_to(&m.entries.at, &entries->last);
	}
	op->out.read.position = (struct cg_position){.event = m.events.at, .entry = m.entries.at};

	/* More, but nothing of it: it would be asked for again for ever. */
	return !m.is_broken &&
	    !(op->out.read.more && op->out.read.count == 0 && op->out.read.skipped == 0);
}
