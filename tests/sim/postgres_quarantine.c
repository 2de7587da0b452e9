/*
 * What the ledger refuses, what is set aside for that, and how it is booked after all.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>

#include "postgres.h"

#define BARE      1 /* the modes of a flush: without the texts that are only read, */
#define SET_ASIDE 2 /* and not booked at all */

bool pg_is_aside(size_t at)
{
	for (size_t i = 0; i < postgres.now.left_count; i++) {
		if (postgres.left[i].aside == at) {
			return false;
		}
	}
	return true;
}

const struct pg_row *pg_aside_last(uint32_t company)
{
	const struct pg_row *last = NULL;

	for (size_t i = 0; i < postgres.now.aside_count; i++) {
		if (postgres.aside[i].company == company && pg_is_aside(i)) {
			last = &postgres.aside[i];
		}
	}
	return last;
}

const struct pg_row *pg_aside_find(uint32_t partition, uint64_t epoch, uint64_t n)
{
	for (size_t i = 0; i < postgres.now.aside_count; i++) {
		const struct pg_row *row = &postgres.aside[i];
		if (row->partition == partition && row->epoch == epoch && row->n == n &&
		    pg_is_aside(i)) {
			return row;
		}
	}
	return NULL;
}

/*
 * What was assumed of a call is refused in no form: where that is all that the ledger was told,
 * and in quarantine without its key, a late Settle is charged in full, and then taken back for it.
 */
static bool is_poison(const struct pg_row *row, int mode)
{
	const struct pg_poison *poison = &postgres.poison;
	bool is_assumed = row->meta != NULL && strstr(row->meta, "\"basis\":\"assumed\"") != NULL;
	unsigned sum = 0;

	for (const char *at = row->reference; *at != '\0'; at++) {
		sum += (uint8_t)*at;
	}
	return sim.now_ms < poison->until_ms && sum % PG_POISON_KINDS == poison->kind &&
	    (mode < BARE || (mode == BARE && poison->is_bare && !is_assumed));
}

/* What is known of its refusals; NULL: it was never refused. */
static struct pg_refusal *refusal_of(const struct pg_row *row)
{
	for (size_t i = 0; i < PG_REFUSED; i++) {
		struct pg_refusal *refused = &postgres.refused[row->partition][i];
		if (refused->epoch == row->epoch && refused->n == row->n) {
			return refused;
		}
	}
	return NULL;
}

/* Plainer than it came is only what was refused a little less plain. */
static void check_mode(const struct pg_row *row, int mode)
{
	const struct pg_refusal *refused = refusal_of(row);

	if (mode > 0 && (refused == NULL || refused->mode < mode - 1)) {
		sim_violated("flush: entry %" PRIu32 "-%" PRIu64 "-%" PRIu64
		             " comes %s, and was not refused otherwise",
		    row->partition, row->epoch, row->n, mode == BARE ? "bare" : "to be set aside");
	}
}

bool pg_refuses(const struct pg_row *row, int mode)
{
	struct pg_refusal *refused = refusal_of(row);

	check_mode(row, mode);
	if (mode == SET_ASIDE) {
		return !sim_rule_holds(SIM_RULE_SET_ASIDE);
	}
	if (!is_poison(row, mode)) {
		return false;
	}
	if (refused == NULL || mode > refused->mode) {
		if (refused == NULL) {
			size_t *next = &postgres.refused_next[row->partition];
			refused = &postgres.refused[row->partition][*next];
			*next = (*next + 1) % PG_REFUSED;
		}
		*refused = (struct pg_refusal){row->epoch, row->n, mode};
		sim_trace("ledger: refuses %" PRIu32 "-%" PRIu64 "-%" PRIu64 "%s", row->partition,
		    row->epoch, row->n, mode == BARE ? ", also bare" : "");
	}
	return true;
}

void pg_set_aside(const struct pg_row *row, int mode)
{
	const struct pg_row *last = pg_aside_last(row->company);
	bool is_next = last == NULL ? mode == SET_ASIDE && pg_follows(row)
	                            : row->version == last->version + 1 &&
	        row->balance_after == last->balance_after + row->amount;

	if (!is_next) {
		sim_violated("flush: entry %" PRIu32 "-%" PRIu64 "-%" PRIu64
		             " (%s %s, version %" PRIu64 ") is set aside, and does not follow on"
		             " version %" PRIu64 " of company %" PRIu32,
		    row->partition, row->epoch, row->n, row->type, row->reference, row->version,
		    last == NULL ? postgres.now.wallets[row->company].version : last->version,
		    row->company);
	}
	sim_trace("ledger: %" PRIu32 "-%" PRIu64 "-%" PRIu64 " is set aside", row->partition,
	    row->epoch, row->n);
	*pg_aside_add() = *row;
}

/* A text of the JSON that cg_json wrote. */
static void take_text(const char *raw, const char *name, char *text, size_t size)
{
	const char *from = pg_meta_value(raw, name);

	CG_ASSERT(from != NULL && *from == '"');
	from++;
	size_t len = strcspn(from, "\"");
	CG_ASSERT(len < size);
	memcpy(text, from, len);
	text[len] = '\0';
}

/* As it would have come, had it not been refused. */
static struct pg_row whole_row(size_t at)
{
	struct pg_row row = postgres.aside[at];

	if (row.raw != NULL) {
		take_text(row.raw, "reference_id", row.reference, sizeof row.reference);
		take_text(row.raw, "resource_type", row.resource, sizeof row.resource);
		row.meta = row.resource[0] == '\0' ? NULL : row.raw;
	}
	return row;
}

static bool is_any_refused(uint32_t company)
{
	for (size_t i = 0; i < postgres.now.aside_count; i++) {
		struct pg_row row = whole_row(i);
		if (row.company == company && pg_is_aside(i) && is_poison(&row, BARE)) {
			return true;
		}
	}
	return false;
}

void pg_retry(uint32_t company)
{
	int64_t duplicates = 0;
	uint32_t booked = 0;

	if (is_any_refused(company) && sim_rule_holds(SIM_RULE_RETRY_WHOLE)) {
		sim_trace("operator: company %" PRIu32 " cannot be booked yet", company);
		return;
	}
	for (size_t i = 0; i < postgres.now.aside_count; i++) {
		struct pg_row row = whole_row(i);
		if (row.company == company && pg_is_aside(i) && !is_poison(&row, BARE)) {
			pg_apply_receipt(&row);
			pg_book(&row, &duplicates);
			*pg_left_add() = (struct pg_left){i};
			booked++;
		}
	}
	sim_trace("operator: company %" PRIu32 ": %" PRIu32 " entries booked, %d duplicates",
	    company, booked, (int)duplicates);
	pg_commit();
}
