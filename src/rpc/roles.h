/*
 * Who may call what: a set of roles, and the role that each method takes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_ROLES_H
#define CG_RPC_ROLES_H

#include "gate/request.h"

/* A set of them is the sum. */
#define CG_ROLE_GATE    1u /* the Gate service: calls as they happen */
#define CG_ROLE_BILLING 2u /* reads of Wallets, and Watch */
#define CG_ROLE_ADMIN   4u /* writes of Wallets; reads as well */
#define CG_ROLES_ALL    (CG_ROLE_GATE | CG_ROLE_BILLING | CG_ROLE_ADMIN)

/* The roles of which any one admits a method; Watch takes those of a read. */
unsigned cg_roles_of(enum cg_method method);
#define CG_ROLES_READ (CG_ROLE_BILLING | CG_ROLE_ADMIN)

/* What a caller without them is told: "gate", "billing" or "admin"; `roles` as above. */
const char *cg_roles_name(unsigned roles);

/* Names separated by `separator`, or "*" for all; false: there is none, or one is no role. */
bool cg_roles_parse(struct cg_view text, char separator, unsigned *ret_roles);

#endif /* CG_RPC_ROLES_H */
