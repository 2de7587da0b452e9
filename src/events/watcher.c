/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "events/events_internal.h"
#include "gate/ports/store.h"

/* As in gate/terms_cache.c: ids are random but for a few bits, unless somebody numbers them. */
struct cg_list *cg_watcher__bucket(struct cg_events *events, const struct cg_uuid *company)
{
	uint64_t low = 0;
	uint64_t high = 0;

	memcpy(&low, company->bytes, sizeof low);
	memcpy(&high, company->bytes + sizeof low, sizeof high);
	uint64_t mixed = (low ^ (high << 1 | high >> 63)) * UINT64_C(0x9E3779B97F4A7C15);
	return &events->buckets[(uint32_t)(mixed >> 32) & events->bucket_mask];
}

bool cg_watcher__follows(const struct cg_watcher *watcher, uint32_t partition)
{
	return watcher->all_companies || watcher->partition == partition;
}

struct cg_mark *cg_watcher__mark(struct cg_watcher *watcher, uint32_t partition)
{
	return &watcher->marks[watcher->all_companies ? partition : 0];
}

static int compare_companies(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct cg_uuid));
}

/* A watcher of all companies may be one of those that somebody's credential is bound to. */
static bool is_bound_to(const struct cg_watcher *watcher, const struct cg_uuid *company)
{
	return watcher->companies == NULL ||
	    bsearch(company, watcher->companies, watcher->company_count,
	        sizeof watcher->companies[0], compare_companies) != NULL;
}

bool cg_watcher__wants(
    const struct cg_watcher *watcher, const struct cg_uuid *company, enum cg_event_type type)
{
	return (watcher->types == 0 || (watcher->types >> type & 1u) != 0) &&
	    (watcher->all_companies ? is_bound_to(watcher, company)
	                            : cg_uuid_equal(&watcher->company, company));
}

bool cg_watcher__matches(const struct cg_watcher *watcher, const struct cg_ring_slot *slot)
{
	if (!cg_watcher__wants(watcher, &slot->company, (enum cg_event_type)slot->type)) {
		return false;
	}
	/* Also what is of a forgotten generation lies before his mark, or before he came. */
	if (watcher->marks == NULL) {
		return true;
	}
	const struct cg_mark *mark = &watcher->marks[watcher->all_companies ? slot->partition : 0];
	return !mark->is_missing && !cg_position_reaches(&mark->at, &slot->kept->event.position);
}

void cg_watcher__make_ready(struct cg_watcher *watcher)
{
	if (watcher->is_under_way || watcher->is_ending) {
		return; /* cg_watcher_sent() will. */
	}
	if (cg_list_is_empty(&watcher->ready_link)) {
		cg_list_append(&watcher->events->ready, &watcher->ready_link);
	}
	cg_hook_request(watcher->events->pump);
}

static void follow(struct cg_watcher *watcher, void (*change)(struct cg_part *part))
{
	struct cg_events *events = watcher->events;

	if (!watcher->all_companies) {
		change(&events->parts[watcher->partition]);
		return;
	}
	for (uint32_t i = 0; i < events->store->partition_count; i++) {
		change(&events->parts[i]);
	}
}

static void take_out(struct cg_watcher *watcher)
{
	cg_list_remove(&watcher->link);
	cg_list_remove(&watcher->index_link);
	cg_list_remove(&watcher->ready_link);
	cg_list_remove(&watcher->beat_link);
	cg_list_remove(&watcher->slow_link);
	cg_catchup__drop(watcher);
	watcher->events->counts.watchers--;
	follow(watcher, cg_reader__leave);
}

static void release(struct cg_watcher *watcher)
{
	if (watcher->marks != &watcher->mark) {
		free(watcher->marks);
	}
	cg_slab_give(&watcher->events->watcher_slab, watcher);
}

void cg_watcher_close(struct cg_watcher *watcher)
{
	if (watcher->is_ending) {
		return; /* Within `end`: it goes when that returns. */
	}
	take_out(watcher);
	release(watcher);
}

void cg_watcher__end(struct cg_watcher *watcher, enum cg_watch_end why)
{
	watcher->is_ending = true;
	if (why == CG_WATCH_END_TOO_SLOW) {
		watcher->events->counts.watchers_too_slow++;
	}
	take_out(watcher);
	watcher->sink.end(watcher->owner, why);
	release(watcher);
}

void cg_watcher__end_followers(
    struct cg_events *events, const struct cg_part *part, enum cg_watch_end why)
{
	struct cg_list ending;
	struct cg_list *next = NULL;

	/* Apart first: who opens or closes a watcher within `end` changes the lists. */
	cg_list_init(&ending);
	for (struct cg_list *link = events->watchers.next; link != &events->watchers; link = next) {
		struct cg_watcher *watcher = CG_CONTAINER_OF(link, struct cg_watcher, link);
		next = link->next;
		if (part == NULL || cg_watcher__follows(watcher, part->index)) {
			cg_list_remove(link);
			cg_list_append(&ending, link);
		}
	}
	while (!cg_list_is_empty(&ending)) {
		cg_watcher__end(CG_CONTAINER_OF(ending.next, struct cg_watcher, link), why);
	}
}

void cg_watcher__on_part(struct cg_part *part)
{
	struct cg_events *events = part->events;

	for (struct cg_list *link = events->watchers.next; link != &events->watchers;
	     link = link->next) {
		struct cg_watcher *watcher = CG_CONTAINER_OF(link, struct cg_watcher, link);

		if (!cg_watcher__follows(watcher, part->index)) {
			continue;
		}
		if (watcher->state == CG_WATCHER_IN_RING && watcher->marks != NULL &&
		    cg_watcher__mark(watcher, part->index)->is_missing) {
			cg_catchup__leave_ring(watcher);
		}
		cg_watcher__make_ready(watcher); /* A token may be owed. */
	}
}

/* Where the token says it was; nothing is known of the ring yet. */
static enum cg_status read_token(
    struct cg_watcher *watcher, struct cg_view token, struct cg_error *err)
{
	struct cg_events *events = watcher->events;
	uint32_t count = watcher->all_companies ? events->store->partition_count : 1;

	enum cg_status status = cg_token_parse(token, events->store->partition_count,
	    watcher->all_companies ? CG_TOKEN_ALL : watcher->partition, events->scratch, err);
	if (status != CG_OK) {
		return status;
	}
	if (watcher->all_companies) {
		watcher->marks = calloc(count, sizeof *watcher->marks);
		if (watcher->marks == NULL) {
			cg_error_set(err, "no memory for another watcher");
			return CG_FULL;
		}
	} else {
		watcher->marks = &watcher->mark;
	}
	for (uint32_t i = 0; i < count; i++) {
		watcher->marks[i] = (struct cg_mark){.at = events->scratch[i]};
	}
	return CG_OK;
}

static void init_links(struct cg_watcher *watcher)
{
	cg_list_init(&watcher->batch);
	cg_list_init(&watcher->link);
	cg_list_init(&watcher->index_link);
	cg_list_init(&watcher->ready_link);
	cg_list_init(&watcher->beat_link);
	cg_list_init(&watcher->slow_link);
	cg_list_init(&watcher->hungry_link);
}

enum cg_status cg_events_watch(struct cg_events *events, const struct cg_watch_in *in,
    const struct cg_watch_sink *sink, void *owner, struct cg_watcher **ret_watcher,
    struct cg_error *err)
{
	if (!events->takes_watchers) {
		cg_error_set(err, "no watchers are taken any more");
		return CG_CLOSING;
	}
	struct cg_watcher *watcher = cg_slab_take(&events->watcher_slab);
	if (watcher == NULL) {
		cg_error_set(err, "%u watchers are there already", events->config.watchers_max);
		return CG_FULL;
	}
	*watcher = (struct cg_watcher){
	    .events = events,
	    .sink = *sink,
	    .owner = owner,
	    .all_companies = in->all_companies,
	    .companies = in->companies,
	    .company_count = in->company_count,
	    .company = in->company,
	    .types = in->types,
	    .is_at_head = in->resume_token.len == 0, /* From now on, whatever now is. */
	    .is_token_owed = true,
	};
	init_links(watcher);
	if (!in->all_companies) {
		watcher->partition =
		    cg_store_partition_of(&in->company, events->store->partition_count);
	}
	if (in->resume_token.len > 0) {
		enum cg_status status = read_token(watcher, in->resume_token, err);
		if (status != CG_OK) {
			release(watcher);
			return status;
		}
	}
	cg_list_append(&events->watchers, &watcher->link);
	cg_list_append(
	    in->all_companies ? &events->watch_alls : cg_watcher__bucket(events, &in->company),
	    &watcher->index_link);
	events->counts.watchers++;
	follow(watcher, cg_reader__watch);
	cg_watcher__make_ready(watcher);
	*ret_watcher = watcher;
	return CG_OK;
}

void cg_watcher_sent(struct cg_watcher *watcher)
{
	if (watcher->is_ending || !watcher->is_under_way) {
		return;
	}
	watcher->is_under_way = false;
	cg_list_remove(&watcher->slow_link);
	cg_watcher__make_ready(watcher);
}
