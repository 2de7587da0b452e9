/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/money.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/base.h"

void cg_money_format(int64_t micros, const char *currency, char text[CG_MONEY_TEXT_BYTES])
{
	/* Unsigned, since the most negative number has no positive counterpart. */
	uint64_t size = micros < 0 ? 0 - (uint64_t)micros : (uint64_t)micros;
	char code[8];
	size_t n = 0;

	for (; currency[n] != '\0' && n < sizeof code - 1; n++) {
		bool lower = currency[n] >= 'a' && currency[n] <= 'z';
		code[n] = (char)(lower ? currency[n] - 'a' + 'A' : currency[n]);
	}
	code[n] = '\0';
	(void)snprintf(text, CG_MONEY_TEXT_BYTES, "%s%" PRIu64 ".%06" PRIu64 "%s%s",
	    micros < 0 ? "-" : "", size / 1000000, size % 1000000, n == 0 ? "" : " ", code);
}

void cg_duration_format(int64_t ms, char text[CG_DURATION_TEXT_BYTES])
{
	uint64_t left = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
	uint64_t hours = left / 3600000;
	uint64_t minutes = left / 60000 % 60;
	uint64_t seconds = left / 1000 % 60;
	uint64_t rest = left % 1000;
	struct cg_buffer out;

	cg_buffer_init(&out, text, CG_DURATION_TEXT_BYTES - 1);
	cg_buffer_printf(&out, "%s", ms < 0 ? "-" : "");
	if (left < 1000) {
		cg_buffer_printf(&out, "%" PRIu64 " %s", left, left == 0 ? "s" : "ms");
	}
	if (hours > 0) {
		cg_buffer_printf(&out, "%" PRIu64 " h", hours);
	}
	if (minutes > 0) {
		cg_buffer_printf(&out, "%s%" PRIu64 " min", hours > 0 ? " " : "", minutes);
	}
	if (left >= 1000 && (seconds > 0 || rest > 0)) {
		cg_buffer_printf(&out, "%s%" PRIu64, left >= 60000 ? " " : "", seconds);
		if (rest > 0) {
			cg_buffer_printf(&out, ".%03" PRIu64, rest);
		}
		cg_buffer_printf(&out, " s");
	}
	text[out.len] = '\0';
}

void cg_time_format(int64_t at_ms, char text[CG_TIME_TEXT_BYTES])
{
	time_t seconds = (time_t)(at_ms / 1000);
	struct tm parts;
	char date[32];

	/* Beyond the year 9999 it is no date but a mistake; its number says more. */
	if (at_ms == 0) {
		(void)snprintf(text, CG_TIME_TEXT_BYTES, "-");
	} else if (at_ms < 0 || at_ms > INT64_C(253402300799999) ||
	    gmtime_r(&seconds, &parts) == NULL) {
		(void)snprintf(text, CG_TIME_TEXT_BYTES, "%" PRId64 " ms", at_ms);
	} else {
		(void)strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &parts);
		(void)snprintf(text, CG_TIME_TEXT_BYTES, "%s.%03d UTC", date, (int)(at_ms % 1000));
	}
}

int64_t cg_time_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
