/*
 * Shared between the parts of the codec.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLIENT_CODEC_INTERNAL_H
#define CG_CLIENT_CODEC_INTERNAL_H

#include "client/codec.h"

/* Reads a packed ErrorDetail; writes *ret_detail only on success. */
bool cg_codec__fill_detail(
    struct cg_view bytes, struct cg_arena *arena, struct callgate_error_detail *ret_detail);

/* One field of a message: its number and what it holds, of a varint or of bytes. */
struct cg_codec_field {
	uint64_t number;
	uint64_t value;
	struct cg_view bytes;
};

/* False at the end of the message, and where it is malformed: then the cursor is overrun. */
bool cg_codec__read_field(struct cg_cursor *cursor, struct cg_codec_field *ret_field);

#endif /* CG_CLIENT_CODEC_INTERNAL_H */
