/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "loop/loop_internal.h"

struct cg_watch {
	struct cg_loop_item item;
	uv_poll_t uv;
	unsigned events; /* what the owner asked for */
	bool is_closing;
	void (*on_ready)(void *owner, unsigned events);
	void *owner;
};

static struct cg_watch *watch_of(struct cg_loop_item *item)
{
	return CG_CONTAINER_OF(item, struct cg_watch, item);
}

static void on_poll(uv_poll_t *uv, int status, int ready);

static void listen_for(struct cg_watch *watch, unsigned events)
{
	int wanted = 0;

	if ((events & CG_WATCH_READ) != 0) {
		wanted |= UV_READABLE;
	}
	if ((events & CG_WATCH_WRITE) != 0) {
		wanted |= UV_WRITABLE;
	}
	if (wanted == 0) {
		cg_loop__must(uv_poll_stop(&watch->uv));
	} else {
		cg_loop__must(uv_poll_start(&watch->uv, wanted, on_poll));
	}
}

static void on_poll(uv_poll_t *uv, int status, int ready)
{
	struct cg_watch *watch = watch_of(uv->data);
	unsigned events = 0;

	if (status < 0) {
		/*
		 * libuv says "bad descriptor" where the socket has an error to tell, and
		 * stops watching.  Whoever reads and writes it finds out by doing so; if he
		 * keeps it nevertheless, it is watched as he asked.
		 */
		watch->on_ready(watch->owner, CG_WATCH_READ | CG_WATCH_WRITE);
		if (!watch->is_closing) {
			listen_for(watch, watch->events);
		}
		return;
	}
	if ((ready & UV_READABLE) != 0) {
		events |= CG_WATCH_READ;
	}
	if ((ready & UV_WRITABLE) != 0) {
		events |= CG_WATCH_WRITE;
	}
	watch->on_ready(watch->owner, events);
}

static void on_closed(uv_handle_t *handle)
{
	free(watch_of(handle->data));
}

static void close_item(struct cg_loop_item *item)
{
	struct cg_watch *watch = watch_of(item);

	watch->is_closing = true;
	uv_close((uv_handle_t *)&watch->uv, on_closed);
}

struct cg_watch *cg_watch_create(
    struct cg_loop *loop, int fd, void (*on_ready)(void *owner, unsigned events), void *owner)
{
	struct cg_watch *watch = cg_loop__take(sizeof *watch);

	watch->item.close = close_item;
	watch->on_ready = on_ready;
	watch->owner = owner;
	cg_loop__must(uv_poll_init(&loop->uv, &watch->uv, fd));
	watch->uv.data = &watch->item;
	return watch;
}

void cg_watch_set(struct cg_watch *watch, unsigned events)
{
	if (events != watch->events) {
		watch->events = events;
		listen_for(watch, events);
	}
}

void cg_watch_close(struct cg_watch *watch)
{
	close_item(&watch->item);
}
