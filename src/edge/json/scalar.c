/*
 * What a string or a number says.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "edge/json/doc.h"

#define LARGEST INT64_C(1000000000000000000)

static unsigned hex_of(char c)
{
	if (c >= '0' && c <= '9') {
		return (unsigned)(c - '0');
	}
	return (unsigned)((c | 0x20) - 'a') + 10;
}

static uint32_t unit_at(const char *digits)
{
	uint32_t unit = 0;

	for (int i = 0; i < 4; i++) {
		unit = unit << 4 | (hex_of(digits[i]) & 0xf);
	}
	return unit;
}

static size_t put_code_point(uint32_t c, char bytes[4])
{
	if (c < 0x80) {
		bytes[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		bytes[0] = (char)(0xc0 | c >> 6);
		bytes[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		bytes[0] = (char)(0xe0 | c >> 12);
		bytes[1] = (char)(0x80 | (c >> 6 & 0x3f));
		bytes[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	bytes[0] = (char)(0xf0 | c >> 18);
	bytes[1] = (char)(0x80 | (c >> 12 & 0x3f));
	bytes[2] = (char)(0x80 | (c >> 6 & 0x3f));
	bytes[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* Behind "\u": the code point, of a pair if it is one; half of one becomes U+FFFD. */
static uint32_t code_point_at(const char **at, const char *end)
{
	uint32_t first = unit_at(*at);

	*at += 4;
	if (first < 0xd800 || first > 0xdfff) {
		return first;
	}
	if (first < 0xdc00 && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u') {
		uint32_t second = unit_at(*at + 2);
		if (second >= 0xdc00 && second <= 0xdfff) {
			*at += 6;
			return 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
		}
	}
	return 0xfffd;
}

static uint32_t escaped(const char **at, const char *end)
{
	char c = *(*at)++;

	switch (c) {
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'u':
		return end - *at >= 4 ? code_point_at(at, end) : 0;
	default:
		return (unsigned char)c;
	}
}

bool cg_doc_string(struct cg_view value, char *to, size_t size)
{
	size_t len = 0;

	to[0] = '\0';
	if (cg_doc_type(value) != CG_DOC_STRING || value.len < 2) {
		return false;
	}
	const char *end = value.data + value.len - 1;
	for (const char *at = value.data + 1; at < end;) {
		char bytes[4] = {*at++};
		size_t count = 1;
		if (bytes[0] == '\\' && at < end) {
			count = put_code_point(escaped(&at, end), bytes);
		}
		if (len + count >= size) {
			to[0] = '\0';
			return false;
		}
		memcpy(to + len, bytes, count);
		len += count;
	}
	to[len] = '\0';
	if (!cg_view_is_text((struct cg_view){to, len})) {
		to[0] = '\0';
		return false;
	}
	return true;
}

/* The digits as one integer, and where its decimal point is. */
struct decimal {
	int64_t digits;
	int64_t places; /* behind the point */
	bool rounds_up; /* the first digit that was left out is 5 or more */
	bool is_negative;
};

static bool read_exponent(struct cg_view text, size_t at, int64_t *ret_exponent)
{
	bool is_negative = false;

	if (at < text.len && (text.data[at] == '+' || text.data[at] == '-')) {
		is_negative = text.data[at++] == '-';
	}
	int64_t exponent = 0;
	if (at == text.len || text.len - at > 3 ||
	    !cg_view_parse_int((struct cg_view){text.data + at, text.len - at}, &exponent) ||
	    exponent < 0) {
		return false;
	}
	*ret_exponent = is_negative ? -exponent : exponent;
	return true;
}

static bool read_decimal(struct cg_view text, struct decimal *d)
{
	size_t at = 0;
	bool behind_point = false;
	size_t digits = 0;

	*d = (struct decimal){0};
	if (at < text.len && text.data[at] == '-') {
		d->is_negative = true;
		at++;
	}
	for (; at < text.len; at++) {
		char c = text.data[at];
		if (c == '.' && !behind_point && digits > 0) {
			behind_point = true;
			continue;
		}
		if (c < '0' || c > '9') {
			break;
		}
		digits++;
		if (d->digits >= LARGEST / 10) {
			if (!behind_point) {
				return false; /* Beyond what anything here can be. */
			}
			continue; /* Too small to count. */
		}
		d->digits = d->digits * 10 + (c - '0');
		d->places += behind_point ? 1 : 0;
	}
	if (digits == 0) {
		return false;
	}
	if (at < text.len) {
		int64_t exponent = 0;
		if ((text.data[at] != 'e' && text.data[at] != 'E') ||
		    !read_exponent(text, at + 1, &exponent)) {
			return false;
		}
		d->places -= exponent;
	}
	return true;
}

bool cg_doc_decimal(struct cg_view value, int scale, int64_t *ret_scaled)
{
	struct decimal d;
	enum cg_doc_type type = cg_doc_type(value);

	if (type == CG_DOC_STRING && value.len >= 2) {
		value = (struct cg_view){value.data + 1, value.len - 2};
	} else if (type != CG_DOC_NUMBER) {
		return false;
	}
	if (!read_decimal(value, &d)) {
		return false;
	}
	int64_t scaled = d.digits;
	for (int64_t up = scale - d.places; up > 0 && scaled != 0; up--) {
		if (scaled > LARGEST / 10) {
			return false;
		}
		scaled *= 10;
	}
	for (int64_t down = d.places - scale; down > 0 && (scaled != 0 || d.rounds_up); down--) {
		d.rounds_up = scaled % 10 >= 5;
		scaled /= 10;
	}
	scaled += d.rounds_up ? 1 : 0;
	if (scaled > LARGEST) {
		return false;
	}
	*ret_scaled = d.is_negative ? -scaled : scaled;
	return true;
}
