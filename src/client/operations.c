/*
 * The typed functions of client.h, generated from the list of operations: each packs its
 * request, and hands its own structs to its own callback.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "client/client_internal.h"

static const void *decode(struct cg_op *op, struct cg_view bytes)
{
	return cg_codec_decode(op->method->codec, bytes, &op->arena);
}

#define X(name, NAME, Type, service)                                                               \
	static void deliver_##name(struct cg_op *op)                                               \
	{                                                                                          \
		((callgate_##name##_done)op->done)(                                                \
		    op->context, op->response == NULL ? &op->error : NULL, op->response);          \
	}
OPERATIONS(X)
#undef X

static const struct cg_method methods[CG_CODEC_COUNT] = {
#define X(name, NAME, Type, service)                                                               \
	[CG_CODEC_##NAME] = {                                                                      \
	    "/callgate.v1." service "/" #Type, decode, deliver_##name, CG_CODEC_##NAME},
    OPERATIONS(X)
#undef X
        [CG_CODEC_WATCH] = {"/callgate.v1.Wallets/Watch", NULL, NULL, CG_CODEC_WATCH},
};

void cg_operations__register(struct callgate_client *client)
{
	for (size_t i = 0; i < CG_CODEC_COUNT; i++) {
		client->registered[i] =
		    grpc_channel_register_call(client->channel, methods[i].path, NULL, NULL);
	}
	client->registered[CG_CODEC_COUNT] =
	    grpc_channel_register_call(client->channel, "/callgate.v1.Gate/Session", NULL, NULL);
}

bool cg_operations__pack(enum cg_codec codec, const void *request, grpc_slice *ret_slice)
{
	struct cg_arena arena;
	const ProtobufCMessage *message;

	cg_arena_init(&arena);
	message = cg_codec_encode(codec, request, &arena);
	if (message != NULL) {
		*ret_slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
		(void)protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(*ret_slice));
	}
	cg_arena_reset(&arena);
	return message != NULL;
}

bool cg_operations__pack_framed(
    enum cg_codec codec, const void *request, uint64_t tag, grpc_slice *ret_slice)
{
	struct cg_arena arena;
	const ProtobufCMessage *message;

	cg_arena_init(&arena);
	message = cg_codec_encode(codec, request, &arena);
	if (message != NULL) {
		*ret_slice = grpc_slice_malloc(cg_codec_frame_bytes(message, tag));
		cg_codec_write_frame(codec, message, tag, GRPC_SLICE_START_PTR(*ret_slice));
	}
	cg_arena_reset(&arena);
	return message != NULL;
}

static enum callgate_submit submit(
    struct callgate_client *client, enum cg_codec codec, const void *request, struct cg_op **ret_op)
{
	grpc_slice packed;
	enum callgate_submit submitted;

	if (!cg_operations__pack(codec, request, &packed)) {
		return CALLGATE_FULL;
	}
	submitted =
	    cg_client__submit(client, &methods[codec], client->registered[codec], packed, ret_op);
	if (submitted != CALLGATE_ACCEPTED) {
		grpc_slice_unref(packed);
	}
	return submitted;
}

/* The error of a *_sync() call that was not taken on: it was never sent. */
static const struct callgate_error *refused(struct callgate_client *client)
{
	client->refusal = (struct callgate_error){
	    .status = CALLGATE_STATUS_RESOURCE_EXHAUSTED,
	    .message = "the client has in_flight_max operations under way",
	    .detail = {.field = "", .bound = ""},
	};
	return &client->refusal;
}

static enum callgate_status run(struct callgate_client *client, enum cg_codec codec,
    const void *request, const void **ret_response, const struct callgate_error **ret_error)
{
	struct cg_op *op;

	CG_ASSERT(!client->in_callback);
	if (client->kept != NULL) {
		cg_client__release(client->kept);
		client->kept = NULL;
	}
	*ret_response = NULL;
	*ret_error = NULL;
	if (submit(client, codec, request, &op) != CALLGATE_ACCEPTED) {
		*ret_error = refused(client);
		return CALLGATE_STATUS_RESOURCE_EXHAUSTED;
	}
	op->kept = true;
	client->kept = op;
	cg_call__start(op);
	while (!op->delivered) {
		(void)callgate_client_wait(client, -1);
	}
	if (op->response != NULL) {
		*ret_response = op->response;
		return CALLGATE_STATUS_OK;
	}
	*ret_error = &op->error;
	return op->error.status;
}

#define X(name, NAME, Type, service)                                                               \
	enum callgate_submit callgate_##name(struct callgate_client *client,                       \
	    const struct callgate_##name##_request *request, callgate_##name##_done done,          \
	    void *context)                                                                         \
	{                                                                                          \
		struct cg_op *op;                                                                  \
		enum callgate_submit submitted = submit(client, CG_CODEC_##NAME, request, &op);    \
                                                                                                   \
		if (submitted == CALLGATE_ACCEPTED) {                                              \
			op->done = (void (*)(void))done;                                           \
			op->context = context;                                                     \
			cg_call__start(op);                                                        \
		}                                                                                  \
		return submitted;                                                                  \
	}                                                                                          \
                                                                                                   \
	enum callgate_status callgate_##name##_sync(struct callgate_client *client,                \
	    const struct callgate_##name##_request *request,                                       \
	    const struct callgate_##name##_response **ret_response,                                \
	    const struct callgate_error **ret_error)                                               \
	{                                                                                          \
		const void *response;                                                              \
		enum callgate_status status =                                                      \
		    run(client, CG_CODEC_##NAME, request, &response, ret_error);                   \
                                                                                                   \
		*ret_response = response;                                                          \
		return status;                                                                     \
	}
OPERATIONS(X)
#undef X

#define X(name, NAME)                                                                              \
	enum callgate_submit callgate_session_##name(struct callgate_session *session,             \
	    const struct callgate_##name##_request *request, callgate_##name##_done done,          \
	    void *context)                                                                         \
	{                                                                                          \
		return cg_session__submit(                                                         \
		    session, &methods[CG_CODEC_##NAME], request, (void (*)(void))done, context);   \
	}
X(authorize, AUTHORIZE)
X(start, START)
X(stop, STOP)
X(settle, SETTLE)
X(cancel, CANCEL)
X(adopt, ADOPT)
#undef X
