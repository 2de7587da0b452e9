/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32c.h"

uint32_t cg_crc32c(const void *data, size_t len)
{
	const uint8_t *bytes = data;
	uint32_t crc = UINT32_MAX;

	/* Bit by bit: the input is a company id of 16 bytes, and no table leaves the cache for it. */
	for (size_t i = 0; i < len; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++) {
			crc = (crc >> 1) ^ (UINT32_C(0x82F63B78) & (0U - (crc & 1U)));
		}
	}
	return ~crc;
}
