/*
 * One reader per partition, while somebody watches it:
 *
 *   FORGOTTEN --first watcher--> LOOKING --where "now" is--> KNOWN <--> READING
 *       ^                                                      |
 *       '--last watcher gone, or the store does not go on -----'
 *
 * LOOKING and READING wait for the store.  A reading that fails is not repeated here: the
 * ticker's next answer says again that there is something to be read.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "events/events_internal.h"

#define READ_WAIT_MS 2000
/* What is written within so long is read at once: under load a reading is not made per entry. */
#define POKE_MS 20

#define UNREADABLE_INTERVAL_MS 10000

static void on_read(struct cg_events_op *op);

/* Nobody who waits at the head falls out of the ring by one reading. */
static uint32_t events_max(const struct cg_events *events)
{
	uint32_t some = events->config.kept_max / 4;

	return some == 0 ? 1 : some < CG_READ_MAX ? some : CG_READ_MAX;
}

void cg_reader__read(struct cg_part *part)
{
	struct cg_events *events = part->events;

	if (events->is_closed || part->watcher_count == 0) {
		return;
	}
	if (part->is_reading) {
		part->read_again = true;
		return;
	}
	if (events->store->epoch(events->store, part->index) == 0) {
		return;
	}
	part->is_reading = true;
	part->read_again = false;
	part->read_generation = part->generation;
	part->read = (struct cg_events_op){
	    .verb = CG_EVENTS_READ,
	    .partition = part->index,
	    .deadline_at_ms = cg_loop_now_ms(events->loop) + READ_WAIT_MS,
	    .in.read = {.from_now = !part->is_known,
	        .after = part->head,
	        .events = events->batch,
	        .events_max = events_max(events)},
	    .done = on_read,
	};
	events->store->submit(events->store, &part->read);
}

void cg_reader__poke(struct cg_part *part)
{
	struct cg_events *events = part->events;

	if (events->is_closed || part->watcher_count == 0) {
		return;
	}
	cg_list_remove(&part->poked_link);
	cg_list_append(&events->poked, &part->poked_link);
	if (!cg_timer_is_running(events->poke_timer)) {
		cg_timer_start(events->poke_timer, POKE_MS);
	}
}

void cg_reader__on_poke_timer(void *owner)
{
	struct cg_events *events = owner;

	for (struct cg_list *link = cg_list_pop(&events->poked); link != NULL;
	     link = cg_list_pop(&events->poked)) {
		cg_reader__read(CG_CONTAINER_OF(link, struct cg_part, poked_link));
	}
}

void cg_reader__forget(struct cg_part *part)
{
	part->is_known = false;
	part->generation++;
	part->since = part->events->ring.next;
	part->events->head_version++;
	cg_list_remove(&part->poked_link);
}

void cg_reader__watch(struct cg_part *part)
{
	if (part->watcher_count++ == 0) {
		cg_reader__read(part);
	}
}

void cg_reader__leave(struct cg_part *part)
{
	CG_ASSERT(part->watcher_count > 0);
	if (--part->watcher_count == 0) {
		cg_reader__forget(part);
	}
}

static void begin_here(struct cg_part *part, const struct cg_position *position)
{
	part->is_known = true;
	part->head = *position;
	part->floor = *position;
	part->events->head_version++;
	cg_watcher__on_part(part);
}

/* Returns whether it brought anything. */
static bool take_events(struct cg_part *part, const struct cg_events_op *op)
{
	struct cg_events *events = part->events;

	for (uint32_t i = 0; i < op->out.read.count; i++) {
		CG_ASSERT(op->in.read.events[i].partition == part->index);
		cg_ring__append(events, &op->in.read.events[i]);
		cg_measure__read(events, &op->in.read.events[i], op->now_ms);
	}
	events->counts.events_read += op->out.read.count;
	bool has_moved = op->out.read.count > 0 ||
	    !cg_position_reaches(&op->in.read.after, &op->out.read.position);
	part->head = op->out.read.position;
	if (has_moved) {
		events->head_version++;
	}
	return has_moved;
}

/*
 * The store does not go on from where we were: nobody can be told what lies between.
 * Whoever comes back within the callbacks begins anew with us.
 */
static void start_over(struct cg_part *part)
{
	cg_log(CG_LOG_WARN, "events that were not read yet are not kept any more: watchers end",
	    "partition", cg_log_int(part->index), NULL);
	cg_reader__forget(part);
	cg_watcher__end_followers(part->events, part, CG_WATCH_END_TOO_OLD);
	if (!part->is_reading) {
		cg_reader__read(part);
	}
}

void cg_reader__note_unreadable(struct cg_events *events, const struct cg_events_op *op)
{
	bool is_unreadable = op->status == CG_INTERNAL;
	uint64_t held_back = 0;

	if (!is_unreadable && (op->status != CG_OK || op->out.read.skipped == 0)) {
		return;
	}
	if (cg_log_limit_admits(&events->unreadable_log, cg_loop_now_ms(events->loop),
	        UNREADABLE_INTERVAL_MS, &held_back) != 0) {
		cg_log(CG_LOG_ERROR,
		    is_unreadable ? "what happened cannot be read: watchers are not told"
		                  : "records that cannot be read: watchers are not told of them",
		    "partition", cg_log_int(op->partition), "count",
		    cg_log_int(is_unreadable ? 0 : op->out.read.skipped), "held_back",
		    cg_log_int((int64_t)held_back), NULL);
	}
}

static void on_read(struct cg_events_op *op)
{
	struct cg_part *part = CG_CONTAINER_OF(op, struct cg_part, read);
	struct cg_events *events = part->events;
	bool is_more = part->read_again;

	part->is_reading = false;
	if (events->is_closed) {
		return;
	}
	if (op->status == CG_OK) {
		cg_ticker__saw_clock(events, op->now_ms);
	}
	cg_reader__note_unreadable(events, op);
	if (part->read_generation != part->generation) {
		is_more = true; /* It was for watchers who are gone. */
	} else if (op->status == CG_OUT_OF_RANGE && !op->in.read.from_now) {
		start_over(part);
		return;
	} else if (op->status != CG_OK) {
		return;
	} else if (op->in.read.from_now) {
		begin_here(part, &op->out.read.position);
	} else {
		bool has_moved = take_events(part, op);
		is_more = is_more || op->out.read.more ||
		    (has_moved && !cg_position_reaches(&part->head, &part->last));
	}
	if (is_more) {
		cg_reader__read(part);
	}
}
