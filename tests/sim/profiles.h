/*
 * What a world is like: which strikes it favours, how much is asked in it, how far its standby
 * may lag.  Most seeds are of the first profile, where everything may happen.  Each other one
 * brings about, often, what one of the rules is there for: so that a rule taken away is missed
 * within a few seeds, whatever else of the simulation has changed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_PROFILES_H
#define CG_SIM_PROFILES_H

#include <stdbool.h>
#include <stdint.h>

#include "rules.h"
#include "strikes.h"

struct profile {
	const char *name;
	enum strike favoured;      /* STRIKE_COUNT: none */
	unsigned favour;           /* in a thousand strikes; 1000: there are no others */
	uint64_t strikes_every_ms; /* on average */
	uint64_t deeds_every_ms;   /* likewise */
	unsigned doubled;          /* of a thousand requests: sent a second time, to whomever */
	unsigned lives_again;      /* of a thousand calls: authorized anew when long over */
	bool is_to_go_back;        /* the end is a ledger from an old backup, in every seed */
	uint64_t margin_ms;        /* how long entries stay in the stream */
	uint64_t lag_ms;           /* of a standby, at most: less, by what it takes */
	uint64_t credit_most;      /* micros, above the least there is */
	enum sim_rule rules[6];    /* that are missed in it; up to SIM_RULE_COUNT */
};

/* Where everything may happen. */
extern const struct profile *const profile_usual;

/* NULL: there is none of that name. */
const struct profile *profile_named(const char *name);
const struct profile *profile_of_rule(enum sim_rule rule);
/* The one after it; NULL: it was the last. */
const struct profile *profile_after(const struct profile *profile);

#endif /* CG_SIM_PROFILES_H */
