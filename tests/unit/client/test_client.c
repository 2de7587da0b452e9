/*
 * What a client does when its server answers, refuses, is slow, or dies; each in both
 * modes, with the poller's thread and polling inline.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include <callgate/client.h>
#include <callgate/v1/callgate.pb-c.h>

#include "base/base.h"
#include "client/fields.h"
#include "fake_message.h"
#include "fake_server.h"
#include "modes.h"

enum {
	PATIENCE_MS = 20000, /* sanitizers on a busy machine */
};

/* What the script answers, and what it saw. */
struct world {
	struct fake_server *server;
	struct callgate_client *client;
	char address[64];
	bool poll_inline;

	atomic_uint unavailable_count; /* the first n calls end UNAVAILABLE */
	atomic_uint silent_from;       /* calls from this number on are not answered; 0: none */
	pthread_mutex_t reply_lock;
	struct fake_reply reply;
	bool answers_fully; /* the method's response with every field set */
	char seen_path[64];
	char seen_authorization[64];
	uint8_t seen_first[512];
	size_t seen_first_bytes;
	bool seen_other_bytes; /* a later attempt differed from the first */
};

/* What the callbacks saw. */
struct tally {
	struct callgate_client *client;
	unsigned called;
	unsigned ok;
	unsigned cancelled;
	unsigned unavailable;
	int attempts;
	enum callgate_submit resubmitted;
};

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const ProtobufCMessageDescriptor *response_of(const char *path)
{
	static const ProtobufCServiceDescriptor *const services[] = {
	    &callgate__v1__gate__descriptor, &callgate__v1__wallets__descriptor};
	char wanted[96];

	for (size_t s = 0; s < CG_COUNT_OF(services); s++) {
		for (unsigned m = 0; m < services[s]->n_methods; m++) {
			(void)snprintf(wanted, sizeof(wanted), "/%s/%s", services[s]->name,
			    services[s]->methods[m].name);
			if (strcmp(path, wanted) == 0) {
				return services[s]->methods[m].output;
			}
		}
	}
	return NULL;
}

static void answer_fully(const struct fake_call *call, struct fake_reply *ret_reply)
{
	static uint8_t memory[4096];
	const ProtobufCMessageDescriptor *descriptor = response_of(call->path);
	ProtobufCMessage *message;

	CG_ASSERT(descriptor != NULL);
	message = fake_message_full(descriptor, 0);
	CG_ASSERT(protobuf_c_message_get_packed_size(message) <= sizeof(memory));
	ret_reply->answer = memory;
	ret_reply->answer_bytes = protobuf_c_message_pack(message, memory);
	fake_message_free(message);
}

static void script(void *context, const struct fake_call *call, struct fake_reply *ret_reply)
{
	struct world *world = context;

	(void)snprintf(world->seen_path, sizeof(world->seen_path), "%s", call->path);
	(void)snprintf(world->seen_authorization, sizeof(world->seen_authorization), "%s",
	    call->authorization);
	if (call->number == 1) {
		world->seen_first_bytes = call->request_bytes;
		memcpy(world->seen_first, call->request, call->request_bytes);
	} else if (world->seen_first_bytes != call->request_bytes ||
	    memcmp(world->seen_first, call->request, call->request_bytes) != 0) {
		world->seen_other_bytes = true;
	}
	(void)pthread_mutex_lock(&world->reply_lock);
	*ret_reply = world->reply;
	(void)pthread_mutex_unlock(&world->reply_lock);
	if (call->number <= world->unavailable_count) {
		*ret_reply = (struct fake_reply){
		    .code = GRPC_STATUS_UNAVAILABLE, .message = "store: out of reach"};
	} else if (world->silent_from != 0 && call->number >= world->silent_from) {
		ret_reply->silent = true;
	} else if (world->answers_fully) {
		answer_fully(call, ret_reply);
	}
}

static void set_reply(struct world *world, struct fake_reply reply)
{
	(void)pthread_mutex_lock(&world->reply_lock);
	world->reply = reply;
	(void)pthread_mutex_unlock(&world->reply_lock);
}

static struct callgate_options options_of(struct world *world)
{
	struct callgate_options options;

	callgate_options_init(&options);
	options.address = world->address;
	options.deadline_ms = PATIENCE_MS;
	options.backoff_ms = 4;
	options.poll_inline = world->poll_inline;
	return options;
}

static void open_client(struct world *world, const struct callgate_options *options)
{
	char why[128] = "";

	world->client = callgate_client_create(options, why, sizeof(why));
	assert_string_equal(why, "");
	assert_non_null(world->client);
}

static void start_world(struct world *world)
{
	(void)unlink(world->address + strlen("unix:"));
	world->server = fake_server_start(world->address, script, world);
}

static void end_world(struct world *world)
{
	callgate_client_close(world->client);
	world->client = NULL;
	if (world->server != NULL) {
		fake_server_stop(world->server);
		world->server = NULL;
	}
}

static void on_balance(void *context, const struct callgate_error *error,
    const struct callgate_get_balance_response *response)
{
	struct tally *tally = context;

	assert_true((error == NULL) != (response == NULL));
	tally->called++;
	if (error == NULL) {
		tally->ok++;
		return;
	}
	tally->attempts = error->attempts;
	tally->cancelled += error->status == CALLGATE_STATUS_CANCELLED;
	tally->unavailable += error->status == CALLGATE_STATUS_UNAVAILABLE;
}

static enum callgate_submit ask_balance(struct world *world, struct tally *tally)
{
	struct callgate_get_balance_request request = {.company_id = "a-company"};

	return callgate_get_balance(world->client, &request, on_balance, tally);
}

/* Until the tally has that many, or patience ends. */
static bool wait_called(struct world *world, const struct tally *tally, unsigned called)
{
	int64_t end_ms = now_ms() + PATIENCE_MS;

	while (tally->called < called && now_ms() < end_ms) {
		(void)callgate_client_wait(world->client, 1000);
	}
	return tally->called == called;
}

static enum callgate_status ask_now(struct world *world, const struct callgate_error **ret_error)
{
	struct callgate_get_balance_request request = {.company_id = "a-company"};
	const struct callgate_get_balance_response *response;

	return callgate_get_balance_sync(world->client, &request, &response, ret_error);
}

/* --- Answers. --- */

static void test_every_operation_reaches_its_method(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);

	world->answers_fully = true;
	start_world(world);
	open_client(world, &options);
#define X(name, NAME, Type, service)                                                               \
	{                                                                                          \
		struct callgate_##name##_request request = {0};                                    \
		const struct callgate_##name##_response *response = NULL;                          \
		const struct callgate_error *error = NULL;                                         \
                                                                                                   \
		assert_int_equal(                                                                  \
		    callgate_##name##_sync(world->client, &request, &response, &error), 0);        \
		assert_non_null(response);                                                         \
		assert_null(error);                                                                \
		assert_string_equal(world->seen_path, "/callgate.v1." service "/" #Type);          \
	}
	OPERATIONS(X)
#undef X
	end_world(world);
}

static void on_authorized(void *context, const struct callgate_error *error,
    const struct callgate_authorize_response *response)
{
	struct tally *tally = context;

	assert_null(error);
	assert_int_equal(response->decision, CALLGATE_DECISION_DENIED_BARRED);
	assert_true(response->has_price);
	assert_memory_equal(response->price.currency, "currency-", 9);
	tally->called++;
}

static void test_the_descriptor_says_when_to_dispatch(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);
	struct callgate_authorize_request request = {.call_id = "c-1"};
	struct tally tally = {0};
	struct pollfd readable = {.events = POLLIN};

	world->answers_fully = true;
	start_world(world);
	open_client(world, &options);
	readable.fd = callgate_client_descriptor(world->client);
	assert_int_equal(poll(&readable, 1, 0), 0);
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(callgate_authorize(world->client, &request, on_authorized, &tally),
		    CALLGATE_ACCEPTED);
		assert_int_equal(poll(&readable, 1, PATIENCE_MS), 1);
		assert_int_equal(tally.called, i - 1);
		assert_int_equal(callgate_client_dispatch(world->client), 1);
		assert_int_equal(tally.called, i);
		assert_int_equal(poll(&readable, 1, 0), 0);
	}
	end_world(world);
}

static void test_a_token_is_sent_with_every_operation(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);
	const struct callgate_error *error;
	char token[] = "s3cret-of-edge";

	start_world(world);
	options.token = token;
	open_client(world, &options);
	memset(token, 'x', sizeof(token) - 1); /* it was copied */
	assert_int_equal(ask_now(world, &error), CALLGATE_STATUS_OK);
	assert_string_equal(world->seen_authorization, "Bearer s3cret-of-edge");
	callgate_client_close(world->client);
	options.token = NULL;
	open_client(world, &options);
	assert_int_equal(ask_now(world, &error), CALLGATE_STATUS_OK);
	assert_string_equal(world->seen_authorization, "");
	end_world(world);
}

/* --- Errors. --- */

static void test_a_refusal_carries_its_detail_and_is_not_repeated(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);
	const struct callgate_error *error;
	char bytes[256];
	struct cg_buffer out;
	struct cg_buffer any;
	char inner[128];

	/* Status{details: [Any{url, ErrorDetail{reason 1, field, bound}}]} */
	cg_buffer_init(&any, inner, sizeof(inner));
	cg_buffer_bytes(&any, "\x0a", 1);
	cg_buffer_text(&any, CG_VIEW_LITERAL("x.test/callgate.v1.ErrorDetail"), 1);
	cg_buffer_bytes(&any, "\x12", 1);
	cg_buffer_text(&any,
	    CG_VIEW_LITERAL("\x08\x01\x12\x07"
	                    "call_id\x1a\x06"
	                    "1..128"),
	    1);
	cg_buffer_init(&out, bytes, sizeof(bytes));
	cg_buffer_bytes(&out, "\x08\x03\x1a", 3);
	cg_buffer_text(&out, cg_buffer_view(&any), 1);
	set_reply(world,
	    (struct fake_reply){.code = GRPC_STATUS_INVALID_ARGUMENT,
	        .message = "call_id: 1..128 bytes",
	        .detail = bytes,
	        .detail_bytes = out.len});
	start_world(world);
	open_client(world, &options);
	assert_int_equal(ask_now(world, &error), CALLGATE_STATUS_INVALID_ARGUMENT);
	assert_string_equal(error->message, "call_id: 1..128 bytes");
	assert_int_equal(error->attempts, 1);
	assert_true(error->has_detail);
	assert_int_equal(error->detail.reason, CALLGATE_ERROR_REASON_INVALID_FIELD);
	assert_string_equal(error->detail.field, "call_id");
	assert_string_equal(error->detail.bound, "1..128");
	assert_int_equal(fake_server_count(world->server), 1);
	end_world(world);
}

static void test_an_answer_that_cannot_be_read_is_internal(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);
	const struct callgate_error *error;

	set_reply(world, (struct fake_reply){.answer = "\x0a\x7f", .answer_bytes = 2});
	start_world(world);
	open_client(world, &options);
	assert_int_equal(ask_now(world, &error), CALLGATE_STATUS_INTERNAL);
	assert_int_equal(error->attempts, 1);
	set_reply(world, (struct fake_reply){.no_answer = true});
	assert_int_equal(ask_now(world, &error), CALLGATE_STATUS_INTERNAL);
	set_reply(world, (struct fake_reply){.code = (grpc_status_code)99});
	assert_int_equal(ask_now(world, &error), CALLGATE_STATUS_UNKNOWN);
	end_world(world);
}

/* --- Retries. --- */

static void test_unavailable_is_tried_again_with_the_same_bytes(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);
	struct tally tally = {0};

	world->unavailable_count = 3;
	start_world(world);
	open_client(world, &options);
	assert_int_equal(ask_balance(world, &tally), CALLGATE_ACCEPTED);
	assert_true(wait_called(world, &tally, 1));
	assert_int_equal(tally.ok, 1);
	assert_int_equal(fake_server_count(world->server), 4);
	assert_false(world->seen_other_bytes);
	assert_int_not_equal(world->seen_first_bytes, 0);
	end_world(world);
}

static void test_retries_end(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);
	const struct callgate_error *error;

	world->unavailable_count = 1000;
	options.retries_max = 2;
	start_world(world);
	open_client(world, &options);
	assert_int_equal(ask_now(world, &error), CALLGATE_STATUS_UNAVAILABLE);
	assert_int_equal(error->attempts, 3);
	assert_string_equal(error->message, "store: out of reach");
	assert_int_equal(fake_server_count(world->server), 3);
	end_world(world);
}

/* A pause that does not fit before the deadline is not begun: the error is known already. */
static void test_retries_stay_within_the_deadline(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);
	const struct callgate_error *error;
	int64_t begun_ms;

	world->unavailable_count = 1000;
	options.deadline_ms = 5000;
	options.backoff_ms = 30000;
	start_world(world);
	open_client(world, &options);
	begun_ms = now_ms();
	assert_int_equal(ask_now(world, &error), CALLGATE_STATUS_UNAVAILABLE);
	assert_int_equal(error->attempts, 1);
	assert_true(now_ms() - begun_ms < 4000);
	end_world(world);
}

/* One waits for its retry, another one submitted later is not held up by it. */
static void test_a_waiting_retry_delays_nobody(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);
	struct tally first = {0};
	struct tally second = {0};

	world->unavailable_count = 1;
	options.backoff_ms = 600;
	start_world(world);
	open_client(world, &options);
	assert_int_equal(ask_balance(world, &first), CALLGATE_ACCEPTED);
	(void)callgate_client_wait(world->client, 100);
	assert_int_equal(ask_balance(world, &second), CALLGATE_ACCEPTED);
	assert_true(wait_called(world, &second, 1));
	assert_int_equal(first.called, 0);
	assert_true(wait_called(world, &first, 1));
	assert_int_equal(first.ok, 1);
	end_world(world);
}

static void test_a_server_that_comes_up_late_is_found(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);
	struct tally tally = {0};

	options.retries_max = 100;
	options.backoff_ms = 20;
	(void)unlink(world->address + strlen("unix:"));
	open_client(world, &options);
	assert_int_equal(ask_balance(world, &tally), CALLGATE_ACCEPTED);
	(void)callgate_client_wait(world->client, 50);
	start_world(world);
	assert_true(wait_called(world, &tally, 1));
	assert_int_equal(tally.ok, 1);
	end_world(world);
}

/* The server dies with calls under way and comes back: each is called back once, and OK. */
static void test_a_server_that_dies_is_survived(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);
	struct tally tally = {0};
	int64_t end_ms = now_ms() + PATIENCE_MS;

	options.retries_max = 100;
	options.backoff_ms = 20;
	world->silent_from = 1;
	start_world(world);
	open_client(world, &options);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(ask_balance(world, &tally), CALLGATE_ACCEPTED);
	}
	while (fake_server_count(world->server) < 20 && now_ms() < end_ms) {
		(void)callgate_client_wait(world->client, 5);
	}
	fake_server_stop(world->server);
	world->silent_from = 0;
	start_world(world);
	assert_true(wait_called(world, &tally, 20));
	assert_int_equal(tally.ok, 20);
	end_world(world);
}

/* --- Limits. --- */

static void test_silence_ends_at_the_deadline(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);
	const struct callgate_error *error;
	int64_t begun_ms;

	world->silent_from = 1;
	options.deadline_ms = 150;
	start_world(world);
	open_client(world, &options);
	begun_ms = now_ms();
	assert_int_equal(ask_now(world, &error), CALLGATE_STATUS_DEADLINE_EXCEEDED);
	assert_true(now_ms() - begun_ms >= 140);
	assert_int_equal(error->attempts, 1);
	end_world(world);
}

/* The deadline is the operation's, not each attempt's. */
static void test_silence_after_a_retry_ends_at_the_same_deadline(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);
	const struct callgate_error *error;
	int64_t begun_ms;

	world->unavailable_count = 1;
	world->silent_from = 2;
	options.backoff_ms = 300;
	options.deadline_ms = 600;
	start_world(world);
	open_client(world, &options);
	begun_ms = now_ms();
	assert_int_equal(ask_now(world, &error), CALLGATE_STATUS_DEADLINE_EXCEEDED);
	assert_true(now_ms() - begun_ms >= 590);
	assert_int_equal(error->attempts, 2);
	end_world(world);
}

static void test_no_more_than_in_flight_max_are_taken(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);
	struct tally tally = {0};
	const struct callgate_error *error;

	world->silent_from = 1;
	options.in_flight_max = 3;
	start_world(world);
	open_client(world, &options);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(ask_balance(world, &tally), CALLGATE_ACCEPTED);
	}
	assert_int_equal(ask_balance(world, &tally), CALLGATE_FULL);
	assert_int_equal(callgate_client_in_flight(world->client), 3);
	assert_int_equal(ask_now(world, &error), CALLGATE_STATUS_RESOURCE_EXHAUSTED);
	assert_int_equal(error->attempts, 0);
	callgate_client_close(world->client);
	assert_int_equal(tally.called, 3);
	world->client = NULL;
	end_world(world);
}

static void resubmit(void *context, const struct callgate_error *error,
    const struct callgate_get_balance_response *response)
{
	struct tally *tally = context;
	struct callgate_get_balance_request request = {.company_id = "a-company"};

	on_balance(context, error, response);
	if (tally->called < 500) {
		tally->resubmitted = callgate_get_balance(tally->client, &request, resubmit, tally);
	}
}

static void test_a_callback_may_submit_the_next_one_in_its_place(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);
	struct callgate_get_balance_request request = {.company_id = "a-company"};
	struct tally tally = {0};

	options.in_flight_max = 1;
	start_world(world);
	open_client(world, &options);
	tally.client = world->client;
	assert_int_equal(
	    callgate_get_balance(world->client, &request, resubmit, &tally), CALLGATE_ACCEPTED);
	assert_true(wait_called(world, &tally, 500));
	assert_int_equal(tally.ok, 500);
	end_world(world);
}

static void test_many_at_once_are_each_called_back_once(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);
	static struct tally tallies[2000];
	const struct callgate_error *error;

	memset(tallies, 0, sizeof(tallies));
	world->unavailable_count = 300;
	options.in_flight_max = CG_COUNT_OF(tallies) + 1;
	options.retries_max = 10;
	start_world(world);
	open_client(world, &options);
	for (size_t i = 0; i < CG_COUNT_OF(tallies); i++) {
		assert_int_equal(ask_balance(world, &tallies[i]), CALLGATE_ACCEPTED);
		if (i % 100 == 99) {
			assert_int_equal(ask_now(world, &error), CALLGATE_STATUS_OK);
		}
	}
	while (callgate_client_in_flight(world->client) > 0) {
		(void)callgate_client_wait(world->client, PATIENCE_MS);
	}
	for (size_t i = 0; i < CG_COUNT_OF(tallies); i++) {
		assert_int_equal(tallies[i].called, 1);
		assert_int_equal(tallies[i].ok, 1);
	}
	end_world(world);
}

/* --- Closing. --- */

static void submit_while_closing(void *context, const struct callgate_error *error,
    const struct callgate_get_balance_response *response)
{
	struct tally *tally = context;
	struct callgate_get_balance_request request = {.company_id = "a-company"};

	on_balance(context, error, response);
	tally->resubmitted = callgate_get_balance(tally->client, &request, on_balance, tally);
}

/* One waits for an answer, one for its retry, one has ended: all three are called back. */
static void test_closing_calls_back_whatever_is_owed(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);
	struct callgate_get_balance_request request = {.company_id = "a-company"};
	struct tally silent = {0};
	struct tally waiting = {0};
	struct tally ended = {0};
	int64_t end_ms = now_ms() + PATIENCE_MS;

	world->unavailable_count = 1;
	world->silent_from = 3;
	options.backoff_ms = 10000;
	start_world(world);
	open_client(world, &options);
	silent.client = world->client;
	assert_int_equal(ask_balance(world, &waiting), CALLGATE_ACCEPTED);
	while (fake_server_count(world->server) < 1 && now_ms() < end_ms) {
		(void)callgate_client_wait(world->client, 5);
	}
	(void)callgate_client_wait(world->client, 100);
	assert_int_equal(ask_balance(world, &ended), CALLGATE_ACCEPTED);
	while (fake_server_count(world->server) < 2 && now_ms() < end_ms) {
		(void)poll(NULL, 0, 1);
	}
	assert_int_equal(
	    callgate_get_balance(world->client, &request, submit_while_closing, &silent),
	    CALLGATE_ACCEPTED);
	while (fake_server_count(world->server) < 3 && now_ms() < end_ms) {
		(void)poll(NULL, 0, 1);
	}
	callgate_client_close(world->client);
	world->client = NULL;
	assert_int_equal(silent.called, 1);
	assert_int_equal(silent.cancelled, 1);
	assert_int_equal(silent.resubmitted, CALLGATE_CLOSING);
	assert_int_equal(waiting.called, 1);
	assert_int_equal(waiting.unavailable, 1);
	assert_int_equal(waiting.attempts, 1);
	assert_int_equal(ended.called, 1);
	assert_int_equal(ended.ok, 1);
	end_world(world);
}

static void test_closing_under_load_loses_no_callback(void **state)
{
	struct world *world = *state;
	struct callgate_options options = options_of(world);
	static struct tally tallies[256];

	start_world(world);
	for (unsigned round = 0; round < 10; round++) {
		memset(tallies, 0, sizeof(tallies));
		world->unavailable_count = 50 + 200 * round;
		open_client(world, &options);
		for (size_t i = 0; i < CG_COUNT_OF(tallies); i++) {
			assert_int_equal(ask_balance(world, &tallies[i]), CALLGATE_ACCEPTED);
		}
		for (unsigned i = 0; i < round; i++) {
			(void)callgate_client_wait(world->client, 10);
		}
		callgate_client_close(world->client);
		world->client = NULL;
		for (size_t i = 0; i < CG_COUNT_OF(tallies); i++) {
			assert_int_equal(tallies[i].called, 1);
		}
	}
	end_world(world);
}

/* --- Options. --- */

/* Refuses `bad`, and then puts what was good in its place. */
static void refuse(
    struct callgate_options *bad, const struct callgate_options *good, const char *begins)
{
	char why[128];

	assert_null(callgate_client_create(bad, why, sizeof(why)));
	assert_memory_equal(why, begins, strlen(begins));
	assert_null(callgate_client_create(bad, NULL, 0));
	*bad = *good;
}

static void test_options_out_of_bounds_are_refused(void **state)
{
	struct world *world = *state;
	const struct callgate_options good = options_of(world);
	struct callgate_options bad = good;

	bad.address = NULL;
	refuse(&bad, &good, "callgate client: address: not set");
	bad.address = "nowhere";
	refuse(&bad, &good, "callgate client: address: nowhere");
	bad.token = "two words";
	refuse(&bad, &good, "callgate client: token");
	bad.token = "";
	refuse(&bad, &good, "callgate client: token");
	bad.token = "a\nb";
	refuse(&bad, &good, "callgate client: token");
	bad.deadline_ms = 0;
	refuse(&bad, &good, "callgate client: deadline_ms");
	bad.retries_max = 101;
	refuse(&bad, &good, "callgate client: retries_max");
	bad.backoff_ms = 0;
	refuse(&bad, &good, "callgate client: backoff_ms");
	bad.in_flight_max = 0;
	refuse(&bad, &good, "callgate client: in_flight_max");
	bad.watch_silence_ms = 0;
	refuse(&bad, &good, "callgate client: watch_silence_ms");
	callgate_client_close(NULL);
}

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	modes_make_address(world->address, sizeof(world->address), "client");
	world->poll_inline = modes_polls_inline(state);
	(void)pthread_mutex_init(&world->reply_lock, NULL);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	end_world(world);
	(void)unlink(world->address + strlen("unix:"));
	(void)pthread_mutex_destroy(&world->reply_lock);
	free(world);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    BOTH(test_every_operation_reaches_its_method),
	    THREAD(test_the_descriptor_says_when_to_dispatch),
	    BOTH(test_a_token_is_sent_with_every_operation),
	    BOTH(test_a_refusal_carries_its_detail_and_is_not_repeated),
	    BOTH(test_an_answer_that_cannot_be_read_is_internal),
	    BOTH(test_unavailable_is_tried_again_with_the_same_bytes),
	    BOTH(test_retries_end),
	    BOTH(test_retries_stay_within_the_deadline),
	    BOTH(test_a_waiting_retry_delays_nobody),
	    BOTH(test_a_server_that_comes_up_late_is_found),
	    BOTH(test_a_server_that_dies_is_survived),
	    BOTH(test_silence_ends_at_the_deadline),
	    BOTH(test_silence_after_a_retry_ends_at_the_same_deadline),
	    BOTH(test_no_more_than_in_flight_max_are_taken),
	    BOTH(test_a_callback_may_submit_the_next_one_in_its_place),
	    BOTH(test_many_at_once_are_each_called_back_once),
	    BOTH(test_closing_calls_back_whatever_is_owed),
	    BOTH(test_closing_under_load_loses_no_callback),
	    THREAD(test_options_out_of_bounds_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
