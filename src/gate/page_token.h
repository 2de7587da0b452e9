/*
 * Where a listing goes on: after which call of which company.  Opaque to callers, and
 * read as anything a peer sends: whatever is not exactly of this form is refused.
 *
 *   1:<a|c>:<partition>:<company>:<authorized_at_ms>:<call_id>
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_GATE_PAGE_TOKEN_H
#define CG_GATE_PAGE_TOKEN_H

#include "gate/ports/types.h"

struct cg_page_token {
	bool all_companies; /* the listing it belongs to */
	uint32_t partition;
	struct cg_uuid company;
	int64_t at_ms;
	struct cg_view call_id; /* of the text it was parsed from */
};

void cg_page_token_format(const struct cg_page_token *token, struct cg_buffer *text);

/* Also checks that the company belongs to the partition.  Writes *ret_token only on success. */
bool cg_page_token_parse(
    struct cg_view text, uint32_t partition_count, struct cg_page_token *ret_token);

#endif /* CG_GATE_PAGE_TOKEN_H */
