/*
 * A session as its caller has it: opened, operations submitted, finished or cancelled; and what is
 * done to all of a client's sessions.  What its stream does meanwhile: session_stream.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "client/session_internal.h"

#include <stdlib.h>

enum {
	WINDOW_MAX = 65536,
};

static void free_session(struct callgate_session *session)
{
	cg_arena_reset(&session->error_arena);
	free((void *)session->ops);
	free(session->free_tags);
	free(session);
}

/* The last callback: by now every operation's own has run. */
static void deliver_end(struct cg_due *due)
{
	struct callgate_session *session = CG_CONTAINER_OF(due, struct callgate_session, due);
	struct callgate_client *client = session->client;

	cg_list_remove(&session->link);
	client->session_count--;
	client->in_callback = true;
	session->on_end(
	    session->context, session->error.status == CALLGATE_STATUS_OK ? NULL : &session->error);
	client->in_callback = false;
	free_session(session);
}

/* Not yet begun, and known to nobody; NULL where there is no memory. */
static struct callgate_session *create(struct callgate_client *client, uint32_t window)
{
	struct callgate_session *session = calloc(1, sizeof(*session));

	if (session == NULL) {
		return NULL;
	}
	session->client = client;
	session->window = window;
	session->due.deliver = deliver_end;
	cg_arena_init(&session->error_arena);
	cg_list_init(&session->due.link);
	cg_list_init(&session->link);
	cg_list_init(&session->unsent);
	cg_list_init(&session->sent);
	session->ops = (struct cg_op **)calloc(window, sizeof(struct cg_op *));
	session->free_tags = calloc(window, sizeof(*session->free_tags));
	if (session->ops == NULL || session->free_tags == NULL) {
		free_session(session);
		return NULL;
	}
	while (session->free_tag_count < window) {
		session->free_tags[session->free_tag_count] = window - session->free_tag_count - 1;
		session->free_tag_count++;
	}
	return session;
}

enum callgate_submit callgate_session_open(struct callgate_client *client, uint32_t window,
    callgate_session_on_end on_end, void *context, struct callgate_session **ret_session)
{
	struct callgate_session *session;

	if (client->closing) {
		return CALLGATE_CLOSING;
	}
	session = window < 1 || window > WINDOW_MAX ? NULL : create(client, window);
	if (session == NULL) {
		return CALLGATE_FULL;
	}
	session->on_end = on_end;
	session->context = context;
	(void)pthread_mutex_lock(&client->lock);
	cg_list_append(&client->sessions, &session->link);
	client->session_count++;
	cg_session_stream__start_locked(session);
	(void)pthread_mutex_unlock(&client->lock);
	*ret_session = session;
	return CALLGATE_ACCEPTED;
}

void cg_session__take_out_locked(struct cg_op *op)
{
	struct callgate_session *session = op->session;

	cg_list_remove(&op->session_link);
	session->ops[op->session_place] = NULL;
	session->free_tags[session->free_tag_count++] = op->session_place;
}

/* Under the lock, so that the session cannot end in between. */
static enum callgate_submit submit_locked(struct callgate_session *session,
    const struct cg_method *method, const void *request, struct cg_op **ret_op)
{
	enum callgate_submit submitted;
	uint32_t place;
	grpc_slice packed;

	if (session->state != CG_SESSION_OPEN || session->is_cancelled) {
		return CALLGATE_CLOSING;
	}
	if (session->free_tag_count == 0) {
		return CALLGATE_FULL;
	}
	place = session->free_tags[session->free_tag_count - 1];
	if (!cg_operations__pack_framed(method->codec, request, (uint64_t)place + 1, &packed)) {
		return CALLGATE_FULL;
	}
	submitted = cg_client__submit(session->client, method, NULL, packed, ret_op);
	if (submitted != CALLGATE_ACCEPTED) {
		grpc_slice_unref(packed);
		return submitted;
	}
	session->free_tag_count--;
	session->ops[place] = *ret_op;
	(*ret_op)->session = session;
	(*ret_op)->session_place = place;
	(*ret_op)->attempts = 1;
	cg_list_append(&session->unsent, &(*ret_op)->session_link);
	return CALLGATE_ACCEPTED;
}

enum callgate_submit cg_session__submit(struct callgate_session *session,
    const struct cg_method *method, const void *request, void (*done)(void), void *context)
{
	struct callgate_client *client = session->client;
	enum callgate_submit submitted;
	struct cg_op *op;

	(void)pthread_mutex_lock(&client->lock);
	submitted = submit_locked(session, method, request, &op);
	if (submitted == CALLGATE_ACCEPTED) {
		op->done = done;
		op->context = context;
	}
	/* What a callback submits leaves with what the others do: see cg_session__flush(). */
	if (submitted == CALLGATE_ACCEPTED && !client->in_callback) {
		cg_session_stream__write_locked(session);
	}
	(void)pthread_mutex_unlock(&client->lock);
	return submitted;
}

void cg_session__flush(struct callgate_client *client)
{
	(void)pthread_mutex_lock(&client->lock);
	for (struct cg_list *link = client->sessions.next; link != &client->sessions;
	     link = link->next) {
		cg_session_stream__write_locked(
		    CG_CONTAINER_OF(link, struct callgate_session, link));
	}
	(void)pthread_mutex_unlock(&client->lock);
}

size_t callgate_session_unanswered(const struct callgate_session *session)
{
	struct callgate_client *client = session->client;
	size_t count;

	(void)pthread_mutex_lock(&client->lock);
	count = session->window - session->free_tag_count;
	(void)pthread_mutex_unlock(&client->lock);
	return count;
}

void callgate_session_finish(struct callgate_session *session)
{
	struct callgate_client *client = session->client;

	(void)pthread_mutex_lock(&client->lock);
	if (session->state == CG_SESSION_OPEN) {
		session->state = CG_SESSION_FINISHING;
		cg_session_stream__write_locked(session);
	}
	(void)pthread_mutex_unlock(&client->lock);
}

static void cancel_locked(struct callgate_session *session)
{
	session->is_cancelled = true;
	if (session->call != NULL) {
		(void)grpc_call_cancel(session->call, NULL);
	}
}

void callgate_session_close(struct callgate_session *session)
{
	struct callgate_client *client = session->client;

	(void)pthread_mutex_lock(&client->lock);
	cancel_locked(session);
	(void)pthread_mutex_unlock(&client->lock);
}

void cg_session__cancel_all_locked(struct callgate_client *client)
{
	for (struct cg_list *link = client->sessions.next; link != &client->sessions;
	     link = link->next) {
		cancel_locked(CG_CONTAINER_OF(link, struct callgate_session, link));
	}
}

/* When the oldest of its operations must have been answered; INT64_MAX: there is none. */
static int64_t ends_by_ms(const struct callgate_session *session)
{
	const struct cg_list *list =
	    cg_list_is_empty(&session->sent) ? &session->unsent : &session->sent;

	return cg_list_is_empty(list)
	    ? INT64_MAX
	    : CG_CONTAINER_OF(list->next, struct cg_op, session_link)->deadline_at_ms;
}

int64_t cg_session__poll_locked(struct callgate_client *client, int64_t now_ms)
{
	int64_t next_at_ms = INT64_MAX;

	for (struct cg_list *link = client->sessions.next; link != &client->sessions;
	     link = link->next) {
		struct callgate_session *session =
		    CG_CONTAINER_OF(link, struct callgate_session, link);
		int64_t at_ms = session->is_late ? INT64_MAX : ends_by_ms(session);

		if (at_ms <= now_ms) {
			session->is_late = true;
			cancel_locked(session);
		} else {
			next_at_ms = at_ms < next_at_ms ? at_ms : next_at_ms;
		}
	}
	return next_at_ms;
}
