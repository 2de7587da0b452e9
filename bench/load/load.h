/*
 * callgate-bench: a load generator on libcallgate, polling inline, so that no answer is
 * handed between threads and what is measured is the server.
 *
 * It runs one phase after the other; in a phase each of `in_flight` slots does one
 * operation after the other (closed loop), or begins them at fixed times or at random ones
 * (--rate, --poisson: a duration then counts from when the operation was due, not from when it was
 * sent).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BENCH_LOAD_H
#define CG_BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <callgate/client.h>

#include "histogram.h"

enum load_op {
	LOAD_AUTHORIZE, /* a new call each; cancelled afterwards, untimed */
	LOAD_SETTLE,    /* of calls authorized before, untimed */
	LOAD_CANCEL,
	LOAD_CYCLE,   /* authorize with start, then settle: each timed */
	LOAD_BALANCE, /* GetBalance: what reading costs */
	LOAD_HEALTH,  /* grpc.health.v1: a call that touches no store */
	LOAD_OP_COUNT,
	LOAD_CREATE = LOAD_OP_COUNT, /* a wallet; nobody asks for these two */
	LOAD_CREDIT,
};

extern const char *const load_op_names[LOAD_OP_COUNT];

#define LOAD_CPU_OF_MAX 4

struct load_options {
	const char *address;
	const char *token;
	const char *plan;
	enum load_op op;
	uint32_t in_flight;
	uint32_t companies;
	double seconds;
	uint64_t count; /* 0: until `seconds` have passed */
	double rate;    /* operations begun per second; 0: closed loop */
	uint32_t deadline_ms;
	uint32_t cpu_of[LOAD_CPU_OF_MAX]; /* processes whose CPU time is measured as well */
	unsigned cpu_of_count;
	bool session;   /* on one stream */
	bool poisson;   /* with a rate: arrivals at random, so many a second on average */
	bool committed; /* settles are answered once they are in the ledger */
	bool keep;      /* authorized calls start, and stay */
	bool bare;      /* against bare_server: there are no wallets to make */
	bool json;
	bool parts; /* SIGUSR1 prints the result so far and begins a new one */
};

/* What became of one kind of operation. */
struct load_part {
	const char *name;
	struct cg_histogram durations; /* of those that ended OK */
	uint64_t errors[CALLGATE_STATUS_UNAUTHENTICATED + 1];
	uint64_t denied; /* OK, but not ALLOWED */
};

struct load_result {
	struct load_part parts[2]; /* of LOAD_CYCLE: authorize, settle; else only the first */
	unsigned part_count;
	uint64_t warm_up_count; /* operations, of a cycle calls, that ended before */
	double seconds;
	double cpu_seconds; /* this program's */
	double cpu_of_seconds[LOAD_CPU_OF_MAX];
};

struct load;

/* NULL after having said why on stderr. */
struct load *load_create(const struct load_options *options);
void load_destroy(struct load *load);

/* Creates the wallets and credits them.  False after having said why on stderr. */
bool load_prepare(struct load *load);

/* The timed phase, and the untimed ones before and after it. */
bool load_run(struct load *load, struct load_result *ret_result);

void load_print(FILE *to, const struct load_options *options, const struct load_result *result);

#endif /* CG_BENCH_LOAD_H */
