/*
 * One wallet: what the store says of it against what the ledger and the stream say.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/audit.h"

/* Sidecars tick every 100 ms, and one that has died is missed within a second or two. */
#define LATE_MOST_MS 5000

#define STATE_SERVING 2

void cg_audit_decode_head(struct cg_cursor *in, struct cg_audit_head *ret_head)
{
	(void)cg_cursor_uint(in, 1); /* the outcome: these functions have but one */
	ret_head->epoch = cg_cursor_uint(in, 8);
	ret_head->is_serving = cg_cursor_uint(in, 1) == STATE_SERVING;
	ret_head->is_confirmed = cg_cursor_uint(in, 1) != 0;
	ret_head->now_ms = cg_cursor_int(in, 8);
}

static void take_id(struct cg_cursor *in, char *id, size_t size)
{
	struct cg_view text = cg_cursor_text(in, 1);

	(void)snprintf(id, size, "%.*s", (int)text.len, text.len == 0 ? "" : text.data);
}

bool cg_audit_decode_wallet(struct cg_view reply, struct cg_audit_held *ret_held)
{
	struct cg_audit_held *held = ret_held;
	struct cg_cursor in;

	*held = (struct cg_audit_held){.why = ""};
	cg_cursor_init(&in, reply);
	cg_audit_decode_head(&in, &held->head);
	held->presence = (enum cg_audit_presence)cg_cursor_uint(&in, 1);
	if (held->presence != CG_AUDIT_THERE) {
		return !in.overrun && in.left == 0;
	}
	held->posted = cg_cursor_int(&in, 8);
	held->version = cg_cursor_int(&in, 8);
	held->calls = cg_cursor_int(&in, 8);
	held->held = cg_cursor_int(&in, 8);
	held->burn = cg_cursor_int(&in, 8);
	held->accrued = cg_cursor_int(&in, 8);
	held->rem = (int64_t)cg_cursor_uint(&in, 4);
	held->due_at_ms = cg_cursor_int(&in, 8);
	held->due_set_at_ms = cg_cursor_int(&in, 8);
	held->is_summed = cg_cursor_uint(&in, 1) != 0;
	held->sum_calls = cg_cursor_int(&in, 8);
	held->sum_held = cg_cursor_int(&in, 8);
	held->sum_burn = cg_cursor_int(&in, 8);
	held->sum_accrued = cg_cursor_int(&in, 8);
	held->sum_rem = (int64_t)cg_cursor_uint(&in, 4);
	held->lease_late_ms = cg_cursor_int(&in, 8);
	take_id(&in, held->lease_id, sizeof held->lease_id);
	held->life_late_ms = cg_cursor_int(&in, 8);
	take_id(&in, held->life_id, sizeof held->life_id);
	return !in.overrun && in.left == 0;
}

struct comparison {
	uint32_t partition;
	const struct cg_audit_booked *booked;
	const struct cg_audit_held *held;
	const struct cg_audit_tail *tail;
};

static json_t *differs(const struct comparison *c, const char *check, const char *where,
    int64_t expected, int64_t found)
{
	return cg_audit_difference(&c->booked->company, c->booked->currency, check, where,
	    json_integer(expected), json_integer(found));
}

static void name_entry(
    const struct comparison *c, const struct cg_audit_entry *entry, char name[64])
{
	(void)snprintf(
	    name, 64, "%u-%" PRIu64 "-%" PRIu64, (unsigned)c->partition, entry->epoch, entry->n);
}

/* The first entry of the stream that the ledger did not have when it was read. */
static const struct cg_audit_entry *first_after(const struct comparison *c, int64_t version)
{
	const struct cg_audit_entry *entry = cg_audit_tail_first(c->tail, &c->booked->company);

	while (entry != NULL && entry->version <= version) {
		entry = cg_audit_tail_next(c->tail, entry);
	}
	return entry;
}

/* From the ledger's version to the store's every entry is there, each on the balance before it. */
static json_t *compare_money(const struct comparison *c)
{
	int64_t version = c->booked->version;
	int64_t balance = c->booked->balance;
	const struct cg_audit_entry *entry = first_after(c, version);
	char name[64];

	if (c->held->version < version) {
		return differs(c, "behind", NULL, version, c->held->version);
	}
	for (; entry != NULL && version < c->held->version;
	     entry = cg_audit_tail_next(c->tail, entry)) {
		name_entry(c, entry, name);
		if (entry->version != version + 1) {
			return differs(c, "stream_version", name, version + 1, entry->version);
		}
		if (entry->before != balance) {
			return differs(c, "stream_balance", name, balance, entry->before);
		}
		version = entry->version;
		balance = entry->after;
	}
	if (version < c->held->version) {
		return differs(c, "missing", NULL, version, c->held->version);
	}
	if (balance != c->held->posted) {
		return differs(c, "posted", NULL, balance, c->held->posted);
	}
	return NULL;
}

static json_t *compare_sums(const struct comparison *c)
{
	const struct cg_audit_held *h = c->held;
	const struct {
		const char *check;
		int64_t expected;
		int64_t found;
	} sums[] = {
	    {"calls", h->sum_calls, h->calls},
	    {"held", h->sum_held, h->held},
	    {"burn", h->sum_burn, h->burn},
	    {"accrued", h->sum_accrued, h->accrued},
	    {"remainder", h->sum_rem, h->rem},
	};

	for (size_t i = 0; h->is_summed && i < CG_COUNT_OF(sums); i++) {
		if (sums[i].expected != sums[i].found) {
			return differs(c, sums[i].check, NULL, sums[i].expected, sums[i].found);
		}
	}
	return NULL;
}

static json_t *late(
    const struct comparison *c, const char *check, const char *where, int64_t late_ms)
{
	return late_ms <= LATE_MOST_MS ? NULL : differs(c, check, where, 0, late_ms);
}

static json_t *compare_due(const struct comparison *c)
{
	const struct cg_audit_held *h = c->held;
	json_t *difference = NULL;

	if (h->due_at_ms != h->due_set_at_ms) {
		return differs(c, "due_set", NULL, h->due_set_at_ms, h->due_at_ms);
	}
	if (h->calls > 0 && h->due_at_ms == 0) {
		return differs(c, "due_none", NULL, 0, h->calls);
	}
	difference = late(c, "lease_late", h->lease_id, h->lease_late_ms);
	if (difference == NULL) {
		difference = late(c, "life_late", h->life_id, h->life_late_ms);
	}
	if (difference == NULL && h->due_at_ms != 0) {
		difference = late(c, "due_late", NULL, h->head.now_ms - h->due_at_ms);
	}
	return difference;
}

/* A record that is not there is loaded from the ledger on first use: nothing may be on the way. */
static json_t *compare_absent(const struct comparison *c)
{
	const struct cg_audit_entry *entry = first_after(c, c->booked->version);
	char name[64];

	if (entry == NULL) {
		return NULL;
	}
	name_entry(c, entry, name);
	return cg_audit_difference(
	    &c->booked->company, c->booked->currency, "absent", name, NULL, NULL);
}

json_t *cg_audit_compare(uint32_t partition, const struct cg_audit_booked *booked,
    const struct cg_audit_held *held, const struct cg_audit_tail *tail)
{
	struct comparison c = {partition, booked, held, tail};
	json_t *difference;

	if (booked->fault != NULL &&
	    (booked->is_there || booked->aside_count > 0 || held->presence == CG_AUDIT_THERE)) {
		return cg_audit_difference_of(booked);
	}
	switch (held->presence) {
	case CG_AUDIT_ABSENT:
	case CG_AUDIT_DROPPED:
		return compare_absent(&c);
	case CG_AUDIT_UNREADABLE:
		return cg_audit_difference(&booked->company, booked->currency, "record", NULL, NULL,
		    json_string(held->why));
	case CG_AUDIT_THERE:
		break;
	}
	difference = compare_money(&c);
	if (difference == NULL) {
		difference = compare_sums(&c);
	}
	return difference != NULL ? difference : compare_due(&c);
}
