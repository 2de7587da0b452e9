/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/json/out.h"

#include <inttypes.h>

void cg_out_init(struct cg_out *out, void *memory, size_t capacity)
{
	cg_buffer_init(&out->buffer, memory, capacity);
	out->needs_comma = false;
}

static void put(struct cg_out *out, const char *text)
{
	cg_buffer_bytes(&out->buffer, text, strlen(text));
}

static void put_string(struct cg_out *out, const char *text)
{
	put(out, "\"");
	for (const char *at = text; *at != '\0'; at++) {
		unsigned char c = (unsigned char)*at;
		if (c == '"' || c == '\\') {
			put(out, "\\");
			cg_buffer_bytes(&out->buffer, at, 1);
		} else if (c < 0x20 || c == 0x7f) {
			cg_buffer_printf(&out->buffer, "\\u%04x", c);
		} else {
			cg_buffer_bytes(&out->buffer, at, 1);
		}
	}
	put(out, "\"");
}

static void begin(struct cg_out *out, const char *key)
{
	if (out->needs_comma) {
		put(out, ",");
	}
	if (key != NULL) {
		put_string(out, key);
		put(out, ":");
	}
	out->needs_comma = true;
}

void cg_out_object(struct cg_out *out, const char *key)
{
	begin(out, key);
	put(out, "{");
	out->needs_comma = false;
}

void cg_out_array(struct cg_out *out, const char *key)
{
	begin(out, key);
	put(out, "[");
	out->needs_comma = false;
}

void cg_out_end(struct cg_out *out, char bracket)
{
	cg_buffer_bytes(&out->buffer, &bracket, 1);
	out->needs_comma = true;
}

void cg_out_text(struct cg_out *out, const char *key, const char *text)
{
	begin(out, key);
	put_string(out, text);
}

void cg_out_int(struct cg_out *out, const char *key, int64_t value)
{
	begin(out, key);
	cg_buffer_printf(&out->buffer, "%" PRId64, value);
}

void cg_out_bool(struct cg_out *out, const char *key, bool value)
{
	begin(out, key);
	put(out, value ? "true" : "false");
}

void cg_out_raw(struct cg_out *out, const char *key, struct cg_view value)
{
	begin(out, key);
	cg_buffer_bytes(&out->buffer, value.data, value.len);
}

void cg_out_member(struct cg_out *out, struct cg_view raw_key, struct cg_view value)
{
	begin(out, NULL);
	cg_buffer_bytes(&out->buffer, raw_key.data, raw_key.len);
	put(out, ":");
	cg_buffer_bytes(&out->buffer, value.data, value.len);
}
