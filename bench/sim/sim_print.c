/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/sim.h"

#include <inttypes.h>

#include "base/base.h"

const char *const sim_fault_names[SIM_FAULT_COUNT] = {
    [SIM_FAULT_OVERSPENT] = "overspent",
    [SIM_FAULT_LEAKED] = "leaked",
    [SIM_FAULT_POSTED] = "posted_differs",
    [SIM_FAULT_COST] = "wrong_cost",
    [SIM_FAULT_TWICE] = "settled_twice",
    [SIM_FAULT_UNSETTLED] = "settled_untold",
    [SIM_FAULT_NOT_CUT] = "not_cut_off",
    [SIM_FAULT_EARLY] = "cut_off_early",
    [SIM_FAULT_UNEXPECTED] = "unexpected",
    [SIM_FAULT_WATCH] = "watch_ended",
    [SIM_FAULT_UNFINISHED] = "unfinished",
};

static const char *const act_names[SIM_ACT_COUNT] = {
    "honest", "deaf", "unsaid_start", "lost_start", "unheld"};

static const struct {
	const char *name;
	double share;
} percentiles[] = {{"p50", 0.5}, {"p99", 0.99}, {"max", 1}};

static double milliseconds(const struct cg_histogram *histogram, double share)
{
	return (double)cg_histogram_percentile(histogram, share) / 1e6;
}

static uint64_t decided(const struct sim_result *result)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < SIM_DECISION_COUNT; i++) {
		sum += result->decisions[i];
	}
	return sum;
}

static void json_percentiles(FILE *to, const char *name, const struct cg_histogram *histogram)
{
	(void)fprintf(to, ",\"%s\":{\"count\":%" PRIu64, name, histogram->count);
	for (size_t i = 0; i < CG_COUNT_OF(percentiles); i++) {
		(void)fprintf(to, ",\"%s\":%.3f", percentiles[i].name,
		    milliseconds(histogram, percentiles[i].share));
	}
	(void)fputc('}', to);
}

static void json_count(FILE *to, const char *name, uint64_t value)
{
	(void)fprintf(to, ",\"%s\":%" PRIu64, name, value);
}

static void json_decisions(FILE *to, const struct sim_result *result)
{
	(void)fprintf(to, ",\"decisions_per_second\":%.1f,\"decisions\":{\"count\":%" PRIu64,
	    (double)decided(result) / result->seconds, decided(result));
	for (unsigned i = CALLGATE_DECISION_ALLOWED; i < SIM_DECISION_COUNT; i++) {
		json_count(
		    to, callgate_decision_name((enum callgate_decision)i), result->decisions[i]);
	}
	(void)fputc('}', to);
}

static void json_counts(FILE *to, const struct sim_result *result)
{
	json_count(to, "calls", result->calls);
	json_count(to, "talks", result->talks);
	json_count(to, "settled", result->settled);
	json_count(to, "credits", result->credits);
	json_count(to, "copies", result->copies);
	json_count(to, "retries", result->retries);
	json_count(to, "late_starts", result->starts[SIM_LATE]);
	json_count(to, "lost_starts", result->starts[SIM_LOST]);
	json_count(to, "late_settles", result->settles[SIM_LATE]);
	json_count(to, "lost_settles", result->settles[SIM_LOST]);
	json_count(to, "cut_offs", result->cut_offs);
	json_count(to, "repeats", result->repeats);
	json_count(to, "warnings", result->warnings);
	json_count(to, "balance_low", result->lows);
	json_count(to, "expired", result->expired);
	json_count(to, "leases_over", result->leases_over);
}

static void print_json(FILE *to, const struct sim_options *options, const struct sim_result *result)
{
	(void)fprintf(to,
	    "{\"seed\":%" PRIu64 ",\"companies\":%" PRIu32 ",\"seconds\":%.3f,\"sound\":%s",
	    options->habits.seed, options->habits.companies, result->seconds,
	    sim_is_sound(result) ? "true" : "false");
	json_decisions(to, result);
	json_counts(to, result);
	(void)fprintf(to, ",\"credited_micros\":%" PRId64 ",\"charged_micros\":%" PRId64,
	    result->credited_micros, result->charged_micros);
	(void)fprintf(to,
	    ",\"overspent_micros\":%" PRId64 ",\"overspent_max_micros\":%" PRId64
	    ",\"excused_micros\":%" PRId64 ",\"excused_wallets\":%" PRIu64
	    ",\"leaked_micros\":%" PRId64 ",\"leaked_calls\":%" PRIu64,
	    result->overspent_micros, result->overspent_max_micros, result->excused_micros,
	    result->excused_wallets, result->leaked_micros, result->leaked_calls);
	json_percentiles(to, "authorize_ms", &result->authorize);
	json_percentiles(to, "lateness_ms", &result->lateness);
	json_percentiles(to, "outlived_ms", &result->outlived);
	(void)fprintf(to, ",\"acts\":{\"honest\":%" PRIu64, result->acts[SIM_HONEST]);
	for (unsigned i = SIM_HONEST + 1; i < SIM_ACT_COUNT; i++) {
		json_count(to, act_names[i], result->acts[i]);
	}
	(void)fprintf(to, "},\"faults\":{\"%s\":%" PRIu64, sim_fault_names[0], result->faults[0]);
	for (unsigned i = 1; i < SIM_FAULT_COUNT; i++) {
		json_count(to, sim_fault_names[i], result->faults[i]);
	}
	(void)fputs("}}\n", to);
}

static void line(FILE *to, const char *name, const struct cg_histogram *histogram)
{
	(void)fprintf(to, "%-22s", name);
	for (size_t i = 0; i < CG_COUNT_OF(percentiles); i++) {
		(void)fprintf(to, "  %s %9.2f ms", percentiles[i].name,
		    milliseconds(histogram, percentiles[i].share));
	}
	(void)fprintf(to, "  of %" PRIu64 "\n", histogram->count);
}

static void print_traffic(FILE *to, const struct sim_result *result)
{
	(void)fprintf(to, "decisions  %" PRIu64 ", %.1f/s:", decided(result),
	    (double)decided(result) / result->seconds);
	for (unsigned i = CALLGATE_DECISION_ALLOWED; i < SIM_DECISION_COUNT; i++) {
		if (result->decisions[i] > 0) {
			(void)fprintf(to, " %s %" PRIu64,
			    callgate_decision_name((enum callgate_decision)i),
			    result->decisions[i]);
		}
	}
	(void)fprintf(to,
	    "\ncalls      %" PRIu64 " came, %" PRIu64 " talked, %" PRIu64 " settled; %" PRIu64
	    " top-ups\n",
	    result->calls, result->talks, result->settled, result->credits);
	(void)fprintf(to,
	    "faults     %" PRIu64 " repeated, %" PRIu64 " sent again; Starts %" PRIu64
	    " late, %" PRIu64 " lost; Settles %" PRIu64 " late, %" PRIu64 " lost\n",
	    result->copies, result->retries, result->starts[SIM_LATE], result->starts[SIM_LOST],
	    result->settles[SIM_LATE], result->settles[SIM_LOST]);
	(void)fprintf(to, "acts      ");
	for (unsigned i = 0; i < SIM_ACT_COUNT; i++) {
		(void)fprintf(to, " %s %" PRIu64, act_names[i], result->acts[i]);
	}
	(void)fprintf(to,
	    "\nevents     CUT_OFF %" PRIu64 ", repeats %" PRIu64 ", CUT_WARNING %" PRIu64
	    ", BALANCE_LOW %" PRIu64 ", CALL_EXPIRED %" PRIu64 " (of %" PRIu64 " left to it)\n\n",
	    result->cut_offs, result->repeats, result->warnings, result->lows, result->expired,
	    result->leases_over);
}

static void print_table(
    FILE *to, const struct sim_options *options, const struct sim_result *result)
{
	(void)fprintf(to,
	    "seed %" PRIu64 ", %" PRIu32 " companies, %.1f s, reaction %" PRId64 " ms\n\n",
	    options->habits.seed, options->habits.companies, result->seconds, options->reaction_ms);
	print_traffic(to, result);
	line(to, "authorize", &result->authorize);
	line(to, "CUT_OFF after T*", &result->lateness);
	line(to, "talk past T*", &result->outlived);
	(void)fprintf(to,
	    "\nmoney      credited %" PRId64 ", charged %" PRId64 " micros\n"
	    "overspend  %" PRId64 " micros, greatest %" PRId64 "; excused %" PRId64 " of %" PRIu64
	    " wallets\n"
	    "leaked     %" PRId64 " micros, %" PRIu64 " calls\n",
	    result->credited_micros, result->charged_micros, result->overspent_micros,
	    result->overspent_max_micros, result->excused_micros, result->excused_wallets,
	    result->leaked_micros, result->leaked_calls);
	for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
		if (result->faults[i] > 0) {
			(void)fprintf(to, "WRONG      %s: %" PRIu64 "\n", sim_fault_names[i],
			    result->faults[i]);
		}
	}
	(void)fprintf(to, "%s\n", sim_is_sound(result) ? "sound" : "NOT SOUND");
}

void sim_print(FILE *to, const struct sim_options *options, const struct sim_result *result)
{
	if (options->json) {
		print_json(to, options, result);
	} else {
		print_table(to, options, result);
	}
}
