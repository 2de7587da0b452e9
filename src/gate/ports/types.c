/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/ports/types.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "gate/ports/store.h"
#include "gate/ports/terms.h"

uint32_t cg_store_partition_of(const struct cg_uuid *company, uint32_t partition_count)
{
	CG_ASSERT(partition_count > 0);
	return cg_crc32c(company->bytes, sizeof company->bytes) % partition_count;
}

void cg_entry_id_format(const struct cg_entry_id *id, char text[CG_ENTRY_ID_TEXT_BYTES])
{
	(void)snprintf(text, CG_ENTRY_ID_TEXT_BYTES, "%" PRIu32 "-%" PRIu64 "-%" PRIu64,
	    id->partition, id->epoch, id->n);
}

/* Takes digits up to `end` (0: the end of the text) off `text`. */
static bool take_number(struct cg_view *text, char end, uint64_t *ret_number)
{
	size_t len = 0;
	int64_t number = 0;

	while (len < text->len && text->data[len] != end) {
		len++;
	}
	if ((end != '\0' && len == text->len) || len == 0 || text->data[0] == '-') {
		return false;
	}
	if (!cg_view_parse_int((struct cg_view){text->data, len}, &number)) {
		return false;
	}
	size_t taken = end != '\0' ? len + 1 : len;
	*text = (struct cg_view){text->data + taken, text->len - taken};
	*ret_number = (uint64_t)number;
	return true;
}

bool cg_entry_id_parse(struct cg_view text, struct cg_entry_id *ret_id)
{
	uint64_t partition = 0;
	struct cg_entry_id id = {0};

	if (!take_number(&text, '-', &partition) || partition > UINT32_MAX ||
	    !take_number(&text, '-', &id.epoch) || !take_number(&text, '\0', &id.n)) {
		return false;
	}
	id.partition = (uint32_t)partition;
	*ret_id = id;
	return true;
}

bool cg_meta_next(struct cg_view *rest, struct cg_view *ret_key, struct cg_view *ret_value)
{
	struct cg_cursor cursor;

	if (rest->len == 0) {
		return false;
	}
	cg_cursor_init(&cursor, *rest);
	struct cg_view key = cg_cursor_text(&cursor, 1);
	struct cg_view value = cg_cursor_text(&cursor, 2);
	if (cursor.overrun) {
		return false;
	}
	*rest = (struct cg_view){(const char *)cursor.at, cursor.left};
	*ret_key = key;
	*ret_value = value;
	return true;
}

size_t cg_meta_count(struct cg_view pairs)
{
	struct cg_view key;
	struct cg_view value;
	size_t count = 0;

	while (cg_meta_next(&pairs, &key, &value)) {
		count++;
	}
	return count;
}

static const char *const entry_type_names[] = {
    [CG_ENTRY_TOP_UP] = "top_up",
    [CG_ENTRY_MONTHLY_GRANT] = "monthly_grant",
    [CG_ENTRY_BONUS] = "bonus",
    [CG_ENTRY_REFUND] = "refund",
    [CG_ENTRY_ADJUSTMENT] = "adjustment",
    [CG_ENTRY_USAGE] = "usage",
};

static const char *const basis_names[] = {
    [CG_BASIS_NONE] = "",
    [CG_BASIS_REPORTED] = "reported",
    [CG_BASIS_POLLED] = "polled",
    [CG_BASIS_METERED] = "metered",
    [CG_BASIS_ASSUMED] = "assumed",
};

const char *cg_entry_type_name(enum cg_entry_type type)
{
	return (size_t)type < CG_COUNT_OF(entry_type_names) ? entry_type_names[type] : NULL;
}

enum cg_entry_type cg_entry_type_of(struct cg_view name)
{
	for (size_t i = CG_ENTRY_TOP_UP; i < CG_COUNT_OF(entry_type_names); i++) {
		if (cg_view_equal(name, cg_view_of(entry_type_names[i]))) {
			return (enum cg_entry_type)i;
		}
	}
	return CG_ENTRY_NONE;
}

const char *cg_basis_name(enum cg_basis basis)
{
	return (size_t)basis < CG_COUNT_OF(basis_names) ? basis_names[basis] : "";
}

enum cg_basis cg_basis_of(struct cg_view name)
{
	for (size_t i = CG_BASIS_REPORTED; i < CG_COUNT_OF(basis_names); i++) {
		if (cg_view_equal(name, cg_view_of(basis_names[i]))) {
			return (enum cg_basis)i;
		}
	}
	return CG_BASIS_NONE;
}

void cg_terms_snapshot_free(struct cg_terms_snapshot *snapshot)
{
	if (snapshot != NULL) {
		free(snapshot->plans);
		free(snapshot->rates);
		free(snapshot);
	}
}
