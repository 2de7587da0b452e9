/*
 * How operations travel: one FCALL per operation, one packed argument, one packed reply; or one for
 * many operations that wait together, with an argument each.
 *
 * The other end is the function library in callgate/; the byte layouts stand there, above each
 * function, and in
 * wire_call.c, wire_reply.c, wire_partition.c, wire_events.c and wire_merge.c beside the code
 * that writes or reads them.
 * Nothing here does I/O or takes from the heap.
 *
 * Sending: one of the encode functions writes the whole command, as RESP, to the buffer;
 * buffer->overflow afterwards means that it did not fit, and then nothing of it may be sent.
 * Receiving: the reply to every function is one bulk string; its content (not the "$<length>"
 * around it) goes to the decode function.  An error reply ("-...") never comes here: it says
 * that the function did not run (OOM, NOSCRIPT, MOVED, ...) or that it refused a malformed
 * argument before its first write.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_STORE_WIRE_H
#define CG_STORE_WIRE_H

#include "gate/ports/events.h"
#include "gate/ports/partition.h"
#include "gate/ports/store.h"

/* The largest command that the encode functions write, longest meta included. */
#define CG_WIRE_COMMAND_MAX_BYTES 24576

/* READ stops before its entries exceed this: a reply is not much larger. */
#define CG_WIRE_READ_MAX_BYTES (1024 * 1024)

struct cg_wire_config {
	uint32_t partition_count;
	/* AUTHORIZE and ADOPT refuse while the stream is longer; 0: no limit. */
	uint64_t outbox_max;
	/* Keys of ended calls: how many per generation (there are two), and how long at least. */
	uint64_t ended_max;
	int64_t ended_keep_ms;
};

/* What FUNCTION LOAD takes; static. */
struct cg_view cg_wire_library(void);

/* "callgate_v<version>": another text under the same name would replace it; static. */
const char *cg_wire_library_name(void);

/*
 * `epoch` is the partition's in force; op->known_epoch goes before it where it is not 0.
 * Reads op->in, op->terms, op->company, op->asked, op->not_after_ms.
 */
void cg_wire_encode(const struct cg_store_op *op, uint32_t partition, uint64_t epoch,
    const struct cg_wire_config *config, struct cg_buffer *out);

/* As many operations as share a call at most: some 8 us each, in which the store serves nobody else. */
#define CG_WIRE_MANY_MAX 64

/*
 * Whether it may share a call, and with which others: those of one group, which end BEGINNING
 * where memory is short, and go on FINISHING.
 */
enum cg_wire_group {
	CG_WIRE_BEGINNING,
	CG_WIRE_FINISHING,
	CG_WIRE_GROUP_COUNT,
	CG_WIRE_ALONE = CG_WIRE_GROUP_COUNT
};
enum cg_wire_group cg_wire_group_of(enum cg_store_verb verb);

/* As cg_wire_encode(), for 2 .. CG_WIRE_MANY_MAX of one group and partition, each by its own epoch. */
void cg_wire_encode_many(const struct cg_store_op *const *ops, uint32_t count, uint32_t partition,
    const struct cg_wire_config *config, struct cg_buffer *out);

/*
 * Takes the next of them from the reply to many: what cg_wire_decode() takes.  False: it failed,
 * and *ret_reply says why, for people, or there is none.
 */
bool cg_wire_take_one(struct cg_cursor *replies, struct cg_view *ret_reply);

/*
 * Fills in status, outcome, as_of_ms, state, currency and out (for CALLS also the caller's
 * array); op->epoch is left to the connection, which knows what it sent.  Views point into
 * `reply`.
 *   CG_OK          read op->outcome
 *   CG_RECOVERING  the function refused the epoch; nothing happened
 *   CG_INTERNAL    the reply does not parse; it may have happened
 */
void cg_wire_decode(struct cg_store_op *op, uint32_t partition, struct cg_view reply);

/* `epoch` as above, for READ and TRIM; 0 there: whichever the head has, served or being recovered. */
void cg_wire_encode_partition(const struct cg_partition_op *op, uint64_t epoch,
    const struct cg_wire_config *config, struct cg_buffer *out);

/*
 * Fills in status and out; READ also the caller's array, whose views point into `reply`.
 * CG_RECOVERING: READ or TRIM refused, since the history is not confirmed or the epoch is
 * another one.
 */
void cg_wire_decode_partition(struct cg_partition_op *op, struct cg_view reply);

/* `epoch` is the partition's in force. */
void cg_wire_encode_events(const struct cg_events_op *op, uint64_t epoch, struct cg_buffer *out);

/*
 * Fills in status, now_ms and out; READ also the caller's array, whose views point into `reply`.
 *   CG_OK, CG_OUT_OF_RANGE, CG_RECOVERING   as in gate/ports/events.h
 *   CG_INTERNAL  the reply does not parse, or would lead its reader backwards or nowhere
 */
void cg_wire_decode_events(struct cg_events_op *op, struct cg_view reply);

#endif /* CG_STORE_WIRE_H */
