/*
 * What the files of `callgate doctor` share.  Each check has a name, says what it found, and, where
 * that is not as it should be, what to change.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_DOCTOR_H
#define CG_CLI_DOCTOR_H

#include <jansson.h>

#include "cli/cli.h"

enum cg_doctor_state {
	CG_DOCTOR_OK,
	CG_DOCTOR_UNKNOWN, /* it could not be asked, with these rights or without an address */
	CG_DOCTOR_WARNING, /* it works, and may not some day */
	CG_DOCTOR_ERROR,   /* money, or calls, are at risk now */
};

struct cg_doctor {
	struct cg_cli *cli;
	json_t *checks;
	struct cg_error why; /* the last error that was kept and not printed */
	size_t warnings;
	size_t errors;
	bool has_store;
	bool has_ledger;
	uint32_t partition_count; /* 0: not known */
	char deployment[CG_UUID_TEXT_LEN + 1];
	json_t *cursors; /* [partition, epoch, last epoch, last n] of each partition */
};

/* Notes a check; `advice` may be NULL. */
__attribute__((format(printf, 5, 6))) void cg_doctor_note(struct cg_doctor *doctor,
    const char *name, enum cg_doctor_state state, const char *advice, const char *format, ...);

/* Asks the ledger; NULL: it was not answered, and doctor->why says why. The caller's. */
json_t *cg_doctor_sql(
    struct cg_doctor *doctor, const char *statement, const char *const *params, int count);

/* As above, of the store; an error that it answers counts as not answered. */
json_t *cg_doctor_redis(struct cg_doctor *doctor, const char *const *words, size_t count);

void cg_doctor_store(struct cg_doctor *doctor);
void cg_doctor_ledger(struct cg_doctor *doctor);
void cg_doctor_books(struct cg_doctor *doctor); /* what waits in the ledger's tables */
void cg_doctor_edge(struct cg_doctor *doctor);  /* callgate-edge's role and reviews */
void cg_doctor_partitions(struct cg_doctor *doctor);
void cg_doctor_clocks(struct cg_doctor *doctor);

#endif /* CG_CLI_DOCTOR_H */
