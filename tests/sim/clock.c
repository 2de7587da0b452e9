/*
 * Events stand in a heap by time; a loop is a list of timers and hooks.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "clock.h"

#include <stdlib.h>

struct sim_event {
	uint64_t at_ms;
	uint64_t number;
	size_t place; /* in the heap */
	void (*fire)(void *arg);
	void *arg;
};

/* The monotonic clock of the sidecars' machine, which knows nothing of anybody else's. */
#define CLOCK_AHEAD_MS 500000

struct cg_loop {
	struct cg_list link;
	struct cg_list hooks;
};

struct cg_timer {
	struct cg_loop *loop;
	struct sim_event *event; /* NULL: not running */
	void (*on_fire)(void *owner);
	void *owner;
};

struct cg_hook {
	struct cg_list link;
	bool is_wanted;
	void (*on_turn)(void *owner);
	void *owner;
};

static struct sim_event **heap;
static size_t heap_count, heap_capacity;
static uint64_t next_number;
static struct cg_list loops = {&loops, &loops};

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_ms < b->at_ms || (a->at_ms == b->at_ms && a->number < b->number);
}

static void put_at(size_t place, struct sim_event *event)
{
	heap[place] = event;
	event->place = place;
}

static void rise(size_t place)
{
	struct sim_event *event = heap[place];

	while (place > 0 && is_before(event, heap[(place - 1) / 2])) {
		put_at(place, heap[(place - 1) / 2]);
		place = (place - 1) / 2;
	}
	put_at(place, event);
}

static void sink(size_t place)
{
	struct sim_event *event = heap[place];

	for (;;) {
		size_t child = 2 * place + 1;
		if (child + 1 < heap_count && is_before(heap[child + 1], heap[child])) {
			child++;
		}
		if (child >= heap_count || !is_before(heap[child], event)) {
			break;
		}
		put_at(place, heap[child]);
		place = child;
	}
	put_at(place, event);
}

struct sim_event *sim_after(uint64_t delay_ms, void (*fire)(void *arg), void *arg)
{
	struct sim_event *event = malloc(sizeof *event);

	CG_ASSERT(event != NULL);
	*event = (struct sim_event){
	    .at_ms = sim.now_ms + delay_ms, .number = next_number++, .fire = fire, .arg = arg};
	if (heap_count == heap_capacity) {
		heap_capacity = heap_capacity == 0 ? 256 : 2 * heap_capacity;
		heap = realloc(heap, heap_capacity * sizeof(void *));
		CG_ASSERT(heap != NULL);
	}
	put_at(heap_count++, event);
	rise(event->place);
	return event;
}

static void take_out(struct sim_event *event)
{
	size_t place = event->place;
	struct sim_event *last = heap[--heap_count];

	if (last != event) {
		put_at(place, last);
		rise(place);
		sink(last->place);
	}
}

void sim_cancel(struct sim_event *event)
{
	take_out(event);
	free(event);
}

static bool run_hooks_of(struct cg_loop *loop)
{
	bool has_run = false;

	for (struct cg_list *h = loop->hooks.next; h != &loop->hooks; h = h->next) {
		struct cg_hook *hook = CG_CONTAINER_OF(h, struct cg_hook, link);
		if (hook->is_wanted) {
			hook->is_wanted = false;
			has_run = true;
			hook->on_turn(hook->owner);
		}
	}
	return has_run;
}

/* One turn of each loop ends here: hooks run until none asks for more. */
static void run_hooks(void)
{
	bool again = true;

	while (again) {
		again = false;
		for (struct cg_list *l = loops.next; l != &loops; l = l->next) {
			bool has_run = run_hooks_of(CG_CONTAINER_OF(l, struct cg_loop, link));
			again = again || has_run;
		}
	}
}

bool sim_step(void)
{
	if (heap_count == 0) {
		return false;
	}
	struct sim_event *event = heap[0];
	void (*fire)(void *) = event->fire;
	void *arg = event->arg;

	sim.now_ms = event->at_ms;
	sim.events++;
	take_out(event);
	free(event);
	fire(arg);
	run_hooks();
	return true;
}

bool sim_step_before(uint64_t at_ms)
{
	return heap_count > 0 && heap[0]->at_ms <= at_ms && sim_step();
}

void sim_clock_reset(void)
{
	while (heap_count > 0) {
		free(heap[--heap_count]);
	}
	free(heap);
	heap = NULL;
	heap_capacity = 0;
	next_number = 0;
	CG_ASSERT(cg_list_is_empty(&loops));
}

/* The loop room's own functions, for whoever is linked against them. */

struct cg_loop *cg_loop_create(void)
{
	struct cg_loop *loop = calloc(1, sizeof *loop);

	CG_ASSERT(loop != NULL);
	cg_list_init(&loop->hooks);
	cg_list_append(&loops, &loop->link);
	(void)sim_below(1000000); /* Once an offset of its clock; so that recorded seeds stay. */
	return loop;
}

void cg_loop_destroy(struct cg_loop *loop)
{
	CG_ASSERT(cg_list_is_empty(&loop->hooks));
	cg_list_remove(&loop->link);
	free(loop);
}

uint64_t cg_loop_now_ms(const struct cg_loop *loop)
{
	(void)loop;
	return CLOCK_AHEAD_MS + sim.now_ms;
}

uint64_t cg_loop_clock_ns(void)
{
	return (CLOCK_AHEAD_MS + sim.now_ms) * 1000000;
}

struct cg_timer *cg_timer_create(struct cg_loop *loop, void (*on_fire)(void *owner), void *owner)
{
	struct cg_timer *timer = calloc(1, sizeof *timer);

	CG_ASSERT(timer != NULL);
	*timer = (struct cg_timer){.loop = loop, .on_fire = on_fire, .owner = owner};
	return timer;
}

static void on_timer(void *arg)
{
	struct cg_timer *timer = arg;

	timer->event = NULL;
	timer->on_fire(timer->owner);
}

void cg_timer_cancel(struct cg_timer *timer)
{
	if (timer->event != NULL) {
		sim_cancel(timer->event);
		timer->event = NULL;
	}
}

void cg_timer_start(struct cg_timer *timer, uint64_t after_ms)
{
	cg_timer_cancel(timer);
	timer->event = sim_after(after_ms, on_timer, timer);
}

bool cg_timer_is_running(const struct cg_timer *timer)
{
	return timer->event != NULL;
}

void cg_timer_close(struct cg_timer *timer)
{
	cg_timer_cancel(timer);
	free(timer);
}

struct cg_hook *cg_hook_create(struct cg_loop *loop, void (*on_turn)(void *owner), void *owner)
{
	struct cg_hook *hook = calloc(1, sizeof *hook);

	CG_ASSERT(hook != NULL);
	*hook = (struct cg_hook){.on_turn = on_turn, .owner = owner};
	cg_list_init(&hook->link);
	cg_list_append(&loop->hooks, &hook->link);
	return hook;
}

void cg_hook_request(struct cg_hook *hook)
{
	hook->is_wanted = true;
}

void cg_hook_close(struct cg_hook *hook)
{
	cg_list_remove(&hook->link);
	free(hook);
}
