/*
 * What the contract demands of Gate's requests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <callgate/v1/callgate.pb-c.h>

#include "rpc/rules.h"

static bool is_key_or_empty(struct cg_view text)
{
	return text.len == 0 || cg_is_key(text);
}

static const struct cg_rule authorize_rules[] = {
    CG_ROW_COMPANY(AuthorizeRequest),
    CG_ROW_TEXT(AuthorizeRequest, call_id, in.authorize.call_id, CG_BOUND_KEY, is_key_or_empty),
    CG_ROW_TEXT(AuthorizeRequest, resource_type, in.authorize.resource_type, CG_BOUND_RESOURCE,
        cg_is_resource),
    CG_ROW_TEXT(AuthorizeRequest, destination, in.authorize.destination, CG_BOUND_DESTINATION,
        cg_is_destination),
    CG_ROW_INT(AuthorizeRequest, reserve_ms, in.authorize.reserve_ms, CG_BOUND_DURATION_MS, 0,
        CG_DURATION_MAX_MS),
    CG_ROW(AuthorizeRequest, start, in.authorize.start, CG_RULE_BOOL, .bound = NULL),
    CG_ROW_META(AuthorizeRequest, in.authorize.meta),
    CG_ROW(
        AuthorizeRequest, validate_only, in.authorize.validate_only, CG_RULE_BOOL, .bound = NULL),
};

static bool finish_authorize(struct cg_rule_work *work, const void *message)
{
	const struct cg_authorize_in *in = &work->req->in.authorize;

	(void)message;
	if (in->call_id.len == 0 && !in->validate_only) {
		return cg_rule_refuse(work, "call_id", CG_BOUND_KEY);
	}
	return !cg_is_reserved(in->call_id) || cg_rule_refuse(work, "call_id", CG_BOUND_RESERVED);
}

static const struct cg_rule start_rules[] = {
    CG_ROW_COMPANY(StartRequest),
    CG_ROW_KEY(StartRequest, call_id, in.start.call_id),
    CG_ROW_INT(
        StartRequest, started_at_ms, in.start.started_at_ms, CG_BOUND_AT_MS, 0, CG_AT_MAX_MS),
};

static const struct cg_rule stop_rules[] = {
    CG_ROW_COMPANY(StopRequest),
    CG_ROW_KEY(StopRequest, call_id, in.stop.call_id),
    CG_ROW_INT(StopRequest, ended_at_ms, in.stop.ended_at_ms, CG_BOUND_AT_MS, 0, CG_AT_MAX_MS),
};

static const struct cg_rule settle_rules[] = {
    CG_ROW_COMPANY(SettleRequest),
    CG_ROW_KEY(SettleRequest, call_id, in.settle.call_id),
    CG_ROW_TEXT(SettleRequest, resource_type, in.settle.resource_type, CG_BOUND_RESOURCE_OR_EMPTY,
        cg_is_resource_or_empty),
    CG_ROW_TEXT(
        SettleRequest, destination, in.settle.destination, CG_BOUND_DESTINATION, cg_is_destination),
    CG_ROW_DURABILITY(SettleRequest, in.settle.durability),
    CG_ROW_META(SettleRequest, in.settle.meta),
    CG_ROW_INT(
        SettleRequest, started_at_ms, in.settle.started_at_ms, CG_BOUND_AT_MS, 0, CG_AT_MAX_MS),
    CG_ROW_INT(SettleRequest, ended_at_ms, in.settle.ended_at_ms, CG_BOUND_AT_MS, 0, CG_AT_MAX_MS),
};

/* A forgotten duration is an error, not a free call. */
static bool finish_duration(struct cg_rule_work *work, const Callgate__V1__SettleRequest *request)
{
	static const struct cg_rule rule = {
	    .field = "duration_ms", .bound = CG_BOUND_DURATION_MS, .most = CG_DURATION_MAX_MS};
	struct cg_settle_in *in = &work->req->in.settle;

	switch (request->duration_case) {
	case CALLGATE__V1__SETTLE_REQUEST__DURATION_DURATION_MS:
		in->duration_ms = request->duration_ms;
		return cg_rule_int(work, &rule, request->duration_ms);
	case CALLGATE__V1__SETTLE_REQUEST__DURATION_AS_METERED:
		in->as_metered = true;
		return request->as_metered ||
		    cg_rule_refuse(work, "as_metered", "true where it is set");
	case CALLGATE__V1__SETTLE_REQUEST__DURATION__NOT_SET:
	case _CALLGATE__V1__SETTLE_REQUEST__DURATION__CASE_IS_INT_SIZE:
		break;
	}
	return cg_rule_refuse(work, "duration", "set: duration_ms or as_metered");
}

static bool finish_settle(struct cg_rule_work *work, const void *message)
{
	const Callgate__V1__SettleRequest *request = message;
	int basis = (int)request->basis;

	if (!finish_duration(work, request)) {
		return false;
	}
	if (basis != CG_BASIS_NONE && basis != CG_BASIS_REPORTED && basis != CG_BASIS_POLLED) {
		return cg_rule_refuse(
		    work, "basis", "DURATION_BASIS_REPORTED or DURATION_BASIS_POLLED");
	}
	work->req->in.settle.basis =
	    basis == CG_BASIS_NONE ? CG_BASIS_REPORTED : (enum cg_basis)basis;
	return true;
}

static const struct cg_rule cancel_rules[] = {
    CG_ROW_COMPANY(CancelRequest),
    CG_ROW_KEY(CancelRequest, call_id, in.cancel.call_id),
};

static const struct cg_rule adopt_rules[] = {
    CG_ROW_COMPANY(AdoptRequest),
    CG_ROW_KEY(AdoptRequest, call_id, in.adopt.call_id),
    CG_ROW_TEXT(
        AdoptRequest, resource_type, in.adopt.resource_type, CG_BOUND_RESOURCE, cg_is_resource),
    CG_ROW_TEXT(
        AdoptRequest, destination, in.adopt.destination, CG_BOUND_DESTINATION, cg_is_destination),
    CG_ROW_INT(
        AdoptRequest, started_at_ms, in.adopt.started_at_ms, "1..999999999999999", 1, CG_AT_MAX_MS),
    CG_ROW_META(AdoptRequest, in.adopt.meta),
};

#define SET(words, table, last)                                                                    \
	{                                                                                          \
		&callgate__v1__##words##_request__descriptor, table, CG_COUNT_OF(table), last      \
	}

const struct cg_rule_set cg_rules__gate[CG_RULE_SETS_GATE] = {
    [CG_METHOD_AUTHORIZE] = SET(authorize, authorize_rules, finish_authorize),
    [CG_METHOD_START] = SET(start, start_rules, NULL),
    [CG_METHOD_STOP] = SET(stop, stop_rules, NULL),
    [CG_METHOD_SETTLE] = SET(settle, settle_rules, finish_settle),
    [CG_METHOD_CANCEL] = SET(cancel, cancel_rules, NULL),
    [CG_METHOD_ADOPT] = SET(adopt, adopt_rules, NULL),
};
