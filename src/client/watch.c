/*
 * A watch as its caller has it: opened, delivered to by dispatch, closed; and what is done
 * to all of a client's watches.  What a stream does meanwhile: watch_stream.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "client/watch_internal.h"

#include <stdlib.h>

void cg_watch__free_if_done(struct callgate_watch *watch)
{
	struct callgate_client *client = watch->client;

	if (!watch->is_closed || watch->is_reading || watch->has_begun || watch->is_delivering) {
		return;
	}
	cg_arena_reset(&watch->request_arena);
	cg_arena_reset(&watch->arena);
	cg_arena_reset(&watch->error_arena);
	free(watch->next_token);
	free(watch->token);
	free(watch);
	(void)atomic_fetch_sub(&client->watch_count, 1);
}

bool cg_watch__push_due_locked(struct callgate_watch *watch)
{
	if (watch->is_due || watch->is_closed) {
		return false;
	}
	watch->is_due = true;
	return cg_client__push_due_locked(watch->client, &watch->due);
}

void cg_watch__set_error(
    struct callgate_watch *watch, enum callgate_status status, const char *message)
{
	watch->error = (struct callgate_error){
	    .status = status,
	    .message = message,
	    .detail = {.field = "", .bound = ""},
	};
}

bool cg_watch__end_locked(struct callgate_watch *watch)
{
	watch->state = CG_WATCH_ENDED;
	watch->error.attempts = (int)watch->attempts;
	return cg_watch__push_due_locked(watch);
}

/* Takes the message that is due, if one is, and lets its token count. */
static const struct callgate_watch_response *take_message_locked(struct callgate_watch *watch)
{
	const struct callgate_watch_response *message = watch->message;

	watch->message = NULL;
	if (watch->next_token != NULL) {
		free(watch->token);
		watch->token = watch->next_token;
		watch->next_token = NULL;
	}
	return message;
}

static void deliver_end(struct callgate_watch *watch)
{
	watch->client->in_callback = true;
	watch->on_end(watch->context, &watch->error);
	watch->client->in_callback = false;
}

/* An end that comes while the message is being delivered makes it due again. */
static void deliver(struct cg_due *due)
{
	struct callgate_watch *watch = CG_CONTAINER_OF(due, struct callgate_watch, due);
	struct callgate_client *client = watch->client;
	const struct callgate_watch_response *message;
	bool has_ended;

	(void)pthread_mutex_lock(&client->lock);
	watch->is_due = false;
	watch->is_delivering = true;
	message = take_message_locked(watch);
	has_ended = watch->state == CG_WATCH_ENDED;
	(void)pthread_mutex_unlock(&client->lock);
	if (message != NULL) {
		client->in_callback = true;
		watch->on_message(watch->context, message);
		client->in_callback = false;
	}
	if (has_ended && !watch->is_closed) {
		deliver_end(watch);
	}
	(void)pthread_mutex_lock(&client->lock);
	watch->is_delivering = false;
	if (has_ended && !watch->is_closed) {
		watch->is_closed = true;
		cg_list_remove(&watch->link);
	}
	cg_watch_stream__read_on_locked(watch);
	cg_watch__free_if_done(watch);
	(void)pthread_mutex_unlock(&client->lock);
}

/* A terminated copy; NULL where there is no memory. */
static const char *keep_text(struct cg_arena *arena, const char *text)
{
	size_t bytes = text == NULL ? 1 : strlen(text) + 1;
	char *copy = cg_arena_take(arena, 1, bytes);

	if (copy != NULL && text != NULL) {
		memcpy(copy, text, bytes);
	}
	return copy;
}

static bool keep_request(struct callgate_watch *watch, const struct callgate_watch_request *request)
{
	struct cg_arena *arena = &watch->request_arena;
	enum callgate_event_type *types = NULL;

	if (request->type_count > 0) {
		types = cg_arena_take(arena, request->type_count, sizeof(*types));
		if (types == NULL) {
			return false;
		}
		memcpy(types, request->types, request->type_count * sizeof(*types));
	}
	watch->request.types = types;
	watch->request.type_count = request->type_count;
	watch->request.company_id = keep_text(arena, request->company_id);
	watch->request.resume_token = keep_text(arena, request->resume_token);
	return watch->request.company_id != NULL && watch->request.resume_token != NULL;
}

/* Not yet begun, and known to nobody; NULL where there is no memory. */
static struct callgate_watch *create(
    struct callgate_client *client, const struct callgate_watch_request *request)
{
	struct callgate_watch *watch = calloc(1, sizeof(*watch));

	if (watch == NULL) {
		return NULL;
	}
	(void)atomic_fetch_add(&client->watch_count, 1);
	watch->client = client;
	watch->due.deliver = deliver;
	cg_list_init(&watch->due.link);
	cg_list_init(&watch->link);
	cg_arena_init(&watch->request_arena);
	cg_arena_init(&watch->arena);
	cg_arena_init(&watch->error_arena);
	watch->token = calloc(1, 1);
	if (watch->token == NULL || !keep_request(watch, request)) {
		watch->is_closed = true;
		cg_watch__free_if_done(watch);
		return NULL;
	}
	return watch;
}

enum callgate_submit callgate_watch_open(struct callgate_client *client,
    const struct callgate_watch_request *request, callgate_watch_on_message on_message,
    callgate_watch_on_end on_end, void *context, struct callgate_watch **ret_watch)
{
	struct callgate_watch *watch;
	bool has_begun;

	if (client->closing) {
		return CALLGATE_CLOSING;
	}
	watch = create(client, request);
	if (watch == NULL) {
		return CALLGATE_FULL;
	}
	watch->on_message = on_message;
	watch->on_end = on_end;
	watch->context = context;
	(void)pthread_mutex_lock(&client->lock);
	has_begun = cg_watch_stream__start_locked(watch);
	if (has_begun) {
		cg_list_append(&client->watches, &watch->link);
	} else {
		watch->is_closed = true;
		cg_watch__free_if_done(watch);
	}
	(void)pthread_mutex_unlock(&client->lock);
	if (!has_begun) {
		return CALLGATE_FULL;
	}
	*ret_watch = watch;
	return CALLGATE_ACCEPTED;
}

const char *callgate_watch_token(const struct callgate_watch *watch)
{
	return watch->token;
}

void callgate_watch_close(struct callgate_watch *watch)
{
	struct callgate_client *client = watch->client;

	(void)pthread_mutex_lock(&client->lock);
	watch->is_closed = true;
	cg_list_remove(&watch->link);
	cg_list_remove(&watch->due.link);
	if (watch->call != NULL) {
		(void)grpc_call_cancel(watch->call, NULL);
	}
	cg_watch__free_if_done(watch);
	(void)pthread_mutex_unlock(&client->lock);
}

int64_t cg_watch__poll_locked(struct callgate_client *client, int64_t now_ms)
{
	int64_t next_at_ms = INT64_MAX;

	for (struct cg_list *link = client->watches.next; link != &client->watches;
	     link = link->next) {
		struct callgate_watch *watch = CG_CONTAINER_OF(link, struct callgate_watch, link);
		int64_t at_ms = cg_watch_stream__poll_locked(watch, now_ms);

		next_at_ms = at_ms < next_at_ms ? at_ms : next_at_ms;
	}
	return next_at_ms;
}

void cg_watch__cancel_all_locked(struct callgate_client *client)
{
	for (struct cg_list *link = client->watches.next; link != &client->watches;
	     link = link->next) {
		struct callgate_watch *watch = CG_CONTAINER_OF(link, struct callgate_watch, link);

		if (watch->call != NULL) {
			(void)grpc_call_cancel(watch->call, NULL);
		}
	}
}

void cg_watch__end_all_locked(struct callgate_client *client)
{
	for (struct cg_list *link = client->watches.next; link != &client->watches;
	     link = link->next) {
		struct callgate_watch *watch = CG_CONTAINER_OF(link, struct callgate_watch, link);

		if (watch->state == CG_WATCH_PAUSING) {
			cg_watch__set_error(
			    watch, CALLGATE_STATUS_CANCELLED, "the client was closed");
			(void)cg_watch__end_locked(watch);
		}
	}
}
