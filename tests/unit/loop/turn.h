/*
 * Turns a loop until something holds.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TURN_H
#define TURN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* wants the others first */

#include "loop/loop.h"

struct turn {
	struct cg_loop *loop;
	struct cg_timer *again;
	bool (*holds)(void *arg);
	void *arg;
	bool is_late;
};

static inline void turn_look(void *owner)
{
	struct turn *turn = owner;

	if (turn->holds(turn->arg)) {
		cg_loop_stop(turn->loop);
	}
}

/* What another hook brought about after ours had looked would else be seen at the next event. */
static inline void turn_again(void *owner)
{
	struct turn *turn = owner;

	cg_timer_start(turn->again, 1);
}

static inline void turn_give_up(void *owner)
{
	struct turn *turn = owner;

	turn->is_late = true;
	cg_loop_stop(turn->loop);
}

static inline bool turn_never(void *arg)
{
	(void)arg;
	return false;
}

/* Whether it came to hold within `timeout_ms`. */
static inline bool turn_until(
    struct cg_loop *loop, bool (*holds)(void *arg), void *arg, uint64_t timeout_ms)
{
	struct turn turn = {.loop = loop, .holds = holds, .arg = arg};
	struct cg_hook *hook = cg_hook_create(loop, turn_look, &turn);
	struct cg_timer *limit = cg_timer_create(loop, turn_give_up, &turn);

	turn.again = cg_timer_create(loop, turn_again, &turn);
	cg_timer_start(turn.again, 1);
	cg_timer_start(limit, timeout_ms);
	cg_loop_run(loop);
	cg_timer_close(limit);
	cg_timer_close(turn.again);
	cg_hook_close(hook);
	return !turn.is_late || holds(arg);
}

/* Lets things happen that must not. */
static inline void turn_for(struct cg_loop *loop, uint64_t ms)
{
	(void)turn_until(loop, turn_never, NULL, ms);
}

static inline bool turn_flag(void *arg)
{
	return *(bool *)arg;
}

#endif /* TURN_H */
