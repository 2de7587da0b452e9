/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/bridge.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include <grpc/support/time.h>

#include "rpc/poller.h"

/*
 * An answer is nearly always finished when the call that sent it returns.  One that is not
 * (its peer does not read, or the polling thread holds the connection) is looked for again
 * after this long, then half as often each time: it keeps a slot, not a caller.
 */
#define LOOK_AGAIN_MS     2
#define LOOK_AGAIN_MAX_MS 64

/*
 * What another thread of gRPC reports while the loop sleeps wakes nobody: its timers, or a
 * connection that two threads wanted at once.  Rare; looked for this often.  Where a thread waits
 * for gRPC, the tick only begins a turn, in which the server looks at what has waited too long.
 */
#define TICK_MS 10

/* The number of connections changes slowly; it is counted every so many ticks. */
#define TICKS_PER_COUNT 100

/* As many events gRPC takes from epoll at once. */
#define EVENTS_MAX 100

/*
 * Reported at once, before everything else has its turn: a watch that catches up sends its
 * next message as soon as one has left, for as long as there are any.
 */
#define REPLIES_PER_TURN 128

/*
 * Likewise of what arrives: whoever sends faster than it is answered would else have the loop for
 * himself, and nobody's answer from the store would ever be read.
 */
#define ARRIVALS_PER_TURN 32

struct event {
	struct cg_rpc_op *op;
	bool ok;
};

struct cg_rpc_bridge {
	grpc_completion_queue *arrivals;
	grpc_completion_queue *replies;
	pthread_t thread;
	bool has_thread;

	struct cg_timer *tick;

	/* Waiting in the loop. */
	struct cg_watch *watch; /* NULL: in a thread */
	int epoll_fd;
	uint32_t ticks;
	uint32_t looks;        /* in vain, since something arrived */
	uint32_t looks_needed; /* until certainly nothing is left */

	pthread_mutex_t lock; /* of the three below */
	struct event *arrived;
	uint32_t arrived_count;
	bool thread_ended;

	struct event *handling; /* the loop thread's half */
	uint32_t capacity;
	uint32_t replies_count; /* under way */
	bool replies_are_due;   /* one of them may have finished: look at the end of the turn */
	uint64_t look_again_ms;

	struct cg_loop *loop;
	struct cg_wake *wake;
	struct cg_hook *hook;
	struct cg_timer *look_again;
	void (*on_turn)(void *owner);
	void (*on_stopped)(void *owner);
	void *owner;
};

static void must(int error)
{
	CG_ASSERT(error == 0);
}

/* Notes an event (NULL: the end) down; whether the loop has to be woken for it. */
static bool note(struct cg_rpc_bridge *bridge, const struct event *event)
{
	must(pthread_mutex_lock(&bridge->lock));
	bool was_empty = bridge->arrived_count == 0;
	if (event != NULL) {
		CG_ASSERT(bridge->arrived_count < bridge->capacity);
		bridge->arrived[bridge->arrived_count++] = *event;
	} else {
		bridge->thread_ended = true;
	}
	must(pthread_mutex_unlock(&bridge->lock));
	return was_empty;
}

/*
 * gRPC core sleeps in grpc_completion_queue_next() and the loop in its own poll; neither
 * can wait on behalf of the other.  So this thread waits for gRPC and notes down what
 * arrived, and never looks inside: calls are touched on the loop thread alone.  Only the
 * first event of a batch wakes the loop.
 */
static void *wait_for_grpc(void *owner)
{
	struct cg_rpc_bridge *bridge = owner;

	for (;;) {
		grpc_event event = grpc_completion_queue_next(
		    bridge->arrivals, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
		if (event.type == GRPC_QUEUE_SHUTDOWN) {
			break; /* Only now is the queue empty, and safe to destroy. */
		}
		if (note(bridge, &(struct event){event.tag, event.success != 0})) {
			cg_wake_send(bridge->wake);
		}
	}
	(void)note(bridge, NULL);
	cg_wake_send(bridge->wake);
	return NULL;
}

/* Reports the answers that have finished; where there are many, the rest in the next turn. */
static void take_replies(struct cg_rpc_bridge *bridge)
{
	for (uint32_t taken = 0; bridge->replies_count > 0; taken++) {
		if (taken == REPLIES_PER_TURN) {
			bridge->replies_are_due = true;
			cg_hook_request(bridge->hook);
			break;
		}
		grpc_event event = grpc_completion_queue_next(
		    bridge->replies, gpr_inf_past(GPR_CLOCK_REALTIME), NULL);
		if (event.type != GRPC_OP_COMPLETE) {
			break;
		}
		struct cg_rpc_op *op = event.tag;
		bridge->replies_count--;
		bridge->look_again_ms = LOOK_AGAIN_MS;
		op->done(op, event.success != 0);
	}
}

/*
 * Reports what has arrived.  grpc_completion_queue_next() handles one of the events that it
 * took from epoll per call, and says nothing of those it has left: after a look in vain
 * there may be as many more as there are connections, and epoll would not tell again.  So
 * the loop looks that often before it sleeps, once per turn: what did arrive goes first.
 * Events that come in a batch with the very last look may still be missed; the tick finds
 * them.
 */
static void take_arrivals(struct cg_rpc_bridge *bridge)
{
	for (uint32_t taken = 0;; taken++) {
		if (taken == ARRIVALS_PER_TURN) {
			cg_hook_request(bridge->hook); /* The rest in the next turn. */
			return;
		}
		grpc_event event = grpc_completion_queue_next(
		    bridge->arrivals, gpr_inf_past(GPR_CLOCK_REALTIME), NULL);
		if (event.type != GRPC_OP_COMPLETE) {
			break;
		}
		struct cg_rpc_op *op = event.tag;
		bridge->looks = 0;
		op->done(op, event.success != 0);
	}
	bridge->looks++;
	if (bridge->looks < bridge->looks_needed) {
		cg_hook_request(bridge->hook);
	}
}

static void on_ready(void *owner, unsigned events)
{
	struct cg_rpc_bridge *bridge = owner;

	(void)events;
	bridge->looks = 0;
	bridge->replies_are_due = true;
	take_arrivals(bridge);
}

static void count_connections(struct cg_rpc_bridge *bridge)
{
	int count = cg_rpc_poller_count(bridge->epoll_fd);

	bridge->looks_needed = count < 0 || count > EVENTS_MAX ? EVENTS_MAX : (uint32_t)count;
	bridge->looks_needed++;
}

static void on_tick(void *owner)
{
	struct cg_rpc_bridge *bridge = owner;

	cg_timer_start(bridge->tick, TICK_MS);
	if (bridge->watch == NULL) {
		return;
	}
	if (++bridge->ticks % TICKS_PER_COUNT == 0) {
		count_connections(bridge);
	}
	bridge->looks = 0;
	bridge->replies_are_due = true;
	take_arrivals(bridge);
}

static void on_hook(void *owner)
{
	struct cg_rpc_bridge *bridge = owner;

	if (bridge->watch != NULL && bridge->looks < bridge->looks_needed) {
		take_arrivals(bridge);
		/* What these looks have read may have ended a call that somebody watches. */
		bridge->replies_are_due |= bridge->looks >= bridge->looks_needed;
	}
	/* Not in every turn: a watch waits for its end for days, and a look in vain costs 20 us. */
	if (bridge->replies_are_due) {
		bridge->replies_are_due = false;
		take_replies(bridge);
	}
	if (bridge->replies_count > 0 && !cg_timer_is_running(bridge->look_again)) {
		cg_timer_start(bridge->look_again, bridge->look_again_ms);
	}
	bridge->on_turn(bridge->owner);
}

static void on_look_again(void *owner)
{
	struct cg_rpc_bridge *bridge = owner;

	/* The turn that this begins looks. */
	bridge->replies_are_due = true;
	bridge->look_again_ms *= 2;
	if (bridge->look_again_ms > LOOK_AGAIN_MAX_MS) {
		bridge->look_again_ms = LOOK_AGAIN_MAX_MS;
	}
}

static void finish(struct cg_rpc_bridge *bridge)
{
	void (*on_stopped)(void *) = bridge->on_stopped;
	void *stopped_owner = bridge->owner;

	if (bridge->has_thread) {
		must(pthread_join(bridge->thread, NULL));
	}
	if (bridge->watch != NULL) {
		cg_watch_close(bridge->watch);
	}
	cg_timer_close(bridge->tick);
	grpc_completion_queue_destroy(bridge->arrivals);
	grpc_completion_queue_destroy(bridge->replies);
	cg_wake_close(bridge->wake);
	cg_hook_close(bridge->hook);
	cg_timer_close(bridge->look_again);
	must(pthread_mutex_destroy(&bridge->lock));
	free(bridge->arrived);
	free(bridge->handling);
	free(bridge);
	on_stopped(stopped_owner);
}

static void on_wake(void *owner)
{
	struct cg_rpc_bridge *bridge = owner;

	must(pthread_mutex_lock(&bridge->lock));
	struct event *batch = bridge->arrived;
	uint32_t count = bridge->arrived_count;
	bool ended = bridge->thread_ended;
	bridge->arrived = bridge->handling;
	bridge->arrived_count = 0;
	must(pthread_mutex_unlock(&bridge->lock));
	bridge->handling = batch;
	bridge->replies_are_due = true;

	for (uint32_t i = 0; i < count; i++) {
		batch[i].op->done(batch[i].op, batch[i].ok);
	}
	if (ended) {
		finish(bridge);
	}
}

static void start_thread(struct cg_rpc_bridge *bridge)
{
	sigset_t all;
	sigset_t before;

	/* Signals are the loop's. */
	must(sigfillset(&all));
	must(pthread_sigmask(SIG_SETMASK, &all, &before));
	must(pthread_create(&bridge->thread, NULL, wait_for_grpc, bridge));
	bridge->has_thread = true;
	must(pthread_sigmask(SIG_SETMASK, &before, NULL));
}

struct cg_rpc_bridge *cg_rpc_bridge_open(
    struct cg_loop *loop, uint32_t arrivals_max, void (*on_turn)(void *owner), void *owner)
{
	struct cg_rpc_bridge *bridge = calloc(1, sizeof *bridge);

	CG_ASSERT(bridge != NULL);
	bridge->capacity = arrivals_max;
	bridge->arrived = calloc(arrivals_max, sizeof bridge->arrived[0]);
	bridge->handling = calloc(arrivals_max, sizeof bridge->handling[0]);
	CG_ASSERT(bridge->arrived != NULL && bridge->handling != NULL);
	must(pthread_mutex_init(&bridge->lock, NULL));
	bridge->look_again_ms = LOOK_AGAIN_MS;
	bridge->on_turn = on_turn;
	bridge->owner = owner;
	bridge->arrivals = grpc_completion_queue_create_for_next(NULL);
	bridge->replies = grpc_completion_queue_create(
	    grpc_completion_queue_factory_lookup(&(grpc_completion_queue_attributes){
	        .version = 1,
	        .cq_completion_type = GRPC_CQ_NEXT,
	        .cq_polling_type = GRPC_CQ_NON_POLLING,
	    }),
	    &(grpc_completion_queue_attributes){
	        .version = 1,
	        .cq_completion_type = GRPC_CQ_NEXT,
	        .cq_polling_type = GRPC_CQ_NON_POLLING,
	    },
	    NULL);
	bridge->wake = cg_wake_create(loop, on_wake, bridge);
	bridge->hook = cg_hook_create(loop, on_hook, bridge);
	bridge->look_again = cg_timer_create(loop, on_look_again, bridge);
	bridge->tick = cg_timer_create(loop, on_tick, bridge);
	bridge->loop = loop;
	return bridge;
}

bool cg_rpc_bridge_start(struct cg_rpc_bridge *bridge, int polled_fd)
{
	bridge->epoll_fd = polled_fd < 0 ? -1 : cg_rpc_poller_find(polled_fd);
	cg_timer_start(bridge->tick, TICK_MS);
	if (bridge->epoll_fd < 0) {
		start_thread(bridge);
		return false;
	}
	count_connections(bridge);
	bridge->watch = cg_watch_create(bridge->loop, bridge->epoll_fd, on_ready, bridge);
	cg_watch_set(bridge->watch, CG_WATCH_READ);
	return true;
}

void cg_rpc_bridge_connected(struct cg_rpc_bridge *bridge)
{
	if (bridge->looks_needed <= EVENTS_MAX) {
		bridge->looks_needed++;
	}
}

grpc_completion_queue *cg_rpc_bridge_arrivals(struct cg_rpc_bridge *bridge)
{
	return bridge->arrivals;
}

grpc_completion_queue *cg_rpc_bridge_replies(struct cg_rpc_bridge *bridge)
{
	return bridge->replies;
}

grpc_completion_queue *cg_rpc_bridge_streams(struct cg_rpc_bridge *bridge)
{
	CG_ASSERT(bridge->has_thread || bridge->watch != NULL);
	return bridge->has_thread ? bridge->arrivals : bridge->replies;
}

void cg_rpc_bridge_expect_stream(struct cg_rpc_bridge *bridge)
{
	if (!bridge->has_thread) {
		cg_rpc_bridge_expect(bridge);
	}
}

void cg_rpc_bridge_wake(struct cg_rpc_bridge *bridge)
{
	cg_hook_request(bridge->hook);
}

void cg_rpc_bridge_expect(struct cg_rpc_bridge *bridge)
{
	/*
	 * It is looked for at the end of this turn, and where this is the end of the turn and
	 * our hook is through, in one more: nothing else would ever wake us for it.
	 */
	bridge->replies_count++;
	bridge->replies_are_due = true;
	cg_hook_request(bridge->hook);
}

void cg_rpc_bridge_stop(struct cg_rpc_bridge *bridge, void (*on_stopped)(void *owner))
{
	CG_ASSERT(bridge->replies_count == 0);
	bridge->on_stopped = on_stopped;
	grpc_completion_queue_shutdown(bridge->replies);
	grpc_event event =
	    grpc_completion_queue_next(bridge->replies, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
	CG_ASSERT(event.type == GRPC_QUEUE_SHUTDOWN);
	grpc_completion_queue_shutdown(bridge->arrivals);
	if (!bridge->has_thread) {
		event = grpc_completion_queue_next(
		    bridge->arrivals, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
		CG_ASSERT(event.type == GRPC_QUEUE_SHUTDOWN);
		(void)note(bridge, NULL);
		cg_wake_send(bridge->wake);
	}
}
