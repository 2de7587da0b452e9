/*
 * Addresses as configurations have them: "unix:/path", "host:port", "[IPv6]:port".
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_LOOP_ADDRESS_H
#define CG_LOOP_ADDRESS_H

#include <stdbool.h>

#define CG_ADDRESS_HOST_MAX_BYTES 255

struct cg_address {
	bool is_unix;
	char host[CG_ADDRESS_HOST_MAX_BYTES + 1]; /* or the path */
	char port[6];
};

/* Writes *ret_address only on success; whether the host exists is not looked at. */
bool cg_address_parse(const char *text, struct cg_address *ret_address);

#endif /* CG_LOOP_ADDRESS_H */
