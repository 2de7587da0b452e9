/*
 * What we say to Vapi: as little as will do.  An override that it does not accept costs the whole
 * call, so nothing is sent that its schema does not have.
 *
 * Each writes into `memory` and answers a view of it; empty where it does not fit.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EDGE_VAPI_ANSWER_H
#define CG_EDGE_VAPI_ANSWER_H

#include "base/base.h"

/* What the vendor takes as maxDurationSeconds. */
#define CG_VAPI_SECONDS_MIN 10
#define CG_VAPI_SECONDS_MAX 43200
/* The largest answer, of an upstream handler's too. */
#define CG_VAPI_ANSWER_BYTES 262144

struct cg_vapi_grant {
	int64_t max_seconds; /* CG_VAPI_SECONDS_MIN..MAX */
	const char *company_id;
	const char *reservation_id;
};

struct cg_view cg_vapi_admit(
    void *memory, size_t size, const char *assistant_id, const struct cg_vapi_grant *grant);
/* Spoken to the caller, who is then hung up on; HTTP 200 all the same. */
struct cg_view cg_vapi_refuse(void *memory, size_t size, const char *sentence);
struct cg_view cg_vapi_transfer(
    void *memory, size_t size, const char *number, const char *sentence);

enum cg_vapi_upstream {
	CG_VAPI_UPSTREAM_ADMITS,   /* ret_answer is to be sent */
	CG_VAPI_UPSTREAM_REFUSES,  /* likewise; the call will not be */
	CG_VAPI_UPSTREAM_FORWARDS, /* likewise; its destination is not metered by anybody */
	CG_VAPI_UPSTREAM_BROKEN,   /* no answer that Vapi would take */
};

/*
 * A company's own answer to an assistant-request, with the grant put in: its limit, if it has
 * one, is kept where it is the lower, its other overrides and metadata stay.
 */
enum cg_vapi_upstream cg_vapi_merge(void *memory, size_t size, struct cg_view body,
    const struct cg_vapi_grant *grant, struct cg_view *ret_answer);

struct cg_view cg_vapi_say(void *memory, size_t size, const char *sentence, bool and_end);
struct cg_view cg_vapi_end_call(void);

struct cg_vapi_create {
	const char *name; /* how the call is found again; at most 40 characters */
	const char *assistant_id;
	const char *phone_number_id;
	const char *customer_number;
	const char *external_id;
	struct cg_vapi_grant grant;
};
struct cg_view cg_vapi_create(void *memory, size_t size, const struct cg_vapi_create *create);

#endif /* CG_EDGE_VAPI_ANSWER_H */
