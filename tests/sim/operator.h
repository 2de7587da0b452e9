/*
 * Whoever looks after the ledger: has a wallet's entries in quarantine booked, again and again
 * until it goes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_OPERATOR_H
#define CG_SIM_OPERATOR_H

void operator_begin(void);
void operator_end(void);

#endif /* CG_SIM_OPERATOR_H */
