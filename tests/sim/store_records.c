/* SPDX-License-Identifier: Apache-2.0 */
#include "store_records.h"

#include <inttypes.h>
#include <stdio.h>

#include "gate/ports/store.h"
#include "redis.h"

#define STATE_AUTHORIZED 1

uint32_t store_partition_of(uint32_t company)
{
	return cg_store_partition_of(&sim.companies[company], SIM_PARTITIONS);
}

static double read_double(const char *at)
{
	double value = 0;

	memcpy(&value, at, sizeof value);
	return value;
}

static uint64_t read_uint(const char *at, size_t width)
{
	uint64_t value = 0;

	for (size_t i = width; i > 0; i--) {
		value = value << 8 | (uint8_t)at[i - 1];
	}
	return value;
}

static const struct mem_object *key_of(uint32_t partition, const char *name)
{
	char key[48];

	(void)snprintf(key, sizeof key, "cg:{p%" PRIu32 "}:%s", partition, name);
	return mem_find(redis_memory(), cg_view_of(key));
}

static const struct mem_object *wallet_of(uint32_t company)
{
	char key[48];
	int len = snprintf(key, sizeof key, "cg:{p%" PRIu32 "}:w:", store_partition_of(company));

	memcpy(key + len, sim.companies[company].bytes, 16);
	return mem_find(redis_memory(), (struct cg_view){key, (size_t)len + 16});
}

/* '<BdBdBB' */
bool store_head_read(uint32_t partition, struct store_head *ret_head)
{
	const struct mem_object *head = key_of(partition, "head");
	const struct mem_item *field =
	    head == NULL ? NULL : mem_item_find(head, cg_view_of("in_force"));

	if (field == NULL) {
		return false;
	}
	ret_head->epoch = (uint64_t)read_double(field->value->data + 1);
	ret_head->is_serving = field->value->data[9] == 2;
	ret_head->floor = (uint64_t)read_double(field->value->data + 10);
	/* '<ddddddd': served, trimmed epoch and n, ... */
	const struct mem_item *history = mem_item_find(head, cg_view_of("history"));
	ret_head->trimmed_epoch = (uint64_t)read_double(history->value->data + 8);
	ret_head->trimmed_n = (uint64_t)read_double(history->value->data + 16);
	return true;
}

static int64_t charge_for(int64_t rate, int64_t ms)
{
	return (rate * ms + 59999) / 60000;
}

/* '<BBc40': layout, state, the deal: rate, fee, minimum, increment, reserve, longest, lease, guard. */
static void add_call(const struct mem_item *item, struct store_wallet *wallet)
{
	const char *deal = item->value->data + 2;
	int state = (unsigned char)item->value->data[1];
	int64_t rate = (int64_t)read_uint(deal, 8);
	int64_t fee = (int64_t)read_uint(deal + 8, 8);
	int64_t minimum = (int64_t)read_uint(deal + 16, 4);
	int64_t least = (int64_t)(read_uint(deal + 20, 4) + read_uint(deal + 36, 4));
	int64_t headroom = fee + charge_for(rate, minimum > least ? minimum : least) + 1;

	wallet->live_calls++;
	wallet->held_by_calls += headroom;
	if (state == STATE_AUTHORIZED) {
		wallet->held_by_calls += charge_for(rate, (int64_t)read_uint(deal + 24, 4));
	}
	wallet->burn_by_calls += state == STORE_CALL_METERING ? rate : 0;
}

/* The record: a layout, then posted, held, burn, accrued, rem, as_of, calls, version, exhausted, due. */
bool store_wallet_read(uint32_t company, struct store_wallet *ret_wallet)
{
	const struct mem_object *hash = wallet_of(company);
	const struct mem_item *record =
	    hash == NULL ? NULL : mem_item_find(hash, (struct cg_view){"", 0});
	const struct mem_item *seldom =
	    hash == NULL ? NULL : mem_item_find(hash, (struct cg_view){"\0", 1});

	if (record == NULL || seldom == NULL) {
		return false;
	}
	const char *at = record->value->data + 1;
	*ret_wallet = (struct store_wallet){.posted = (int64_t)read_double(at),
	    .held = (int64_t)read_double(at + 8),
	    .burn = (int64_t)read_double(at + 16),
	    .accrued = (int64_t)read_double(at + 24),
	    .rem = (int64_t)read_double(at + 32),
	    .as_of = (int64_t)read_double(at + 40),
	    .calls = (int64_t)read_double(at + 48),
	    .version = (uint64_t)read_double(at + 56),
	    .due = (int64_t)read_double(at + 72),
	    .generation = (uint64_t)read_double(seldom->value->data)};
	for (size_t i = 0; i < hash->count; i++) {
		struct cg_view name = mem_view(hash->items[i].name);
		if (name.len > 1 || (name.len == 1 && name.data[0] != '\0')) {
			add_call(&hash->items[i], ret_wallet);
		}
	}
	return true;
}

bool store_due_read(uint32_t company, int64_t *ret_due)
{
	const struct mem_object *due = key_of(store_partition_of(company), "due");
	struct cg_view member = {(const char *)sim.companies[company].bytes, 16};
	const struct mem_item *item = due == NULL ? NULL : mem_item_find(due, member);

	if (item == NULL) {
		return false;
	}
	*ret_due = (int64_t)item->score;
	return true;
}

const struct mem_object *store_ledger_stream(uint32_t partition)
{
	return key_of(partition, "ledger");
}

/* layout B, company c16, version I8, type B, amount i8, balance i8, at I6 */
struct store_entry store_entry_of(const struct mem_item *item)
{
	const char *blob = item->value->data;

	return (struct store_entry){.epoch = item->epoch,
	    .n = item->n,
	    .company = sim_company_of(blob + 1),
	    .version = read_uint(blob + 17, 8),
	    .amount = (int64_t)read_uint(blob + 26, 8),
	    .balance_after = (int64_t)read_uint(blob + 34, 8),
	    .at_ms = (int64_t)read_uint(blob + 42, 6)};
}

int store_call_state(uint32_t company, struct cg_view call_id)
{
	const struct mem_object *hash = wallet_of(company);
	const struct mem_item *call = hash == NULL ? NULL : mem_item_find(hash, call_id);

	return call == NULL ? 0 : (unsigned char)call->value->data[1];
}

bool store_call_lives(uint32_t company, struct cg_view call_id)
{
	return store_call_state(company, call_id) != 0;
}
