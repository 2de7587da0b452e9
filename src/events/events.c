/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "events/events_internal.h"

static void init_parts(struct cg_events *events)
{
	uint32_t count = events->store->partition_count;

	events->parts = calloc(count, sizeof *events->parts);
	CG_ASSERT(events->parts != NULL);
	for (uint32_t i = 0; i < count; i++) {
		events->parts[i].events = events;
		events->parts[i].index = i;
		cg_list_init(&events->parts[i].poked_link);
	}
}

static void init_watchers(struct cg_events *events)
{
	uint32_t bucket_count = 1;

	CG_ASSERT(events->config.watchers_max > 0);
	while (bucket_count < events->config.watchers_max && bucket_count < 1u << 20) {
		bucket_count *= 2;
	}
	CG_ASSERT(cg_slab_init(&events->watcher_slab, sizeof(struct cg_watcher),
	              events->config.watchers_max) == CG_OK);
	events->buckets = calloc(bucket_count, sizeof *events->buckets);
	CG_ASSERT(events->buckets != NULL);
	for (uint32_t i = 0; i < bucket_count; i++) {
		cg_list_init(&events->buckets[i]);
	}
	events->bucket_mask = bucket_count - 1;
	cg_list_init(&events->watchers);
	cg_list_init(&events->watch_alls);
	cg_list_init(&events->ready);
	cg_list_init(&events->beats);
	cg_list_init(&events->slows);
	cg_list_init(&events->hungry);
	cg_list_init(&events->resting);
	for (uint32_t i = 0; i < CG_CATCHUP_LANES; i++) {
		events->lanes[i].events = events;
	}
}

static void init_room(struct cg_events *events)
{
	uint32_t count = events->store->partition_count;

	events->batch = calloc(CG_READ_MAX, sizeof *events->batch);
	events->scratch = calloc(count, sizeof *events->scratch);
	events->token_text = malloc(cg_token_text_max(count));
	events->head_token_text = malloc(cg_token_text_max(count));
	CG_ASSERT(events->batch != NULL && events->scratch != NULL && events->token_text != NULL &&
	    events->head_token_text != NULL);
}

struct cg_events *cg_events_create(
    struct cg_loop *loop, const struct cg_events_config *config, struct cg_events_port *store)
{
	struct cg_events *events = calloc(1, sizeof *events);

	CG_ASSERT(events != NULL && store->partition_count > 0);
	CG_ASSERT(config->tick_ms > 0 && config->heartbeat_ms > 0 && config->slow_ms > 0);
	events->loop = loop;
	events->config = *config;
	events->store = store;
	events->takes_watchers = true;
	cg_list_init(&events->poked);
	init_parts(events);
	init_watchers(events);
	init_room(events);
	cg_ring__init(events);
	events->poke_timer = cg_timer_create(loop, cg_reader__on_poke_timer, events);
	events->watch_timer = cg_timer_create(loop, cg_timing__on_timer, events);
	events->pump = cg_hook_create(loop, cg_telling__on_turn, events);
	return events;
}

void cg_events_start(struct cg_events *events)
{
	cg_ticker__start(events);
}

void cg_events_poke(struct cg_events *events, uint32_t partition)
{
	CG_ASSERT(partition < events->store->partition_count);
	cg_reader__poke(&events->parts[partition]);
}

void cg_events_end_watchers(struct cg_events *events)
{
	events->takes_watchers = false;
	cg_watcher__end_followers(events, NULL, CG_WATCH_END_CLOSING);
}

void cg_events_close(struct cg_events *events)
{
	CG_ASSERT(cg_list_is_empty(&events->watchers));
	events->takes_watchers = false;
	events->is_closed = true;
	cg_ticker__close(events);
	cg_timer_close(events->poke_timer);
	cg_timer_close(events->watch_timer);
	cg_hook_close(events->pump);
}

void cg_events_destroy(struct cg_events *events)
{
	CG_ASSERT(events->is_closed);
	cg_ring__deinit(events);
	cg_slab_deinit(&events->watcher_slab);
	free(events->buckets);
	free(events->batch);
	free(events->scratch);
	free(events->token_text);
	free(events->head_token_text);
	free(events->parts);
	free(events);
}

struct cg_events_counts cg_events_counts(const struct cg_events *events)
{
	return events->counts;
}
