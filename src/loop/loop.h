/*
 * The one loop of a process, and what can be hung on it.  This room alone sees libuv.
 *
 * True of everything here, unless it says otherwise:
 *  - all calls come from the loop's thread, and all callbacks run on it;
 *  - a callback never runs before the call that asked for it has returned;
 *  - `create` takes from the heap and aborts where the heap is empty: these things are
 *    made at start and at connect, never per call;
 *  - `close` is asynchronous inside the loop, but the caller hears no more from the thing
 *    once close has returned, and must not touch it again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_LOOP_LOOP_H
#define CG_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

struct cg_loop;

struct cg_loop *cg_loop_create(void);

/* Runs until cg_loop_stop(). */
void cg_loop_run(struct cg_loop *loop);
void cg_loop_stop(struct cg_loop *loop);

/* From now on the loop never sleeps: it takes a core, and what comes waits for no wake-up. */
void cg_loop_keep_awake(struct cg_loop *loop);

/* Closes what is still open, lets it finish, and gives the loop back. */
void cg_loop_destroy(struct cg_loop *loop);

/* Monotonic, as of the beginning of this turn of the loop. */
uint64_t cg_loop_now_ms(const struct cg_loop *loop);

/* Monotonic, read now: for measuring, not for deadlines. */
uint64_t cg_loop_clock_ns(void);

/*
 * Fires once per start; starting it again moves it.  After 0 ms is the next turn: a timer
 * that is started so by a timer's callback cannot keep the loop from everything else.
 */
struct cg_timer;
struct cg_timer *cg_timer_create(struct cg_loop *loop, void (*on_fire)(void *owner), void *owner);
void cg_timer_start(struct cg_timer *timer, uint64_t after_ms);
void cg_timer_cancel(struct cg_timer *timer);
bool cg_timer_is_running(const struct cg_timer *timer);
void cg_timer_close(struct cg_timer *timer);

/* Other threads' way in.  Wakes coalesce: one callback may stand for many sends. */
struct cg_wake;
struct cg_wake *cg_wake_create(struct cg_loop *loop, void (*on_wake)(void *owner), void *owner);
void cg_wake_send(struct cg_wake *wake); /* any thread */
void cg_wake_close(struct cg_wake *wake);

/*
 * Runs at the end of every turn, before the loop sleeps: where writes are flushed.
 * Hooks run in no particular order, so one may leave work to another that has run already:
 * whoever takes work for his hook asks for it with cg_hook_request(), and the loop does not
 * sleep before the hook has run once more.  Asking again is harmless, and cheap.
 */
struct cg_hook;
struct cg_hook *cg_hook_create(struct cg_loop *loop, void (*on_turn)(void *owner), void *owner);
void cg_hook_request(struct cg_hook *hook);
void cg_hook_close(struct cg_hook *hook);

/* A descriptor that a library (libpq) reads and writes itself. */
#define CG_WATCH_READ  1u
#define CG_WATCH_WRITE 2u
struct cg_watch;
struct cg_watch *cg_watch_create(
    struct cg_loop *loop, int fd, void (*on_ready)(void *owner, unsigned events), void *owner);
void cg_watch_set(struct cg_watch *watch, unsigned events);
/* The descriptor may be closed as soon as this returns. */
void cg_watch_close(struct cg_watch *watch);

struct cg_signal;
struct cg_signal *cg_signal_create(
    struct cg_loop *loop, int number, void (*on_signal)(void *owner), void *owner);
void cg_signal_close(struct cg_signal *sig);

#endif /* CG_LOOP_LOOP_H */
