/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger/tail_page.h"

#include <stdlib.h>

#include "ledger/ledger_internal.h"

/* Columns of the statement; those of a row's entry begin at ENTRY, as keys.c has them. */
enum column {
	KEPT,
	EPOCH,
	N,
	COMPANY,
	POSTED,
	VERSION,
	KEY_TYPE,
	KEY_REFERENCE,
	ENTRY
};

/* Where a row of the answer goes: sorted, one wallet's rows stand together. */
struct place {
	struct cg_uuid company;
	int row;
};

void cg_tail_page__init(struct cg_tail_page *page, uint32_t capacity)
{
	*page = (struct cg_tail_page){.capacity = capacity};
	page->entries = calloc(capacity, sizeof *page->entries);
	page->wallets = calloc(capacity, sizeof *page->wallets);
	CG_ASSERT(page->entries != NULL && page->wallets != NULL);
}

void cg_tail_page__deinit(struct cg_tail_page *page)
{
	free(page->entries);
	free(page->wallets);
	free(page->text);
}

const char *cg_tail_page__statement(struct cg_params *params, uint32_t partition, uint64_t epoch,
    const struct cg_entry_id *after, uint32_t most)
{
	cg_params__int4(params, (int32_t)partition);
	cg_params__int8(params, (int64_t)epoch);
	cg_params__int4(params, CG_TURN_KEEP_MS);
	cg_params__int8(params, (int64_t)after->epoch);
	cg_params__int8(params, (int64_t)after->n);
	cg_params__int4(params, (int32_t)most);
	return "select k.kept, t.epoch, t.n, t.company_id, t.posted_micros, t.version, t.key_type,"
	       " t.key_reference, coalesce(t.entry_id, ''), coalesce(t.type, ''), t.amount_micros,"
	       " t.balance_after_micros, t.at_ms, '', t.resource_type, t.is_charge, t.quantity,"
	       " coalesce(t.currency, ''), t.pairs, coalesce(t.corrected_micros, 0),"
	       " coalesce(t.meta ->> 'destination', ''), t.meta ->> 'rate_micros_per_minute',"
	       " t.meta ->> 'connect_fee_micros', t.meta ->> 'minimum_ms',"
	       " t.meta ->> 'increment_ms', t.meta ->> 'duration_ms', t.meta ->> 'billed_ms',"
	       " coalesce(t.meta ->> 'basis', ''), t.meta ->> 'late',"
	       " t.meta ->> 'authorized_at_ms',"
	       " coalesce(t.corrected_meta, t.meta) ->> 'started_at_ms',"
	       " coalesce(t.corrected_meta, t.meta) ->> 'ended_at_ms',"
	       " coalesce(t.corrected_by, ''), t.corrected_meta ->> 'duration_ms',"
	       " t.corrected_meta ->> 'billed_ms', coalesce(t.corrected_meta ->> 'basis', '')"
	       " from (select callgate.turn_keep($1, $2, $3) as kept) k"
	       " left join lateral callgate.tail_read($1, $4, $5, $6) t on k.kept";
}

static int compare_places(const void *a, const void *b)
{
	const struct place *left = a;
	const struct place *right = b;
	int order = memcmp(left->company.bytes, right->company.bytes, sizeof left->company.bytes);

	return order != 0 ? order : left->row - right->row;
}

/* More than the texts of the answer need, so that one block holds them all. */
static void make_room(struct cg_tail_page *page, const PGresult *result)
{
	size_t bytes = 1;

	for (int row = 0; row < PQntuples(result); row++) {
		for (int column = KEY_REFERENCE; column < PQnfields(result); column++) {
			bytes += (size_t)PQgetlength(result, row, column);
		}
	}
	if (bytes > page->text_capacity) {
		free(page->text);
		page->text = malloc(bytes);
		CG_ASSERT(page->text != NULL);
		page->text_capacity = bytes;
	}
}

static struct cg_view keep(struct cg_buffer *text, struct cg_view view)
{
	size_t at = text->len;

	cg_buffer_bytes(text, view.data, view.len);
	CG_ASSERT(!text->overflow);
	return (struct cg_view){text->data + at, view.len};
}

static void decode_entry(
    const PGresult *result, int row, struct cg_buffer *text, struct cg_repair_entry *ret_entry)
{
	struct cg_ledger_row *ledger = &ret_entry->row;
	size_t pairs_len = 0;

	cg_keys__decode(result, row, ENTRY, ledger);
	ret_entry->key = (struct cg_ledger_key){
	    .type = cg_entry_type_of(cg_result__view(result, row, KEY_TYPE)),
	    .reference_id = keep(text, cg_result__view(result, row, KEY_REFERENCE)),
	};
	ledger->description = (struct cg_view){NULL, 0};
	ledger->resource_type = keep(text, ledger->resource_type);
	ledger->destination = keep(text, ledger->destination);
	unsigned char *pairs = cg_keys__decode_pairs(result, row, ENTRY, &pairs_len);
	ledger->meta.pairs = keep(text, (struct cg_view){(const char *)pairs, pairs_len});
	PQfreemem(pairs);
	if (ledger->entry_id.epoch == 0) {
		/* Set aside as bytes that are no text: its wallet's balance is all that is known. */
		ret_entry->key.reference_id = (struct cg_view){NULL, 0};
		ledger->entry_id.epoch = (uint64_t)cg_result__int(result, row, EPOCH);
		ledger->entry_id.n = (uint64_t)cg_result__int(result, row, N);
	}
}

static void decode_rows(struct cg_tail_page *page, const PGresult *result)
{
	struct place *places = calloc(page->count, sizeof *places);
	struct cg_buffer text;

	CG_ASSERT(places != NULL);
	for (uint32_t i = 0; i < page->count; i++) {
		places[i].company = cg_result__uuid(result, (int)i, COMPANY);
		places[i].row = (int)i;
	}
	qsort(places, page->count, sizeof *places, compare_places);
	make_room(page, result);
	cg_buffer_init(&text, page->text, page->text_capacity);
	for (uint32_t i = 0; i < page->count; i++) {
		int row = places[i].row;

		page->wallets[i] = (struct cg_tail_wallet){
		    .company = places[i].company,
		    .is_known = !PQgetisnull(result, row, VERSION),
		    .posted = {cg_result__int(result, row, POSTED)},
		    .version = (uint64_t)cg_result__int(result, row, VERSION),
		};
		decode_entry(result, row, &text, &page->entries[i]);
	}
	free(places);
}

bool cg_tail_page__decode(struct cg_tail_page *page, const PGresult *result)
{
	int rows = PQntuples(result);

	page->count = 0;
	if (rows < 1 || !cg_result__bool(result, 0, KEPT)) {
		return false;
	}
	if (PQgetisnull(result, 0, EPOCH)) {
		return true; /* the one row says that the turn was kept, and nothing else */
	}
	CG_ASSERT(rows <= (int)page->capacity);
	page->count = (uint32_t)rows;
	page->last_epoch = (uint64_t)cg_result__int(result, rows - 1, EPOCH);
	page->last_n = (uint64_t)cg_result__int(result, rows - 1, N);
	decode_rows(page, result);
	return true;
}
