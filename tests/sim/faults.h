/*
 * What goes wrong, and when.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_FAULTS_H
#define CG_SIM_FAULTS_H

void faults_begin(void);
/* Everything that is down comes back, and nothing more goes wrong. */
void faults_heal(void);

#endif /* CG_SIM_FAULTS_H */
