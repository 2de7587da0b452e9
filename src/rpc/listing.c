/*
 * ListCalls: its calls come one by one and are packed as they come, since their views are
 * gone a moment later.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "rpc/encode.h"
#include "rpc/rpc_internal.h"

#define FIRST_BYTES 4096u
#define CALLS_TAG   0x0Au /* ListCallsResponse.calls: field 1, bytes */
#define VARINT_MAX  5u    /* of a length below 2^32 */

/* Room for `more` bytes; otherwise notes which limit is in the way. */
static bool grow(struct cg_rpc_server *server, struct cg_rpc_listing *listing, size_t more)
{
	size_t wanted = listing->len + more;
	size_t capacity = listing->capacity == 0 ? FIRST_BYTES : listing->capacity;

	if (wanted <= listing->capacity) {
		return true;
	}
	while (capacity < wanted) {
		capacity *= 2;
	}
	listing->too_large = wanted > CG_LISTING_MAX_BYTES;
	listing->no_room =
	    server->listings_bytes - listing->capacity + capacity > CG_LISTINGS_MAX_BYTES;
	if (listing->too_large || listing->no_room) {
		return false;
	}
	char *bytes = realloc(listing->bytes, capacity);
	if (bytes == NULL) {
		listing->no_room = true;
		return false;
	}
	server->listings_bytes += capacity - listing->capacity;
	listing->bytes = bytes;
	listing->capacity = capacity;
	return true;
}

static void put_byte(struct cg_rpc_listing *listing, size_t byte)
{
	listing->bytes[listing->len++] = (char)(unsigned char)byte;
}

void cg_listing__on_call(struct cg_request *req, const struct cg_call *call)
{
	struct cg_rpc_body *body = CG_CONTAINER_OF(req, struct cg_rpc_body, req);
	struct cg_rpc_server *server = body->slot->server;
	struct cg_rpc_listing *listing = &body->listing;

	if (listing->too_large || listing->no_room) {
		return;
	}
	const ProtobufCMessage *message = cg_rpc_encode_call(call, &server->decoder.arena);
	if (message == NULL) {
		listing->too_large = true;
		return;
	}
	size_t len = protobuf_c_message_get_packed_size(message);
	if (!grow(server, listing, 1 + VARINT_MAX + len)) {
		return;
	}
	put_byte(listing, CALLS_TAG);
	size_t left = len;
	for (; left >= 0x80; left >>= 7) {
		put_byte(listing, (left & 0x7F) | 0x80);
	}
	put_byte(listing, left);
	listing->len += protobuf_c_message_pack(message, (uint8_t *)listing->bytes + listing->len);
}

grpc_slice cg_listing__take(struct cg_rpc_body *body, const ProtobufCMessage *rest)
{
	struct cg_rpc_listing *listing = &body->listing;
	size_t rest_len = protobuf_c_message_get_packed_size(rest);
	grpc_slice slice = grpc_slice_malloc(listing->len + rest_len);
	uint8_t *to = GRPC_SLICE_START_PTR(slice);

	if (listing->len > 0) {
		memcpy(to, listing->bytes, listing->len);
	}
	(void)protobuf_c_message_pack(rest, to + listing->len);
	cg_listing__drop(body);
	return slice;
}

void cg_listing__drop(struct cg_rpc_body *body)
{
	body->slot->server->listings_bytes -= body->listing.capacity;
	free(body->listing.bytes);
	body->listing = (struct cg_rpc_listing){0};
}
