/*
 * What the kinds of operations, one for each port, differ in; everything else in this room
 * treats them alike.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_STORE_KINDS_H
#define CG_STORE_KINDS_H

#include "store/ring.h"
#include "store/wire.h"

/* None of these is for slots that are OVER. */
void cg_kinds_encode(
    const struct cg_slot *slot, const struct cg_wire_config *config, struct cg_buffer *out);

/* Reads the reply into the operation; its status is the answer. */
enum cg_status cg_kinds_decode(const struct cg_slot *slot, struct cg_view reply);

void cg_kinds_set_status(const struct cg_slot *slot, enum cg_status status);

/* Gives the operation back: it is not ours any more when this returns. */
void cg_kinds_done(const struct cg_slot *slot);

/* The operation's own link, and which slot's operation a link belongs to. */
struct cg_list *cg_kinds_link(const struct cg_slot *slot);
struct cg_slot cg_kinds_of_link(enum cg_slot_kind kind, struct cg_list *link);

#endif /* CG_STORE_KINDS_H */
