/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "loop/loop_internal.h"

struct cg_signal {
	struct cg_loop_item item;
	uv_signal_t uv;
	void (*on_signal)(void *owner);
	void *owner;
};

static struct cg_signal *signal_of(struct cg_loop_item *item)
{
	return CG_CONTAINER_OF(item, struct cg_signal, item);
}

static void on_uv_signal(uv_signal_t *uv, int number)
{
	struct cg_signal *sig = signal_of(uv->data);

	(void)number;
	sig->on_signal(sig->owner);
}

static void on_closed(uv_handle_t *handle)
{
	free(signal_of(handle->data));
}

static void close_item(struct cg_loop_item *item)
{
	uv_close((uv_handle_t *)&signal_of(item)->uv, on_closed);
}

struct cg_signal *cg_signal_create(
    struct cg_loop *loop, int number, void (*on_signal)(void *owner), void *owner)
{
	struct cg_signal *sig = cg_loop__take(sizeof *sig);

	sig->item.close = close_item;
	sig->on_signal = on_signal;
	sig->owner = owner;
	cg_loop__must(uv_signal_init(&loop->uv, &sig->uv));
	sig->uv.data = &sig->item;
	cg_loop__must(uv_signal_start(&sig->uv, on_uv_signal, number));
	return sig;
}

void cg_signal_close(struct cg_signal *sig)
{
	close_item(&sig->item);
}
