/*
 * What a watch does when its stream goes on, ends, falls silent or is closed; each in both
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
#include <time.h>
#include <unistd.h>

#include <callgate/client.h>
#include <callgate/v1/callgate.pb-c.h>

#include "base/base.h"
#include "fake_server.h"
#include "modes.h"

enum {
	PATIENCE_MS = 20000, /* sanitizers on a busy machine */
	STREAMS_MAX = 8,
	SEEN_MAX = 64,
};

/* What the server saw of one request, and what the callbacks saw of one watch. */
struct asked {
	char company_id[64];
	char resume_token[64];
	size_t type_count;
	Callgate__V1__EventType first_type;
	char authorization[64];
};

struct heard {
	struct callgate_client *client;
	struct callgate_watch *watch;
	unsigned messages;
	char ids[SEEN_MAX][16]; /* of events; "" of a heartbeat */
	unsigned close_at;      /* the message in whose callback the watch is closed; 0: none */
	unsigned ended;
	enum callgate_status status;
	int attempts;
	enum callgate_error_reason reason;
	char text[128];
	unsigned answers; /* of operations submitted meanwhile */
	enum callgate_submit reopened;
};

struct world {
	struct fake_server *server;
	struct callgate_client *client;
	struct callgate_options options;
	char address[64];

	pthread_mutex_t lock;
	struct fake_reply streams[STREAMS_MAX]; /* of the first call, the second, ... */
	size_t stream_count;                    /* calls after these get the last one */
	struct asked asked[STREAMS_MAX];
	size_t asked_count;
	struct fake_bytes *made[STREAMS_MAX];
	size_t made_count;

	struct heard heards[3]; /* here, since a test that fails leaves its watches open */
};

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void keep_request(struct asked *asked, const struct fake_call *call)
{
	Callgate__V1__WatchRequest *request =
	    callgate__v1__watch_request__unpack(NULL, call->request_bytes, call->request);

	CG_ASSERT(request != NULL);
	(void)snprintf(asked->company_id, sizeof(asked->company_id), "%s", request->company_id);
	(void)snprintf(
	    asked->resume_token, sizeof(asked->resume_token), "%s", request->resume_token);
	(void)snprintf(
	    asked->authorization, sizeof(asked->authorization), "%s", call->authorization);
	asked->type_count = request->n_types;
	asked->first_type = request->n_types > 0 ? request->types[0] : 0;
	callgate__v1__watch_request__free_unpacked(request, NULL);
}

static void script(void *context, const struct fake_call *call, struct fake_reply *ret_reply)
{
	struct world *world = context;
	size_t number;

	if (strcmp(call->path, "/callgate.v1.Wallets/Watch") != 0) {
		return; /* another operation: an empty answer */
	}
	(void)pthread_mutex_lock(&world->lock);
	number = world->asked_count++;
	if (number < STREAMS_MAX) {
		keep_request(&world->asked[number], call);
	}
	*ret_reply =
	    world->streams[number < world->stream_count ? number : world->stream_count - 1];
	(void)pthread_mutex_unlock(&world->lock);
}

static struct fake_bytes message_of(const char *id, const char *token)
{
	Callgate__V1__WatchResponse response = CALLGATE__V1__WATCH_RESPONSE__INIT;
	Callgate__V1__Event event = CALLGATE__V1__EVENT__INIT;
	struct fake_bytes made;
	uint8_t *data;

	if (id[0] != '\0') {
		event.id = (char *)id;
		event.type = CALLGATE__V1__EVENT_TYPE__EVENT_TYPE_CUT_OFF;
		event.call_id = (char *)"c1";
		response.event = &event;
	}
	response.resume_token = (char *)token;
	response.as_of_ms = 7;
	made.bytes = callgate__v1__watch_response__get_packed_size(&response);
	data = malloc(made.bytes);
	(void)callgate__v1__watch_response__pack(&response, data);
	made.data = data;
	return made;
}

/*
 * The next stream: the words of `messages`, each "id/token", an empty id for a heartbeat;
 * then `end`.
 */
static void add_stream(struct world *world, const char *messages, struct fake_reply end)
{
	struct fake_bytes *made = calloc(SEEN_MAX, sizeof(*made));
	char words[512];
	char *rest;

	(void)snprintf(words, sizeof(words), "%s", messages);
	end.messages = made;
	for (char *word = strtok_r(words, " ", &rest); word != NULL;
	     word = strtok_r(NULL, " ", &rest)) {
		char *token = strchr(word, '/');

		*token++ = '\0';
		made[end.message_count++] = message_of(word, token);
	}
	world->made[world->made_count++] = made;
	world->streams[world->stream_count++] = end;
}

static const struct fake_reply stays = {.silent = true};
static const struct fake_reply unavailable = {
    .code = GRPC_STATUS_UNAVAILABLE, .message = "shutting down"};

static void start_world(struct world *world)
{
	(void)unlink(world->address + strlen("unix:"));
	world->server = fake_server_start(world->address, script, world);
}

static void open_world(struct world *world)
{
	char why[128] = "";

	start_world(world);
	world->client = callgate_client_create(&world->options, why, sizeof(why));
	assert_string_equal(why, "");
	assert_non_null(world->client);
}

static void close_client(struct world *world)
{
	callgate_client_close(world->client);
	world->client = NULL;
}

static void on_message(void *context, const struct callgate_watch_response *message)
{
	struct heard *heard = context;

	assert_int_equal(heard->ended, 0);
	assert_int_equal(message->as_of_ms, 7);
	if (message->event != NULL) {
		assert_int_equal(message->event->type, CALLGATE_EVENT_TYPE_CUT_OFF);
		assert_string_equal(message->event->call_id, "c1");
	}
	if (message->resume_token[0] != '\0') {
		assert_string_equal(callgate_watch_token(heard->watch), message->resume_token);
	}
	(void)snprintf(heard->ids[heard->messages % SEEN_MAX], sizeof(heard->ids[0]), "%s",
	    message->event == NULL ? "" : message->event->id);
	heard->messages++;
	if (heard->messages == heard->close_at) {
		callgate_watch_close(heard->watch);
		heard->watch = NULL;
	}
}

static void on_end(void *context, const struct callgate_error *error)
{
	struct heard *heard = context;

	heard->ended++;
	heard->watch = NULL;
	heard->status = error->status;
	heard->attempts = error->attempts;
	heard->reason = error->detail.reason;
	(void)snprintf(heard->text, sizeof(heard->text), "%s", error->message);
}

static void open_watch(struct world *world, struct heard *heard)
{
	char company[] = "a-company";
	char token[] = "t0";
	enum callgate_event_type types[] = {CALLGATE_EVENT_TYPE_CUT_OFF};
	struct callgate_watch_request request = {
	    .company_id = company, .resume_token = token, .types = types, .type_count = 1};

	heard->client = world->client;
	assert_int_equal(
	    callgate_watch_open(world->client, &request, on_message, on_end, heard, &heard->watch),
	    CALLGATE_ACCEPTED);
	memset(company, 'x', sizeof(company) - 1); /* all of it was copied */
	memset(token, 'x', sizeof(token) - 1);
	types[0] = CALLGATE_EVENT_TYPE_CHARGED;
}

#define WAIT_UNTIL(world, condition)                                                               \
	for (int64_t end_ms_ = now_ms() + PATIENCE_MS; !(condition);) {                            \
		assert_true(now_ms() < end_ms_);                                                   \
		(void)callgate_client_wait((world)->client, 20);                                   \
	}

/* Without dispatching: nobody is called. */
#define SLEEP_UNTIL(condition)                                                                     \
	for (int64_t end_ms_ = now_ms() + PATIENCE_MS; !(condition);) {                            \
		assert_true(now_ms() < end_ms_);                                                   \
		(void)poll(NULL, 0, 5);                                                            \
	}

/* A copy, since the server's thread may be at the next; valid until the next call. */
static const struct asked *asked_of(struct world *world, size_t number)
{
	static struct asked copy;

	(void)pthread_mutex_lock(&world->lock);
	copy = world->asked[number];
	(void)pthread_mutex_unlock(&world->lock);
	return &copy;
}

/* --- Streams. --- */

static void test_messages_arrive_in_order(void **state)
{
	struct world *world = *state;
	struct heard *heard = &world->heards[0];

	add_stream(world, "/ e1/t1 e2/ /t2 e3/t3", stays);
	world->options.token = "s3cret";
	open_world(world);
	open_watch(world, heard);
	assert_string_equal(callgate_watch_token(heard->watch), "");
	WAIT_UNTIL(world, heard->messages == 5);
	assert_string_equal(heard->ids[0], "");
	assert_string_equal(heard->ids[1], "e1");
	assert_string_equal(heard->ids[2], "e2");
	assert_string_equal(heard->ids[3], "");
	assert_string_equal(heard->ids[4], "e3");
	assert_string_equal(callgate_watch_token(heard->watch), "t3");
	assert_string_equal(asked_of(world, 0)->company_id, "a-company");
	assert_string_equal(asked_of(world, 0)->resume_token, "t0");
	assert_int_equal(asked_of(world, 0)->first_type, CALLGATE_EVENT_TYPE_CUT_OFF);
	assert_string_equal(asked_of(world, 0)->authorization, "Bearer s3cret");
	assert_int_equal(callgate_client_in_flight(world->client), 0);
	close_client(world);
}

static void test_a_token_outlives_messages_without_one(void **state)
{
	struct world *world = *state;
	struct heard *heard = &world->heards[0];

	add_stream(world, "e1/t1 e2/ /", stays);
	open_world(world);
	open_watch(world, heard);
	WAIT_UNTIL(world, heard->messages == 3);
	assert_string_equal(callgate_watch_token(heard->watch), "t1");
	close_client(world);
}

/* --- Ends that are not final. --- */

static void test_unavailable_is_resumed_with_the_last_token(void **state)
{
	struct world *world = *state;
	struct heard *heard = &world->heards[0];

	add_stream(world, "", unavailable);
	add_stream(world, "/t1 e1/t2 e2/", unavailable);
	add_stream(world, "e3/t3", unavailable);
	add_stream(world, "e4/t4", stays);
	open_world(world);
	open_watch(world, heard);
	WAIT_UNTIL(world, heard->messages == 5);
	assert_string_equal(heard->ids[4], "e4");
	assert_int_equal(fake_server_count(world->server), 4);
	assert_string_equal(asked_of(world, 1)->resume_token, "t0");
	assert_string_equal(asked_of(world, 2)->resume_token, "t2");
	assert_string_equal(asked_of(world, 3)->resume_token, "t3");
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(asked_of(world, i)->company_id, "a-company");
		assert_int_equal(asked_of(world, i)->first_type, CALLGATE_EVENT_TYPE_CUT_OFF);
		assert_int_equal(asked_of(world, i)->type_count, 1);
	}
	assert_int_equal(heard->ended, 0);
	close_client(world);
}

static void test_silence_is_resumed_with_the_last_token(void **state)
{
	struct world *world = *state;
	struct heard *heard = &world->heards[0];
	int64_t begun_ms;

	add_stream(world, "e1/t1", stays);
	add_stream(world, "e2/t2", stays);
	world->options.watch_silence_ms = 150;
	open_world(world);
	open_watch(world, heard);
	begun_ms = now_ms();
	WAIT_UNTIL(world, heard->messages == 2);
	assert_true(now_ms() - begun_ms >= 145);
	assert_string_equal(heard->ids[1], "e2");
	assert_string_equal(asked_of(world, 1)->resume_token, "t1");
	assert_int_equal(heard->ended, 0);
	close_client(world);
}

/* The server accepts, and says nothing at all. */
static void test_silence_from_the_start_is_noticed(void **state)
{
	struct world *world = *state;
	struct heard *heard = &world->heards[0];

	add_stream(world, "", stays);
	add_stream(world, "e1/t1", stays);
	world->options.watch_silence_ms = 150;
	open_world(world);
	open_watch(world, heard);
	WAIT_UNTIL(world, heard->messages == 1);
	assert_string_equal(asked_of(world, 1)->resume_token, "t0");
	close_client(world);
}

/* It is the caller that is slow: its server is not left for that. */
static void test_a_message_not_yet_delivered_is_no_silence(void **state)
{
	struct world *world = *state;
	struct heard *heard = &world->heards[0];
	int64_t begun_ms;

	add_stream(world, "e1/t1 e2/t2", stays);
	world->options.watch_silence_ms = 100;
	open_world(world);
	open_watch(world, heard);
	begun_ms = now_ms();
	SLEEP_UNTIL(now_ms() - begun_ms > 500);
	assert_int_equal(fake_server_count(world->server), 1);
	assert_int_equal(callgate_client_dispatch(world->client), 1);
	assert_int_equal(heard->messages, 1);
	close_client(world);
}

static void test_a_server_that_dies_and_comes_back_is_resumed(void **state)
{
	struct world *world = *state;
	struct heard *heard = &world->heards[0];

	add_stream(world, "e1/t1", stays);
	add_stream(world, "e2/t2", stays);
	open_world(world);
	open_watch(world, heard);
	WAIT_UNTIL(world, heard->messages == 1);
	fake_server_stop(world->server);
	world->server = NULL;
	for (unsigned i = 0; i < 5; i++) {
		(void)callgate_client_wait(world->client, 20);
	}
	start_world(world);
	WAIT_UNTIL(world, heard->messages == 2);
	assert_string_equal(asked_of(world, 1)->resume_token, "t1");
	assert_int_equal(heard->ended, 0);
	close_client(world);
}

/* The next stream begins while the message of the last one waits; that one's token counts. */
static void test_what_waits_for_dispatch_is_not_asked_for_again(void **state)
{
	struct world *world = *state;
	struct heard *heard = &world->heards[0];

	add_stream(world, "e1/t1", unavailable);
	add_stream(world, "e2/t2", stays);
	open_world(world);
	open_watch(world, heard);
	SLEEP_UNTIL(fake_server_count(world->server) == 2);
	assert_int_equal(heard->messages, 0);
	assert_string_equal(callgate_watch_token(heard->watch), "");
	WAIT_UNTIL(world, heard->messages == 2);
	assert_string_equal(heard->ids[0], "e1");
	assert_string_equal(heard->ids[1], "e2");
	assert_string_equal(asked_of(world, 1)->resume_token, "t1");
	close_client(world);
}

/* --- Ends that are. --- */

static void test_other_ends_are_final_and_told_once(void **state)
{
	struct world *world = *state;
	struct heard *heard = &world->heards[0];
	static const char detail[] = "\x08\x0b\x1a\x31\x0a\x2b"
	                             "type.googleapis.com/callgate.v1.ErrorDetail\x12\x02\x08\x0d";

	add_stream(world, "e1/t1",
	    (struct fake_reply){.code = GRPC_STATUS_OUT_OF_RANGE,
	        .message = "too old",
	        .detail = detail,
	        .detail_bytes = sizeof(detail) - 1});
	open_world(world);
	open_watch(world, heard);
	WAIT_UNTIL(world, heard->ended == 1);
	assert_int_equal(heard->messages, 1);
	assert_int_equal(heard->status, CALLGATE_STATUS_OUT_OF_RANGE);
	assert_string_equal(heard->text, "too old");
	assert_int_equal(heard->attempts, 1);
	assert_int_equal(heard->reason, CALLGATE_ERROR_REASON_TOKEN_TOO_OLD);
	for (unsigned i = 0; i < 5; i++) {
		(void)callgate_client_wait(world->client, 20);
	}
	assert_int_equal(heard->ended, 1);
	assert_int_equal(fake_server_count(world->server), 1);
	close_client(world);
}

static void test_an_end_without_an_error_is_internal(void **state)
{
	struct world *world = *state;
	struct heard *heard = &world->heards[0];

	add_stream(world, "e1/t1", (struct fake_reply){.code = GRPC_STATUS_OK});
	open_world(world);
	open_watch(world, heard);
	WAIT_UNTIL(world, heard->ended == 1);
	assert_int_equal(heard->messages, 1);
	assert_int_equal(heard->status, CALLGATE_STATUS_INTERNAL);
	close_client(world);
}

static void test_a_message_that_cannot_be_read_is_internal(void **state)
{
	struct world *world = *state;
	struct heard *heard = &world->heards[0];
	struct fake_bytes messages[2] = {message_of("e1", "t1"), {"\x0a\x7f", 2}};

	world->streams[0] =
	    (struct fake_reply){.silent = true, .messages = messages, .message_count = 2};
	world->stream_count = 1;
	open_world(world);
	open_watch(world, heard);
	WAIT_UNTIL(world, heard->ended == 1);
	assert_int_equal(heard->messages, 1);
	assert_int_equal(heard->status, CALLGATE_STATUS_INTERNAL);
	assert_int_equal(fake_server_count(world->server), 1);
	free((void *)messages[0].data);
	close_client(world);
}

/* --- Back-pressure. --- */

/* 64 MB are offered: what is not dispatched stays with the server. */
static void test_a_caller_that_does_not_dispatch_holds_one_message(void **state)
{
	struct world *world = *state;
	struct heard *heard = &world->heards[0];
	static struct fake_bytes messages[1000];
	static char bytes[64 * 1024];
	int64_t begun_ms;

	/* An as_of_ms of 7, and a field that nobody knows, for its size. */
	static const char head[] = {0x18, 0x07, '\xfa', 0x01, '\xf9', '\xff', 0x03};
	memcpy(bytes, head, sizeof head);
	for (size_t i = 0; i < CG_COUNT_OF(messages); i++) {
		messages[i] = (struct fake_bytes){bytes, sizeof(bytes)};
	}
	world->streams[0] = (struct fake_reply){
	    .silent = true, .messages = messages, .message_count = CG_COUNT_OF(messages)};
	world->stream_count = 1;
	open_world(world);
	open_watch(world, heard);
	WAIT_UNTIL(world, heard->messages == 1);
	begun_ms = now_ms();
	SLEEP_UNTIL(now_ms() - begun_ms > 300);
	assert_true(fake_server_sent(world->server) < 50);
	WAIT_UNTIL(world, heard->messages == CG_COUNT_OF(messages));
	close_client(world);
}

/* --- Closing. --- */

static void test_closing_inside_its_own_callback(void **state)
{
	struct world *world = *state;
	struct heard *heard = &world->heards[0];
	struct heard *next = &world->heards[1];

	add_stream(world, "e1/t1 e2/t2 e3/t3 e4/t4", stays);
	heard->close_at = 2;
	open_world(world);
	open_watch(world, heard);
	WAIT_UNTIL(world, heard->messages == 2);
	open_watch(world, next);
	WAIT_UNTIL(world, next->messages == 4);
	assert_int_equal(heard->messages, 2);
	assert_int_equal(heard->ended, 0);
	close_client(world);
}

/* Before its first message, with one due, between two streams, and with its end due. */
static void test_closing_at_any_time(void **state)
{
	struct world *world = *state;
	struct heard *heard = &world->heards[0];

	add_stream(world, "e1/t1", stays);
	add_stream(world, "", unavailable);
	add_stream(world, "", (struct fake_reply){.code = GRPC_STATUS_UNAUTHENTICATED});
	world->options.backoff_ms = 10000;
	open_world(world);
	for (size_t i = 0; i < world->stream_count; i++) {
		int64_t begun_ms = now_ms();

		open_watch(world, heard);
		SLEEP_UNTIL(fake_server_count(world->server) == i + 1);
		SLEEP_UNTIL(now_ms() - begun_ms > 100);
		callgate_watch_close(heard->watch);
	}
	open_watch(world, heard);
	callgate_watch_close(heard->watch);
	for (unsigned i = 0; i < 5; i++) {
		(void)callgate_client_dispatch(world->client);
		(void)poll(NULL, 0, 10);
	}
	assert_int_equal(heard->messages, 0);
	assert_int_equal(heard->ended, 0);
	close_client(world);
}

static void test_closing_the_client_ends_its_watches(void **state)
{
	struct world *world = *state;
	struct heard *streaming = &world->heards[0];
	struct heard *pausing = &world->heards[1];
	struct heard *closed = &world->heards[2];

	add_stream(world, "e1/t1", unavailable);
	add_stream(world, "e1/t1", stays);
	world->options.backoff_ms = 10000;
	closed->close_at = 1;
	open_world(world);
	open_watch(world, pausing);
	WAIT_UNTIL(world, pausing->messages == 1);
	(void)callgate_client_wait(world->client, 100);
	open_watch(world, streaming);
	open_watch(world, closed);
	WAIT_UNTIL(world, streaming->messages == 1 && closed->messages == 1);
	close_client(world);
	assert_int_equal(streaming->ended, 1);
	assert_int_equal(streaming->status, CALLGATE_STATUS_CANCELLED);
	assert_int_equal(streaming->attempts, 1);
	assert_int_equal(pausing->ended, 1);
	assert_int_equal(pausing->status, CALLGATE_STATUS_CANCELLED);
	assert_int_equal(closed->ended, 0);
}

static void reopen_at_end(void *context, const struct callgate_error *error)
{
	struct heard *heard = context;
	struct callgate_watch_request request = {.company_id = ""};

	on_end(context, error);
	heard->reopened =
	    callgate_watch_open(heard->client, &request, on_message, on_end, heard, &heard->watch);
}

static void test_no_watch_is_opened_while_the_client_is_closed(void **state)
{
	struct world *world = *state;
	struct heard *heard = &world->heards[0];
	struct callgate_watch_request request = {.company_id = ""};

	add_stream(world, "e1/t1", stays);
	open_world(world);
	heard->client = world->client;
	assert_int_equal(callgate_watch_open(world->client, &request, on_message, reopen_at_end,
	                     heard, &heard->watch),
	    CALLGATE_ACCEPTED);
	close_client(world);
	assert_int_equal(heard->ended, 1);
	assert_int_equal(heard->reopened, CALLGATE_CLOSING);
}

/* --- Beside operations. --- */

static void on_balance(void *context, const struct callgate_error *error,
    const struct callgate_get_balance_response *response)
{
	struct heard *heard = context;

	assert_null(error);
	assert_non_null(response);
	heard->answers++;
}

static void ask_on_message(void *context, const struct callgate_watch_response *message)
{
	struct heard *heard = context;
	struct callgate_get_balance_request request = {.company_id = "a-company"};

	on_message(context, message);
	assert_int_equal(
	    callgate_get_balance(heard->client, &request, on_balance, heard), CALLGATE_ACCEPTED);
}

/* Many watches and the operations that their messages bring about. */
static void test_watches_and_operations_do_not_hinder_each_other(void **state)
{
	struct world *world = *state;
	static struct heard heards[50];
	enum callgate_event_type types[] = {CALLGATE_EVENT_TYPE_CUT_OFF};
	struct callgate_watch_request request = {.types = types, .type_count = 1};
	size_t done = 0;

	memset(heards, 0, sizeof(heards));
	add_stream(world, "e1/t1 e2/t2 e3/t3", stays);
	open_world(world);
	for (size_t i = 0; i < CG_COUNT_OF(heards); i++) {
		heards[i].client = world->client;
		assert_int_equal(callgate_watch_open(world->client, &request, ask_on_message,
		                     on_end, &heards[i], &heards[i].watch),
		    CALLGATE_ACCEPTED);
	}
	while (done < CG_COUNT_OF(heards)) {
		struct heard *heard = &heards[done];

		WAIT_UNTIL(world, heard->messages == 3 && heard->answers == 3);
		done++;
	}
	close_client(world);
	for (size_t i = 0; i < CG_COUNT_OF(heards); i++) {
		assert_int_equal(heards[i].ended, 1);
		assert_int_equal(heards[i].messages, 3);
	}
}

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	modes_make_address(world->address, sizeof(world->address), "watch");
	callgate_options_init(&world->options);
	world->options.address = world->address;
	world->options.backoff_ms = 4;
	world->options.deadline_ms = PATIENCE_MS;
	world->options.poll_inline = modes_polls_inline(state);
	(void)pthread_mutex_init(&world->lock, NULL);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	modes_end(world->client, world->server, world->address);
	for (size_t i = 0; i < world->made_count; i++) {
		for (size_t j = 0; world->made[i][j].data != NULL; j++) {
			free((void *)world->made[i][j].data);
		}
		free(world->made[i]);
	}
	(void)pthread_mutex_destroy(&world->lock);
	free(world);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    BOTH(test_messages_arrive_in_order),
	    BOTH(test_a_token_outlives_messages_without_one),
	    BOTH(test_unavailable_is_resumed_with_the_last_token),
	    BOTH(test_silence_is_resumed_with_the_last_token),
	    BOTH(test_silence_from_the_start_is_noticed),
	    THREAD(test_a_message_not_yet_delivered_is_no_silence),
	    BOTH(test_a_server_that_dies_and_comes_back_is_resumed),
	    THREAD(test_what_waits_for_dispatch_is_not_asked_for_again),
	    BOTH(test_other_ends_are_final_and_told_once),
	    BOTH(test_an_end_without_an_error_is_internal),
	    BOTH(test_a_message_that_cannot_be_read_is_internal),
	    BOTH(test_a_caller_that_does_not_dispatch_holds_one_message),
	    BOTH(test_closing_inside_its_own_callback),
	    BOTH(test_closing_at_any_time),
	    BOTH(test_closing_the_client_ends_its_watches),
	    BOTH(test_no_watch_is_opened_while_the_client_is_closed),
	    BOTH(test_watches_and_operations_do_not_hinder_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
