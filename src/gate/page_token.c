/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/page_token.h"

#include <inttypes.h>

#include "gate/ports/store.h"

void cg_page_token_format(const struct cg_page_token *token, struct cg_buffer *text)
{
	char company[CG_UUID_TEXT_LEN + 1];

	cg_uuid_format(&token->company, company);
	cg_buffer_printf(text, "1:%c:%" PRIu32 ":%s:%" PRId64 ":", token->all_companies ? 'a' : 'c',
	    token->partition, company, token->at_ms);
	cg_buffer_bytes(text, token->call_id.data, token->call_id.len);
}

/* Takes the text up to the next colon off `rest`; false where there is none. */
static bool take_field(struct cg_view *rest, struct cg_view *ret_field)
{
	size_t len = 0;

	while (len < rest->len && rest->data[len] != ':') {
		len++;
	}
	if (len == rest->len) {
		return false;
	}
	*ret_field = (struct cg_view){rest->data, len};
	*rest = (struct cg_view){rest->data + len + 1, rest->len - len - 1};
	return true;
}

static bool is_call_id(struct cg_view id)
{
	for (size_t i = 0; i < id.len; i++) {
		if (id.data[i] < 0x21 || id.data[i] > 0x7E) {
			return false;
		}
	}
	return id.len >= 1 && id.len <= CG_CALL_ID_MAX_BYTES;
}

static bool take_scope(struct cg_view *rest, bool *ret_all_companies)
{
	struct cg_view version;
	struct cg_view scope;

	if (!take_field(rest, &version) || !cg_view_equal(version, CG_VIEW_LITERAL("1")) ||
	    !take_field(rest, &scope) || scope.len != 1 ||
	    (scope.data[0] != 'a' && scope.data[0] != 'c')) {
		return false;
	}
	*ret_all_companies = scope.data[0] == 'a';
	return true;
}

static bool take_number(struct cg_view *rest, int64_t *ret_number)
{
	struct cg_view field;

	return take_field(rest, &field) && cg_view_parse_int(field, ret_number) && *ret_number >= 0;
}

bool cg_page_token_parse(
    struct cg_view text, uint32_t partition_count, struct cg_page_token *ret_token)
{
	struct cg_page_token token = {0};
	struct cg_view company;
	int64_t partition = 0;

	if (!take_scope(&text, &token.all_companies) || !take_number(&text, &partition) ||
	    !take_field(&text, &company) || !cg_uuid_parse(company, &token.company) ||
	    !take_number(&text, &token.at_ms) || !is_call_id(text)) {
		return false;
	}
	if (partition >= partition_count ||
	    cg_store_partition_of(&token.company, partition_count) != (uint32_t)partition) {
		return false;
	}
	token.partition = (uint32_t)partition;
	token.call_id = text;
	*ret_token = token;
	return true;
}
