/*
 *  RESTING --due--> LEDGER --answered, or away--> STORE --heard--> judged --> RESTING
 *                     ^                                     |
 *                     `------- suspicious, and Postgres ----'
 *                              was not asked this time
 *
 * LEDGER waits for Postgres, STORE for the store; both for a second at most.  What Postgres said
 * is kept against the monotonic clock, which nobody sets, and so outlives a jump of the sidecar's
 * own and Postgres's absence.  Where Postgres was never heard nothing is judged to be off.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "ledger/clocks.h"

#include <stdlib.h>
#include <time.h>

#include "ledger/ledger_internal.h"

#define CHECK_EVERY_MS  250
#define LEDGER_EVERY_MS 1000
#define WAIT_MS         1000
#define LOG_EVERY_MS    60000
#define DRIFT_SHARE     1000 /* crystals differ by 0.1 in 1000, a clock that is slewed by 0.5 */

struct cg_clocks {
	struct cg_ledger *ledger;
	enum {
		CLOCKS_RESTING,
		CLOCKS_LEDGER,
		CLOCKS_STORE
	} state;
	uint64_t next_at_ms;
	uint32_t partition; /* asked next, so that none stands for all */
	struct cg_partition_op op;
	struct cg_job job;
	int64_t asked_ms;      /* the monotonic clock's */
	int64_t wall_asked_ms; /* the sidecar's */
	bool has_asked_ledger; /* in this round */
	bool knows_ledger;
	int64_t ledger_at_ms;    /* when it was heard last */
	struct cg_ahead of_mono; /* Postgres's clock against the monotonic one */
	bool is_judged;          /* since the store's connection was made */
	bool is_off;
	struct cg_log_limit log;
};

struct cg_ahead cg_ahead_of(int64_t said_ms, int64_t asked_ms, int64_t heard_ms)
{
	/* One more on each side: all three are cut to whole milliseconds. */
	return (struct cg_ahead){said_ms - heard_ms - 1, said_ms - asked_ms + 1};
}

struct cg_ahead cg_ahead_between(struct cg_ahead first, struct cg_ahead second)
{
	return (struct cg_ahead){first.least_ms - second.most_ms, first.most_ms - second.least_ms};
}

struct cg_ahead cg_ahead_after(struct cg_ahead then, uint64_t age_ms)
{
	int64_t drift_ms = (int64_t)(age_ms / DRIFT_SHARE);

	return (struct cg_ahead){then.least_ms - drift_ms, then.most_ms + drift_ms};
}

bool cg_ahead_is_off(struct cg_ahead ahead, int64_t max_ms)
{
	return ahead.least_ms > max_ms || ahead.most_ms < -max_ms;
}

static int64_t mono_ms(void)
{
	return (int64_t)(cg_loop_clock_ns() / 1000000);
}

static int64_t wall_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void rest(struct cg_clocks *clocks)
{
	clocks->state = CLOCKS_RESTING;
	clocks->next_at_ms = cg_loop_now_ms(clocks->ledger->loop) + CHECK_EVERY_MS;
}

/* Every partition asks for its hello again; none goes further while the clock is off. */
static void set_verdict(struct cg_clocks *clocks, bool is_off)
{
	struct cg_ledger *ledger = clocks->ledger;
	bool was_off = clocks->is_off;

	clocks->is_off = is_off;
	clocks->is_judged = true;
	if (is_off && !was_off) {
		clocks->log = (struct cg_log_limit){0};
		cg_ledger__distrust_all(ledger);
	} else if (was_off && !is_off) {
		clocks->log = (struct cg_log_limit){0};
		cg_log(CG_LOG_INFO, "the store's clock is right again", NULL);
	}
	cg_ledger__tick_within(ledger, 0);
}

static void log_difference(struct cg_clocks *clocks, bool is_off, struct cg_ahead of_wall,
    const struct cg_ahead *of_ledger)
{
	uint64_t held_back = 0;

	if (cg_log_limit_admits(&clocks->log, cg_loop_now_ms(clocks->ledger->loop), LOG_EVERY_MS,
	        &held_back) == 0) {
		return;
	}
	cg_log(is_off ? CG_LOG_ERROR : CG_LOG_WARN,
	    is_off ? "the store's clock is off: nothing is served"
	           : "this sidecar's clock differs from the store's",
	    "ahead_of_sidecar_ms", cg_log_int(of_wall.least_ms), "ahead_of_ledger_ms",
	    of_ledger != NULL ? cg_log_int(of_ledger->least_ms) : "unknown", "max_ms",
	    cg_log_int(clocks->ledger->config.clock_skew_max_ms), NULL);
}

static void judge(struct cg_clocks *clocks, struct cg_ahead of_wall, struct cg_ahead store_of_mono)
{
	int64_t max_ms = clocks->ledger->config.clock_skew_max_ms;

	if (!cg_ahead_is_off(of_wall, max_ms)) {
		set_verdict(clocks, false);
		return;
	}
	if (!clocks->knows_ledger) {
		log_difference(clocks, false, of_wall, NULL);
		set_verdict(clocks, false);
		return;
	}
	struct cg_ahead ledger_of_mono =
	    cg_ahead_after(clocks->of_mono, (uint64_t)(mono_ms() - clocks->ledger_at_ms));
	struct cg_ahead of_ledger = cg_ahead_between(store_of_mono, ledger_of_mono);
	set_verdict(clocks, cg_ahead_is_off(of_ledger, max_ms));
	log_difference(clocks, clocks->is_off, of_wall, &of_ledger);
}

static void ask_ledger(struct cg_clocks *clocks);

static void on_store(struct cg_partition_op *op)
{
	struct cg_clocks *clocks = CG_CONTAINER_OF(op, struct cg_clocks, op);
	struct cg_ledger *ledger = clocks->ledger;

	if (ledger->is_closed) {
		return;
	}
	if (op->status != CG_OK) {
		rest(clocks); /* Whoever needs the store finds out as well. */
		return;
	}
	struct cg_ahead of_wall =
	    cg_ahead_of(op->out.hello.now_ms, clocks->wall_asked_ms, wall_ms());
	struct cg_ahead of_mono = cg_ahead_of(op->out.hello.now_ms, clocks->asked_ms, mono_ms());
	if (cg_ahead_is_off(of_wall, ledger->config.clock_skew_max_ms) &&
	    !clocks->has_asked_ledger && cg_pool__is_connected(ledger->pool)) {
		ask_ledger(clocks);
		return;
	}
	rest(clocks);
	judge(clocks, of_wall, of_mono);
}

static void ask_store(struct cg_clocks *clocks)
{
	struct cg_ledger *ledger = clocks->ledger;

	clocks->state = CLOCKS_STORE;
	clocks->asked_ms = mono_ms();
	clocks->wall_asked_ms = wall_ms();
	clocks->op = (struct cg_partition_op){
	    .verb = CG_PARTITION_HELLO,
	    .partition = clocks->partition,
	    .deadline_at_ms = cg_loop_now_ms(ledger->loop) + WAIT_MS,
	    .in.hello = ledger->deployment,
	    .done = on_store,
	};
	clocks->partition = (clocks->partition + 1) % ledger->config.partition_count;
	ledger->partitions->submit(ledger->partitions, &clocks->op);
}

static const char *prepare(struct cg_job *job, struct cg_params *params)
{
	struct cg_clocks *clocks = CG_CONTAINER_OF(job, struct cg_clocks, job);

	(void)params;
	clocks->asked_ms = mono_ms(); /* Not earlier: it may have waited for a connection. */
	return "select floor(extract(epoch from clock_timestamp()) * 1000)::bigint";
}

static bool on_ledger(struct cg_job *job, enum cg_status status, const PGresult *result)
{
	struct cg_clocks *clocks = CG_CONTAINER_OF(job, struct cg_clocks, job);

	if (clocks->ledger->is_closed) {
		return false;
	}
	if (status == CG_OK) {
		clocks->ledger_at_ms = mono_ms();
		clocks->knows_ledger = true;
		clocks->of_mono = cg_ahead_of(
		    cg_result__int(result, 0, 0), clocks->asked_ms, clocks->ledger_at_ms);
	}
	ask_store(clocks);
	return false;
}

static void ask_ledger(struct cg_clocks *clocks)
{
	struct cg_ledger *ledger = clocks->ledger;

	clocks->state = CLOCKS_LEDGER;
	clocks->has_asked_ledger = true;
	clocks->job = (struct cg_job){.deadline_at_ms = cg_loop_now_ms(ledger->loop) + WAIT_MS,
	    .prepare = prepare,
	    .on_end = on_ledger};
	cg_pool__submit(ledger->pool, &clocks->job);
}

void cg_clocks__tick(struct cg_ledger *ledger, uint64_t now_ms)
{
	struct cg_clocks *clocks = ledger->clocks;

	if (ledger->config.clock_skew_max_ms == 0 || clocks->state != CLOCKS_RESTING ||
	    now_ms < clocks->next_at_ms || !cg_ledger__may_greet(ledger)) {
		return;
	}
	clocks->has_asked_ledger = false;
	if (cg_pool__is_connected(ledger->pool) &&
	    (!clocks->knows_ledger || mono_ms() - clocks->ledger_at_ms >= LEDGER_EVERY_MS)) {
		ask_ledger(clocks);
	} else {
		ask_store(clocks);
	}
}

void cg_clocks__connected(struct cg_ledger *ledger)
{
	ledger->clocks->is_judged = false;
	ledger->clocks->next_at_ms = 0;
}

bool cg_clocks__admit(const struct cg_ledger *ledger)
{
	return ledger->config.clock_skew_max_ms == 0 ||
	    (ledger->clocks->is_judged && !ledger->clocks->is_off);
}

void cg_clocks__create(struct cg_ledger *ledger)
{
	ledger->clocks = calloc(1, sizeof *ledger->clocks);
	CG_ASSERT(ledger->clocks != NULL);
	ledger->clocks->ledger = ledger;
}

void cg_clocks__destroy(struct cg_ledger *ledger)
{
	free(ledger->clocks);
}
