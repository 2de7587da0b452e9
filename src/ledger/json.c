/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void put(struct cg_json *json, const char *data, size_t len)
{
	if (json->capacity - json->len < len) {
		size_t capacity = json->capacity < 512 ? 512 : json->capacity;

		while (capacity - json->len < len) {
			capacity *= 2;
		}
		json->text = realloc(json->text, capacity);
		CG_ASSERT(json->text != NULL);
		json->capacity = capacity;
	}
	if (len > 0) {
		memcpy(json->text + json->len, data, len);
		json->len += len;
	}
}

static void put_string(struct cg_json *json, struct cg_view text)
{
	size_t from = 0;

	put(json, "\"", 1);
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.data[i];
		char escaped[8];

		if (c >= 0x20 && c != '"' && c != '\\') {
			continue;
		}
		put(json, text.data + from, i - from);
		put(json, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", c));
		from = i + 1;
	}
	if (text.len > 0) {
		put(json, text.data + from, text.len - from);
	}
	put(json, "\"", 1);
}

static void put_key(struct cg_json *json, struct cg_view key)
{
	if (json->text[json->len - 1] != '{') {
		put(json, ",", 1);
	}
	put_string(json, key);
	put(json, ":", 1);
}

void cg_json__deinit(struct cg_json *json)
{
	free(json->text);
	*json = (struct cg_json){0};
}

void cg_json__begin(struct cg_json *json)
{
	json->len = 0;
	put(json, "{", 1);
}

void cg_json__text(struct cg_json *json, const char *key, struct cg_view value)
{
	put_key(json, cg_view_of(key));
	put_string(json, value);
}

void cg_json__int(struct cg_json *json, const char *key, int64_t value)
{
	char digits[24];

	put_key(json, cg_view_of(key));
	put(json, digits, (size_t)snprintf(digits, sizeof digits, "%" PRId64, value));
}

void cg_json__bool(struct cg_json *json, const char *key, bool value)
{
	put_key(json, cg_view_of(key));
	put(json, value ? "true" : "false", value ? 4 : 5);
}

void cg_json__meta(struct cg_json *json, const char *key, const struct cg_meta *meta)
{
	struct cg_view rest = meta->pairs;
	struct cg_view name;
	struct cg_view value;

	put_key(json, cg_view_of(key));
	put(json, "{", 1);
	/* Where a key stands twice, jsonb too keeps the later one. */
	while (cg_meta_next(&rest, &name, &value)) {
		put_key(json, name);
		put_string(json, value);
	}
	put(json, "}", 1);
}

struct cg_view cg_json__end(struct cg_json *json)
{
	put(json, "}", 1);
	return (struct cg_view){json->text, json->len};
}
