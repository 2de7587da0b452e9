/*
 * A door: an address at which callers arrive, what they may do there without a credential of
 * their own, and a gRPC server of its own, so that every call is known to have come through it.
 * (Descriptors are no names for connections: they are used again.)
 *
 *     ADDRESS[=ROLES][,...]
 *     unix:/path   127.0.0.1:port   [::1]:port   tls:host:port
 *
 * ROLES, separated by '+', or '*', are those of a caller who shows no credential.  Without them
 * a caller at a unix socket has all where there is no file of credentials, and none where there is;
 * elsewhere he has none, and a door at which nobody could have any is refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_DOOR_H
#define CG_RPC_DOOR_H

#include "base/base.h"

#define CG_DOOR_ADDRESS_BYTES 128

enum cg_door_kind {
	CG_DOOR_UNIX,
	CG_DOOR_LOOPBACK,
	CG_DOOR_TLS,
};

struct cg_door_config {
	char address[CG_DOOR_ADDRESS_BYTES]; /* without "tls:" */
	enum cg_door_kind kind;
	unsigned roles; /* of callers without a credential */
};

/* Reads them all.  CG_INVALID: `err` names the one that is wrong. */
enum cg_status cg_doors_parse(const char *text, bool has_credentials,
    struct cg_door_config *ret_doors, uint32_t doors_max, uint32_t *ret_count,
    struct cg_error *err);

#endif /* CG_RPC_DOOR_H */
