/*
 * Each partition is ticked when a wallet of it is due, and on its beat, every tick_ms.  The
 * beats lie evenly apart: all of them at once would keep the store from everybody else for as
 * long as sixteen functions take.  One tick of a partition is under way at most.  Which wallets
 * are due is known from the answer before, and a tick names them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "events/events_internal.h"

#define TICK_WAIT_MS 1000
/* Wallets that are due and were not attended to are somebody else's, or stuck: no hurry. */
#define STUCK_MS 10

static void on_ticked(struct cg_events_op *op);

void cg_ticker__saw_clock(struct cg_events *events, int64_t now_ms)
{
	if (now_ms > events->now_ms) {
		events->now_ms = now_ms;
	}
}

static uint64_t next_beat(const struct cg_part *part, uint64_t now_ms)
{
	const struct cg_events *events = part->events;
	uint64_t tick_ms = events->config.tick_ms;
	uint64_t own_ms = tick_ms * part->index / events->store->partition_count;

	return now_ms - (now_ms + tick_ms - own_ms) % tick_ms + tick_ms;
}

static void wake_at(struct cg_events *events, uint64_t at_ms)
{
	uint64_t now_ms = cg_loop_now_ms(events->loop);

	if (!cg_timer_is_running(events->tick_timer) || at_ms < events->tick_timer_at_ms) {
		events->tick_timer_at_ms = at_ms;
		cg_timer_start(events->tick_timer, at_ms > now_ms ? at_ms - now_ms : 0);
	}
}

static void sleep_until(struct cg_part *part, uint64_t at_ms)
{
	part->tick_at_ms = at_ms;
	wake_at(part->events, at_ms);
}

static void tick(struct cg_part *part)
{
	struct cg_events *events = part->events;
	uint64_t now_ms = cg_loop_now_ms(events->loop);

	if (events->store->epoch(events->store, part->index) == 0) {
		part->was_served = false;
		part->due_count = 0;
		sleep_until(part, next_beat(part, now_ms));
		return;
	}
	part->is_ticking = true;
	part->tick = (struct cg_events_op){
	    .verb = CG_EVENTS_TICK,
	    .partition = part->index,
	    .deadline_at_ms = now_ms + TICK_WAIT_MS,
	    .in.tick = {.events_keep = events->config.events_keep},
	    .done = on_ticked,
	};
	for (uint32_t i = 0; i < part->due_count && part->due[i].at_ms <= now_ms; i++) {
		part->tick.in.tick.wallets[part->tick.in.tick.wallet_count++] =
		    part->due[i].company;
	}
	events->counts.ticks++;
	events->store->submit(events->store, &part->tick);
}

/*
 * The answer is a little older than its arrival, so these are late by at most that; the
 * other way round each would be asked for once in vain.
 */
static void learn_due(struct cg_part *part, const struct cg_events_op *op, uint64_t now_ms)
{
	CG_ASSERT(op->out.tick.due_count <= CG_TICK_WALLETS_MAX);
	part->due_count = op->out.tick.due_count;
	for (uint32_t i = 0; i < part->due_count; i++) {
		const struct cg_due *due = &op->out.tick.due[i];
		uint64_t wait_ms =
		    due->at_ms > op->now_ms ? (uint64_t)due->at_ms - (uint64_t)op->now_ms : 0;
		/* Farther than the next beat is all the same; and a sum could overflow. */
		if (wait_ms > UINT32_MAX) {
			wait_ms = UINT32_MAX;
		}
		part->due[i] = (struct cg_due_here){due->company, now_ms + wait_ms};
	}
}

static void go_on(struct cg_part *part, const struct cg_events_op *op, uint64_t now_ms)
{
	uint64_t beat_at_ms = next_beat(part, now_ms);

	if (part->due_count == 0 || part->due[0].at_ms >= beat_at_ms) {
		sleep_until(part, beat_at_ms);
	} else if (part->due[0].at_ms > now_ms) {
		sleep_until(part, part->due[0].at_ms);
	} else if (op->in.tick.wallet_count > 0 && op->out.tick.worked == 0) {
		uint64_t at_ms = now_ms + STUCK_MS;
		sleep_until(part, at_ms < beat_at_ms ? at_ms : beat_at_ms);
	} else {
		tick(part);
	}
}

static void on_ticked(struct cg_events_op *op)
{
	struct cg_part *part = CG_CONTAINER_OF(op, struct cg_part, tick);
	struct cg_events *events = part->events;
	uint64_t now_ms = cg_loop_now_ms(events->loop);

	part->is_ticking = false;
	if (events->is_closed) {
		return;
	}
	if (op->status != CG_OK) {
		/* Not before a whole tick_ms: what is in trouble is not to be hurried. */
		sleep_until(part, next_beat(part, now_ms + events->config.tick_ms - 1));
		return;
	}
	events->counts.wallets_attended += op->out.tick.worked;
	cg_ticker__saw_clock(events, op->now_ms);
	part->last = op->out.tick.last;
	learn_due(part, op, now_ms);
	if (!part->was_served) {
		part->was_served = true;
		cg_watcher__on_part(part);
	}
	if (!part->is_reading &&
	    (!part->is_known || !cg_position_reaches(&part->head, &part->last))) {
		cg_reader__read(part);
	}
	go_on(part, op, now_ms);
}

static void on_timer(void *owner)
{
	struct cg_events *events = owner;
	uint64_t now_ms = cg_loop_now_ms(events->loop);
	uint64_t next_ms = now_ms + events->config.tick_ms;

	cg_catchup__wake_resting(events);
	for (uint32_t i = 0; i < events->store->partition_count; i++) {
		struct cg_part *part = &events->parts[i];

		if (!part->is_ticking && part->tick_at_ms <= now_ms) {
			tick(part);
		}
		if (!part->is_ticking && part->tick_at_ms < next_ms) {
			next_ms = part->tick_at_ms;
		}
	}
	wake_at(events, next_ms);
}

void cg_ticker__start(struct cg_events *events)
{
	events->tick_timer = cg_timer_create(events->loop, on_timer, events);
	wake_at(events, cg_loop_now_ms(events->loop));
}

void cg_ticker__close(struct cg_events *events)
{
	if (events->tick_timer != NULL) {
		cg_timer_close(events->tick_timer);
		events->tick_timer = NULL;
	}
}
