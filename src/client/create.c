/*
 * Building a client, and taking it apart.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "client/client_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <grpc/grpc_security.h>

#include "client/credentials.h"

enum {
	DEADLINE_MS = 2000,
	DEADLINE_MS_MAX = 3600 * 1000,
	RETRIES = 4, /* with the backoff's 25, 50, 100, 200 ms: rides out a sidecar's restart */
	RETRIES_MAX = 100,
	BACKOFF_MS = 25,
	BACKOFF_MS_MAX = 60 * 1000,
	IN_FLIGHT = 1024,
	IN_FLIGHT_MAX = 1024 * 1024,
	WATCH_SILENCE_MS = 15 * 1000, /* three of the contract's heartbeats */
	WATCH_SILENCE_MS_MAX = 3600 * 1000,

	/* A listing of 1 000 calls, each with 4 096 bytes of meta, and some. */
	ANSWER_BYTES_MAX = 8 * 1024 * 1024,

	/* A sidecar that is being restarted is found again soon after it listens. */
	RECONNECT_FIRST_MS = 50,
	RECONNECT_LAST_MS = 1000,

	/* Notices a peer that vanished without a word, while calls are under way. */
	KEEPALIVE_MS = 30 * 1000,
	KEEPALIVE_TIMEOUT_MS = 10 * 1000,
};

void callgate_options_init(struct callgate_options *options)
{
	*options = (struct callgate_options){
	    .deadline_ms = DEADLINE_MS,
	    .retries_max = RETRIES,
	    .backoff_ms = BACKOFF_MS,
	    .in_flight_max = IN_FLIGHT,
	    .watch_silence_ms = WATCH_SILENCE_MS,
	};
}

/* A token goes into a header: anything else there would end the call as our bug. */
static bool is_token(const char *text)
{
	if (*text == '\0') {
		return false;
	}
	for (; *text != '\0'; text++) {
		if (*text < 0x21 || *text > 0x7e) {
			return false;
		}
	}
	return true;
}

static bool options_are_valid(const struct callgate_options *options, struct cg_error *err)
{
	if (options->address == NULL || *options->address == '\0') {
		cg_error_set(err, "address: not set; give \"unix:/path\" or \"host:port\"");
	} else if (strchr(options->address, ':') == NULL) {
		cg_error_set(
		    err, "address: %s: must be \"unix:/path\" or \"host:port\"", options->address);
	} else if (options->token != NULL && !is_token(options->token)) {
		cg_error_set(err, "token: must be printable ASCII without spaces");
	} else if (options->token != NULL && strlen(options->token) >= CG_CLIENT_TOKEN_BYTES) {
		cg_error_set(err, "token: must have %d bytes at most", CG_CLIENT_TOKEN_BYTES - 1);
	} else if ((options->tls_cert_file == NULL) != (options->tls_key_file == NULL)) {
		cg_error_set(err, "tls_cert_file and tls_key_file: give both or none");
	} else if (options->tls_cert_file != NULL && options->tls_ca_file == NULL) {
		cg_error_set(err, "tls_cert_file: needs tls_ca_file, whom to trust");
	} else if (options->deadline_ms < 1 || options->deadline_ms > DEADLINE_MS_MAX) {
		cg_error_set(err, "deadline_ms: must be 1..%d", DEADLINE_MS_MAX);
	} else if (options->retries_max > RETRIES_MAX) {
		cg_error_set(err, "retries_max: must be 0..%d", RETRIES_MAX);
	} else if (options->backoff_ms < 1 || options->backoff_ms > BACKOFF_MS_MAX) {
		cg_error_set(err, "backoff_ms: must be 1..%d", BACKOFF_MS_MAX);
	} else if (options->in_flight_max < 1 || options->in_flight_max > IN_FLIGHT_MAX) {
		cg_error_set(err, "in_flight_max: must be 1..%d", IN_FLIGHT_MAX);
	} else if (options->watch_silence_ms < 1 ||
	    options->watch_silence_ms > WATCH_SILENCE_MS_MAX) {
		cg_error_set(err, "watch_silence_ms: must be 1..%d", WATCH_SILENCE_MS_MAX);
	} else {
		return true;
	}
	return false;
}

static grpc_arg integer_arg(const char *key, int value)
{
	return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

/* No retries of gRPC's own: it knows neither our keys nor when to stop. */
static grpc_channel *create_channel(const struct callgate_options *options, struct cg_error *err)
{
	grpc_arg list[] = {
	    integer_arg(GRPC_ARG_ENABLE_RETRIES, 0),
	    integer_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
	    integer_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
	    integer_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
	    integer_arg(GRPC_ARG_HTTP2_BDP_PROBE, 0),
	    integer_arg(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0),
	    integer_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
	    integer_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, ANSWER_BYTES_MAX),
	    integer_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, RECONNECT_FIRST_MS),
	    integer_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, RECONNECT_LAST_MS),
	    integer_arg(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS),
	    integer_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
	    {.type = GRPC_ARG_STRING,
	        .key = (char *)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG,
	        .value.string = (char *)options->tls_server_name},
	};
	/* The last one is given only where there is a name. */
	grpc_channel_args args = {
	    CG_COUNT_OF(list) - (options->tls_server_name == NULL ? 1 : 0), list};
	grpc_channel_credentials *credentials = cg_client__credentials(options, err);
	if (credentials == NULL) {
		return NULL;
	}
	grpc_channel *channel = grpc_channel_create(options->address, credentials, &args);

	grpc_channel_credentials_release(credentials);
	return channel;
}

static bool set_token(
    struct callgate_client *client, const struct callgate_options *options, struct cg_error *err)
{
	char token[CG_CLIENT_TOKEN_BYTES];
	char value[CG_CLIENT_TOKEN_BYTES + sizeof "Bearer "];

	if (!cg_client__token(options, token, err)) {
		return false;
	}
	if (token[0] == '\0') {
		return true;
	}
	(void)snprintf(value, sizeof value, "Bearer %s", token);
	client->authorization.key = grpc_slice_from_static_string("authorization");
	client->authorization.value = grpc_slice_from_copied_string(value);
	client->has_token = true;
	return true;
}

/* They are the caller's, who may free them as soon as the client is created. */
static void forget_texts(struct callgate_options *options)
{
	options->address = NULL;
	options->token = NULL;
	options->token_file = NULL;
	options->tls_ca_file = NULL;
	options->tls_cert_file = NULL;
	options->tls_key_file = NULL;
	options->tls_server_name = NULL;
}

static bool start_poller(struct callgate_client *client, struct cg_error *err)
{
	if (client->options.poll_inline) {
		return true;
	}
	client->descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (client->descriptor < 0) {
		cg_error_set(err, "eventfd: %s", strerror(errno));
		return false;
	}
	if (pthread_create(&client->poller, NULL, cg_poll__run, client) != 0) {
		cg_error_set(err, "cannot start a thread");
		return false;
	}
	return true;
}

void cg_client__free(struct callgate_client *client)
{
	grpc_completion_queue_destroy(client->queue);
	if (client->channel != NULL) {
		grpc_channel_destroy(client->channel);
	}
	if (client->has_token) {
		grpc_slice_unref(client->authorization.value);
	}
	if (client->descriptor >= 0) {
		(void)close(client->descriptor);
	}
	cg_slab_deinit(&client->ops);
	(void)pthread_mutex_destroy(&client->lock);
	free(client);
	grpc_shutdown();
}

static struct callgate_client *create(const struct callgate_options *options, struct cg_error *err)
{
	struct callgate_client *client = calloc(1, sizeof(*client));

	if (client == NULL) {
		cg_error_set(err, "out of memory");
		return NULL;
	}
	/* Two more than in flight: one being called back, one kept by a *_sync() call. */
	if (cg_slab_init(&client->ops, sizeof(struct cg_op), options->in_flight_max + 2) != CG_OK) {
		cg_error_set(
		    err, "out of memory for %u operations", (unsigned)options->in_flight_max);
		free(client);
		return NULL;
	}
	grpc_init();
	client->options = *options;
	client->descriptor = -1;
	cg_list_init(&client->live);
	cg_list_init(&client->due);
	cg_list_init(&client->waiting);
	cg_list_init(&client->watches);
	atomic_init(&client->watch_count, 0);
	cg_list_init(&client->sessions);
	atomic_init(&client->session_count, 0);
	CG_ASSERT(pthread_mutex_init(&client->lock, NULL) == 0);
	cg_random_init(&client->random,
	    (uint64_t)cg_client__now_ms() ^ (uint64_t)getpid() << 32 ^ (uintptr_t)client);
	forget_texts(&client->options);
	client->queue = grpc_completion_queue_create_for_next(NULL);
	client->channel = create_channel(options, err);
	if (client->channel != NULL) {
		cg_operations__register(client);
		if (set_token(client, options, err) && start_poller(client, err)) {
			return client;
		}
	}
	grpc_completion_queue_shutdown(client->queue);
	cg_client__free(client);
	return NULL;
}

/* Signals are the program's business: no thread that starts here or in gRPC takes one. */
struct callgate_client *callgate_client_create(
    const struct callgate_options *options, char *error_text, size_t error_text_bytes)
{
	struct cg_error err = {""};
	struct callgate_client *client = NULL;

	if (options_are_valid(options, &err)) {
		sigset_t all;
		sigset_t before;

		(void)sigfillset(&all);
		(void)pthread_sigmask(SIG_SETMASK, &all, &before);
		client = create(options, &err);
		(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	if (client == NULL && error_text != NULL && error_text_bytes > 0) {
		cg_error_wrap(&err, "callgate client");
		(void)snprintf(error_text, error_text_bytes, "%s", err.text);
	}
	return client;
}
