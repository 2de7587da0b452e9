/*
 * What the door has counted since it opened: for metrics.  Only ever grows, unless it says
 * otherwise.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_COUNTERS_H
#define CG_RPC_COUNTERS_H

#include <stdint.h>

struct cg_rpc_counters {
	uint64_t connections_accepted;
	uint64_t connections_open; /* now, as of the last look */
	uint64_t
	    connections_refused_full; /* closed at once: of the limits, in all or of an address */
	uint64_t connections_refused_peer;    /* closed at once: the peer's uid and groups */
	uint64_t connections_refused_rubbish; /* they began as no client does */
	uint64_t connections_refused_banned;  /* closed at once: their source has flooded lately */
	uint64_t accept_pauses;               /* out of descriptors or memory */
	uint64_t connections_cut;             /* the peer did not read */
	uint64_t connections_cut_flood;       /* far more requests at once than it was told */
	uint64_t connections_ended_old;       /* by gRPC: their age */
	uint64_t connections_ended_idle;      /* likewise: nobody used them */
	uint64_t connections_ended_silent; /* they did not say in time what a client says first */
	uint64_t connections_ended_unused; /* whoever ended them: nothing was ever asked on them */

	uint64_t unauthenticated;   /* no credential, or none that is valid */
	uint64_t permission_denied; /* without the role, or for another company */

	/* RESOURCE_EXHAUSTED */
	uint64_t refused_in_flight;            /* in all */
	uint64_t refused_connection_in_flight; /* of one connection */
	uint64_t refused_rate;                 /* Authorizes of one company */
	uint64_t refused_listings;
	uint64_t refused_watchers;
	uint64_t refused_sessions;
	uint64_t refused_streams;            /* health watches and reflections, in all */
	uint64_t refused_connection_streams; /* likewise, of one connection */

	uint64_t refused_compressed; /* UNIMPLEMENTED */
	uint64_t refused_closing;    /* UNAVAILABLE */
	uint64_t refused_no_message; /* INVALID_ARGUMENT: half-closed without one */
	uint64_t calls_stalled;      /* UNAVAILABLE: headers, and then no message in time */

	uint64_t session_requests; /* whatever became of them */

	uint64_t watches_revoked;  /* their credential was taken away or changed */
	uint64_t sessions_revoked; /* likewise */
	uint64_t reloads;          /* of credentials and certificates, that were taken over */
	uint64_t reloads_failed;   /* what was there before stayed */
};

#endif /* CG_RPC_COUNTERS_H */
