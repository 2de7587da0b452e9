/*
 * Everything the other rooms take for granted, in one include.  This room knows
 * libc and nothing else.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BASE_BASE_H
#define CG_BASE_BASE_H

#include "base/assert.h"
#include "base/buffer.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/money.h"
#include "base/random.h"
#include "base/redis_url.h"
#include "base/slab.h"
#include "base/status.h"
#include "base/uuid.h"
#include "base/view.h"

/* The struct that embeds `member` at `pointer`. */
#define CG_CONTAINER_OF(pointer, type, member)                                                     \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define CG_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif /* CG_BASE_BASE_H */
