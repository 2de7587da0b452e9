/*
 * audit: proves on a live system, wallet by wallet, that the store, the stream and the ledger agree.
 * How it looks is in audit_look.c.  Whatever differs is looked at again, alone, before it is told.
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

#define LOOKS_MOST         5 /* at a wallet that differs */
#define BETWEEN_LOOKS_MS   100
#define STATEMENT_LEAST_MS 60000 /* a page of busy wallets may have many rows */

static const char read_companies[] =
    "select json_build_object('partitions', (select d.partitions from callgate.deployment d), "
    "'companies', (select coalesce(json_agg(c.company_id order by c.company_id), '[]'::json) from "
    "(select w.company_id from public.wallets w union "
    "select q.company_id from callgate.quarantine q where q.kind = 'wallet') c "
    "where $1::uuid is null or c.company_id = $1::uuid))";

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

	struct cg_audit_look look; /* at the partition at hand */
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

/* Of the wallets just looked at: moves those that differ to `odd`, adds how to `differences`. */
static size_t take_odd(
    const struct audit *audit, size_t count, struct cg_uuid *odd, json_t *differences)
{
	size_t odd_count = 0;

	for (size_t i = 0; i < count; i++) {
		json_t *difference = cg_audit_look_compare(&audit->look, i);
		if (difference != NULL) {
			odd[odd_count++] = audit->look.booked[i].company;
			json_array_append_new(differences, difference);
		}
	}
	return odd_count;
}

/*
 * Wallets that differed are looked at until they agree, or often enough.  A partition that does not
 * settle proves nothing; one whose store has restarted is likely to be recovered in a moment.
 */
static enum cg_exit look_again(struct audit *audit, struct cg_uuid *odd, size_t count)
{
	enum cg_exit code = CG_EXIT_DONE;

	audit->again_count += (int64_t)count;
	for (int looks = 2; count > 0 && code == CG_EXIT_DONE; looks++) {
		pause_a_little();
		code = cg_audit_look_at(&audit->look, odd, count);
		bool may_settle = (audit->look.is_unsettled || !audit->look.is_confirmed) &&
		    now_ms() < audit->until_ms;
		if (code != CG_EXIT_DONE || (audit->look.is_unsettled && may_settle)) {
			continue;
		}
		if (audit->look.is_unsettled) {
			audit->uncompared_count += (int64_t)count;
			return code;
		}
		json_t *differences = json_array();
		count = take_odd(audit, count, odd, differences);
		if (looks >= LOOKS_MOST && !may_settle) {
			json_array_extend(audit->differences, differences);
			count = 0;
		}
		json_decref(differences);
	}
	return code;
}

static void note(struct audit *audit, const char *what)
{
	char text[160];

	(void)snprintf(text, sizeof text, "partition %u %s", (unsigned)audit->look.partition, what);
	json_array_append_new(audit->notes, json_string(text));
}

static void count_page(struct audit *audit, size_t count)
{
	audit->wallet_count += (int64_t)count;
	audit->entry_count += json_integer_value(json_object_get(audit->look.page, "entries"));
	for (size_t i = 0; i < count; i++) {
		audit->aside_count += audit->look.booked[i].aside_count;
		audit->aside_wallets += audit->look.booked[i].aside_count > 0 ? 1 : 0;
		audit->unsummed_count +=
		    audit->look.held[i].presence == CG_AUDIT_THERE && !audit->look.held[i].is_summed
		    ? 1
		    : 0;
	}
}

static enum cg_exit audit_page(struct audit *audit, const struct cg_uuid *companies, size_t count)
{
	static struct cg_uuid odd[CG_AUDIT_PAGE_MOST];
	enum cg_exit code = cg_audit_look_at(&audit->look, companies, count);

	while (code == CG_EXIT_DONE && audit->look.is_unsettled && now_ms() < audit->until_ms) {
		pause_a_little();
		code = cg_audit_look_at(&audit->look, companies, count);
	}
	if (code != CG_EXIT_DONE) {
		return code;
	}
	count_page(audit, count);
	if (audit->look.is_unsettled) {
		note(audit, "is being recovered, or not in use: not compared");
		audit->uncompared_count += (int64_t)count;
		return code;
	}
	json_t *first = json_array();
	size_t odd_count = take_odd(audit, count, odd, first);
	json_decref(first);
	return look_again(audit, odd, odd_count);
}

static int compare_uuids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct cg_uuid));
}

struct stranger_list {
	const struct audit *audit;
	struct cg_uuid list[CG_AUDIT_PAGE_MOST];
	size_t count;
};

static void on_scanned(void *owner, const struct cg_uuid *company)
{
	struct stranger_list *strangers = owner;
	const struct audit *audit = strangers->audit;

	if (strangers->count < CG_AUDIT_PAGE_MOST &&
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
	code = cg_store_scan(audit->cli, audit->look.partition, on_scanned, &strangers);
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
	const struct cg_audit_entry *entry = cg_audit_tail_unreadable(audit->look.tail);
	static const struct cg_uuid nobody;
	char name[64];

	if (entry != NULL) {
		(void)snprintf(name, sizeof name, "%u-%" PRIu64 "-%" PRIu64,
		    (unsigned)audit->look.partition, entry->epoch, entry->n);
		json_array_append_new(audit->differences,
		    cg_audit_difference(&nobody, "", "entry", name, NULL, NULL));
	}
}

static enum cg_exit audit_partition(struct audit *audit, uint32_t partition,
    const struct cg_uuid *companies, size_t count, bool is_all)
{
	enum cg_exit code = CG_EXIT_DONE;

	cg_audit_look_begin(&audit->look, audit->cli, partition);
	audit->until_ms = now_ms() + audit->cli->args.timeout_ms;
	for (size_t at = 0; at < count && code == CG_EXIT_DONE; at += CG_AUDIT_PAGE_MOST) {
		size_t left = count - at;
		code = audit_page(
		    audit, companies + at, left < CG_AUDIT_PAGE_MOST ? left : CG_AUDIT_PAGE_MOST);
	}
	if (code == CG_EXIT_DONE && count > 0 && !audit->look.is_confirmed &&
	    !audit->look.is_unsettled) {
		note(audit, "is on a store that has restarted, and no sidecar has confirmed it");
	}
	if (code == CG_EXIT_DONE && is_all) {
		code = audit_strangers(audit);
	}
	report_unreadable(audit);
	cg_audit_look_end(&audit->look);
	return code;
}

static enum cg_exit take_companies(struct audit *audit)
{
	const char *company = cg_args_text(&audit->cli->args, "company", NULL);
	json_t *answer = NULL;
	enum cg_exit code = cg_sql_ask_alone(audit->cli, read_companies, &company, 1, &answer);

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
		audit->companies[i] = cg_audit_uuid_of(json_array_get(list, i));
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
		if (count > 0 || is_all) {
			code = audit_partition(audit, p, own, count, is_all);
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
        .help = "only the ledger's rows from this day on; all unless given"},
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
