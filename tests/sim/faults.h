/*
 * What goes wrong, and when.
 *
 * Each part may die at any moment and as often as it likes, and the store may lose whatever it
 * has.  Two things do not happen, since nothing could survive them: the store loses what the
 * ledger has just lost too, and has not got back yet; or the other way round.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_FAULTS_H
#define CG_SIM_FAULTS_H

#include <stdint.h>

void faults_begin(void);
/* Everything that is down comes back, and nothing more goes wrong. */
void faults_heal(void);
/* How far a sidecar's idea of the store's clock may be off by now. */
uint64_t faults_clock_slack_ms(void);
/* Now and then: whether what was waited for has come. */
void faults_look(void);

#endif /* CG_SIM_FAULTS_H */
