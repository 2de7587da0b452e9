/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/json/doc.h"

struct scan {
	const char *begin;
	const char *at;
	const char *end;
	size_t values_left;
	const char *wrong; /* what is, at `at` */
};

static bool fails(struct scan *s, const char *what)
{
	if (s->wrong == NULL) {
		s->wrong = what;
	}
	return false;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static void skip_blanks(struct scan *s)
{
	while (s->at < s->end && is_blank(*s->at)) {
		s->at++;
	}
}

static bool take(struct scan *s, char c)
{
	if (s->at < s->end && *s->at == c) {
		s->at++;
		return true;
	}
	return false;
}

static bool scan_word(struct scan *s, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0) {
		return fails(s, "no JSON value");
	}
	s->at += len;
	return true;
}

static bool scan_digits(struct scan *s)
{
	const char *from = s->at;

	while (s->at < s->end && is_digit(*s->at)) {
		s->at++;
	}
	return s->at > from || fails(s, "a number without digits");
}

static bool scan_number(struct scan *s)
{
	const char *from = s->at;

	(void)take(s, '-');
	if (take(s, '0')) {
		if (s->at < s->end && is_digit(*s->at)) {
			return fails(s, "a number that begins with 0");
		}
	} else if (!scan_digits(s)) {
		return false;
	}
	if (take(s, '.') && !scan_digits(s)) {
		return false;
	}
	if (take(s, 'e') || take(s, 'E')) {
		(void)(take(s, '+') || take(s, '-'));
		if (!scan_digits(s)) {
			return false;
		}
	}
	return s->at - from <= CG_DOC_NUMBER_BYTES_MAX || fails(s, "a number too long");
}

static bool scan_escape(struct scan *s)
{
	if (s->at == s->end) {
		return fails(s, "a string without an end");
	}
	char c = *s->at++;
	if (c != 'u') {
		return (c != '\0' && strchr("\"\\/bfnrt", c) != NULL) ||
		    fails(s, "an escape that JSON does not know");
	}
	for (int i = 0; i < 4; i++) {
		if (s->at == s->end || !is_hex(*s->at++)) {
			return fails(s, "an escape that JSON does not know");
		}
	}
	return true;
}

static bool scan_string(struct scan *s)
{
	if (!take(s, '"')) {
		return fails(s, "no string where one must be");
	}
	while (s->at < s->end) {
		unsigned char c = (unsigned char)*s->at++;
		if (c == '"') {
			return true;
		}
		if (c < 0x20) {
			return fails(s, "a control character in a string");
		}
		if (c == '\\' && !scan_escape(s)) {
			return false;
		}
	}
	return fails(s, "a string without an end");
}

static bool scan_value(struct scan *s, int depth);

static bool scan_key(struct scan *s)
{
	if (!scan_string(s)) {
		return false;
	}
	skip_blanks(s);
	if (!take(s, ':')) {
		return fails(s, "no colon behind a member's name");
	}
	skip_blanks(s);
	return true;
}

static bool scan_many(struct scan *s, bool is_object, int depth)
{
	char close = is_object ? '}' : ']';

	s->at++;
	skip_blanks(s);
	if (take(s, close)) {
		return true;
	}
	for (;;) {
		if ((is_object && !scan_key(s)) || !scan_value(s, depth + 1)) {
			return false;
		}
		skip_blanks(s);
		if (take(s, close)) {
			return true;
		}
		if (!take(s, ',')) {
			return fails(s, "no comma between two values");
		}
		skip_blanks(s);
	}
}

/* Recursion ends at CG_DOC_DEPTH_MAX. */
static bool scan_value(struct scan *s, int depth) /* NOLINT(misc-no-recursion) */
{
	if (s->at == s->end) {
		return fails(s, "no value where one must be");
	}
	if (s->values_left == 0) {
		return fails(s, "too many values");
	}
	s->values_left--;
	switch (*s->at) {
	case '{':
	case '[':
		return depth < CG_DOC_DEPTH_MAX ? scan_many(s, *s->at == '{', depth)
		                                : fails(s, "too deep");
	case '"':
		return scan_string(s);
	case 't':
		return scan_word(s, "true");
	case 'f':
		return scan_word(s, "false");
	case 'n':
		return scan_word(s, "null");
	default:
		return scan_number(s);
	}
}

static struct scan scan_of(struct cg_view text)
{
	/* An empty view may have no bytes to point to. */
	const char *begin = text.data == NULL ? "" : text.data;

	return (struct scan){
	    .begin = begin, .at = begin, .end = begin + text.len, .values_left = SIZE_MAX};
}

enum cg_status cg_doc_check(
    struct cg_view text, size_t values_max, struct cg_view *ret_value, struct cg_error *err)
{
	struct scan s = scan_of(text);

	s.values_left = values_max;
	skip_blanks(&s);
	const char *from = s.at;
	bool ok = scan_value(&s, 0);
	const char *to = s.at;
	if (ok) {
		skip_blanks(&s);
		ok = s.at == s.end || fails(&s, "more than one value");
	}
	if (!ok) {
		cg_error_set(err, "at byte %zu: %s", (size_t)(s.at - s.begin), s.wrong);
		return CG_INVALID;
	}
	*ret_value = (struct cg_view){from, (size_t)(to - from)};
	return CG_OK;
}

enum cg_doc_type cg_doc_type(struct cg_view value)
{
	if (value.len == 0) {
		return CG_DOC_NONE;
	}
	switch (value.data[0]) {
	case '{':
		return CG_DOC_OBJECT;
	case '[':
		return CG_DOC_ARRAY;
	case '"':
		return CG_DOC_STRING;
	case 't':
	case 'f':
		return CG_DOC_BOOL;
	case 'n':
		return CG_DOC_NULL;
	default:
		return CG_DOC_NUMBER;
	}
}

void cg_doc_walk(struct cg_doc_walk *walk, struct cg_view value)
{
	enum cg_doc_type type = cg_doc_type(value);

	*walk = (struct cg_doc_walk){.is_object = type == CG_DOC_OBJECT};
	if ((type == CG_DOC_OBJECT || type == CG_DOC_ARRAY) && value.len >= 2) {
		walk->left = (struct cg_view){value.data + 1, value.len - 2};
	}
}

bool cg_doc_next(struct cg_doc_walk *walk, struct cg_view *ret_key, struct cg_view *ret_value)
{
	struct scan s = scan_of(walk->left);
	struct cg_view key = {NULL, 0};

	skip_blanks(&s);
	(void)take(&s, ',');
	skip_blanks(&s);
	if (walk->is_object && s.at < s.end) {
		const char *from = s.at;
		if (!scan_string(&s)) {
			return false;
		}
		key = (struct cg_view){from, (size_t)(s.at - from)};
		skip_blanks(&s);
		if (!take(&s, ':')) {
			return false;
		}
		skip_blanks(&s);
	}
	const char *from = s.at;
	if (s.at == s.end || !scan_value(&s, 0)) {
		return false;
	}
	*ret_key = key;
	*ret_value = (struct cg_view){from, (size_t)(s.at - from)};
	walk->left = (struct cg_view){s.at, (size_t)(s.end - s.at)};
	return true;
}

bool cg_doc_is(struct cg_view value, const char *text)
{
	size_t len = strlen(text);

	return value.len == len + 2 && value.data[0] == '"' &&
	    memcmp(value.data + 1, text, len) == 0;
}

void cg_doc_members(
    struct cg_view object, const char *const *names, size_t count, struct cg_view *values)
{
	struct cg_doc_walk walk;
	struct cg_view key;
	struct cg_view value;

	memset(values, 0, count * sizeof *values);
	if (cg_doc_type(object) != CG_DOC_OBJECT) {
		return;
	}
	cg_doc_walk(&walk, object);
	while (cg_doc_next(&walk, &key, &value)) {
		for (size_t i = 0; i < count; i++) {
			if (cg_doc_is(key, names[i])) {
				values[i] = value;
				break;
			}
		}
	}
}

struct cg_view cg_doc_member(struct cg_view object, const char *name)
{
	struct cg_view value;

	cg_doc_members(object, &name, 1, &value);
	return value;
}

int cg_doc_bool(struct cg_view value)
{
	return cg_doc_type(value) != CG_DOC_BOOL ? -1 : value.data[0] == 't';
}
