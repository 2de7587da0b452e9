/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/fault.h"

#include <stdio.h>

bool cg_rpc_fault_set(struct cg_rpc_fault *fault, const char *field, const char *bound)
{
	(void)snprintf(fault->field, sizeof fault->field, "%s", field);
	fault->bound = bound;
	return false;
}
