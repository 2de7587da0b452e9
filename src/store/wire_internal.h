/*
 * What the files of the wire share: writing commands and reading replies.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_STORE_WIRE_INTERNAL_H
#define CG_STORE_WIRE_INTERNAL_H

#include "store/wire.h"

/* The first byte of every reply is an outcome, or this; of one of many also the other. */
#define CG_WIRE_REFUSED 254
#define CG_WIRE_FAILED  253

/* Which of a partition's keys a function gets, in this order. */
enum cg_wire_key {
	CG_WIRE_KEY_HEAD,
	CG_WIRE_KEY_WALLET, /* as many as there are companies */
	CG_WIRE_KEY_DUE,
	CG_WIRE_KEY_ENDED_0,
	CG_WIRE_KEY_ENDED_1,
	CG_WIRE_KEY_LEDGER,
	CG_WIRE_KEY_EVENTS,
};

/* A function and what it is called with. */
struct cg_wire_function {
	const char *name; /* without what carries the library's version */
	uint32_t key_count;
	enum cg_wire_key keys[7];
};

/* Everything of the command up to its argument; returns where that begins, for cg_wire_end(). */
size_t cg_wire_begin(struct cg_buffer *out, const struct cg_wire_function *function,
    uint32_t partition, const struct cg_uuid *companies, uint32_t company_count);

/* Two parts of that: everything before the arguments, of which there are so many; and one's begin. */
void cg_wire_begin_call(struct cg_buffer *out, const struct cg_wire_function *function,
    uint32_t partition, const struct cg_uuid *companies, uint32_t company_count,
    uint32_t argument_count);
size_t cg_wire_begin_argument(struct cg_buffer *out);

/* The argument has been written after `begin`: puts its length before it. */
void cg_wire_end(struct cg_buffer *out, size_t begin);

void cg_wire_put_int(struct cg_buffer *out, int64_t value);
void cg_wire_put_price(struct cg_buffer *out, bool has_price, const struct cg_price *price);

/* As cg_wire_put_price() writes it: the store keeps and answers those 24 bytes. */
void cg_wire_take_price(struct cg_cursor *in, struct cg_price *ret_price);
void cg_wire_take_currency(struct cg_cursor *in, struct cg_currency *ret_currency);
struct cg_money cg_wire_take_money(struct cg_cursor *in);
bool cg_wire_take_bool(struct cg_cursor *in);

/* A byte that is one of an enum's values; anything else counts as a reply that does not parse. */
unsigned cg_wire_take_enum(struct cg_cursor *in, unsigned last);

/* Of an instant, a duration or a count; what is no int64 does not parse. */
int64_t cg_wire_take_uint(struct cg_cursor *in, size_t width);

/* One record of a stream, as READ and EVENTS answer it. */
struct cg_wire_record {
	struct cg_stream_id id;
	struct cg_view blob;
};

void cg_wire_take_record(struct cg_cursor *in, struct cg_wire_record *ret_record);

/* A record of a ledger stream; false where it does not parse. */
bool cg_wire_read_entry(
    const struct cg_wire_record *record, uint32_t partition, struct cg_entry *ret_entry);

/* What EVENTS read of one stream. */
struct cg_wire_list {
	struct cg_cursor records; /* where they begin; their framing has been checked */
	uint32_t count;
	bool goes_on;             /* the stream has more than these */
	struct cg_stream_id last; /* of the stream */
};

/* Fills in out.read and the caller's array; false where something does not parse. */
bool cg_wire_merge(
    struct cg_events_op *op, const struct cg_wire_list *events, const struct cg_wire_list *entries);

#endif /* CG_STORE_WIRE_INTERNAL_H */
