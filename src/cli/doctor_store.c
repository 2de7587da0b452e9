/*
 * doctor, the store: what INFO says, and what only an administrator may ask.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#include "base/base.h"
#include "cli/doctor.h"
#include "cli/store.h"

#define LAG_MOST_S      10
#define SLOW_MICROS     50000
#define SLOW_WITHIN_S   3600
#define VERSION_LEAST   7
#define FULL_PERCENT    90
#define FULLISH_PERCENT 75

/* The value of a line "name:value"; false where INFO has none. */
static bool info_text(const char *info, const char *name, char *value, size_t size)
{
	size_t len = strlen(name);

	for (const char *at = info; at != NULL && *at != '\0';) {
		if (strncmp(at, name, len) == 0 && at[len] == ':') {
			(void)snprintf(
			    value, size, "%.*s", (int)strcspn(at + len + 1, "\r\n"), at + len + 1);
			return true;
		}
		at = strchr(at, '\n');
		at = at == NULL ? NULL : at + 1;
	}
	value[0] = '\0';
	return false;
}

static int64_t info_int(const char *info, const char *name)
{
	char text[64];

	return info_text(info, name, text, sizeof text) ? strtoll(text, NULL, 10) : 0;
}

static bool info_is(const char *info, const char *name, const char *value)
{
	char text[64];

	return info_text(info, name, text, sizeof text) && strcmp(text, value) == 0;
}

/* A setting; false: this user may not ask, and doctor->why says so. */
static bool setting(struct cg_doctor *doctor, const char *name, char *value, size_t size)
{
	const char *const words[] = {"CONFIG", "GET", name};
	json_t *answer = cg_doctor_redis(doctor, words, CG_COUNT_OF(words));
	const char *text = json_string_value(json_array_get(answer, 1));

	(void)snprintf(value, size, "%s", text == NULL ? "" : text);
	bool is_there = text != NULL;
	json_decref(answer);
	return is_there;
}

static void check_server(struct cg_doctor *doctor, const char *info)
{
	char version[64];
	char text[64];

	(void)info_text(info, "redis_version", version, sizeof version);
	bool is_new = strtol(version, NULL, 10) >= VERSION_LEAST;
	cg_doctor_note(doctor, "store-version", is_new ? CG_DOCTOR_OK : CG_DOCTOR_ERROR,
	    "callgate needs functions: Redis 7.0 or later", "Redis %s", version);

	(void)info_text(info, "role", text, sizeof text);
	cg_doctor_note(doctor, "store-role",
	    strcmp(text, "master") == 0 ? CG_DOCTOR_OK : CG_DOCTOR_ERROR,
	    "give the master's address: a replica takes no writes", "role %s", text);

	bool is_cluster = info_int(info, "cluster_enabled") != 0;
	cg_doctor_note(doctor, "store-cluster", is_cluster ? CG_DOCTOR_WARNING : CG_DOCTOR_OK,
	    "audit and doctor see this node's partitions alone: sidecars and they want one server",
	    "cluster mode is %s", is_cluster ? "on" : "off");
}

static void check_files(struct cg_doctor *doctor, const char *info)
{
	bool is_on = info_int(info, "aof_enabled") == 1;
	char text[64];

	cg_doctor_note(doctor, "store-aof", is_on ? CG_DOCTOR_OK : CG_DOCTOR_ERROR,
	    "config set appendonly yes, and the same in redis.conf: a restart loses every hold "
	    "and what the ledger does not have yet",
	    "appendonly is %s", is_on ? "yes" : "no");

	if (!setting(doctor, "appendfsync", text, sizeof text)) {
		cg_doctor_note(doctor, "store-fsync", CG_DOCTOR_UNKNOWN,
		    "see in redis.conf that appendfsync is everysec or always", "%s",
		    doctor->why.text);
	} else {
		cg_doctor_note(doctor, "store-fsync",
		    strcmp(text, "no") == 0 ? CG_DOCTOR_ERROR : CG_DOCTOR_OK,
		    "config set appendfsync everysec: with no, a crash loses as much as the kernel "
		    "held back",
		    "appendfsync is %s", text);
	}

	bool is_written = info_is(info, "aof_last_write_status", "ok") || !is_on;
	bool is_rewritten = info_is(info, "aof_last_bgrewrite_status", "ok") || !is_on;
	cg_doctor_note(doctor, "store-aof-write",
	    !is_written         ? CG_DOCTOR_ERROR
	        : !is_rewritten ? CG_DOCTOR_WARNING
	                        : CG_DOCTOR_OK,
	    "the append-only file cannot be written: look at its disk; until then every write is "
	    "refused",
	    "last write %s, last rewrite %s", is_written ? "ok" : "failed",
	    is_rewritten ? "ok" : "failed");
}

/*
 * What a file that ends in the middle of a function comes to.  Rewritten since the start it is
 * another file; aof-load-truncated no keeps the server from starting on such a one.
 */
static void check_torn_file(struct cg_doctor *doctor, const char *info)
{
	bool is_under_way = info_int(info, "aof_rewrite_in_progress") != 0 ||
	    info_int(info, "aof_rewrite_scheduled") != 0;
	bool is_rewritten = info_int(info, "aof_last_rewrite_time_sec") >= 0 &&
	    info_is(info, "aof_last_bgrewrite_status", "ok");
	char loads[16];

	if (is_under_way || is_rewritten || info_int(info, "aof_enabled") == 0) {
		cg_doctor_note(doctor, "store-aof-torn", CG_DOCTOR_OK, "",
		    "the file %s after the server's start",
		    is_under_way ? "is being rewritten" : "was rewritten");
		return;
	}
	if (!setting(doctor, "aof-load-truncated", loads, sizeof loads)) {
		cg_doctor_note(doctor, "store-aof-torn", CG_DOCTOR_UNKNOWN,
		    "bgrewriteaof, or see in redis.conf that aof-load-truncated is no",
		    "the file was not rewritten since the server's start; %s", doctor->why.text);
		return;
	}
	cg_doctor_note(doctor, "store-aof-torn",
	    strcmp(loads, "no") == 0 ? CG_DOCTOR_OK : CG_DOCTOR_WARNING,
	    "bgrewriteaof, before the server ends again, and let the sidecars' user do it: a file "
	    "that was torn is executed by half a function at the next start",
	    "the file was not rewritten since the server's start, aof-load-truncated is %s", loads);
}

static void check_snapshots(struct cg_doctor *doctor, const char *info)
{
	char save[128];
	char stops[16];
	bool is_saved = info_is(info, "rdb_last_bgsave_status", "ok");

	if (!setting(doctor, "save", save, sizeof save) ||
	    !setting(doctor, "stop-writes-on-bgsave-error", stops, sizeof stops)) {
		cg_doctor_note(doctor, "store-snapshots",
		    is_saved ? CG_DOCTOR_UNKNOWN : CG_DOCTOR_WARNING,
		    "see in redis.conf that save is empty or stop-writes-on-bgsave-error is no",
		    "last snapshot %s; %s", is_saved ? "ok" : "failed", doctor->why.text);
		return;
	}
	bool may_stop = save[0] != '\0' && strcmp(stops, "yes") == 0;
	cg_doctor_note(doctor, "store-snapshots",
	    may_stop && !is_saved ? CG_DOCTOR_ERROR
	        : may_stop        ? CG_DOCTOR_WARNING
	                          : CG_DOCTOR_OK,
	    "config set stop-writes-on-bgsave-error no, or config set save \"\": the append-only "
	    "file is what counts, and a failed snapshot must not refuse writes",
	    "save is \"%s\", stop-writes-on-bgsave-error is %s, last snapshot %s", save, stops,
	    is_saved ? "ok" : "failed");
}

static void check_memory(struct cg_doctor *doctor, const char *info)
{
	char policy[64];
	int64_t most = info_int(info, "maxmemory");
	int64_t used = info_int(info, "used_memory");

	(void)info_text(info, "maxmemory_policy", policy, sizeof policy);
	cg_doctor_note(doctor, "store-eviction",
	    strcmp(policy, "noeviction") == 0 ? CG_DOCTOR_OK : CG_DOCTOR_ERROR,
	    "config set maxmemory-policy noeviction: any other may drop wallets",
	    "maxmemory-policy is %s", policy);

	if (most == 0) {
		cg_doctor_note(doctor, "store-memory", CG_DOCTOR_WARNING,
		    "config set maxmemory to less than the machine has: at the limit new calls are "
		    "refused and money is finished; without one the kernel ends the server",
		    "maxmemory is not set; %" PRId64 " MB are used", used >> 20);
		return;
	}
	int64_t percent = used * 100 / most;
	cg_doctor_note(doctor, "store-memory",
	    percent >= FULL_PERCENT          ? CG_DOCTOR_ERROR
	        : percent >= FULLISH_PERCENT ? CG_DOCTOR_WARNING
	                                     : CG_DOCTOR_OK,
	    "raise maxmemory: at the limit new calls are refused",
	    "%" PRId64 " of %" PRId64 " MB are used (%" PRId64 " %%)", used >> 20, most >> 20,
	    percent);
}

/* "ip=...,port=...,state=online,offset=...,lag=0" */
static bool is_behind(const char *replica)
{
	const char *lag = strstr(replica, "lag=");

	return strstr(replica, "state=online") == NULL || lag == NULL ||
	    strtoll(lag + 4, NULL, 10) > LAG_MOST_S;
}

static void check_replicas(struct cg_doctor *doctor, const char *info)
{
	int64_t count = info_int(info, "connected_slaves");
	char good[16];
	/* INFO has this line only where min-replicas-to-write is set. */
	bool is_minded = info_text(info, "min_slaves_good_slaves", good, sizeof good);
	int64_t behind = 0;

	cg_doctor_note(doctor, "store-replicas",
	    is_minded && good[0] == '0'   ? CG_DOCTOR_ERROR
	        : count > 0 && !is_minded ? CG_DOCTOR_WARNING
	                                  : CG_DOCTOR_OK,
	    count > 0 && !is_minded
	        ? "config set min-replicas-to-write 1: a master cut off from its replicas must not "
	          "go on taking calls that a promotion forgets"
	        : "no replica is near enough: every write is refused",
	    "%" PRId64 " replicas, min-replicas-to-write is %s", count,
	    is_minded ? "set" : "not set");
	for (int64_t i = 0; i < count && i < 16; i++) {
		char name[16];
		char replica[256];

		(void)snprintf(name, sizeof name, "slave%d", (int)i);
		(void)info_text(info, name, replica, sizeof replica);
		behind += is_behind(replica) ? 1 : 0;
	}
	cg_doctor_note(doctor, "store-lag", behind > 0 ? CG_DOCTOR_WARNING : CG_DOCTOR_OK,
	    "a promotion of it would lose what it lacks: look at its link and its disk",
	    "%" PRId64 " of %" PRId64 " replicas are not online or more than %d s behind", behind,
	    count, LAG_MOST_S);
}

static void check_library(struct cg_doctor *doctor)
{
	const char *const words[] = {"FUNCTION", "LIST", "LIBRARYNAME", "callgate*"};
	json_t *answer = cg_doctor_redis(doctor, words, CG_COUNT_OF(words));
	char others[256] = "";
	bool is_there = false;

	if (answer == NULL) {
		cg_doctor_note(doctor, "store-library", CG_DOCTOR_UNKNOWN,
		    "sidecars load it: their user may run FUNCTION LIST and LOAD", "%s",
		    doctor->why.text);
		return;
	}
	for (size_t i = 0; i < json_array_size(answer); i++) {
		const char *name = json_string_value(json_array_get(json_array_get(answer, i), 1));
		if (name != NULL && strcmp(name, cg_store_library) == 0) {
			is_there = true;
		} else if (name != NULL) {
			size_t len = strlen(others);
			(void)snprintf(others + len, sizeof others - len, " %s", name);
		}
	}
	cg_doctor_note(doctor, "store-library",
	    !is_there               ? CG_DOCTOR_ERROR
	        : others[0] != '\0' ? CG_DOCTOR_WARNING
	                            : CG_DOCTOR_OK,
	    is_there ? "once no sidecar of that version runs: function delete NAME"
	             : "start a sidecar of this version: it loads its functions",
	    "%s is %s%s%s", cg_store_library, is_there ? "loaded" : "not loaded",
	    others[0] != '\0' ? ", others:" : "", others);
	json_decref(answer);
}

/* What the functions run on behalf of their caller, and what a sidecar says itself. */
static const char *const needed[][8] = {
    {"FCALL", "cg", "1", "cg:{p0}:head", "x"},
    {"HGET", "cg:{p0}:head", "f"},
    {"HMGET", "cg:{p0}:head", "f"},
    {"HGETALL", "cg:{p0}:head"},
    {"HSCAN", "cg:{p0}:head", "0"},
    {"HLEN", "cg:{p0}:head"},
    {"HSET", "cg:{p0}:head", "f", "v"},
    {"HDEL", "cg:{p0}:head", "f"},
    {"XADD", "cg:{p0}:ledger", "*", "f", "v"},
    {"XRANGE", "cg:{p0}:ledger", "-", "+"},
    {"XTRIM", "cg:{p0}:ledger", "MAXLEN", "1"},
    {"XLEN", "cg:{p0}:ledger"},
    {"XINFO", "STREAM", "cg:{p0}:ledger"},
    {"XGROUP", "CREATE", "cg:{p0}:ledger", "g", "$"},
    {"XGROUP", "DESTROY", "cg:{p0}:ledger", "g"},
    {"ZADD", "cg:{p0}:due", "1", "m"},
    {"ZREM", "cg:{p0}:due", "m"},
    {"ZRANGE", "cg:{p0}:due", "0", "1"},
    {"ZSCORE", "cg:{p0}:due", "m"},
    {"EXISTS", "cg:{p0}:head"},
    {"DEL", "cg:{p0}:head"},
    {"UNLINK", "cg:{p0}:head"},
    {"TIME"},
    {"INFO"},
    {"ROLE"},
    {"BGREWRITEAOF"},
    {"FUNCTION", "LIST"},
    {"FUNCTION", "LOAD", "x"},
};

static size_t word_count(const char *const *words)
{
	size_t count = 0;

	while (count < CG_COUNT_OF(needed[0]) && words[count] != NULL) {
		count++;
	}
	return count;
}

/* 1: it may; 0: it may not; -1: it is not told. */
static int may_run(struct cg_doctor *doctor, const char *user, const char *const *command)
{
	const char *words[3 + CG_COUNT_OF(needed[0])] = {"ACL", "DRYRUN", user};
	size_t count = word_count(command);

	memcpy(words + 3, command, count * sizeof *words);
	json_t *answer = cg_doctor_redis(doctor, words, 3 + count);
	if (answer == NULL) {
		return -1;
	}
	const char *text = json_string_value(answer);
	int may = text != NULL && strcmp(text, "OK") == 0;
	json_decref(answer);
	return may;
}

static void check_user(struct cg_doctor *doctor)
{
	const char *const whoami[] = {"ACL", "WHOAMI"};
	json_t *answer = cg_doctor_redis(doctor, whoami, CG_COUNT_OF(whoami));
	char user[128];
	char lacks[256] = "";

	if (answer == NULL) {
		cg_doctor_note(doctor, "store-user", CG_DOCTOR_UNKNOWN,
		    "the sidecar's user needs fcall, and every command its functions run", "%s",
		    doctor->why.text);
		return;
	}
	(void)snprintf(user, sizeof user, "%s", json_string_value(answer));
	json_decref(answer);
	for (size_t i = 0; i < CG_COUNT_OF(needed); i++) {
		int may = may_run(doctor, user, needed[i]);
		size_t len = strlen(lacks);

		if (may < 0) {
			cg_doctor_note(doctor, "store-user", CG_DOCTOR_UNKNOWN,
			    "have the sidecar's rights tried by a user who may ACL DRYRUN",
			    "user %s: %s", user, doctor->why.text);
			return;
		}
		if (may == 0) {
			(void)snprintf(lacks + len, sizeof lacks - len, " %s", needed[i][0]);
		}
	}
	cg_doctor_note(doctor, "store-user", lacks[0] != '\0' ? CG_DOCTOR_ERROR : CG_DOCTOR_OK,
	    "acl setuser: a function runs with its caller's rights, so these are needed on cg:*",
	    "user %s %s%s", user, lacks[0] != '\0' ? "lacks" : "may what functions need", lacks);
}

static void check_latency(struct cg_doctor *doctor, const char *info)
{
	const char *const words[] = {"SLOWLOG", "GET", "32"};
	json_t *answer = cg_doctor_redis(doctor, words, CG_COUNT_OF(words));
	int64_t waited = info_int(info, "aof_delayed_fsync");
	int64_t now_s = (int64_t)time(NULL);
	int64_t slow = 0;

	for (size_t i = 0; i < json_array_size(answer); i++) {
		const json_t *entry = json_array_get(answer, i);
		const char *name = json_string_value(json_array_get(json_array_get(entry, 3), 0));
		/* Sidecars ask for that one, after each start: it is the fork of a large memory. */
		bool is_recent =
		    json_integer_value(json_array_get(entry, 1)) > now_s - SLOW_WITHIN_S &&
		    (name == NULL || strcasecmp(name, "bgrewriteaof") != 0);
		slow +=
		    is_recent && json_integer_value(json_array_get(entry, 2)) > SLOW_MICROS ? 1 : 0;
	}
	cg_doctor_note(doctor, "store-latency",
	    slow > 0 || waited > 0 ? CG_DOCTOR_WARNING : CG_DOCTOR_OK,
	    waited > 0
	        ? "the disk is too slow for the append-only file: give Redis one of its own; "
	          "config resetstat once that is mended"
	        : "see `slowlog get`: what else is asked of this server?",
	    "%" PRId64 " commands above %d ms within the hour, %" PRId64
	    " writes waited for fsync%s",
	    slow, SLOW_MICROS / 1000, waited, answer == NULL ? " (the slow log is not told)" : "");
	json_decref(answer);
}

void cg_doctor_store(struct cg_doctor *doctor)
{
	const char *const words[] = {"INFO"};
	json_t *answer = cg_doctor_redis(doctor, words, CG_COUNT_OF(words));
	const char *info = json_string_value(answer);

	if (info == NULL) {
		cg_doctor_note(doctor, "store-info", CG_DOCTOR_ERROR,
		    "the user needs INFO: sidecars ask it, too", "%s", doctor->why.text);
	} else {
		check_server(doctor, info);
		check_files(doctor, info);
		check_torn_file(doctor, info);
		check_snapshots(doctor, info);
		check_memory(doctor, info);
		check_replicas(doctor, info);
		check_latency(doctor, info);
	}
	json_decref(answer);
	check_library(doctor);
	check_user(doctor);
}
