/*
 * grpc.health.v1.Health/Check: for load balancers and probes.  Two fields, read and written
 * by hand.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <grpc/slice.h>

#include "rpc/rpc_internal.h"

#define SERVICE_TAG 0x0A /* HealthCheckRequest.service: field 1, bytes */

/* The service that is asked about; false where these are not the bytes of such a request. */
static bool read_service(struct cg_view bytes, struct cg_view *ret_service)
{
	struct cg_cursor cursor;

	*ret_service = (struct cg_view){NULL, 0};
	if (bytes.len == 0) {
		return true;
	}
	cg_cursor_init(&cursor, bytes);
	uint64_t tag = cg_cursor_uint(&cursor, 1);
	uint64_t len = cg_cursor_uint(&cursor, 1); /* Longer names are nobody's. */
	struct cg_view service = cg_cursor_bytes(&cursor, (size_t)len);
	if (tag != SERVICE_TAG || len >= 0x80 || cursor.overrun || cursor.left > 0) {
		return false;
	}
	*ret_service = service;
	return true;
}

static bool is_served(struct cg_view service)
{
	return service.len == 0 || cg_view_equal(service, CG_VIEW_LITERAL("callgate.v1.Gate")) ||
	    cg_view_equal(service, CG_VIEW_LITERAL("callgate.v1.Wallets"));
}

void cg_health__on_request(struct cg_rpc_slot *slot)
{
	static const char serving[] = {0x08, 1};
	static const char not_serving[] = {0x08, 2};
	const struct cg_rpc_server *server = slot->server;
	struct cg_view service = {NULL, 0};
	bool known = false;

	if (slot->payload != NULL && slot->payload->data.raw.compression == GRPC_COMPRESS_NONE) {
		grpc_slice whole;
		struct cg_view bytes = cg_slot__payload(slot, &whole);
		known = read_service(bytes, &service) && is_served(service);
		grpc_slice_unref(whole);
	}
	if (!known) {
		cg_slot__fail(slot, &(struct cg_rpc_failure){.status = CG_NOT_FOUND});
		return;
	}
	const char *answer = server->serving && !server->draining ? serving : not_serving;
	cg_slot__reply(slot, grpc_slice_from_static_buffer(answer, sizeof serving));
}
