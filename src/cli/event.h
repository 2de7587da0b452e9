/*
 * One event as a line for people.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_EVENT_H
#define CG_CLI_EVENT_H

#include <callgate/client.h>

/* "CALL_AUTHORIZED", ...: the type with number i + 1 stands at i; ended by NULL. */
extern const char *const cg_event_types[];

#define CG_EVENT_LINE_BYTES 1024

/*
 * Time, type, company, call, amount, and what matters of the type in words.  With control
 * characters as they came.  `currency`: of the company, "" where it is not known.
 */
void cg_event_format(
    const struct callgate_event *event, const char *currency, char text[CG_EVENT_LINE_BYTES]);

#endif /* CG_CLI_EVENT_H */
