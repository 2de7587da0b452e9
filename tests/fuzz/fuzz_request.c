/*
 * Any bytes as the request of any method: the first byte says which.  Whatever is accepted
 * must keep the contract's bounds, and must be decoded again to the same request.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "rpc/decode.h"
#include "rpc/frames.h"
#include "rpc/rules.h"

/* libFuzzer calls it, by this name. */
/* NOLINTNEXTLINE(readability-identifier-naming) */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cg_rpc_decoder decoder;
static bool ready;

static bool decode(
    enum cg_method method, struct cg_view bytes, char *memory, struct cg_request *req)
{
	struct cg_rpc_fault fault = {.bound = NULL};
	struct cg_buffer text;

	cg_buffer_init(&text, memory, CG_RPC_TEXT_BYTES);
	bool good = cg_rpc_decode(&decoder, method, bytes, &text, req, &fault);
	/* A refusal names what it refuses. */
	CG_ASSERT(good || (fault.field[0] != '\0' && fault.bound != NULL));
	return good;
}

static void check_meta(struct cg_meta meta)
{
	struct cg_view rest = meta.pairs;
	struct cg_view key;
	struct cg_view value;
	size_t bytes = 0;

	while (cg_meta_next(&rest, &key, &value)) {
		CG_ASSERT(cg_is_meta_key(key));
		CG_ASSERT(cg_view_is_text(value));
		bytes += key.len + value.len;
	}
	CG_ASSERT(rest.len == 0);
	CG_ASSERT(bytes <= CG_META_MAX_BYTES);
}

static void check_key(struct cg_view key)
{
	CG_ASSERT(cg_is_key(key) && !cg_is_reserved(key));
}

static void check(const struct cg_request *req)
{
	switch ((int)req->method) {
	case CG_METHOD_AUTHORIZE:
		CG_ASSERT(req->in.authorize.validate_only || req->in.authorize.call_id.len > 0);
		CG_ASSERT(cg_is_resource(req->in.authorize.resource_type));
		CG_ASSERT(cg_is_destination(req->in.authorize.destination));
		check_meta(req->in.authorize.meta);
		break;
	case CG_METHOD_SETTLE:
		check_key(req->in.settle.call_id);
		CG_ASSERT(req->in.settle.duration_ms >= 0);
		CG_ASSERT(req->in.settle.duration_ms <= CG_DURATION_MAX_MS);
		check_meta(req->in.settle.meta);
		break;
	case CG_METHOD_ADOPT:
		check_key(req->in.adopt.call_id);
		CG_ASSERT(req->in.adopt.started_at_ms > 0);
		check_meta(req->in.adopt.meta);
		break;
	case CG_METHOD_CREDIT:
		check_key(req->in.credit.reference_id);
		CG_ASSERT(req->in.credit.amount.micros != 0);
		CG_ASSERT(cg_view_is_text(req->in.credit.description));
		break;
	case CG_METHOD_CHARGE:
		check_key(req->in.charge.reference_id);
		CG_ASSERT(req->in.charge.amount.micros > 0);
		check_meta(req->in.charge.meta);
		break;
	default:
		break;
	}
}

/* The same bytes as a session's message. */
static void try_frame(struct cg_view bytes, char *memory)
{
	struct cg_rpc_fault fault = {.bound = NULL};
	struct cg_request req;
	struct cg_frame frame;

	if (!cg_frame_read(bytes, &frame, &fault)) {
		return;
	}
	if (frame.method == CG_METHOD_COUNT) {
		CG_ASSERT(fault.field[0] != '\0' && fault.bound != NULL);
	} else {
		CG_ASSERT(frame.op.len <= bytes.len);
		if (decode(frame.method, frame.op, memory, &req)) {
			check(&req);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char first[CG_RPC_TEXT_BYTES];
	static char second[CG_RPC_TEXT_BYTES];
	struct cg_request req;
	struct cg_request again;

	if (!ready) {
		cg_rpc_decoder_init(&decoder, 1);
		ready = true;
	}
	if (size == 0) {
		return 0;
	}
	enum cg_method method = (enum cg_method)(data[0] % CG_METHOD_COUNT);
	struct cg_view bytes = {(const char *)data + 1, size - 1};
	bool good = decode(method, bytes, first, &req);
	CG_ASSERT(decode(method, bytes, second, &again) == good);
	if (good) {
		check(&req);
	}
	try_frame(bytes, first);
	return 0;
}
