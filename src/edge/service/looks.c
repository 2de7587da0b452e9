/*
 * Calls that nobody reported: when which of them is looked at.
 *
 * Three sources of work, all through the table edge_calls: calls past their time (each second), what
 * the gate has and no row is left of, and what the provider's list has and nobody here has heard of
 * (each sweep).  Rows are taken for look_again_ms, so that two edges do not look at the same call; a
 * look that comes to nothing is repeated then.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "edge/service/edge.h"

#define TICK_MS       1000
#define AT_ONCE       32
#define TRIM_EVERY_MS 3600000
/* Vapi keeps calls for 14 days; what is older is not asked for again. */
#define SWEEP_BACK_MS INT64_C(86400000)
/* One that updated while the list was made is in the next one. */
#define SWEEP_OVERLAP_MS 120000

struct cg_looks {
	struct cg_edge *edge;
	struct cg_timer *tick;
	uint32_t under_way;
	bool is_taking;
	bool is_sweeping;
	bool is_stopped;
	uint64_t sweep_at_ms;
	uint64_t trim_at_ms;
	int64_t since_ms; /* the provider's list is complete up to here */
};

static void on_looked(void *owner)
{
	struct cg_looks *looks = owner;

	looks->under_way--;
}

static void on_due_rows(
    void *owner, enum cg_status status, const struct cg_edge_row *rows, size_t count)
{
	struct cg_looks *looks = owner;

	looks->is_taking = false;
	for (size_t i = 0; status == CG_OK && !looks->is_stopped && i < count; i++) {
		looks->under_way++;
		cg_edge_look(looks->edge, &rows[i], on_looked, looks);
	}
}

static void take(struct cg_looks *looks)
{
	if (looks->is_taking || looks->under_way >= AT_ONCE) {
		return;
	}
	looks->is_taking = true;
	cg_edge_store_due(looks->edge->store, AT_ONCE - looks->under_way,
	    looks->edge->settings.look_again_ms, on_due_rows, looks);
}

static void on_swept(void *owner, bool ok)
{
	struct cg_looks *looks = owner;

	looks->is_sweeping = false;
	/* An incomplete list is asked for again from where the last complete one began. */
	if (ok) {
		looks->since_ms = cg_edge_now_ms() - SWEEP_OVERLAP_MS;
	}
}

static void sweep(struct cg_looks *looks, uint64_t now_ms)
{
	if (looks->edge->settings.sweep_ms == 0 || looks->is_sweeping ||
	    now_ms < looks->sweep_at_ms || cg_directory_version(looks->edge->directory) == 0) {
		return;
	}
	looks->is_sweeping = true;
	looks->sweep_at_ms = now_ms + (uint64_t)looks->edge->settings.sweep_ms;
	cg_edge_sweep(looks->edge, looks->since_ms, on_swept, looks);
}

static void on_tick(void *owner)
{
	struct cg_looks *looks = owner;
	uint64_t now_ms = cg_loop_now_ms(looks->edge->loop);

	take(looks);
	sweep(looks, now_ms);
	if (now_ms >= looks->trim_at_ms) {
		looks->trim_at_ms = now_ms + TRIM_EVERY_MS;
		cg_edge_store_trim(
		    looks->edge->store, (uint32_t)looks->edge->settings.keep_days, NULL, NULL);
	}
	cg_timer_start(looks->tick, TICK_MS);
}

struct cg_looks *cg_looks_create(struct cg_edge *edge)
{
	struct cg_looks *looks = calloc(1, sizeof *looks);

	CG_ASSERT(looks != NULL);
	looks->edge = edge;
	looks->since_ms = cg_edge_now_ms() - SWEEP_BACK_MS;
	looks->tick = cg_timer_create(edge->loop, on_tick, looks);
	return looks;
}

void cg_looks_start(struct cg_looks *looks)
{
	cg_timer_start(looks->tick, 1);
}

void cg_looks_stop(struct cg_looks *looks)
{
	looks->is_stopped = true;
	cg_timer_close(looks->tick);
}

bool cg_looks_are_idle(const struct cg_looks *looks)
{
	return looks->under_way == 0 && !looks->is_taking && !looks->is_sweeping;
}

void cg_looks_destroy(struct cg_looks *looks)
{
	free(looks);
}
