/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc_security.h>

#include "base/base.h"

enum call_state {
	ASKED,     /* waits for a call to come */
	READING,   /* waits for its message */
	STREAMING, /* waits until a message of its stream is gone */
	ANSWERING, /* waits for its end */
};

struct served {
	struct fake_server *server;
	enum call_state state;
	grpc_call *call;
	grpc_call_details details;
	grpc_metadata_array metadata;
	grpc_byte_buffer *message;
	int cancelled;
	struct fake_reply reply;
	size_t sent_count;
};

struct fake_server {
	grpc_server *server;
	grpc_completion_queue *queue;
	fake_script script;
	void *context;
	atomic_uint count;
	atomic_uint sent;
	bool is_stopped; /* the queue takes no more batches; the thread's own */
	pthread_t thread;
};

static char shutdown_tag;

static char *text_of(grpc_slice slice)
{
	size_t len = GRPC_SLICE_LENGTH(slice);
	char *text = malloc(len + 1);

	memcpy(text, GRPC_SLICE_START_PTR(slice), len);
	text[len] = '\0';
	return text;
}

static void ask(struct fake_server *server)
{
	struct served *served = calloc(1, sizeof(*served));

	served->server = server;
	grpc_call_details_init(&served->details);
	grpc_metadata_array_init(&served->metadata);
	CG_ASSERT(grpc_server_request_call(server->server, &served->call, &served->details,
	              &served->metadata, server->queue, server->queue, served) == GRPC_CALL_OK);
}

static void start(struct served *served, const grpc_op *ops, size_t count)
{
	CG_ASSERT(grpc_call_start_batch(served->call, ops, count, served, NULL) == GRPC_CALL_OK);
}

static void read_message(struct served *served)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = &served->message;
	served->state = READING;
	start(served, &op, 1);
}

static void send_reply(struct served *served, const struct fake_reply *reply)
{
	grpc_op ops[4] = {0};
	size_t count = 0;
	grpc_slice message = grpc_slice_from_copied_string(reply->message ? reply->message : "");
	grpc_slice answer =
	    grpc_slice_from_copied_buffer(reply->answer ? reply->answer : "", reply->answer_bytes);
	grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&answer, 1);
	grpc_metadata detail = {.key = grpc_slice_from_static_string("grpc-status-details-bin"),
	    .value = grpc_slice_from_copied_buffer(
	        reply->detail ? reply->detail : "", reply->detail_bytes)};

	ops[count++].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
	ops[0].data.recv_close_on_server.cancelled = &served->cancelled;
	if (!reply->silent) {
		if (served->sent_count == 0) {
			ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
		}
		if (reply->code == GRPC_STATUS_OK && !reply->no_answer &&
		    reply->message_count == 0) {
			ops[count].op = GRPC_OP_SEND_MESSAGE;
			ops[count++].data.send_message.send_message = buffer;
		}
		ops[count].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
		ops[count].data.send_status_from_server.status = reply->code;
		ops[count].data.send_status_from_server.status_details = &message;
		ops[count].data.send_status_from_server.trailing_metadata_count =
		    reply->detail ? 1 : 0;
		ops[count++].data.send_status_from_server.trailing_metadata = &detail;
	}
	served->state = ANSWERING;
	start(served, ops, count);
	grpc_byte_buffer_destroy(buffer);
	grpc_slice_unref(answer);
	grpc_slice_unref(message);
	grpc_slice_unref(detail.value);
}

static void send_next(struct served *served)
{
	const struct fake_bytes *next = &served->reply.messages[served->sent_count];
	grpc_op ops[2] = {0};
	size_t count = 0;
	grpc_slice bytes = grpc_slice_from_copied_buffer(next->data, next->bytes);
	grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&bytes, 1);

	if (served->sent_count++ == 0) {
		ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
	}
	ops[count].op = GRPC_OP_SEND_MESSAGE;
	ops[count++].data.send_message.send_message = buffer;
	served->state = STREAMING;
	start(served, ops, count);
	grpc_byte_buffer_destroy(buffer);
	grpc_slice_unref(bytes);
}

/* What could not be sent is not followed by more. */
static void on_sent(struct served *served, bool success)
{
	if (success) {
		atomic_fetch_add(&served->server->sent, 1);
	}
	if (success && served->sent_count < served->reply.message_count) {
		send_next(served);
	} else {
		send_reply(served, &served->reply);
	}
}

static void on_message(struct served *served)
{
	struct fake_server *server = served->server;
	grpc_slice bytes = grpc_empty_slice();
	char *path = text_of(served->details.method);
	char *authorization = NULL;
	struct fake_call call = {.path = path, .authorization = ""};

	if (served->message != NULL) {
		grpc_byte_buffer_reader reader;

		CG_ASSERT(grpc_byte_buffer_reader_init(&reader, served->message));
		bytes = grpc_byte_buffer_reader_readall(&reader);
		grpc_byte_buffer_reader_destroy(&reader);
	}
	for (size_t i = 0; i < served->metadata.count; i++) {
		if (grpc_slice_str_cmp(served->metadata.metadata[i].key, "authorization") == 0) {
			free(authorization);
			authorization = text_of(served->metadata.metadata[i].value);
			call.authorization = authorization;
		}
	}
	call.request = GRPC_SLICE_START_PTR(bytes);
	call.request_bytes = GRPC_SLICE_LENGTH(bytes);
	call.number = atomic_fetch_add(&server->count, 1) + 1;
	server->script(server->context, &call, &served->reply);
	if (served->reply.message_count > 0) {
		send_next(served);
	} else {
		send_reply(served, &served->reply);
	}
	grpc_slice_unref(bytes);
	free(authorization);
	free(path);
}

static void forget(struct served *served)
{
	grpc_byte_buffer_destroy(served->message);
	grpc_metadata_array_destroy(&served->metadata);
	grpc_call_details_destroy(&served->details);
	if (served->call != NULL) {
		grpc_call_unref(served->call);
	}
	free(served);
}

static void on_event(struct served *served, bool success)
{
	/* A call that came or was read while the server stopped gets no answer. */
	if (served->server->is_stopped) {
		forget(served);
		return;
	}
	switch (served->state) {
	case ASKED:
		if (!success) {
			forget(served);
			return;
		}
		ask(served->server);
		read_message(served);
		return;
	case READING:
		on_message(served);
		return;
	case STREAMING:
		on_sent(served, success);
		return;
	case ANSWERING:
		forget(served);
		return;
	}
}

static void *serve(void *argument)
{
	struct fake_server *server = argument;

	for (;;) {
		grpc_event event = grpc_completion_queue_next(
		    server->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);

		if (event.type == GRPC_QUEUE_SHUTDOWN) {
			return NULL;
		}
		if (event.tag == &shutdown_tag) {
			server->is_stopped = true;
			grpc_completion_queue_shutdown(server->queue);
		} else {
			on_event(event.tag, event.success != 0);
		}
	}
}

struct fake_server *fake_server_start(const char *address, fake_script script, void *context)
{
	struct fake_server *server = calloc(1, sizeof(*server));
	grpc_server_credentials *credentials;

	grpc_init();
	credentials = grpc_insecure_server_credentials_create();
	server->script = script;
	server->context = context;
	server->server = grpc_server_create(NULL, NULL);
	server->queue = grpc_completion_queue_create_for_next(NULL);
	grpc_server_register_completion_queue(server->server, server->queue, NULL);
	CG_ASSERT(grpc_server_add_http2_port(server->server, address, credentials) != 0);
	grpc_server_credentials_release(credentials);
	grpc_server_start(server->server);
	ask(server);
	CG_ASSERT(pthread_create(&server->thread, NULL, serve, server) == 0);
	return server;
}

void fake_server_stop(struct fake_server *server)
{
	grpc_server_shutdown_and_notify(server->server, server->queue, &shutdown_tag);
	grpc_server_cancel_all_calls(server->server);
	CG_ASSERT(pthread_join(server->thread, NULL) == 0);
	grpc_server_destroy(server->server);
	grpc_completion_queue_destroy(server->queue);
	free(server);
	grpc_shutdown();
}

unsigned fake_server_count(struct fake_server *server)
{
	return atomic_load(&server->count);
}

unsigned fake_server_sent(struct fake_server *server)
{
	return atomic_load(&server->sent);
}
