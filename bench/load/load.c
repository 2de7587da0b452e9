/*
 * callgate-bench: the command.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "load/load.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "flags.h"

const char cg_flags_program[] = "callgate-bench";

static const char usage[] =
    "callgate-bench: load on a running sidecar, and its percentiles\n"
    "\n"
    "  --op NAME          authorize, settle, cycle (authorize with start, then settle),\n"
    "                     balance, health; default cycle\n"
    "  --address ADDRESS  default $CALLGATE_ADDRESS\n"
    "  --in-flight N      operations at a time; default 1\n"
    "  --seconds S        how long; default 3\n"
    "  --count N          at most so many operations; default: no limit, settle 20000\n"
    "  --rate N           begin N operations per second; default: one when one ends\n"
    "  --companies N      wallets, created and credited here; default 64\n"
    "  --plan PLAN        their plan; default enterprise\n"
    "  --deadline-ms N    of one operation; default 2000\n"
    "  --poisson          with --rate: at random times, N per second on average\n"
    "  --session          all on one stream (Gate.Session): authorize, settle, cycle\n"
    "  --committed        a settle is answered once it is in the ledger\n"
    "  --keep             authorize only: the calls start, and are left running\n"
    "  --cpu-of PID       also what this process uses meanwhile; up to 4 times\n"
    "  --bare             against bare_server, the floor: make no wallets\n"
    "  --json             one JSON object instead of a table\n"
    "  --parts            with --rate: SIGUSR1 prints what was measured so far, as at the end, "
    "and\n"
    "                     begins anew\n"
    "  --help\n"
    "\n"
    "The token of $CALLGATE_TOKEN is sent along if it is set.\n"
    "Exit: 0 measured; 1 could not be prepared or an operation failed; 2 usage.\n";

enum flag {
	FLAG_OP = 256,
	FLAG_ADDRESS,
	FLAG_IN_FLIGHT,
	FLAG_SECONDS,
	FLAG_COUNT,
	FLAG_RATE,
	FLAG_COMPANIES,
	FLAG_PLAN,
	FLAG_DEADLINE_MS,
	FLAG_POISSON,
	FLAG_SESSION,
	FLAG_COMMITTED,
	FLAG_KEEP,
	FLAG_CPU_OF,
	FLAG_BARE,
	FLAG_JSON,
	FLAG_PARTS,
	FLAG_HELP,
};

static const struct option flags[] = {
    {"op", required_argument, NULL, FLAG_OP},
    {"address", required_argument, NULL, FLAG_ADDRESS},
    {"in-flight", required_argument, NULL, FLAG_IN_FLIGHT},
    {"seconds", required_argument, NULL, FLAG_SECONDS},
    {"count", required_argument, NULL, FLAG_COUNT},
    {"rate", required_argument, NULL, FLAG_RATE},
    {"companies", required_argument, NULL, FLAG_COMPANIES},
    {"plan", required_argument, NULL, FLAG_PLAN},
    {"deadline-ms", required_argument, NULL, FLAG_DEADLINE_MS},
    {"poisson", no_argument, NULL, FLAG_POISSON},
    {"session", no_argument, NULL, FLAG_SESSION},
    {"committed", no_argument, NULL, FLAG_COMMITTED},
    {"keep", no_argument, NULL, FLAG_KEEP},
    {"cpu-of", required_argument, NULL, FLAG_CPU_OF},
    {"bare", no_argument, NULL, FLAG_BARE},
    {"json", no_argument, NULL, FLAG_JSON},
    {"parts", no_argument, NULL, FLAG_PARTS},
    {"help", no_argument, NULL, FLAG_HELP},
    {NULL, 0, NULL, 0},
};

static enum load_op operation(void)
{
	for (unsigned i = 0; i < LOAD_OP_COUNT; i++) {
		if (i != LOAD_CANCEL && strcmp(optarg, load_op_names[i]) == 0) {
			return (enum load_op)i;
		}
	}
	cg_flags_refuse("op", "authorize, settle, cycle, balance or health");
}

static void set_flag(struct load_options *options, int flag)
{
	switch (flag) {
	case FLAG_OP:
		options->op = operation();
		return;
	case FLAG_ADDRESS:
		options->address = optarg;
		return;
	case FLAG_IN_FLIGHT:
		options->in_flight = (uint32_t)cg_flags_integer("in-flight", 1, 65536);
		return;
	case FLAG_SECONDS:
		options->seconds = cg_flags_decimal("seconds", 3600);
		return;
	case FLAG_COUNT:
		options->count = (uint64_t)cg_flags_integer("count", 1, 100000000);
		return;
	case FLAG_RATE:
		options->rate = cg_flags_decimal("rate", 1e6);
		return;
	case FLAG_COMPANIES:
		options->companies = (uint32_t)cg_flags_integer("companies", 1, 100000);
		return;
	case FLAG_PLAN:
		options->plan = optarg;
		return;
	case FLAG_DEADLINE_MS:
		options->deadline_ms = (uint32_t)cg_flags_integer("deadline-ms", 1, 600000);
		return;
	case FLAG_POISSON:
		options->poisson = true;
		return;
	case FLAG_SESSION:
		options->session = true;
		return;
	case FLAG_COMMITTED:
		options->committed = true;
		return;
	case FLAG_KEEP:
		options->keep = true;
		return;
	case FLAG_CPU_OF:
		if (options->cpu_of_count == LOAD_CPU_OF_MAX) {
			cg_flags_refuse("cpu-of", "given 4 times at most");
		}
		options->cpu_of[options->cpu_of_count++] =
		    (uint32_t)cg_flags_integer("cpu-of", 1, INT32_MAX);
		return;
	case FLAG_BARE:
		options->bare = true;
		return;
	case FLAG_JSON:
		options->json = true;
		return;
	case FLAG_PARTS:
		options->parts = true;
		return;
	case FLAG_HELP:
		(void)fputs(usage, stdout);
		exit(0);
	default:
		cg_flags_refuse_unknown();
	}
}

static void read_options(int argc, char **argv, struct load_options *ret_options)
{
	int flag;

	*ret_options = (struct load_options){
	    .address = getenv("CALLGATE_ADDRESS"),
	    .token = getenv("CALLGATE_TOKEN"),
	    .plan = "enterprise",
	    .op = LOAD_CYCLE,
	    .in_flight = 1,
	    .companies = 64,
	    .seconds = 3,
	    .deadline_ms = 2000,
	};
	while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
		set_flag(ret_options, flag);
	}
	cg_flags_refuse_rest(argc, argv);
	if (ret_options->keep && ret_options->op != LOAD_AUTHORIZE) {
		cg_flags_refuse("keep", "used with --op authorize");
	}
	if (ret_options->poisson && ret_options->rate == 0) {
		cg_flags_refuse("poisson", "used with --rate");
	}
	if (ret_options->session &&
	    (ret_options->op == LOAD_BALANCE || ret_options->op == LOAD_HEALTH ||
	        ret_options->bare)) {
		cg_flags_refuse("session", "used with --op authorize, settle or cycle");
	}
	if (ret_options->parts && ret_options->rate == 0) {
		cg_flags_refuse("parts", "used with --rate");
	}
	if (ret_options->op == LOAD_SETTLE && ret_options->count == 0) {
		ret_options->count = 20000;
	}
}

static bool without_errors(const struct load_result *result)
{
	for (unsigned i = 0; i < result->part_count; i++) {
		for (size_t code = 0; code < CG_COUNT_OF(result->parts[i].errors); code++) {
			if (result->parts[i].errors[code] > 0) {
				return false;
			}
		}
	}
	return true;
}

int main(int argc, char **argv)
{
	static struct load_result result;
	struct load_options options;
	struct load *load;
	bool measured;

	read_options(argc, argv, &options);
	load = load_create(&options);
	if (load == NULL) {
		return 2;
	}
	measured = load_prepare(load) && load_run(load, &result);
	load_destroy(load);
	if (!measured) {
		return 1;
	}
	load_print(stdout, &options, &result);
	return without_errors(&result) ? 0 : 1;
}
