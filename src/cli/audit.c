/*
 * audit: proves on a live system, wallet by wallet, that the store, the stream and the ledger agree.
 *
 * What makes it exact while everything moves is the order of looking.  Of a page of wallets of one
 * partition the ledger is read first, in one snapshot; then the store's records, each with the sums
 * over its calls from one instant; then the stream, on to its end.  A wallet's versions above the
 * ledger's and up to the store's are entries that the stream then must have: they are trimmed
 * no earlier than minutes after the ledger has them.  Whatever differs all the same is looked at
 * again, alone, before it is told.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cli/audit.h"
#include "cli/output.h"
#include "cli/sql.h"
#include "cli/store.h"

#define PAGE_MOST          500
#define LOOKS_MOST         5 /* of a wallet that differs */
#define BETWEEN_LOOKS_MS   100
#define STATEMENT_LEAST_MS 60000 /* a page of busy wallets may have many rows */

static const char read_companies[] =
    "select json_build_object('partitions', (select d.partitions from callgate.deployment d), "
    "'companies', (select coalesce(json_agg(c.company_id order by c.company_id), '[]'::json) from "
    "(select w.company_id from public.wallets w union "
    "select q.company_id from callgate.quarantine q where q.kind = 'wallet') c "
    "where $1::uuid is null or c.company_id = $1::uuid))";

static const char read_page[] =
    "select callgate.audit_page($1::integer, $2::uuid[], $3::date::timestamp at time zone 'UTC')";

struct audit {
	struct cg_cli *cli;
	uint32_t partition_count;
	struct cg_uuid *companies; /* in order */
	size_t company_count;
	json_t *differences;
	json_t *notes;
	int64_t wallet_count;
	int64_t entry_count; /* of the ledger, looked at */
	int64_t aside_count;
	int64_t aside_wallets;
	int64_t again_count;      /* wallets that were looked at more than once */
	int64_t uncompared_count; /* wallets of partitions that do not settle */
	int64_t unsummed_count;
	int64_t until_ms; /* how long is waited for a partition to settle */

	/* The partition at hand. */
	uint32_t partition;
	struct cg_audit_tail *tail;
	uint64_t tail_epoch;
	json_t *page; /* its array; what `booked` points into */
	struct cg_audit_booked booked[PAGE_MOST];
	struct cg_audit_held held[PAGE_MOST];
	bool is_in_use;    /* the ledger has a cursor */
	bool is_unsettled; /* being recovered, or without a head, or restarted just now */
	bool is_confirmed;
	uint64_t cursor_epoch;
	uint64_t cursor_last_epoch;
	uint64_t cursor_last_n;
};

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void pause_a_little(void)
{
	(void)nanosleep(&(struct timespec){.tv_nsec = BETWEEN_LOOKS_MS * 1000000L}, NULL);
}

static enum cg_exit ask(struct audit *audit, const char *statement, const char *const *params,
    int count, json_t **ret_answer)
{
	enum cg_exit code = cg_sql_begin(audit->cli);

	if (code == CG_EXIT_DONE) {
		code = cg_sql_ask(audit->cli, statement, params, count, ret_answer);
	}
	return code == CG_EXIT_DONE ? cg_sql_commit(audit->cli) : code;
}

static struct cg_uuid uuid_of(const json_t *text)
{
	struct cg_uuid uuid = {{0}};

	(void)cg_uuid_parse(cg_view_of(json_string_value(text)), &uuid);
	return uuid;
}

/* [company, is there, currency, version, balance, aside, version and balance after them, fault] */
static void take_booked(struct audit *audit, size_t at, const json_t *row)
{
	struct cg_audit_booked *booked = &audit->booked[at];
	const json_t *fault = json_array_get(row, 8);

	*booked = (struct cg_audit_booked){
	    .company = uuid_of(json_array_get(row, 0)),
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
static enum cg_exit read_ledger(struct audit *audit, const struct cg_uuid *companies, size_t count)
{
	static char list[PAGE_MOST * (CG_UUID_TEXT_LEN + 1) + 2];
	char partition[12];
	const char *params[] = {partition, list, cg_args_text(&audit->cli->args, "since", NULL)};
	const json_t *cursor;
	const json_t *rows;

	json_decref(audit->page);
	audit->page = NULL;
	(void)snprintf(partition, sizeof partition, "%u", (unsigned)audit->partition);
	put_companies(companies, count, list);
	enum cg_exit code = ask(audit, read_page, params, CG_COUNT_OF(params), &audit->page);
	if (code != CG_EXIT_DONE) {
		return code;
	}
	cursor = json_object_get(audit->page, "cursor");
	rows = json_object_get(audit->page, "wallets");
	audit->is_in_use = !json_is_null(cursor);
	audit->cursor_epoch = (uint64_t)json_integer_value(json_array_get(cursor, 0));
	audit->cursor_last_epoch = (uint64_t)json_integer_value(json_array_get(cursor, 1));
	audit->cursor_last_n = (uint64_t)json_integer_value(json_array_get(cursor, 2));
	CG_ASSERT(json_array_size(rows) == count);
	for (size_t i = 0; i < count; i++) {
		take_booked(audit, i, json_array_get(rows, i));
	}
	return CG_EXIT_DONE;
}

static enum cg_exit hear_wallet(struct audit *audit, struct cg_audit_held *held)
{
	struct cg_view bytes;
	bool is_error = false;
	void *reply = NULL;
	enum cg_exit code = cg_store_hear(audit->cli, &reply, &bytes, &is_error);

	if (code != CG_EXIT_DONE) {
		return code;
	}
	if (is_error) {
		struct cg_audit_head head = audit->held[0].head;
		*held = (struct cg_audit_held){.head = head, .presence = CG_AUDIT_UNREADABLE};
		(void)snprintf(held->why, sizeof held->why, "%.*s",
		    (int)(bytes.len < sizeof held->why ? bytes.len : sizeof held->why - 1),
		    bytes.data);
	} else if (!cg_audit_decode_wallet(bytes, held)) {
		code = cg_output_fail(audit->cli, CG_EXIT_INCOMPATIBLE, NULL, NULL,
		    "the store's functions answer in a form that this version does not read");
	}
	cg_store_forget(reply);
	return code;
}

/* The store's side: a record and its sums, each of one instant, all of them on their way at once. */
static enum cg_exit read_store(struct audit *audit, size_t count)
{
	enum cg_exit code = CG_EXIT_DONE;

	for (size_t i = 0; i < count; i++) {
		cg_store_call(audit->cli,
		    &(struct cg_store_call){.function = "audit_wallet",
		        .partition = audit->partition,
		        .company = &audit->booked[i].company,
		        .key_count = 3,
		        .keys = {CG_STORE_HEAD, CG_STORE_WALLET, CG_STORE_DUE}});
	}
	for (size_t i = 0; i < count && code == CG_EXIT_DONE; i++) {
		code = hear_wallet(audit, &audit->held[i]);
	}
	return code;
}

/* Whether ledger and store speak of the same epoch, and have since the page was begun. */
static void judge_partition(struct audit *audit, size_t count)
{
	audit->is_unsettled = false;
	audit->is_confirmed = true;
	for (size_t i = 0; i < count && audit->is_in_use; i++) {
		const struct cg_audit_held *held = &audit->held[i];

		if (held->presence == CG_AUDIT_UNREADABLE) {
			continue; /* an error has no head */
		}
		audit->is_unsettled = audit->is_unsettled || !held->head.is_serving ||
		    held->head.epoch != audit->cursor_epoch;
		audit->is_confirmed = audit->is_confirmed && held->head.is_confirmed;
	}
}

static enum cg_exit read_tail(struct audit *audit)
{
	if (audit->tail_epoch != audit->cursor_epoch) {
		cg_audit_tail_reset(audit->tail);
		audit->tail_epoch = audit->cursor_epoch;
	}
	return cg_audit_tail_read(
	    audit->cli, audit->tail, audit->cursor_last_epoch, audit->cursor_last_n);
}

/* Ledger, store, stream, in this order. */
static enum cg_exit look(struct audit *audit, const struct cg_uuid *companies, size_t count)
{
	enum cg_exit code = read_ledger(audit, companies, count);

	if (code == CG_EXIT_DONE) {
		code = read_store(audit, count);
	}
	if (code == CG_EXIT_DONE) {
		judge_partition(audit, count);
		code = audit->is_unsettled ? CG_EXIT_DONE : read_tail(audit);
	}
	return code;
}

static json_t *compare(struct audit *audit, size_t at)
{
	return cg_audit_compare(
	    audit->partition, &audit->booked[at], &audit->held[at], audit->tail);
}

/* Looked at until it agrees, or long enough; a partition that does not settle proves nothing. */
static enum cg_exit look_again(struct audit *audit, const struct cg_uuid *company)
{
	json_t *difference = NULL;
	int looks = 1;

	audit->again_count++;
	while (true) {
		pause_a_little();
		enum cg_exit code = look(audit, company, 1);
		if (code != CG_EXIT_DONE) {
			return code;
		}
		bool is_waiting =
		    (audit->is_unsettled || !audit->is_confirmed) && now_ms() < audit->until_ms;
		difference = audit->is_unsettled ? NULL : compare(audit, 0);
		looks++;
		if (!is_waiting &&
		    (audit->is_unsettled || difference == NULL || looks >= LOOKS_MOST)) {
			break;
		}
		if (difference == NULL && !audit->is_unsettled) {
			break;
		}
		json_decref(difference);
	}
	audit->uncompared_count += audit->is_unsettled ? 1 : 0;
	if (difference != NULL) {
		json_array_append_new(audit->differences, difference);
	}
	return CG_EXIT_DONE;
}

static void note(struct audit *audit, const char *what)
{
	char text[160];

	(void)snprintf(text, sizeof text, "partition %u %s", (unsigned)audit->partition, what);
	json_array_append_new(audit->notes, json_string(text));
}

static void count_page(struct audit *audit, size_t count)
{
	audit->wallet_count += (int64_t)count;
	audit->entry_count += json_integer_value(json_object_get(audit->page, "entries"));
	for (size_t i = 0; i < count; i++) {
		audit->aside_count += audit->booked[i].aside_count;
		audit->aside_wallets += audit->booked[i].aside_count > 0 ? 1 : 0;
		audit->unsummed_count +=
		    audit->held[i].presence == CG_AUDIT_THERE && !audit->held[i].is_summed ? 1 : 0;
	}
}

static enum cg_exit audit_page(struct audit *audit, const struct cg_uuid *companies, size_t count)
{
	struct cg_uuid *odd = malloc(count * sizeof *odd);
	size_t odd_count = 0;
	enum cg_exit code = look(audit, companies, count);

	CG_ASSERT(odd != NULL);
	while (code == CG_EXIT_DONE && audit->is_unsettled && now_ms() < audit->until_ms) {
		pause_a_little();
		code = look(audit, companies, count);
	}
	if (code == CG_EXIT_DONE) {
		count_page(audit, count);
	}
	if (code == CG_EXIT_DONE && audit->is_unsettled) {
		note(audit, "is being recovered, or not in use: not compared");
		audit->uncompared_count += (int64_t)count;
		free(odd);
		return code;
	}
	for (size_t i = 0; i < count && code == CG_EXIT_DONE; i++) {
		json_t *difference = compare(audit, i);
		if (difference != NULL) {
			odd[odd_count++] = audit->booked[i].company;
			json_decref(difference);
		}
	}
	for (size_t i = 0; i < odd_count && code == CG_EXIT_DONE; i++) {
		code = look_again(audit, &odd[i]);
	}
	free(odd);
	return code;
}

static int compare_uuids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct cg_uuid));
}

struct stranger_list {
	const struct audit *audit;
	struct cg_uuid list[PAGE_MOST];
	size_t count;
};

static void on_scanned(void *owner, const struct cg_uuid *company)
{
	struct stranger_list *strangers = owner;
	const struct audit *audit = strangers->audit;

	if (strangers->count < PAGE_MOST &&
	    bsearch(company, audit->companies, audit->company_count, sizeof *company,
	        compare_uuids) == NULL) {
		strangers->list[strangers->count++] = *company;
	}
}

/* Wallets that the ledger did not have: made since, or nobody's. */
static enum cg_exit audit_strangers(struct audit *audit)
{
	static struct stranger_list strangers;
	enum cg_exit code;

	strangers.audit = audit;
	strangers.count = 0;
	code = cg_store_scan(audit->cli, audit->partition, on_scanned, &strangers);
	if (code == CG_EXIT_DONE && strangers.count > 0) {
		/* A scan may tell of a key twice. */
		size_t count = 1;
		qsort(strangers.list, strangers.count, sizeof *strangers.list, compare_uuids);
		for (size_t i = 1; i < strangers.count; i++) {
			if (!cg_uuid_equal(&strangers.list[i], &strangers.list[count - 1])) {
				strangers.list[count++] = strangers.list[i];
			}
		}
		code = audit_page(audit, strangers.list, count);
	}
	return code;
}

static void report_unreadable(struct audit *audit)
{
	const struct cg_audit_entry *entry = cg_audit_tail_unreadable(audit->tail);
	static const struct cg_uuid nobody;
	char name[64];

	if (entry != NULL) {
		(void)snprintf(name, sizeof name, "%u-%" PRIu64 "-%" PRIu64,
		    (unsigned)audit->partition, entry->epoch, entry->n);
		json_array_append_new(audit->differences,
		    cg_audit_difference(&nobody, "", "entry", name, NULL, NULL));
	}
}

static enum cg_exit audit_partition(
    struct audit *audit, const struct cg_uuid *companies, size_t count, bool is_all)
{
	enum cg_exit code = CG_EXIT_DONE;

	audit->tail = cg_audit_tail_create(audit->partition);
	audit->tail_epoch = 0;
	audit->until_ms = now_ms() + audit->cli->args.timeout_ms;
	for (size_t at = 0; at < count && code == CG_EXIT_DONE; at += PAGE_MOST) {
		size_t left = count - at;
		code = audit_page(audit, companies + at, left < PAGE_MOST ? left : PAGE_MOST);
	}
	if (code == CG_EXIT_DONE && count > 0 && !audit->is_confirmed && !audit->is_unsettled) {
		note(audit, "is on a store that has restarted, and no sidecar has confirmed it");
	}
	if (code == CG_EXIT_DONE && is_all) {
		code = audit_strangers(audit);
	}
	report_unreadable(audit);
	cg_audit_tail_destroy(audit->tail);
	audit->tail = NULL;
	return code;
}

static enum cg_exit take_companies(struct audit *audit)
{
	const char *company = cg_args_text(&audit->cli->args, "company", NULL);
	json_t *answer = NULL;
	enum cg_exit code = ask(audit, read_companies, &company, 1, &answer);

	if (code != CG_EXIT_DONE) {
		return code;
	}
	const json_t *list = json_object_get(answer, "companies");
	audit->partition_count =
	    (uint32_t)json_integer_value(json_object_get(answer, "partitions"));
	audit->company_count = json_array_size(list);
	audit->companies = calloc(audit->company_count + 1, sizeof *audit->companies);
	CG_ASSERT(audit->companies != NULL);
	for (size_t i = 0; i < audit->company_count; i++) {
		audit->companies[i] = uuid_of(json_array_get(list, i));
	}
	json_decref(answer);
	qsort(audit->companies, audit->company_count, sizeof *audit->companies, compare_uuids);
	if (audit->partition_count == 0) {
		return cg_output_fail(audit->cli, CG_EXIT_UNAVAILABLE, NULL, NULL,
		    "the ledger belongs to no deployment yet: start a sidecar");
	}
	if (company != NULL && audit->company_count == 0) {
		return cg_output_fail(audit->cli, CG_EXIT_NOT_FOUND, NULL, NULL,
		    "the ledger has no wallet of company %s", company);
	}
	return CG_EXIT_DONE;
}

static enum cg_exit audit_all(struct audit *audit)
{
	bool is_all = !cg_args_has(&audit->cli->args, "company");
	struct cg_uuid *own = calloc(audit->company_count + 1, sizeof *own);
	enum cg_exit code = CG_EXIT_DONE;

	CG_ASSERT(own != NULL);
	for (uint32_t p = 0; p < audit->partition_count && code == CG_EXIT_DONE; p++) {
		size_t count = 0;

		for (size_t i = 0; i < audit->company_count; i++) {
			const struct cg_uuid *company = &audit->companies[i];
			if (cg_crc32c(company->bytes, sizeof company->bytes) %
			        audit->partition_count ==
			    p) {
				own[count++] = *company;
			}
		}
		audit->partition = p;
		if (count > 0 || is_all) {
			code = audit_partition(audit, own, count, is_all);
		}
	}
	free(own);
	return code;
}

static void print_differences(const struct audit *audit)
{
	const json_t *difference;
	const json_t *text;
	size_t i;

	json_array_foreach(audit->differences, i, difference)
	{
		const char *company = json_string_value(json_object_get(difference, "company_id"));
		cg_output_say(audit->cli, "%s%s%s", company == NULL ? "" : company,
		    company == NULL ? "" : ": ",
		    json_string_value(json_object_get(difference, "words")));
	}
	json_array_foreach(audit->notes, i, text)
	{
		cg_output_say(audit->cli, "%s", json_string_value(text));
	}
}

static void print_summary(const struct audit *audit)
{
	size_t wrong = json_array_size(audit->differences);
	char more[160] = "";

	if (audit->aside_count > 0) {
		(void)snprintf(more, sizeof more,
		    "; %" PRId64 " entries of %" PRId64 " wallets in quarantine",
		    audit->aside_count, audit->aside_wallets);
	}
	print_differences(audit);
	cg_output_say(audit->cli, "%" PRId64 " wallets, %" PRId64 " entries%s: %zu difference%s%s",
	    audit->wallet_count, audit->entry_count, more, wrong, wrong == 1 ? "" : "s",
	    audit->uncompared_count > 0 ? ", not all compared" : "");
}

static void answer(const struct audit *audit)
{
	json_t *object = json_object();

	if (!audit->cli->args.json) {
		json_decref(object);
		print_summary(audit);
		return;
	}
	cg_output_add_int(object, "wallets", audit->wallet_count);
	cg_output_add_int(object, "entries", audit->entry_count);
	cg_output_add_int(object, "quarantined_entries", audit->aside_count);
	cg_output_add_int(object, "quarantined_wallets", audit->aside_wallets);
	cg_output_add_int(object, "looked_at_again", audit->again_count);
	cg_output_add_int(object, "not_compared", audit->uncompared_count);
	cg_output_add_int(object, "calls_not_summed", audit->unsummed_count);
	json_object_set(object, "differences", audit->differences);
	json_object_set(object, "notes", audit->notes);
	cg_output_answer(audit->cli, NULL, "", object);
}

static enum cg_exit audit_run(struct cg_cli *cli)
{
	struct audit *audit = calloc(1, sizeof *audit);
	enum cg_exit code;

	CG_ASSERT(audit != NULL);
	audit->cli = cli;
	audit->differences = json_array();
	audit->notes = json_array();
	code = cg_store_open(cli);
	if (code == CG_EXIT_DONE) {
		code = cg_sql_open(cli);
	}
	if (cli->args.timeout_ms == CG_ARGS_TIMEOUT_DEFAULT_MS) {
		cg_sql_set_statement_timeout(cli, STATEMENT_LEAST_MS);
	}
	if (code == CG_EXIT_DONE) {
		code = take_companies(audit);
	}
	if (code == CG_EXIT_DONE) {
		code = audit_all(audit);
	}
	if (code == CG_EXIT_DONE) {
		answer(audit);
		code = json_array_size(audit->differences) > 0 ? CG_EXIT_WRONG
		    : audit->uncompared_count > 0              ? CG_EXIT_UNAVAILABLE
		                                               : CG_EXIT_DONE;
	}
	json_decref(audit->page);
	json_decref(audit->differences);
	json_decref(audit->notes);
	free(audit->companies);
	free(audit);
	return code;
}

static const struct cg_flag flags[] = {
    {.name = "company", .kind = CG_FLAG_UUID, .help = "only this one"},
    {.name = "since",
        .kind = CG_FLAG_DATE,
        .help = "only the ledger's rows from this day on, in UTC; all of them unless given"},
    CG_FLAGS_END,
};

const struct cg_command cg_commands_audit[] = {
    {.name = "audit",
        .summary = "prove that store and ledger agree, wallet by wallet",
        .details =
            "Reads both directly, writes nothing, and may run at any time.\n"
            "Ends with 0: no difference; 7: some, each in words; 4: not all could be compared.",
        .flags = flags,
        .run = audit_run},
    {.name = NULL},
};
