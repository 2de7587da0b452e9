/*
 * What the files of this room share.
 *
 *   ticker.c   does due work, and learns whether a partition has anything to be read
 *   reader.c   reads a watched partition, from "now" on, into the ring
 *   ring.c     the latest events of all partitions, in one sequence
 *   catchup.c  reads for one watcher what the ring does not hold (any more)
 *   watcher.c  who watches
 *   telling.c  what a watcher is told next
 *   timing.c   heartbeats, and who is too slow
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EVENTS_EVENTS_INTERNAL_H
#define CG_EVENTS_EVENTS_INTERNAL_H

#include "events/events.h"
#include "events/token.h"

#define CG_READ_MAX      256
#define CG_CATCHUP_LANES 4

/* An event with everything that its views point to, in one piece of heap. */
struct cg_kept {
	struct cg_event event;
	struct cg_position before; /* in the ring: its partition's position just before it */
	struct cg_list link;       /* of a watcher's batch */
	size_t bytes;
	char data[];
};

struct cg_ring_slot {
	struct cg_kept *kept;
	/* What is looked at while scanning, without touching the event. */
	struct cg_uuid company;
	uint32_t partition;
	uint32_t type;
};

/* Slots of numbers oldest .. next - 1 are filled; a number's slot is number % kept_max. */
struct cg_ring {
	struct cg_ring_slot *slots;
	uint64_t oldest;
	uint64_t next;
	size_t bytes;
};

/* A wallet's due time, translated to the loop's clock. */
struct cg_due_here {
	struct cg_uuid company;
	uint64_t at_ms;
};

struct cg_part {
	struct cg_events *events;
	uint32_t index;
	/* ticker.c */
	struct cg_events_op tick;
	bool is_ticking;
	bool was_served; /* at the last look */
	uint64_t tick_at_ms;
	uint32_t due_count;
	struct cg_due_here due[CG_TICK_WALLETS_MAX];
	struct cg_position last; /* as the last tick told it */
	/* reader.c */
	struct cg_events_op read;
	bool is_reading;
	bool read_again;
	bool is_known;       /* head and floor mean something */
	uint64_t generation; /* of what is known: grows where it is forgotten */
	uint64_t read_generation;
	uint32_t watcher_count;
	struct cg_position head; /* how far it is in the ring */
	/* The ring holds everything of this partition from here to `head`. */
	struct cg_position floor;
	uint64_t since; /* its events of smaller numbers are of a forgotten generation */
	struct cg_list poked_link;
};

/* How far a watcher who came with a token is in one partition. */
struct cg_mark {
	struct cg_position at;
	/*
	 * The ring does not hold what follows `at`, and it could not be read: what the ring
	 * has of this partition is not for this watcher, until he has caught up.
	 */
	bool is_missing;
};

/*
 *  NEW --heartbeat--> CATCHING_UP --the ring holds what follows--> IN_RING
 *        `--no token-------------------------------------------------^ |
 *                          ^------a partition is there (again)---------'
 *
 * CATCHING_UP waits for its reading (lane), for a lane (hungry) or for the caller to take
 * its batch; IN_RING for the caller, or for an event (is_at_head).
 */
enum cg_watcher_state {
	CG_WATCHER_NEW,
	CG_WATCHER_CATCHING_UP,
	CG_WATCHER_IN_RING,
};

struct cg_lane;

struct cg_watcher {
	struct cg_events *events;
	struct cg_watch_sink sink;
	void *owner;
	bool all_companies;
	struct cg_uuid company;
	const struct cg_uuid *companies; /* of all_companies, these alone; NULL: no bound */
	uint32_t company_count;
	uint32_t partition; /* the company's */
	uint32_t types;
	enum cg_watcher_state state;
	bool is_under_way; /* a message is */
	bool is_beat_due;
	bool is_token_owed; /* the last message had none */
	bool is_ending;
	uint64_t delivered_at_ms;
	uint64_t token_at_ms;
	/* IN_RING: everything in the ring has been looked at; else `cursor` is the next one. */
	bool is_at_head;
	uint64_t cursor;
	/* One per partition, or `mark` alone where it watches one company; NULL: no token. */
	struct cg_mark *marks;
	struct cg_mark mark;
	/* CATCHING_UP */
	struct cg_lane *lane;
	struct cg_list batch;
	size_t batch_bytes;
	uint32_t batch_partition;
	struct cg_position batch_after; /* the mark, once the batch is delivered */

	struct cg_list link;       /* of all watchers */
	struct cg_list index_link; /* of those of a company, or of all companies */
	struct cg_list ready_link; /* something may be said */
	struct cg_list beat_link;  /* by delivered_at_ms: the next heartbeat */
	struct cg_list slow_link;  /* by delivered_at_ms: the message under way */
	struct cg_list hungry_link;
};

struct cg_lane {
	struct cg_events *events;
	struct cg_events_op op;
	bool is_busy;
	struct cg_watcher *watcher; /* NULL: gone meanwhile */
};

struct cg_events {
	struct cg_loop *loop;
	struct cg_events_config config;
	struct cg_events_port *store;
	bool is_closed;
	bool takes_watchers;
	struct cg_events_counts counts;
	struct cg_metric_histogram cut_off_lateness; /* nanoseconds */
	int64_t now_ms;                              /* the store's clock, the latest seen */

	struct cg_part *parts;
	struct cg_timer *tick_timer;
	uint64_t tick_timer_at_ms;
	struct cg_timer *poke_timer;
	struct cg_list poked;
	struct cg_event *batch; /* of CG_READ_MAX: every reading's, see the port */

	struct cg_ring ring;

	struct cg_slab watcher_slab;
	struct cg_list watchers;
	struct cg_list *buckets; /* those of one company, by its hash */
	uint32_t bucket_mask;
	struct cg_list watch_alls;
	struct cg_list ready;
	struct cg_hook *pump;
	struct cg_list beats;
	struct cg_list slows;
	struct cg_timer *watch_timer;
	uint64_t watch_timer_at_ms;

	struct cg_lane lanes[CG_CATCHUP_LANES];
	struct cg_list hungry;
	struct cg_list resting; /* hungry again at the next beat of the ticker */
	size_t batches_bytes;

	struct cg_log_limit unreadable_log;
	struct cg_position *scratch; /* one per partition */
	uint64_t head_version;       /* grows where any partition's head moves */
	char *token_text;
	char *head_token_text; /* of a watcher of all companies at the head */
	size_t head_token_len;
	uint64_t head_token_version;
};

/* ticker.c */
void cg_ticker__start(struct cg_events *events);
void cg_ticker__close(struct cg_events *events);
void cg_ticker__saw_clock(struct cg_events *events, int64_t now_ms);

/* reader.c */
void cg_reader__read(struct cg_part *part); /* soon; harmless where there is no need */
void cg_reader__poke(struct cg_part *part);
void cg_reader__watch(struct cg_part *part);  /* one watcher more */
void cg_reader__leave(struct cg_part *part);  /* one less */
void cg_reader__forget(struct cg_part *part); /* what is in the ring, and how far it was read */
void cg_reader__on_poke_timer(void *owner);
/* Says so where a reading, anybody's, met what cannot be read. */
void cg_reader__note_unreadable(struct cg_events *events, const struct cg_events_op *op);

/* ring.c */
struct cg_kept *cg_kept__create(const struct cg_event *event);
void cg_ring__init(struct cg_events *events);
void cg_ring__deinit(struct cg_events *events);
/* Appends, makes room for it, and wakes who waits for it. */
void cg_ring__append(struct cg_events *events, const struct cg_event *event);
const struct cg_ring_slot *cg_ring__slot(const struct cg_events *events, uint64_t number);
/*
 * Where somebody is in every partition who has seen everything before `number`: into
 * events->scratch, only of the partitions that are known.
 */
void cg_ring__positions(struct cg_events *events, uint64_t number);

/* catchup.c */
/* Whether a reading is wanted before this watcher can go on in the ring; then it is queued. */
bool cg_catchup__begin(struct cg_watcher *watcher);
void cg_catchup__pump(struct cg_events *events);
void cg_catchup__wake_resting(struct cg_events *events);
/* The first of the batch, which is the caller's then; NULL: it is empty. */
struct cg_kept *cg_catchup__take(struct cg_watcher *watcher);
/* Goes on in the ring: the marks say which partitions are missing there. */
void cg_catchup__join(struct cg_watcher *watcher);
/* Out of the ring again, for a partition that was missing. */
void cg_catchup__leave_ring(struct cg_watcher *watcher);
void cg_catchup__drop(struct cg_watcher *watcher);

/* watcher.c */
bool cg_watcher__matches(const struct cg_watcher *watcher, const struct cg_ring_slot *slot);
bool cg_watcher__wants(
    const struct cg_watcher *watcher, const struct cg_uuid *company, enum cg_event_type type);
struct cg_list *cg_watcher__bucket(struct cg_events *events, const struct cg_uuid *company);
void cg_watcher__make_ready(struct cg_watcher *watcher);
void cg_watcher__end(struct cg_watcher *watcher, enum cg_watch_end why);
/* Everybody who follows `part`; NULL: everybody. */
void cg_watcher__end_followers(
    struct cg_events *events, const struct cg_part *part, enum cg_watch_end why);
/* The partition has become known, or is served again. */
void cg_watcher__on_part(struct cg_part *part);
/* The mark of a partition that this watcher follows. */
struct cg_mark *cg_watcher__mark(struct cg_watcher *watcher, uint32_t partition);
bool cg_watcher__follows(const struct cg_watcher *watcher, uint32_t partition);

/* telling.c */
void cg_telling__on_turn(void *owner);

/* measure.c: an event of a watched partition was read, when it was so late by the store's clock. */
void cg_measure__read(struct cg_events *events, const struct cg_event *event, int64_t now_ms);

/* timing.c */
void cg_timing__delivered(struct cg_watcher *watcher);
void cg_timing__on_timer(void *owner);

#endif /* CG_EVENTS_EVENTS_INTERNAL_H */
