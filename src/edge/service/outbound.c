/*
 * Calls that are not answered but made: leave for a campaign's contact.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "edge/json/out.h"
#include "edge/service/edge.h"

struct predial {
	struct cg_edge *edge;
	struct cg_http_request *request;
};

static void answer_predial(struct predial *p, bool is_eligible)
{
	char memory[64];
	struct cg_out out;

	cg_out_init(&out, memory, sizeof memory);
	cg_out_object(&out, NULL);
	cg_out_bool(&out, "eligible", is_eligible);
	cg_out_end(&out, '}');
	cg_http_answer(p->request, 200, "application/json", cg_out_view(&out));
	free(p);
}

static void on_predial(void *context, const struct callgate_error *error,
    const struct callgate_authorize_response *response)
{
	struct predial *p = context;

	answer_predial(p, error == NULL && response->decision == CALLGATE_DECISION_ALLOWED);
}

/* Nothing is held: the call is metered by its webhooks once it is made, as one that was adopted. */
void cg_edge_predial(
    struct cg_edge *edge, struct cg_http_request *request, const struct cg_vapi_message *message)
{
	struct predial *p = calloc(1, sizeof *p);
	const struct cg_number *number =
	    cg_directory_number(edge->directory, message->call.phone_number_id, message->dialled);

	CG_ASSERT(p != NULL);
	*p = (struct predial){.edge = edge, .request = request};
	struct callgate_authorize_request authorize = {
	    .company_id = number == NULL ? "" : number->company_id,
	    .call_id = "",
	    .resource_type = "voice_outbound",
	    .destination =
	        cg_vapi_is_e164(message->call.customer_number) ? message->call.customer_number : "",
	    .validate_only = true,
	};
	if (number == NULL || authorize.destination[0] == '\0' ||
	    callgate_authorize(edge->gate, &authorize, on_predial, p) != CALLGATE_ACCEPTED) {
		answer_predial(p, false);
	}
}
