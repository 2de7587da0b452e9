/*
 * Bytes that somebody else owns.  Not terminated: a peer's text may hold anything.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BASE_VIEW_H
#define CG_BASE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cg_view {
	const char *data; /* may be NULL where len is 0 */
	size_t len;
};

#define CG_VIEW_LITERAL(text) ((struct cg_view){(text), sizeof(text) - 1})

static inline struct cg_view cg_view_of(const char *text)
{
	return (struct cg_view){text, text == NULL ? 0 : strlen(text)};
}

static inline bool cg_view_equal(struct cg_view a, struct cg_view b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* memcmp order, the shorter first where one begins with the other. */
int cg_view_compare(struct cg_view a, struct cg_view b);

/* Well-formed UTF-8 (no surrogates, no overlong forms) without U+0000. */
bool cg_view_is_text(struct cg_view v);

/*
 * A decimal integer: an optional '-', then 1..18 digits, nothing else.
 * Writes *ret_value only on success.
 */
bool cg_view_parse_int(struct cg_view v, int64_t *ret_value);

#endif /* CG_BASE_VIEW_H */
