/*
 * The strictest floor for a call through callgated: gRPC C core and nothing else.  One
 * queue, one thread, the answer sent where the request was read; no decoding, no store.
 * The channel arguments are callgated's own.
 *
 *   bare_server unix:/path        serves until SIGTERM or the end of its input
 *
 * Every method answers bytes that a client of the contract can decode: Authorize an
 * ALLOWED of usual length, the health check SERVING, the others an empty message.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>

#include "rpc/channel_args.h"

#define POSTED      256
#define METHODS_MAX 8

struct method {
	const char *path;
	const char *answer;
	size_t answer_len;
	void *registered;
};

struct slot {
	bool replying;
	struct method *method;
	grpc_call *call;
	gpr_timespec deadline;
	grpc_metadata_array metadata;
	grpc_byte_buffer *payload;
	int cancelled;
};

/* decision ALLOWED, state AUTHORIZED, a price in usd, and five amounts and instants. */
static const char allowed_answer[] =
    "\x08\x01\x10\x01\x1a\x0c\x08\x90\xbf\x05\x20\xe8\x07\x2a\x03\x75\x73\x64\x20\xdd"
    "\xf9\x05\x28\xa3\x8f\x74\x30\xc0\xcf\x24\x38\xc0\x81\xc9\xa2\x8c\x34\x50\xdd\xf9"
    "\x05\x60\x80\xd8\xc1\xa2\x8c\x34";
static const char serving_answer[] = "\x08\x01";

static struct method methods[METHODS_MAX] = {
    {"/callgate.v1.Gate/Authorize", allowed_answer, sizeof allowed_answer - 1, NULL},
    {"/callgate.v1.Gate/Start", "", 0, NULL},
    {"/callgate.v1.Gate/Stop", "", 0, NULL},
    {"/callgate.v1.Gate/Settle", "", 0, NULL},
    {"/callgate.v1.Gate/Cancel", "", 0, NULL},
    {"/callgate.v1.Wallets/GetBalance", "", 0, NULL},
    {"/grpc.health.v1.Health/Check", serving_answer, sizeof serving_answer - 1, NULL},
};

struct bare {
	grpc_server *server;
	grpc_completion_queue *queue;
	int stop_pipe[2];
	int stop_tag; /* its address is the tag */
};

static int stop_fd;

static void on_term(int number)
{
	(void)number;
	ssize_t written = write(stop_fd, "", 1);
	(void)written;
}

/* Waits for the end: a signal, or whoever started us is gone. */
static void *wait_for_end(void *owner)
{
	struct bare *bare = owner;
	struct pollfd fds[] = {
	    {.fd = bare->stop_pipe[0], .events = POLLIN},
	    {.fd = STDIN_FILENO, .events = POLLIN},
	};
	char bytes[64];

	for (;;) {
		if (poll(fds, 2, -1) < 0) {
			continue;
		}
		if (fds[0].revents != 0 ||
		    (fds[1].revents != 0 && read(STDIN_FILENO, bytes, sizeof bytes) <= 0)) {
			break;
		}
	}
	grpc_server_shutdown_and_notify(bare->server, bare->queue, &bare->stop_tag);
	grpc_server_cancel_all_calls(bare->server);
	return NULL;
}

static void post(struct bare *bare, struct slot *slot)
{
	slot->replying = false;
	slot->metadata.count = 0;
	(void)grpc_server_request_registered_call(bare->server, slot->method->registered,
	    &slot->call, &slot->deadline, &slot->metadata, &slot->payload, bare->queue, bare->queue,
	    slot);
}

static void reply(struct slot *slot)
{
	grpc_slice message =
	    grpc_slice_from_copied_buffer(slot->method->answer, slot->method->answer_len);
	grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(&message, 1);
	grpc_op ops[] = {
	    {.op = GRPC_OP_SEND_INITIAL_METADATA},
	    {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = bytes},
	    {.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
	        .data.send_status_from_server.status = GRPC_STATUS_OK},
	    {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
	        .data.recv_close_on_server.cancelled = &slot->cancelled},
	};

	slot->replying = true;
	(void)grpc_call_start_batch(slot->call, ops, CG_COUNT_OF(ops), slot, NULL);
	grpc_byte_buffer_destroy(bytes);
	grpc_slice_unref(message);
}

static void recycle(struct slot *slot)
{
	if (slot->payload != NULL) {
		grpc_byte_buffer_destroy(slot->payload);
		slot->payload = NULL;
	}
	grpc_call_unref(slot->call);
}

/* One slot per posted request: a call's slot is posted again once it is answered. */
static void serve(struct bare *bare)
{
	for (;;) {
		grpc_event event = grpc_completion_queue_next(
		    bare->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
		if (event.type == GRPC_QUEUE_SHUTDOWN) {
			return;
		}
		if (event.tag == &bare->stop_tag) {
			grpc_completion_queue_shutdown(bare->queue);
			continue;
		}
		struct slot *slot = event.tag;
		if (slot->replying) {
			recycle(slot);
			post(bare, slot);
		} else if (event.success != 0) {
			reply(slot);
		}
	}
}

static void start(struct bare *bare, const char *address)
{
	struct cg_rpc_config config = {
	    .message_bytes_max = 64 * 1024,
	    .metadata_bytes_max = 8 * 1024,
	    .streams_max = 1024,
	    .connection_age_ms = 30 * 60 * 1000,
	    .connection_grace_ms = 30 * 1000,
	    .connection_idle_ms = 15 * 60 * 1000,
	};
	struct cg_rpc_channel_args args;

	cg_rpc_channel_args_init(&args, &config);
	bare->server = grpc_server_create(&args.list, NULL);
	cg_rpc_channel_args_deinit(&args);
	bare->queue = grpc_completion_queue_create_for_next(NULL);
	grpc_server_register_completion_queue(bare->server, bare->queue, NULL);
	for (struct method *m = methods; m->path != NULL; m++) {
		m->registered = grpc_server_register_method(
		    bare->server, m->path, NULL, GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
	}
	grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
	if (grpc_server_add_http2_port(bare->server, address, credentials) == 0) {
		(void)fprintf(stderr, "bare_server: cannot listen on %s\n", address);
		exit(1);
	}
	grpc_server_credentials_release(credentials);
	grpc_server_start(bare->server);
}

int main(int argc, char **argv)
{
	struct bare bare = {0};
	pthread_t waiter;
	size_t slot_count = 0;

	if (argc != 2 || strncmp(argv[1], "unix:", 5) != 0 || pipe(bare.stop_pipe) != 0) {
		(void)fprintf(stderr, "usage: bare_server unix:/path\n");
		return 2;
	}
	stop_fd = bare.stop_pipe[1];
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGTERM, on_term);
	(void)umask(0117);
	grpc_init();
	start(&bare, argv[1]);

	struct slot *slots = calloc((size_t)POSTED * METHODS_MAX, sizeof *slots);
	CG_ASSERT(slots != NULL);
	for (struct method *m = methods; m->path != NULL; m++) {
		for (int i = 0; i < POSTED; i++) {
			slots[slot_count].method = m;
			grpc_metadata_array_init(&slots[slot_count].metadata);
			post(&bare, &slots[slot_count++]);
		}
	}
	CG_ASSERT(pthread_create(&waiter, NULL, wait_for_end, &bare) == 0);
	(void)printf("ready\n");
	(void)fflush(stdout);

	serve(&bare);
	(void)pthread_join(waiter, NULL);
	grpc_server_destroy(bare.server);
	grpc_completion_queue_destroy(bare.queue);
	for (size_t i = 0; i < slot_count; i++) {
		grpc_metadata_array_destroy(&slots[i].metadata);
	}
	free(slots);
	grpc_shutdown();
	return 0;
}
