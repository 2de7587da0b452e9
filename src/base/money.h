/*
 * An amount of money: millionths (micros) of one major unit of its wallet's currency.
 * A struct, so that it cannot be added to a duration.  C code carries amounts; the
 * function library in the store is what computes them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BASE_MONEY_H
#define CG_BASE_MONEY_H

#include <stdint.h>

/* The largest absolute amount in a request: 15 digits. */
#define CG_MONEY_REQUEST_MAX_MICROS INT64_C(999999999999999)

struct cg_money {
	int64_t micros;
};

#endif /* CG_BASE_MONEY_H */
