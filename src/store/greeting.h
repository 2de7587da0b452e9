/*
 * What is said on a new connection before the first function is called, one command at a
 * time, and what must be answered: that this is a master which keeps what it acknowledges,
 * and that our function library is the one it holds.
 *
 *   AUTH -> SELECT -> CLIENT SETNAME -> ROLE -> TIME -> INFO -> FUNCTION LIST -> done
 *                                                        |  ^    ^        |
 *                           not rewritten since its start|  | exists already | missing, or other text
 *                                                        v  |    `- FUNCTION LOAD [REPLACE] -> done
 *                                                   BGREWRITEAOF
 *
 * A server whose append-only file ended in the middle of a function goes on writing behind the
 * half of it, and executes that half when it starts once more (Redis 7.0.15, measured).  So
 * before the first function is called the file is rewritten: from there on another one is
 * written to.  Where the server refuses, it is served all the same, and said so.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_STORE_GREETING_H
#define CG_STORE_GREETING_H

#include <hiredis/hiredis.h>

#include "base/base.h"

struct cg_greeting_config {
	const char *username; /* NULL: none */
	const char *password; /* NULL: none */
	uint32_t database;
	bool allow_volatile;
	bool asks_rewrite; /* this connection is the one that asks for BGREWRITEAOF */
	const char *library_name;
	struct cg_view library; /* its text */
};

enum cg_greeting_step {
	CG_GREETING_AUTH,
	CG_GREETING_SELECT,
	CG_GREETING_NAME,
	CG_GREETING_ROLE,
	CG_GREETING_TIME,
	CG_GREETING_INFO,
	CG_GREETING_REWRITE,
	CG_GREETING_LIST,
	CG_GREETING_LOAD,
	CG_GREETING_OVER,
};

enum cg_greeting_library {
	CG_GREETING_FOUND,
	CG_GREETING_LOADED,   /* the server had none */
	CG_GREETING_REPLACED, /* it had another text; every epoch it had confirmed is forgotten */
};

enum cg_greeting_rewrite {
	CG_GREETING_NOT_ASKED, /* rewritten since its start, or being so */
	CG_GREETING_ASKED,
	CG_GREETING_NOT_REWRITTEN, /* `rewrite_refusal` says why */
};

struct cg_greeting {
	const struct cg_greeting_config *config;
	enum cg_greeting_step step;
	enum cg_greeting_library library;
	bool wants_rewrite;
	enum cg_greeting_rewrite rewrite;
	struct cg_error rewrite_refusal;
	int64_t time_ms; /* the server's clock, once it was heard; 0: not yet */
	redisReader *reader;
	char *command; /* the one being sent; hiredis' */
	size_t command_bytes;
	size_t heard_bytes;
};

enum cg_greeting_result {
	CG_GREETING_WAIT, /* for more bytes */
	CG_GREETING_SAY,  /* cg_greeting_command() is to be sent */
	CG_GREETING_DONE,
	CG_GREETING_FAILED, /* `err` says why, without secrets */
};

void cg_greeting_init(struct cg_greeting *greeting, const struct cg_greeting_config *config);
void cg_greeting_deinit(struct cg_greeting *greeting);

/* A new connection: the first command is ready to be sent. */
void cg_greeting_begin(struct cg_greeting *greeting);

/* Valid until the next cg_greeting_hear() or cg_greeting_begin(). */
struct cg_view cg_greeting_command(const struct cg_greeting *greeting);

enum cg_greeting_result cg_greeting_hear(
    struct cg_greeting *greeting, struct cg_view bytes, struct cg_error *err);

#endif /* CG_STORE_GREETING_H */
