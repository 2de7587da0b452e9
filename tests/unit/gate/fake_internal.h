/*
 * What the two halves of the fake world share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_TESTS_GATE_FAKE_INTERNAL_H
#define CG_TESTS_GATE_FAKE_INTERNAL_H

#include "fake_world.h"

bool world_is_text(const char *text, struct cg_view view);
void world_copy_text(char *text, size_t capacity, struct cg_view view);
struct world_call *world_find_call(
    struct world *world, const struct cg_uuid *company, struct cg_view id);
struct world_entry *world_find_correction(
    struct world *world, const struct cg_uuid *company, struct cg_view call_id);
struct world_entry *world_find_entry(struct world *world, const struct cg_uuid *company,
    enum cg_entry_type type, struct cg_view reference);

#endif /* CG_TESTS_GATE_FAKE_INTERNAL_H */
