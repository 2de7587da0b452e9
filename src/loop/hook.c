/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "loop/loop_internal.h"

/*
 * libuv runs a turn as timers, idle, prepare, poll.  The hook is the prepare handle.  While
 * the idle handle is active the poll does not sleep, and it is looked at only after prepare:
 * a request that the hook meets in its own turn costs two list operations and no turn.
 */
struct cg_hook {
	struct cg_loop_item item;
	uv_prepare_t uv;
	uv_idle_t awake;
	void (*on_turn)(void *owner);
	void *owner;
	unsigned open_handles;
};

static struct cg_hook *hook_of(struct cg_loop_item *item)
{
	return CG_CONTAINER_OF(item, struct cg_hook, item);
}

static void on_prepare(uv_prepare_t *uv)
{
	struct cg_hook *hook = hook_of(uv->data);

	(void)uv_idle_stop(&hook->awake);
	hook->on_turn(hook->owner);
}

static void on_idle(uv_idle_t *uv)
{
	(void)uv; /* Its being active is all that is wanted. */
}

static void on_closed(uv_handle_t *handle)
{
	struct cg_hook *hook = hook_of(handle->data);

	if (--hook->open_handles == 0) {
		free(hook);
	}
}

static void close_item(struct cg_loop_item *item)
{
	struct cg_hook *hook = hook_of(item);

	uv_close((uv_handle_t *)&hook->uv, on_closed);
	uv_close((uv_handle_t *)&hook->awake, on_closed);
}

struct cg_hook *cg_hook_create(struct cg_loop *loop, void (*on_turn)(void *owner), void *owner)
{
	struct cg_hook *hook = cg_loop__take(sizeof *hook);

	hook->item.close = close_item;
	hook->on_turn = on_turn;
	hook->owner = owner;
	hook->open_handles = 2;
	cg_loop__must(uv_prepare_init(&loop->uv, &hook->uv));
	hook->uv.data = &hook->item;
	cg_loop__must(uv_idle_init(&loop->uv, &hook->awake));
	hook->awake.data = &hook->item;
	cg_loop__must(uv_prepare_start(&hook->uv, on_prepare));
	return hook;
}

void cg_hook_request(struct cg_hook *hook)
{
	cg_loop__must(uv_idle_start(&hook->awake, on_idle));
}

void cg_hook_close(struct cg_hook *hook)
{
	close_item(&hook->item);
}
