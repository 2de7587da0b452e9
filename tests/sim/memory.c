/* SPDX-License-Identifier: Apache-2.0 */
#include "memory.h"

#include <stdlib.h>

static struct mem_blob *blob_of(struct cg_view bytes)
{
	struct mem_blob *blob = malloc(sizeof *blob + bytes.len);

	CG_ASSERT(blob != NULL && bytes.len <= UINT32_MAX);
	blob->refs = 1;
	blob->len = (uint32_t)bytes.len;
	if (bytes.len > 0) {
		memcpy(blob->data, bytes.data, bytes.len);
	}
	return blob;
}

static void blob_drop(struct mem_blob *blob)
{
	if (blob != NULL && --blob->refs == 0) {
		free(blob);
	}
}

static struct mem_blob *blob_share(struct mem_blob *blob)
{
	if (blob != NULL) {
		blob->refs++;
	}
	return blob;
}

static void object_drop(struct mem_object *object)
{
	if (--object->refs > 0) {
		return;
	}
	for (size_t i = 0; i < object->count; i++) {
		blob_drop(object->items[i].name);
		blob_drop(object->items[i].value);
	}
	free(object->items);
	free(object);
}

static struct mem_object *object_copy(const struct mem_object *from)
{
	struct mem_object *object = malloc(sizeof *object);

	CG_ASSERT(object != NULL);
	*object = *from;
	object->refs = 1;
	object->capacity = from->count + 8;
	object->items = malloc(object->capacity * sizeof *object->items);
	CG_ASSERT(object->items != NULL);
	for (size_t i = 0; i < from->count; i++) {
		object->items[i] = from->items[i];
		(void)blob_share(object->items[i].name);
		(void)blob_share(object->items[i].value);
	}
	return object;
}

void mem_clear(struct mem *mem)
{
	for (size_t i = 0; i < mem->count; i++) {
		blob_drop(mem->keys[i].name);
		object_drop(mem->keys[i].object);
	}
	free(mem->keys);
	mem->keys = NULL;
	mem->count = mem->capacity = 0;
	mem->writes++;
}

void mem_copy(struct mem *to, const struct mem *from)
{
	uint64_t writes = to->writes;

	*to = (struct mem){.count = from->count, .capacity = from->count, .writes = writes + 1};
	if (from->count == 0) {
		return;
	}
	to->keys = malloc(from->count * sizeof *to->keys);
	CG_ASSERT(to->keys != NULL);
	for (size_t i = 0; i < from->count; i++) {
		to->keys[i] = from->keys[i];
		to->keys[i].name->refs++;
		to->keys[i].object->refs++;
	}
}

/* Where the name is among so many elements of this size that begin with theirs, or would stand. */
static size_t place_of(
    struct cg_view name, const void *elements, size_t count, size_t size, bool *ret_is_there)
{
	size_t low = 0, high = count;

	*ret_is_there = false;
	while (low < high && !*ret_is_there) {
		size_t middle = (low + high) / 2;
		const struct mem_blob *const *at =
		    (const void *)((const char *)elements + middle * size);
		int order = cg_view_compare(mem_view(*at), name);
		if (order < 0) {
			low = middle + 1;
		} else {
			high = middle;
			*ret_is_there = order == 0;
		}
	}
	return high;
}

static size_t place_of_key(const struct mem *mem, struct cg_view key, bool *ret_is_there)
{
	return place_of(key, mem->keys, mem->count, sizeof *mem->keys, ret_is_there);
}

const struct mem_object *mem_find(const struct mem *mem, struct cg_view key)
{
	bool is_there = false;
	size_t place = place_of_key(mem, key, &is_there);

	return is_there ? mem->keys[place].object : NULL;
}

static struct mem_object *key_add(
    struct mem *mem, size_t place, struct cg_view key, enum mem_kind kind)
{
	struct mem_object *object = calloc(1, sizeof *object);

	CG_ASSERT(object != NULL);
	object->refs = 1;
	object->kind = kind;
	if (mem->count == mem->capacity) {
		mem->capacity = mem->capacity < 16 ? 16 : 2 * mem->capacity;
		mem->keys = realloc(mem->keys, mem->capacity * sizeof *mem->keys);
		CG_ASSERT(mem->keys != NULL);
	}
	memmove(&mem->keys[place + 1], &mem->keys[place], (mem->count - place) * sizeof *mem->keys);
	mem->keys[place] = (struct mem_key){blob_of(key), object};
	mem->count++;
	return object;
}

struct mem_object *mem_change(struct mem *mem, struct cg_view key, enum mem_kind kind)
{
	bool is_there = false;
	size_t place = place_of_key(mem, key, &is_there);

	mem->writes++;
	if (!is_there) {
		return key_add(mem, place, key, kind);
	}
	struct mem_object *object = mem->keys[place].object;
	if (object->kind != kind) {
		return NULL;
	}
	if (object->refs > 1) {
		struct mem_object *own = object_copy(object);
		object_drop(object);
		mem->keys[place].object = object = own;
	}
	return object;
}

bool mem_remove(struct mem *mem, struct cg_view key)
{
	bool is_there = false;
	size_t place = place_of_key(mem, key, &is_there);

	if (!is_there) {
		return false;
	}
	mem->writes++;
	blob_drop(mem->keys[place].name);
	object_drop(mem->keys[place].object);
	mem->count--;
	memmove(&mem->keys[place], &mem->keys[place + 1], (mem->count - place) * sizeof *mem->keys);
	return true;
}

void mem_tidy(struct mem *mem, struct cg_view key)
{
	const struct mem_object *object = mem_find(mem, key);

	if (object != NULL && object->kind != MEM_STREAM && object->count == 0) {
		(void)mem_remove(mem, key);
	}
}

static size_t place_of_item(
    const struct mem_object *object, struct cg_view name, bool *ret_is_there)
{
	return place_of(name, object->items, object->count, sizeof *object->items, ret_is_there);
}

const struct mem_item *mem_item_find(const struct mem_object *object, struct cg_view name)
{
	bool is_there = false;
	size_t place = place_of_item(object, name, &is_there);

	return is_there ? &object->items[place] : NULL;
}

static struct mem_item *make_room(struct mem_object *object, size_t place)
{
	if (object->count == object->capacity) {
		object->capacity = object->capacity < 8 ? 8 : 2 * object->capacity;
		object->items = realloc(object->items, object->capacity * sizeof *object->items);
		CG_ASSERT(object->items != NULL);
	}
	memmove(&object->items[place + 1], &object->items[place],
	    (object->count - place) * sizeof *object->items);
	object->count++;
	return &object->items[place];
}

bool mem_item_put(
    struct mem_object *object, struct cg_view name, struct cg_view value, double score)
{
	bool is_there = false;
	size_t place = place_of_item(object, name, &is_there);

	if (is_there) {
		blob_drop(object->items[place].value);
		object->items[place].value = blob_of(value);
		object->items[place].score = score;
		return false;
	}
	*make_room(object, place) =
	    (struct mem_item){.name = blob_of(name), .value = blob_of(value), .score = score};
	return true;
}

bool mem_item_remove(struct mem_object *object, struct cg_view name)
{
	bool is_there = false;
	size_t place = place_of_item(object, name, &is_there);

	if (!is_there) {
		return false;
	}
	blob_drop(object->items[place].name);
	blob_drop(object->items[place].value);
	object->count--;
	memmove(&object->items[place], &object->items[place + 1],
	    (object->count - place) * sizeof *object->items);
	return true;
}

void mem_record_add(struct mem_object *stream, struct cg_view field, struct cg_view value)
{
	*make_room(stream, stream->count) = (struct mem_item){.name = blob_of(field),
	    .value = blob_of(value),
	    .epoch = stream->last_epoch,
	    .n = stream->last_n};
}

void mem_records_drop(struct mem_object *stream, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		blob_drop(stream->items[i].name);
		blob_drop(stream->items[i].value);
	}
	stream->count -= count;
	if (stream->count > 0) {
		memmove(
		    stream->items, stream->items + count, stream->count * sizeof *stream->items);
	}
}
