/*
 * The golden texts as bytes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef WIRE_BYTES_H
#define WIRE_BYTES_H

#include <stdlib.h>

#include "base/base.h"

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

#endif /* WIRE_BYTES_H */
