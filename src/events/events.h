/*
 * What acts by itself, and what tells of it: the partitions are ticked when they are due, what
 * happened is read once per partition, and told to whoever watches.
 *
 * One reader per partition follows its streams and keeps the latest events, bounded, for all
 * watchers together.  A watcher that resumes further back reads on its own until it has caught
 * up.  A watcher holds no queue: it has one message under way, and where it comes for the next
 * so late that the event is not kept any more, it is ended.
 *
 * Everything happens on the loop thread.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EVENTS_EVENTS_H
#define CG_EVENTS_EVENTS_H

#include "base/base.h"
#include "gate/ports/events.h"
#include "loop/loop.h"

struct cg_events_config {
	uint32_t tick_ms;      /* no partition is left alone longer than this: 100 */
	uint32_t kept_max;     /* latest events kept for watchers, of all partitions: 8192 */
	uint32_t kept_bytes;   /* and their bytes: 16 MiB */
	uint32_t events_keep;  /* events kept in the store, per partition: 10 000 */
	uint32_t watchers_max; /* beyond: CG_FULL */
	uint32_t heartbeat_ms; /* 5000 */
	uint32_t slow_ms;      /* a message that is under way for longer ends its watcher: 30 000 */
};

struct cg_events;
struct cg_watcher;

/* Aborts where the heap is empty; the port must outlive it. */
struct cg_events *cg_events_create(
    struct cg_loop *loop, const struct cg_events_config *config, struct cg_events_port *store);

/* Begins to tick. */
void cg_events_start(struct cg_events *events);

/* Something that watchers may want to hear was just done here: read soon instead of at the next tick. */
void cg_events_poke(struct cg_events *events, uint32_t partition);

/* Ends every watcher (CG_WATCH_END_CLOSING); no new ones are taken. */
void cg_events_end_watchers(struct cg_events *events);

/* Stops ticking.  Every watcher must be gone; operations under way at the port are waited for by closing it. */
void cg_events_close(struct cg_events *events);

/* After the port has given back what was under way, and after the loop was destroyed. */
void cg_events_destroy(struct cg_events *events);

/* For logs and metrics. */
struct cg_events_counts {
	uint32_t watchers;
	uint64_t ticks;
	uint64_t wallets_attended;
	uint64_t events_read;
	uint64_t watchers_too_slow;
};
struct cg_events_counts cg_events_counts(const struct cg_events *events);

/* Registers what it counts: watchers, ticks, how late cut-offs are. */
void cg_events_measure(struct cg_events *events, struct cg_metrics *metrics);

/* The last id of a partition's ledger stream, as its last tick told it; all 0: not told yet. */
struct cg_stream_id cg_events_entries_end(const struct cg_events *events, uint32_t partition);

struct cg_watch_in {
	bool all_companies;
	struct cg_uuid company;
	/* With all_companies: these alone, ascending; NULL: there is no bound.  As long as the watcher. */
	const struct cg_uuid *companies;
	uint32_t company_count;
	struct cg_view resume_token; /* empty: from now on */
	uint32_t types;              /* bit 1 << type; 0: all */
};

/* Its views are gone when `deliver` returns. */
struct cg_watch_message {
	const struct cg_event *event; /* NULL: a heartbeat */
	struct cg_view resume_token;  /* empty: keep the one before */
	int64_t as_of_ms;             /* the store's clock, as far as it is known */
};

enum cg_watch_end {
	CG_WATCH_END_TOO_OLD,  /* OUT_OF_RANGE, TOKEN_TOO_OLD */
	CG_WATCH_END_TOO_SLOW, /* RESOURCE_EXHAUSTED, WATCHER_TOO_SLOW */
	CG_WATCH_END_CLOSING,  /* UNAVAILABLE, SHUTTING_DOWN */
};

/* Neither runs before cg_events_watch() has returned. */
struct cg_watch_sink {
	/* One at a time: the next comes only after cg_watcher_sent(). */
	void (*deliver)(void *owner, const struct cg_watch_message *message);
	/* Nothing follows; the watcher is gone when this returns. */
	void (*end)(void *owner, enum cg_watch_end why);
};

/*
 * The first message is a heartbeat, with a token once the store has told where "now" is.
 * CG_INVALID: the token is none of ours (`err` says so); CG_FULL; CG_CLOSING.
 */
enum cg_status cg_events_watch(struct cg_events *events, const struct cg_watch_in *in,
    const struct cg_watch_sink *sink, void *owner, struct cg_watcher **ret_watcher,
    struct cg_error *err);

/* What was delivered last has left. */
void cg_watcher_sent(struct cg_watcher *watcher);

/* The caller is gone: nothing more is said, and the watcher must not be touched again. */
void cg_watcher_close(struct cg_watcher *watcher);

#endif /* CG_EVENTS_EVENTS_H */
