/* SPDX-License-Identifier: Apache-2.0 */
#include "flags.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"

_Noreturn void cg_flags_refuse(const char *flag, const char *bound)
{
	(void)fprintf(stderr, "%s: --%s: must be %s\n", cg_flags_program, flag, bound);
	exit(2);
}

_Noreturn void cg_flags_refuse_unknown(void)
{
	(void)fprintf(stderr, "%s: see --help\n", cg_flags_program);
	exit(2);
}

void cg_flags_refuse_rest(int argc, char **argv)
{
	if (optind != argc) {
		(void)fprintf(
		    stderr, "%s: %s: unexpected; see --help\n", cg_flags_program, argv[optind]);
		exit(2);
	}
}

int64_t cg_flags_integer(const char *flag, int64_t least, int64_t most)
{
	int64_t value;
	char bound[64];

	if (!cg_view_parse_int(cg_view_of(optarg), &value) || value < least || value > most) {
		(void)snprintf(bound, sizeof(bound), "%" PRId64 "..%" PRId64, least, most);
		cg_flags_refuse(flag, bound);
	}
	return value;
}

double cg_flags_decimal(const char *flag, double most)
{
	char *end;
	double value = strtod(optarg, &end);

	if (end == optarg || *end != '\0' || !(value > 0 && value <= most)) {
		char bound[64];

		(void)snprintf(bound, sizeof(bound), "above 0, at most %.0f", most);
		cg_flags_refuse(flag, bound);
	}
	return value;
}
