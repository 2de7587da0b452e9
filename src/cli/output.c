/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/output.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "cli/money.h"

#define LABEL_WIDTH 18

void cg_output_add_text(json_t *object, const char *key, const char *text)
{
	json_t *value = text == NULL ? json_null() : json_string(text);

	json_object_set_new(
	    object, key, value == NULL ? json_string("(not printable text)") : value);
}

void cg_output_add_int(json_t *object, const char *key, int64_t value)
{
	json_object_set_new(object, key, json_integer(value));
}

void cg_output_add_bool(json_t *object, const char *key, bool value)
{
	json_object_set_new(object, key, json_boolean(value));
}

/*
 * The next character as it may be shown: itself, or "\\x1b" for a control.  C1 controls
 * are two bytes in UTF-8, and terminals obey them as well.  Answers the bytes it took.
 */
static size_t next_shown(const char *at, char shown[8])
{
	const unsigned char *c = (const unsigned char *)at;
	bool c1 = c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f;

	if (c1 || c[0] < 0x20 || c[0] == 0x7f) {
		(void)snprintf(shown, 8, "\\x%02x", (unsigned)(c1 ? c[1] : c[0]));
		return c1 ? 2 : 1;
	}
	shown[0] = at[0];
	shown[1] = '\0';
	return 1;
}

void cg_output_put(FILE *to, const char *text)
{
	char shown[8];

	while (*text != '\0') {
		text += next_shown(text, shown);
		(void)fputs(shown, to);
	}
}

static void copy_shown(const char *from, char text[CG_OUTPUT_CELL_BYTES])
{
	char shown[8];
	size_t len = 0;

	while (*from != '\0' && len + sizeof shown < CG_OUTPUT_CELL_BYTES) {
		from += next_shown(from, shown);
		memcpy(text + len, shown, strlen(shown));
		len += strlen(shown);
	}
	text[len] = '\0';
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text);
	size_t end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* "CALL_STATE_SETTLED" is "settled" to people. */
static const char *without_prefix(const char *text)
{
	static const char *const prefixes[] = {
	    "DECISION_", "CALL_STATE_", "DURATION_BASIS_", "ENTRY_TYPE_", "DURABILITY_"};

	for (size_t i = 0; i < CG_COUNT_OF(prefixes); i++) {
		size_t len = strlen(prefixes[i]);
		if (strncmp(text, prefixes[i], len) == 0) {
			return text + len;
		}
	}
	return NULL;
}

static void copy_word(const char *from, char text[CG_OUTPUT_CELL_BYTES])
{
	const char *word = without_prefix(from);
	size_t n = 0;

	if (word == NULL) {
		copy_shown(from, text);
		return;
	}
	for (; word[n] != '\0' && n < CG_OUTPUT_CELL_BYTES - 1; n++) {
		bool upper = word[n] >= 'A' && word[n] <= 'Z';
		text[n] = (char)(upper ? word[n] - 'A' + 'a' : word[n]);
	}
	text[n] = '\0';
	if (strcmp(text, "unspecified") == 0) {
		(void)snprintf(text, CG_OUTPUT_CELL_BYTES, "-");
	}
}

static void format_number(
    const char *key, int64_t number, const char *currency, char text[CG_OUTPUT_CELL_BYTES])
{
	char part[CG_DURATION_TEXT_BYTES];

	if (ends_with(key, "_micros") || ends_with(key, "_micros_per_minute")) {
		cg_money_format(number, currency, part);
		(void)snprintf(text, CG_OUTPUT_CELL_BYTES, "%s", part);
	} else if (ends_with(key, "_at_ms") || strcmp(key, "as_of_ms") == 0) {
		cg_time_format(number, part);
		(void)snprintf(text, CG_OUTPUT_CELL_BYTES, "%s", part);
	} else if (ends_with(key, "_ms")) {
		cg_duration_format(number, part);
		(void)snprintf(text, CG_OUTPUT_CELL_BYTES, "%s", part);
	} else {
		(void)snprintf(text, CG_OUTPUT_CELL_BYTES, "%" PRId64, number);
	}
}

void cg_output_cell(
    const char *key, const json_t *value, const char *currency, char text[CG_OUTPUT_CELL_BYTES])
{
	if (json_is_string(value)) {
		copy_word(json_string_value(value), text);
	} else if (json_is_integer(value)) {
		format_number(key, json_integer_value(value), currency, text);
	} else if (json_is_boolean(value)) {
		(void)snprintf(text, CG_OUTPUT_CELL_BYTES, json_is_true(value) ? "yes" : "no");
	} else {
		(void)snprintf(text, CG_OUTPUT_CELL_BYTES, "-");
	}
}

/* "posted_micros" is labelled "posted", "exhausts_at_ms" "exhausts at". */
static void make_label(const char *key, char *label, size_t size)
{
	static const char *const units[] = {"_micros_per_minute", "_micros", "_ms"};

	(void)snprintf(label, size, "%s", key);
	for (size_t i = 0; i < CG_COUNT_OF(units); i++) {
		if (ends_with(label, units[i])) {
			label[strlen(label) - strlen(units[i])] = '\0';
			break;
		}
	}
	if (ends_with(label, "_id") && strlen(label) > 3) {
		label[strlen(label) - 3] = '\0';
	}
	for (char *c = label; *c != '\0'; c++) {
		if (*c == '_') {
			*c = ' ';
		}
	}
}

/* The exact number behind an amount, for copying into another command. */
static void print_exact(const char *key, const json_t *value, const char *cell)
{
	int pad = 26 - (int)strlen(cell);

	if (ends_with(key, "_micros_per_minute")) {
		(void)printf("%*s  %" JSON_INTEGER_FORMAT " micros per minute", pad > 0 ? pad : 0,
		    "", json_integer_value(value));
	} else if (ends_with(key, "_micros")) {
		(void)printf("%*s  %" JSON_INTEGER_FORMAT " micros", pad > 0 ? pad : 0, "",
		    json_integer_value(value));
	} else if (ends_with(key, "_ms") && json_integer_value(value) != 0) {
		(void)printf("%*s  %" JSON_INTEGER_FORMAT " ms", pad > 0 ? pad : 0, "",
		    json_integer_value(value));
	}
}

static void print_price(const json_t *price)
{
	const char *code = json_string_value(json_object_get(price, "currency"));
	json_int_t rate = json_integer_value(json_object_get(price, "rate_micros_per_minute"));
	json_int_t fee = json_integer_value(json_object_get(price, "connect_fee_micros"));
	char text[CG_MONEY_TEXT_BYTES];

	cg_money_format(rate, code == NULL ? "" : code, text);
	(void)printf("%s a minute", text);
	cg_money_format(fee, code == NULL ? "" : code, text);
	(void)printf(", %s to connect\n%-*s at least %" JSON_INTEGER_FORMAT
	             " ms, in steps of %" JSON_INTEGER_FORMAT " ms\n",
	    text, LABEL_WIDTH, "", json_integer_value(json_object_get(price, "minimum_ms")),
	    json_integer_value(json_object_get(price, "increment_ms")));
}

static void print_fields(const char *currency, json_t *object);

/* What a field's value is made of decides how it is printed. */
static void print_field(const char *key, json_t *value, const char *currency)
{
	char label[64];
	char cell[CG_OUTPUT_CELL_BYTES];
	const char *name;
	json_t *item;

	make_label(key, label, sizeof label);
	if (json_is_null(value)) {
		return;
	}
	if (json_is_object(value) && strcmp(key, "price") == 0) {
		(void)printf("%-*s ", LABEL_WIDTH, label);
		print_price(value);
	} else if (json_is_object(value) && strcmp(key, "meta") == 0) {
		json_object_foreach(value, name, item)
		{
			(void)printf("%-*s ", LABEL_WIDTH, label);
			cg_output_put(stdout, name);
			(void)putchar('=');
			cg_output_put(stdout, json_string_value(item));
			(void)putchar('\n');
		}
	} else if (json_is_object(value)) {
		print_fields(currency, value);
	} else {
		cg_output_cell(key, value, currency, cell);
		(void)printf("%-*s ", LABEL_WIDTH, label);
		cg_output_put(stdout, cell);
		print_exact(key, value, cell);
		(void)putchar('\n');
	}
}

static void print_fields(const char *currency, json_t *object)
{
	const json_t *own = json_object_get(object, "currency");
	const char *key;
	json_t *value;

	if (!json_is_string(own)) {
		own = json_object_get(json_object_get(object, "price"), "currency");
	}
	json_object_foreach(object, key, value)
	{
		print_field(key, value, json_is_string(own) ? json_string_value(own) : currency);
	}
}

void cg_output_answer(
    const struct cg_cli *cli, const char *headline, const char *currency, json_t *answer)
{
	if (cli->args.json) {
		(void)json_dumpf(answer, stdout, JSON_INDENT(2));
		(void)putchar('\n');
	} else {
		if (headline != NULL) {
			cg_output_put(stdout, headline);
			(void)putchar('\n');
		}
		print_fields(currency, answer);
	}
	json_decref(answer);
}

void cg_output_say(const struct cg_cli *cli, const char *format, ...)
{
	char line[1024];
	va_list args;

	if (cli->args.json) {
		return;
	}
	va_start(args, format);
	(void)vsnprintf(line, sizeof line, format, args);
	va_end(args);
	cg_output_put(stdout, line);
	(void)putchar('\n');
}

enum cg_exit cg_output_error(
    const struct cg_cli *cli, enum cg_exit code, json_t *more, const char *text)
{
	const char *name = cli->args.command == NULL ? "" : cli->args.command->name;

	if (cli->kept != NULL) {
		cg_error_set(cli->kept, "%s", text);
		json_decref(more);
		return code;
	}
	if (cli->args.json) {
		json_t *error = more == NULL ? json_object() : more;
		json_t *answer = json_object();
		cg_output_add_text(error, "message", text);
		cg_output_add_int(error, "exit_code", code);
		json_object_set_new(answer, "error", error);
		(void)json_dumpf(answer, stderr, JSON_COMPACT);
		(void)fputc('\n', stderr);
		json_decref(answer);
		return code;
	}
	(void)fprintf(stderr, "callgate%s%s: ", name[0] == '\0' ? "" : " ", name);
	cg_output_put(stderr, text);
	(void)fputc('\n', stderr);
	json_decref(more);
	return code;
}

enum cg_exit cg_output_fail(const struct cg_cli *cli, enum cg_exit code, const char *field,
    const char *bound, const char *format, ...)
{
	json_t *more = json_object();
	char text[1024];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (field != NULL) {
		cg_output_add_text(more, "field", field);
	}
	if (bound != NULL) {
		cg_output_add_text(more, "bound", bound);
	}
	return cg_output_error(cli, code, more, text);
}
