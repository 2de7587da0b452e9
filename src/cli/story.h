/*
 * Sentences, one after another, kept for both forms of an answer: printed as they stand
 * for people, an array of texts with --json.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_STORY_H
#define CG_CLI_STORY_H

#include <jansson.h>

#include "cli/cli.h"

struct cg_story {
	const struct cg_cli *cli;
	json_t *lines;
};

void cg_story_init(struct cg_story *story, const struct cg_cli *cli);

/* Adds a line, and prints it unless --json: who waits sees how far it has come. */
__attribute__((format(printf, 2, 3))) void cg_story_tell(
    struct cg_story *story, const char *format, ...);

/*
 * "20000 + ceil(100000 * max(60000, ceil(7000 / 6000) * 6000) / 60000)", spelled out step by
 * step into the story.  The cost it comes to.
 */
int64_t cg_story_tell_price(struct cg_story *story, const json_t *price, int64_t duration_ms);

/* The rows of the ledger that cg_ledger_read_call() found, `label` before the first. */
void cg_story_tell_entries(struct cg_story *story, const char *label, json_t *entries);

#endif /* CG_CLI_STORY_H */
