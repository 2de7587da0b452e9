/*
 * What the files of the wire share: writing commands and reading replies.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_STORE_WIRE_INTERNAL_H
#define CG_STORE_WIRE_INTERNAL_H

#include "store/wire.h"

/* The first byte of every reply is an outcome, or this. */
#define CG_WIRE_REFUSED 254

/* Which of a partition's keys a function gets, in this order. */
enum cg_wire_key {
	CG_WIRE_KEY_HEAD,
	CG_WIRE_KEY_WALLET,
	CG_WIRE_KEY_DUE,
	CG_WIRE_KEY_ENDED_0,
	CG_WIRE_KEY_ENDED_1,
	CG_WIRE_KEY_LEDGER,
	CG_WIRE_KEY_EVENTS,
};

/* A function and what it is called with. */
struct cg_wire_function {
	const char *name;
	uint32_t key_count;
	enum cg_wire_key keys[6];
};

/*
 * Everything of the command up to its argument; `company` may be NULL where no key is a
 * wallet's.  Returns where the argument begins, for cg_wire_end().
 */
size_t cg_wire_begin(struct cg_buffer *out, const struct cg_wire_function *function,
    uint32_t partition, const struct cg_uuid *company);

/* The argument has been written after `begin`: puts its length before it. */
void cg_wire_end(struct cg_buffer *out, size_t begin);

void cg_wire_put_int(struct cg_buffer *out, int64_t value);
void cg_wire_put_price(struct cg_buffer *out, bool has_price, const struct cg_price *price);

/* As cg_wire_put_price() writes it: the store keeps and answers those 24 bytes. */
void cg_wire_take_price(struct cg_cursor *in, struct cg_price *ret_price);
void cg_wire_take_currency(struct cg_cursor *in, struct cg_currency *ret_currency);
struct cg_money cg_wire_take_money(struct cg_cursor *in);
bool cg_wire_take_bool(struct cg_cursor *in);

#endif /* CG_STORE_WIRE_INTERNAL_H */
