/*
 * What comes from the store, cut into replies.  A reply that arrives whole is read where it
 * lies; only one that is spread over several arrivals is put together here.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_STORE_INPUT_H
#define CG_STORE_INPUT_H

#include "store/resp.h"

struct cg_input {
	char *kept; /* the beginning of a reply whose end is to come */
	size_t kept_bytes;
	size_t capacity;
	/*
	 * Each reply, in order; its content is gone when this returns.  NULL: go on.  Else
	 * the reason, for people, why this connection is of no further use.
	 */
	const char *(*on_reply)(void *owner, const struct cg_resp *reply);
	void *owner;
	uint64_t resets;
};

void cg_input_init(struct cg_input *input,
    const char *(*on_reply)(void *owner, const struct cg_resp *reply), void *owner);
void cg_input_deinit(struct cg_input *input);

/* Forgets what was kept: a new connection begins.  Allowed from within on_reply, and then
 * the rest of the bytes is forgotten too. */
void cg_input_reset(struct cg_input *input);

/* NULL, or on_reply's reason, or one of its own: then the rest is forgotten. */
const char *cg_input_take(struct cg_input *input, struct cg_view bytes);

#endif /* CG_STORE_INPUT_H */
