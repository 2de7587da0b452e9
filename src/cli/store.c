/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/store.h"

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "cli/output.h"

/* As callgate/01_words.lua and 03_head.lua have them; the version is the build's. */
#define FUNCTION_PREFIX "cg" CG_LIBRARY_VERSION "_"
const char cg_store_library[] = "callgate_v" CG_LIBRARY_VERSION;

#define URL_BOUND "unix:///path or redis://[user:password@]host:port[/db]"

struct cg_store_link {
	redisContext *redis;
	struct cg_redis_url at;
};

bool cg_store_is_configured(const struct cg_cli *cli)
{
	return cli->args.redis_url != NULL;
}

const char *cg_store_address(const struct cg_cli *cli)
{
	return cli->store->at.address;
}

static void say_lost(struct cg_cli *cli)
{
	const redisContext *redis = cli->store->redis;

	(void)cg_output_fail(cli, CG_EXIT_UNAVAILABLE, NULL, NULL,
	    "the store at %s is out of reach: %s", cli->store->at.address,
	    redis == NULL ? "no memory" : redis->errstr);
}

/* "[::1]:6380" is the address ::1; hiredis wants host and port apart. */
static redisContext *connect_tcp(const char *address, struct timeval timeout)
{
	char host[CG_REDIS_URL_BYTES];
	const char *colon = strrchr(address, ':');
	bool is_bracketed = address[0] == '[' && colon != NULL && colon > address + 1;
	size_t len = colon == NULL ? strlen(address) : (size_t)(colon - address);
	int port = colon == NULL ? 6379 : (int)strtol(colon + 1, NULL, 10);

	(void)snprintf(host, sizeof host, "%.*s", (int)(is_bracketed ? len - 2 : len),
	    is_bracketed ? address + 1 : address);
	return redisConnectWithTimeout(host, port, timeout);
}

static redisContext *connect_now(const struct cg_redis_url *at, int64_t timeout_ms)
{
	struct timeval timeout = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
	redisContext *redis = strncmp(at->address, "unix:", 5) == 0
	    ? redisConnectUnixWithTimeout(at->address + 5, timeout)
	    : connect_tcp(at->address, timeout);

	if (redis != NULL && redis->err == 0) {
		(void)redisSetTimeout(redis, timeout);
	}
	return redis;
}

static enum cg_exit take_reply(struct cg_cli *cli, redisReply **ret_reply)
{
	void *reply = NULL;

	if (redisGetReply(cli->store->redis, &reply) != REDIS_OK) {
		say_lost(cli);
		return CG_EXIT_UNAVAILABLE;
	}
	CG_ASSERT(reply != NULL); /* hiredis promises it of blocking connections */
	*ret_reply = reply;
	return CG_EXIT_DONE;
}

static enum cg_exit run(
    struct cg_cli *cli, const char *const *words, size_t count, redisReply **ret_reply)
{
	const char *data[16];

	CG_ASSERT(count <= CG_COUNT_OF(data));
	memcpy(data, words, count * sizeof *data);
	(void)redisAppendCommandArgv(cli->store->redis, (int)count, data, NULL);
	return take_reply(cli, ret_reply);
}

/* A command of the greeting: anything but a refusal will do. */
static enum cg_exit greet(struct cg_cli *cli, const char *const *words, size_t count)
{
	redisReply *reply = NULL;
	enum cg_exit code = run(cli, words, count, &reply);

	if (code == CG_EXIT_DONE && reply->type == REDIS_REPLY_ERROR) {
		code = cg_output_fail(cli, CG_EXIT_FORBIDDEN, NULL, NULL,
		    "the store refused %s: %s", words[0], reply->str);
	}
	freeReplyObject(reply);
	return code;
}

static enum cg_exit introduce(struct cg_cli *cli)
{
	const struct cg_redis_url *at = &cli->store->at;
	const char *const with_name[] = {"AUTH", at->username, at->password};
	const char *const without[] = {"AUTH", at->password};
	char number[16];
	const char *const select[] = {"SELECT", number};
	enum cg_exit code = CG_EXIT_DONE;

	if (at->password[0] != '\0') {
		code = at->username[0] != '\0' ? greet(cli, with_name, 3) : greet(cli, without, 2);
	}
	if (code == CG_EXIT_DONE && at->database != 0) {
		(void)snprintf(number, sizeof number, "%u", (unsigned)at->database);
		code = greet(cli, select, 2);
	}
	return code;
}

enum cg_exit cg_store_open(struct cg_cli *cli)
{
	struct cg_error why = {""};
	struct cg_redis_url at;

	if (cli->store != NULL) {
		return CG_EXIT_DONE;
	}
	if (cli->args.redis_url == NULL) {
		return cg_output_fail(cli, CG_EXIT_USAGE, "--redis-url", URL_BOUND,
		    "the store's address is missing: give --redis-url or set "
		    "CALLGATE_REDIS_URL (" URL_BOUND ")");
	}
	if (cg_redis_url_read(cli->args.redis_url, &at, &why) != CG_OK) {
		return cg_output_fail(cli, CG_EXIT_USAGE, "--redis-url", URL_BOUND, "%s", why.text);
	}
	/* hiredis writes to a connection that may have ended: an error, and not the end of us. */
	(void)signal(SIGPIPE, SIG_IGN);
	cli->store = calloc(1, sizeof *cli->store);
	CG_ASSERT(cli->store != NULL);
	cli->store->at = at;
	cli->store->redis = connect_now(&at, cli->args.timeout_ms);
	if (cli->store->redis == NULL || cli->store->redis->err != 0) {
		say_lost(cli);
		return CG_EXIT_UNAVAILABLE;
	}
	return introduce(cli);
}

void cg_store_close(struct cg_cli *cli)
{
	if (cli->store != NULL) {
		redisFree(cli->store->redis);
		free(cli->store);
		cli->store = NULL;
	}
}

static size_t put_key(
    char *key, size_t size, const struct cg_store_call *call, enum cg_store_key which)
{
	static const char *const names[] = {
	    [CG_STORE_HEAD] = "head",
	    [CG_STORE_WALLET] = "w:",
	    [CG_STORE_LEDGER] = "ledger",
	    [CG_STORE_DUE] = "due",
	};
	size_t len =
	    (size_t)snprintf(key, size, "cg:{p%u}:%s", (unsigned)call->partition, names[which]);

	if (which == CG_STORE_WALLET) {
		memcpy(key + len, call->company->bytes, sizeof call->company->bytes);
		len += sizeof call->company->bytes;
	}
	return len;
}

void cg_store_call(struct cg_cli *cli, const struct cg_store_call *call)
{
	char keys[CG_COUNT_OF(call->keys)][64];
	char function[64];
	char count[4];
	const char *words[4 + CG_COUNT_OF(call->keys)] = {"FCALL", function, count};
	size_t lens[CG_COUNT_OF(words)] = {5};
	size_t n = 3;

	lens[1] = (size_t)snprintf(function, sizeof function, FUNCTION_PREFIX "%s", call->function);
	lens[2] = (size_t)snprintf(count, sizeof count, "%zu", call->key_count);
	for (size_t i = 0; i < call->key_count; i++) {
		words[n] = keys[i];
		lens[n++] = put_key(keys[i], sizeof keys[i], call, call->keys[i]);
	}
	words[n] = call->argument.len == 0 ? "" : call->argument.data;
	lens[n++] = call->argument.len;
	(void)redisAppendCommandArgv(cli->store->redis, (int)n, words, lens);
}

/* What is wrong with the store as a whole, and not with what was asked about. */
static enum cg_exit judge_error(struct cg_cli *cli, const redisReply *reply)
{
	if (strstr(reply->str, "Function not found") != NULL) {
		return cg_output_fail(cli, CG_EXIT_INCOMPATIBLE, NULL, NULL,
		    "the store has no function library of this version: a sidecar of it must have "
		    "connected once");
	}
	if (strncmp(reply->str, "NOPERM", 6) == 0 || strncmp(reply->str, "NOAUTH", 6) == 0) {
		return cg_output_fail(
		    cli, CG_EXIT_FORBIDDEN, NULL, NULL, "the store refused: %s", reply->str);
	}
	if (strncmp(reply->str, "ERR", 3) != 0) { /* LOADING, BUSY, MOVED, CLUSTERDOWN, ... */
		return cg_output_fail(
		    cli, CG_EXIT_UNAVAILABLE, NULL, NULL, "the store refused: %s", reply->str);
	}
	return CG_EXIT_DONE;
}

enum cg_exit cg_store_hear(
    struct cg_cli *cli, void **ret_reply, struct cg_view *ret_bytes, bool *ret_is_error)
{
	redisReply *reply = NULL;
	enum cg_exit code = take_reply(cli, &reply);

	if (code != CG_EXIT_DONE) {
		return code;
	}
	*ret_is_error = reply->type == REDIS_REPLY_ERROR;
	if (*ret_is_error) {
		code = judge_error(cli, reply);
	} else if (reply->type != REDIS_REPLY_STRING) {
		code = cg_output_fail(cli, CG_EXIT_INCOMPATIBLE, NULL, NULL,
		    "the store's function answers something else than this version's");
	}
	if (code != CG_EXIT_DONE) {
		freeReplyObject(reply);
		return code;
	}
	*ret_bytes = (struct cg_view){reply->str, (size_t)reply->len};
	*ret_reply = reply;
	return CG_EXIT_DONE;
}

void cg_store_forget(void *reply)
{
	freeReplyObject(reply);
}

static json_t *json_of(const redisReply *reply)
{
	json_t *text;
	json_t *list;

	switch (reply->type) {
	case REDIS_REPLY_INTEGER:
		return json_integer(reply->integer);
	case REDIS_REPLY_STRING:
	case REDIS_REPLY_STATUS:
		text = json_stringn(reply->str, (size_t)reply->len);
		return text != NULL ? text : json_string("(bytes)");
	case REDIS_REPLY_ERROR:
		list = json_object();
		cg_output_add_text(list, "error", reply->str);
		return list;
	case REDIS_REPLY_ARRAY:
		list = json_array();
		for (size_t i = 0; i < reply->elements; i++) {
			json_array_append_new(list, json_of(reply->element[i]));
		}
		return list;
	default:
		return json_null();
	}
}

enum cg_exit cg_store_ask(
    struct cg_cli *cli, const char *const *words, size_t count, json_t **ret_answer)
{
	redisReply *reply = NULL;
	enum cg_exit code = run(cli, words, count, &reply);

	if (code == CG_EXIT_DONE) {
		*ret_answer = json_of(reply);
		freeReplyObject(reply);
	}
	return code;
}

/* A key is "cg:{p7}:w:" and the company's 16 bytes. */
static void take_keys(const redisReply *keys, size_t prefix_len,
    void (*take)(void *owner, const struct cg_uuid *company), void *owner)
{
	struct cg_uuid company;

	for (size_t i = 0; i < keys->elements; i++) {
		const redisReply *key = keys->element[i];
		if ((size_t)key->len == prefix_len + sizeof company.bytes) {
			memcpy(company.bytes, key->str + prefix_len, sizeof company.bytes);
			take(owner, &company);
		}
	}
}

enum cg_exit cg_store_scan(struct cg_cli *cli, uint32_t partition,
    void (*take)(void *owner, const struct cg_uuid *company), void *owner)
{
	char pattern[40];
	char cursor[32] = "0";
	enum cg_exit code;

	(void)snprintf(pattern, sizeof pattern, "cg:{p%u}:w:*", (unsigned)partition);
	do {
		const char *const words[] = {"SCAN", cursor, "MATCH", pattern, "COUNT", "2000"};
		redisReply *reply = NULL;

		code = run(cli, words, CG_COUNT_OF(words), &reply);
		if (code != CG_EXIT_DONE) {
			return code;
		}
		if (reply->type == REDIS_REPLY_ERROR) {
			code = cg_output_fail(cli, CG_EXIT_FORBIDDEN, NULL, NULL,
			    "the store refused SCAN: %s", reply->str);
		} else if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
			code = cg_output_fail(cli, CG_EXIT_INCOMPATIBLE, NULL, NULL,
			    "the store's answer to SCAN cannot be read");
		} else {
			(void)snprintf(cursor, sizeof cursor, "%.31s", reply->element[0]->str);
			take_keys(reply->element[1], strlen(pattern) - 1, take, owner);
		}
		freeReplyObject(reply);
	} while (code == CG_EXIT_DONE && strcmp(cursor, "0") != 0);
	return code;
}
