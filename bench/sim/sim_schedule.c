/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/sim_schedule.h"

#include <math.h>

enum {
	MEANS_MAX = 50,
	REPORT_MAX_MS = 500,        /* a provider's report that is on time */
	REPORT_LATE_MAX_MS = 8000,  /* one that is late */
	REPORT_LOST_MAX_MS = 20000, /* when the provider is asked instead */
	COPY_MAX_MS = 2000,
	HOSTILE_EACH = 4,
	LEASE_MARGIN_MS = 2000, /* a request that is retried for that long is still within it */
};

const char *const sim_step_names[SIM_STEP_COUNT] = {
    "authorize", "start", "stop", "settle", "cancel", "credit"};

/* One for each kind of rate in the seeded plans, the plain "" among them. */
const char *const sim_destinations[] = {"+14155550100", "+442071234567", "+447700900123",
    "+33123456789", "+2348012345678", "+254712345678", "+81312345678"};

unsigned sim_destination_count(void)
{
	return CG_COUNT_OF(sim_destinations);
}

static uint64_t mixed(uint64_t a, uint64_t b)
{
	struct cg_random random;

	cg_random_init(&random, a);
	cg_random_init(&random, cg_random_next(&random) ^ b);
	return cg_random_next(&random);
}

void sim_random_of(
    struct cg_random *random, uint64_t seed, uint32_t company, enum sim_purpose purpose)
{
	cg_random_init(random, mixed(mixed(seed, company), (uint64_t)purpose));
}

double sim_random_share(struct cg_random *random)
{
	return (double)(cg_random_next(random) >> 11) * 0x1p-53;
}

int64_t sim_random_exponential(struct cg_random *random, double mean)
{
	double value = -mean * log1p(-sim_random_share(random));
	double most = mean * MEANS_MAX;

	return (int64_t)(value < most ? value : most);
}

static int64_t up_to(struct cg_random *random, int64_t most)
{
	return (int64_t)cg_random_below(random, (uint64_t)most + 1);
}

int64_t sim_next_arrival_ms(const struct sim_habits *habits, struct cg_random *arrivals)
{
	return sim_random_exponential(
	    arrivals, 1000.0 * (double)habits->companies / habits->calls_per_second);
}

static enum sim_fate draw_fate(const struct sim_habits *habits, struct cg_random *random)
{
	double share = sim_random_share(random);

	if (share < habits->lost) {
		return SIM_LOST;
	}
	return share < habits->lost + habits->late ? SIM_LATE : SIM_ON_TIME;
}

static enum sim_ending draw_ending(const struct sim_habits *habits, struct cg_random *random)
{
	double share = sim_random_share(random);

	if (share < habits->hangup) {
		return SIM_HANGUP;
	}
	return share < habits->hangup + habits->silent ? SIM_SILENT : SIM_ANSWERED;
}

static int64_t settle_delay_ms(enum sim_fate settle, struct cg_random *random)
{
	switch (settle) {
	case SIM_LATE:
		return REPORT_MAX_MS + up_to(random, REPORT_LATE_MAX_MS - REPORT_MAX_MS);
	case SIM_LOST:
		return REPORT_LATE_MAX_MS + up_to(random, REPORT_LOST_MAX_MS - REPORT_LATE_MAX_MS);
	case SIM_ON_TIME:
	default:
		return up_to(random, REPORT_MAX_MS);
	}
}

/* Acts on calls that are not talked on would go unnoticed. */
static void draw_act(const struct sim_habits *habits, uint32_t company, struct cg_random *random,
    struct sim_call_plan *plan)
{
	bool is_hostile = sim_random_share(random) < habits->hostile && company % HOSTILE_EACH == 0;
	enum sim_act act = (enum sim_act)(1 + cg_random_below(random, SIM_ACT_COUNT - 1));

	if (!is_hostile) {
		return;
	}
	plan->act = act;
	plan->ending = SIM_ANSWERED;
	if (act != SIM_DEAF) {
		plan->starts_at_once = false;
	}
	if (act == SIM_UNSAID || act == SIM_LOST_START) {
		plan->start = act == SIM_UNSAID ? SIM_LATE : SIM_LOST;
	}
}

/* Everything is drawn in one order whatever was drawn before, so that habits do not mix. */
void sim_plan_call(const struct sim_habits *habits, uint32_t company, uint32_t serial,
    struct sim_call_plan *ret_plan)
{
	struct cg_random random;

	sim_random_of(&random, mixed(habits->seed, serial), company, SIM_CALLS);
	*ret_plan = (struct sim_call_plan){.ending = draw_ending(habits, &random)};
	ret_plan->destination = (unsigned)cg_random_below(&random, sim_destination_count());
	ret_plan->starts_at_once = cg_random_below(&random, 4) == 0;
	ret_plan->stops = cg_random_below(&random, 2) == 0;
	ret_plan->ring_ms = up_to(&random, habits->ring_max_ms);
	ret_plan->talk_ms = sim_random_exponential(&random, (double)habits->talk_mean_ms);
	ret_plan->start = draw_fate(habits, &random);
	/* A margin of a tenth of R: a request that meets a dead sidecar takes its time. */
	ret_plan->start_delay_ms = up_to(&random, habits->reserve_ms - habits->reserve_ms / 10);
	ret_plan->settle = draw_fate(habits, &random);
	ret_plan->settle_delay_ms = settle_delay_ms(ret_plan->settle, &random);
	ret_plan->route = (uint32_t)cg_random_next(&random);
	for (unsigned i = 0; i < SIM_STEP_COUNT; i++) {
		ret_plan->copies[i].is_repeated = sim_random_share(&random) < habits->duplicate;
		/* Half of them on the heels of the first, before it is answered. */
		ret_plan->copies[i].after_ms = up_to(&random, 1) * up_to(&random, COPY_MAX_MS);
	}
	draw_act(habits, company, &random, ret_plan);
	ret_plan->starts_at_once &= ret_plan->ending == SIM_ANSWERED;
	if (ret_plan->starts_at_once) {
		ret_plan->start = SIM_ON_TIME;
	}
}

enum sim_fate sim_start_fate(
    const struct sim_habits *habits, const struct sim_call_plan *plan, int64_t lease_left_ms)
{
	int64_t settled_ms = plan->talk_ms + plan->settle_delay_ms + LEASE_MARGIN_MS;
	enum sim_fate fate = plan->start;

	if (plan->act == SIM_LOST_START) {
		return SIM_LOST;
	}
	if (fate == SIM_LOST &&
	    (plan->talk_ms > habits->reserve_ms || settled_ms > lease_left_ms)) {
		fate = SIM_LATE;
	}
	if (fate == SIM_LATE && plan->start_delay_ms + LEASE_MARGIN_MS > lease_left_ms) {
		fate = SIM_ON_TIME;
	}
	return fate;
}
