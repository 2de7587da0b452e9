/*
 * A page of what the ledger has and a store's history lost: the answer of callgate.tail_read(),
 * wallet by wallet.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_LEDGER_TAIL_PAGE_H
#define CG_LEDGER_TAIL_PAGE_H

#include "gate/ports/partition.h"
#include "ledger/pg.h"

/* Whose an entry is, and the wallet as a load would take it. */
struct cg_tail_wallet {
	struct cg_uuid company;
	bool is_known; /* false: the ledger has no such wallet, its entries are in quarantine */
	struct cg_money posted;
	uint64_t version;
};

struct cg_tail_page {
	uint32_t capacity; /* rows asked for at most */
	uint32_t count;
	uint64_t last_epoch, last_n; /* of its rows in the order of the stream */
	/* Parallel; one wallet's stand together, in the order of the stream. */
	struct cg_repair_entry *entries;
	struct cg_tail_wallet *wallets;
	char *text; /* theirs */
	size_t text_capacity;
};

void cg_tail_page__init(struct cg_tail_page *page, uint32_t capacity);
void cg_tail_page__deinit(struct cg_tail_page *page);

/*
 * The statement of one page after an id; the partition's turn is put off with it.  Its first
 * column says whether the epoch is still ours; where it is not, there are no rows.
 */
const char *cg_tail_page__statement(struct cg_params *params, uint32_t partition, uint64_t epoch,
    const struct cg_entry_id *after, uint32_t most);

/* False: overtaken. */
bool cg_tail_page__decode(struct cg_tail_page *page, const PGresult *result);

#endif /* CG_LEDGER_TAIL_PAGE_H */
