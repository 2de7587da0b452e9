/*
 * callgate-simulate: runs seeds, and says which of them fail.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "runner.h"
#include "sim.h"

#define RECORDED_MAX 1000
#define SHOWN        2 /* failed seeds whose trace is shown */

static const char usage[] =
    "usage: callgate-simulate [--seeds N] [--from M] [--without RULE]\n"
    "       callgate-simulate --seed N [--without RULE]      with its whole trace\n"
    "       callgate-simulate --recorded FILE                the seeds in it, one a line\n"
    "       callgate-simulate --table [--seeds N] [--enough K] [--witnesses FILE]\n"
    "                         for each rule: how many of N seeds fail without it; K failed\n"
    "                         ones of a rule are enough; those of FILE (rule, seed) first\n"
    "       callgate-simulate --rules                        their names\n";

struct options {
	uint64_t seed, seeds, from, enough;
	const char *recorded, *witnesses;
	bool is_table, lists_rules;
};

static uint64_t number_of(const char *text)
{
	int64_t value = 0;

	if (text == NULL || !cg_view_parse_int(cg_view_of(text), &value) || value <= 0) {
		(void)fputs(usage, stderr);
		exit(2);
	}
	return (uint64_t)value;
}

static void take_away(const char *name)
{
	enum sim_rule rule = name == NULL ? SIM_RULE_COUNT : sim_rule_of(name);

	if (rule == SIM_RULE_COUNT) {
		(void)fprintf(stderr, "no such rule: %s (see --rules)\n", name == NULL ? "" : name);
		exit(2);
	}
	sim_rule_take_away(rule);
}

static void read_options(struct options *o, char **argv)
{
	*o = (struct options){.from = 1};
	for (char **at = argv + 1; *at != NULL; at++) {
		struct cg_view name = cg_view_of(*at);
		if (cg_view_equal(name, CG_VIEW_LITERAL("--table"))) {
			o->is_table = true;
		} else if (cg_view_equal(name, CG_VIEW_LITERAL("--rules"))) {
			o->lists_rules = true;
		} else if (cg_view_equal(name, CG_VIEW_LITERAL("--seed"))) {
			o->seed = number_of(*++at);
		} else if (cg_view_equal(name, CG_VIEW_LITERAL("--seeds"))) {
			o->seeds = number_of(*++at);
		} else if (cg_view_equal(name, CG_VIEW_LITERAL("--from"))) {
			o->from = number_of(*++at);
		} else if (cg_view_equal(name, CG_VIEW_LITERAL("--enough"))) {
			o->enough = number_of(*++at);
		} else if (cg_view_equal(name, CG_VIEW_LITERAL("--recorded")) && at[1] != NULL) {
			o->recorded = *++at;
		} else if (cg_view_equal(name, CG_VIEW_LITERAL("--witnesses")) && at[1] != NULL) {
			o->witnesses = *++at;
		} else if (cg_view_equal(name, CG_VIEW_LITERAL("--without"))) {
			take_away(*++at);
		} else {
			(void)fputs(usage, stderr);
			exit(2);
		}
		if (*at == NULL) {
			break;
		}
	}
}

static uint32_t cores(void)
{
	long count = sysconf(_SC_NPROCESSORS_ONLN);

	return count < 1 ? 1 : (uint32_t)count;
}

static int replay(uint64_t seed)
{
	/* What the sidecars say for operators, between the lines of the trace. */
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	cg_log_set_level(CG_LOG_INFO);
	cg_log_set_descriptor(1);
	struct world_end end = world_run(seed, true);

	if (end.violations > 0) {
		sim_trace_print();
	}
	(void)printf("seed %" PRIu64 ": %" PRIu64 " events, %" PRIu64 " answers, %" PRIu64
	             " s of virtual time, %" PRIu32 " violations\n",
	    seed, end.events, end.answers, end.virtual_ms / 1000, end.violations);
	return end.violations > 0 ? 1 : 0;
}

/* Once more, for the trace: it goes as it went. */
static void show(uint64_t seed)
{
	(void)fflush(stdout);
	(void)alarm(60); /* as its worker had */
	if (world_run(seed, false).violations > 0) {
		sim_trace_print();
	}
}

static int run_seeds(struct runner *r)
{
	r->jobs = cores();
	runner_run(r);
	for (uint64_t i = 0; i < r->failed_kept; i++) {
		(void)printf("failed: seed %" PRIu64 " (replay: --seed %" PRIu64 ")\n",
		    r->failed_seeds[i], r->failed_seeds[i]);
	}
	(void)printf("%" PRIu64 " seeds, %.1f a second; %" PRIu64 " events, %" PRIu64
	             " answers, %" PRIu64 " h of virtual time\n",
	    r->ran, (double)r->ran / r->seconds, r->sum.events, r->sum.answers,
	    r->sum.virtual_ms / 3600000);
	(void)printf("%" PRIu64 " passed, %" PRIu64 " failed\n", r->ran - r->failed, r->failed);
	for (uint64_t i = 0; i < r->failed_kept && i < SHOWN; i++) {
		show(r->failed_seeds[i]);
	}
	return r->failed > 0 ? 1 : 0;
}

static int run_recorded(const char *path)
{
	static uint64_t seeds[RECORDED_MAX];
	struct runner r = {.seeds = seeds};
	FILE *file = fopen(path, "r");
	char line[256];

	if (file == NULL) {
		perror(path);
		return 2;
	}
	while (fgets(line, sizeof line, file) != NULL && r.count < RECORDED_MAX) {
		uint64_t seed = strtoull(line, NULL, 10); /* what follows says what it found */
		if (seed > 0) {
			seeds[r.count++] = seed;
		}
	}
	(void)fclose(file);
	return run_seeds(&r);
}

/* Seeds that are known to miss the rule, "<rule> <seed>" a line, and then all others. */
static uint64_t list_seeds(
    const char *path, const char *rule, uint64_t count, uint64_t list[RECORDED_MAX])
{
	FILE *file = path == NULL ? NULL : fopen(path, "r");
	uint64_t listed = 0;
	char line[256];

	while (
	    file != NULL && fgets(line, sizeof line, file) != NULL && listed < RECORDED_MAX / 2) {
		size_t len = strcspn(line, " ");
		if (len == strlen(rule) && memcmp(line, rule, len) == 0) {
			list[listed++] = strtoull(line + len, NULL, 10);
		}
	}
	if (file != NULL) {
		(void)fclose(file);
	}
	for (uint64_t seed = 1; seed <= count && listed < RECORDED_MAX; seed++) {
		list[listed++] = seed;
	}
	return listed;
}

static int print_table(uint64_t seeds, uint64_t enough, const char *witnesses)
{
	static uint64_t list[RECORDED_MAX];
	int silent_rules = 0, never_missed = 0;

	(void)printf("%-18s %9s %6s  %s\n", "without", "fail", "first", "the rule says");
	for (unsigned i = 0; i < SIM_RULE_COUNT; i++) {
		struct runner r = {
		    .seeds = list, .enough = enough, .is_silent = true, .jobs = cores()};
		char fails[32];
		r.count = list_seeds(witnesses, sim_rule_name((enum sim_rule)i), seeds, list);
		sim_rule_take_away((enum sim_rule)i);
		runner_run(&r);
		(void)snprintf(fails, sizeof fails, "%" PRIu64 "/%" PRIu64, r.failed, r.ran);
		(void)printf("%-18s %9s %6" PRIu64 "  %s\n", sim_rule_name((enum sim_rule)i), fails,
		    r.failed_kept > 0 ? r.failed_seeds[0] : 0, sim_rule_says((enum sim_rule)i));
		(void)fflush(stdout);
		/* With a file of witnesses: a rule that has none there was never seen to be missed. */
		bool is_expected = witnesses == NULL || r.count > seeds;
		never_missed += r.failed == 0 ? 1 : 0;
		silent_rules += r.failed == 0 && is_expected ? 1 : 0;
	}
	sim_rules_restore();
	(void)printf("%u rules, %d of them not missed, %d of those unexpectedly\n",
	    (unsigned)SIM_RULE_COUNT, never_missed, silent_rules);
	return silent_rules > 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct options o;

	(void)argc;
	read_options(&o, argv);
	cg_log_set_level((enum cg_log_level)(CG_LOG_ERROR + 1));
	if (o.lists_rules) {
		for (unsigned i = 0; i < SIM_RULE_COUNT; i++) {
			(void)printf("%-18s %s\n", sim_rule_name((enum sim_rule)i),
			    sim_rule_says((enum sim_rule)i));
		}
		return 0;
	}
	if (o.is_table) {
		return print_table(o.seeds > 0 ? o.seeds : 100, o.enough, o.witnesses);
	}
	if (o.recorded != NULL) {
		return run_recorded(o.recorded);
	}
	if (o.seed > 0) {
		return replay(o.seed);
	}
	struct runner r = {.from = o.from, .count = o.seeds > 0 ? o.seeds : 200};
	return run_seeds(&r);
}
