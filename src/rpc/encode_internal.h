/*
 * What both halves of the encoder share.  Each function gives NULL where the arena is full;
 * cg_arena.overflow tells at the end.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_ENCODE_INTERNAL_H
#define CG_RPC_ENCODE_INTERNAL_H

#include "rpc/encode.h"

/* A message of the contract in the arena, empty; leaves the function where it is full. */
#define CG_MESSAGE(name, type, init)                                                               \
	Callgate__V1__##type *name = cg_arena_take(arena, sizeof *name);                           \
	if (name == NULL) {                                                                        \
		return NULL;                                                                       \
	}                                                                                          \
	init(name)

Callgate__V1__Price *cg_encode__price(
    const struct cg_price *price, const struct cg_currency *currency, struct cg_arena *arena);
char *cg_encode__uuid(const struct cg_uuid *uuid, struct cg_arena *arena);
char *cg_encode__entry_id(const struct cg_entry_id *id, struct cg_arena *arena);

/* The answers of Wallets' methods. */
const ProtobufCMessage *cg_encode__wallets(const struct cg_request *req, struct cg_arena *arena);

#endif /* CG_RPC_ENCODE_INTERNAL_H */
