/* SPDX-License-Identifier: Apache-2.0 */
#include "base/view.h"

int cg_view_compare(struct cg_view a, struct cg_view b)
{
	size_t shorter = a.len < b.len ? a.len : b.len;
	int order = shorter == 0 ? 0 : memcmp(a.data, b.data, shorter);

	if (order != 0) {
		return order;
	}
	return (a.len > b.len) - (a.len < b.len);
}

/*
 * The length of the sequence that begins with `lead`, and the range of its second
 * byte: that range is what excludes overlong forms, surrogates and values above
 * U+10FFFF (Unicode 15, table 3-7).
 */
static size_t sequence_length(unsigned char lead, unsigned char *ret_low, unsigned char *ret_high)
{
	*ret_low = 0x80;
	*ret_high = 0xBF;
	if (lead >= 0xC2 && lead <= 0xDF) {
		return 2;
	}
	if (lead >= 0xE0 && lead <= 0xEF) {
		*ret_low = lead == 0xE0 ? 0xA0 : 0x80;
		*ret_high = lead == 0xED ? 0x9F : 0xBF;
		return 3;
	}
	if (lead >= 0xF0 && lead <= 0xF4) {
		*ret_low = lead == 0xF0 ? 0x90 : 0x80;
		*ret_high = lead == 0xF4 ? 0x8F : 0xBF;
		return 4;
	}
	return 0;
}

bool cg_view_is_text(struct cg_view v)
{
	const unsigned char *bytes = (const unsigned char *)v.data;
	size_t i = 0;

	while (i < v.len) {
		if (bytes[i] < 0x80) {
			if (bytes[i] == 0) {
				return false;
			}
			i++;
			continue;
		}

		unsigned char low = 0;
		unsigned char high = 0;
		size_t length = sequence_length(bytes[i], &low, &high);
		if (length == 0 || v.len - i < length || bytes[i + 1] < low ||
		    bytes[i + 1] > high) {
			return false;
		}
		for (size_t k = 2; k < length; k++) {
			if ((bytes[i + k] & 0xC0) != 0x80) {
				return false;
			}
		}
		i += length;
	}
	return true;
}

bool cg_view_parse_int(struct cg_view v, int64_t *ret_value)
{
	bool negative = v.len > 0 && v.data[0] == '-';
	size_t first = negative ? 1 : 0;
	int64_t value = 0;

	/* 18 digits cannot overflow an int64. */
	if (v.len <= first || v.len - first > 18) {
		return false;
	}
	for (size_t i = first; i < v.len; i++) {
		if (v.data[i] < '0' || v.data[i] > '9') {
			return false;
		}
		value = value * 10 + (v.data[i] - '0');
	}
	*ret_value = negative ? -value : value;
	return true;
}
