/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/shutdown.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include <grpc/grpc.h>

#include "base/base.h"

/*
 * grpc_shutdown() joins gRPC's threads, and one of them may sleep for 10 s: a write that finds
 * its socket full makes gRPC poll in a thread of its own, 10 s at a time, and it looks only
 * between two of these whether anybody still wants it.  What ends the last such write need not
 * wake it.  No deadline can be given, so the waiting is done elsewhere.
 */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_over;
} ending = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void must(int error)
{
	CG_ASSERT(error == 0);
}

static void *shut_down(void *owner)
{
	(void)owner;
	grpc_shutdown();
	must(pthread_mutex_lock(&ending.lock));
	ending.is_over = true;
	must(pthread_cond_signal(&ending.changed));
	must(pthread_mutex_unlock(&ending.lock));
	return NULL;
}

static struct timespec in_ms(uint32_t wait_ms)
{
	struct timespec at;

	must(clock_gettime(CLOCK_MONOTONIC, &at));
	at.tv_sec += wait_ms / 1000;
	at.tv_nsec += (long)(wait_ms % 1000) * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

/* As the loop's clock: one that nobody sets. */
static void init_changed(void)
{
	pthread_condattr_t attributes;

	must(pthread_condattr_init(&attributes));
	must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
	must(pthread_cond_init(&ending.changed, &attributes));
	must(pthread_condattr_destroy(&attributes));
}

bool cg_rpc_shutdown(uint32_t wait_ms)
{
	struct timespec until = in_ms(wait_ms);
	pthread_t thread;
	int error = 0;

	if (grpc_is_initialized() == 0) {
		return true;
	}
	init_changed();
	must(pthread_create(&thread, NULL, shut_down, NULL));
	must(pthread_mutex_lock(&ending.lock));
	while (!ending.is_over && error == 0) {
		error = pthread_cond_timedwait(&ending.changed, &ending.lock, &until);
		CG_ASSERT(error == 0 || error == ETIMEDOUT);
	}
	bool is_over = ending.is_over;
	must(pthread_mutex_unlock(&ending.lock));
	if (is_over) {
		must(pthread_join(thread, NULL));
	}
	return is_over;
}
