/*
 * A company's id: 16 bytes in the store and in memory, 36 characters for people.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BASE_UUID_H
#define CG_BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

#define CG_UUID_TEXT_LEN 36

struct cg_uuid {
	uint8_t bytes[16];
};

/* Reads 8-4-4-4-12 hexadecimal digits of either case; writes *ret_uuid only on success. */
bool cg_uuid_parse(struct cg_view text, struct cg_uuid *ret_uuid);

/* Lower case, terminated. */
void cg_uuid_format(const struct cg_uuid *uuid, char text[CG_UUID_TEXT_LEN + 1]);

bool cg_uuid_equal(const struct cg_uuid *a, const struct cg_uuid *b);
bool cg_uuid_is_zero(const struct cg_uuid *uuid);

#endif /* CG_BASE_UUID_H */
