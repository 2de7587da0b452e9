/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"

void cg_buffer_init(struct cg_buffer *buffer, void *memory, size_t capacity)
{
	*buffer = (struct cg_buffer){.data = memory, .capacity = capacity};
}

void cg_buffer_bytes(struct cg_buffer *buffer, const void *data, size_t len)
{
	if (buffer->overflow || buffer->capacity - buffer->len < len) {
		buffer->overflow = true;
		return;
	}
	if (len > 0) {
		memcpy(buffer->data + buffer->len, data, len);
		buffer->len += len;
	}
}

void cg_buffer_uint(struct cg_buffer *buffer, uint64_t value, size_t width)
{
	uint8_t bytes[8];

	CG_ASSERT(width >= 1 && width <= sizeof bytes);
	for (size_t i = 0; i < width; i++) {
		bytes[i] = (uint8_t)(value >> (8 * i));
	}
	cg_buffer_bytes(buffer, bytes, width);
}

void cg_buffer_text(struct cg_buffer *buffer, struct cg_view text, size_t width)
{
	CG_ASSERT(width == 1 || width == 2);
	if (text.len >> (8 * width) != 0) {
		buffer->overflow = true;
		return;
	}
	cg_buffer_uint(buffer, text.len, width);
	cg_buffer_bytes(buffer, text.data, text.len);
}

void cg_buffer_printf(struct cg_buffer *buffer, const char *format, ...)
{
	size_t room = buffer->capacity - buffer->len;
	va_list args;

	if (buffer->overflow) {
		return;
	}
	va_start(args, format);
	int len = vsnprintf(buffer->data + buffer->len, room, format, args);
	va_end(args);
	if (len < 0 || (size_t)len >= room) {
		buffer->overflow = true;
		return;
	}
	buffer->len += (size_t)len;
}

void cg_cursor_init(struct cg_cursor *cursor, struct cg_view bytes)
{
	*cursor = (struct cg_cursor){.at = (const uint8_t *)bytes.data, .left = bytes.len};
}

struct cg_view cg_cursor_bytes(struct cg_cursor *cursor, size_t len)
{
	if (cursor->overrun || cursor->left < len) {
		cursor->overrun = true;
		return (struct cg_view){NULL, 0};
	}
	struct cg_view bytes = {(const char *)cursor->at, len};
	cursor->at += len;
	cursor->left -= len;
	return bytes;
}

uint64_t cg_cursor_uint(struct cg_cursor *cursor, size_t width)
{
	uint64_t value = 0;

	CG_ASSERT(width >= 1 && width <= 8);
	struct cg_view bytes = cg_cursor_bytes(cursor, width);
	for (size_t i = 0; i < bytes.len; i++) {
		value |= (uint64_t)(uint8_t)bytes.data[i] << (8 * i);
	}
	return value;
}

int64_t cg_cursor_int(struct cg_cursor *cursor, size_t width)
{
	uint64_t value = cg_cursor_uint(cursor, width);

	if (width < 8 && (value >> (8 * width - 1)) != 0) {
		value |= UINT64_MAX << (8 * width);
	}
	return (int64_t)value;
}

struct cg_view cg_cursor_text(struct cg_cursor *cursor, size_t width)
{
	return cg_cursor_bytes(cursor, (size_t)cg_cursor_uint(cursor, width));
}
