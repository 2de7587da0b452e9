/*
 * The golden texts as bytes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef WIRE_BYTES_H
#define WIRE_BYTES_H

#include <stdlib.h>

#include "base/base.h"
#include "store/wire.h"

struct bytes {
	size_t len;
	char data[2048];
};

static inline struct bytes bytes_of(const char *hex)
{
	struct bytes bytes = {0};

	for (; hex[0] != '\0'; hex += 2) {
		char digits[3] = {hex[0], hex[1], '\0'};
		CG_ASSERT(bytes.len < sizeof bytes.data);
		bytes.data[bytes.len++] = (char)strtoul(digits, NULL, 16);
	}
	return bytes;
}

/* The same of a command, which names a function of version 1: of this version instead. */
static inline struct bytes command_of(const char *hex)
{
	const char *version = cg_wire_library_name() + strlen("callgate_v");
	struct bytes bytes = bytes_of(hex);
	size_t at = 0;

	/* From version 10 on the length before the name differs, too. */
	CG_ASSERT(strlen(version) == 1);
	while (at + 4 <= bytes.len && memcmp(bytes.data + at, "cg1_", 4) != 0) {
		at++;
	}
	CG_ASSERT(at + 4 <= bytes.len);
	bytes.data[at + 2] = version[0];
	return bytes;
}

#endif /* WIRE_BYTES_H */
