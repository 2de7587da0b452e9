/*
 * One store, as its own files see it.
 *
 *   submit.c   the ports: an operation is refused at once, or written and given a slot
 *   waiting.c  operations that wait together share a function call
 *   answer.c   what ends an operation: its reply, its deadline, the connection's end
 *   breaker.c  whether anything is sent at all
 *   kinds.c    what the operations of one port have that those of another do not
 *   store.c    the rest: made, connected, flushed, watched, closed
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_STORE_STORE_INTERNAL_H
#define CG_STORE_STORE_INTERNAL_H

#include "store/breaker.h"
#include "store/conn.h"
#include "store/input.h"
#include "store/output.h"
#include "store/partitions.h"
#include "store/ring.h"
#include "store/store.h"
#include "store/wire.h"

/* When to become suspicious of a silent server; tests are in more of a hurry. */
struct cg_store_pace {
	uint64_t watch_ms;      /* between two looks */
	uint64_t ping_after_ms; /* nothing to do for so long: ask before somebody needs it */
	uint64_t stall_ms; /* the oldest operation unanswered for so long: nothing more is sent */
	uint64_t hang_ms;  /* operations pending and not a byte for so long: drop it */
};

/* Operations of one partition and group that have not been written yet. */
struct cg_store_queue {
	struct cg_list ops;  /* by cg_store_op.link, oldest first */
	struct cg_list link; /* in queues_waiting, where there are any */
	uint32_t partition;
};

struct cg_store {
	struct cg_store *leader; /* whose epochs hold; itself, unless it is a further connection */
	struct cg_store_port port;
	struct cg_partition_port partition_port;
	struct cg_events_port events_port;
	struct cg_loop *loop;
	struct cg_partition_listener listener;
	struct cg_wire_config wire;
	struct cg_store_pace pace;
	char *address;
	char *username;
	char *password;

	struct cg_conn conn;
	struct cg_input input;
	struct cg_output output;
	struct cg_ring ring;
	struct cg_partitions partitions;

	struct cg_hook *hook;       /* once per turn: refusals are delivered, commands leave */
	struct cg_timer *deadlines; /* runs until deadlines_at_ms */
	uint64_t deadlines_at_ms;
	struct cg_timer *watchdog;
	struct cg_timer *suspicion; /* runs where the breaker may open, and is_suspicious */
	bool is_suspicious;
	uint64_t suspicion_at_ms;
	/* Of either timer: see cg_store__reads_first(). */
	bool deadlines_wait;
	bool suspicion_waits;

	struct cg_store_queue *queues; /* by partition and group */
	struct cg_list queues_waiting;
	uint32_t waiting_count;

	/* Refused in submit, not yet delivered, by kind: `link` of the operations. */
	struct cg_list refused[CG_SLOT_KIND_COUNT];

	/* When the server last said something, or began to have something to answer. */
	uint64_t progress_at_ms;
	struct cg_breaker breaker;
	bool is_closing;
	struct cg_log_limit full_log;
	struct cg_store_counts {
		const char *labels; /* of all; NULL: nobody asks */
		uint64_t connects;
		uint64_t refused_full;
		uint64_t timeouts;
	} counts;
	struct cg_log_limit error_log;
};

/* submit.c */
void cg_store__init_ports(struct cg_store *store, uint32_t partition_count);
void cg_store__push(struct cg_store *store, const struct cg_slot *slot);
/* Ends with the next turn, never sent. */
void cg_store__refuse(struct cg_store *store, const struct cg_slot *slot, enum cg_status status);
void cg_store__log_full(struct cg_store *store, const char *what);
bool cg_store__has_refused(const struct cg_store *store);
void cg_store__deliver_refused(struct cg_store *store);

/* waiting.c */
void cg_store__init_queues(struct cg_store *store, uint32_t partition_count);
void cg_store__deinit_queues(struct cg_store *store);
/* The operation leaves at the end of the turn, with others of its partition and group. */
void cg_store__wait(
    struct cg_store *store, struct cg_store_op *op, uint32_t partition, enum cg_wire_group group);
/* Writes what waits: of one partition, of all. */
void cg_store__write_waiting_of(struct cg_store *store, uint32_t partition);
void cg_store__write_waiting(struct cg_store *store);
/* Ends what waits, and what is submitted to wait meanwhile. */
void cg_store__end_waiting(struct cg_store *store, enum cg_status status);

/* answer.c */
const char *cg_store__on_reply(void *owner, const struct cg_resp *reply);
void cg_store__expire(struct cg_store *store);
void cg_store__end_all(struct cg_store *store, enum cg_status if_unsent);

/* store.c */
void cg_store__flush(struct cg_store *store);

/*
 * A timer that was due at `due_at_ms` runs.  True where it runs so late that our own turn took
 * the time: then it is started again, to run when what the server said meanwhile has been read.
 * Only once, as *waits tells: all turns may be long.
 */
bool cg_store__reads_first(
    struct cg_store *store, struct cg_timer *timer, uint64_t due_at_ms, bool *waits);

/* Something is owed: the breaker is looked at when it may have to open. */
void cg_store__suspect(struct cg_store *store);

#endif /* CG_STORE_STORE_INTERNAL_H */
