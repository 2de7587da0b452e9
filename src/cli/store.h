/*
 * The store's Redis, asked directly and without waiting for a sidecar: commands are queued, their
 * answers taken in the same order.  Nothing is written there, and no function of the sidecar's
 * that would set a mark is called.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLI_STORE_H
#define CG_CLI_STORE_H

#include <jansson.h>

#include "base/base.h"
#include "cli/cli.h"

struct cg_store_link;

/* Whether a store was named at all, by flag or environment. */
bool cg_store_is_configured(const struct cg_cli *cli);

/* Opens cli->store once; a failure has been said. */
enum cg_exit cg_store_open(struct cg_cli *cli);
void cg_store_close(struct cg_cli *cli);

/* As "unix:/path" or "host:port"; never the password. */
const char *cg_store_address(const struct cg_cli *cli);

/* Which of a partition's keys a function gets, in this order; CG_STORE_WALLET is a company's. */
enum cg_store_key {
	CG_STORE_HEAD,
	CG_STORE_WALLET,
	CG_STORE_LEDGER,
	CG_STORE_DUE,
};

/* A function of the library, what it is called with, and what with. */
struct cg_store_call {
	const char *function;
	uint32_t partition;
	const struct cg_uuid *company; /* where a key is CG_STORE_WALLET */
	size_t key_count;
	enum cg_store_key keys[3];
	struct cg_view argument;
};

/* Queues a function call. */
void cg_store_call(struct cg_cli *cli, const struct cg_store_call *call);

/*
 * The answer to the oldest call that has none yet.  *ret_reply is the caller's until
 * cg_store_forget(); *ret_bytes points into it.  An error of the function itself is not a failure:
 * *ret_bytes is its text and *ret_is_error set.  Else a failure has been said.
 */
enum cg_exit cg_store_hear(
    struct cg_cli *cli, void **ret_reply, struct cg_view *ret_bytes, bool *ret_is_error);
void cg_store_forget(void *reply);

/*
 * Any other command, its answer as JSON: text (bytes that are no text are shown as "(bytes)"), numbers,
 * arrays, null, and {"error": text}.  *ret_answer is the caller's.
 */
enum cg_exit cg_store_ask(
    struct cg_cli *cli, const char *const *words, size_t count, json_t **ret_answer);

/* The wallets that partition `partition` has a record of; `take` is called once or more of each. */
enum cg_exit cg_store_scan(struct cg_cli *cli, uint32_t partition,
    void (*take)(void *owner, const struct cg_uuid *company), void *owner);

/* The name of the library that this version's functions stand in. */
extern const char cg_store_library[];

#endif /* CG_CLI_STORE_H */
