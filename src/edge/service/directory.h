/*
 * Whose phone number a call comes in on, and what a caller hears: the tables edge_numbers and
 * edge_sentences in memory, so that Postgres may be away while calls come in.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EDGE_SERVICE_DIRECTORY_H
#define CG_EDGE_SERVICE_DIRECTORY_H

#include "base/base.h"

struct cg_number {
	char phone_number_id[65];
	char number[17];
	char company_id[CG_UUID_TEXT_LEN + 1];
	char assistant_id[65]; /* one of these two */
	char upstream_url[513];
	char transfer_to[17]; /* "": the caller hears a sentence */
	char language[36];
	bool allow_transfer;
	int64_t outage_seconds; /* 0: refuse */
};

enum cg_situation {
	CG_SITUATION_FUNDS,
	CG_SITUATION_CONCURRENCY,
	CG_SITUATION_SUSPENDED,
	CG_SITUATION_NO_PRICE,
	CG_SITUATION_BARRED,
	CG_SITUATION_UNAVAILABLE,
	CG_SITUATION_UNKNOWN_NUMBER,
	CG_SITUATION_TRANSFER,
	CG_SITUATION_WARNING,
	CG_SITUATION_GOODBYE,
	CG_SITUATION_COUNT,
};

struct cg_directory;

struct cg_directory *cg_directory_create(void);
void cg_directory_destroy(struct cg_directory *directory);

/* 0: nothing was loaded yet. */
int64_t cg_directory_version(const struct cg_directory *directory);

/* Takes two JSON arrays in place of what is there; CG_INVALID, and nothing changes, where they are none. */
enum cg_status cg_directory_load(struct cg_directory *directory, int64_t version,
    struct cg_view numbers, struct cg_view sentences, struct cg_error *err);

/* By the provider's id, else by the number itself; NULL where it is nobody's.  Good until a load. */
const struct cg_number *cg_directory_number(
    const struct cg_directory *directory, const char *phone_number_id, const char *number);

/* The first number that an assistant answers; NULL where there is none, or two companies share it. */
const struct cg_number *cg_directory_assistant(
    const struct cg_directory *directory, const char *assistant_id);

/* Of the company in that language, of the company, in that language, for everybody, or our own. */
const char *cg_directory_sentence(const struct cg_directory *directory, const char *company_id,
    const char *language, enum cg_situation situation);

const char *cg_situation_name(enum cg_situation situation);

#endif /* CG_EDGE_SERVICE_DIRECTORY_H */
