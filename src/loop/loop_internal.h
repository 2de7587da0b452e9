/*
 * What the files of this room share.
 *
 * Every uv handle's `data` is the `struct cg_loop_item` of the thing that owns it, so that
 * cg_loop_destroy() can close whatever was left open without knowing what it is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_LOOP_LOOP_INTERNAL_H
#define CG_LOOP_LOOP_INTERNAL_H

#include <stddef.h>
#include <uv.h>

#include "loop/loop.h"

struct cg_loop_item {
	void (*close)(struct cg_loop_item *item);
};

struct cg_loop {
	uv_loop_t uv;
	/* Keeps uv_run() from returning while nothing else is there to wait for. */
	uv_async_t stay;
	uv_idle_t awake; /* active: the poll does not sleep */
	struct cg_loop_item item;
	bool in_timer; /* a timer's callback is running */
};

/* Zeroed; aborts where the heap is empty. */
void *cg_loop__take(size_t bytes);

/* For results that only our own misuse can make bad. */
void cg_loop__must(int uv_result);

#endif /* CG_LOOP_LOOP_INTERNAL_H */
