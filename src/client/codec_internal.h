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

#endif /* CG_CLIENT_CODEC_INTERNAL_H */
