/*
 * One look at some wallets of a partition.
 *
 * What makes it exact while everything moves is the order.  The ledger is read first, in one
 * snapshot; then the store's records, each with the sums over its calls from one instant; then the
 * stream, on to its end.  A wallet's versions above the ledger's and up to the store's are entries
 * that the stream then must have: they are trimmed no earlier than minutes after the ledger has
 * them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include "cli/audit.h"
#include "cli/output.h"
#include "cli/sql.h"
#include "cli/store.h"

static const char read_page[] =
    "select callgate.audit_page($1::integer, $2::uuid[], $3::date::timestamp at time zone 'UTC')";

struct cg_uuid cg_audit_uuid_of(const json_t *text)
{
	struct cg_uuid uuid = {{0}};

	(void)cg_uuid_parse(cg_view_of(json_string_value(text)), &uuid);
	return uuid;
}

/* [company, is there, currency, version, balance, aside, version and balance after them, fault] */
static void take_booked(struct cg_audit_look *look, size_t at, const json_t *row)
{
	struct cg_audit_booked *booked = &look->booked[at];
	const json_t *fault = json_array_get(row, 8);

	*booked = (struct cg_audit_booked){
	    .company = cg_audit_uuid_of(json_array_get(row, 0)),
	    .is_there = json_is_true(json_array_get(row, 1)),
	    .aside_count = json_integer_value(json_array_get(row, 5)),
	    .version = json_integer_value(json_array_get(row, 6)),
	    .balance = json_integer_value(json_array_get(row, 7)),
	    .fault = json_is_null(fault) ? NULL : fault,
	};
	(void)snprintf(booked->currency, sizeof booked->currency, "%s",
	    json_string_value(json_array_get(row, 2)));
}

static void put_companies(const struct cg_uuid *companies, size_t count, char *text)
{
	size_t len = 0;

	text[len++] = '{';
	for (size_t i = 0; i < count; i++) {
		cg_uuid_format(&companies[i], text + len);
		len += CG_UUID_TEXT_LEN;
		text[len++] = ',';
	}
	text[len - 1] = '}';
	text[len] = '\0';
}

/* The ledger's side of a page; its companies come back in order. */
static enum cg_exit read_ledger(
    struct cg_audit_look *look, const struct cg_uuid *companies, size_t count)
{
	static char list[CG_AUDIT_PAGE_MOST * (CG_UUID_TEXT_LEN + 1) + 2];
	char partition[12];
	const char *params[] = {partition, list, cg_args_text(&look->cli->args, "since", NULL)};
	const json_t *cursor;
	const json_t *rows;

	json_decref(look->page);
	look->page = NULL;
	(void)snprintf(partition, sizeof partition, "%u", (unsigned)look->partition);
	put_companies(companies, count, list);
	enum cg_exit code =
	    cg_sql_ask_alone(look->cli, read_page, params, CG_COUNT_OF(params), &look->page);
	if (code != CG_EXIT_DONE) {
		return code;
	}
	cursor = json_object_get(look->page, "cursor");
	rows = json_object_get(look->page, "wallets");
	look->is_in_use = !json_is_null(cursor);
	look->cursor_epoch = (uint64_t)json_integer_value(json_array_get(cursor, 0));
	look->cursor_last_epoch = (uint64_t)json_integer_value(json_array_get(cursor, 1));
	look->cursor_last_n = (uint64_t)json_integer_value(json_array_get(cursor, 2));
	CG_ASSERT(json_array_size(rows) == count);
	for (size_t i = 0; i < count; i++) {
		take_booked(look, i, json_array_get(rows, i));
	}
	return CG_EXIT_DONE;
}

static enum cg_exit hear_wallet(struct cg_audit_look *look, struct cg_audit_held *held)
{
	struct cg_view bytes;
	bool is_error = false;
	void *reply = NULL;
	enum cg_exit code = cg_store_hear(look->cli, &reply, &bytes, &is_error);

	if (code != CG_EXIT_DONE) {
		return code;
	}
	if (is_error) {
		struct cg_audit_head head = look->held[0].head;
		*held = (struct cg_audit_held){.head = head, .presence = CG_AUDIT_UNREADABLE};
		(void)snprintf(held->why, sizeof held->why, "%.*s",
		    (int)(bytes.len < sizeof held->why ? bytes.len : sizeof held->why - 1),
		    bytes.data);
	} else if (!cg_audit_decode_wallet(bytes, held)) {
		code = cg_output_fail(look->cli, CG_EXIT_INCOMPATIBLE, NULL, NULL,
		    "the store's functions answer in a form that this version does not read");
	}
	cg_store_forget(reply);
	return code;
}

/* The store's side: a record and its sums, each of one instant, all of them on their way at once. */
static enum cg_exit read_store(struct cg_audit_look *look, size_t count)
{
	enum cg_exit code = CG_EXIT_DONE;

	for (size_t i = 0; i < count; i++) {
		cg_store_call(look->cli,
		    &(struct cg_store_call){.function = "audit_wallet",
		        .partition = look->partition,
		        .company = &look->booked[i].company,
		        .key_count = 3,
		        .keys = {CG_STORE_HEAD, CG_STORE_WALLET, CG_STORE_DUE}});
	}
	for (size_t i = 0; i < count && code == CG_EXIT_DONE; i++) {
		code = hear_wallet(look, &look->held[i]);
	}
	return code;
}

/* Whether ledger and store speak of the same epoch, and have since the page was begun. */
static void judge_partition(struct cg_audit_look *look, size_t count)
{
	look->is_unsettled = false;
	look->is_confirmed = true;
	for (size_t i = 0; i < count && look->is_in_use; i++) {
		const struct cg_audit_held *held = &look->held[i];

		if (held->presence == CG_AUDIT_UNREADABLE) {
			continue; /* an error has no head */
		}
		look->is_unsettled = look->is_unsettled || !held->head.is_serving ||
		    held->head.epoch != look->cursor_epoch;
		look->is_confirmed = look->is_confirmed && held->head.is_confirmed;
	}
}

static enum cg_exit read_tail(struct cg_audit_look *look)
{
	if (look->tail_epoch != look->cursor_epoch) {
		cg_audit_tail_reset(look->tail);
		look->tail_epoch = look->cursor_epoch;
	}
	return cg_audit_tail_read(
	    look->cli, look->tail, look->cursor_last_epoch, look->cursor_last_n);
}

enum cg_exit cg_audit_look_at(
    struct cg_audit_look *look, const struct cg_uuid *companies, size_t count)
{
	enum cg_exit code = read_ledger(look, companies, count);

	if (code == CG_EXIT_DONE) {
		code = read_store(look, count);
	}
	if (code == CG_EXIT_DONE) {
		judge_partition(look, count);
		code = look->is_unsettled ? CG_EXIT_DONE : read_tail(look);
	}
	return code;
}

json_t *cg_audit_look_compare(const struct cg_audit_look *look, size_t at)
{
	return cg_audit_compare(look->partition, &look->booked[at], &look->held[at], look->tail);
}

void cg_audit_look_begin(struct cg_audit_look *look, struct cg_cli *cli, uint32_t partition)
{
	look->cli = cli;
	look->partition = partition;
	look->tail = cg_audit_tail_create(partition);
	look->tail_epoch = 0;
	look->page = NULL;
	look->is_unsettled = false;
	look->is_confirmed = true;
}

void cg_audit_look_end(struct cg_audit_look *look)
{
	cg_audit_tail_destroy(look->tail);
	look->tail = NULL;
	json_decref(look->page);
	look->page = NULL;
}
