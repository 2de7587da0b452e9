/*
 * grpc.health.v1.Health: Check and Watch, for load balancers and probes.  Two fields, read and
 * written by hand.
 *
 * A watch is told the status at once, and then whenever it has changed: one message is under way
 * at most, and what changed meanwhile is told in one, so that a peer that does not read costs
 * one message.  Where the server drains, it is told NOT_SERVING and ended.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <grpc/slice.h>

#include "rpc/streams.h"

#define SERVICE_TAG 0x0A /* HealthCheckRequest.service: field 1, bytes */

enum health_status {
	SERVING = 1,
	NOT_SERVING = 2,
	SERVICE_UNKNOWN = 3,
};

/* HealthCheckResponse.status: field 1, a number. */
static const char answers[][2] = {
    [SERVING] = {0x08, SERVING},
    [NOT_SERVING] = {0x08, NOT_SERVING},
    [SERVICE_UNKNOWN] = {0x08, SERVICE_UNKNOWN},
};

static grpc_slice answer_of(enum health_status status)
{
	return grpc_slice_from_static_buffer(answers[status], sizeof answers[status]);
}

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

/* Whether a service is asked about that is served here. */
static bool is_known(struct cg_rpc_slot *slot)
{
	struct cg_view service = {NULL, 0};
	grpc_slice whole;

	if (slot->payload == NULL || slot->payload->data.raw.compression != GRPC_COMPRESS_NONE) {
		return false;
	}
	struct cg_view bytes = cg_slot__payload(slot, &whole);
	bool known = read_service(bytes, &service) && is_served(service);
	grpc_slice_unref(whole);
	return known;
}

static enum health_status status_now(const struct cg_rpc_server *server)
{
	return server->serving && !server->draining ? SERVING : NOT_SERVING;
}

void cg_health__on_request(struct cg_rpc_slot *slot)
{
	if (is_known(slot)) {
		cg_slot__reply(slot, answer_of(status_now(slot->server)));
	} else {
		cg_slot__fail(slot, &(struct cg_rpc_failure){.status = CG_NOT_FOUND});
	}
}

/* Tells what has changed since, unless a message is under way: then whoever hears of its end does. */
static void tell(struct cg_rpc_stream *stream)
{
	enum health_status status =
	    stream->health.is_known ? status_now(stream->server) : SERVICE_UNKNOWN;

	if (!stream->is_sending && stream->health.told != (int)status) {
		stream->health.told = (int)status;
		cg_stream__send(stream, answer_of(status));
	}
}

static void on_drain(struct cg_rpc_stream *stream)
{
	tell(stream);
	cg_stream__end(stream,
	    &(struct cg_rpc_failure){.status = CG_CLOSING, .reason = CG_REASON_SHUTTING_DOWN});
}

static const struct cg_rpc_stream_kind watch_kind = {
    .line = CG_LINE_HEALTH_WATCH, .on_sent = tell, .on_drain = on_drain, .on_ending = tell};

void cg_health__on_watch(struct cg_rpc_slot *slot)
{
	if (cg_calls__refuse_unread(slot, 0, "HealthCheckRequest")) {
		return;
	}
	bool known = is_known(slot);
	struct cg_rpc_stream *stream = cg_stream__begin(slot, &watch_kind);
	if (stream != NULL) {
		stream->health.is_known = known;
		tell(stream);
	}
}

void cg_health__changed(struct cg_rpc_server *server)
{
	for (struct cg_list *link = server->streams_open.next; link != &server->streams_open;
	     link = link->next) {
		struct cg_rpc_stream *stream = CG_CONTAINER_OF(link, struct cg_rpc_stream, link);
		if (stream->kind == &watch_kind) {
			tell(stream);
		}
	}
}
