/*
 * A partition's stream, from where the ledger stood when its first wallets were read: entries in
 * their order, and of each company the first and the last of them in a table with open addresses.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "cli/audit.h"
#include "cli/output.h"
#include "cli/store.h"

#define READ_MOST   5000
#define FIRST_SLOTS 1024 /* a power of two */

struct slot {
	struct cg_uuid company;
	size_t first; /* in `entries`; 0: the slot is free */
	size_t last;
};

struct cg_audit_tail {
	uint32_t partition;
	bool has_begun;
	uint64_t epoch; /* the last id that was read, or where reading begins */
	uint64_t n;
	struct cg_audit_entry *entries; /* the first one is nobody's */
	size_t count;
	size_t capacity;
	struct slot *slots;
	size_t slot_count;
	size_t slots_used;
	size_t unreadable;
};

static void *make(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	CG_ASSERT(memory != NULL);
	return memory;
}

struct cg_audit_tail *cg_audit_tail_create(uint32_t partition)
{
	struct cg_audit_tail *tail = make(1, sizeof *tail);

	tail->partition = partition;
	tail->capacity = 1024;
	tail->entries = make(tail->capacity, sizeof *tail->entries);
	tail->slot_count = FIRST_SLOTS;
	tail->slots = make(tail->slot_count, sizeof *tail->slots);
	tail->count = 1;
	return tail;
}

void cg_audit_tail_destroy(struct cg_audit_tail *tail)
{
	free(tail->entries);
	free(tail->slots);
	free(tail);
}

void cg_audit_tail_reset(struct cg_audit_tail *tail)
{
	memset(tail->slots, 0, tail->slot_count * sizeof *tail->slots);
	tail->slots_used = 0;
	tail->count = 1;
	tail->has_begun = false;
	tail->unreadable = 0;
}

static struct slot *place_of(
    const struct cg_audit_tail *tail, struct slot *slots, const struct cg_uuid *company)
{
	size_t mask = tail->slot_count - 1;
	size_t at = cg_crc32c(company->bytes, sizeof company->bytes) & mask;

	while (slots[at].first != 0 && !cg_uuid_equal(&slots[at].company, company)) {
		at = (at + 1) & mask;
	}
	return &slots[at];
}

/* Twice the slots, at the latest when half of them are used. */
static void widen(struct cg_audit_tail *tail)
{
	size_t old_count = tail->slot_count;
	struct slot *old = tail->slots;

	tail->slot_count *= 2;
	tail->slots = make(tail->slot_count, sizeof *tail->slots);
	for (size_t i = 0; i < old_count; i++) {
		if (old[i].first != 0) {
			*place_of(tail, tail->slots, &old[i].company) = old[i];
		}
	}
	free(old);
}

static void add(
    struct cg_audit_tail *tail, const struct cg_uuid *company, const struct cg_audit_entry *entry)
{
	struct slot *slot;

	if (tail->count == tail->capacity) {
		tail->capacity *= 2;
		tail->entries = realloc(tail->entries, tail->capacity * sizeof *tail->entries);
		CG_ASSERT(tail->entries != NULL);
	}
	tail->entries[tail->count] = *entry;
	if (entry->version == 0) {
		tail->unreadable = tail->unreadable == 0 ? tail->count : tail->unreadable;
		tail->count++;
		return;
	}
	if (tail->slots_used * 2 >= tail->slot_count) {
		widen(tail);
	}
	slot = place_of(tail, tail->slots, company);
	if (slot->first == 0) {
		*slot = (struct slot){.company = *company, .first = tail->count};
		tail->slots_used++;
	} else {
		tail->entries[slot->last].next = tail->count;
	}
	slot->last = tail->count++;
}

static void take_entry(struct cg_audit_tail *tail, struct cg_cursor *in)
{
	struct cg_audit_entry entry = {.next = 0};
	struct cg_uuid company = {{0}};

	entry.epoch = cg_cursor_uint(in, 8);
	entry.n = cg_cursor_uint(in, 8);
	struct cg_view bytes = cg_cursor_bytes(in, sizeof company.bytes);
	entry.version = (int64_t)cg_cursor_uint(in, 8);
	(void)cg_cursor_uint(in, 1);
	entry.before = cg_cursor_int(in, 8);
	entry.after = cg_cursor_int(in, 8);
	if (!in->overrun) {
		memcpy(company.bytes, bytes.data, sizeof company.bytes);
		add(tail, &company, &entry);
		tail->epoch = entry.epoch;
		tail->n = entry.n;
	}
}

static enum cg_exit read_some(struct cg_cli *cli, struct cg_audit_tail *tail, bool *ret_more)
{
	char argument[20];
	struct cg_buffer out;
	struct cg_audit_head head;
	struct cg_cursor in;
	struct cg_view bytes;
	void *reply = NULL;
	bool is_error = false;

	cg_buffer_init(&out, argument, sizeof argument);
	cg_buffer_uint(&out, tail->epoch, 8);
	cg_buffer_uint(&out, tail->n, 8);
	cg_buffer_uint(&out, READ_MOST, 4);
	cg_store_call(cli,
	    &(struct cg_store_call){.function = "audit_entries",
	        .partition = tail->partition,
	        .key_count = 2,
	        .keys = {CG_STORE_HEAD, CG_STORE_LEDGER},
	        .argument = cg_buffer_view(&out)});
	enum cg_exit code = cg_store_hear(cli, &reply, &bytes, &is_error);
	if (code != CG_EXIT_DONE) {
		return code;
	}
	cg_cursor_init(&in, bytes);
	cg_audit_decode_head(&in, &head);
	uint64_t count = cg_cursor_uint(&in, 4);
	*ret_more = cg_cursor_uint(&in, 1) != 0;
	for (uint64_t i = 0; i < count && !in.overrun && !is_error; i++) {
		take_entry(tail, &in);
	}
	if (is_error || in.overrun || in.left != 0) {
		code = cg_output_fail(cli, CG_EXIT_INCOMPATIBLE, NULL, NULL,
		    "the store's stream of partition %u cannot be read", (unsigned)tail->partition);
	}
	cg_store_forget(reply);
	return code;
}

enum cg_exit cg_audit_tail_read(
    struct cg_cli *cli, struct cg_audit_tail *tail, uint64_t epoch, uint64_t n)
{
	bool more = true;
	enum cg_exit code = CG_EXIT_DONE;

	if (!tail->has_begun) {
		tail->has_begun = true;
		tail->epoch = epoch;
		tail->n = n;
	}
	while (code == CG_EXIT_DONE && more) {
		code = read_some(cli, tail, &more);
	}
	return code;
}

const struct cg_audit_entry *cg_audit_tail_first(
    const struct cg_audit_tail *tail, const struct cg_uuid *company)
{
	const struct slot *slot = place_of(tail, tail->slots, company);

	return slot->first == 0 ? NULL : &tail->entries[slot->first];
}

const struct cg_audit_entry *cg_audit_tail_next(
    const struct cg_audit_tail *tail, const struct cg_audit_entry *entry)
{
	return entry->next == 0 ? NULL : &tail->entries[entry->next];
}

const struct cg_audit_entry *cg_audit_tail_unreadable(const struct cg_audit_tail *tail)
{
	return tail->unreadable == 0 ? NULL : &tail->entries[tail->unreadable];
}
