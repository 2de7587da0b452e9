/*
 * What a session does when its answers come out of order, as errors, not at all, or its stream
 * ends; each in both modes, with the poller's thread and polling inline.
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
	OPS_MAX = 8,
};

struct heard {
	unsigned answered;
	enum callgate_status status; /* OK: released is the answer's */
	int64_t released;
	char text[64];
	char field[32];
};

struct world {
	struct fake_server *server;
	struct callgate_client *client;
	struct callgate_session *session;
	struct callgate_options options;
	char address[64];

	pthread_mutex_t lock; /* held while a test submits: the server answers afterwards */
	struct fake_reply reply;
	struct fake_bytes messages[OPS_MAX];
	char *copies[OPS_MAX]; /* their bytes */
	char path[64];
	uint64_t first_tag;

	struct heard heards[OPS_MAX];
	unsigned ended;
	unsigned ended_after; /* answers */
	enum callgate_status end_status;
};

static void script(void *context, const struct fake_call *call, struct fake_reply *ret_reply)
{
	struct world *world = context;
	Callgate__V1__SessionRequest *request;

	(void)pthread_mutex_lock(&world->lock);
	request = callgate__v1__session_request__unpack(NULL, call->request_bytes, call->request);
	CG_ASSERT(request != NULL);
	(void)snprintf(world->path, sizeof(world->path), "%s", call->path);
	world->first_tag = request->tag;
	callgate__v1__session_request__free_unpacked(request, NULL);
	*ret_reply = world->reply;
	ret_reply->messages = world->messages;
	(void)pthread_mutex_unlock(&world->lock);
}

static void add_bytes(struct world *world, const void *data, size_t bytes)
{
	char *copy = malloc(bytes);

	memcpy(copy, data, bytes);
	world->copies[world->reply.message_count] = copy;
	world->messages[world->reply.message_count++] = (struct fake_bytes){copy, bytes};
}

static void add_response(struct world *world, const Callgate__V1__SessionResponse *response)
{
	uint8_t bytes[512];

	add_bytes(world, bytes, callgate__v1__session_response__pack(response, bytes));
}

static void add_answer(struct world *world, uint64_t tag)
{
	Callgate__V1__SessionResponse response = CALLGATE__V1__SESSION_RESPONSE__INIT;
	Callgate__V1__CancelResponse cancel = CALLGATE__V1__CANCEL_RESPONSE__INIT;

	cancel.released_micros = (int64_t)tag * 100;
	response.tag = tag;
	response.op_case = CALLGATE__V1__SESSION_RESPONSE__OP_CANCEL;
	response.cancel = &cancel;
	add_response(world, &response);
}

static void add_refusal(struct world *world, uint64_t tag)
{
	Callgate__V1__SessionResponse response = CALLGATE__V1__SESSION_RESPONSE__INIT;
	Callgate__V1__ErrorDetail detail = CALLGATE__V1__ERROR_DETAIL__INIT;
	static char message[] = "call_id: no";
	static char field[] = "call_id";

	detail.field = field;
	response.tag = tag;
	response.status_code = CALLGATE_STATUS_INVALID_ARGUMENT;
	response.status_message = message;
	response.error = &detail;
	add_response(world, &response);
}

static void on_cancelled(void *context, const struct callgate_error *error,
    const struct callgate_cancel_response *response)
{
	struct heard *heard = context;

	heard->answered++;
	heard->status = error == NULL ? CALLGATE_STATUS_OK : error->status;
	heard->released = response == NULL ? 0 : response->released_micros;
	(void)snprintf(heard->text, sizeof(heard->text), "%s", error == NULL ? "" : error->message);
	(void)snprintf(heard->field, sizeof(heard->field), "%s",
	    error != NULL && error->has_detail ? error->detail.field : "");
}

static const struct callgate_cancel_request request = {"a-company", "c1"};

static enum callgate_submit submit(struct world *world, struct heard *heard)
{
	return callgate_session_cancel(world->session, &request, on_cancelled, heard);
}

static void on_end(void *context, const struct callgate_error *error)
{
	struct world *world = context;

	world->ended++;
	world->session = NULL;
	world->end_status = error == NULL ? CALLGATE_STATUS_OK : error->status;
	for (size_t i = 0; i < OPS_MAX; i++) {
		world->ended_after += world->heards[i].answered;
	}
}

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void open_world(struct world *world, uint32_t window)
{
	char why[128] = "";

	(void)unlink(world->address + strlen("unix:"));
	world->server = fake_server_start(world->address, script, world);
	world->client = callgate_client_create(&world->options, why, sizeof(why));
	assert_string_equal(why, "");
	assert_int_equal(
	    callgate_session_open(world->client, window, on_end, world, &world->session),
	    CALLGATE_ACCEPTED);
}

static void submit_all(struct world *world, size_t count)
{
	(void)pthread_mutex_lock(&world->lock);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(submit(world, &world->heards[i]), CALLGATE_ACCEPTED);
		assert_int_equal(world->heards[i].answered, 0);
	}
	(void)pthread_mutex_unlock(&world->lock);
}

#define WAIT_UNTIL(world, condition)                                                               \
	for (int64_t end_ms_ = now_ms() + PATIENCE_MS; !(condition);) {                            \
		assert_true(now_ms() < end_ms_);                                                   \
		(void)callgate_client_wait((world)->client, 50);                                   \
	}

static void expect_ends(struct world *world, size_t from, size_t to, enum callgate_status status)
{
	for (size_t i = from; i < to; i++) {
		assert_int_equal(world->heards[i].answered, 1);
		assert_int_equal(world->heards[i].status, status);
	}
}

static void test_answers_find_their_operations_by_tag(void **state)
{
	struct world *world = *state;

	add_answer(world, 3);
	add_refusal(world, 2);
	add_answer(world, 1);
	open_world(world, 3);
	submit_all(world, 3);
	assert_int_equal(submit(world, &world->heards[3]), CALLGATE_FULL);
	assert_int_equal(callgate_session_unanswered(world->session), 3);
	callgate_session_finish(world->session);
	assert_int_equal(submit(world, &world->heards[3]), CALLGATE_CLOSING);
	WAIT_UNTIL(world, world->ended > 0);
	assert_string_equal(world->path, "/callgate.v1.Gate/Session");
	assert_int_equal(world->first_tag, 1);
	assert_int_equal(world->end_status, CALLGATE_STATUS_OK);
	assert_int_equal(world->ended_after, 3);
	assert_int_equal(world->heards[0].released, 100);
	assert_int_equal(world->heards[2].released, 300);
	expect_ends(world, 1, 2, CALLGATE_STATUS_INVALID_ARGUMENT);
	assert_string_equal(world->heards[1].text, "call_id: no");
	assert_string_equal(world->heards[1].field, "call_id");
	assert_int_equal(callgate_client_in_flight(world->client), 0);
}

static void test_what_is_unanswered_ends_as_its_stream(void **state)
{
	struct world *world = *state;

	add_answer(world, 2);
	world->reply.code = GRPC_STATUS_UNAVAILABLE;
	world->reply.message = "shutting down";
	open_world(world, 16);
	submit_all(world, 4);
	WAIT_UNTIL(world, world->ended > 0);
	assert_int_equal(world->end_status, CALLGATE_STATUS_UNAVAILABLE);
	assert_int_equal(world->ended_after, 4);
	expect_ends(world, 0, 1, CALLGATE_STATUS_UNAVAILABLE);
	expect_ends(world, 1, 2, CALLGATE_STATUS_OK);
	expect_ends(world, 2, 4, CALLGATE_STATUS_UNAVAILABLE);
	assert_string_equal(world->heards[3].text, "shutting down");
}

static void test_a_good_end_without_an_answer_is_none(void **state)
{
	struct world *world = *state;

	add_answer(world, 1);
	open_world(world, 16);
	submit_all(world, 2);
	WAIT_UNTIL(world, world->ended > 0);
	assert_int_equal(world->end_status, CALLGATE_STATUS_OK);
	expect_ends(world, 1, 2, CALLGATE_STATUS_INTERNAL);
}

/* By the time that it is told, an operation may be refused already; else it ends likewise. */
static void test_a_server_that_is_not_there_ends_it(void **state)
{
	struct world *world = *state;
	unsigned accepted = 0;

	open_world(world, 16);
	fake_server_stop(world->server);
	world->server = NULL;
	while (accepted < 2 && world->session != NULL &&
	    submit(world, &world->heards[accepted]) == CALLGATE_ACCEPTED) {
		accepted++;
	}
	WAIT_UNTIL(world, world->ended > 0);
	assert_int_equal(world->end_status, CALLGATE_STATUS_UNAVAILABLE);
	assert_int_equal(world->ended_after, accepted);
	expect_ends(world, 0, accepted, CALLGATE_STATUS_UNAVAILABLE);
}

static void test_an_answer_that_does_not_come_ends_them_in_time(void **state)
{
	struct world *world = *state;
	int64_t began_ms = now_ms();

	add_answer(world, 1);
	world->reply.silent = true;
	world->options.deadline_ms = 300;
	open_world(world, 16);
	submit_all(world, 3);
	WAIT_UNTIL(world, world->ended > 0);
	assert_true(now_ms() - began_ms >= 300);
	assert_int_equal(world->end_status, CALLGATE_STATUS_DEADLINE_EXCEEDED);
	expect_ends(world, 0, 1, CALLGATE_STATUS_OK);
	expect_ends(world, 1, 3, CALLGATE_STATUS_DEADLINE_EXCEEDED);
}

static void test_what_cannot_be_read_or_was_not_asked_ends_it(void **state)
{
	struct world *world = *state;

	for (unsigned round = 0; round < 3; round++) {
		world->reply = (struct fake_reply){.silent = true};
		memset(world->heards, 0, sizeof(world->heards));
		world->ended = 0;
		if (round == 0) {
			add_bytes(world, "\x08", 1);
		} else {
			add_answer(world, round == 1 ? 3 : 0);
		}
		open_world(world, 16);
		submit_all(world, 2);
		WAIT_UNTIL(world, world->ended > 0);
		assert_int_equal(world->end_status, CALLGATE_STATUS_INTERNAL);
		expect_ends(world, 0, 2, CALLGATE_STATUS_INTERNAL);
		callgate_client_close(world->client);
		world->client = NULL;
		fake_server_stop(world->server);
		world->server = NULL;
		free(world->copies[0]);
		world->copies[0] = NULL;
	}
}

static void test_another_operations_answer_is_an_error_of_its_own(void **state)
{
	struct world *world = *state;
	Callgate__V1__SessionResponse response = CALLGATE__V1__SESSION_RESPONSE__INIT;
	Callgate__V1__StopResponse stop = CALLGATE__V1__STOP_RESPONSE__INIT;

	response.tag = 1;
	response.op_case = CALLGATE__V1__SESSION_RESPONSE__OP_STOP;
	response.stop = &stop;
	add_response(world, &response);
	add_answer(world, 2);
	open_world(world, 16);
	submit_all(world, 2);
	WAIT_UNTIL(world, world->ended > 0);
	expect_ends(world, 0, 1, CALLGATE_STATUS_INTERNAL);
	expect_ends(world, 1, 2, CALLGATE_STATUS_OK);
}

static void test_a_session_that_is_closed_ends_what_is_unanswered(void **state)
{
	struct world *world = *state;

	world->reply.silent = true;
	open_world(world, 16);
	submit_all(world, 3);
	callgate_session_close(world->session);
	assert_int_equal(submit(world, &world->heards[3]), CALLGATE_CLOSING);
	WAIT_UNTIL(world, world->ended > 0);
	assert_int_equal(world->end_status, CALLGATE_STATUS_CANCELLED);
	expect_ends(world, 0, 3, CALLGATE_STATUS_CANCELLED);
}

static void test_a_client_that_is_closed_ends_its_sessions(void **state)
{
	struct world *world = *state;

	world->reply.silent = true;
	open_world(world, 16);
	submit_all(world, 3);
	callgate_client_close(world->client);
	world->client = NULL;
	assert_int_equal(world->ended, 1);
	assert_int_equal(world->ended_after, 3);
	expect_ends(world, 0, 3, CALLGATE_STATUS_CANCELLED);
}

static void test_operations_count_against_the_client_too(void **state)
{
	struct world *world = *state;

	world->options.in_flight_max = 2;
	add_answer(world, 1);
	add_answer(world, 2);
	open_world(world, 16);
	submit_all(world, 2);
	assert_int_equal(submit(world, &world->heards[2]), CALLGATE_FULL);
	WAIT_UNTIL(world, world->ended > 0);
	expect_ends(world, 0, 2, CALLGATE_STATUS_OK);
}

static void on_first(void *context, const struct callgate_error *error,
    const struct callgate_cancel_response *response)
{
	struct world *world = context;

	on_cancelled(&world->heards[0], error, response);
	assert_int_equal(submit(world, &world->heards[1]), CALLGATE_ACCEPTED);
	assert_int_equal(world->heards[1].answered, 0);
}

static void test_a_callback_may_submit_under_the_tag_that_is_free_again(void **state)
{
	struct world *world = *state;

	add_answer(world, 1);
	world->reply.silent = true;
	open_world(world, 1);
	assert_int_equal(
	    callgate_session_cancel(world->session, &request, on_first, world), CALLGATE_ACCEPTED);
	WAIT_UNTIL(world, world->heards[0].answered > 0);
	assert_int_equal(callgate_session_unanswered(world->session), 1);
	callgate_session_close(world->session);
	WAIT_UNTIL(world, world->ended > 0);
	expect_ends(world, 0, 1, CALLGATE_STATUS_OK);
	expect_ends(world, 1, 2, CALLGATE_STATUS_CANCELLED);
}

static void test_a_window_has_its_bounds(void **state)
{
	struct world *world = *state;
	struct callgate_session *session = NULL;

	open_world(world, 65536);
	assert_int_equal(
	    callgate_session_open(world->client, 0, on_end, world, &session), CALLGATE_FULL);
	assert_int_equal(
	    callgate_session_open(world->client, 65537, on_end, world, &session), CALLGATE_FULL);
	assert_null(session);
	assert_int_equal(callgate_session_unanswered(world->session), 0);
}

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	modes_make_address(world->address, sizeof(world->address), "session");
	(void)pthread_mutex_init(&world->lock, NULL);
	callgate_options_init(&world->options);
	world->options.address = world->address;
	world->options.deadline_ms = 60000;
	world->options.poll_inline = modes_polls_inline(state);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	modes_end(world->client, world->server, world->address);
	for (size_t i = 0; i < OPS_MAX; i++) {
		free(world->copies[i]);
	}
	(void)pthread_mutex_destroy(&world->lock);
	free(world);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    BOTH(test_answers_find_their_operations_by_tag),
	    BOTH(test_what_is_unanswered_ends_as_its_stream),
	    BOTH(test_a_good_end_without_an_answer_is_none),
	    BOTH(test_a_server_that_is_not_there_ends_it),
	    BOTH(test_an_answer_that_does_not_come_ends_them_in_time),
	    BOTH(test_what_cannot_be_read_or_was_not_asked_ends_it),
	    BOTH(test_another_operations_answer_is_an_error_of_its_own),
	    BOTH(test_a_session_that_is_closed_ends_what_is_unanswered),
	    BOTH(test_a_client_that_is_closed_ends_its_sessions),
	    BOTH(test_operations_count_against_the_client_too),
	    BOTH(test_a_callback_may_submit_under_the_tag_that_is_free_again),
	    BOTH(test_a_window_has_its_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
