/*
 * Between the gate and its neighbours: where a rule of the gate's is taken away.  While all
 * rules hold, what is said is passed on as it is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_SEAMS_H
#define CG_SIM_SEAMS_H

#include "gate/ports/ledger.h"
#include "gate/ports/store.h"

struct seams {
	struct cg_store_port store;
	struct cg_ledger_port ledger;
	struct cg_store_port *real_store;
	struct cg_ledger_port *real_ledger;
};

void seams_init(struct seams *seams, struct cg_store_port *store, struct cg_ledger_port *ledger);

#endif /* CG_SIM_SEAMS_H */
