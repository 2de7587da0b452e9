/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"

#define LINE_BYTES 1024

static enum cg_log_level lowest = CG_LOG_INFO;
static int descriptor = STDERR_FILENO;

void cg_log_set_level(enum cg_log_level level)
{
	lowest = level;
}

bool cg_log_is_on(enum cg_log_level level)
{
	return level >= lowest;
}

void cg_log_set_descriptor(int fd)
{
	descriptor = fd;
}

static bool is_plain(char c)
{
	return c > ' ' && c < 0x7F && c != '"' && c != '=' && c != '\\';
}

static void put_value(struct cg_buffer *line, const char *value)
{
	bool plain = value[0] != '\0';

	for (const char *c = value; *c != '\0'; c++) {
		plain = plain && is_plain(*c);
	}
	if (plain) {
		cg_buffer_bytes(line, value, strlen(value));
		return;
	}
	cg_buffer_bytes(line, "\"", 1);
	for (const char *c = value; *c != '\0'; c++) {
		if (*c == '"' || *c == '\\') {
			cg_buffer_printf(line, "\\%c", *c);
		} else if ((unsigned char)*c < 0x20 || *c == 0x7F) {
			cg_buffer_printf(line, "\\x%02x", (unsigned char)*c);
		} else {
			cg_buffer_bytes(line, c, 1);
		}
	}
	cg_buffer_bytes(line, "\"", 1);
}

static void put_prefix(struct cg_buffer *line, enum cg_log_level level)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};
	struct timespec now;
	struct tm utc;
	char text[32];

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &utc);
	(void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
	cg_buffer_printf(
	    line, "at=%s.%03ldZ level=%s msg=", text, now.tv_nsec / 1000000, names[level]);
}

void cg_log(enum cg_log_level level, const char *what, ...)
{
	char memory[LINE_BYTES];
	struct cg_buffer line;
	va_list args;

	if (level < lowest) {
		return;
	}
	cg_buffer_init(&line, memory, sizeof memory - 1);
	put_prefix(&line, level);
	put_value(&line, what);

	va_start(args, what);
	for (const char *key = va_arg(args, const char *); key != NULL;
	     key = va_arg(args, const char *)) {
		const char *value = va_arg(args, const char *);
		cg_buffer_printf(&line, " %s=", key);
		put_value(&line, value == NULL ? "" : value);
	}
	va_end(args);

	memory[line.len] = '\n';
	/* A log that cannot be written has nobody left to tell. */
	ssize_t written = write(descriptor, memory, line.len + 1);
	(void)written;
}

const char *cg_log_int(int64_t value)
{
	static _Thread_local char texts[8][24];
	static _Thread_local unsigned next;
	char *text = texts[next++ % 8];

	(void)snprintf(text, sizeof texts[0], "%" PRId64, value);
	return text;
}

int cg_log_limit_admits(
    struct cg_log_limit *limit, uint64_t now_ms, uint64_t interval_ms, uint64_t *ret_held_back)
{
	if (now_ms < limit->next_at_ms) {
		limit->held_back++;
		return 0;
	}
	*ret_held_back = limit->held_back;
	*limit = (struct cg_log_limit){.next_at_ms = now_ms + interval_ms};
	return 1;
}
