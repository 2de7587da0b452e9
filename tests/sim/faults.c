/* SPDX-License-Identifier: Apache-2.0 */
#include "faults.h"

void faults_begin(void)
{
}

void faults_heal(void)
{
}
