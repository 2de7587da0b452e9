/*
 * What the contract demands of a WatchRequest, which goes to the events room and not to the
 * gate.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <callgate/v1/callgate.pb-c.h>

#include "events/events.h"
#include "rpc/decode.h"
#include "rpc/rules.h"
#include "rpc/wirecheck.h"

_Static_assert((int)CALLGATE__V1__EVENT_TYPE__EVENT_TYPE_CALL_OVERDUE + 1 == CG_EVENT_TYPE_COUNT,
    "event types differ");
_Static_assert(CG_EVENT_TYPE_COUNT <= 32, "a set of types is a word of 32 bits");

static bool decode_company(
    const char *text, struct cg_watch_in *ret_in, struct cg_rpc_fault *ret_fault)
{
	ret_in->all_companies = text[0] == '\0';
	return ret_in->all_companies || cg_uuid_parse(cg_view_of(text), &ret_in->company) ||
	    cg_rpc_fault_set(ret_fault, "company_id", CG_BOUND_COMPANY_OR_EMPTY);
}

static bool decode_token(
    const char *text, struct cg_watch_in *ret_in, struct cg_rpc_fault *ret_fault)
{
	ret_in->resume_token = cg_view_of(text);
	return cg_is_resume_token(ret_in->resume_token) ||
	    cg_rpc_fault_set(ret_fault, "resume_token", CG_BOUND_RESUME_TOKEN);
}

static bool decode_types(const Callgate__V1__WatchRequest *request, struct cg_watch_in *ret_in,
    struct cg_rpc_fault *ret_fault)
{
	if (request->n_types > CG_WATCH_TYPES_MAX) {
		return cg_rpc_fault_set(ret_fault, "types", CG_BOUND_WATCH_TYPES);
	}
	for (size_t i = 0; i < request->n_types; i++) {
		int type = (int)request->types[i];
		if (type <= CG_EVENT_NONE || type >= CG_EVENT_TYPE_COUNT) {
			return cg_rpc_fault_set(ret_fault, "types", CG_BOUND_WATCH_TYPES);
		}
		ret_in->types |= UINT32_C(1) << type;
	}
	return true;
}

/* Bytes that are no text at all miss the field's own bound too, which says more. */
static bool name_own_bound(struct cg_rpc_fault *fault)
{
	if (strcmp(fault->field, "company_id") == 0) {
		fault->bound = CG_BOUND_COMPANY_OR_EMPTY;
	} else if (strcmp(fault->field, "resume_token") == 0) {
		fault->bound = CG_BOUND_RESUME_TOKEN;
	}
	return false;
}

bool cg_rpc_decode_watch(struct cg_rpc_decoder *decoder, struct cg_view bytes,
    struct cg_watch_in *ret_in, struct cg_rpc_fault *ret_fault)
{
	const ProtobufCMessageDescriptor *descriptor = &callgate__v1__watch_request__descriptor;

	*ret_in = (struct cg_watch_in){0};
	if (!cg_wirecheck(descriptor, bytes, ret_fault)) {
		return name_own_bound(ret_fault);
	}
	cg_arena_reset(&decoder->arena);
	const Callgate__V1__WatchRequest *request = callgate__v1__watch_request__unpack(
	    &decoder->arena.allocator, bytes.len, (const uint8_t *)bytes.data);
	if (request == NULL) {
		return cg_rpc_fault_set(ret_fault, descriptor->short_name,
		    decoder->arena.overflow ? "a message of fewer fields"
		                            : "a well-formed protobuf message");
	}
	return decode_company(request->company_id, ret_in, ret_fault) &&
	    decode_token(request->resume_token, ret_in, ret_fault) &&
	    decode_types(request, ret_in, ret_fault);
}
