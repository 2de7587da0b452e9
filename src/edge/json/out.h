/*
 * JSON that we write.  Commas are put where they belong; what does not fit the memory sets
 * `overflow` in the buffer, so that one look at the end is enough.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EDGE_JSON_OUT_H
#define CG_EDGE_JSON_OUT_H

#include "base/base.h"

struct cg_out {
	struct cg_buffer buffer;
	bool needs_comma;
};

void cg_out_init(struct cg_out *out, void *memory, size_t capacity);

/* `key`: NULL for an array's element and for the outermost value. */
void cg_out_object(struct cg_out *out, const char *key);
void cg_out_array(struct cg_out *out, const char *key);
void cg_out_end(struct cg_out *out, char bracket); /* '}' or ']' */
void cg_out_text(struct cg_out *out, const char *key, const char *text);
void cg_out_int(struct cg_out *out, const char *key, int64_t value);
void cg_out_bool(struct cg_out *out, const char *key, bool value);
/* A value, or a member with its raw key, as it stands in another document. */
void cg_out_raw(struct cg_out *out, const char *key, struct cg_view value);
void cg_out_member(struct cg_out *out, struct cg_view raw_key, struct cg_view value);

static inline struct cg_view cg_out_view(const struct cg_out *out)
{
	return cg_buffer_view(&out->buffer);
}

#endif /* CG_EDGE_JSON_OUT_H */
