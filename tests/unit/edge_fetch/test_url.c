/*
 * Where requests may go.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "edge/fetch/fetch.h"

static const struct {
	const char *url;
	bool allowed;
	bool with_private;
} urls[] = {
    {"https://a.vapi.ai/c/control", true, true},
    {"https://A.B.VAPI.AI:8443/control?x=1", true, true},
    {"https://vapi.ai/", false, false},
    {"https://exact.example/", true, true},
    {"https://sub.exact.example/", false, false},
    {"http://a.vapi.ai/", false, false},
    {"https://a.vapi.ai.evil.example/", false, false},
    {"https://evilvapi.ai/", false, false},
    {"https://a.vapi.ai@evil.example/", false, false},
    {"https://user@a.vapi.ai/", false, false},
    {"https://user:word@a.vapi.ai/", false, false},
    {"https://evil.example/#a.vapi.ai", false, false},
    {"https://evil.example/.vapi.ai", false, false},
    {"https://evil.example\\.vapi.ai/", false, false},
    {"ftp://a.vapi.ai/", false, false},
    {"file:///etc/passwd", false, false},
    {"gopher://a.vapi.ai/", false, false},
    {"a.vapi.ai", false, false},
    {"<https://a.vapi.ai/>", false, false},
    {"", false, false},
    {"http://127.0.0.1:80/", false, true},
    {"http://127.0.0.1.evil.example/", false, false},
    {"http://10.0.0.1/", false, false},
    {"https://127.0.0.1/", true, true},
};

static void test_urls(void **state)
{
	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(urls); i++) {
		const char *suffixes = ".vapi.ai,exact.example,127.0.0.1";
		if (cg_url_is_allowed(urls[i].url, suffixes, false) != urls[i].allowed ||
		    cg_url_is_allowed(urls[i].url, suffixes, true) != urls[i].with_private) {
			fail_msg("%s", urls[i].url);
		}
		assert_false(cg_url_is_allowed(urls[i].url, "", true));
	}
}

static const struct {
	const char *address;
	bool is_public;
} addresses[] = {
    {"1.1.1.1", true},
    {"9.255.255.255", true},
    {"10.0.0.0", false},
    {"11.0.0.0", true},
    {"0.0.0.0", false},
    {"100.63.255.255", true},
    {"100.64.0.1", false},
    {"100.128.0.0", true},
    {"127.0.0.1", false},
    {"169.254.169.254", false},
    {"172.15.255.255", true},
    {"172.16.0.1", false},
    {"172.31.255.255", false},
    {"172.32.0.0", true},
    {"192.168.1.1", false},
    {"198.18.0.1", false},
    {"224.0.0.1", false},
    {"255.255.255.255", false},
    {"2606:4700::1111", true},
    {"::1", false},
    {"::", false},
    {"fe80::1", false},
    {"fc00::1", false},
    {"ff02::1", false},
    {"::ffff:127.0.0.1", false},
    {"::ffff:1.1.1.1", true},
    {"64:ff9b::10.0.0.1", false},
    {"2002:7f00:1::", false},
    {"2001:db8::1", false},
    {"2001:0:1::", false},
};

static void test_addresses(void **state)
{
	(void)state;
	for (size_t i = 0; i < CG_COUNT_OF(addresses); i++) {
		struct sockaddr_in in = {.sin_family = AF_INET};
		struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
		bool is_public = false;

		if (inet_pton(AF_INET, addresses[i].address, &in.sin_addr) == 1) {
			is_public = cg_url_is_public((struct sockaddr *)&in);
		} else {
			assert_int_equal(
			    inet_pton(AF_INET6, addresses[i].address, &in6.sin6_addr), 1);
			is_public = cg_url_is_public((struct sockaddr *)&in6);
		}
		if (is_public != addresses[i].is_public) {
			fail_msg("%s", addresses[i].address);
		}
	}
	assert_false(cg_url_is_public(&(struct sockaddr){.sa_family = AF_UNIX}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_urls),
	    cmocka_unit_test(test_addresses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
