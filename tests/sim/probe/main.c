/*
 * simulated_redis: the store of the simulation by itself, for a test that says the same to a real
 * one.  Its argument is a function library's file; a line of the input is a call of the function
 * `probe` with the bytes that it says in hexadecimal, a line of the output its RESP reply likewise.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "scripting.h"

#define LIBRARY_BYTES (1 << 16)
#define LINE_BYTES    (1 << 16)

static int64_t now_us(void)
{
	return INT64_C(1700000000123456);
}

static struct cg_view read_library(const char *path, char memory[LIBRARY_BYTES])
{
	FILE *file = path == NULL ? NULL : fopen(path, "r");

	if (file == NULL) {
		(void)fputs("usage: simulated_redis LIBRARY <CALLS\n", stderr);
		exit(2);
	}
	size_t len = fread(memory, 1, LIBRARY_BYTES, file);
	CG_ASSERT(len < LIBRARY_BYTES);
	(void)fclose(file);
	return (struct cg_view){memory, len};
}

static uint8_t digit_of(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* In place. */
static struct cg_view bytes_of(char *line)
{
	size_t len = strcspn(line, "\n") / 2;

	for (size_t i = 0; i < len; i++) {
		line[i] = (char)(digit_of(line[2 * i]) << 4 | digit_of(line[2 * i + 1]));
	}
	return (struct cg_view){line, len};
}

static void print_reply(struct cg_view reply)
{
	for (size_t i = 0; i < reply.len; i++) {
		(void)printf("%02x", (uint8_t)reply.data[i]);
	}
	(void)putchar('\n');
	(void)fflush(stdout);
}

int main(int argc, char **argv)
{
	static char library[LIBRARY_BYTES], line[LINE_BYTES];
	struct mem mem = {0};
	struct scripting_server server = {.mem = &mem, .now_us = now_us};
	struct scripting *scripting =
	    scripting_create(&server, read_library(argc > 1 ? argv[1] : NULL, library));

	memset(server.run_id, 'a', sizeof server.run_id - 1);
	memset(server.replid, 'b', sizeof server.replid - 1);
	while (fgets(line, sizeof line, stdin) != NULL) {
		/* One key that is nobody's: what the commands touch stands in the argument. */
		static const struct cg_view key = {"{p}", 3};
		struct cg_view argument = bytes_of(line);
		print_reply(
		    scripting_call(scripting, CG_VIEW_LITERAL("probe"), &key, 1, &argument, 1));
	}
	scripting_destroy(scripting);
	mem_clear(&mem);
	return 0;
}
