/*
 * An HTTP client on the loop.  The one room that sees libcurl.
 *
 * True of every request:
 *  - https alone, certificates verified; never redirected; no proxy from the environment;
 *  - only to public addresses, looked at when the connection is made, so that no name can lead
 *    inside; with allow_private anywhere, and then plain http to loopback addresses too;
 *  - `done` runs once, never before the request has been submitted, with all or nothing of an
 *    answer of at most answer_bytes_max.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EDGE_FETCH_FETCH_H
#define CG_EDGE_FETCH_FETCH_H

#include "base/base.h"
#include "loop/loop.h"

#define CG_FETCH_HEADERS_MAX 8

struct cg_fetch;

struct cg_fetch_config {
	const char *ca_file; /* NULL or empty: the system's */
	bool allow_private;
	uint32_t in_flight_max;
};

struct cg_fetch_answer {
	/*
	 * CG_OK           there is an answer, whatever its `code`
	 * CG_UNAVAILABLE  it was never sent: no connection, or refused here
	 * CG_TIMEOUT      no answer in time; the peer may have acted
	 * CG_LOST         the connection broke, or the answer was too large; likewise
	 * CG_FULL         in_flight_max are under way; nothing happened
	 */
	enum cg_status status;
	unsigned code; /* of HTTP */
	struct cg_view body;
	const char *why; /* for people, never with the URL; "" where it is OK */
};

struct cg_fetch_ask {
	const char *method;
	const char *url;
	const char *headers[CG_FETCH_HEADERS_MAX]; /* "Name: value"; NULL ends them */
	struct cg_view body;
	uint32_t timeout_ms;
	size_t answer_bytes_max;
	void (*done)(void *owner, const struct cg_fetch_answer *answer);
	void *owner;
};

struct cg_fetch *cg_fetch_create(struct cg_loop *loop, const struct cg_fetch_config *config);

/* Everything of it is copied. */
void cg_fetch_submit(struct cg_fetch *fetch, const struct cg_fetch_ask *ask);

uint32_t cg_fetch_count(const struct cg_fetch *fetch); /* under way */

/* Without a callback for what is under way. */
void cg_fetch_close(struct cg_fetch *fetch);

/*
 * Whether a URL that a peer gave may be used: https (with allow_private also http, to a
 * loopback address), without user or password, to a host that is one of `suffixes`, or, where
 * the suffix begins with a dot, ends with it.  `suffixes`: separated by commas.
 */
bool cg_url_is_allowed(const char *url, const char *suffixes, bool allow_private);

/* Whether a numeric address is one of the internet: no loopback, private, link-local, multicast... */
struct sockaddr;
bool cg_url_is_public(const struct sockaddr *address);

#endif /* CG_EDGE_FETCH_FETCH_H */
