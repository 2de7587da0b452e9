/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/loop.h"

#include <stdlib.h>

#include "loop/loop_internal.h"

void *cg_loop__take(size_t bytes)
{
	void *memory = calloc(1, bytes);

	CG_ASSERT(memory != NULL);
	return memory;
}

void cg_loop__must(int uv_result)
{
	CG_ASSERT(uv_result == 0);
}

static void on_stay(uv_async_t *stay)
{
	(void)stay; /* Nobody sends; it only has to be there. */
}

static void close_stay(struct cg_loop_item *item)
{
	struct cg_loop *loop = CG_CONTAINER_OF(item, struct cg_loop, item);

	uv_close((uv_handle_t *)&loop->stay, NULL);
	uv_close((uv_handle_t *)&loop->awake, NULL);
}

static void on_awake(uv_idle_t *awake)
{
	(void)awake; /* Its being active is all that is wanted. */
}

struct cg_loop *cg_loop_create(void)
{
	struct cg_loop *loop = cg_loop__take(sizeof *loop);

	cg_loop__must(uv_loop_init(&loop->uv));
	cg_loop__must(uv_async_init(&loop->uv, &loop->stay, on_stay));
	cg_loop__must(uv_idle_init(&loop->uv, &loop->awake));
	loop->item.close = close_stay;
	loop->stay.data = &loop->item;
	loop->awake.data = &loop->item;
	return loop;
}

void cg_loop_run(struct cg_loop *loop)
{
	(void)uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void cg_loop_keep_awake(struct cg_loop *loop)
{
	cg_loop__must(uv_idle_start(&loop->awake, on_awake));
}

void cg_loop_stop(struct cg_loop *loop)
{
	uv_stop(&loop->uv);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (!uv_is_closing(handle)) {
		struct cg_loop_item *item = handle->data;
		item->close(item);
	}
}

void cg_loop_destroy(struct cg_loop *loop)
{
	uv_walk(&loop->uv, close_handle, NULL);

	/* With everything closing this returns once the last close callback has run;
	 * a stop left over from cg_loop_stop() may cost one more try. */
	while (uv_run(&loop->uv, UV_RUN_DEFAULT) != 0) {
	}
	cg_loop__must(uv_loop_close(&loop->uv));
	free(loop);
}

uint64_t cg_loop_now_ms(const struct cg_loop *loop)
{
	return uv_now(&loop->uv);
}

uint64_t cg_loop_clock_ns(void)
{
	return uv_hrtime();
}
