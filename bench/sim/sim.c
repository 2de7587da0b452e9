/*
 * callgate-sim: the command.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sim/sim.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "flags.h"

const char cg_flags_program[] = "callgate-sim";

static const char usage[] =
    "callgate-sim: companies that speak the domain with running sidecars\n"
    "\n"
    "  --address ADDRESS   a sidecar; up to 4 times; default $CALLGATE_ADDRESS\n"
    "  --seed N            equal seeds and habits give equal schedules; default 1\n"
    "  --for SECONDS       of traffic, then it drains; default 30\n"
    "  --plan PLAN         of the companies; default starter\n"
    "  --companies N       default 200\n"
    "  --rate N            calls per second, of all companies; default 100\n"
    "  --ring-ms N         longest ringing; default 2000\n"
    "  --talk SECONDS      mean talk; default 15\n"
    "  --reserve-ms N      talk time to hold funds for; default 10000\n"
    "  --reaction-ms N     from CUT_OFF to the end of the talk; default 300\n"
    "  --duplicate P       share of requests that are sent twice; default 5%\n"
    "  --late P            of Starts and of Settles; default 5%\n"
    "  --lost P            of Starts and of Settles; default 2%\n"
    "  --hangup P          of calls: cancelled while they ring; default 5%\n"
    "  --silent P          of calls: left to the ring lease; default 2%\n"
    "  --topup SECONDS     mean time between a company's top-ups; default 10\n"
    "  --topup-micros N    their mean; default 100000\n"
    "  --hostile KIND      honest: only what keeps the Promise's premises; full: every\n"
    "                      fourth company also drops them, in half of its calls\n"
    "  --kill WHEN         kill -9 the last address's sidecar after so many seconds; none\n"
    "  --json              one JSON object instead of a table\n"
    "  --help\n"
    "\n"
    "The token of $CALLGATE_TOKEN is sent along if it is set.\n"
    "Exit: 0 all sound; 1 overspend, leak, wrong cost or another fault, or not prepared; 2 "
    "usage.\n";

enum flag {
	FLAG_ADDRESS = 256,
	FLAG_SEED,
	FLAG_FOR,
	FLAG_PLAN,
	FLAG_COMPANIES,
	FLAG_RATE,
	FLAG_RING_MS,
	FLAG_TALK,
	FLAG_RESERVE_MS,
	FLAG_REACTION_MS,
	FLAG_DUPLICATE,
	FLAG_LATE,
	FLAG_LOST,
	FLAG_HANGUP,
	FLAG_SILENT,
	FLAG_TOPUP,
	FLAG_TOPUP_MICROS,
	FLAG_HOSTILE,
	FLAG_KILL,
	FLAG_JSON,
	FLAG_HELP,
};

static const struct option flags[] = {
    {"address", required_argument, NULL, FLAG_ADDRESS},
    {"seed", required_argument, NULL, FLAG_SEED},
    {"for", required_argument, NULL, FLAG_FOR},
    {"plan", required_argument, NULL, FLAG_PLAN},
    {"companies", required_argument, NULL, FLAG_COMPANIES},
    {"rate", required_argument, NULL, FLAG_RATE},
    {"ring-ms", required_argument, NULL, FLAG_RING_MS},
    {"talk", required_argument, NULL, FLAG_TALK},
    {"reserve-ms", required_argument, NULL, FLAG_RESERVE_MS},
    {"reaction-ms", required_argument, NULL, FLAG_REACTION_MS},
    {"duplicate", required_argument, NULL, FLAG_DUPLICATE},
    {"late", required_argument, NULL, FLAG_LATE},
    {"lost", required_argument, NULL, FLAG_LOST},
    {"hangup", required_argument, NULL, FLAG_HANGUP},
    {"silent", required_argument, NULL, FLAG_SILENT},
    {"topup", required_argument, NULL, FLAG_TOPUP},
    {"topup-micros", required_argument, NULL, FLAG_TOPUP_MICROS},
    {"hostile", required_argument, NULL, FLAG_HOSTILE},
    {"kill", required_argument, NULL, FLAG_KILL},
    {"json", no_argument, NULL, FLAG_JSON},
    {"help", no_argument, NULL, FLAG_HELP},
    {NULL, 0, NULL, 0},
};

/* "5%" or "5": both are a twentieth. */
static double share(const char *flag)
{
	char *end;
	double value = strtod(optarg, &end);

	if (end == optarg || (*end != '\0' && strcmp(end, "%") != 0) ||
	    !(value >= 0 && value <= 50)) {
		cg_flags_refuse(flag, "0%..50%");
	}
	return value / 100;
}

static void add_address(struct sim_options *options)
{
	if (options->address_count == SIM_ADDRESSES_MAX) {
		cg_flags_refuse("address", "given at most 4 times");
	}
	options->addresses[options->address_count++] = optarg;
}

static double hostile(void)
{
	if (strcmp(optarg, "honest") == 0) {
		return 0;
	}
	if (strcmp(optarg, "full") == 0) {
		return 0.5;
	}
	cg_flags_refuse("hostile", "honest or full");
}

/* What happens to requests and calls; false where the flag is another one. */
static bool set_habit(struct sim_habits *habits, int flag)
{
	switch (flag) {
	case FLAG_SEED:
		habits->seed = (uint64_t)cg_flags_integer("seed", 0, INT64_MAX);
		return true;
	case FLAG_COMPANIES:
		habits->companies = (uint32_t)cg_flags_integer("companies", 1, 100000);
		return true;
	case FLAG_RATE:
		habits->calls_per_second = cg_flags_decimal("rate", 100000);
		return true;
	case FLAG_RING_MS:
		habits->ring_max_ms = cg_flags_integer("ring-ms", 0, 60000);
		return true;
	case FLAG_TALK:
		habits->talk_mean_ms = (int64_t)(cg_flags_decimal("talk", 3600) * 1000);
		return true;
	case FLAG_RESERVE_MS:
		habits->reserve_ms = cg_flags_integer("reserve-ms", 1000, 3600000);
		return true;
	case FLAG_DUPLICATE:
		habits->duplicate = share("duplicate");
		return true;
	case FLAG_LATE:
		habits->late = share("late");
		return true;
	case FLAG_LOST:
		habits->lost = share("lost");
		return true;
	case FLAG_HANGUP:
		habits->hangup = share("hangup");
		return true;
	case FLAG_SILENT:
		habits->silent = share("silent");
		return true;
	case FLAG_TOPUP:
		habits->topup_mean_ms = (int64_t)(cg_flags_decimal("topup", 86400) * 1000);
		return true;
	case FLAG_TOPUP_MICROS:
		habits->topup_mean_micros =
		    cg_flags_integer("topup-micros", 1, INT64_C(100000000000000));
		return true;
	case FLAG_HOSTILE:
		habits->hostile = hostile();
		return true;
	default:
		return false;
	}
}

static void set_flag(struct sim_options *options, int flag)
{
	switch (flag) {
	case FLAG_ADDRESS:
		add_address(options);
		return;
	case FLAG_FOR:
		options->seconds = cg_flags_decimal("for", 86400);
		return;
	case FLAG_PLAN:
		options->plan = optarg;
		return;
	case FLAG_REACTION_MS:
		options->reaction_ms = cg_flags_integer("reaction-ms", 0, 600000);
		return;
	case FLAG_KILL:
		options->kill_second =
		    strcmp(optarg, "none") == 0 ? 0 : cg_flags_decimal("kill", 86400);
		return;
	case FLAG_JSON:
		options->json = true;
		return;
	case FLAG_HELP:
		(void)fputs(usage, stdout);
		exit(0);
	default:
		cg_flags_refuse_unknown();
	}
}

static void check_options(struct sim_options *options)
{
	const char *last;

	if (options->address_count == 0 && getenv("CALLGATE_ADDRESS") != NULL) {
		options->addresses[options->address_count++] = getenv("CALLGATE_ADDRESS");
	}
	if (options->address_count == 0) {
		cg_flags_refuse("address", "given, or $CALLGATE_ADDRESS set");
	}
	last = options->addresses[options->address_count - 1];
	if (options->kill_second > 0 &&
	    (options->address_count < 2 || strncmp(last, "unix:", strlen("unix:")) != 0)) {
		cg_flags_refuse(
		    "kill", "used with two addresses or more, the last one a unix socket");
	}
}

static void read_options(int argc, char **argv, struct sim_options *ret_options)
{
	int flag;

	*ret_options = (struct sim_options){
	    .token = getenv("CALLGATE_TOKEN"),
	    .plan = "starter",
	    .seconds = 30,
	    .reaction_ms = 300,
	    .habits =
	        {
	            .seed = 1,
	            .companies = 200,
	            .calls_per_second = 100,
	            .talk_mean_ms = 15000,
	            .ring_max_ms = 2000,
	            .reserve_ms = 10000,
	            .topup_mean_ms = 10000,
	            .topup_mean_micros = 100000,
	            .duplicate = 0.05,
	            .late = 0.05,
	            .lost = 0.02,
	            .hangup = 0.05,
	            .silent = 0.02,
	        },
	};
	while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
		if (!set_habit(&ret_options->habits, flag)) {
			set_flag(ret_options, flag);
		}
	}
	cg_flags_refuse_rest(argc, argv);
	check_options(ret_options);
}

int main(int argc, char **argv)
{
	static struct sim_result result;
	struct sim_options options;
	struct sim *sim;

	read_options(argc, argv, &options);
	sim = sim_create(&options);
	if (sim == NULL) {
		return 2;
	}
	if (!sim_prepare(sim)) {
		sim_destroy(sim);
		return 1;
	}
	sim_run(sim, &result);
	sim_destroy(sim);
	sim_print(stdout, &options, &result);
	return sim_is_sound(&result) ? 0 : 1;
}
