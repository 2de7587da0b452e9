/*
 * An events room where nothing happens but what the test says.
 *
 *   resume token "bad..."   refused as none of ours
 *   resume token "old"      ended TOO_OLD after the heartbeat
 *   resume token "t<n>"     resumes after the n-th event
 *
 * It keeps the last FAKE_EVENTS_KEPT events; a watcher that is further behind when it comes
 * for the next is ended TOO_SLOW.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_TEST_FAKE_EVENTS_H
#define CG_TEST_FAKE_EVENTS_H

#include "events/events.h"

#define FAKE_EVENTS_KEPT 4096

struct cg_events *fake_events_create(struct cg_loop *loop, uint32_t watchers_max);

/* Every watcher must be gone. */
void fake_events_destroy(struct cg_events *events);

/* `count` events of one type and company, with meta of about so many bytes. */
void fake_events_tell(struct cg_events *events, enum cg_event_type type,
    const struct cg_uuid *company, uint32_t meta_bytes, uint32_t count);

/* A heartbeat to every watcher that has nothing under way. */
void fake_events_beat(struct cg_events *events);

/* Every watcher is ended so. */
void fake_events_end(struct cg_events *events, enum cg_watch_end why);

uint32_t fake_events_watcher_count(const struct cg_events *events);
uint64_t fake_events_sent_count(const struct cg_events *events);

#endif /* CG_TEST_FAKE_EVENTS_H */
