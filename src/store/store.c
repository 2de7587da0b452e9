/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include <stdlib.h>

#include "store/store_internal.h"

/* Room for this many bytes per operation in flight, within the bounds below. */
#define OUTPUT_PER_OP_BYTES ((size_t)256)
#define OUTPUT_MIN_BYTES    ((size_t)256 << 10)
#define OUTPUT_MAX_BYTES    ((size_t)4 << 20)

static const struct cg_store_pace usual_pace = {
    .watch_ms = 1000,
    .ping_after_ms = 5000,
    .stall_ms = 250,
    .hang_ms = 3000,
};

/* A turn of the loop that takes longer than this is not held against the server. */
#define OWN_TURN_MS 10

/* Keys of ended calls and credits: ledger.md, Keys. */
#define ENDED_KEEP_MS (INT64_C(48) * 3600 * 1000)
#define ENDED_MAX     500000

/* What a caller submits from the callbacks of closing is answered too; a caller that submits
 * anew because he was told CG_CLOSING never ends. */
#define CLOSING_ROUNDS_MAX 1000

void cg_store__flush(struct cg_store *s)
{
	if (!cg_conn_is_ready(&s->conn) || !cg_output_is_due(&s->output)) {
		return;
	}
	struct cg_view bytes = cg_output_take(&s->output);

	/* From here on each of them may have happened. */
	cg_ring_sent(&s->ring);
	if (cg_conn_write(&s->conn, bytes)) {
		cg_output_written(&s->output);
	}
}

static void on_turn(void *owner)
{
	struct cg_store *s = owner;

	cg_store__deliver_refused(s);
	cg_store__write_waiting(s);
	cg_store__flush(s);
}

static void look_at_breaker(struct cg_store *s, struct cg_breaker_sight *ret_sight)
{
	bool owes = !cg_ring_is_empty(&s->ring);

	*ret_sight = (struct cg_breaker_sight){
	    .now_ms = cg_loop_now_ms(s->loop),
	    .patience_ms = s->pace.stall_ms,
	    .owes = owes,
	    .oldest_at_ms = owes ? cg_ring_oldest_at_ms(&s->ring) : 0,
	    .heard_at_ms = s->progress_at_ms,
	};
	cg_breaker_look(&s->breaker, ret_sight);
}

bool cg_store__reads_first(
    struct cg_store *s, struct cg_timer *timer, uint64_t due_at_ms, bool *waits)
{
	bool is_late = cg_loop_now_ms(s->loop) > due_at_ms + OWN_TURN_MS;

	*waits = is_late && !*waits;
	if (*waits) {
		cg_timer_start(timer, 1);
	}
	return *waits;
}

/* While it is open nothing is due: then only an answer changes it. */
void cg_store__suspect(struct cg_store *s)
{
	struct cg_breaker_sight sight;

	if (s->is_suspicious || cg_ring_is_empty(&s->ring)) {
		return;
	}
	look_at_breaker(s, &sight);
	if (!s->breaker.is_open) {
		s->is_suspicious = true;
		s->suspicion_at_ms = cg_breaker_due_ms(&s->breaker, &sight);
		cg_timer_start(s->suspicion, cg_breaker_due_ms(&s->breaker, &sight) - sight.now_ms);
	}
}

static void on_suspicion(void *owner)
{
	struct cg_store *s = owner;

	if (cg_store__reads_first(s, s->suspicion, s->suspicion_at_ms, &s->suspicion_waits)) {
		return;
	}
	s->is_suspicious = false;
	cg_store__suspect(s);
}

static void on_ready(void *owner)
{
	struct cg_store *s = owner;

	cg_breaker_reset(&s->breaker);
	s->counts.connects++;
	s->progress_at_ms = cg_loop_now_ms(s->loop);
	cg_timer_start(s->watchdog, s->pace.watch_ms);
	if (s->listener.on_connected != NULL) {
		s->listener.on_connected(s->listener.owner);
	}
}

static void on_bytes(void *owner, struct cg_view bytes)
{
	struct cg_store *s = owner;

	s->progress_at_ms = cg_loop_now_ms(s->loop);
	cg_breaker_heard(&s->breaker, s->progress_at_ms);
	const char *why = cg_input_take(&s->input, bytes);
	if (why != NULL) {
		cg_conn_drop(&s->conn, why);
	} else if (s->breaker.is_open) {
		struct cg_breaker_sight sight;
		look_at_breaker(s, &sight);
	}
	cg_store__suspect(s);
}

static void on_written(void *owner)
{
	struct cg_store *s = owner;

	/* What has gathered meanwhile leaves with the hook, at this turn's end. */
	cg_output_written(&s->output);
}

/* The connection is no longer ready: state first, callbacks last. */
static void forget_connection(struct cg_store *s, bool was_ready, enum cg_status if_unsent)
{
	cg_partitions_clear(&s->partitions);
	cg_output_reset(&s->output);
	cg_input_reset(&s->input);
	cg_breaker_reset(&s->breaker);
	if (was_ready && s->listener.on_disconnected != NULL) {
		s->listener.on_disconnected(s->listener.owner);
	}
	cg_store__end_all(s, if_unsent);
	cg_store__end_waiting(s, if_unsent);
}

static void on_down(void *owner)
{
	struct cg_store *s = owner;

	cg_timer_cancel(s->watchdog);
	forget_connection(s, true, CG_UNAVAILABLE);
}

static void on_deadline(void *owner)
{
	cg_store__expire(owner);
}

static void ping(struct cg_store *s)
{
	const struct cg_view command = CG_VIEW_LITERAL("*1\r\n$4\r\nPING\r\n");
	const struct cg_slot slot = {.kind = CG_SLOT_OVER};

	/* The ring is empty, and so is the buffer. */
	cg_buffer_bytes(&s->output.gathering, command.data, command.len);
	cg_store__push(s, &slot);
	cg_hook_request(s->hook);
}

static void on_watch(void *owner)
{
	struct cg_store *s = owner;
	uint64_t silent_ms = cg_loop_now_ms(s->loop) - s->progress_at_ms;

	cg_timer_start(s->watchdog, s->pace.watch_ms);
	if (cg_ring_is_empty(&s->ring)) {
		if (silent_ms >= s->pace.ping_after_ms) {
			ping(s);
		}
	} else if (silent_ms >= s->pace.hang_ms) {
		cg_conn_drop(&s->conn, "no answer, nor anything else");
	}
}

static char *copy_text(const char *text)
{
	size_t bytes = text == NULL ? 0 : strlen(text) + 1;
	char *copy = bytes == 0 ? NULL : malloc(bytes);

	CG_ASSERT(copy != NULL || bytes == 0);
	if (copy != NULL) {
		memcpy(copy, text, bytes);
	}
	return copy;
}

static void init_conn(struct cg_store *s, const struct cg_store_config *config)
{
	const struct cg_conn_config conn = {
	    .address = s->address,
	    .connect_timeout_ms = config->connect_timeout_ms,
	    .greeting =
	        {
	            .username = s->username,
	            .password = s->password,
	            .database = config->database,
	            .allow_volatile = config->allow_volatile,
	            .asks_rewrite = config->leader == NULL,
	            .library_name = cg_wire_library_name(),
	            .library = cg_wire_library(),
	        },
	};
	const struct cg_conn_events events = {
	    .on_ready = on_ready,
	    .on_bytes = on_bytes,
	    .on_written = on_written,
	    .on_down = on_down,
	    .owner = s,
	};

	cg_conn_init(&s->conn, s->loop, &conn, &events);
}

static size_t output_bytes(uint32_t inflight_max)
{
	size_t bytes = inflight_max * OUTPUT_PER_OP_BYTES;

	if (bytes < OUTPUT_MIN_BYTES) {
		return OUTPUT_MIN_BYTES;
	}
	return bytes > OUTPUT_MAX_BYTES ? OUTPUT_MAX_BYTES : bytes;
}

struct cg_store *cg_store_create(struct cg_loop *loop, const struct cg_store_config *config)
{
	struct cg_store *s = calloc(1, sizeof *s);

	CG_ASSERT(s != NULL);
	s->loop = loop;
	s->leader = config->leader != NULL ? config->leader : s;
	s->pace = usual_pace;
	if (config->stall_ms > 0) {
		s->pace.stall_ms = config->stall_ms;
	}
	s->breaker.what = config->leader != NULL ? "events" : "operations";
	s->address = copy_text(config->address);
	s->username = copy_text(config->username);
	s->password = copy_text(config->password);
	s->wire = (struct cg_wire_config){
	    .partition_count = config->partition_count,
	    .outbox_max = config->outbox_max,
	    .ended_max = ENDED_MAX,
	    .ended_keep_ms = ENDED_KEEP_MS,
	};
	cg_store__init_ports(s, config->partition_count);
	init_conn(s, config);
	cg_input_init(&s->input, cg_store__on_reply, s);
	cg_output_init(&s->output, output_bytes(config->inflight_max));
	cg_ring_init(&s->ring, config->inflight_max);
	cg_store__init_queues(s, config->partition_count);
	cg_partitions_init(&s->partitions, config->partition_count);
	s->hook = cg_hook_create(loop, on_turn, s);
	s->deadlines = cg_timer_create(loop, on_deadline, s);
	s->deadlines_at_ms = CG_RING_NEVER;
	s->watchdog = cg_timer_create(loop, on_watch, s);
	s->suspicion = cg_timer_create(loop, on_suspicion, s);
	return s;
}

struct cg_store_port *cg_store_port(struct cg_store *s)
{
	return &s->port;
}

struct cg_partition_port *cg_store_partition_port(struct cg_store *s)
{
	return &s->partition_port;
}

struct cg_events_port *cg_store_events_port(struct cg_store *s)
{
	return &s->events_port;
}

void cg_store_listen(struct cg_store *s, const struct cg_partition_listener *listener)
{
	s->listener = *listener;
}

void cg_store_start(struct cg_store *s)
{
	cg_conn_start(&s->conn);
}

bool cg_store_is_connected(const struct cg_store *s)
{
	return cg_conn_is_ready(&s->conn);
}

bool cg_store_is_answering(const struct cg_store *s)
{
	return cg_conn_is_ready(&s->conn) && !s->breaker.is_open;
}

void cg_store_close(struct cg_store *s)
{
	bool was_ready = cg_conn_is_ready(&s->conn);
	unsigned rounds = 0;

	s->is_closing = true;
	cg_conn_close(&s->conn);
	forget_connection(s, was_ready, CG_CLOSING);
	while (cg_store__has_refused(s)) {
		CG_ASSERT(rounds++ < CLOSING_ROUNDS_MAX);
		cg_store__deliver_refused(s);
	}
	cg_timer_close(s->watchdog);
	cg_timer_close(s->suspicion);
	cg_timer_close(s->deadlines);
	cg_hook_close(s->hook);
	s->hook = NULL;
}

/* The compiler may leave out writes to memory that is about to be freed. */
static void forget_text(char *text)
{
	volatile char *at = text;

	while (at != NULL && *at != '\0') {
		*at++ = '\0';
	}
	free(text);
}

void cg_store_destroy(struct cg_store *s)
{
	cg_conn_deinit(&s->conn);
	cg_input_deinit(&s->input);
	cg_output_deinit(&s->output);
	cg_ring_deinit(&s->ring);
	cg_store__deinit_queues(s);
	cg_partitions_deinit(&s->partitions);
	forget_text(s->password);
	free(s->username);
	free(s->address);
	free(s);
}
