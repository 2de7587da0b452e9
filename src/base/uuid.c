/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uuid.h"

static int digit_value(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	if (c >= 'A' && c <= 'F') {
		return c - 'A' + 10;
	}
	return -1;
}

static bool is_dash_position(size_t i)
{
	return i == 8 || i == 13 || i == 18 || i == 23;
}

bool cg_uuid_parse(struct cg_view text, struct cg_uuid *ret_uuid)
{
	struct cg_uuid uuid = {{0}};
	size_t nibble = 0;

	if (text.len != CG_UUID_TEXT_LEN) {
		return false;
	}
	for (size_t i = 0; i < CG_UUID_TEXT_LEN; i++) {
		if (is_dash_position(i)) {
			if (text.data[i] != '-') {
				return false;
			}
			continue;
		}
		int value = digit_value(text.data[i]);
		if (value < 0) {
			return false;
		}
		uuid.bytes[nibble / 2] = (uint8_t)((uuid.bytes[nibble / 2] << 4) | value);
		nibble++;
	}
	*ret_uuid = uuid;
	return true;
}

void cg_uuid_format(const struct cg_uuid *uuid, char text[CG_UUID_TEXT_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";
	size_t nibble = 0;

	for (size_t i = 0; i < CG_UUID_TEXT_LEN; i++) {
		if (is_dash_position(i)) {
			text[i] = '-';
			continue;
		}
		uint8_t byte = uuid->bytes[nibble / 2];
		text[i] = digits[nibble % 2 == 0 ? byte >> 4 : byte & 0x0F];
		nibble++;
	}
	text[CG_UUID_TEXT_LEN] = '\0';
}

bool cg_uuid_equal(const struct cg_uuid *a, const struct cg_uuid *b)
{
	return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool cg_uuid_is_zero(const struct cg_uuid *uuid)
{
	static const struct cg_uuid zero = {{0}};
	return cg_uuid_equal(uuid, &zero);
}
