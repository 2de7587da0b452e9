/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/address.h"

#include <string.h>
#include <sys/un.h>

#include "base/base.h"

static bool is_port(const char *text)
{
	int64_t port = 0;

	return cg_view_parse_int(cg_view_of(text), &port) && port >= 1 && port <= 65535 &&
	    strlen(text) < sizeof(((struct cg_address *)0)->port);
}

/* libuv cuts a path that is too long instead of refusing it. */
static bool parse_path(const char *path, struct cg_address *address)
{
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		return false;
	}
	address->is_unix = true;
	memcpy(address->host, path, len + 1);
	return true;
}

static bool parse_host(const char *text, struct cg_address *address)
{
	const char *colon = strrchr(text, ':');

	if (colon == NULL || !is_port(colon + 1)) {
		return false;
	}
	size_t len = (size_t)(colon - text);
	bool bracketed = len >= 2 && text[0] == '[' && text[len - 1] == ']';

	if (bracketed) {
		text++;
		len -= 2;
	} else if (memchr(text, ':', len) != NULL) {
		return false; /* An IPv6 address without brackets: which colon is the port's? */
	}
	if (len == 0 || len > CG_ADDRESS_HOST_MAX_BYTES) {
		return false;
	}
	memcpy(address->host, text, len);
	address->host[len] = '\0';
	memcpy(address->port, colon + 1, strlen(colon + 1) + 1);
	return true;
}

bool cg_address_parse(const char *text, struct cg_address *ret_address)
{
	struct cg_address address = {0};
	bool ok = strncmp(text, "unix:", 5) == 0 ? parse_path(text + 5, &address)
	                                         : parse_host(text, &address);

	if (ok) {
		*ret_address = address;
	}
	return ok;
}
