/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "loop/loop_internal.h"

struct cg_wake {
	struct cg_loop_item item;
	uv_async_t uv;
	void (*on_wake)(void *owner);
	void *owner;
};

static struct cg_wake *wake_of(struct cg_loop_item *item)
{
	return CG_CONTAINER_OF(item, struct cg_wake, item);
}

static void on_async(uv_async_t *uv)
{
	struct cg_wake *wake = wake_of(uv->data);

	wake->on_wake(wake->owner);
}

static void on_closed(uv_handle_t *handle)
{
	free(wake_of(handle->data));
}

static void close_item(struct cg_loop_item *item)
{
	uv_close((uv_handle_t *)&wake_of(item)->uv, on_closed);
}

struct cg_wake *cg_wake_create(struct cg_loop *loop, void (*on_wake)(void *owner), void *owner)
{
	struct cg_wake *wake = cg_loop__take(sizeof *wake);

	wake->item.close = close_item;
	wake->on_wake = on_wake;
	wake->owner = owner;
	cg_loop__must(uv_async_init(&loop->uv, &wake->uv, on_async));
	wake->uv.data = &wake->item;
	return wake;
}

void cg_wake_send(struct cg_wake *wake)
{
	cg_loop__must(uv_async_send(&wake->uv));
}

void cg_wake_close(struct cg_wake *wake)
{
	close_item(&wake->item);
}
