/*
 * What happened, for whoever reads a failed seed: the last lines are kept in a ring.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "sim.h"

#define LINES           160
#define LINE_BYTES      240
#define VIOLATIONS_KEPT 12

struct sim sim;

static char lines[LINES][LINE_BYTES];
static uint64_t line_count;
static char violations[VIOLATIONS_KEPT][LINE_BYTES];

uint64_t sim_below(uint64_t bound)
{
	return cg_random_below(&sim.random, bound);
}

bool sim_permille(unsigned chances)
{
	return sim_below(1000) < chances;
}

bool sim_fault(unsigned chances)
{
	return sim.has_faults && sim_permille(chances);
}

uint32_t sim_company_of(const void *bytes)
{
	for (uint32_t i = 0; i < SIM_COMPANIES; i++) {
		if (memcmp(sim.companies[i].bytes, bytes, sizeof sim.companies[i].bytes) == 0) {
			return i;
		}
	}
	return SIM_COMPANIES;
}

__attribute__((format(printf, 2, 0))) static void write_line(
    char *line, const char *format, va_list arguments)
{
	int len = snprintf(line, LINE_BYTES, "%8" PRIu64 " ", sim.now_ms);

	(void)vsnprintf(line + len, (size_t)(LINE_BYTES - len), format, arguments);
}

void sim_trace(const char *format, ...)
{
	va_list arguments;
	char *line = lines[line_count++ % LINES];

	va_start(arguments, format);
	write_line(line, format, arguments);
	va_end(arguments);
	if (sim.is_traced) {
		(void)printf("%s\n", line);
	}
}

void sim_violated(const char *format, ...)
{
	va_list arguments;
	char line[LINE_BYTES];

	va_start(arguments, format);
	write_line(line, format, arguments);
	va_end(arguments);
	sim_trace("VIOLATED %s", line + 9);
	if (sim.violations < VIOLATIONS_KEPT) {
		memcpy(violations[sim.violations], line, LINE_BYTES);
	}
	sim.violations++;
}

void sim_trace_print(void)
{
	uint64_t first = line_count > LINES ? line_count - LINES : 0;

	if (!sim.is_traced) {
		for (uint64_t i = first; i < line_count; i++) {
			(void)printf("  %s\n", lines[i % LINES]);
		}
	}
	(void)printf("seed %" PRIu64 " failed: %" PRIu32 " violations\n", sim.seed, sim.violations);
	for (uint32_t i = 0; i < sim.violations && i < VIOLATIONS_KEPT; i++) {
		(void)printf("  %s\n", violations[i]);
	}
}

void sim_trace_reset(void)
{
	line_count = 0;
}
