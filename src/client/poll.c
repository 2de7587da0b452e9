/*
 * Waiting for gRPC's completions: the poller's thread, or the caller's own where the
 * client polls inline.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "client/client_internal.h"

#include <grpc/support/time.h>

/* The first operation whose backoff is over by `now_ms`, taken out; else NULL. */
static struct cg_op *take_ripe(struct callgate_client *client, int64_t now_ms)
{
	struct cg_op *op;

	if (cg_list_is_empty(&client->waiting)) {
		return NULL;
	}
	op = CG_CONTAINER_OF(client->waiting.next, struct cg_op, due.link);
	if (op->retry_at_ms > now_ms) {
		return NULL;
	}
	cg_list_remove(&op->due.link);
	return op;
}

/* Under the lock; how long until the next one is ripe, -1 where none waits. */
static int64_t start_ripe_locked(struct callgate_client *client)
{
	int64_t now_ms = cg_client__now_ms();
	int64_t next_at_ms;
	struct cg_op *op;

	if (client->closing) {
		return -1;
	}
	while ((op = take_ripe(client, now_ms)) != NULL) {
		cg_call__start(op);
	}
	next_at_ms = cg_watch__poll_locked(client, now_ms);
	int64_t session_at_ms = cg_session__poll_locked(client, now_ms);
	next_at_ms = session_at_ms < next_at_ms ? session_at_ms : next_at_ms;
	if (!cg_list_is_empty(&client->waiting)) {
		op = CG_CONTAINER_OF(client->waiting.next, struct cg_op, due.link);
		next_at_ms = op->retry_at_ms < next_at_ms ? op->retry_at_ms : next_at_ms;
	}
	return next_at_ms == INT64_MAX ? -1 : next_at_ms - now_ms;
}

gpr_timespec cg_poll__retry(struct callgate_client *client, gpr_timespec latest)
{
	gpr_timespec next;
	int64_t pause_ms;

	/* Only this thread fills the list, so that finding it empty needs no lock. */
	if (cg_list_is_empty(&client->waiting) && atomic_load(&client->watch_count) == 0 &&
	    atomic_load(&client->session_count) == 0) {
		return latest;
	}
	(void)pthread_mutex_lock(&client->lock);
	pause_ms = start_ripe_locked(client);
	(void)pthread_mutex_unlock(&client->lock);
	if (pause_ms < 0) {
		return latest;
	}
	next = gpr_time_add(
	    gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(pause_ms, GPR_TIMESPAN));
	return gpr_time_cmp(next, latest) < 0 ? next : latest;
}

/*
 * Nobody wakes this thread when a watch is opened or reads on.  It need not be: it looks
 * around at least once per silence that a watch may keep, so that it is there before any
 * that began meanwhile is over.
 */
static gpr_timespec next_look(const struct callgate_client *client)
{
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
	    gpr_time_from_millis(client->options.watch_silence_ms, GPR_TIMESPAN));
}

void cg_poll__complete(struct cg_tag *tag)
{
	CG_TAKE_OVER(tag);
	tag->completed(tag);
}

void *cg_poll__run(void *argument)
{
	struct callgate_client *client = argument;
	gpr_timespec look = next_look(client);

	for (;;) {
		gpr_timespec until = cg_poll__retry(client, look);
		grpc_event event = grpc_completion_queue_next(client->queue, until, NULL);

		if (event.type == GRPC_QUEUE_SHUTDOWN) {
			return NULL;
		}
		if (event.type == GRPC_OP_COMPLETE) {
			cg_poll__complete(event.tag);
		} else {
			look = next_look(client);
		}
	}
}
