/*
 * What load.h says, as its own files see it.
 *
 *   load_make.c   made, its wallets created and credited, destroyed
 *   load_run.c    the phases: operations begun, ended, timed
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BENCH_LOAD_INTERNAL_H
#define CG_BENCH_LOAD_INTERNAL_H

#include "load/load.h"

#include "base/base.h"
#include "client/client_internal.h"

/* One operation at a time each; in a cycle, one call. */
struct slot {
	struct load *load;
	uint64_t serial;
	uint64_t begun_ns;
	bool settles; /* the second half of a cycle */
};

struct load {
	struct load_options options;
	struct callgate_client *client;
	struct slot *slots;
	struct cg_uuid *companies;
	char run[17]; /* makes this run's call ids its own */

	/* The phase. */
	enum load_op op;
	struct load_result *result; /* NULL: untimed */
	uint64_t first_serial;
	uint64_t next_serial;
	uint64_t end_serial;
	uint64_t begin_ns;
	uint64_t end_ns;
	uint64_t part_begin_ns; /* what is being counted began here */
	double part_cpu_seconds;
	double part_cpu_of_seconds[LOAD_CPU_OF_MAX];
	uint64_t active_count; /* slots that have an operation under way */
	uint64_t failed_count; /* of untimed phases */
	struct slot **idle;    /* of a phase with a rate */
	size_t idle_count;
	uint64_t due_ns; /* likewise: when the next operation is due */
	struct cg_random random;

	struct callgate_session *session; /* NULL: every operation is a call of its own */

	/* LOAD_HEALTH: past the codec. */
	struct cg_method raw_method;
	void *raw_registered;
	grpc_slice raw_request;
};

/* On the monotonic clock. */
uint64_t load_now_ns(void);

/* The companies' wallets, created and credited, several at a time where there are slots.  False after
 * having said why on stderr. */
bool load_make_wallets(struct load *load);

/* load_ops.c: sends the slot's operation, of the phase's kind; it ends with load_ended(). */
void load_begin(struct slot *slot);
void load_ended(struct slot *slot, const struct callgate_error *error, bool denied);

/* What a LOAD_HEALTH operation calls when its answer has come; its context is the slot. */
void load_on_raw_end(struct cg_op *op);

#endif /* CG_BENCH_LOAD_INTERNAL_H */
