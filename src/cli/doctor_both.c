/*
 * doctor, what lies between: whether store and ledger belong together, how far the ledger is
 * behind, and what time each of them thinks it is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "cli/audit.h"
#include "cli/doctor.h"
#include "cli/money.h"
#include "cli/store.h"

#define LAG_WARN_MS    10000
#define LAG_ERROR_MS   60000
#define DUE_LATE_MS    5000
#define CLOCK_WARN_MS  500
#define CLOCK_ERROR_MS 2000

static const char read_cursors[] =
    "select json_build_object('id', d.id, 'partitions', d.partitions, 'cursors', "
    "(select coalesce(json_agg(json_build_array(c.partition, c.epoch, c.last_epoch, c.last_n) "
    "order by c.partition), '[]'::json) from callgate.cursors c)) from callgate.deployment d";

/* What audit_partition answered of one partition. */
struct look {
	struct cg_audit_head head;
	uint32_t partition_count;
	char deployment[CG_UUID_TEXT_LEN + 1];
	uint64_t last_epoch;
	uint64_t last_n;
	int64_t length;
	int64_t waiting;
	int64_t first_at_ms; /* of the oldest entry that waits; 0: none */
	int64_t due_at_ms;
};

/* What the looks at all partitions come to. */
struct tally {
	uint32_t unused;
	uint32_t strange; /* of another deployment */
	uint32_t unsettled;
	uint32_t unconfirmed;
	uint32_t behind; /* the stream ends before the cursor: the store went back */
	int64_t waiting;
	int64_t length;
	int64_t oldest_ms; /* how old the oldest entry is that waits */
	uint32_t oldest_partition;
	int64_t due_late_ms;
};

static bool decode(struct cg_view bytes, struct look *ret_look)
{
	struct cg_uuid id = {{0}};
	struct cg_cursor in;

	cg_cursor_init(&in, bytes);
	cg_audit_decode_head(&in, &ret_look->head);
	(void)cg_cursor_uint(&in, 8); /* served */
	ret_look->partition_count = (uint32_t)cg_cursor_uint(&in, 4);
	struct cg_view deployment = cg_cursor_bytes(&in, sizeof id.bytes);
	(void)cg_cursor_uint(&in, 8); /* the last trimmed id */
	(void)cg_cursor_uint(&in, 8);
	ret_look->last_epoch = cg_cursor_uint(&in, 8);
	ret_look->last_n = cg_cursor_uint(&in, 8);
	ret_look->length = cg_cursor_int(&in, 8);
	ret_look->waiting = (int64_t)cg_cursor_uint(&in, 4);
	ret_look->first_at_ms = cg_cursor_int(&in, 8);
	ret_look->due_at_ms = cg_cursor_int(&in, 8);
	if (in.overrun || in.left != 0) {
		return false;
	}
	memcpy(id.bytes, deployment.data, sizeof id.bytes);
	cg_uuid_format(&id, ret_look->deployment);
	return true;
}

/* The ledger's cursor of a partition; false: it has none. */
static bool cursor_of(const struct cg_doctor *doctor, uint32_t partition, uint64_t cursor[3])
{
	const json_t *row;
	size_t i;

	json_array_foreach(doctor->cursors, i, row)
	{
		if (json_integer_value(json_array_get(row, 0)) == (json_int_t)partition) {
			for (size_t n = 0; n < 3; n++) {
				cursor[n] =
				    (uint64_t)json_integer_value(json_array_get(row, n + 1));
			}
			return true;
		}
	}
	return false;
}

static bool look_at(
    struct cg_doctor *doctor, uint32_t partition, const uint64_t cursor[3], struct look *ret_look)
{
	char argument[16];
	struct cg_buffer out;
	struct cg_view bytes;
	void *reply = NULL;
	bool is_error = false;

	cg_buffer_init(&out, argument, sizeof argument);
	cg_buffer_uint(&out, cursor[1], 8);
	cg_buffer_uint(&out, cursor[2], 8);
	cg_store_call(doctor->cli,
	    &(struct cg_store_call){.function = "audit_partition",
	        .partition = partition,
	        .key_count = 3,
	        .keys = {CG_STORE_HEAD, CG_STORE_LEDGER, CG_STORE_DUE},
	        .argument = cg_buffer_view(&out)});
	if (cg_store_hear(doctor->cli, &reply, &bytes, &is_error) != CG_EXIT_DONE) {
		return false;
	}
	bool is_read = !is_error && decode(bytes, ret_look);
	if (!is_read) {
		cg_error_set(&doctor->why, "partition %u: %.*s", (unsigned)partition,
		    is_error ? (int)bytes.len : 0, is_error ? bytes.data : "");
	}
	cg_store_forget(reply);
	return is_read;
}

static void add_to_tally(const struct cg_doctor *doctor, uint32_t partition,
    const uint64_t cursor[3], const struct look *look, struct tally *t)
{
	if (look->head.epoch != 0 &&
	    (strcmp(look->deployment, doctor->deployment) != 0 ||
	        look->partition_count != doctor->partition_count)) {
		t->strange++;
		return;
	}
	if (!look->head.is_serving || look->head.epoch != cursor[0]) {
		t->unsettled++;
	} else if (!look->head.is_confirmed) {
		t->unconfirmed++;
	}
	if (look->last_epoch < cursor[1] ||
	    (look->last_epoch == cursor[1] && look->last_n < cursor[2])) {
		t->behind++;
	}
	t->waiting += look->waiting;
	t->length += look->length;
	if (look->first_at_ms != 0 && look->head.now_ms - look->first_at_ms > t->oldest_ms) {
		t->oldest_ms = look->head.now_ms - look->first_at_ms;
		t->oldest_partition = partition;
	}
	if (look->due_at_ms != 0 && look->head.now_ms - look->due_at_ms > t->due_late_ms) {
		t->due_late_ms = look->head.now_ms - look->due_at_ms;
	}
}

static void note_partitions(struct cg_doctor *doctor, const struct tally *t)
{
	cg_doctor_note(doctor, "deployment", t->strange > 0 ? CG_DOCTOR_ERROR : CG_DOCTOR_OK,
	    "this store belongs to another ledger, or the reverse: correct --redis-url or "
	    "--database-url; two stores on one ledger would duel",
	    "deployment %s of %u partitions, %u of another", doctor->deployment,
	    (unsigned)doctor->partition_count, (unsigned)t->strange);
	cg_doctor_note(doctor, "partitions",
	    t->unsettled > 0 || t->behind > 0 ? CG_DOCTOR_ERROR
	        : t->unconfirmed > 0          ? CG_DOCTOR_WARNING
	                                      : CG_DOCTOR_OK,
	    "a running sidecar takes them into use within seconds; see what it logs",
	    "%u are being recovered, %u behind the ledger, %u not confirmed since the store "
	    "restarted, %u not in use yet",
	    (unsigned)t->unsettled, (unsigned)t->behind, (unsigned)t->unconfirmed,
	    (unsigned)t->unused);
	cg_doctor_note(doctor, "flush",
	    t->oldest_ms > LAG_ERROR_MS      ? CG_DOCTOR_ERROR
	        : t->oldest_ms > LAG_WARN_MS ? CG_DOCTOR_WARNING
	                                     : CG_DOCTOR_OK,
	    "entries wait in the store: see whether sidecars reach the ledger, and what they log",
	    "%" PRId64 " entries wait, the oldest for %" PRId64 " ms (partition %u); %" PRId64
	    " stand in the streams",
	    t->waiting, t->oldest_ms, (unsigned)t->oldest_partition, t->length);
	cg_doctor_note(doctor, "due-work",
	    t->due_late_ms > DUE_LATE_MS ? CG_DOCTOR_ERROR : CG_DOCTOR_OK,
	    "nobody is cut off: a sidecar must run, and reach the store",
	    "the oldest is late by %" PRId64 " ms", t->due_late_ms);
}

void cg_doctor_partitions(struct cg_doctor *doctor)
{
	json_t *answer = cg_doctor_sql(doctor, read_cursors, NULL, 0);
	struct tally tally = {0};

	if (answer == NULL || json_is_null(answer)) {
		cg_doctor_note(doctor, "deployment",
		    answer == NULL ? CG_DOCTOR_UNKNOWN : CG_DOCTOR_WARNING,
		    "start a sidecar: the first one makes it", "%s",
		    answer == NULL ? doctor->why.text : "the ledger belongs to none yet");
		json_decref(answer);
		return;
	}
	doctor->partition_count =
	    (uint32_t)json_integer_value(json_object_get(answer, "partitions"));
	(void)snprintf(doctor->deployment, sizeof doctor->deployment, "%s",
	    json_string_value(json_object_get(answer, "id")));
	doctor->cursors = json_incref(json_object_get(answer, "cursors"));
	json_decref(answer);
	for (uint32_t p = 0; p < doctor->partition_count; p++) {
		uint64_t cursor[3];
		struct look look = {.due_at_ms = 0};

		if (!cursor_of(doctor, p, cursor)) {
			tally.unused++;
		} else if (!look_at(doctor, p, cursor, &look)) {
			cg_doctor_note(doctor, "deployment", CG_DOCTOR_UNKNOWN,
			    "see store-library and store-user", "%s", doctor->why.text);
			return;
		} else {
			add_to_tally(doctor, p, cursor, &look, &tally);
		}
	}
	note_partitions(doctor, &tally);
}

/* A clock as it was read, and how much the way there and back leaves open. */
struct reading {
	bool is_there;
	int64_t ahead_ms; /* of this machine's */
	int64_t open_ms;
};

static struct reading read_store_clock(struct cg_doctor *doctor)
{
	static const char *const words[] = {"TIME"};
	int64_t from_ms = cg_time_now_ms();
	json_t *answer = cg_doctor_redis(doctor, words, CG_COUNT_OF(words));
	int64_t upto_ms = cg_time_now_ms();
	const char *seconds = json_string_value(json_array_get(answer, 0));
	const char *micros = json_string_value(json_array_get(answer, 1));
	struct reading reading = {.is_there = seconds != NULL && micros != NULL};

	if (reading.is_there) {
		int64_t at_ms =
		    strtoll(seconds, NULL, 10) * 1000 + strtoll(micros, NULL, 10) / 1000;
		reading.ahead_ms = at_ms - (from_ms + upto_ms) / 2;
		reading.open_ms = (upto_ms - from_ms) / 2 + 1;
	}
	json_decref(answer);
	return reading;
}

static struct reading read_ledger_clock(struct cg_doctor *doctor)
{
	int64_t from_ms = cg_time_now_ms();
	json_t *answer = cg_doctor_sql(doctor,
	    "select to_json(floor(extract(epoch from clock_timestamp()) * 1000)::bigint)", NULL, 0);
	int64_t upto_ms = cg_time_now_ms();
	struct reading reading = {.is_there = json_is_integer(answer)};

	if (reading.is_there) {
		reading.ahead_ms = json_integer_value(answer) - (from_ms + upto_ms) / 2;
		reading.open_ms = (upto_ms - from_ms) / 2 + 1;
	}
	json_decref(answer);
	return reading;
}

static void note_clock(
    struct cg_doctor *doctor, const char *name, bool is_there, int64_t ahead_ms, int64_t open_ms)
{
	int64_t off_ms = (ahead_ms < 0 ? -ahead_ms : ahead_ms) - open_ms;

	if (!is_there) {
		cg_doctor_note(
		    doctor, name, CG_DOCTOR_UNKNOWN, NULL, "one of the two was not answered");
		return;
	}
	cg_doctor_note(doctor, name,
	    off_ms > CLOCK_ERROR_MS      ? CG_DOCTOR_ERROR
	        : off_ms > CLOCK_WARN_MS ? CG_DOCTOR_WARNING
	                                 : CG_DOCTOR_OK,
	    "let NTP set both clocks: calls are charged by the store's, and a store that is 2 s "
	    "off "
	    "is not served",
	    "%" PRId64 " ms ahead, give or take %" PRId64, ahead_ms, open_ms);
}

void cg_doctor_clocks(struct cg_doctor *doctor)
{
	struct reading store = {.is_there = false};
	struct reading ledger = {.is_there = false};

	if (doctor->has_store) {
		store = read_store_clock(doctor);
	}
	if (doctor->has_ledger) {
		ledger = read_ledger_clock(doctor);
	}
	note_clock(doctor, "clock-store", store.is_there, store.ahead_ms, store.open_ms);
	note_clock(doctor, "clock-ledger", ledger.is_there, ledger.ahead_ms, ledger.open_ms);
	note_clock(doctor, "clock-between", store.is_there && ledger.is_there,
	    store.ahead_ms - ledger.ahead_ms, store.open_ms + ledger.open_ms);
}
