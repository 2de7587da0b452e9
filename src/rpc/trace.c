/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/trace.h"

#define TRACE_AT  3u
#define TRACE_LEN 32u
#define SPAN_AT   36u
#define SPAN_LEN  16u
#define FLAGS_AT  53u

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool is_zero(struct cg_view text, size_t at, size_t len)
{
	for (size_t i = at; i < at + len; i++) {
		if (text.data[i] != '0') {
			return false;
		}
	}
	return true;
}

bool cg_trace_is_parent(struct cg_view text)
{
	if (text.len != CG_TRACE_BYTES || text.data[0] != '0' || text.data[1] != '0') {
		return false;
	}
	for (size_t i = 2; i < text.len; i++) {
		bool is_dash = i == TRACE_AT - 1 || i == SPAN_AT - 1 || i == FLAGS_AT - 1;
		if (is_dash ? text.data[i] != '-' : !is_hex(text.data[i])) {
			return false;
		}
	}
	return !is_zero(text, TRACE_AT, TRACE_LEN) && !is_zero(text, SPAN_AT, SPAN_LEN);
}
