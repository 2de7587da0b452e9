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
	WARM_UP_MS = 200, /* connections, caches, the wallets' first use */
	SETTLED_MS = 61001,
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

static void begin(struct slot *slot);

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
	begin(slot);
}

static void ended(struct slot *slot, const struct callgate_error *error, bool denied)
{
	struct load *load = slot->load;
	uint64_t end_ns = load_now_ns();

	if (load->result == NULL) {
		load->failed_count += error != NULL || denied;
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
		begin(slot);
		return;
	}
	go_on(slot);
}

static void on_authorized(void *context, const struct callgate_error *error,
    const struct callgate_authorize_response *response)
{
	ended(context, error, response != NULL && response->decision != CALLGATE_DECISION_ALLOWED);
}

static void on_settled(void *context, const struct callgate_error *error,
    const struct callgate_settle_response *response)
{
	(void)response;
	ended(context, error, false);
}

static void on_cancelled(void *context, const struct callgate_error *error,
    const struct callgate_cancel_response *response)
{
	(void)response;
	ended(context, error, false);
}

static void on_balance(void *context, const struct callgate_error *error,
    const struct callgate_get_balance_response *response)
{
	(void)response;
	ended(context, error, false);
}

void load_on_raw_end(struct cg_op *op)
{
	ended(op->context, op->response == NULL ? &op->error : NULL, false);
}

static enum callgate_submit send_raw(struct slot *slot)
{
	struct load *load = slot->load;
	struct cg_op *op;
	enum callgate_submit submitted = cg_client__submit(load->client, &load->raw_method,
	    load->raw_registered, grpc_slice_ref(load->raw_request), &op);

	if (submitted == CALLGATE_ACCEPTED) {
		op->context = slot;
		cg_call__start(op);
	}
	return submitted;
}

static enum callgate_submit send_authorize(
    struct slot *slot, const char *company, const char *call_id)
{
	static const struct callgate_meta meta[] = {{"agent", "bench"}};
	struct callgate_authorize_request request = {
	    .company_id = company,
	    .call_id = call_id,
	    .resource_type = "voice_outbound",
	    .destination = "+447700900123",
	    .reserve_ms = 60000,
	    .start = slot->load->op == LOAD_CYCLE || slot->load->options.keep,
	    .meta = meta,
	    .meta_count = CG_COUNT_OF(meta),
	};

	if (slot->load->session != NULL) {
		return callgate_session_authorize(
		    slot->load->session, &request, on_authorized, slot);
	}
	return callgate_authorize(slot->load->client, &request, on_authorized, slot);
}

static enum callgate_submit send_settle(struct slot *slot, const char *company, const char *call_id)
{
	struct callgate_settle_request request = {
	    .company_id = company,
	    .call_id = call_id,
	    .duration = CALLGATE_SETTLE_DURATION_MS,
	    .duration_ms = SETTLED_MS,
	    .durability = slot->load->options.committed ? CALLGATE_DURABILITY_COMMITTED
	                                                : CALLGATE_DURABILITY_ACCEPTED,
	};

	if (slot->load->session != NULL) {
		return callgate_session_settle(slot->load->session, &request, on_settled, slot);
	}
	return callgate_settle(slot->load->client, &request, on_settled, slot);
}

static enum callgate_submit send_named(struct slot *slot)
{
	struct load *load = slot->load;
	char company[CG_UUID_TEXT_LEN + 1];
	char call_id[48];

	cg_uuid_format(&load->companies[slot->serial % load->options.companies], company);
	(void)snprintf(call_id, sizeof(call_id), "%s-%" PRIu64, load->run, slot->serial);
	if (load->op == LOAD_AUTHORIZE || (load->op == LOAD_CYCLE && !slot->settles)) {
		return send_authorize(slot, company, call_id);
	}
	if (load->op == LOAD_SETTLE || load->op == LOAD_CYCLE) {
		return send_settle(slot, company, call_id);
	}
	if (load->op == LOAD_CANCEL) {
		struct callgate_cancel_request request = {company, call_id};

		if (load->session != NULL) {
			return callgate_session_cancel(load->session, &request, on_cancelled, slot);
		}
		return callgate_cancel(load->client, &request, on_cancelled, slot);
	}
	return callgate_get_balance(
	    load->client, &(struct callgate_get_balance_request){company}, on_balance, slot);
}

/* There are as many slots as the client takes operations: it is never full. */
static void begin(struct slot *slot)
{
	bool raw = slot->load->op == LOAD_HEALTH;

	CG_ASSERT((raw ? send_raw(slot) : send_named(slot)) == CALLGATE_ACCEPTED);
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
		begin(slot);
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

static void on_part_signal(int number)
{
	(void)number;
	part_is_wanted = 1;
}

static void begin_part(struct load *load)
{
	load->part_begin_ns = load_now_ns();
	load->part_cpu_seconds = cpu_seconds();
}

static void end_part(struct load *load)
{
	load->result->seconds = (double)(load_now_ns() - load->part_begin_ns) / 1e9;
	load->result->cpu_seconds = cpu_seconds() - load->part_cpu_seconds;
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
	for (uint32_t i = 0; i < load->options.in_flight; i++) {
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
