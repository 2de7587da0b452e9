/*
 * Amounts, durations and instants as people read them.  Nothing is rounded: six decimals
 * show a micro, and a millisecond is shown where there is one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_MONEY_H
#define CG_CLI_MONEY_H

#include <stddef.h>
#include <stdint.h>

#define CG_MONEY_TEXT_BYTES    40
#define CG_DURATION_TEXT_BYTES 64
#define CG_TIME_TEXT_BYTES     40

/* "1.500000 USD", "-0.093000 NGN"; with an empty currency just the number. */
void cg_money_format(int64_t micros, const char *currency, char text[CG_MONEY_TEXT_BYTES]);

/* "2 min 3.001 s", "500 ms", "3 h 20 min". */
void cg_duration_format(int64_t ms, char text[CG_DURATION_TEXT_BYTES]);

/* "2026-11-22 10:04:31.123 UTC"; "-" for 0, which stands for "not yet". */
void cg_time_format(int64_t at_ms, char text[CG_TIME_TEXT_BYTES]);

/* Now, in milliseconds since the Unix epoch, on this machine's clock. */
int64_t cg_time_now_ms(void);

#endif /* CG_CLI_MONEY_H */
