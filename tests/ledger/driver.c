/* SPDX-License-Identifier: Apache-2.0 */
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>

/* The operation's owner is found through the ledger's own driver: one at a time. */
static struct driver *current;

static void on_timer(void *owner)
{
	struct driver *d = owner;

	if (d->condition(d)) {
		d->came_true = true;
		cg_loop_stop(d->loop);
	} else if (cg_loop_now_ms(d->loop) >= d->give_up_at_ms) {
		cg_loop_stop(d->loop);
	} else {
		cg_timer_start(d->timer, 1);
	}
}

bool driver_wait(struct driver *d, bool (*condition)(struct driver *d), uint64_t timeout_ms)
{
	d->condition = condition;
	d->came_true = false;
	d->give_up_at_ms = cg_loop_now_ms(d->loop) + timeout_ms;
	cg_timer_start(d->timer, 0);
	cg_loop_run(d->loop);
	return d->came_true;
}

static void on_terms_changed(void *owner, const struct cg_uuid *company)
{
	struct driver *d = owner;

	if (company == NULL) {
		d->plans_changed++;
	} else {
		d->wallets_changed++;
	}
}

static void on_receipt_due(
    void *owner, const struct cg_uuid *company, const struct cg_ledger_receipt_in *receipt)
{
	struct driver *d = owner;

	(void)company;
	(void)receipt;
	d->receipts_due++;
}

bool driver_find_urls(const char **ret_owner_url, const char **ret_sidecar_url)
{
	const char *owner_url = getenv("CG_TEST_DATABASE_URL");
	const char *sidecar_url = getenv("CG_TEST_SIDECAR_URL");

	if (owner_url == NULL || sidecar_url == NULL) {
		(void)fprintf(
		    stderr, "CG_TEST_DATABASE_URL or CG_TEST_SIDECAR_URL names no database\n");
		return false;
	}
	*ret_owner_url = owner_url;
	*ret_sidecar_url = sidecar_url;
	return true;
}

void driver_start(
    struct driver *d, const char *database_url, const char *owner_url, uint32_t partition_count)
{
	struct cg_ledger_listener listener = {
	    .on_terms_changed = on_terms_changed, .on_receipt_due = on_receipt_due, .owner = d};
	struct cg_ledger_config config = {
	    .database_url = database_url,
	    .partition_count = partition_count,
	    .connections = 3,
	    .requests_max = 20000,
	    .flush_interval_ms = 5,
	    .flush_batch_max = 500,
	    .trim_margin_ms = 0,
	    .terms_poll_ms = 100,
	    .receipt_after_ms = 300,
	    .connect_timeout_ms = 2000,
	};

	*d = (struct driver){0};
	current = d;
	d->loop = cg_loop_create();
	d->timer = cg_timer_create(d->loop, on_timer, d);
	fake_store_init(&d->store, d->loop);
	d->sql = PQconnectdb(owner_url);
	d->ledger = cg_ledger_create(d->loop, &config, &d->store.port);
	cg_ledger_listen(d->ledger, &listener);
	cg_ledger_start(d->ledger);
	struct cg_partition_listener store = cg_ledger_partition_listener(d->ledger);
	store.on_connected(store.owner);
}

void driver_stop(struct driver *d)
{
	cg_ledger_close(d->ledger);
	fake_store_deinit(&d->store);
	cg_timer_close(d->timer);
	cg_ledger_destroy(d->ledger);
	cg_loop_destroy(d->loop);
	PQfinish(d->sql);
}

static void on_done(struct cg_ledger_op *op)
{
	(void)op;
	current->ended++;
}

void driver_submit(struct driver *d, struct cg_ledger_op *op, uint64_t timeout_ms)
{
	struct cg_ledger_port *port = cg_ledger_port(d->ledger);

	op->deadline_at_ms = cg_loop_now_ms(d->loop) + timeout_ms;
	op->done = on_done;
	d->wanted++;
	port->submit(port, op);
}

bool all_have_ended(struct driver *d)
{
	return d->ended == d->wanted;
}

void driver_run(struct driver *d, struct cg_ledger_op *op)
{
	driver_submit(d, op, 10000);
	CG_ASSERT(d->ended < d->wanted); /* never before submit has returned */
	CG_ASSERT(driver_wait(d, all_have_ended, 12000));
}

long long driver_number(struct driver *d, const char *statement)
{
	PGresult *result = PQexec(d->sql, statement);
	long long number = -1;

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1) {
		(void)fprintf(stderr, "%s: %s\n", statement, PQerrorMessage(d->sql));
	} else {
		number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	}
	PQclear(result);
	return number;
}

bool every_partition_is_served(struct driver *d)
{
	for (uint32_t i = 0; i < FAKE_PARTITIONS; i++) {
		if (d->store.partitions[i].served_here == 0) {
			return false;
		}
	}
	return true;
}
