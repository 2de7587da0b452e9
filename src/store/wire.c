/* SPDX-License-Identifier: Apache-2.0 */
#include "store/wire_internal.h"

/* Made from the files in callgate/ by cmake/embed.cmake. */
extern const char cg_wire_library_text[];
extern const size_t cg_wire_library_text_len;

/* CG_LIBRARY_VERSION is the build's (CMakeLists.txt). */
static const char library_name[] = "callgate_v" CG_LIBRARY_VERSION;
static const char function_prefix[] = "cg" CG_LIBRARY_VERSION "_";

/* Digits of the longest argument's length; the buffer ends before that many do. */
#define LENGTH_DIGITS 5

struct cg_view cg_wire_library(void)
{
	return (struct cg_view){cg_wire_library_text, cg_wire_library_text_len};
}

const char *cg_wire_library_name(void)
{
	return library_name;
}

/* By hand, since every operation writes a dozen of them and printf takes longer than all else. */
static size_t format_uint(char digits[20], uint64_t value)
{
	char reversed[20];
	size_t len = 0;

	do {
		reversed[len++] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	for (size_t i = 0; i < len; i++) {
		digits[i] = reversed[len - 1 - i];
	}
	return len;
}

static void put_number(struct cg_buffer *out, char mark, uint64_t value)
{
	char line[24];

	line[0] = mark;
	size_t len = 1 + format_uint(line + 1, value);
	line[len] = '\r';
	line[len + 1] = '\n';
	cg_buffer_bytes(out, line, len + 2);
}

static void put_name(struct cg_buffer *out, struct cg_view name)
{
	const size_t prefix_len = sizeof function_prefix - 1;

	put_number(out, '$', prefix_len + name.len);
	cg_buffer_bytes(out, function_prefix, prefix_len);
	cg_buffer_bytes(out, name.data, name.len);
	cg_buffer_bytes(out, "\r\n", 2);
}

static void put_bulk(struct cg_buffer *out, struct cg_view text)
{
	put_number(out, '$', text.len);
	cg_buffer_bytes(out, text.data, text.len);
	cg_buffer_bytes(out, "\r\n", 2);
}

/* cg:{p<partition>}:<what>; a wallet's ends in the company's 16 bytes, others have none. */
static void put_key(
    struct cg_buffer *out, struct cg_view tag, enum cg_wire_key key, const struct cg_uuid *company)
{
	static const char *const names[] = {
	    [CG_WIRE_KEY_HEAD] = "head",
	    [CG_WIRE_KEY_WALLET] = "w:",
	    [CG_WIRE_KEY_DUE] = "due",
	    [CG_WIRE_KEY_ENDED_0] = "ended:0",
	    [CG_WIRE_KEY_ENDED_1] = "ended:1",
	    [CG_WIRE_KEY_LEDGER] = "ledger",
	    [CG_WIRE_KEY_EVENTS] = "events",
	};
	struct cg_view name = cg_view_of(names[key]);

	put_number(out, '$', tag.len + name.len + (company != NULL ? sizeof company->bytes : 0));
	cg_buffer_bytes(out, tag.data, tag.len);
	cg_buffer_bytes(out, name.data, name.len);
	if (company != NULL) {
		cg_buffer_bytes(out, company->bytes, sizeof company->bytes);
	}
	cg_buffer_bytes(out, "\r\n", 2);
}

static uint32_t count_keys(const struct cg_wire_function *function, uint32_t company_count)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < function->key_count; i++) {
		count += function->keys[i] == CG_WIRE_KEY_WALLET ? company_count : 1;
	}
	return count;
}

static void put_keys(struct cg_buffer *out, const struct cg_wire_function *function,
    struct cg_view tag, const struct cg_uuid *companies, uint32_t company_count)
{
	for (uint32_t i = 0; i < function->key_count; i++) {
		if (function->keys[i] != CG_WIRE_KEY_WALLET) {
			put_key(out, tag, function->keys[i], NULL);
			continue;
		}
		for (uint32_t j = 0; j < company_count; j++) {
			put_key(out, tag, CG_WIRE_KEY_WALLET, &companies[j]);
		}
	}
}

void cg_wire_begin_call(struct cg_buffer *out, const struct cg_wire_function *function,
    uint32_t partition, const struct cg_uuid *companies, uint32_t company_count,
    uint32_t argument_count)
{
	uint32_t key_count = count_keys(function, company_count);
	char tag[32] = "cg:{p";
	size_t tag_len = 5 + format_uint(tag + 5, partition);
	char digits[20];

	tag[tag_len++] = '}';
	tag[tag_len++] = ':';

	put_number(out, '*', 3 + key_count + argument_count);
	put_bulk(out, CG_VIEW_LITERAL("FCALL"));
	put_name(out, cg_view_of(function->name));
	put_bulk(out, (struct cg_view){digits, format_uint(digits, key_count)});
	put_keys(out, function, (struct cg_view){tag, tag_len}, companies, company_count);
}

size_t cg_wire_begin_argument(struct cg_buffer *out)
{
	cg_buffer_bytes(out, "$00000\r\n", 1 + LENGTH_DIGITS + 2);
	return out->len;
}

size_t cg_wire_begin(struct cg_buffer *out, const struct cg_wire_function *function,
    uint32_t partition, const struct cg_uuid *companies, uint32_t company_count)
{
	cg_wire_begin_call(out, function, partition, companies, company_count, 1);
	return cg_wire_begin_argument(out);
}

void cg_wire_end(struct cg_buffer *out, size_t begin)
{
	char digits[20];

	if (out->overflow) {
		return;
	}
	size_t len = out->len - begin;
	size_t digits_len = format_uint(digits, len);
	CG_ASSERT(digits_len <= LENGTH_DIGITS);

	/* Redis reads no leading zeros: the argument moves up to the digits it has. */
	size_t unused = LENGTH_DIGITS - digits_len;
	char *at = out->data + begin - LENGTH_DIGITS - 2;
	memcpy(at, digits, digits_len);
	memmove(at + digits_len, at + LENGTH_DIGITS, 2 + len);
	out->len -= unused;
	cg_buffer_bytes(out, "\r\n", 2);
}

void cg_wire_put_int(struct cg_buffer *out, int64_t value)
{
	cg_buffer_uint(out, (uint64_t)value, 8);
}

void cg_wire_put_price(struct cg_buffer *out, bool has_price, const struct cg_price *price)
{
	static const struct cg_price none;

	if (!has_price) {
		price = &none;
	}
	cg_wire_put_int(out, price->rate_per_minute.micros);
	cg_wire_put_int(out, price->connect_fee.micros);
	cg_buffer_uint(out, price->minimum_ms, 4);
	cg_buffer_uint(out, price->increment_ms, 4);
}

void cg_wire_take_price(struct cg_cursor *in, struct cg_price *ret_price)
{
	ret_price->rate_per_minute = cg_wire_take_money(in);
	ret_price->connect_fee = cg_wire_take_money(in);
	ret_price->minimum_ms = (uint32_t)cg_cursor_uint(in, 4);
	ret_price->increment_ms = (uint32_t)cg_cursor_uint(in, 4);
}

void cg_wire_take_currency(struct cg_cursor *in, struct cg_currency *ret_currency)
{
	struct cg_view code = cg_cursor_bytes(in, sizeof ret_currency->code - 1);

	*ret_currency = (struct cg_currency){{0}};
	if (code.len > 0) {
		memcpy(ret_currency->code, code.data, code.len);
	}
}

struct cg_money cg_wire_take_money(struct cg_cursor *in)
{
	return (struct cg_money){cg_cursor_int(in, 8)};
}

bool cg_wire_take_bool(struct cg_cursor *in)
{
	return cg_cursor_uint(in, 1) != 0;
}

unsigned cg_wire_take_enum(struct cg_cursor *in, unsigned last)
{
	uint64_t value = cg_cursor_uint(in, 1);

	if (value > last) {
		in->overrun = true;
		return 0;
	}
	return (unsigned)value;
}

int64_t cg_wire_take_uint(struct cg_cursor *in, size_t width)
{
	uint64_t value = cg_cursor_uint(in, width);

	if (value > INT64_MAX) {
		in->overrun = true;
		return 0;
	}
	return (int64_t)value;
}

void cg_wire_take_record(struct cg_cursor *in, struct cg_wire_record *ret_record)
{
	ret_record->id.epoch = cg_cursor_uint(in, 8);
	ret_record->id.n = cg_cursor_uint(in, 8);
	ret_record->blob = cg_cursor_bytes(in, (size_t)cg_cursor_uint(in, 4));
}
