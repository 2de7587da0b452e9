/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_events.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define META_MAX_BYTES 4096

struct told {
	enum cg_event_type type;
	struct cg_uuid company;
	uint32_t meta_bytes;
};

struct cg_watcher {
	struct cg_events *events;
	const struct cg_watch_sink *sink;
	void *owner;
	struct cg_watch_in in;
	bool is_old;
	bool is_sending;
	bool wants_beat;
	uint64_t next; /* the event to look at next */
	struct cg_list link;
};

struct cg_events {
	struct cg_loop *loop;
	struct cg_hook *hook;
	struct cg_list watchers;
	struct cg_slab slab;
	uint64_t told_count;
	uint64_t sent_count;
	bool is_ending;
	struct told told[FAKE_EVENTS_KEPT];
};

static void end(struct cg_watcher *watcher, enum cg_watch_end why)
{
	const struct cg_watch_sink *sink = watcher->sink;
	void *owner = watcher->owner;

	cg_watcher_close(watcher);
	sink->end(owner, why);
}

/* Pairs of a key of 2 bytes and a value of 62, until they are about so many. */
static struct cg_view fill_meta(char *memory, size_t capacity, uint32_t wanted_bytes)
{
	static const char value[] =
	    "................................................................";
	struct cg_buffer pairs;
	char key[8];

	cg_buffer_init(&pairs, memory, capacity);
	for (uint32_t i = 0; (i + 1) * 64 <= wanted_bytes; i++) {
		(void)snprintf(key, sizeof key, "%02u", (unsigned)i % 100);
		cg_buffer_text(&pairs, cg_view_of(key), 1);
		cg_buffer_text(&pairs, (struct cg_view){value, 62}, 2);
	}
	CG_ASSERT(!pairs.overflow);
	return cg_buffer_view(&pairs);
}

static void deliver(struct cg_watcher *watcher, const struct cg_event *event)
{
	char token[24];

	(void)snprintf(token, sizeof token, "t%" PRIu64, watcher->next);
	watcher->is_sending = true;
	watcher->sink->deliver(watcher->owner,
	    &(struct cg_watch_message){.event = event,
	        .resume_token = cg_view_of(token),
	        .as_of_ms = INT64_C(1790000000000)});
}

static void deliver_event(struct cg_watcher *watcher, const struct told *told)
{
	static char memory[2 * META_MAX_BYTES];
	uint64_t number = ++watcher->next;
	bool is_entry = told->type == CG_EVENT_CREDITED || told->type == CG_EVENT_CALL_SETTLED;

	deliver(watcher,
	    &(struct cg_event){.type = told->type,
	        .company = told->company,
	        .partition = 3,
	        .position = {.event = {1, number}, .entry = {1, number}},
	        .is_entry = is_entry,
	        .at_ms = INT64_C(1790000000000),
	        .exhausts_at_ms = INT64_C(1790000030000),
	        .call_id = CG_VIEW_LITERAL("call"),
	        .amount = {1500},
	        .available = {-7},
	        .entry_type = is_entry ? CG_ENTRY_USAGE : CG_ENTRY_NONE,
	        .meta = {fill_meta(memory, sizeof memory, told->meta_bytes)}});
}

static bool is_bound_to(const struct cg_watch_in *in, const struct cg_uuid *company)
{
	for (uint32_t i = 0; i < in->company_count; i++) {
		if (cg_uuid_equal(&in->companies[i], company)) {
			return true;
		}
	}
	return in->companies == NULL;
}

static bool wants(const struct cg_watcher *watcher, const struct told *told)
{
	return (watcher->in.types == 0 || (watcher->in.types >> told->type & 1) != 0) &&
	    (watcher->in.all_companies ? is_bound_to(&watcher->in, &told->company)
	                               : cg_uuid_equal(&watcher->in.company, &told->company));
}

/* One message at most; the next when this one has left. */
static void serve(struct cg_watcher *watcher)
{
	struct cg_events *events = watcher->events;

	if (watcher->is_sending) {
		return;
	}
	if (watcher->wants_beat) {
		watcher->wants_beat = false;
		deliver(watcher, NULL);
		return;
	}
	if (watcher->is_old) {
		end(watcher, CG_WATCH_END_TOO_OLD);
		return;
	}
	if (events->told_count - watcher->next > FAKE_EVENTS_KEPT) {
		end(watcher, CG_WATCH_END_TOO_SLOW);
		return;
	}
	for (; watcher->next < events->told_count; watcher->next++) {
		const struct told *told = &events->told[watcher->next % FAKE_EVENTS_KEPT];
		if (wants(watcher, told)) {
			deliver_event(watcher, told);
			return;
		}
	}
}

static void on_turn(void *owner)
{
	struct cg_events *events = owner;
	struct cg_list *next;

	for (struct cg_list *link = events->watchers.next; link != &events->watchers; link = next) {
		next = link->next;
		serve(CG_CONTAINER_OF(link, struct cg_watcher, link));
	}
}

static enum cg_status read_token(
    struct cg_watcher *watcher, struct cg_view token, struct cg_error *err)
{
	int64_t after = 0;

	watcher->next = watcher->events->told_count;
	if (token.len == 0) {
		return CG_OK;
	}
	watcher->is_old = cg_view_equal(token, CG_VIEW_LITERAL("old"));
	if (watcher->is_old) {
		return CG_OK;
	}
	if (token.data[0] != 't' ||
	    !cg_view_parse_int((struct cg_view){token.data + 1, token.len - 1}, &after)) {
		cg_error_set(err, "resume_token: is no resume token");
		return CG_INVALID;
	}
	watcher->next = (uint64_t)after;
	return CG_OK;
}

enum cg_status cg_events_watch(struct cg_events *events, const struct cg_watch_in *in,
    const struct cg_watch_sink *sink, void *owner, struct cg_watcher **ret_watcher,
    struct cg_error *err)
{
	if (events->is_ending) {
		return CG_CLOSING;
	}
	struct cg_watcher *watcher = cg_slab_take(&events->slab);
	if (watcher == NULL) {
		return CG_FULL;
	}
	*watcher = (struct cg_watcher){
	    .events = events, .sink = sink, .owner = owner, .in = *in, .wants_beat = true};
	enum cg_status status = read_token(watcher, in->resume_token, err);
	if (status != CG_OK) {
		cg_slab_give(&events->slab, watcher);
		return status;
	}
	cg_list_append(&events->watchers, &watcher->link);
	cg_hook_request(events->hook);
	*ret_watcher = watcher;
	return CG_OK;
}

void cg_watcher_sent(struct cg_watcher *watcher)
{
	CG_ASSERT(watcher->is_sending);
	watcher->is_sending = false;
	watcher->events->sent_count++;
	cg_hook_request(watcher->events->hook);
}

void cg_watcher_close(struct cg_watcher *watcher)
{
	cg_list_remove(&watcher->link);
	cg_slab_give(&watcher->events->slab, watcher);
}

void cg_events_end_watchers(struct cg_events *events)
{
	events->is_ending = true;
	fake_events_end(events, CG_WATCH_END_CLOSING);
}

struct cg_events *fake_events_create(struct cg_loop *loop, uint32_t watchers_max)
{
	struct cg_events *events = calloc(1, sizeof *events);

	CG_ASSERT(events != NULL);
	events->loop = loop;
	CG_ASSERT(cg_slab_init(&events->slab, sizeof(struct cg_watcher), watchers_max) == CG_OK);
	cg_list_init(&events->watchers);
	events->hook = cg_hook_create(loop, on_turn, events);
	return events;
}

void fake_events_destroy(struct cg_events *events)
{
	CG_ASSERT(cg_list_is_empty(&events->watchers));
	cg_hook_close(events->hook);
	cg_slab_deinit(&events->slab);
	free(events);
}

void fake_events_tell(struct cg_events *events, enum cg_event_type type,
    const struct cg_uuid *company, uint32_t meta_bytes, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		events->told[events->told_count++ % FAKE_EVENTS_KEPT] =
		    (struct told){type, *company, meta_bytes};
	}
	cg_hook_request(events->hook);
}

void fake_events_beat(struct cg_events *events)
{
	for (struct cg_list *link = events->watchers.next; link != &events->watchers;
	     link = link->next) {
		CG_CONTAINER_OF(link, struct cg_watcher, link)->wants_beat = true;
	}
	cg_hook_request(events->hook);
}

void fake_events_end(struct cg_events *events, enum cg_watch_end why)
{
	struct cg_list *link = NULL;

	while ((link = cg_list_pop(&events->watchers)) != NULL) {
		end(CG_CONTAINER_OF(link, struct cg_watcher, link), why);
	}
}

uint32_t fake_events_watcher_count(const struct cg_events *events)
{
	return cg_slab_taken_count(&events->slab);
}

uint64_t fake_events_sent_count(const struct cg_events *events)
{
	return events->sent_count;
}
