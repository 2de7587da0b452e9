/* SPDX-License-Identifier: Apache-2.0 */
#include "store/kinds.h"
#include "store/reply.h"
#include "store/store_internal.h"

/* Between two looks at the deadlines, so that many different ones cost few looks. */
#define LOOK_MS 2

/* Errors of operations are logged this often. */
#define ERRORS_INTERVAL_MS 1000

static void finish(const struct cg_slot *slot, enum cg_status status)
{
	if (slot->kind != CG_SLOT_OVER) {
		cg_kinds_set_status(slot, status);
		cg_kinds_done(slot);
	}
}

static void note_refusal(struct cg_store *s, const struct cg_slot *slot)
{
	const struct cg_partition_listener *listener = &s->leader->listener;

	if (cg_partitions_refuse(&s->leader->partitions, slot->partition, slot->epoch) &&
	    listener->on_refused != NULL) {
		listener->on_refused(listener->owner, slot->partition);
	}
}

/* TOO_LATE names the clock itself; any other answer perhaps a wallet's last instant. */
static void note_time(struct cg_store *s, const struct cg_slot *slot)
{
	const struct cg_store_op *op = slot->op;

	if (op->as_of_ms > 0) {
		cg_conn_heard_time(
		    &s->conn, op->as_of_ms, slot->pushed_at_ms, op->outcome == CG_STORE_TOO_LATE);
	}
}

/* The answer that a function gave. */
static void finish_with_reply(
    struct cg_store *s, const struct cg_slot *slot, struct cg_view content)
{
	enum cg_status status = cg_kinds_decode(slot, content);

	if (status == CG_RECOVERING) {
		note_refusal(s, slot);
	} else if (status == CG_OK && slot->kind == CG_SLOT_STORE) {
		note_time(s, slot);
	}
	cg_kinds_done(slot);
}

/* Whatever is wrong may be wrong for every operation. */
static void log_error(struct cg_store *s, struct cg_view line)
{
	char text[160];
	struct cg_buffer copy;
	uint64_t held_back = 0;

	if (cg_log_limit_admits(
	        &s->error_log, cg_loop_now_ms(s->loop), ERRORS_INTERVAL_MS, &held_back) == 0) {
		return;
	}
	cg_buffer_init(&copy, text, sizeof text - 1);
	cg_buffer_bytes(&copy, line.data, line.len < 150 ? line.len : 150);
	text[copy.len] = '\0';
	cg_log(CG_LOG_ERROR, "store answered an error", "error", text, "held_back",
	    cg_log_int((int64_t)held_back), NULL);
}

/* The next slot that the same reply is for. */
static bool take_follower(struct cg_store *s, uint32_t *left, struct cg_slot *ret_slot)
{
	bool was_sent = false;

	return (*left)-- > 0 && cg_ring_pop(&s->ring, ret_slot, &was_sent);
}

/* The function did not run, or not to its end, for none of those that it was called for. */
static const char *finish_with_error(
    struct cg_store *s, const struct cg_slot *first, struct cg_view line)
{
	struct cg_reply_error error = cg_reply_classify(line);
	uint32_t left = first->followers;
	struct cg_slot slot = *first;

	if (error.status == CG_INTERNAL && slot.kind != CG_SLOT_OVER) {
		log_error(s, line);
	}
	do {
		finish(&slot, error.status);
	} while (take_follower(s, &left, &slot));
	return error.ends_connection ? "the server is not what it was" : NULL;
}

/* Each has a reply of its own in the one that came. */
static void finish_many(struct cg_store *s, const struct cg_slot *first, struct cg_view content)
{
	uint32_t left = first->followers;
	struct cg_slot slot = *first;
	struct cg_cursor replies;

	cg_cursor_init(&replies, content);
	do {
		struct cg_view reply;
		bool good = cg_wire_take_one(&replies, &reply);
		if (slot.kind == CG_SLOT_OVER) {
			continue;
		}
		if (good) {
			finish_with_reply(s, &slot, reply);
		} else {
			log_error(s, reply);
			finish(&slot, CG_INTERNAL);
		}
	} while (take_follower(s, &left, &slot));
}

const char *cg_store__on_reply(void *owner, const struct cg_resp *reply)
{
	struct cg_store *s = owner;
	struct cg_slot slot;
	bool was_sent = false;

	if (s->ring.first == s->ring.unsent || !cg_ring_pop(&s->ring, &slot, &was_sent)) {
		return "it answers what it was not asked";
	}
	if (reply->kind == CG_RESP_ERROR) {
		return finish_with_error(s, &slot, reply->content);
	}
	if (slot.followers > 0 && reply->kind == CG_RESP_BULK) {
		finish_many(s, &slot, reply->content);
		return NULL;
	}
	if (slot.kind == CG_SLOT_OVER && slot.followers == 0) {
		return NULL;
	}
	if (reply->kind != CG_RESP_BULK) {
		finish(&slot, CG_INTERNAL);
		return "it answers a function with a status";
	}
	finish_with_reply(s, &slot, reply->content);
	return NULL;
}

void cg_store__expire(struct cg_store *s)
{
	uint64_t now_ms = cg_loop_now_ms(s->loop);
	uint64_t cursor = 0;
	struct cg_slot slot;

	if (cg_store__reads_first(s, s->deadlines, s->deadlines_at_ms, &s->deadlines_wait)) {
		return;
	}
	s->deadlines_at_ms = CG_RING_NEVER;
	if (s->ring.earliest_ms <= now_ms) {
		while (cg_ring_next_overdue(&s->ring, now_ms, &cursor, &slot)) {
			s->counts.timeouts++;
			finish(&slot, CG_TIMEOUT);
		}
	}
	uint64_t next_ms = s->ring.earliest_ms;
	if (next_ms != CG_RING_NEVER) {
		next_ms = next_ms < now_ms + LOOK_MS ? now_ms + LOOK_MS : next_ms;
		s->deadlines_at_ms = next_ms;
		cg_timer_start(s->deadlines, next_ms - now_ms);
	}
}

void cg_store__end_all(struct cg_store *s, enum cg_status if_unsent)
{
	struct cg_slot slot;
	bool was_sent = false;

	while (cg_ring_pop(&s->ring, &slot, &was_sent)) {
		finish(&slot, was_sent ? CG_LOST : if_unsent);
	}
}
