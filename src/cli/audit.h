/*
 * What the files of `callgate audit` share: a page of wallets of one partition, seen in the ledger
 * first, then in the store, then in the stream between them.
 *
 * C compares, and never adds: every sum was made by the function or the statement that answered it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_AUDIT_H
#define CG_CLI_AUDIT_H

#include <jansson.h>

#include "base/base.h"
#include "cli/cli.h"

/* A partition as the store's head has it. */
struct cg_audit_head {
	uint64_t epoch; /* 0: there is no head */
	bool is_serving;
	bool is_confirmed; /* by the server that answered: not since it restarted, where false */
	int64_t now_ms;    /* the store's clock */
};

/* A wallet as the ledger has it; callgate.audit_page(). */
struct cg_audit_booked {
	struct cg_uuid company;
	bool is_there;
	char currency[4];
	int64_t aside_count; /* entries in quarantine */
	int64_t version;     /* after them */
	int64_t balance;     /* micros, after them */
	const json_t *fault; /* NULL: its rows are as they should be; the page's */
};

enum cg_audit_presence {
	CG_AUDIT_ABSENT,
	CG_AUDIT_THERE,
	CG_AUDIT_DROPPED, /* of a generation that counts as absent */
	CG_AUDIT_UNREADABLE,
};

/* A wallet as the store has it; the function audit_wallet.  Amounts in micros. */
struct cg_audit_held {
	struct cg_audit_head head;
	enum cg_audit_presence presence;
	char why[160]; /* UNREADABLE */
	int64_t posted;
	int64_t version;
	int64_t calls;
	int64_t held;
	int64_t burn;
	int64_t accrued;
	int64_t rem;
	int64_t due_at_ms;
	int64_t due_set_at_ms;
	/* Over its calls; not where there are too many to be added up at once. */
	bool is_summed;
	int64_t sum_calls;
	int64_t sum_held;
	int64_t sum_burn;
	int64_t sum_accrued;
	int64_t sum_rem;
	int64_t lease_late_ms; /* the call whose hold has outlived its lease the longest */
	char lease_id[132];
	int64_t life_late_ms;
	char life_id[132];
};

/* The functions of callgate/23_audit.lua; false: an answer that does not parse. */
bool cg_audit_decode_wallet(struct cg_view reply, struct cg_audit_held *ret_held);
void cg_audit_decode_head(struct cg_cursor *in, struct cg_audit_head *ret_head);

/* An entry of the stream. */
struct cg_audit_entry {
	uint64_t epoch;
	uint64_t n;
	int64_t version; /* 0: it cannot be read */
	int64_t before;  /* the balance, in micros */
	int64_t after;
	size_t next; /* of the same company; 0: none */
};

/* A partition's stream from the first page's cursor on. */
struct cg_audit_tail;

struct cg_audit_tail *cg_audit_tail_create(uint32_t partition);
void cg_audit_tail_destroy(struct cg_audit_tail *tail);

/* Reads on to the stream's end; from `epoch`-`n` where it has read nothing yet. */
enum cg_exit cg_audit_tail_read(
    struct cg_cli *cli, struct cg_audit_tail *tail, uint64_t epoch, uint64_t n);

/* What has been read is void: another epoch is in force. */
void cg_audit_tail_reset(struct cg_audit_tail *tail);

/* The company's entries, oldest first; NULL: none (any more). */
const struct cg_audit_entry *cg_audit_tail_first(
    const struct cg_audit_tail *tail, const struct cg_uuid *company);
const struct cg_audit_entry *cg_audit_tail_next(
    const struct cg_audit_tail *tail, const struct cg_audit_entry *entry);

/* Entries that cannot be read, and the first of them. */
const struct cg_audit_entry *cg_audit_tail_unreadable(const struct cg_audit_tail *tail);

/* The first thing about a wallet that is not as it should be, or NULL; the caller's. */
json_t *cg_audit_compare(uint32_t partition, const struct cg_audit_booked *booked,
    const struct cg_audit_held *held, const struct cg_audit_tail *tail);

/*
 * A difference: `check` is one of the table in audit_words.c, which says in words what `where`,
 * `expected` and `found` are.  Either value may be NULL (json_null()); both are taken over.
 */
json_t *cg_audit_difference(const struct cg_uuid *company, const char *currency, const char *check,
    const char *where, json_t *expected, json_t *found);

/* The same of a fault that callgate.audit_page() found. */
json_t *cg_audit_difference_of(const struct cg_audit_booked *booked);

#define CG_AUDIT_PAGE_MOST 500 /* wallets looked at together */

/* Looks at wallets of one partition. */
struct cg_audit_look {
	struct cg_cli *cli;
	uint32_t partition;
	struct cg_audit_tail *tail;
	uint64_t tail_epoch;

	/* Of the latest look. */
	json_t *page; /* the ledger's answer; what `booked` points into */
	struct cg_audit_booked booked[CG_AUDIT_PAGE_MOST];
	struct cg_audit_held held[CG_AUDIT_PAGE_MOST];
	bool is_in_use;    /* the ledger has a cursor */
	bool is_unsettled; /* being recovered, or without a head: nothing can be compared */
	bool is_confirmed; /* false: the store has restarted, and no sidecar has said hello */
	uint64_t cursor_epoch;
	uint64_t cursor_last_epoch;
	uint64_t cursor_last_n;
};

void cg_audit_look_begin(struct cg_audit_look *look, struct cg_cli *cli, uint32_t partition);
void cg_audit_look_end(struct cg_audit_look *look);

/* At most CG_AUDIT_PAGE_MOST wallets of the partition, all different. */
enum cg_exit cg_audit_look_at(
    struct cg_audit_look *look, const struct cg_uuid *companies, size_t count);

/* The first thing that is wrong with look->booked[at], or NULL; the caller's. */
json_t *cg_audit_look_compare(const struct cg_audit_look *look, size_t at);

struct cg_uuid cg_audit_uuid_of(const json_t *text);

#endif /* CG_CLI_AUDIT_H */
