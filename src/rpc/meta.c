/*
 * A request's meta: from protobuf-c's map entries to the pairs that travel through the
 * store, each key once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <callgate/v1/callgate.pb-c.h>
#include <stdio.h>

#include "rpc/rules.h"
#include "rpc/trace.h"

/* Below this many pairs, comparing each with each is cheaper than clearing the table. */
#define PAIRS_COMPARED 8

/* Every map<string, string> of the contract has entries of this shape. */
typedef Callgate__V1__AuthorizeRequest__MetaEntry meta_entry;
#define SAME_SHAPE(other)                                                                          \
	_Static_assert(sizeof(meta_entry) == sizeof(other) &&                                      \
	        offsetof(meta_entry, key) == offsetof(other, key) &&                               \
	        offsetof(meta_entry, value) == offsetof(other, value),                             \
	    "map entries differ")
SAME_SHAPE(Callgate__V1__SettleRequest__MetaEntry);
SAME_SHAPE(Callgate__V1__AdoptRequest__MetaEntry);
SAME_SHAPE(Callgate__V1__ChargeRequest__MetaEntry);

static bool refuse_pair(
    struct cg_rule_work *work, const char *map, const char *key, const char *bound)
{
	work->fault->bound = bound;
	(void)snprintf(work->fault->field, sizeof work->fault->field, "%.16s[%.64s]", map, key);
	return false;
}

static uint64_t hash_of(const struct cg_rpc_decoder *decoder, const char *key)
{
	uint64_t hash = decoder->seed ^ UINT64_C(0xCBF29CE484222325);

	for (; *key != '\0'; key++) {
		hash = (hash ^ (unsigned char)*key) * UINT64_C(0x9E3779B97F4A7C15);
		hash ^= hash >> 29;
	}
	return hash;
}

/* Whether entries[index] has the key of an earlier one; few entries. */
static bool stands_before(meta_entry *const *entries, size_t index)
{
	for (size_t i = 0; i < index; i++) {
		if (strcmp(entries[i]->key, entries[index]->key) == 0) {
			return true;
		}
	}
	return false;
}

/* The same for many: notes the entry in the table, unless its key is there. */
static bool was_seen(struct cg_rpc_decoder *decoder, meta_entry *const *entries, size_t index)
{
	size_t at = (size_t)hash_of(decoder, entries[index]->key) % CG_DECODER_SEEN_SLOTS;

	while (decoder->seen[at] != 0) {
		if (strcmp(entries[decoder->seen[at] - 1]->key, entries[index]->key) == 0) {
			return true;
		}
		at = (at + 1) % CG_DECODER_SEEN_SLOTS;
	}
	decoder->seen[at] = (uint16_t)(index + 1);
	return false;
}

/* The request's own key holds, and so does the bound: the trace is an extra. */
static void add_trace(
    struct cg_rule_work *work, meta_entry *const *entries, size_t count, size_t bytes)
{
	const struct cg_view key = CG_VIEW_LITERAL(CG_TRACE_KEY);
	struct cg_view trace = work->decoder->traceparent;

	if (trace.len == 0 || work->req->method == CG_METHOD_SETTLE ||
	    bytes + key.len + trace.len > CG_META_MAX_BYTES) {
		return;
	}
	for (size_t i = 0; i < count; i++) {
		if (cg_view_equal(cg_view_of(entries[i]->key), key)) {
			return;
		}
	}
	cg_buffer_text(work->text, key, 1);
	cg_buffer_text(work->text, trace, 2);
}

bool cg_rule_meta(struct cg_rule_work *work, const void *message, const struct cg_rule *rule,
    struct cg_meta *ret_meta)
{
	/* protobuf-c lays out a repeated field as its count and the array, in this order. */
	size_t count = *(const size_t *)((const char *)message + rule->from);
	meta_entry *const *entries =
	    *(meta_entry *const *const *)((const char *)message + rule->from + sizeof(size_t));
	size_t start = work->text->len;
	size_t bytes = 0;

	if (count > CG_META_MAX_BYTES) { /* A key has a byte at least. */
		return cg_rule_refuse(work, rule->field, rule->bound);
	}
	if (count > PAIRS_COMPARED) {
		memset(work->decoder->seen, 0, sizeof work->decoder->seen);
	}
	for (size_t i = 0; i < count; i++) {
		struct cg_view key = cg_view_of(entries[i]->key);
		struct cg_view value = cg_view_of(entries[i]->value);
		if (!cg_is_meta_key(key)) {
			return cg_rule_refuse(work, rule->field, CG_BOUND_META_KEY);
		}
		bytes += key.len + value.len;
		if (bytes > CG_META_MAX_BYTES) {
			return cg_rule_refuse(work, rule->field, rule->bound);
		}
		if (count > PAIRS_COMPARED ? was_seen(work->decoder, entries, i)
		                           : stands_before(entries, i)) {
			return refuse_pair(work, rule->field, key.data, CG_BOUND_META_TWICE);
		}
		cg_buffer_text(work->text, key, 1);
		cg_buffer_text(work->text, value, 2);
	}
	add_trace(work, entries, count, bytes);
	CG_ASSERT(!work->text->overflow);
	ret_meta->pairs = (struct cg_view){work->text->data + start, work->text->len - start};
	return true;
}
