/*
 * How fast the flusher drains a stream: entries per second, from the store's answer to the
 * moved cursor.  $CG_TEST_DATABASE_URL; argument: how many entries.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "driver.h"

#define WALLETS 1000

static uint64_t wanted_n[FAKE_PARTITIONS];

static bool everything_is_trimmed(struct driver *d)
{
	for (uint32_t i = 0; i < FAKE_PARTITIONS; i++) {
		if (d->store.partitions[i].last.n != wanted_n[i] ||
		    d->store.partitions[i].count != 0) {
			return false;
		}
	}
	return true;
}

static struct cg_uuid company_of(uint32_t number)
{
	struct cg_uuid company = {{0xab}};

	company.bytes[14] = (uint8_t)(number >> 8);
	company.bytes[15] = (uint8_t)number;
	return company;
}

static void fill(struct driver *d, uint32_t count, char (*references)[24])
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t wallet = i % WALLETS;
		uint64_t version = i / WALLETS + 1;
		struct cg_entry entry = {.company = company_of(wallet), .version = version};

		(void)snprintf(references[i], 24, "speed-%u", i);
		entry.body.type = CG_ENTRY_USAGE;
		entry.body.amount.micros = -93000;
		entry.body.balance_after.micros = -93000 * (int64_t)version;
		entry.body.at_ms = INT64_C(1787300000000) + i;
		entry.body.reference_id = cg_view_of(references[i]);
		entry.body.resource_type = cg_view_of("voice_outbound");
		entry.body.destination = cg_view_of("+447911123456");
		entry.body.price = (struct cg_price){{90000}, {0}, 0, 1000};
		entry.body.billed_ms = 62000;
		entry.body.duration_ms = 61001;
		entry.body.basis = CG_BASIS_REPORTED;
		wanted_n[wallet % FAKE_PARTITIONS] =
		    fake_store_append(&d->store, wallet % FAKE_PARTITIONS, &entry).n;
	}
}

int main(int argc, char **argv)
{
	static struct driver d;
	uint32_t count = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 20000;
	char(*references)[24] = calloc(count, sizeof *references);

	driver_start(
	    &d, getenv("CG_TEST_DATABASE_URL"), getenv("CG_TEST_DATABASE_URL"), FAKE_PARTITIONS);
	CG_ASSERT(references != NULL && driver_wait(&d, every_partition_is_served, 10000));
	for (uint32_t i = 0; i < WALLETS; i++) {
		struct cg_ledger_op op = {
		    .verb = CG_LEDGER_WALLET_CREATE, .company = company_of(i)};
		op.in.wallet_create.currency = (struct cg_currency){"usd"};
		op.in.wallet_create.plan_id = cg_view_of("starter");
		driver_run(&d, &op);
	}
	uint64_t from_ns = cg_loop_clock_ns();
	fill(&d, count, references);
	for (uint32_t i = 0; i < FAKE_PARTITIONS; i++) {
		cg_ledger_port(d.ledger)->kick(cg_ledger_port(d.ledger), i);
	}
	long long done = 0;
	while (done < (long long)count) {
		(void)driver_wait(&d, everything_is_trimmed, 20);
		done = driver_number(&d, "select count(*) from wallet_transactions");
	}
	double seconds = (double)(cg_loop_clock_ns() - from_ns) / 1e9;
	(void)printf("%u entries in %.2f s: %.0f/s\n", count, seconds, count / seconds);
	driver_stop(&d);
	free(references);
	return 0;
}
