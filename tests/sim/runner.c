/* SPDX-License-Identifier: Apache-2.0 */
#include "runner.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"

#define JOBS_MAX     16
#define SEED_SECONDS 60 /* one that takes longer goes in circles */

/* A worker says which seed it begins, and what came of it. */
struct word {
	uint64_t seed;
	bool is_over;
	struct world_end end;
};

struct worker {
	pid_t pid;
	int words;   /* to be read */
	int orders;  /* to be written: seeds, one at a time */
	uint64_t at; /* the seed it has; 0: none */
};

static struct worker workers[JOBS_MAX];

static void work(int orders, int words, const struct runner *r)
{
	uint64_t seed = 0;

	if (r->is_silent) {
		int nowhere = open("/dev/null", O_WRONLY);
		(void)dup2(nowhere, 2);
	}
	while (read(orders, &seed, sizeof seed) == (ssize_t)sizeof seed) {
		(void)alarm(SEED_SECONDS);
		struct word word = {
		    .seed = seed, .is_over = true, .end = world_run(seed, r->profile, false)};
		if (write(words, &word, sizeof word) != (ssize_t)sizeof word) {
			break;
		}
	}
	exit(0);
}

static void begin_worker(struct worker *worker, const struct runner *r)
{
	int orders[2], words[2];

	(void)fflush(stdout); /* else the child prints it again */
	CG_ASSERT(pipe(orders) == 0 && pipe(words) == 0);
	worker->pid = fork();
	CG_ASSERT(worker->pid >= 0);
	if (worker->pid == 0) {
		for (uint32_t i = 0; i < JOBS_MAX; i++) {
			if (workers[i].orders != 0 && &workers[i] != worker) {
				(void)close(workers[i].orders);
			}
		}
		(void)close(orders[1]);
		(void)close(words[0]);
		work(orders[0], words[1], r);
	}
	(void)close(orders[0]);
	(void)close(words[1]);
	worker->orders = orders[1];
	worker->words = words[0];
	worker->at = 0;
}

static void end_worker(struct worker *worker)
{
	(void)close(worker->orders);
	(void)close(worker->words);
	(void)waitpid(worker->pid, NULL, 0);
	*worker = (struct worker){0};
}

static void note_failure(struct runner *r, uint64_t seed)
{
	uint64_t at = r->failed_kept < 8 ? r->failed_kept++ : 7;

	r->failed++;
	if (r->failed_kept == 8 && r->failed > 8 && r->failed_seeds[7] < seed) {
		return;
	}
	for (; at > 0 && r->failed_seeds[at - 1] > seed; at--) {
		r->failed_seeds[at] = r->failed_seeds[at - 1];
	}
	r->failed_seeds[at] = seed;
}

static void note_end(struct runner *r, const struct word *word)
{
	r->ran++;
	r->sum.violations += word->end.violations;
	r->sum.events += word->end.events;
	r->sum.answers += word->end.answers;
	r->sum.virtual_ms += word->end.virtual_ms;
	if (word->end.violations > 0) {
		note_failure(r, word->seed);
	}
}

/* The next seed for this one, or none. */
static void give_order(struct runner *r, struct worker *worker, uint64_t *next)
{
	bool is_enough = r->enough > 0 && r->failed >= r->enough;

	worker->at = 0;
	if (*next < r->count && !is_enough) {
		worker->at = r->seeds != NULL ? r->seeds[*next] : r->from + *next;
		(*next)++;
		CG_ASSERT(write(worker->orders, &worker->at, sizeof worker->at) ==
		    (ssize_t)sizeof worker->at);
	}
}

static void hear(struct runner *r, struct worker *worker, uint64_t *next)
{
	struct word word;

	if (read(worker->words, &word, sizeof word) == (ssize_t)sizeof word) {
		note_end(r, &word);
	} else {
		/* It died of its seed: an assertion, or the alarm. */
		r->ran++;
		note_failure(r, worker->at);
		end_worker(worker);
		begin_worker(worker, r);
	}
	give_order(r, worker, next);
}

static double seconds_now(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool are_busy(uint32_t jobs)
{
	for (uint32_t i = 0; i < jobs; i++) {
		if (workers[i].at != 0) {
			return true;
		}
	}
	return false;
}

/* One for each core. */
static uint32_t jobs_of(const struct runner *r)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t jobs = cores < 1 ? 1 : cores > JOBS_MAX ? JOBS_MAX : (uint64_t)cores;

	return (uint32_t)(jobs < r->count ? jobs : r->count);
}

void runner_run(struct runner *r)
{
	double began = seconds_now();
	uint32_t jobs = jobs_of(r);
	uint64_t next = 0;

	for (uint32_t i = 0; i < jobs; i++) {
		begin_worker(&workers[i], r);
		give_order(r, &workers[i], &next);
	}
	while (are_busy(jobs)) {
		struct pollfd fds[JOBS_MAX];
		for (uint32_t i = 0; i < jobs; i++) {
			fds[i] = (struct pollfd){
			    .fd = workers[i].at != 0 ? workers[i].words : -1, .events = POLLIN};
		}
		(void)poll(fds, jobs, -1);
		for (uint32_t i = 0; i < jobs; i++) {
			if (fds[i].fd >= 0 && fds[i].revents != 0) {
				hear(r, &workers[i], &next);
			}
		}
	}
	for (uint32_t i = 0; i < jobs; i++) {
		end_worker(&workers[i]);
	}
	r->seconds = seconds_now() - began;
}
