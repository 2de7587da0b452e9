/*
 * What is wrong with a request: which field, and what it must be.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_FAULT_H
#define CG_RPC_FAULT_H

#include <stdbool.h>

struct cg_rpc_fault {
	char field[88];    /* its path in the request, "meta[city]"; or the message's name */
	const char *bound; /* what it must be; a static text that follows "must be " */
};

/* Notes the fault down; always false, so that a check may end with it. */
bool cg_rpc_fault_set(struct cg_rpc_fault *fault, const char *field, const char *bound);

#endif /* CG_RPC_FAULT_H */
