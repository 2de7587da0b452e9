/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32c.h"

/* The remainder of each value of four bits: 64 bytes, which stay in the cache. */
static const uint32_t remainders[16] = {
    UINT32_C(0x00000000),
    UINT32_C(0x105EC76F),
    UINT32_C(0x20BD8EDE),
    UINT32_C(0x30E349B1),
    UINT32_C(0x417B1DBC),
    UINT32_C(0x5125DAD3),
    UINT32_C(0x61C69362),
    UINT32_C(0x7198540D),
    UINT32_C(0x82F63B78),
    UINT32_C(0x92A8FC17),
    UINT32_C(0xA24BB5A6),
    UINT32_C(0xB21572C9),
    UINT32_C(0xC38D26C4),
    UINT32_C(0xD3D3E1AB),
    UINT32_C(0xE330A81A),
    UINT32_C(0xF36E6F75),
};

uint32_t cg_crc32c(const void *data, size_t len)
{
	const uint8_t *bytes = data;
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		crc ^= bytes[i];
		crc = (crc >> 4) ^ remainders[crc & 0x0F];
		crc = (crc >> 4) ^ remainders[crc & 0x0F];
	}
	return ~crc;
}
