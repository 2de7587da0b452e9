/*
 * What the ledger needs from the store: the stream of entries that wait for it, and the
 * steps by which a partition is taken into use (ledger.md, Recovery).
 *
 * Stands beside the gate's ports because neither room may include the other.
 * True of every operation: as in gate/ports/store.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_GATE_PORTS_PARTITION_H
#define CG_GATE_PORTS_PARTITION_H

#include "gate/ports/ledger.h"

/* The deployment's own name, 16 random bytes made when its ledger was. */
struct cg_deployment {
	struct cg_uuid id;
	uint32_t partition_count;
};

enum cg_partition_verb {
	CG_PARTITION_HELLO, /* a look: sets the mark again where the head's history is the server's own */
	CG_PARTITION_FENCE, /* head := E, recovering; nothing else writes from here */
	CG_PARTITION_DROP, /* not the latest history: its stream, calls, keys and wallets are gone */
	CG_PARTITION_REPAIR, /* one wallet takes what the ledger has of it and this history lost */
	CG_PARTITION_SERVE,  /* head := E, serving */
	CG_PARTITION_READ,   /* entries after an id, oldest first */
	CG_PARTITION_TRIM,   /* at most 1000 entries at or below an id and older than the margin */
};

/* What HELLO found; see the table in ledger.md. */
enum cg_partition_condition {
	CG_PARTITION_HEALTHY,   /* serving, and marked, or marked again just now */
	CG_PARTITION_NO_HEAD,   /* a fresh or flushed store */
	CG_PARTITION_HALF_DONE, /* a recovery was begun and not finished */
	CG_PARTITION_OTHER_HISTORY, /* restarted, failed over, or resynchronized since it was confirmed */
	CG_PARTITION_OTHER_DEPLOYMENT, /* two stores on one ledger, or the reverse: refuse, alarm */
};

/* One ledger entry as the function wrote it. */
struct cg_entry {
	struct cg_entry_id id;
	struct cg_uuid company;
	uint64_t version; /* the wallet's own count, no gaps */
	struct cg_ledger_entry_body {
		enum cg_entry_type type;
		struct cg_money amount; /* negative for usage */
		struct cg_money balance_after;
		int64_t at_ms;
		struct cg_view reference_id;
		struct cg_view description;
		/* Of usage. */
		bool is_charge;
		bool late;
		int64_t quantity; /* of a charge */
		struct cg_view resource_type;
		struct cg_view destination;
		struct cg_price price;
		struct cg_currency currency;
		int64_t duration_ms;
		int64_t billed_ms;
		enum cg_basis basis;
		int64_t authorized_at_ms;
		int64_t started_at_ms;
		int64_t ended_at_ms;
		struct cg_meta meta;
		/* After the entry. */
		struct cg_money available;
		int64_t exhausts_at_ms; /* T* of a credit; 0: never, or no credit */
		/*
		 * An adjustment that corrects an abandoned call: resource, price, duration and
		 * billed_ms are the call's as they are now, `quantity` is the difference in
		 * billed milliseconds.  Has a row in usage_logs of the difference.
		 */
		bool is_correction;
		/* The call was made in shadow mode and would have been denied or cut off. */
		bool has_shadow;
		enum cg_decision shadow_decision; /* ALLOWED: it would only have been cut off */
		int64_t shadow_cut_at_ms;         /* 0: not */
		struct cg_money shadow_saved;     /* of its cost */
	} body;
};

/* Of one REPAIR: so many entries, and so long all their texts (meta included) together. */
#define CG_REPAIR_ENTRIES_MOST   64
#define CG_REPAIR_TEXT_MAX_BYTES 16384

/*
 * An entry that the store lost, as the ledger has it.  Of the correction of a call both are the
 * call's, since what is remembered of a call is one thing; row.is_corrected says the rest.  A key
 * without a reference (in quarantine, as bytes that are no text) is not remembered.
 */
struct cg_repair_entry {
	struct cg_ledger_key key;
	struct cg_ledger_row row;
};

struct cg_partition_op {
	enum cg_partition_verb verb;
	uint32_t partition;
	uint64_t deadline_at_ms;
	union {
		struct cg_deployment hello;
		struct {
			uint64_t epoch;
			struct cg_deployment deployment;
			/* As the ledger has it: the last epoch served, and what it came from. */
			uint64_t ledger_served;
			uint64_t ledger_served_from;
		} fence;
		struct {
			uint64_t epoch;
		} drop, serve;
		/*
		 * Between FENCE and SERVE of this very epoch alone.  The wallet takes the ledger's
		 * balance and version if its own version is lower; the calls of the entries are
		 * closed, their keys remembered.  A wallet that is absent stays so.  Again is
		 * harmless.
		 */
		struct {
			uint64_t epoch;
			struct cg_uuid company;
			struct cg_money posted; /* as a load would take them */
			uint64_t version;
			const struct cg_repair_entry *entries;
			uint32_t entry_count; /* 0 .. CG_REPAIR_ENTRIES_MOST */
		} repair;
		struct {
			uint64_t after_epoch; /* 0, 0: from the first */
			uint64_t after_n;
			struct cg_entry *entries; /* the caller's array */
			uint32_t entries_max;     /* 1 .. 1000 */
		} read;
		struct {
			uint64_t upto_epoch; /* inclusive; 0, 0: nothing is to go yet */
			uint64_t upto_n;
			uint64_t
			    flushed_epoch; /* the cursor: what follows it waits for the ledger */
			uint64_t flushed_n;
			int64_t margin_ms;
		} trim;
	} in;

	enum cg_status status;
	union {
		struct {
			enum cg_partition_condition condition;
			uint64_t epoch;         /* the head's; 0: no head */
			uint64_t trimmed_epoch; /* the last trimmed id; 0, 0: none yet */
			uint64_t trimmed_n;
			int64_t now_ms; /* the store's clock */
		} hello;
		struct {
			bool overtaken; /* the head's epoch is not below E */
			/* The head's, maybe of an unfinished recovery; 0: there was none. */
			uint64_t former_epoch;
			/*
			 * The last one that this history was served under, or the one in favour of
			 * which it was dropped; 0: none.
			 */
			uint64_t served_epoch;
			/* The last ledger_served by which it was fenced, itself not heard of; 0. */
			uint64_t judged_epoch;
			/*
			 * Up to where this history knows what the ledger has: the stream's last id;
			 * where that is of an epoch before served_epoch, the last that such an
			 * epoch could have (2^53 - 1).
			 */
			uint64_t last_epoch;
			uint64_t last_n;
			uint64_t trimmed_epoch;
			uint64_t trimmed_n;
		} fence;
		struct {
			bool overtaken;
		} drop, repair, serve;
		struct {
			uint32_t count; /* of in.read.entries; their views go with `done` */
			/*
			 * Behind the last one, or at once, stands an entry that cannot be read: what
			 * follows it is not answered.
			 */
			bool is_unreadable;
			bool more;
			int64_t now_ms;
			uint64_t trimmed_epoch; /* by then, whoever did it */
			uint64_t trimmed_n;
		} read;
		struct {
			uint32_t removed;
			uint64_t length; /* entries left in the stream */
		} trim;
	} out;

	void (*done)(struct cg_partition_op *op);
	struct cg_list link; /* the port's */
};

struct cg_partition_port {
	void (*submit)(struct cg_partition_port *self, struct cg_partition_op *op);
	/*
	 * From now on functions of this partition are called with this epoch; 0: not at all,
	 * they end RECOVERING.  Operations in flight are not recalled: the store refuses them.
	 */
	void (*set_epoch)(struct cg_partition_port *self, uint32_t partition, uint64_t epoch);
	uint32_t partition_count;
};

/* What the store tells the ledger without being asked. */
struct cg_partition_listener {
	/* A connection was made: every partition wants a hello. */
	void (*on_connected)(void *owner);
	/* The connection ended: nothing is served. */
	void (*on_disconnected)(void *owner);
	/* A function refused our epoch: this partition wants a hello. */
	void (*on_refused)(void *owner, uint32_t partition);
	void *owner;
};

#endif /* CG_GATE_PORTS_PARTITION_H */
