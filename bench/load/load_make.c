/*
 * A load before and after its phases: made, its wallets created and credited, destroyed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "load/load_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

/* Any answer will do; that it came is all there is to know. */
static const void *decode_raw(struct cg_op *op, struct cg_view bytes)
{
	(void)bytes;
	return op;
}

/* An empty request asks after the whole server. */
static void set_raw(struct load *load)
{
	load->raw_method = (struct cg_method){
	    .path = "/grpc.health.v1.Health/Check",
	    .decode = decode_raw,
	    .deliver = load_on_raw_end,
	};
	load->raw_request = grpc_empty_slice();
	load->raw_registered =
	    grpc_channel_register_call(load->client->channel, load->raw_method.path, NULL, NULL);
}

static void *must_have(size_t count, size_t bytes)
{
	void *memory = calloc(count, bytes);

	CG_ASSERT(memory != NULL);
	return memory;
}

struct load *load_create(const struct load_options *options)
{
	struct load *load = must_have(1, sizeof(*load));
	struct callgate_options client;
	char why[128];

	load->options = *options;
	callgate_options_init(&client);
	client.address = options->address;
	client.token = options->token;
	client.in_flight_max = options->in_flight;
	client.deadline_ms = options->deadline_ms;
	client.retries_max = 0; /* an error is to be seen, not to be hidden */
	client.poll_inline = true;
	load->client = callgate_client_create(&client, why, sizeof(why));
	if (load->client == NULL) {
		(void)fprintf(stderr, "callgate-bench: %s\n", why);
		free(load);
		return NULL;
	}
	cg_random_init(&load->random, load_now_ns() ^ (uint64_t)getpid() << 40);
	(void)snprintf(load->run, sizeof(load->run), "b%012" PRIx64,
	    cg_random_next(&load->random) & 0xffffffffffffu);
	load->companies = must_have(options->companies, sizeof(*load->companies));
	for (uint32_t i = 0; i < options->companies; i++) {
		for (size_t j = 0; j < sizeof(load->companies[i].bytes); j++) {
			load->companies[i].bytes[j] = (uint8_t)cg_random_next(&load->random);
		}
	}
	load->slots = must_have(options->in_flight, sizeof(*load->slots));
	load->idle = (struct slot **)must_have(options->in_flight, sizeof(struct slot *));
	for (uint32_t i = 0; i < options->in_flight; i++) {
		load->slots[i].load = load;
	}
	set_raw(load);
	return load;
}

void load_destroy(struct load *load)
{
	if (load->session != NULL) {
		callgate_session_finish(load->session);
	}
	while (load->session != NULL) {
		(void)callgate_client_wait(load->client, -1);
	}
	callgate_client_close(load->client);
	grpc_slice_unref(load->raw_request);
	free((void *)load->idle);
	free(load->slots);
	free(load->companies);
	free(load);
}

static bool went_well(const char *what, const struct callgate_error *error)
{
	if (error != NULL) {
		(void)fprintf(stderr, "callgate-bench: %s: %s: %s\n", what,
		    callgate_status_name(error->status), error->message);
	}
	return error == NULL;
}

static void on_session_end(void *context, const struct callgate_error *error)
{
	struct load *load = context;

	load->session = NULL;
	(void)went_well("session", error);
}

static bool open_session(struct load *load)
{
	if (load->options.session &&
	    callgate_session_open(load->client, load->options.in_flight, on_session_end, load,
	        &load->session) != CALLGATE_ACCEPTED) {
		(void)fprintf(stderr, "callgate-bench: session: no memory\n");
		return false;
	}
	return true;
}

bool load_prepare(struct load *load)
{
	if (!open_session(load)) {
		return false;
	}
	if (load->options.op == LOAD_HEALTH || load->options.bare) {
		return true;
	}
	return load_make_wallets(load);
}
