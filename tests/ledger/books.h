/*
 * Wallets and the entries that the store's functions would write for them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_TESTS_LEDGER_BOOKS_H
#define CG_TESTS_LEDGER_BOOKS_H

#include "driver.h"

struct cg_uuid company_of(uint32_t number);
uint32_t partition_of(const struct cg_uuid *company);
struct cg_wallet create_wallet(struct driver *d, const struct cg_uuid *company);

/* What the store knows of a wallet. */
struct books {
	struct cg_uuid company;
	uint64_t version;
	int64_t balance;
};

/* The next entry of a wallet, as the store's functions write it; usage is a call's. */
struct cg_entry entry_of(
    struct books *books, enum cg_entry_type type, int64_t amount, const char *reference);

struct cg_ledger_op await_of(const struct cg_uuid *company, struct cg_entry_id id,
    enum cg_entry_type type, const char *reference);

/* Appends an entry to its stream, and kicks. */
struct cg_entry_id append(struct driver *d, const struct cg_entry *entry);
struct cg_entry_id write_entry(struct driver *d, struct books *books, enum cg_entry_type type,
    int64_t amount, const char *reference);
/* Also waits until it is in the ledger, under its own key. */
void commit(struct driver *d, struct books *books, enum cg_entry_type type, int64_t amount,
    const char *reference);

#endif /* CG_TESTS_LEDGER_BOOKS_H */
