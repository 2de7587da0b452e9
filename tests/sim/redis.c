/* SPDX-License-Identifier: Apache-2.0 */
#include "redis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "callers.h"
#include "postgres.h"
#include "scripting.h"
#include "store/wire.h"
#include "store_records.h"

#define KEPT           128 /* states that a tail can be cut back to */
#define SNAPSHOTS      8
#define SNAPSHOT_EVERY 60 /* writes */
#define KEYS_MAX       256
#define BEGAN_AT_MS    INT64_C(1700000000000)

struct node {
	char run_id[41];
	char replid[41];
	struct scripting *scripting;
	struct mem mem;
	uint64_t version; /* of its memory */
};

struct state {
	uint64_t version;
	struct mem mem;
};

struct entry_note {
	uint32_t partition;
	uint64_t epoch, n, version;
};

static struct {
	struct node master;
	struct node former;   /* scripting NULL: there is none */
	bool former_has_more; /* writes that its successor never got: it must resynchronize whole */
	struct scripting_server server;
	struct state kept[KEPT]; /* by version */
	struct state snapshots[SNAPSHOTS];
	uint64_t last_version; /* given */
	bool *lost;            /* by version */
	size_t lost_capacity;
	struct entry_note *notes;
	size_t note_count, note_capacity;
	uint64_t seen[2 * SIM_PARTITIONS][2]; /* last ids of the streams, as looked at */
	/* By partition; until it is recovered: a master leads that missed writes, and was written to. */
	bool is_left_behind[SIM_PARTITIONS];
	bool is_fork[SIM_PARTITIONS];
	struct {
		uint32_t partition;
		uint64_t began_at_ms, until_ms;
	} move;
	uint64_t up_at_ms;
	uint64_t lost_at_ms;
	int64_t clock_offset_ms;
	struct cg_view library_text;
} redis;

static int64_t now_us(void)
{
	return redis_now_ms() * 1000 + 137;
}

int64_t redis_now_ms(void)
{
	return BEGAN_AT_MS + (int64_t)sim.now_ms + redis.clock_offset_ms;
}

static void make_id(char id[41])
{
	for (int i = 0; i < 40; i++) {
		id[i] = "0123456789abcdef"[sim_below(16)];
	}
	id[40] = '\0';
}

/* A library that was loaded just now: its locals are as at the beginning. */
static void begin_scripting(struct node *node)
{
	if (node->scripting != NULL) {
		scripting_destroy(node->scripting);
	}
	node->scripting = scripting_create(&redis.server, redis.library_text);
}

static void show_master(void)
{
	redis.server.mem = &redis.master.mem;
	memcpy(redis.server.run_id, redis.master.run_id, sizeof redis.server.run_id);
	memcpy(redis.server.replid, redis.master.replid, sizeof redis.server.replid);
}

static void keep_state(void)
{
	struct state *kept = &redis.kept[redis.master.version % KEPT];

	mem_clear(&kept->mem);
	mem_copy(&kept->mem, &redis.master.mem);
	kept->version = redis.master.version;
	if (redis.master.version % SNAPSHOT_EVERY == 0) {
		struct state *old =
		    &redis.snapshots[redis.master.version / SNAPSHOT_EVERY % SNAPSHOTS];
		mem_clear(&old->mem);
		mem_copy(&old->mem, &redis.master.mem);
		old->version = redis.master.version;
	}
}

static void advance_version(void)
{
	redis.master.version = ++redis.last_version;
	if (redis.last_version >= redis.lost_capacity) {
		size_t capacity = redis.lost_capacity == 0 ? 1024 : 2 * redis.lost_capacity;
		redis.lost = realloc(redis.lost, capacity);
		CG_ASSERT(redis.lost != NULL);
		memset(redis.lost + redis.lost_capacity, 0, capacity - redis.lost_capacity);
		redis.lost_capacity = capacity;
	}
	keep_state();
}

void redis_move_keys(uint32_t partition, uint64_t for_ms)
{
	sim_trace("store: keys of p%" PRIu32 " move for %" PRIu64 " ms", partition, for_ms);
	redis.move.partition = partition;
	redis.move.began_at_ms = sim.now_ms;
	redis.move.until_ms = sim.now_ms + for_ms;
}

/* Whether the key has left for the other node.  Which one goes when is in its name. */
static bool is_away(struct cg_view key)
{
	uint64_t since_ms = sim.now_ms - redis.move.began_at_ms;
	uint64_t for_ms = redis.move.until_ms - redis.move.began_at_ms;
	char begins[24];
	unsigned sum = 0;

	if (sim.now_ms >= redis.move.until_ms) {
		return false;
	}
	int len = snprintf(begins, sizeof begins, "cg:{p%" PRIu32 "}:", redis.move.partition);
	if (key.len < (size_t)len || memcmp(key.data, begins, (size_t)len) != 0) {
		return false;
	}
	for (size_t i = 0; i < key.len; i++) {
		sum = sum * 31 + (uint8_t)key.data[i];
	}
	return sum % 100 < since_ms * 100 / for_ms;
}

void redis_begin(void)
{
	redis.server.is_away = is_away;
	redis.library_text = sim_rules_library(cg_wire_library());
	redis.server.now_us = now_us;
	make_id(redis.master.run_id);
	make_id(redis.master.replid);
	begin_scripting(&redis.master);
	show_master();
	advance_version();
}

static void end_node(struct node *node)
{
	if (node->scripting != NULL) {
		scripting_destroy(node->scripting);
		node->scripting = NULL;
	}
	mem_clear(&node->mem);
}

void redis_end(void)
{
	end_node(&redis.master);
	end_node(&redis.former);
	for (size_t i = 0; i < KEPT; i++) {
		mem_clear(&redis.kept[i].mem);
	}
	for (size_t i = 0; i < SNAPSHOTS; i++) {
		mem_clear(&redis.snapshots[i].mem);
	}
	free(redis.lost);
	free(redis.notes);
	memset(&redis, 0, sizeof redis);
}

bool redis_is_up(void)
{
	return sim.now_ms >= redis.up_at_ms;
}

const struct mem *redis_memory(void)
{
	return &redis.master.mem;
}

uint64_t redis_version(void)
{
	return redis.master.version;
}

uint64_t redis_lost_at_ms(void)
{
	return redis.lost_at_ms;
}

/* Looking at what the last call wrote. */

static const struct mem_object *stream_of(uint32_t partition, const char *name)
{
	char key[48];

	(void)snprintf(key, sizeof key, "cg:{p%" PRIu32 "}:%s", partition, name);
	return mem_find(&redis.master.mem, cg_view_of(key));
}

static void note_entry(uint32_t partition, const struct mem_item *item)
{
	if (redis.note_count == redis.note_capacity) {
		redis.note_capacity = redis.note_capacity == 0 ? 256 : 2 * redis.note_capacity;
		redis.notes = realloc(redis.notes, redis.note_capacity * sizeof *redis.notes);
		CG_ASSERT(redis.notes != NULL);
	}
	redis.notes[redis.note_count++] = (struct entry_note){.partition = partition,
	    .epoch = item->epoch,
	    .n = item->n,
	    .version = redis.last_version};
	if (redis.is_left_behind[partition]) {
		redis.is_fork[partition] = true;
	}
}

/* As announce() in callgate/10_entries.lua packs it. */
static void tell_callers(const struct mem_item *item)
{
	const char *blob = item->value->data;

	if (item->value->len < 71) {
		return;
	}
	uint32_t company = sim_company_of(blob + 2);
	struct cg_view id = {blob + 70, (uint8_t)blob[69]};
	callers_on_event(blob[1], company, id);
}

static void look_at_stream(uint32_t partition, bool is_ledger)
{
	uint64_t *seen = redis.seen[2 * partition + (is_ledger ? 0 : 1)];
	const struct mem_object *stream = stream_of(partition, is_ledger ? "ledger" : "events");
	size_t first = stream == NULL ? 0 : stream->count;

	while (first > 0 &&
	    (stream->items[first - 1].epoch > seen[0] ||
	        (stream->items[first - 1].epoch == seen[0] &&
	            stream->items[first - 1].n > seen[1]))) {
		first--;
	}
	for (size_t i = first; stream != NULL && i < stream->count; i++) {
		seen[0] = stream->items[i].epoch;
		seen[1] = stream->items[i].n;
		if (is_ledger) {
			note_entry(partition, &stream->items[i]);
		} else {
			tell_callers(&stream->items[i]);
		}
	}
}

static void look_at_writes(void)
{
	for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
		look_at_stream(p, true);
		look_at_stream(p, false);
	}
}

/* After going back: what comes next is new although its id may not be the greatest ever. */
static void forget_seen(void)
{
	for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
		for (uint32_t i = 0; i < 2; i++) {
			const struct mem_object *s = stream_of(p, i == 0 ? "ledger" : "events");
			bool has = s != NULL && s->count > 0;
			uint64_t *seen = redis.seen[2 * p + i];
			seen[0] = has   ? s->items[s->count - 1].epoch
			    : s != NULL ? s->last_epoch
			                : 0;
			seen[1] = has ? s->items[s->count - 1].n : s != NULL ? s->last_n : 0;
		}
	}
}

/* The latest note: after a loss the same id can be given again. */
bool redis_entry_was_lost(uint32_t partition, uint64_t epoch, uint64_t n)
{
	for (size_t i = redis.note_count; i > 0; i--) {
		const struct entry_note *note = &redis.notes[i - 1];
		if (note->partition == partition && note->epoch == epoch && note->n == n) {
			return redis.lost[note->version];
		}
	}
	return true;
}

bool redis_is_fork(uint32_t partition)
{
	return redis.is_fork[partition];
}

/* The fence has reached who leads now; where it reached another one, this one is what it was. */
void redis_was_recovered(uint32_t partition, uint64_t epoch)
{
	struct store_head head;

	if (store_head_read(partition, &head) && head.epoch == epoch) {
		redis.is_fork[partition] = false;
		redis.is_left_behind[partition] = false;
	}
}

/* Commands. */

static const char *take_number(const char *at, const char *end, char mark, size_t *ret_number)
{
	if (at >= end || *at != mark) {
		return NULL;
	}
	*ret_number = 0;
	for (at++; at < end && *at != '\r'; at++) {
		*ret_number = *ret_number * 10 + (size_t)(*at - '0');
	}
	return at + 2 <= end ? at + 2 : NULL;
}

static const char *take_bulk(const char *at, const char *end, struct cg_view *ret_text)
{
	size_t len = 0;

	at = take_number(at, end, '$', &len);
	if (at == NULL || (size_t)(end - at) < len + 2) {
		return NULL;
	}
	*ret_text = (struct cg_view){at, len};
	return at + len + 2;
}

size_t redis_command_bytes(struct cg_view bytes)
{
	const char *end = bytes.data + bytes.len;
	size_t count = 0;
	const char *at = take_number(bytes.data, end, '*', &count);
	struct cg_view text;

	for (size_t i = 0; at != NULL && i < count; i++) {
		at = take_bulk(at, end, &text);
	}
	return at == NULL ? 0 : (size_t)(at - bytes.data);
}

static bool is_called(struct cg_view name, const char *what)
{
	size_t len = strlen(what);

	return name.len > len && memcmp(name.data + name.len - len, what, len) == 0;
}

/* Of many operations one that failed says so in its part of the reply. */
static void check_each(struct cg_view name, struct cg_view reply)
{
	struct cg_cursor parts;
	struct cg_view content;

	CG_ASSERT(take_bulk(reply.data, reply.data + reply.len, &content) != NULL);
	cg_cursor_init(&parts, content);
	while (parts.left > 0 && !parts.overrun) {
		struct cg_view part = cg_cursor_text(&parts, 2);
		if (part.len > 0 && (uint8_t)part.data[0] == 253) {
			sim_violated("one of %.*s failed: %.*s", (int)name.len, name.data,
			    (int)part.len - 1, part.data + 1);
		}
	}
}

static struct cg_view call_function(const struct cg_view *words, size_t count)
{
	uint64_t writes = redis.master.mem.writes;
	int64_t key_count = 0;

	CG_ASSERT(cg_view_parse_int(words[2], &key_count) && key_count >= 0 &&
	    (size_t)key_count + 3 < count);
	/* With some of them here and some there a node runs nothing, whichever it is. */
	for (size_t i = 0; i < (size_t)key_count; i++) {
		if (is_away(words[3 + i]) && (i == 0 || sim_rule_holds(SIM_RULE_DECLARED))) {
			return cg_view_of(
			    "-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
		}
	}
	size_t argument_at = 3 + (size_t)key_count;
	struct cg_view reply = scripting_call(redis.master.scripting, words[1], words + 3,
	    (size_t)key_count, words + argument_at, count - argument_at);

	if (scripting_failed(redis.master.scripting)) {
		sim_violated("the function %.*s failed: %.*s", (int)words[1].len, words[1].data,
		    (int)reply.len - 2, reply.data);
	}
	if (is_called(words[1], "_many")) {
		check_each(words[1], reply);
	}
	if (is_called(words[1], "_drop") || is_called(words[1], "_repair")) {
		postgres.not_before_ms =
		    sim.now_ms; /* what the store has forgotten is in the ledger alone */
	}
	if (redis.master.mem.writes != writes) {
		advance_version();
		look_at_writes();
	}
	return reply;
}

struct cg_view redis_execute(struct cg_view command)
{
	struct cg_view words[KEYS_MAX];
	const char *end = command.data + command.len;
	size_t count = 0;
	const char *at = take_number(command.data, end, '*', &count);

	CG_ASSERT(at != NULL && count >= 1 && count <= KEYS_MAX);
	for (size_t i = 0; i < count; i++) {
		at = take_bulk(at, end, &words[i]);
		CG_ASSERT(at != NULL);
	}
	if (cg_view_equal(words[0], cg_view_of("PING"))) {
		return cg_view_of("+PONG\r\n");
	}
	CG_ASSERT(count >= 4);
	return call_function(words, count);
}

/* Losses. */

static void mark_lost(uint64_t after_version)
{
	for (uint64_t v = after_version + 1; v <= redis.last_version; v++) {
		redis.lost[v] = true;
	}
	redis.lost_at_ms = sim.now_ms;
}

static const struct state *state_before(uint64_t lost)
{
	const struct state *found = NULL;
	uint64_t wanted = redis.master.version > lost ? redis.master.version - lost : 1;

	/* The nearest that is kept, and of this branch: versions below the wanted one may be missing. */
	for (size_t i = 0; i < KEPT; i++) {
		const struct state *state = &redis.kept[i];
		if (state->version != 0 && state->version <= wanted &&
		    !redis.lost[state->version] &&
		    (found == NULL || state->version > found->version)) {
			found = state;
		}
	}
	return found;
}

static void go_back_to(const struct state *state)
{
	mark_lost(state->version);
	mem_clear(&redis.master.mem);
	mem_copy(&redis.master.mem, &state->mem);
	redis.master.version = state->version;
	forget_seen();
}

static void new_process(uint64_t down_ms)
{
	make_id(redis.master.run_id);
	make_id(redis.master.replid);
	begin_scripting(&redis.master);
	show_master();
	redis.former_has_more = true; /* as far as its replica can tell: another history */
	redis.up_at_ms = sim.now_ms + down_ms;
}

void redis_restart(uint64_t lost, uint64_t down_ms)
{
	const struct state *state = lost == 0 ? NULL : state_before(lost);

	sim_trace("store: restarts, %" PRIu64 " writes lost, down for %" PRIu64, lost, down_ms);
	if (state != NULL) {
		go_back_to(state);
	}
	new_process(down_ms);
}

void redis_restore_snapshot(uint64_t down_ms)
{
	const struct state *state = &redis.snapshots[sim_below(SNAPSHOTS)];

	if (state->version != 0) {
		sim_trace("store: restored from version %" PRIu64 " of %" PRIu64, state->version,
		    redis.last_version);
		go_back_to(state);
		new_process(down_ms);
	}
}

static void set_aside_master(void)
{
	end_node(&redis.former);
	redis.former = redis.master;
	memset(&redis.master, 0, sizeof redis.master);
}

void redis_promote(uint64_t lost)
{
	const struct state *state = state_before(lost);

	if (state == NULL) {
		return;
	}
	sim_trace("store: a replica takes over, %" PRIu64 " writes lost", lost);
	uint64_t version = state->version;
	bool loses = version != redis.master.version;
	set_aside_master();
	make_id(redis.master.run_id);
	make_id(redis.master.replid);
	mem_copy(&redis.master.mem, &state->mem);
	redis.master.version = version;
	begin_scripting(&redis.master);
	redis.former_has_more = loses;
	if (loses) {
		mark_lost(version);
	}
	forget_seen();
	show_master();
}

static void return_with(struct mem *mem, uint64_t version)
{
	struct node back = redis.former;

	memset(&redis.former, 0, sizeof redis.former);
	if (mem != NULL) {
		mem_clear(&back.mem);
		mem_copy(&back.mem, mem);
		back.version = version;
		make_id(back.replid);
	}
	end_node(&redis.master);
	redis.master = back;
	show_master();
}

bool redis_promote_back(enum redis_return how)
{
	if (redis.former.scripting == NULL) {
		return false;
	}
	if (how == REDIS_RESYNCED_IN_PART && redis.former_has_more) {
		how = REDIS_RESYNCED;
	}
	sim_trace("store: the former master is back, %s",
	    how == REDIS_LEFT_BEHIND    ? "left behind"
	        : how == REDIS_RESYNCED ? "resynchronized"
	                                : "resynchronized in part");
	if (how == REDIS_LEFT_BEHIND) {
		for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
			redis.is_fork[p] = redis.lost[redis.former.version];
			redis.is_left_behind[p] = redis.former.version < redis.last_version;
		}
		/* What was written elsewhere since is lost; what it had alone is there again. */
		for (uint64_t v = redis.former.version + 1; v <= redis.last_version; v++) {
			redis.lost[v] = true;
		}
		redis.lost_at_ms = sim.now_ms;
		return_with(NULL, 0);
		forget_seen();
		return true;
	}
	struct mem now = {0};
	mem_copy(&now, &redis.master.mem);
	return_with(&now, redis.master.version);
	mem_clear(&now);
	if (how == REDIS_RESYNCED) {
		begin_scripting(&redis.master);
	}
	return true;
}

void redis_flushall(void)
{
	sim_trace("store: FLUSHALL");
	mark_lost(0);
	mem_clear(&redis.master.mem);
	advance_version();
	memset(redis.seen, 0, sizeof redis.seen);
}

void redis_reload_library(void)
{
	sim_trace("store: library loaded anew");
	begin_scripting(&redis.master);
}

void redis_jump_clock(int64_t ms)
{
	sim_trace("store: clock jumps by %" PRId64 " ms", ms);
	redis.clock_offset_ms += ms;
}
