/*
 * Bytes being written, with an end: a writer that does not fit sets `overflow` and
 * changes nothing more, so that one look at the end is enough.  Integers are little-endian.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BASE_BUFFER_H
#define CG_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

struct cg_buffer {
	char *data; /* the caller's */
	size_t len;
	size_t capacity;
	bool overflow;
};

void cg_buffer_init(struct cg_buffer *buffer, void *memory, size_t capacity);
void cg_buffer_bytes(struct cg_buffer *buffer, const void *data, size_t len);

/* The `width` (1..8) low bytes of `value`. */
void cg_buffer_uint(struct cg_buffer *buffer, uint64_t value, size_t width);

/* A length of `width` bytes (1 or 2), then the bytes; overflow where the length does not fit. */
void cg_buffer_text(struct cg_buffer *buffer, struct cg_view text, size_t width);

__attribute__((format(printf, 2, 3))) void cg_buffer_printf(
    struct cg_buffer *buffer, const char *format, ...);

static inline struct cg_view cg_buffer_view(const struct cg_buffer *buffer)
{
	return (struct cg_view){buffer->data, buffer->len};
}

/* Bytes being read; past the end it reads zeros and sets `overrun`. */
struct cg_cursor {
	const uint8_t *at;
	size_t left;
	bool overrun;
};

void cg_cursor_init(struct cg_cursor *cursor, struct cg_view bytes);
uint64_t cg_cursor_uint(struct cg_cursor *cursor, size_t width);
int64_t cg_cursor_int(struct cg_cursor *cursor, size_t width); /* sign-extended */

/* What cg_buffer_text() wrote; the view points into the bytes being read. */
struct cg_view cg_cursor_text(struct cg_cursor *cursor, size_t width);
struct cg_view cg_cursor_bytes(struct cg_cursor *cursor, size_t len);

#endif /* CG_BASE_BUFFER_H */
