/*
 * CRC-32C (Castagnoli, RFC 3720 B.4): places a company in its partition, the same for
 * every version and every process that ever serves a deployment.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BASE_CRC32C_H
#define CG_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t cg_crc32c(const void *data, size_t len);

#endif /* CG_BASE_CRC32C_H */
