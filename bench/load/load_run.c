/*
 * The phases of a load: operations begun, ended, timed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "load/load_internal.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum {
	WALLETS_AT_A_TIME = 16,
	WARM_UP_MS = 200, /* connections, caches, the wallets' first use */
	MILLISECOND_NS = 1000000,
	PACE_STEP_NS = 200000,
	PACE_REST_NS = 50000000,
};

static volatile sig_atomic_t part_is_wanted;

uint64_t load_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The next operation of this slot, or none where the phase is over. */
static void go_on(struct slot *slot)
{
	struct load *load = slot->load;

	if (load->result != NULL && load->options.rate > 0) {
		load->idle[load->idle_count++] = slot;
		load->active_count--;
		return;
	}
	if (load->next_serial >= load->end_serial || load_now_ns() >= load->end_ns) {
		load->active_count--;
		return;
	}
	slot->serial = load->next_serial++;
	slot->settles = false;
	slot->begun_ns = load_now_ns();
	load_begin(slot);
}

/* The first failure is told; not of what is cancelled, which may have ended by itself. */
static void note_untimed(struct load *load, const struct callgate_error *error, bool denied)
{
	if (error != NULL && load->failed_count == 0 && load->op != LOAD_CANCEL) {
		(void)fprintf(stderr, "callgate-bench: %s: %s\n",
		    callgate_status_name(error->status), error->message);
	}
	load->failed_count += error != NULL || denied;
}

void load_ended(struct slot *slot, const struct callgate_error *error, bool denied)
{
	struct load *load = slot->load;
	uint64_t end_ns = load_now_ns();

	if (load->result == NULL) {
		note_untimed(load, error, denied);
	} else {
		struct load_part *part = &load->result->parts[slot->settles ? 1 : 0];

		if (error != NULL) {
			part->errors[error->status]++;
		} else {
			part->denied += denied;
			cg_histogram_add(&part->durations, end_ns - slot->begun_ns);
		}
	}
	if (load->op == LOAD_CYCLE && !slot->settles && error == NULL && !denied) {
		slot->settles = true;
		slot->begun_ns = end_ns;
		load_begin(slot);
		return;
	}
	go_on(slot);
}

/* When the next operation is due; an arrival more moves it on. */
static uint64_t next_due_ns(const struct load *load)
{
	double steps = (double)(load->next_serial - load->first_serial);

	return load->options.poisson
	    ? load->due_ns
	    : load->begin_ns + (uint64_t)(steps * 1e9 / load->options.rate);
}

/* Of a Poisson process the pauses are exponentially distributed. */
static void draw_next(struct load *load)
{
	double share = (double)(cg_random_next(&load->random) >> 11) / 9007199254740992.0;

	load->due_ns += (uint64_t)(-log(1 - share) * 1e9 / load->options.rate);
}

/* Begins what is due by now; where all slots are busy it waits, and that shows in its duration. */
static void begin_due(struct load *load)
{
	while (load->idle_count > 0 && load->next_serial < load->end_serial) {
		uint64_t due_ns = next_due_ns(load);
		struct slot *slot;

		if (due_ns > load_now_ns() || due_ns >= load->end_ns) {
			return;
		}
		slot = load->idle[--load->idle_count];
		load->active_count++;
		slot->serial = load->next_serial++;
		slot->settles = false;
		slot->begun_ns = due_ns;
		draw_next(load);
		load_begin(slot);
	}
}

/* Until an answer comes or the next operation is due; in small steps where that is soon. */
static void wait_paced(struct load *load)
{
	uint64_t due_ns = next_due_ns(load);
	uint64_t begin_ns = load_now_ns();
	uint64_t left_ns = due_ns > begin_ns ? due_ns - begin_ns : 0;
	uint64_t step_ns = load->active_count > 0 ? PACE_STEP_NS : PACE_REST_NS;

	if (load->active_count > 0 && (left_ns >= MILLISECOND_NS || load->idle_count == 0)) {
		(void)callgate_client_wait(load->client, (int)(left_ns / MILLISECOND_NS) + 1);
	} else if (callgate_client_dispatch(load->client) == 0) {
		struct timespec pause = {0, (long)(left_ns < step_ns ? left_ns : step_ns)};

		(void)nanosleep(&pause, NULL);
	}
}

static double cpu_seconds(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
	    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Of all its threads; 0 for a process that is not there. */
static double cpu_seconds_of(uint32_t pid)
{
	struct timespec used = {0, 0};
	clockid_t clock;

	if (clock_getcpuclockid((pid_t)pid, &clock) == 0) {
		(void)clock_gettime(clock, &used);
	}
	return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static void on_part_signal(int number)
{
	(void)number;
	part_is_wanted = 1;
}

static void begin_part(struct load *load)
{
	load->part_begin_ns = load_now_ns();
	load->part_cpu_seconds = cpu_seconds();
	for (unsigned i = 0; i < load->options.cpu_of_count; i++) {
		load->part_cpu_of_seconds[i] = cpu_seconds_of(load->options.cpu_of[i]);
	}
}

static void end_part(struct load *load)
{
	load->result->seconds = (double)(load_now_ns() - load->part_begin_ns) / 1e9;
	load->result->cpu_seconds = cpu_seconds() - load->part_cpu_seconds;
	for (unsigned i = 0; i < load->options.cpu_of_count; i++) {
		load->result->cpu_of_seconds[i] =
		    cpu_seconds_of(load->options.cpu_of[i]) - load->part_cpu_of_seconds[i];
	}
}

/* An operation counts in the part in which it ends. */
static void print_part(struct load *load)
{
	part_is_wanted = 0;
	end_part(load);
	load_print(stdout, &load->options, load->result);
	(void)fflush(stdout);
	for (unsigned i = 0; i < load->result->part_count; i++) {
		load->result->parts[i] = (struct load_part){.name = load->result->parts[i].name};
	}
	begin_part(load);
}

static void run_paced(struct load *load)
{
	load->idle_count = 0;
	load->due_ns = load->begin_ns;
	draw_next(load);
	for (uint32_t i = 0; i < load->options.in_flight; i++) {
		load->idle[load->idle_count++] = &load->slots[i];
	}
	while (load->next_serial < load->end_serial && load_now_ns() < load->end_ns) {
		begin_due(load);
		wait_paced(load);
		if (part_is_wanted) {
			print_part(load);
		}
	}
	while (load->active_count > 0) {
		(void)callgate_client_wait(load->client, -1);
	}
}

/* More wallets at a time are made no faster, and may take longer than an operation may. */
static uint32_t slots_of(const struct load *load, enum load_op op)
{
	bool makes = op == LOAD_CREATE || op == LOAD_CREDIT;

	return makes && load->options.in_flight > WALLETS_AT_A_TIME ? WALLETS_AT_A_TIME
	                                                            : load->options.in_flight;
}

/* Serials [first, end) or, where `end_ns` comes before, those that were begun by then. */
static void run_phase(
    struct load *load, enum load_op op, uint64_t first, uint64_t end, uint64_t end_ns)
{
	load->op = op;
	load->first_serial = first;
	load->next_serial = first;
	load->end_serial = end;
	load->begin_ns = load_now_ns();
	load->end_ns = end_ns;
	load->active_count = 0;
	load->failed_count = 0;
	if (load->result != NULL && load->options.rate > 0) {
		run_paced(load);
		return;
	}
	for (uint32_t i = 0; i < slots_of(load, op); i++) {
		load->active_count++;
		go_on(&load->slots[i]);
	}
	while (load->active_count > 0) {
		(void)callgate_client_wait(load->client, -1);
	}
}

static bool untimed_went_well(const struct load *load, const char *what)
{
	if (load->failed_count > 0) {
		(void)fprintf(
		    stderr, "callgate-bench: %s: %" PRIu64 " failed\n", what, load->failed_count);
	}
	return load->failed_count == 0;
}

bool load_make_wallets(struct load *load)
{
	load->result = NULL;
	for (enum load_op op = LOAD_CREATE; op <= LOAD_CREDIT; op++) {
		run_phase(load, op, 0, load->options.companies, UINT64_MAX);
		if (!untimed_went_well(load, op == LOAD_CREATE ? "create wallet" : "credit")) {
			return false;
		}
	}
	return true;
}

static void name_parts(const struct load *load, struct load_result *result)
{
	result->part_count = 1;
	result->parts[0].name = load_op_names[load->options.op];
	if (load->options.op == LOAD_CYCLE) {
		result->part_count = 2;
		result->parts[0].name = load_op_names[LOAD_AUTHORIZE];
		result->parts[1].name = load_op_names[LOAD_SETTLE];
	}
}

/*
 * Serials below `first` are the warm-up's.  Calls that are left over are cancelled: holds
 * of a bench are not to be found by the next one.
 */
bool load_run(struct load *load, struct load_result *ret_result)
{
	enum load_op op = load->options.op;
	uint64_t count = load->options.count > 0 ? load->options.count : UINT64_MAX / 2;
	uint64_t warm_ns = load_now_ns() + (uint64_t)WARM_UP_MS * 1000000;
	bool settles = op == LOAD_SETTLE && !load->options.bare;
	uint64_t first;

	memset(ret_result, 0, sizeof(*ret_result));
	name_parts(load, ret_result);
	if (load->options.parts) {
		const struct sigaction part = {.sa_handler = on_part_signal};

		CG_ASSERT(sigaction(SIGUSR1, &part, NULL) == 0);
	}
	load->result = NULL;
	run_phase(load, settles ? LOAD_AUTHORIZE : op, 0, UINT64_MAX / 2, warm_ns);
	if (!untimed_went_well(load, "warm-up")) {
		return false;
	}
	first = load->next_serial;
	ret_result->warm_up_count = first;
	if (settles) {
		run_phase(load, LOAD_AUTHORIZE, first, first + count, UINT64_MAX);
		if (!untimed_went_well(load, "authorizing ahead")) {
			return false;
		}
	}

	load->result = ret_result;
	begin_part(load);
	run_phase(load, op, first, first + count,
	    load->part_begin_ns + (uint64_t)(load->options.seconds * 1e9));
	end_part(load);
	load->result = NULL;
	if (load->options.bare || load->options.keep) {
		return true;
	}
	if (settles) {
		run_phase(load, LOAD_CANCEL, load->next_serial, first + count, UINT64_MAX);
		run_phase(load, LOAD_CANCEL, 0, first, UINT64_MAX);
	} else if (op == LOAD_AUTHORIZE) {
		run_phase(load, LOAD_CANCEL, 0, load->next_serial, UINT64_MAX);
	}
	return true;
}
