/* SPDX-License-Identifier: Apache-2.0 */
#include "store/kinds.h"

struct kind {
	size_t status_at; /* enum cg_status within the operation */
	size_t link_at;   /* struct cg_list within the operation */
	void (*encode)(
	    const struct cg_slot *slot, const struct cg_wire_config *config, struct cg_buffer *out);
	void (*decode)(const struct cg_slot *slot, struct cg_view reply);
	void (*done)(void *op);
};

static void encode_store(
    const struct cg_slot *slot, const struct cg_wire_config *config, struct cg_buffer *out)
{
	cg_wire_encode(slot->op, slot->partition, slot->epoch, config, out);
}

static void decode_store(const struct cg_slot *slot, struct cg_view reply)
{
	cg_wire_decode(slot->op, slot->partition, reply);
}

static void store_done(void *owner)
{
	struct cg_store_op *op = owner;

	op->done(op);
}

static void encode_partition(
    const struct cg_slot *slot, const struct cg_wire_config *config, struct cg_buffer *out)
{
	cg_wire_encode_partition(slot->op, slot->epoch, config, out);
}

static void decode_partition(const struct cg_slot *slot, struct cg_view reply)
{
	cg_wire_decode_partition(slot->op, reply);
}

static void partition_done(void *owner)
{
	struct cg_partition_op *op = owner;

	op->done(op);
}

static void encode_events(
    const struct cg_slot *slot, const struct cg_wire_config *config, struct cg_buffer *out)
{
	(void)config;
	cg_wire_encode_events(slot->op, slot->epoch, out);
}

static void decode_events(const struct cg_slot *slot, struct cg_view reply)
{
	cg_wire_decode_events(slot->op, reply);
}

static void events_done(void *owner)
{
	struct cg_events_op *op = owner;

	op->done(op);
}

static const struct kind kinds[CG_SLOT_KIND_COUNT] = {
    [CG_SLOT_STORE] = {offsetof(struct cg_store_op, status), offsetof(struct cg_store_op, link),
        encode_store, decode_store, store_done},
    [CG_SLOT_PARTITION] = {offsetof(struct cg_partition_op, status),
        offsetof(struct cg_partition_op, link), encode_partition, decode_partition, partition_done},
    [CG_SLOT_EVENTS] = {offsetof(struct cg_events_op, status), offsetof(struct cg_events_op, link),
        encode_events, decode_events, events_done},
};

static const struct kind *kind_of(const struct cg_slot *slot)
{
	CG_ASSERT(slot->kind != CG_SLOT_OVER && slot->kind < CG_SLOT_KIND_COUNT);
	return &kinds[slot->kind];
}

static enum cg_status *status_of(const struct cg_slot *slot)
{
	void *at = (char *)slot->op + kind_of(slot)->status_at;

	return at;
}

void cg_kinds_encode(
    const struct cg_slot *slot, const struct cg_wire_config *config, struct cg_buffer *out)
{
	kind_of(slot)->encode(slot, config, out);
}

enum cg_status cg_kinds_decode(const struct cg_slot *slot, struct cg_view reply)
{
	kind_of(slot)->decode(slot, reply);
	return *status_of(slot);
}

void cg_kinds_set_status(const struct cg_slot *slot, enum cg_status status)
{
	*status_of(slot) = status;
}

void cg_kinds_done(const struct cg_slot *slot)
{
	kind_of(slot)->done(slot->op);
}

struct cg_list *cg_kinds_link(const struct cg_slot *slot)
{
	void *at = (char *)slot->op + kind_of(slot)->link_at;

	return at;
}

struct cg_slot cg_kinds_of_link(enum cg_slot_kind kind, struct cg_list *link)
{
	struct cg_slot slot = {.kind = kind};

	slot.op = (char *)link - kind_of(&slot)->link_at;
	return slot;
}
