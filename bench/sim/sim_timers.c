/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/sim_timers.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

enum {
	FIRST_ROOM = 1024,
};

void sim_timers_deinit(struct sim_timers *timers)
{
	free(timers->heap);
	memset(timers, 0, sizeof(*timers));
}

static bool is_before(const struct sim_timer *a, const struct sim_timer *b)
{
	return a->due_ns < b->due_ns || (a->due_ns == b->due_ns && a->number < b->number);
}

static void swap(struct sim_timer *a, struct sim_timer *b)
{
	struct sim_timer kept = *a;

	*a = *b;
	*b = kept;
}

static void rise(struct sim_timers *timers, size_t at)
{
	while (at > 0 && is_before(&timers->heap[at], &timers->heap[(at - 1) / 2])) {
		swap(&timers->heap[at], &timers->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
}

static void sink(struct sim_timers *timers, size_t at)
{
	for (;;) {
		size_t least = at;

		for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
			if (child < timers->count &&
			    is_before(&timers->heap[child], &timers->heap[least])) {
				least = child;
			}
		}
		if (least == at) {
			return;
		}
		swap(&timers->heap[at], &timers->heap[least]);
		at = least;
	}
}

void sim_timers_set(
    struct sim_timers *timers, int64_t due_ns, void (*fire)(void *context), void *context)
{
	if (timers->count == timers->room) {
		timers->room = timers->room > 0 ? 2 * timers->room : FIRST_ROOM;
		timers->heap = realloc(timers->heap, timers->room * sizeof(*timers->heap));
		CG_ASSERT(timers->heap != NULL);
	}
	timers->heap[timers->count] =
	    (struct sim_timer){due_ns, timers->set_count++, fire, context};
	rise(timers, timers->count++);
}

int64_t sim_timers_next_ns(const struct sim_timers *timers)
{
	return timers->count > 0 ? timers->heap[0].due_ns : INT64_MAX;
}

void sim_timers_fire(struct sim_timers *timers, int64_t now_ns)
{
	uint64_t end = timers->set_count;

	while (
	    timers->count > 0 && timers->heap[0].due_ns <= now_ns && timers->heap[0].number < end) {
		struct sim_timer timer = timers->heap[0];

		timers->heap[0] = timers->heap[--timers->count];
		sink(timers, 0);
		timer.fire(timer.context);
	}
}
