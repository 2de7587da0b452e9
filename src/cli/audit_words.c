/*
 * Every difference that `callgate audit` can report, in words.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include "cli/audit.h"
#include "cli/output.h"

enum unit {
	PLAIN,
	MICROS,
	MS,
	AT_MS,
	HASH, /* its beginning is enough for people */
};

struct check {
	const char *name;
	enum unit unit;     /* of expected and found */
	const char *phrase; /* %w: where, %e: expected, %f: found */
};

/* The ledger's rows first (callgate.audit_page), then the store against them. */
static const struct check checks[] = {
    {"version", PLAIN, "the ledger's entry %w has version %f where %e comes next"},
    {"balance_after", MICROS,
        "the ledger's entry %w has balance-after %f; its amount and the entry before make %e"},
    {"hash", HASH, "the ledger's entry %w has hash %f; the hash before it and its content make %e"},
    {"key", PLAIN, "the ledger's entry %w: its key in callgate.keys names %f, not %e"},
    {"row", PLAIN, "callgate.keys has %e under entry %w, and the ledger has no such row"},
    {"usage_rows", PLAIN, "the ledger's entry %w has %f rows in usage_logs, not %e"},
    {"usage_cost", MICROS, "usage_logs has cost %f for entry %w, the ledger %e"},
    {"usage_entry", PLAIN, "usage_logs has a row of entry %w, and the ledger has no such row"},
    {"wallet", PLAIN, "the ledger has no such wallet"},
    {"last_version", PLAIN, "the ledger's wallet has version %f, its last entry %w %e"},
    {"last_balance", MICROS, "the ledger's wallet has balance %f, its last entry %w %e"},
    {"last_hash", HASH, "the ledger's wallet has hash %f, its last entry %w %e"},
    {"quarantine_version", PLAIN, "entry %w in quarantine has version %f where %e comes next"},
    {"quarantine_balance", MICROS,
        "entry %w in quarantine has balance-after %f; its amount and what is before make %e"},
    {"record", PLAIN, "the store's record cannot be read: %f"},
    {"absent", PLAIN,
        "the store has no record, but its stream has entry %w, which the ledger lacks"},
    {"behind", PLAIN, "the store has version %f, the ledger %e: the store is behind"},
    {"stream_version", PLAIN, "the stream's entry %w has version %f where %e comes next"},
    {"stream_balance", MICROS, "the stream's entry %w begins at balance %f; before it there is %e"},
    {"missing", PLAIN,
        "the store has version %f; ledger and stream end at %e: the entries between are lost"},
    {"posted", MICROS,
        "posted is %f in the store; the ledger and the entries not yet flushed make %e"},
    {"calls", PLAIN, "the record counts %f calls, and there are %e"},
    {"held", MICROS, "%f is held; the holds of its calls make %e"},
    {"burn", MICROS, "%f a minute burns; the rates of its metering calls make %e"},
    {"accrued", MICROS, "%f has accrued; its calls make %e"},
    {"remainder", PLAIN, "%f sixty-thousandths of a micro have accrued; its calls make %e"},
    {"due_set", AT_MS, "its due work is at %f, and in the due set at %e"},
    {"due_none", PLAIN, "it has %f live calls and nothing in the due set"},
    {"due_late", MS, "its due work is late by %f"},
    {"lease_late", MS, "the hold of call %w has outlived its lease by %f"},
    {"life_late", MS, "call %w has outlived its longest duration, the guard and 15 minutes by %f"},
    {"entry", PLAIN, "the stream's entry %w cannot be read"},
};

static const char *const suffixes[] = {
    [PLAIN] = "", [MICROS] = "_micros", [MS] = "_ms", [AT_MS] = "_at_ms", [HASH] = ""};

static const struct check *find(const char *name)
{
	for (size_t i = 0; i < CG_COUNT_OF(checks); i++) {
		if (strcmp(checks[i].name, name) == 0) {
			return &checks[i];
		}
	}
	CG_UNREACHABLE();
}

static void put_value(
    struct cg_buffer *out, const struct check *check, const json_t *value, const char *currency)
{
	char cell[CG_OUTPUT_CELL_BYTES];

	cg_output_cell(suffixes[check->unit], value, currency, cell);
	cg_buffer_printf(out, "%.*s", check->unit == HASH ? 16 : (int)sizeof cell, cell);
}

static void put_phrase(struct cg_buffer *out, const struct check *check, const json_t *difference,
    const char *currency)
{
	char key[32];

	for (const char *at = check->phrase; *at != '\0'; at++) {
		if (*at != '%') {
			cg_buffer_bytes(out, at, 1);
			continue;
		}
		at++;
		if (*at == 'w') {
			const char *where = json_string_value(json_object_get(difference, "where"));
			cg_buffer_printf(out, "%s", where == NULL ? "-" : where);
			continue;
		}
		(void)snprintf(key, sizeof key, "%s%s", *at == 'e' ? "expected" : "found",
		    suffixes[check->unit]);
		put_value(out, check, json_object_get(difference, key), currency);
	}
}

json_t *cg_audit_difference(const struct cg_uuid *company, const char *currency, const char *check,
    const char *where, json_t *expected, json_t *found)
{
	const struct check *kind = find(check);
	char id[CG_UUID_TEXT_LEN + 1];
	char key[32];
	char words[512];
	struct cg_buffer out;
	json_t *difference = json_object();

	cg_uuid_format(company, id);
	cg_output_add_text(difference, "company_id", cg_uuid_is_zero(company) ? NULL : id);
	cg_output_add_text(difference, "currency", currency);
	cg_output_add_text(difference, "check", check);
	cg_output_add_text(difference, "where", where);
	(void)snprintf(key, sizeof key, "expected%s", suffixes[kind->unit]);
	json_object_set_new(difference, key, expected == NULL ? json_null() : expected);
	(void)snprintf(key, sizeof key, "found%s", suffixes[kind->unit]);
	json_object_set_new(difference, key, found == NULL ? json_null() : found);
	cg_buffer_init(&out, words, sizeof words - 1);
	put_phrase(&out, kind, difference, currency);
	words[out.len] = '\0';
	cg_output_add_text(difference, "words", words);
	return difference;
}

/* A fault has its values under the names that a difference has. */
json_t *cg_audit_difference_of(const struct cg_audit_booked *booked)
{
	const char *name = json_string_value(json_object_get(booked->fault, "check"));
	const char *suffix = suffixes[find(name)->unit];
	char expected[32];
	char found[32];

	(void)snprintf(expected, sizeof expected, "expected%s", suffix);
	(void)snprintf(found, sizeof found, "found%s", suffix);
	return cg_audit_difference(&booked->company, booked->currency, name,
	    json_string_value(json_object_get(booked->fault, "entry_id")),
	    json_incref(json_object_get(booked->fault, expected)),
	    json_incref(json_object_get(booked->fault, found)));
}
