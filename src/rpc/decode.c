/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/decode.h"

#include "rpc/rules.h"
#include "rpc/wirecheck.h"

void cg_rpc_decoder_init(struct cg_rpc_decoder *decoder, uint64_t seed)
{
	cg_arena_init(&decoder->arena, CG_ARENA_BYTES);
	decoder->seed = seed;
	decoder->traceparent = (struct cg_view){NULL, 0};
	memset(decoder->seen, 0, sizeof decoder->seen);
}

void cg_rpc_decoder_deinit(struct cg_rpc_decoder *decoder)
{
	cg_arena_deinit(&decoder->arena);
}

static const struct cg_rule_set *rules_of(enum cg_method method)
{
	CG_ASSERT(method < CG_METHOD_COUNT);
	return (int)method < CG_RULE_SETS_GATE ? &cg_rules__gate[method]
	                                       : &cg_rules__wallets[method - CG_RULE_SETS_GATE];
}

const ProtobufCMessageDescriptor *cg_rpc_decode_message(enum cg_method method)
{
	return rules_of(method)->message;
}

/* Bytes that are no text at all miss the field's own bound too, which says more. */
static void name_own_bound(const struct cg_rule_set *set, struct cg_rpc_fault *fault)
{
	if (strcmp(fault->bound, CG_WIRE_BOUND_TEXT) != 0) {
		return;
	}
	for (size_t i = 0; i < set->rule_count; i++) {
		if (strcmp(set->rules[i].field, fault->field) == 0 &&
		    set->rules[i].kind != CG_RULE_META) {
			fault->bound = set->rules[i].bound;
		}
	}
}

bool cg_rpc_decode(struct cg_rpc_decoder *decoder, enum cg_method method, struct cg_view bytes,
    struct cg_buffer *text, struct cg_request *req, struct cg_rpc_fault *ret_fault)
{
	const struct cg_rule_set *set = rules_of(method);
	struct cg_rule_work work = {decoder, text, req, ret_fault};

	req->method = method;
	req->company = (struct cg_uuid){0};
	memset(&req->in, 0, sizeof req->in);
	if (!cg_wirecheck(set->message, bytes, ret_fault)) {
		name_own_bound(set, ret_fault);
		return false;
	}

	cg_arena_reset(&decoder->arena);
	const ProtobufCMessage *message = protobuf_c_message_unpack(
	    set->message, &decoder->arena.allocator, bytes.len, (const uint8_t *)bytes.data);
	if (message == NULL) {
		return cg_rpc_fault_set(ret_fault, set->message->short_name,
		    decoder->arena.overflow ? "a message of fewer fields"
		                            : "a well-formed protobuf message");
	}
	for (size_t i = 0; i < set->rule_count; i++) {
		if (!cg_rule_apply(&work, &set->rules[i], message)) {
			return false;
		}
	}
	return set->finish == NULL || set->finish(&work, message);
}
