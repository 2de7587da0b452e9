/*
 * What stands in the memory of the store, read without its functions: heads, wallets, calls
 * and entries as callgate/ packs them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_STORE_RECORDS_H
#define CG_SIM_STORE_RECORDS_H

#include "memory.h"
#include "sim.h"

struct store_head {
	uint64_t epoch, floor;
	bool is_serving;
	uint64_t trimmed_epoch, trimmed_n;
};

struct store_wallet {
	int64_t posted, held, burn, calls, due;
	int64_t accrued, rem, as_of;
	uint64_t version, generation;
	/* Summed over its calls. */
	int64_t held_by_calls, burn_by_calls, live_calls;
};

struct store_entry {
	uint64_t epoch, n, version;
	uint32_t company;
	int64_t amount, balance_after, at_ms;
};

bool store_head_read(uint32_t partition, struct store_head *ret_head);
/* False: it is not there. */
bool store_wallet_read(uint32_t company, struct store_wallet *ret_wallet);
/* Its score in the due set; false: it is not in there. */
bool store_due_read(uint32_t company, int64_t *ret_due);
const struct mem_object *store_ledger_stream(uint32_t partition);
struct store_entry store_entry_of(const struct mem_item *item);
/* Of the call's record among the wallet's; 0: it has none. */
#define STORE_CALL_METERING 2
int store_call_state(uint32_t company, struct cg_view call_id);
/* Whether the call has a record among the wallet's. */
bool store_call_lives(uint32_t company, struct cg_view call_id);

uint32_t store_partition_of(uint32_t company);

#endif /* CG_SIM_STORE_RECORDS_H */
