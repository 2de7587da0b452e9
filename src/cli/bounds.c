/*
 * The contract's bounds, in the words of the command line.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/bounds.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Every byte from `first` on is a lower-case letter, a digit or one of `others`. */
static bool is_made_of(const char *text, size_t first, const char *others)
{
	for (size_t i = first; text[i] != '\0'; i++) {
		if (!is_lower(text[i]) && !is_digit(text[i]) && strchr(others, text[i]) == NULL) {
			return false;
		}
	}
	return true;
}

static bool check_id(const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		if (text[i] < 0x21 || text[i] > 0x7e) {
			return false;
		}
	}
	return len >= 1 && len <= 128;
}

static bool check_destination(const char *text)
{
	size_t len = strlen(text);

	if (len == 0) {
		return true;
	}
	if (text[0] != '+' || len < 3 || len > 16 || text[1] == '0') {
		return false;
	}
	for (size_t i = 1; i < len; i++) {
		if (!is_digit(text[i])) {
			return false;
		}
	}
	return true;
}

/* A rate's prefix may also end after its first digit. */
static bool check_prefix(const char *text)
{
	return check_destination(text) ||
	    (text[0] == '+' && text[1] >= '1' && text[1] <= '9' && text[2] == '\0');
}

static bool check_meta(const char *text)
{
	const char *equals = strchr(text, '=');

	if (equals == NULL || equals == text || equals - text > 64) {
		return false;
	}
	for (const char *c = text; c < equals; c++) {
		bool letter = is_lower(*c) || (*c >= 'A' && *c <= 'Z');
		if (!letter && !is_digit(*c) && strchr("_.:-", *c) == NULL) {
			return false;
		}
	}
	return strlen(text) <= 4097 && cg_view_is_text(cg_view_of(equals + 1));
}

static bool check_int(const struct cg_flag *flag, const char *text, int64_t *ret_number)
{
	int64_t number;

	if (!cg_view_parse_int(cg_view_of(text), &number) || number < flag->min ||
	    number > flag->max || (flag->not_zero && number == 0)) {
		return false;
	}
	*ret_number = number;
	return true;
}

static bool check_choice(const char *const *choices, const char *text, int64_t *ret_number)
{
	for (int64_t i = 0; choices[i] != NULL; i++) {
		if (strcmp(choices[i], text) == 0) {
			*ret_number = i;
			return true;
		}
	}
	return false;
}

/* A word that stands twice is a slip; a set would hide it. */
static bool check_events(const char *const *choices, const char *text, int64_t *ret_number)
{
	int64_t set = 0;

	for (;;) {
		size_t len = strcspn(text, ",");
		int64_t bit = 0;

		for (unsigned i = 0; choices[i] != NULL; i++) {
			if (strlen(choices[i]) == len && strncmp(choices[i], text, len) == 0) {
				bit = INT64_C(1) << i;
			}
		}
		if (bit == 0 || (set & bit) != 0) {
			return false;
		}
		set |= bit;
		if (text[len] == '\0') {
			*ret_number = set;
			return true;
		}
		text += len + 1;
	}
}

static int two_digits(const char *text)
{
	return (text[0] - '0') * 10 + text[1] - '0';
}

/* A day that there is, in the years 1970 to 9999. */
static bool check_date(const char *text)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int year;
	int month;
	int day;
	bool leap;

	if (strlen(text) != 10) {
		return false;
	}
	for (size_t i = 0; i < 10; i++) {
		bool dash = i == 4 || i == 7;
		if (dash ? text[i] != '-' : !is_digit(text[i])) {
			return false;
		}
	}
	year = two_digits(text) * 100 + two_digits(text + 2);
	month = two_digits(text + 5);
	day = two_digits(text + 8);
	leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return year >= 1970 && month >= 1 && month <= 12 && day >= 1 &&
	    day <= days[month - 1] + (leap && month == 2 ? 1 : 0);
}

static bool check_token(const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		if (text[i] < 0x21 || text[i] > 0x7e) {
			return false;
		}
	}
	return len >= 1 && len <= 65536;
}

static bool check_on_off(const char *text, int64_t *ret_number)
{
	static const char *const off_on[] = {"off", "on", NULL};

	return check_choice(off_on, text, ret_number);
}

bool cg_bounds_check(const struct cg_flag *flag, const char *text, int64_t *ret_number)
{
	struct cg_uuid uuid;
	size_t len = strlen(text);

	switch (flag->kind) {
	case CG_FLAG_SWITCH:
		return true;
	case CG_FLAG_ON_OFF:
		return check_on_off(text, ret_number);
	case CG_FLAG_INT:
		return check_int(flag, text, ret_number);
	case CG_FLAG_UUID:
		return cg_uuid_parse(cg_view_of(text), &uuid);
	case CG_FLAG_ID:
		return check_id(text);
	case CG_FLAG_RESOURCE:
		return is_lower(text[0]) && len <= 64 && is_made_of(text, 1, "_");
	case CG_FLAG_DESTINATION:
		return check_destination(text);
	case CG_FLAG_PREFIX:
		return check_prefix(text);
	case CG_FLAG_CURRENCY:
		return len == 3 && is_lower(text[0]) && is_lower(text[1]) && is_lower(text[2]);
	case CG_FLAG_PLAN:
		return len >= 1 && len <= 64 && (is_lower(text[0]) || is_digit(text[0])) &&
		    is_made_of(text, 1, "_.-");
	case CG_FLAG_CHOICE:
		return check_choice(flag->choices, text, ret_number);
	case CG_FLAG_META:
		return check_meta(text);
	case CG_FLAG_TEXT:
		return len <= 256 && cg_view_is_text(cg_view_of(text));
	case CG_FLAG_PLAIN:
		return len >= 1 && len <= 4095;
	case CG_FLAG_TOKEN:
		return check_token(text);
	case CG_FLAG_EVENTS:
		return check_events(flag->choices, text, ret_number);
	case CG_FLAG_DATE:
		return check_date(text);
	case CG_FLAG_KIND_COUNT:
		break;
	}
	CG_UNREACHABLE();
}

static void describe_choices(const char *const *choices, char *text, size_t size)
{
	struct cg_buffer out;

	cg_buffer_init(&out, text, size - 1);
	cg_buffer_printf(&out, "one of");
	for (size_t i = 0; choices[i] != NULL; i++) {
		cg_buffer_printf(&out, "%s %s", i == 0 ? "" : ",", choices[i]);
	}
	text[out.len] = '\0';
}

/* The bounds that are the same for every flag of their kind. */
static const char *const fixed_bounds[CG_FLAG_KIND_COUNT] = {
    [CG_FLAG_SWITCH] = "given without a value",
    [CG_FLAG_ON_OFF] = "on or off",
    [CG_FLAG_UUID] = "a UUID of 36 characters",
    [CG_FLAG_ID] = "1..128 bytes of printable ASCII without spaces",
    [CG_FLAG_RESOURCE] = "[a-z][a-z0-9_]{0,63}",
    [CG_FLAG_DESTINATION] = "empty, or E.164: '+' and 2..15 digits, the first not 0",
    [CG_FLAG_PREFIX] = "empty, or '+' and 1..15 digits, the first not 0",
    [CG_FLAG_CURRENCY] = "ISO 4217 in lower case, three letters",
    [CG_FLAG_PLAN] = "1..64 of a-z, 0-9, '_', '.', '-', beginning with a letter or digit",
    [CG_FLAG_META] = "KEY=VALUE, the key 1..64 of [A-Za-z0-9_.:-], both together up to 4096 bytes",
    [CG_FLAG_TEXT] = "0..256 bytes of UTF-8",
    [CG_FLAG_PLAIN] = "1..4095 bytes",
    [CG_FLAG_TOKEN] = "1..65536 bytes of printable ASCII without spaces",
    [CG_FLAG_EVENTS] = "types of events, each once, as CUT_OFF,CREDITED; --help lists them",
    [CG_FLAG_DATE] = "a day, YYYY-MM-DD",
};

void cg_bounds_describe(const struct cg_flag *flag, char *text, size_t size)
{
	if (flag->kind == CG_FLAG_INT) {
		(void)snprintf(text, size, "a whole number, %" PRId64 "..%" PRId64 "%s", flag->min,
		    flag->max, flag->not_zero && flag->min < 0 ? ", not 0" : "");
	} else if (flag->kind == CG_FLAG_CHOICE) {
		describe_choices(flag->choices, text, size);
	} else {
		(void)snprintf(text, size, "%s", fixed_bounds[flag->kind]);
	}
}

static const char *const placeholders[CG_FLAG_KIND_COUNT] = {
    [CG_FLAG_SWITCH] = "",
    [CG_FLAG_ON_OFF] = " on|off",
    [CG_FLAG_INT] = " N",
    [CG_FLAG_UUID] = " UUID",
    [CG_FLAG_ID] = " ID",
    [CG_FLAG_RESOURCE] = " RESOURCE",
    [CG_FLAG_DESTINATION] = " +NUMBER",
    [CG_FLAG_PREFIX] = " +PREFIX",
    [CG_FLAG_CURRENCY] = " CODE",
    [CG_FLAG_PLAN] = " PLAN",
    [CG_FLAG_CHOICE] = " WORD",
    [CG_FLAG_META] = " KEY=VALUE",
    [CG_FLAG_TEXT] = " TEXT",
    [CG_FLAG_PLAIN] = " TEXT",
    [CG_FLAG_TOKEN] = " TOKEN",
    [CG_FLAG_EVENTS] = " TYPE,...",
    [CG_FLAG_DATE] = " DATE",
};

void cg_bounds_form(const struct cg_flag *flag, char *text, size_t size)
{
	if (flag->operand) {
		(void)snprintf(text, size, "%s", flag->name);
	} else {
		(void)snprintf(text, size, "--%s%s", flag->name, placeholders[flag->kind]);
	}
}
