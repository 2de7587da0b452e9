/*
 * Rows of calls that were let in, many in one statement: nobody waits for them, and a commit for each
 * keeps the disk from whom somebody waits for, the gate's store among them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>

#include "edge/store/store_internal.h"

/* Until they are written.  An edge that dies meanwhile leaves them to a sweep, as if Postgres were away. */
#define LINGER_MS 20
#define AT_ONCE   500

struct cg_edge_admitted {
	char call_id[129];
	struct cg_uuid company;
	char phone_number_id[65];
	char destination[17];
	int64_t granted_ms;
	int64_t look_in_ms;
};

/* One column: the text at `offset` of each. */
static void put_texts(struct cg_edge_store *store, struct cg_params *params, size_t offset)
{
	cg_params__array(params, CG_OID_TEXT, store->admitted_count);
	for (uint32_t i = 0; i < store->admitted_count; i++) {
		cg_params__element(params, cg_view_of((const char *)&store->admitted[i] + offset));
	}
}

static void put_companies(struct cg_edge_store *store, struct cg_params *params)
{
	cg_params__array(params, CG_OID_UUID, store->admitted_count);
	for (uint32_t i = 0; i < store->admitted_count; i++) {
		const struct cg_uuid *company = &store->admitted[i].company;
		cg_params__element(
		    params, (struct cg_view){(const char *)company->bytes, sizeof company->bytes});
	}
}

static void put_numbers(struct cg_edge_store *store, struct cg_params *params, size_t offset)
{
	cg_params__array(params, CG_OID_INT8, store->admitted_count);
	for (uint32_t i = 0; i < store->admitted_count; i++) {
		int64_t number = 0;
		memcpy(&number, (const char *)&store->admitted[i] + offset, sizeof number);
		cg_params__element_int8(params, number);
	}
}

/* In the order of their ids: two edges that have the same calls must not wait for each other. */
static const char statement[] =
    "select callgate.edge_call_note(n.call_id, 'admitted', n.company, 'inboundPhoneCall',"
    " n.number_id, null, 'voice_inbound', n.destination, n.granted_ms, false, false, null, null,"
    " null, null, null, n.look_in_ms)"
    " from (select * from unnest($1, $2, $3, $4, $5, $6) as u(call_id, company, number_id,"
    " destination, granted_ms, look_in_ms) order by call_id) n";

static void write_all(void *owner)
{
	struct cg_edge_store *store = owner;
	struct cg_edge_task *task = NULL;

	cg_timer_cancel(store->admitted_timer);
	if (store->admitted_count == 0) {
		return;
	}
	task = cg_edge_store__task(statement, CG_EDGE_TASK_NOTHING);
	put_texts(store, &task->params, offsetof(struct cg_edge_admitted, call_id));
	put_companies(store, &task->params);
	put_texts(store, &task->params, offsetof(struct cg_edge_admitted, phone_number_id));
	put_texts(store, &task->params, offsetof(struct cg_edge_admitted, destination));
	put_numbers(store, &task->params, offsetof(struct cg_edge_admitted, granted_ms));
	put_numbers(store, &task->params, offsetof(struct cg_edge_admitted, look_in_ms));
	store->admitted_count = 0;
	cg_edge_store__submit(store, task, NULL, NULL);
}

void cg_edge_store_admitted(struct cg_edge_store *store, const struct cg_edge_note *note)
{
	struct cg_edge_admitted *a = &store->admitted[store->admitted_count++];

	CG_ASSERT(cg_uuid_parse(cg_view_of(note->company_id), &a->company));
	(void)snprintf(a->call_id, sizeof a->call_id, "%s", note->call_id);
	(void)snprintf(a->phone_number_id, sizeof a->phone_number_id, "%s", note->phone_number_id);
	(void)snprintf(a->destination, sizeof a->destination, "%s", note->destination);
	a->granted_ms = note->granted_ms;
	a->look_in_ms = note->look_in_ms;
	if (store->admitted_count >= AT_ONCE) {
		write_all(store);
	} else if (!cg_timer_is_running(store->admitted_timer)) {
		cg_timer_start(store->admitted_timer, LINGER_MS);
	}
}

void cg_edge_store__admitted_init(struct cg_edge_store *store)
{
	store->admitted = calloc(AT_ONCE, sizeof *store->admitted);
	CG_ASSERT(store->admitted != NULL);
	store->admitted_timer = cg_timer_create(store->loop, write_all, store);
}

void cg_edge_store__admitted_close(struct cg_edge_store *store)
{
	cg_timer_close(store->admitted_timer);
	free(store->admitted);
	store->admitted = NULL;
	store->admitted_count = 0;
}
