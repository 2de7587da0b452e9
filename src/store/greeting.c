/* SPDX-License-Identifier: Apache-2.0 */
#include "store/greeting.h"

#include <stdio.h>
#include <stdlib.h>

/* The longest answer is the library's own text. */
#define HEARD_MAX_BYTES ((size_t)4 << 20)

/* hiredis reserves memory for as many elements as an array says it has. */
#define ELEMENTS_MAX 4096

#define ARGUMENTS_MAX 5

static void *create_array(const redisReadTask *task, int element_count);

/* hiredis' own functions, but for arrays; filled in by the first reader. */
static redisReplyObjectFunctions functions;
static void *(*create_any_array)(const redisReadTask *task, int element_count);

static void *create_array(const redisReadTask *task, int element_count)
{
	return element_count > ELEMENTS_MAX ? NULL : create_any_array(task, element_count);
}

static redisReader *create_reader(void)
{
	redisReader *reader = redisReaderCreate();

	CG_ASSERT(reader != NULL);
	if (create_any_array == NULL) {
		functions = *reader->fn;
		create_any_array = functions.createArray;
		functions.createArray = create_array;
	}
	reader->fn = &functions;
	return reader;
}

static void forget_command(struct cg_greeting *g)
{
	redisFreeCommand(g->command);
	g->command = NULL;
	g->command_bytes = 0;
}

static void say(struct cg_greeting *g, size_t count, const struct cg_view *arguments)
{
	const char *data[ARGUMENTS_MAX];
	size_t lens[ARGUMENTS_MAX];

	CG_ASSERT(count <= ARGUMENTS_MAX);
	for (size_t i = 0; i < count; i++) {
		data[i] = arguments[i].data;
		lens[i] = arguments[i].len;
	}
	forget_command(g);
	int len = redisFormatCommandArgv(&g->command, (int)count, data, lens);
	CG_ASSERT(len > 0);
	g->command_bytes = (size_t)len;
}

static void say_auth(struct cg_greeting *g)
{
	const struct cg_view with_name[] = {CG_VIEW_LITERAL("AUTH"),
	    cg_view_of(g->config->username), cg_view_of(g->config->password)};
	const struct cg_view without[] = {CG_VIEW_LITERAL("AUTH"), cg_view_of(g->config->password)};

	if (g->config->username != NULL) {
		say(g, CG_COUNT_OF(with_name), with_name);
	} else {
		say(g, CG_COUNT_OF(without), without);
	}
}

static void say_select(struct cg_greeting *g)
{
	char number[16];

	(void)snprintf(number, sizeof number, "%u", (unsigned)g->config->database);
	const struct cg_view words[] = {CG_VIEW_LITERAL("SELECT"), cg_view_of(number)};
	say(g, CG_COUNT_OF(words), words);
}

static void say_load(struct cg_greeting *g)
{
	const struct cg_view load[] = {
	    CG_VIEW_LITERAL("FUNCTION"), CG_VIEW_LITERAL("LOAD"), g->config->library};
	const struct cg_view replace[] = {CG_VIEW_LITERAL("FUNCTION"), CG_VIEW_LITERAL("LOAD"),
	    CG_VIEW_LITERAL("REPLACE"), g->config->library};

	if (g->library == CG_GREETING_REPLACED) {
		say(g, CG_COUNT_OF(replace), replace);
	} else {
		say(g, CG_COUNT_OF(load), load);
	}
}

static void say_step(struct cg_greeting *g)
{
	const struct cg_view name[] = {
	    CG_VIEW_LITERAL("CLIENT"), CG_VIEW_LITERAL("SETNAME"), CG_VIEW_LITERAL("callgated")};
	const struct cg_view role[] = {CG_VIEW_LITERAL("ROLE")};
	const struct cg_view time[] = {CG_VIEW_LITERAL("TIME")};
	const struct cg_view info[] = {CG_VIEW_LITERAL("INFO")};
	const struct cg_view rewrite[] = {CG_VIEW_LITERAL("BGREWRITEAOF")};
	const struct cg_view list[] = {CG_VIEW_LITERAL("FUNCTION"), CG_VIEW_LITERAL("LIST"),
	    CG_VIEW_LITERAL("LIBRARYNAME"), cg_view_of(g->config->library_name),
	    CG_VIEW_LITERAL("WITHCODE")};

	switch (g->step) {
	case CG_GREETING_AUTH:
		say_auth(g);
		return;
	case CG_GREETING_SELECT:
		say_select(g);
		return;
	case CG_GREETING_NAME:
		say(g, CG_COUNT_OF(name), name);
		return;
	case CG_GREETING_ROLE:
		say(g, CG_COUNT_OF(role), role);
		return;
	case CG_GREETING_TIME:
		say(g, CG_COUNT_OF(time), time);
		return;
	case CG_GREETING_INFO:
		say(g, CG_COUNT_OF(info), info);
		return;
	case CG_GREETING_REWRITE:
		say(g, CG_COUNT_OF(rewrite), rewrite);
		return;
	case CG_GREETING_LIST:
		say(g, CG_COUNT_OF(list), list);
		return;
	case CG_GREETING_LOAD:
		say_load(g);
		return;
	case CG_GREETING_OVER:
		break;
	}
	CG_UNREACHABLE();
}

static bool is_skipped(const struct cg_greeting *g, enum cg_greeting_step step)
{
	return (step == CG_GREETING_AUTH && g->config->password == NULL) ||
	    (step == CG_GREETING_SELECT && g->config->database == 0) ||
	    (step == CG_GREETING_REWRITE && !g->wants_rewrite);
}

/* `step`, or the first after it that is wanted. */
static void go_on_with(struct cg_greeting *g, enum cg_greeting_step step)
{
	while (is_skipped(g, step)) {
		step++;
	}
	g->step = step;
	if (step != CG_GREETING_OVER) {
		say_step(g);
	}
}

static struct cg_view text_of(const redisReply *reply)
{
	bool is_text = reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS ||
	    reply->type == REDIS_REPLY_ERROR;

	return is_text ? (struct cg_view){reply->str, (size_t)reply->len} : (struct cg_view){0};
}

static bool is_word(const redisReply *reply, const char *word)
{
	return cg_view_equal(text_of(reply), cg_view_of(word));
}

/* Seconds and microseconds, as texts. */
static bool judge_time(struct cg_greeting *g, const redisReply *reply, struct cg_error *err)
{
	int64_t seconds = 0;
	int64_t micros = 0;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
	    !cg_view_parse_int(text_of(reply->element[0]), &seconds) ||
	    !cg_view_parse_int(text_of(reply->element[1]), &micros) || seconds <= 0 ||
	    seconds > INT64_MAX / 2000 || micros < 0 || micros >= 1000000) {
		cg_error_set(err, "TIME was answered with something else");
		return false;
	}
	g->time_ms = seconds * 1000 + micros / 1000;
	return true;
}

/* Whether a line of INFO's reply says exactly this. */
static bool info_says(const redisReply *reply, const char *line)
{
	const char *at = reply->str; /* hiredis terminates it. */
	size_t len = strlen(line);

	while ((at = strstr(at, line)) != NULL) {
		bool begins = at == reply->str || at[-1] == '\n';
		if (begins && (at[len] == '\r' || at[len] == '\0')) {
			return true;
		}
		at += len;
	}
	return false;
}

static bool judge_info(const struct cg_greeting *g, const redisReply *reply, struct cg_error *err)
{
	if (reply->type != REDIS_REPLY_STRING) {
		cg_error_set(err, "INFO was answered with something else");
		return false;
	}
	if (!info_says(reply, "loading:0")) {
		cg_error_set(err, "the server is loading its data");
		return false;
	}
	if (g->config->allow_volatile) {
		return true;
	}
	if (!info_says(reply, "aof_enabled:1")) {
		cg_error_set(err, "the server keeps no append-only file: set appendonly yes");
		return false;
	}
	if (!info_says(reply, "maxmemory_policy:noeviction")) {
		cg_error_set(err, "the server may evict wallets: set maxmemory-policy noeviction");
		return false;
	}
	return true;
}

/* Whoever was faster has seen to it: then it is under way, or done. */
static bool is_to_be_rewritten(const struct cg_greeting *g, const redisReply *info)
{
	return g->config->asks_rewrite && info_says(info, "aof_enabled:1") &&
	    info_says(info, "aof_last_rewrite_time_sec:-1") &&
	    info_says(info, "aof_rewrite_in_progress:0") &&
	    info_says(info, "aof_rewrite_scheduled:0");
}

/* The library's text in FUNCTION LIST's reply: an array of libraries, each keys and values. */
static struct cg_view listed_text(const redisReply *reply)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0 ||
	    reply->element[0]->type != REDIS_REPLY_ARRAY) {
		return (struct cg_view){0};
	}
	const redisReply *library = reply->element[0];

	for (size_t i = 0; i + 1 < library->elements; i += 2) {
		if (is_word(library->element[i], "library_code")) {
			return text_of(library->element[i + 1]);
		}
	}
	return (struct cg_view){0};
}

/*
 * Loading replaces the library's locals, and with them the mark of every partition that was
 * confirmed: so only where the text differs.
 */
static void judge_list(struct cg_greeting *g, const redisReply *reply)
{
	struct cg_view text = listed_text(reply);

	if (cg_view_equal(text, g->config->library)) {
		go_on_with(g, CG_GREETING_OVER);
		return;
	}
	g->library = text.len == 0 ? CG_GREETING_LOADED : CG_GREETING_REPLACED;
	go_on_with(g, CG_GREETING_LOAD);
}

/* False: `err` says why. */
static bool judge_refusal(struct cg_greeting *g, const redisReply *reply, struct cg_error *err)
{
	static const char *const commands[] = {
	    [CG_GREETING_AUTH] = "AUTH",
	    [CG_GREETING_SELECT] = "SELECT",
	    [CG_GREETING_NAME] = "CLIENT SETNAME",
	    [CG_GREETING_ROLE] = "ROLE",
	    [CG_GREETING_TIME] = "TIME",
	    [CG_GREETING_INFO] = "INFO",
	    [CG_GREETING_REWRITE] = "BGREWRITEAOF",
	    [CG_GREETING_LIST] = "FUNCTION LIST",
	    [CG_GREETING_LOAD] = "FUNCTION LOAD",
	};

	if (g->step == CG_GREETING_NAME) {
		go_on_with(g, CG_GREETING_ROLE); /* A name is a courtesy. */
		return true;
	}
	if (g->step == CG_GREETING_REWRITE) {
		bool is_under_way = strstr(reply->str, "already in progress") != NULL;

		g->rewrite = is_under_way ? CG_GREETING_NOT_ASKED : CG_GREETING_NOT_REWRITTEN;
		cg_error_set(&g->rewrite_refusal, "BGREWRITEAOF was answered %.120s", reply->str);
		go_on_with(g, CG_GREETING_LIST);
		return true;
	}
	if (g->step == CG_GREETING_LOAD && g->library == CG_GREETING_LOADED &&
	    strstr(reply->str, "already exists") != NULL) {
		/* Another sidecar was faster: whatever it loaded is looked at. */
		g->library = CG_GREETING_FOUND;
		go_on_with(g, CG_GREETING_LIST);
		return true;
	}
	cg_error_set(err, "%s was answered %.120s", commands[g->step], reply->str);
	return false;
}

static bool judge(struct cg_greeting *g, const redisReply *reply, struct cg_error *err)
{
	if (reply->type == REDIS_REPLY_ERROR) {
		return judge_refusal(g, reply, err);
	}
	switch (g->step) {
	case CG_GREETING_AUTH:
	case CG_GREETING_SELECT:
	case CG_GREETING_NAME:
		go_on_with(g, g->step + 1);
		return true;
	case CG_GREETING_ROLE:
		if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0 ||
		    !is_word(reply->element[0], "master")) {
			cg_error_set(err, "the server is not a master");
			return false;
		}
		go_on_with(g, CG_GREETING_TIME);
		return true;
	case CG_GREETING_TIME:
		if (!judge_time(g, reply, err)) {
			return false;
		}
		go_on_with(g, CG_GREETING_INFO);
		return true;
	case CG_GREETING_INFO:
		if (!judge_info(g, reply, err)) {
			return false;
		}
		g->wants_rewrite = is_to_be_rewritten(g, reply);
		go_on_with(g, CG_GREETING_REWRITE);
		return true;
	case CG_GREETING_REWRITE:
		g->rewrite = CG_GREETING_ASKED;
		go_on_with(g, CG_GREETING_LIST);
		return true;
	case CG_GREETING_LIST:
		judge_list(g, reply);
		return true;
	case CG_GREETING_LOAD:
		go_on_with(g, CG_GREETING_OVER);
		return true;
	case CG_GREETING_OVER:
		break;
	}
	CG_UNREACHABLE();
}

void cg_greeting_init(struct cg_greeting *g, const struct cg_greeting_config *config)
{
	*g = (struct cg_greeting){.config = config, .reader = create_reader()};
}

void cg_greeting_deinit(struct cg_greeting *g)
{
	redisReaderFree(g->reader);
	forget_command(g);
}

void cg_greeting_begin(struct cg_greeting *g)
{
	redisReaderFree(g->reader);
	g->reader = create_reader();
	g->library = CG_GREETING_FOUND;
	g->wants_rewrite = false;
	g->rewrite = CG_GREETING_NOT_ASKED;
	g->time_ms = 0;
	g->heard_bytes = 0;
	go_on_with(g, CG_GREETING_AUTH);
}

struct cg_view cg_greeting_command(const struct cg_greeting *g)
{
	return (struct cg_view){g->command, g->command_bytes};
}

enum cg_greeting_result cg_greeting_hear(
    struct cg_greeting *g, struct cg_view bytes, struct cg_error *err)
{
	void *reply = NULL;

	g->heard_bytes += bytes.len;
	if (g->heard_bytes > HEARD_MAX_BYTES) {
		cg_error_set(err, "its answers are too large");
		return CG_GREETING_FAILED;
	}
	if (redisReaderFeed(g->reader, bytes.data, bytes.len) != REDIS_OK ||
	    redisReaderGetReply(g->reader, &reply) != REDIS_OK) {
		cg_error_set(err, "its answer breaks the protocol");
		return CG_GREETING_FAILED;
	}
	if (reply == NULL) {
		return CG_GREETING_WAIT;
	}
	bool ok = judge(g, reply, err);
	freeReplyObject(reply);
	if (ok && g->reader->pos < g->reader->len) {
		cg_error_set(err, "it says more than it was asked");
		ok = false;
	}
	if (!ok) {
		return CG_GREETING_FAILED;
	}
	return g->step == CG_GREETING_OVER ? CG_GREETING_DONE : CG_GREETING_SAY;
}
