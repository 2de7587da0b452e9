/* SPDX-License-Identifier: Apache-2.0 */
#include "books.h"

struct cg_uuid company_of(uint32_t number)
{
	struct cg_uuid company = {{0}};

	company.bytes[0] = 0xc0;
	company.bytes[14] = (uint8_t)(number >> 8);
	company.bytes[15] = (uint8_t)number;
	return company;
}

uint32_t partition_of(const struct cg_uuid *company)
{
	return company->bytes[15] % FAKE_PARTITIONS;
}

struct cg_wallet create_wallet(struct driver *d, const struct cg_uuid *company)
{
	struct cg_ledger_op op = {.verb = CG_LEDGER_WALLET_CREATE, .company = *company};

	op.in.wallet_create.currency = (struct cg_currency){"usd"};
	op.in.wallet_create.plan_id = cg_view_of("starter");
	driver_run(d, &op);
	CG_ASSERT(op.status == CG_OK && op.outcome == CG_LEDGER_DONE);
	return op.out.wallet;
}

struct cg_entry entry_of(
    struct books *books, enum cg_entry_type type, int64_t amount, const char *reference)
{
	struct cg_entry entry = {.company = books->company, .version = ++books->version};

	books->balance += amount;
	entry.body.type = type;
	entry.body.amount.micros = amount;
	entry.body.balance_after.micros = books->balance;
	entry.body.at_ms = INT64_C(1787300000000) + (int64_t)books->version;
	entry.body.reference_id = cg_view_of(reference);
	if (type == CG_ENTRY_USAGE) {
		entry.body.resource_type = cg_view_of("voice_outbound");
		entry.body.destination = cg_view_of("+447911123456");
		entry.body.price = (struct cg_price){{90000}, {0}, 0, 1000};
		entry.body.currency = (struct cg_currency){"usd"};
		entry.body.duration_ms = 61001;
		entry.body.billed_ms = 62000;
		entry.body.basis = CG_BASIS_REPORTED;
		entry.body.started_at_ms = entry.body.at_ms - 61001;
		entry.body.ended_at_ms = entry.body.at_ms;
	}
	return entry;
}

struct cg_ledger_op await_of(const struct cg_uuid *company, struct cg_entry_id id,
    enum cg_entry_type type, const char *reference)
{
	struct cg_ledger_op op = {.verb = CG_LEDGER_AWAIT, .company = *company};

	op.in.await.entry_id = id;
	op.in.await.key = (struct cg_ledger_key){type, cg_view_of(reference)};
	return op;
}

struct cg_entry_id append(struct driver *d, const struct cg_entry *entry)
{
	uint32_t partition = partition_of(&entry->company);
	struct cg_entry_id id = fake_store_append(&d->store, partition, entry);

	cg_ledger_port(d->ledger)->kick(cg_ledger_port(d->ledger), partition);
	return id;
}

struct cg_entry_id write_entry(struct driver *d, struct books *books, enum cg_entry_type type,
    int64_t amount, const char *reference)
{
	struct cg_entry entry = entry_of(books, type, amount, reference);

	return append(d, &entry);
}

void commit(struct driver *d, struct books *books, enum cg_entry_type type, int64_t amount,
    const char *reference)
{
	struct cg_entry_id id = write_entry(d, books, type, amount, reference);
	struct cg_ledger_op op = await_of(&books->company, id, type, reference);

	driver_run(d, &op);
	CG_ASSERT(op.status == CG_OK && op.outcome == CG_LEDGER_DONE);
}
