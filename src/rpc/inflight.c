/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/inflight.h"

#include <stdlib.h>

void cg_inflight_init(struct cg_inflight *inflight, uint32_t all_max)
{
	uint32_t size = 1;

	/* Half of the places stay free: the walks are short. */
	while (size < 2 * all_max) {
		size *= 2;
	}
	inflight->places = calloc(size, sizeof inflight->places[0]);
	CG_ASSERT(inflight->places != NULL);
	inflight->mask = size - 1;
}

void cg_inflight_deinit(struct cg_inflight *inflight)
{
	free(inflight->places);
}

/* Where it is, or the free place where it would be. */
static uint32_t find(const struct cg_inflight *inflight, uint64_t peer)
{
	uint32_t at = (uint32_t)(peer >> 32) & inflight->mask;

	while (inflight->places[at].count > 0 && inflight->places[at].peer != peer) {
		at = (at + 1) & inflight->mask;
	}
	return at;
}

uint32_t cg_inflight_enter(struct cg_inflight *inflight, uint64_t peer)
{
	struct cg_inflight_place *place = &inflight->places[find(inflight, peer)];

	place->peer = peer;
	return ++place->count;
}

uint32_t cg_inflight_count(const struct cg_inflight *inflight, uint64_t peer)
{
	return inflight->places[find(inflight, peer)].count;
}

/* Those behind a place that became free move up, unless their walk begins behind it. */
static void close_gap(struct cg_inflight *inflight, uint32_t gap)
{
	uint32_t at = gap;

	for (;;) {
		at = (at + 1) & inflight->mask;
		const struct cg_inflight_place *place = &inflight->places[at];
		if (place->count == 0) {
			return;
		}
		uint32_t home = (uint32_t)(place->peer >> 32) & inflight->mask;
		if (((at - home) & inflight->mask) >= ((at - gap) & inflight->mask)) {
			inflight->places[gap] = *place;
			inflight->places[at].count = 0;
			gap = at;
		}
	}
}

void cg_inflight_leave(struct cg_inflight *inflight, uint64_t peer)
{
	uint32_t at = find(inflight, peer);

	CG_ASSERT(inflight->places[at].count > 0);
	if (--inflight->places[at].count == 0) {
		close_gap(inflight, at);
	}
}
