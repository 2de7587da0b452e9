/*
 * What the events room needs from the store: due work done, and what happened read.
 *
 * Two streams of a partition say what happened: its ledger stream (settled, abandoned,
 * corrected, credited, charged) and its events stream (all else).  READ answers both as one
 * sequence, in an order that is right for every company and the same for every reader.
 *
 * True of every operation: as in gate/ports/store.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_GATE_PORTS_EVENTS_H
#define CG_GATE_PORTS_EVENTS_H

#include "gate/ports/types.h"

/* The contract's EventType, same numbers. */
enum cg_event_type {
	CG_EVENT_NONE = 0,
	CG_EVENT_CALL_AUTHORIZED = 1,
	CG_EVENT_CALL_STARTED = 2,
	CG_EVENT_CALL_SETTLED = 3,
	CG_EVENT_CALL_CANCELLED = 4,
	CG_EVENT_CALL_EXPIRED = 5,
	CG_EVENT_CALL_ABANDONED = 6,
	CG_EVENT_CUT_OFF = 7,
	CG_EVENT_BALANCE_LOW = 8,
	CG_EVENT_CREDITED = 9,
	CG_EVENT_CUT_WARNING = 10,
	CG_EVENT_CALL_CORRECTED = 11,
	CG_EVENT_CALL_DENIED = 12,
	CG_EVENT_CALL_ADOPTED = 13,
	CG_EVENT_CHARGED = 14,
	CG_EVENT_WALLET_UPDATED = 15,
	CG_EVENT_CALL_STOPPED = 16,
	CG_EVENT_CALL_OVERDUE = 17,
	CG_EVENT_TYPE_COUNT
};

/* An id in one of a partition's streams. */
struct cg_stream_id {
	uint64_t epoch;
	uint64_t n;
};

/* How far both streams of a partition have been read. */
struct cg_position {
	struct cg_stream_id event;
	struct cg_stream_id entry;
};

/* Room for the text of an event's id, terminated: "e<partition>-<epoch>-<n>", or the entry's own. */
#define CG_EVENT_ID_TEXT_BYTES 56

struct cg_event {
	enum cg_event_type type;
	struct cg_uuid company;
	uint32_t partition;
	/*
	 * Where to go on reading after this one.  The id of the event is the part that moved:
	 * is_entry says which.
	 */
	struct cg_position position;
	bool is_entry;
	int64_t at_ms;
	struct cg_view call_id;      /* empty: of no call */
	struct cg_view reference_id; /* CREDITED, CHARGED */
	struct cg_money amount;
	struct cg_money available;
	int64_t exhausts_at_ms; /* 0: never, or not told */
	uint32_t repeat;
	enum cg_decision decision;
	enum cg_decision shadow_decision;
	bool shadow;
	int64_t billed_ms;
	enum cg_basis basis;
	enum cg_entry_type entry_type; /* NONE unless is_entry */
	struct cg_meta meta;
};

enum cg_events_verb {
	CG_EVENTS_TICK,
	CG_EVENTS_READ,
};

/* When a wallet wants attention. */
struct cg_due {
	struct cg_uuid company;
	int64_t at_ms; /* the store's clock */
};

#define CG_TICK_WALLETS_MAX 32

struct cg_events_op {
	enum cg_events_verb verb;
	uint32_t partition;
	uint64_t deadline_at_ms;
	union {
		/*
		 * Does the due work of these wallets, as far as one step admits; of those that are
		 * not due (any more) nothing.  Learned from the answer before.
		 */
		struct {
			struct cg_uuid wallets[CG_TICK_WALLETS_MAX];
			uint32_t wallet_count; /* 0: only asks */
			uint32_t events_keep;  /* the events stream is cut down to about so many */
		} tick;
		struct {
			bool from_now; /* answers the position and no events */
			struct cg_position after;
			/*
			 * The caller's array.  Filled right before `done`, in the same turn:
			 * several readings may share one.
			 */
			struct cg_event *events;
			uint32_t events_max; /* 1 .. 1000 */
		} read;
	} in;

	/*
	 * As in gate/ports/store.h; CG_OUT_OF_RANGE (READ): the position is older than what is
	 * kept, or of a history that is gone.
	 */
	enum cg_status status;
	int64_t now_ms; /* the store's clock */
	union {
		struct {
			uint32_t worked; /* how many wallets were due and attended to */
			/* The nearest ones, soonest first; also those that are due already. */
			struct cg_due due[CG_TICK_WALLETS_MAX];
			uint32_t due_count;
			/* The last ids of both streams: whether there is anything to be read. */
			struct cg_position last;
		} tick;
		struct {
			uint32_t count; /* of in.read.events; their views go with `done` */
			/* Records that cannot be read, and were left out: nobody ever hears of them. */
			uint32_t skipped;
			bool more; /* read again at once */
			/* How far this reading came, also where it found no event. */
			struct cg_position position;
		} read;
	} out;

	void (*done)(struct cg_events_op *op);
	struct cg_list link; /* the port's */
};

struct cg_events_port {
	void (*submit)(struct cg_events_port *self, struct cg_events_op *op);
	/* The partition's epoch in force here; 0: not served at the moment. */
	uint64_t (*epoch)(struct cg_events_port *self, uint32_t partition);
	uint32_t partition_count;
};

/* "CUT_OFF", ...: as in the contract, without the prefix. NULL for a number that is none. */
const char *cg_event_type_name(enum cg_event_type type);

/* The event's id: unique for ever, the same on every delivery. */
void cg_event_id_format(const struct cg_event *event, char text[CG_EVENT_ID_TEXT_BYTES]);

bool cg_position_equal(const struct cg_position *a, const struct cg_position *b);

/* Whether everything up to `b` has been read at `a`: no part of `a` is behind. */
bool cg_position_reaches(const struct cg_position *a, const struct cg_position *b);

#endif /* CG_GATE_PORTS_EVENTS_H */
