/*
 * The ledger as a model: the rows that sql/migrations make, as far as money goes, and what
 * the functions there do to them.  A statement is atomic; a standby that takes over has the
 * rows of an earlier one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_SIM_POSTGRES_H
#define CG_SIM_POSTGRES_H

#include <libpq-fe.h>

#include "gate/ports/types.h"
#include "sim.h"

#define PG_TEXT_BYTES   88
#define PG_POISON_KINDS 7
#define PG_REFUSED      16

struct pg_cursor {
	bool is_there;
	uint64_t epoch, last_epoch, last_n, served;
	int64_t turn_until_ms;
	/* callgate.served */
	uint64_t served_from, served_last_epoch, served_last_n;
	uint64_t fence; /* the epoch that flushes must be of: `epoch` */
};

struct pg_wallet {
	bool is_there;
	int64_t balance;
	uint64_t version;
	uint64_t chain; /* a hash over what was booked */
};

/* An entry, as it came or as it was booked. */
struct pg_row {
	uint32_t partition, company;
	uint64_t epoch, n;
	uint64_t version;
	char type[16];
	char reference[PG_TEXT_BYTES];
	char resource[PG_TEXT_BYTES]; /* "": no row in usage_logs */
	int64_t amount, balance_after, at_ms, quantity;
	bool is_charge;
	const char *meta; /* NULL, or JSON */
	const char *raw;  /* likewise: its texts, of an entry that was set aside without them */
	uint64_t hash;
};

struct pg_key {
	uint32_t company;
	char type[16];
	char reference[PG_TEXT_BYTES];
	uint32_t partition;
	uint64_t epoch, n;
};

struct pg_receipt {
	uint32_t company;
	char type[16];
	char reference[PG_TEXT_BYTES];
	int64_t amount;
	int64_t at_ms;
};

/* That a receipt was applied, by which entry: a row of its own, so that rows only come. */
struct pg_applied {
	size_t receipt;
	uint32_t partition;
	uint64_t epoch, n;
};

/* A row of callgate.served: rows only come. */
struct pg_served {
	uint32_t partition;
	uint64_t epoch, from_epoch, end_epoch, end_n;
};

/* A row of callgate.passed, in the order of `at_ms`: rows only come. */
struct pg_passed {
	uint32_t partition;
	uint64_t epoch, n;
	uint64_t at_ms;
};

/* That an entry left the quarantine: likewise a row of its own. */
struct pg_left {
	size_t aside;
};

/* For a while some references are what no row may have; an operator finds out why, and mends it. */
struct pg_poison {
	uint64_t until_ms;
	unsigned kind; /* which references: see pg_refuses() */
	bool is_bare;  /* refused in every form, not only with its texts */
};

/* `is_explained`: of a fork, or the ledger no longer knows how it came to be what it is. */
struct pg_orphan {
	struct cg_entry_id id;
	bool is_explained;
};

/* What changes in place, and how long each table is: enough to go back to. */
struct pg_state {
	struct pg_cursor cursors[SIM_PARTITIONS];
	struct pg_wallet wallets[SIM_COMPANIES];
	size_t row_count, key_count, receipt_count, applied_count, aside_count;
	size_t served_count, passed_count, left_count;
	uint64_t at_ms; /* of its commit */
};

struct pg {
	struct pg_state now;
	struct pg_row *rows;
	struct pg_key *keys;
	struct pg_receipt *receipts;
	struct pg_applied *applied;
	struct pg_row *aside; /* callgate.quarantine, kind wallet, and what has left it */
	struct pg_left *left;
	struct pg_served *served;
	struct pg_passed *passed;
	size_t row_room, key_room, receipt_room, applied_room, aside_room, served_room;
	size_t passed_room, left_room;
	struct pg_state *commits; /* every one so far, for standbys */
	size_t commit_count, commit_room;
	uint64_t not_before_ms; /* no standby may be older: what it lacks would be nowhere */
	bool line_is_broken[SIM_PARTITIONS]; /* a judgment met a gap in callgate.served */
	bool is_behind; /* a standby took over, and what it lacked is not there again yet */
	uint64_t up_at_ms;
	struct pg_orphan *orphans; /* not taken back by a standby: who looks for them finds both */
	size_t orphan_count, orphan_room;
	/* Where a recovery last saw each cursor before its fence: for a rule to be taken away. */
	struct cg_entry_id looked[SIM_PARTITIONS];
	struct pg_poison poison;
	/* The rows refused last: a ledger that goes back meets them again. */
	struct pg_refusal {
		uint64_t epoch, n;
		int mode; /* the plainest form in which it was refused */
	} refused[SIM_PARTITIONS][PG_REFUSED];
	size_t refused_next[SIM_PARTITIONS];
	uint64_t failed_over_at_ms;
	struct cg_uuid deployment;
};

extern struct pg postgres;

void pg_begin(void);
void pg_end(void);
bool pg_is_up(void);
int64_t pg_now_ms(void);

/* What a statement says, and what it is told. */
struct pg_statement {
	const char *text;
	int count;
	char *values[24]; /* NULL: null */
	int lengths[24];
};

/* Runs it, and commits. NULL: a row of it is refused. */
PGresult *pg_execute(const struct pg_statement *statement);
void pg_commit(void);

/* Back to what a standby had: bounded by its lag and by what is only here. */
void pg_fail_over(uint64_t down_ms);
void pg_restart(uint64_t down_ms);
/* Behind what the store has trimmed; false: there is no such commit. */
bool pg_fail_far_back(uint32_t partition, uint64_t trimmed_epoch, uint64_t trimmed_n);

/* postgres_tables.c: looking, and adding rows. */
const struct pg_key *pg_key_find(uint32_t company, const char *type, const char *reference);
const struct pg_row *pg_row_of(const struct pg_key *key);
size_t pg_receipt_find(
    uint32_t company, const char *type, const char *reference); /* or the count */
bool pg_receipt_is_applied(size_t receipt);
struct pg_row *pg_row_add(void);
struct pg_key *pg_key_add(void);
struct pg_receipt *pg_receipt_add(void);
struct pg_applied *pg_applied_add(void);
struct pg_row *pg_aside_add(void);
struct pg_left *pg_left_add(void);
struct pg_served *pg_served_add(void);
struct pg_passed *pg_passed_add(void);
/* The last one of a partition that is as old; NULL: there is none. */
const struct pg_passed *pg_passed_find(uint32_t partition, uint64_t age_ms);
/* How it came to be served; NULL: it never was. */
const struct pg_served *pg_served_find(uint32_t partition, uint64_t epoch);
void pg_orphan_add(struct cg_entry_id id, bool is_explained);
bool pg_is_explained_orphan(const struct cg_entry_id *id);
uint64_t pg_hash(uint64_t before, const struct pg_row *row);
/* Kept until the end of the seed. */
const char *pg_keep_text(const char *data, size_t len);

/* postgres_values.c: parameters in, results out. */
int64_t pg_int(const struct pg_statement *s, int i);
void pg_text(const struct pg_statement *s, int i, char *text, size_t size);
uint32_t pg_company(const struct pg_statement *s, int i);
uint32_t pg_array_count(const struct pg_statement *s, int i);
/* The element's bytes; false: null. */
bool pg_element(const struct pg_statement *s, int i, uint32_t at, struct cg_view *ret_bytes);
int64_t pg_element_int(const struct pg_statement *s, int i, uint32_t at);
void pg_element_text(const struct pg_statement *s, int i, uint32_t at, char *text, size_t size);

PGresult *pg_result(int columns);
void pg_put_text(PGresult *result, int row, int column, const char *text);
void pg_put_int(PGresult *result, int row, int column, int64_t value);
void pg_put_bool(PGresult *result, int row, int column, bool value);
void pg_put_null(PGresult *result, int row, int column);
void pg_put_uuid(PGresult *result, int row, int column, const struct cg_uuid *uuid);

/*
 * postgres_entries.c: where the value of a field begins in the JSON that cg_json wrote, NULL where
 * it is not there or there is no JSON; the field as a number, 0 there.
 */
const char *pg_meta_value(const char *meta, const char *name);
int64_t pg_meta_int(const char *meta, const char *name);

/* What was booked under a key, or is in quarantine under it; or NULL. */
const struct pg_row *pg_row_under(uint32_t company, const char *type, const char *reference);
PGresult *pg_key_read(const struct pg_statement *s);
PGresult *pg_tail_read(const struct pg_statement *s);

/* postgres_flush.c, postgres_asks.c */
PGresult *pg_flush(const struct pg_statement *s); /* NULL: a row is refused */
PGresult *pg_ask(const struct pg_statement *s);
/* Whether the entry is the next one of its wallet. */
bool pg_follows(const struct pg_row *row);
/* That the receipt of this entry was applied by it, where there is one. */
void pg_apply_receipt(const struct pg_row *row);
/* Into the books, and into `ret_duplicates` where its key was there. */
void pg_book(struct pg_row *row, int64_t *ret_duplicates);

/* postgres_quarantine.c */
/* Of what was set aside, whether it has not left. */
bool pg_is_aside(size_t at);
/* The last one of a wallet; NULL: nothing of it is there. */
const struct pg_row *pg_aside_last(uint32_t company);
/* The entry; NULL: it is not there. */
const struct pg_row *pg_aside_find(uint32_t partition, uint64_t epoch, uint64_t n);
/* Whether no row may be made of it; `mode` 0: with all of its texts, 1: bare, 2: set aside. */
bool pg_refuses(const struct pg_row *row, int mode);
void pg_set_aside(const struct pg_row *row, int mode);
/* callgate.quarantine_retry() of a wallet, in a transaction of its own. */
void pg_retry(uint32_t company);

#endif /* CG_SIM_POSTGRES_H */
