/* SPDX-License-Identifier: Apache-2.0 */
#include "load/load.h"

#include <inttypes.h>

#include "base/base.h"

const char *const load_op_names[LOAD_OP_COUNT] = {
    "authorize", "settle", "cancel", "cycle", "balance", "health"};

static const struct {
	const char *name;
	double share;
} percentiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}};

static uint64_t failures(const struct load_part *part)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < CG_COUNT_OF(part->errors); i++) {
		sum += part->errors[i];
	}
	return sum;
}

static double microseconds(const struct load_part *part, double share)
{
	return (double)cg_histogram_percentile(&part->durations, share) / 1000;
}

static double rate(const struct load_part *part, const struct load_result *result)
{
	return (double)part->durations.count / result->seconds;
}

/* CPU time in microseconds.  This program's own is told too: a server's figures mean little beside
 * a generator that is full. */
static double per_operation(const struct load_result *result, double seconds)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < result->part_count; i++) {
		count += result->parts[i].durations.count + failures(&result->parts[i]);
	}
	return count == 0 ? 0 : seconds * 1e6 / (double)count;
}

static void print_cpu_of_json(
    FILE *to, const struct load_options *options, const struct load_result *result)
{
	(void)fprintf(to, "\"cpu_us_per_op_of\":{");
	for (unsigned i = 0; i < options->cpu_of_count; i++) {
		(void)fprintf(to, "%s\"%" PRIu32 "\":%.2f", i > 0 ? "," : "", options->cpu_of[i],
		    per_operation(result, result->cpu_of_seconds[i]));
	}
	(void)fprintf(to, "},");
}

static void print_errors_json(FILE *to, const struct load_part *part)
{
	const char *separator = "";

	(void)fprintf(to, "\"errors\":{");
	for (size_t i = 0; i < CG_COUNT_OF(part->errors); i++) {
		if (part->errors[i] > 0) {
			(void)fprintf(to, "%s\"%s\":%" PRIu64, separator,
			    callgate_status_name((enum callgate_status)i), part->errors[i]);
			separator = ",";
		}
	}
	(void)fprintf(to, "}");
}

static void print_json(
    FILE *to, const struct load_options *options, const struct load_result *result)
{
	(void)fprintf(to,
	    "{\"op\":\"%s\",\"in_flight\":%" PRIu32 ",\"companies\":%" PRIu32
	    ",\"seconds\":%.3f,\"warm_up_count\":%" PRIu64 ",\"client_cpu_us_per_op\":%.2f,",
	    load_op_names[options->op], options->in_flight, options->companies, result->seconds,
	    result->warm_up_count, per_operation(result, result->cpu_seconds));
	print_cpu_of_json(to, options, result);
	(void)fprintf(to, "\"parts\":{");
	for (unsigned i = 0; i < result->part_count; i++) {
		const struct load_part *part = &result->parts[i];

		(void)fprintf(to,
		    "%s\"%s\":{\"count\":%" PRIu64 ",\"rate_per_second\":%.1f,\"denied\":%" PRIu64
		    ",\"latency_us\":{",
		    i > 0 ? "," : "", part->name, part->durations.count, rate(part, result),
		    part->denied);
		for (size_t j = 0; j < CG_COUNT_OF(percentiles); j++) {
			(void)fprintf(to, "%s\"%s\":%.1f", j > 0 ? "," : "", percentiles[j].name,
			    microseconds(part, percentiles[j].share));
		}
		(void)fprintf(to, "},");
		print_errors_json(to, part);
		(void)fprintf(to, "}");
	}
	(void)fprintf(to, "}}\n");
}

static void print_table(
    FILE *to, const struct load_options *options, const struct load_result *result)
{
	(void)fprintf(to, "%s, %" PRIu32 " in flight, %.1f s, client %.1f us of CPU each\n\n",
	    load_op_names[options->op], options->in_flight, result->seconds,
	    per_operation(result, result->cpu_seconds));
	for (unsigned i = 0; i < options->cpu_of_count; i++) {
		(void)fprintf(to, "process %" PRIu32 ": %.1f us of CPU each\n", options->cpu_of[i],
		    per_operation(result, result->cpu_of_seconds[i]));
	}
	(void)fprintf(to, "%-10s %9s %10s", "", "count", "per s");
	for (size_t j = 0; j < CG_COUNT_OF(percentiles); j++) {
		(void)fprintf(to, " %6s us", percentiles[j].name);
	}
	(void)fprintf(to, " %7s %7s\n", "denied", "errors");
	for (unsigned i = 0; i < result->part_count; i++) {
		const struct load_part *part = &result->parts[i];

		(void)fprintf(to, "%-10s %9" PRIu64 " %10.1f", part->name, part->durations.count,
		    rate(part, result));
		for (size_t j = 0; j < CG_COUNT_OF(percentiles); j++) {
			(void)fprintf(to, " %9.1f", microseconds(part, percentiles[j].share));
		}
		(void)fprintf(to, " %7" PRIu64 " %7" PRIu64 "\n", part->denied, failures(part));
	}
	for (unsigned i = 0; i < result->part_count; i++) {
		const struct load_part *part = &result->parts[i];

		for (size_t code = 0; code < CG_COUNT_OF(part->errors); code++) {
			if (part->errors[code] > 0) {
				(void)fprintf(to, "%s: %s: %" PRIu64 "\n", part->name,
				    callgate_status_name((enum callgate_status)code),
				    part->errors[code]);
			}
		}
	}
}

void load_print(FILE *to, const struct load_options *options, const struct load_result *result)
{
	if (options->json) {
		print_json(to, options, result);
	} else {
		print_table(to, options, result);
	}
}
