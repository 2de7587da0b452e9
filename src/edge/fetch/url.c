/*
 * Where a request may go.  URLs are taken apart by libcurl itself, so that what is judged here is
 * what will be connected to.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <strings.h>

#include "edge/fetch/fetch.h"

struct range {
	uint32_t network;
	unsigned bits;
};

/* IANA's special-purpose registry: what is not globally reachable, or nobody's to call. */
static const struct range inside[] = {
    {0x00000000, 8},  /* this network */
    {0x0a000000, 8},  /* private */
    {0x64400000, 10}, /* shared by carriers */
    {0x7f000000, 8},  /* loopback */
    {0xa9fe0000, 16}, /* link-local, and the clouds' metadata */
    {0xac100000, 12}, /* private */
    {0xc0000000, 24}, /* protocol assignments */
    {0xc0000200, 24}, /* documentation */
    {0xc0a80000, 16}, /* private */
    {0xc6120000, 15}, /* benchmarks */
    {0xc6336400, 24}, /* documentation */
    {0xcb007100, 24}, /* documentation */
    {0xe0000000, 3},  /* multicast, reserved, broadcast */
};

static bool is_public_ipv4(uint32_t address)
{
	for (size_t i = 0; i < CG_COUNT_OF(inside); i++) {
		if ((address ^ inside[i].network) >> (32 - inside[i].bits) == 0) {
			return false;
		}
	}
	return true;
}

static uint32_t ipv4_in(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	    bytes[3];
}

/* Only what is handed out to networks, 2000::/3, and of that no tunnel to an address inside. */
static bool is_public_ipv6(const uint8_t *a)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};

	if (memcmp(a, mapped, sizeof mapped) == 0 || memcmp(a, nat64, sizeof nat64) == 0) {
		return is_public_ipv4(ipv4_in(a + 12));
	}
	if ((a[0] & 0xe0) != 0x20) {
		return false;
	}
	if (a[0] == 0x20 && a[1] == 0x02) {
		return is_public_ipv4(ipv4_in(a + 2));
	}
	bool is_special =
	    a[0] == 0x20 && a[1] == 0x01 && a[2] < 0x02; /* Teredo, and what is not for calls */
	bool is_documentation = a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0d && a[3] == 0xb8;
	return !is_special && !is_documentation;
}

bool cg_url_is_public(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, address, sizeof in);
		return is_public_ipv4(ntohl(in.sin_addr.s_addr));
	}
	if (address->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;
		memcpy(&in6, address, sizeof in6);
		return is_public_ipv6(in6.sin6_addr.s6_addr);
	}
	return false;
}

static bool is_loopback_host(const char *host)
{
	struct in_addr in;

	return strcmp(host, "[::1]") == 0 ||
	    (inet_pton(AF_INET, host, &in) == 1 && ntohl(in.s_addr) >> 24 == 127);
}

static bool ends_with(const char *host, const char *suffix, size_t len)
{
	size_t host_len = strlen(host);

	if (len == 0 || host_len < len) {
		return false;
	}
	/* ".vapi.ai" is for hosts below it; "vapi.ai" for that one alone. */
	bool fits = suffix[0] == '.' ? host_len > len : host_len == len;
	return fits && strncasecmp(host + host_len - len, suffix, len) == 0;
}

static bool is_named(const char *host, const char *suffixes)
{
	for (const char *at = suffixes; *at != '\0';) {
		size_t len = strcspn(at, ",");
		if (ends_with(host, at, len)) {
			return true;
		}
		at += len + (at[len] == ',' ? 1 : 0);
	}
	return false;
}

static char *part_of(CURLU *url, CURLUPart part)
{
	char *text = NULL;

	return curl_url_get(url, part, &text, 0) == CURLUE_OK ? text : NULL;
}

bool cg_url_is_allowed(const char *text, const char *suffixes, bool allow_private)
{
	CURLU *url = curl_url();
	bool allowed = false;

	if (url == NULL) {
		return false;
	}
	if (curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK) {
		char *scheme = part_of(url, CURLUPART_SCHEME);
		char *host = part_of(url, CURLUPART_HOST);
		char *user = part_of(url, CURLUPART_USER);
		char *password = part_of(url, CURLUPART_PASSWORD);

		if (scheme != NULL && host != NULL && user == NULL && password == NULL) {
			bool is_secure = strcmp(scheme, "https") == 0 ||
			    (allow_private && strcmp(scheme, "http") == 0 &&
			        is_loopback_host(host));
			allowed = is_secure && is_named(host, suffixes);
		}
		curl_free(scheme);
		curl_free(host);
		curl_free(user);
		curl_free(password);
	}
	curl_url_cleanup(url);
	return allowed;
}
