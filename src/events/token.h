/*
 * Resume tokens: how far somebody has been told, opaque to him.
 *
 * base64url without padding of: version, the number of partitions, which of them (or all),
 * a position for each, and a checksum.  Numbers have as many bytes as they need.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EVENTS_TOKEN_H
#define CG_EVENTS_TOKEN_H

#include "gate/ports/events.h"

#define CG_TOKEN_ALL UINT32_MAX

/* What no token of a deployment with so many partitions is longer than. */
size_t cg_token_text_max(uint32_t partition_count);

/*
 * `positions`: one per partition, or one alone where `partition` is not CG_TOKEN_ALL.
 * Into `text`, of cg_token_text_max() bytes; not terminated.  Returns its length.
 */
size_t cg_token_format(
    uint32_t partition_count, uint32_t partition, const struct cg_position *positions, char *text);

/*
 * Reads a token for `partition` (CG_TOKEN_ALL: for all of them) into `positions`, as above; a
 * token for all of them is one for each.  CG_INVALID: it is no token, or not for this; `err`
 * says "resume_token: ...", and `positions` is undefined.
 */
enum cg_status cg_token_parse(struct cg_view text, uint32_t partition_count, uint32_t partition,
    struct cg_position *positions, struct cg_error *err);

#endif /* CG_EVENTS_TOKEN_H */
