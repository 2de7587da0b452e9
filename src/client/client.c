/*
 * A client's life, and what happens on the caller's thread: submit, dispatch, close.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "client/client_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <grpc/support/time.h>

/* As many completions as an inline wait takes in at once where there are sessions. */
#define POLLS_PER_WAIT 512

int64_t cg_client__now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool cg_client__push_due_locked(struct callgate_client *client, struct cg_due *due)
{
	bool was_empty = cg_list_is_empty(&client->due);

	cg_list_append(&client->due, &due->link);
	return was_empty;
}

/* A counter that is full is readable already; no other failure is possible. */
void cg_client__wake(struct callgate_client *client)
{
	static const uint64_t one = 1;

	if (client->descriptor >= 0) {
		(void)!write(client->descriptor, &one, sizeof(one));
	}
}

void cg_client__release(struct cg_op *op)
{
	cg_arena_reset(&op->arena);
	grpc_slice_unref(op->request);
	cg_slab_give(&op->client->ops, op);
}

/* Counted out first: the callback may submit the next operation in its place. */
static void deliver_op(struct cg_due *due)
{
	struct cg_op *op = CG_CONTAINER_OF(due, struct cg_op, due);
	struct callgate_client *client = op->client;

	cg_list_remove(&op->live_link);
	client->in_flight_count--;
	op->delivered = true;
	if (op->kept) {
		return;
	}
	client->in_callback = true;
	op->method->deliver(op);
	client->in_callback = false;
	cg_client__release(op);
}

enum callgate_submit cg_client__submit(struct callgate_client *client,
    const struct cg_method *method, void *registered, grpc_slice request, struct cg_op **ret_op)
{
	struct cg_op *op;

	/* Only this thread ever sets it, so that it needs no lock here. */
	if (client->closing) {
		return CALLGATE_CLOSING;
	}
	if (client->in_flight_count >= client->options.in_flight_max) {
		return CALLGATE_FULL;
	}
	op = cg_slab_take(&client->ops);
	CG_ASSERT(op != NULL);
	memset(op, 0, offsetof(struct cg_op, arena));
	cg_arena_init(&op->arena);
	op->client = client;
	op->method = method;
	op->registered = registered;
	op->request = request;
	op->deadline_at_ms = cg_client__now_ms() + client->options.deadline_ms;
	op->deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
	    gpr_time_from_millis(client->options.deadline_ms, GPR_TIMESPAN));
	op->tag.completed = cg_call__completed;
	op->due.deliver = deliver_op;
	cg_list_init(&op->due.link);
	cg_list_append(&client->live, &op->live_link);
	client->in_flight_count++;
	*ret_op = op;
	return CALLGATE_ACCEPTED;
}

/* Everything in `due`, so that what callbacks bring about waits for the next dispatch. */
static size_t deliver_due(struct callgate_client *client)
{
	struct cg_list batch;
	struct cg_list *link;
	size_t count = 0;

	cg_list_init(&batch);
	(void)pthread_mutex_lock(&client->lock);
	while ((link = cg_list_pop(&client->due)) != NULL) {
		cg_list_append(&batch, link);
	}
	(void)pthread_mutex_unlock(&client->lock);
	while ((link = cg_list_pop(&batch)) != NULL) {
		struct cg_due *due = CG_CONTAINER_OF(link, struct cg_due, link);

		due->deliver(due);
		count++;
	}
	if (count > 0 && atomic_load(&client->session_count) > 0) {
		cg_session__flush(client);
	}
	return count;
}

/* Takes in one completion, if one comes until then. */
static bool poll_once(struct callgate_client *client, gpr_timespec until)
{
	grpc_event event;

	until = cg_poll__retry(client, until);
	event = grpc_completion_queue_next(client->queue, until, NULL);
	if (event.type != GRPC_OP_COMPLETE) {
		return false;
	}
	cg_poll__complete(event.tag);
	return true;
}

size_t callgate_client_dispatch(struct callgate_client *client)
{
	uint64_t count;

	CG_ASSERT(!client->in_callback);
	if (client->options.poll_inline) {
		/* Of a watch its next message and its end. */
		size_t polls_left =
		    client->in_flight_count + (size_t)2 * atomic_load(&client->watch_count);

		/* Of a session as many writes and reads, and its end. */
		polls_left +=
		    client->in_flight_count + (size_t)3 * atomic_load(&client->session_count);

		while (polls_left > 0 && poll_once(client, gpr_time_0(GPR_CLOCK_MONOTONIC))) {
			polls_left--;
		}
	} else {
		/* Reset before looking: what ends from here on makes it readable again. */
		(void)!read(client->descriptor, &count, sizeof(count));
	}
	return deliver_due(client);
}

/* What is ready is taken in before anything is sent: what a session sends then leaves together. */
static void poll_ready(struct callgate_client *client)
{
	size_t polls_left = POLLS_PER_WAIT;

	while (polls_left > 0 && poll_once(client, gpr_time_0(GPR_CLOCK_MONOTONIC))) {
		polls_left--;
	}
}

/* One completion at a time: the callback's next request leaves before the next is read. */
static size_t wait_inline(struct callgate_client *client, int timeout_ms)
{
	gpr_timespec end = timeout_ms < 0 ? gpr_inf_future(GPR_CLOCK_MONOTONIC)
	                                  : gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
	                                        gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));

	for (;;) {
		if (poll_once(client, end)) {
			if (atomic_load(&client->session_count) > 0) {
				poll_ready(client);
			}
			size_t count = deliver_due(client);

			if (count > 0) {
				return count;
			}
		} else if (gpr_time_cmp(gpr_now(GPR_CLOCK_MONOTONIC), end) >= 0) {
			return 0;
		}
	}
}

size_t callgate_client_wait(struct callgate_client *client, int timeout_ms)
{
	struct pollfd readable = {.fd = client->descriptor, .events = POLLIN, .revents = 0};

	CG_ASSERT(!client->in_callback);
	if (client->in_flight_count == 0 && cg_list_is_empty(&client->watches) &&
	    cg_list_is_empty(&client->sessions)) {
		return 0;
	}
	if (client->options.poll_inline) {
		return wait_inline(client, timeout_ms);
	}
	if (poll(&readable, 1, timeout_ms) <= 0) {
		return 0;
	}
	return callgate_client_dispatch(client);
}

int callgate_client_descriptor(const struct callgate_client *client)
{
	return client->descriptor;
}

size_t callgate_client_in_flight(const struct callgate_client *client)
{
	return client->in_flight_count;
}

/* From here on no attempt starts; those under way end CANCELLED. */
static void cancel_all(struct callgate_client *client)
{
	(void)pthread_mutex_lock(&client->lock);
	client->closing = true;
	for (struct cg_list *link = client->live.next; link != &client->live; link = link->next) {
		struct cg_op *op = CG_CONTAINER_OF(link, struct cg_op, live_link);

		if (op->call != NULL) {
			(void)grpc_call_cancel(op->call, NULL);
		}
	}
	cg_watch__cancel_all_locked(client);
	cg_session__cancel_all_locked(client);
	(void)pthread_mutex_unlock(&client->lock);
}

/* The queue reports its shutdown once the last cancelled call has ended. */
static void drain(struct callgate_client *client)
{
	grpc_completion_queue_shutdown(client->queue);
	if (client->options.poll_inline) {
		(void)cg_poll__run(client);
	} else {
		CG_ASSERT(pthread_join(client->poller, NULL) == 0);
	}
}

/* Operations between two attempts end with the error of their last one. */
static void give_up_waiting(struct callgate_client *client)
{
	struct cg_list *link;

	(void)pthread_mutex_lock(&client->lock);
	while ((link = cg_list_pop(&client->waiting)) != NULL) {
		struct cg_op *op = CG_CONTAINER_OF(link, struct cg_op, due.link);

		op->state = CG_OP_DUE;
		(void)cg_client__push_due_locked(client, &op->due);
	}
	cg_watch__end_all_locked(client);
	(void)pthread_mutex_unlock(&client->lock);
}

void callgate_client_close(struct callgate_client *client)
{
	if (client == NULL) {
		return;
	}
	CG_ASSERT(!client->in_callback);
	cancel_all(client);
	drain(client);
	give_up_waiting(client);
	(void)deliver_due(client);
	CG_ASSERT(client->in_flight_count == 0 && cg_list_is_empty(&client->watches));
	CG_ASSERT(atomic_load(&client->watch_count) == 0);
	CG_ASSERT(cg_list_is_empty(&client->sessions));
	if (client->kept != NULL) {
		cg_client__release(client->kept);
	}
	cg_client__free(client);
}
