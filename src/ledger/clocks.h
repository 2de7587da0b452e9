/*
 * Is the store's clock to be believed?  All times of calls are its alone (meter.md, Units), so a
 * store that is off meters hours at once, or none.  It is compared with two other clocks, the
 * sidecar's and Postgres's, and taken for wrong only where it is off from both: a wrong clock of
 * the sidecar's own must stop nobody.
 *
 * An answer's instant lies between asking and hearing it, so a difference is known within bounds
 * only; "off" is what is certain.  A slow answer makes nothing certain.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_LEDGER_CLOCKS_H
#define CG_LEDGER_CLOCKS_H

#include <stdbool.h>
#include <stdint.h>

/* One clock minus another: at least and at most, in milliseconds. */
struct cg_ahead {
	int64_t least_ms;
	int64_t most_ms;
};

/* A clock said `said_ms`, asked and heard at these instants of another clock. */
struct cg_ahead cg_ahead_of(int64_t said_ms, int64_t asked_ms, int64_t heard_ms);

/* The first clock's against a second one, both known against a third. */
struct cg_ahead cg_ahead_between(struct cg_ahead first, struct cg_ahead second);

/* So much later: two clocks that nobody sets run apart by a thousandth at most. */
struct cg_ahead cg_ahead_after(struct cg_ahead then, uint64_t age_ms);

/* Certainly by more than that, forwards or backwards. */
bool cg_ahead_is_off(struct cg_ahead ahead, int64_t max_ms);

#endif /* CG_LEDGER_CLOCKS_H */
