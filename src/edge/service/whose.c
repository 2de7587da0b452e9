/*
 * Whose a call is: by the number that it came to or is made from, or by its assistant where it is a
 * web call.  A refusal to guess is final only once the numbers have been read.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include "edge/service/edge.h"

enum cg_edge_whose cg_edge_whose(const struct cg_edge *edge, const struct cg_vapi_call *call,
    const char *dialled, struct cg_edge_owner *ret_owner)
{
	const struct cg_directory *directory = edge->directory;
	bool is_outbound = strcmp(call->type, "outboundPhoneCall") == 0;
	bool is_web = strcmp(call->type, "webCall") == 0;
	const struct cg_number *number = is_web
	    ? cg_directory_assistant(directory, call->assistant_id)
	    : cg_directory_number(directory, call->phone_number_id, dialled);
	const char *destination = number == NULL || is_web ? "" : number->number;

	if (is_outbound) {
		destination = cg_vapi_is_e164(call->customer_number) ? call->customer_number : "";
	}
	memset(ret_owner, 0, sizeof *ret_owner);
	ret_owner->resource_type = is_outbound ? "voice_outbound" : "voice_inbound";
	(void)snprintf(ret_owner->destination, sizeof ret_owner->destination, "%s", destination);
	if (number == NULL) {
		return cg_directory_version(directory) == 0 ? CG_EDGE_WHOSE_LATER
		                                            : CG_EDGE_WHOSE_NOBODYS;
	}
	memcpy(ret_owner->company_id, number->company_id, sizeof ret_owner->company_id);
	return CG_EDGE_WHOSE_FOUND;
}

void cg_edge_park_unmatched(struct cg_edge *edge, const char *call_id, int64_t started_at_ms,
    int64_t ended_at_ms, const char *phone_number_id)
{
	struct cg_edge_review review = {
	    .call_id = call_id,
	    .what = "unmatched",
	    .said_ms =
	        started_at_ms > 0 && ended_at_ms > started_at_ms ? ended_at_ms - started_at_ms : 0,
	    .detail = phone_number_id,
	};

	edge->counts.calls_unmatched++;
	cg_edge_review(edge, &review);
}
