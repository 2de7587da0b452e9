/*
 * The patterns of the contract's header comment, one function each.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "rpc/rules.h"

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z');
}

static bool is_printable(struct cg_view text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < 0x21 || text.data[i] > 0x7E) {
			return false;
		}
	}
	return true;
}

bool cg_is_key(struct cg_view text)
{
	return text.len >= 1 && text.len <= CG_CALL_ID_MAX_BYTES && is_printable(text);
}

bool cg_is_reserved(struct cg_view text)
{
	/* References that the ledger itself makes out of others. */
	static const struct cg_view prefixes[] = {{"correction:", 11}, {"dup:", 4}, {"undo:", 5}};

	for (size_t i = 0; i < CG_COUNT_OF(prefixes); i++) {
		if (text.len >= prefixes[i].len &&
		    memcmp(text.data, prefixes[i].data, prefixes[i].len) == 0) {
			return true;
		}
	}
	return false;
}

bool cg_is_resource(struct cg_view text)
{
	if (text.len < 1 || text.len > 64 || !is_lower(text.data[0])) {
		return false;
	}
	for (size_t i = 1; i < text.len; i++) {
		if (!is_lower(text.data[i]) && !is_digit(text.data[i]) && text.data[i] != '_') {
			return false;
		}
	}
	return true;
}

bool cg_is_resource_or_empty(struct cg_view text)
{
	return text.len == 0 || cg_is_resource(text);
}

bool cg_is_destination(struct cg_view text)
{
	if (text.len == 0) {
		return true;
	}
	if (text.len < 3 || text.len > 16 || text.data[0] != '+' || text.data[1] == '0') {
		return false;
	}
	for (size_t i = 1; i < text.len; i++) {
		if (!is_digit(text.data[i])) {
			return false;
		}
	}
	return true;
}

bool cg_is_description(struct cg_view text)
{
	/* That it is text was checked before it was unpacked. */
	return text.len <= CG_DESCRIPTION_MAX_BYTES;
}

bool cg_is_plan_or_empty(struct cg_view text)
{
	if (text.len > CG_PLAN_ID_MAX_BYTES) {
		return false;
	}
	for (size_t i = 0; i < text.len; i++) {
		char c = text.data[i];
		if (!is_lower(c) && !is_digit(c) && c != '_' && c != '-') {
			return false;
		}
	}
	return true;
}

bool cg_is_plan(struct cg_view text)
{
	return text.len > 0 && cg_is_plan_or_empty(text);
}

bool cg_is_page_token(struct cg_view text)
{
	return text.len <= CG_PAGE_TOKEN_MAX_BYTES;
}

bool cg_is_resume_token(struct cg_view text)
{
	return text.len <= CG_RESUME_TOKEN_MAX_BYTES && is_printable(text);
}

bool cg_is_currency(struct cg_view text)
{
	return text.len == 3 && is_lower(text.data[0]) && is_lower(text.data[1]) &&
	    is_lower(text.data[2]);
}

bool cg_is_meta_key(struct cg_view text)
{
	if (text.len < 1 || text.len > 64) {
		return false;
	}
	for (size_t i = 0; i < text.len; i++) {
		char c = text.data[i];
		if (!is_alnum(c) && c != '_' && c != '.' && c != ':' && c != '-') {
			return false;
		}
	}
	return true;
}
