/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "loop/loop_internal.h"

struct cg_timer {
	struct cg_loop_item item;
	uv_timer_t uv;
	struct cg_loop *loop;
	void (*on_fire)(void *owner);
	void *owner;
};

static struct cg_timer *timer_of(struct cg_loop_item *item)
{
	return CG_CONTAINER_OF(item, struct cg_timer, item);
}

static void on_timer(uv_timer_t *uv)
{
	struct cg_timer *timer = timer_of(uv->data);
	struct cg_loop *loop = timer->loop;

	/* The callback may close the timer; its memory stays until the turn ends. */
	loop->in_timer = true;
	timer->on_fire(timer->owner);
	loop->in_timer = false;
}

static void on_closed(uv_handle_t *handle)
{
	free(timer_of(handle->data));
}

static void close_item(struct cg_loop_item *item)
{
	uv_close((uv_handle_t *)&timer_of(item)->uv, on_closed);
}

struct cg_timer *cg_timer_create(struct cg_loop *loop, void (*on_fire)(void *owner), void *owner)
{
	struct cg_timer *timer = cg_loop__take(sizeof *timer);

	timer->item.close = close_item;
	timer->loop = loop;
	timer->on_fire = on_fire;
	timer->owner = owner;
	cg_loop__must(uv_timer_init(&loop->uv, &timer->uv));
	timer->uv.data = &timer->item;
	return timer;
}

void cg_timer_start(struct cg_timer *timer, uint64_t after_ms)
{
	/* libuv 1.44 runs timers until none is due: one that is started anew for now would
	 * be run for ever. */
	if (after_ms == 0 && timer->loop->in_timer) {
		after_ms = 1;
	}
	cg_loop__must(uv_timer_start(&timer->uv, on_timer, after_ms, 0));
}

void cg_timer_cancel(struct cg_timer *timer)
{
	cg_loop__must(uv_timer_stop(&timer->uv));
}

bool cg_timer_is_running(const struct cg_timer *timer)
{
	return uv_is_active((const uv_handle_t *)&timer->uv) != 0;
}

void cg_timer_close(struct cg_timer *timer)
{
	close_item(&timer->item);
}
