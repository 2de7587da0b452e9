/*
 * The memory of a store: keys with hashes, sorted sets and streams, as far as the function
 * library uses them.
 *
 * A copy costs a few pointers: keys are shared until one of the two changes them.  So every
 * state that a store ever had can be kept, and any of them can come back: that is what the
 * loss of a tail, an old snapshot and a replica that lags behind are.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_MEMORY_H
#define CG_SIM_MEMORY_H

#include "base/base.h"

enum mem_kind {
	MEM_HASH,
	MEM_ZSET,
	MEM_STREAM
};

/* Bytes that never change, shared by whoever refers to them. */
struct mem_blob {
	uint32_t refs;
	uint32_t len;
	char data[];
};

/* A field, a member with its score, or a record. */
struct mem_item {
	struct mem_blob *name; /* first, for whoever looks for it; of a record its field */
	struct mem_blob *value;
	double score;
	uint64_t epoch, n; /* of a record */
};

struct mem_object {
	uint32_t refs;
	enum mem_kind kind;
	struct mem_item *items; /* by name; members too; records by id */
	size_t count, capacity;
	uint64_t last_epoch, last_n; /* of a stream: the last id it gave */
	bool has_group;              /* likewise: that one group, whatever its name */
};

struct mem_key {
	struct mem_blob *name; /* first, likewise */
	struct mem_object *object;
};

struct mem {
	struct mem_key *keys; /* by name */
	size_t count, capacity;
	uint64_t writes; /* so many changes so far: whether a function wrote */
};

void mem_clear(struct mem *mem);
void mem_copy(struct mem *to, const struct mem *from); /* `to`: nothing, or cleared */

/* NULL where there is none; for reading only. */
const struct mem_object *mem_find(const struct mem *mem, struct cg_view key);
/* To be changed: made where there is none. NULL: it is there and of another kind. */
struct mem_object *mem_change(struct mem *mem, struct cg_view key, enum mem_kind kind);
bool mem_remove(struct mem *mem, struct cg_view key);
/* A key without items goes, but for a stream. */
void mem_tidy(struct mem *mem, struct cg_view key);

const struct mem_item *mem_item_find(const struct mem_object *object, struct cg_view name);
/* True where it is new. */
bool mem_item_put(
    struct mem_object *object, struct cg_view name, struct cg_view value, double score);
bool mem_item_remove(struct mem_object *object, struct cg_view name);
void mem_record_add(struct mem_object *stream, struct cg_view field, struct cg_view value);
/* The first `count`. */
void mem_records_drop(struct mem_object *stream, size_t count);

static inline struct cg_view mem_view(const struct mem_blob *blob)
{
	return (struct cg_view){blob->data, blob->len};
}

#endif /* CG_SIM_MEMORY_H */
