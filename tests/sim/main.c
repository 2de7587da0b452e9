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
#include "profiles.h"
#include "runner.h"
#include "sim.h"
#include "table.h"

#define RECORDED_MAX 1000
#define SHOWN        2 /* failed seeds whose trace is shown */

static const char usage[] =
    "usage: callgate-simulate [--seeds N] [--from M] [--profile NAME] [--without RULE]\n"
    "       callgate-simulate --seed N [--profile NAME] [--without RULE]    with its whole trace\n"
    "       callgate-simulate --recorded FILE      the seeds in it, one a line\n"
    "       callgate-simulate --table [--seeds N] [--enough K]\n"
    "                         for each rule, in the profile that is made for it: how many of N\n"
    "                         seeds fail without it; K failed ones of a rule are enough\n"
    "       callgate-simulate --rules              their names, and the profile of each\n"
    "       callgate-simulate --profiles           their names\n";

struct options {
	uint64_t seed, seeds, from, enough;
	const char *recorded;
	const struct profile *profile;
	bool is_table, lists_rules, lists_profiles;
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

static const struct profile *profile_at(const char *name)
{
	const struct profile *profile = name == NULL ? NULL : profile_named(name);

	if (profile == NULL) {
		(void)fprintf(
		    stderr, "no such profile: %s (see --profiles)\n", name == NULL ? "" : name);
		exit(2);
	}
	return profile;
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
		} else if (cg_view_equal(name, CG_VIEW_LITERAL("--profiles"))) {
			o->lists_profiles = true;
		} else if (cg_view_equal(name, CG_VIEW_LITERAL("--profile"))) {
			o->profile = profile_at(*++at);
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

static int replay(uint64_t seed, const struct profile *profile)
{
	/* What the sidecars say for operators, between the lines of the trace. */
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	cg_log_set_level(CG_LOG_INFO);
	cg_log_set_descriptor(1);
	struct world_end end = world_run(seed, profile, true);

	if (end.violations > 0) {
		sim_trace_print();
	}
	(void)printf("seed %" PRIu64 ": %" PRIu64 " events, %" PRIu64 " answers, %" PRIu64
	             " s of virtual time, %" PRIu32 " violations\n",
	    seed, end.events, end.answers, end.virtual_ms / 1000, end.violations);
	return end.violations > 0 ? 1 : 0;
}

/* Once more, for the trace: it goes as it went. */
static void show(uint64_t seed, const struct profile *profile)
{
	(void)fflush(stdout);
	(void)alarm(60); /* as its worker had */
	if (world_run(seed, profile, false).violations > 0) {
		sim_trace_print();
	}
}

static int run_seeds(struct runner *r)
{
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
		show(r->failed_seeds[i], r->profile);
	}
	return r->failed > 0 ? 1 : 0;
}

static int run_recorded(const char *path)
{
	static uint64_t seeds[RECORDED_MAX];
	struct runner r = {.seeds = seeds, .profile = profile_usual};
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

static void list_names(bool of_rules)
{
	for (unsigned i = 0; of_rules && i < SIM_RULE_COUNT; i++) {
		enum sim_rule rule = (enum sim_rule)i;
		(void)printf("%-18s %-16s %s\n", sim_rule_name(rule), profile_of_rule(rule)->name,
		    sim_rule_says(rule));
	}
	for (const struct profile *p = profile_usual; !of_rules && p != NULL;
	     p = profile_after(p)) {
		(void)printf("%s\n", p->name);
	}
}

int main(int argc, char **argv)
{
	struct options o;

	(void)argc;
	read_options(&o, argv);
	cg_log_set_level((enum cg_log_level)(CG_LOG_ERROR + 1));
	if (o.lists_rules || o.lists_profiles) {
		list_names(o.lists_rules);
		return 0;
	}
	if (o.is_table) {
		return table_print(o.seeds > 0 ? o.seeds : 100, o.enough);
	}
	if (o.profile == NULL) {
		o.profile = profile_usual;
	}
	if (o.recorded != NULL) {
		return run_recorded(o.recorded);
	}
	if (o.seed > 0) {
		return replay(o.seed, o.profile);
	}
	struct runner r = {
	    .profile = o.profile, .from = o.from, .count = o.seeds > 0 ? o.seeds : 200};
	return run_seeds(&r);
}
