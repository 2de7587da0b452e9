/*
 * JSON that somebody else wrote, read where it lies: a document is checked once, and then its
 * values are views into it.  Nothing is allocated, whatever the document holds: a report with
 * an hour's transcript costs one pass over its bytes, not a tree of its words.
 *
 * True of everything here:
 *  - a `value` is the raw text of one JSON value, without blanks around it;
 *  - cg_doc_check() comes first; what it has not accepted may be read wrongly, but never
 *    beyond its bytes;
 *  - a member that comes twice counts as it stands last, as the sender's own readers have it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EDGE_JSON_DOC_H
#define CG_EDGE_JSON_DOC_H

#include "base/base.h"

#define CG_DOC_DEPTH_MAX 64
/* Nobody's number needs more; what is longer is meant to cost. */
#define CG_DOC_NUMBER_BYTES_MAX 40

enum cg_doc_type {
	CG_DOC_NONE, /* no value: a member that is not there */
	CG_DOC_NULL,
	CG_DOC_BOOL,
	CG_DOC_NUMBER,
	CG_DOC_STRING,
	CG_DOC_ARRAY,
	CG_DOC_OBJECT,
};

/*
 * One JSON value and nothing behind it, as RFC 8259 has it, at most CG_DOC_DEPTH_MAX deep and
 * with at most `values_max` values.  *ret_value is it without the blanks.
 *   CG_OK
 *   CG_INVALID  it is not; `err` says what is wrong, and at which byte
 */
enum cg_status cg_doc_check(
    struct cg_view text, size_t values_max, struct cg_view *ret_value, struct cg_error *err);

enum cg_doc_type cg_doc_type(struct cg_view value);

/*
 * values[i] becomes the member called names[i], or an empty view where there is none, or where
 * `object` is none.  One pass, whatever is asked for.
 */
void cg_doc_members(
    struct cg_view object, const char *const *names, size_t count, struct cg_view *values);

/* One member alone. */
struct cg_view cg_doc_member(struct cg_view object, const char *name);

/* What is left to be walked over of an object or array; nothing of any other value. */
struct cg_doc_walk {
	struct cg_view left;
	bool is_object;
};

void cg_doc_walk(struct cg_doc_walk *walk, struct cg_view value);
/* False at the end.  *ret_key is raw, with its quotes; of an array's element it is empty. */
bool cg_doc_next(struct cg_doc_walk *walk, struct cg_view *ret_key, struct cg_view *ret_value);

/*
 * A string without quotes and escapes, terminated.  False, and an empty string, where it is
 * none, does not fit, or holds U+0000 or bytes that are no UTF-8.
 */
bool cg_doc_string(struct cg_view value, char *to, size_t size);

/* Whether it is this string, written without escapes. */
bool cg_doc_is(struct cg_view value, const char *text);

/*
 * A number times 10^`scale`, exactly, what is below one rounded half away from zero.  A number
 * in quotes counts as one.  False where it is none or beyond +-10^18.
 */
bool cg_doc_decimal(struct cg_view value, int scale, int64_t *ret_scaled);

/* 1 for true, 0 for false, -1 for anything else. */
int cg_doc_bool(struct cg_view value);

#endif /* CG_EDGE_JSON_DOC_H */
