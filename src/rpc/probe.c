/*
 *   RESTING --interval--> LOOKING --answered, closed by the peer--> RESTING
 *      ^                     |------no answer, refused: a failure-----^ |
 *      '--not able to look---'                                          '--too many--> DEAD
 *
 * One timer beats all the time.  A beat that comes much too late means that the process was
 * stopped, or the machine slept: then nobody's silence meanwhile says anything, and it begins
 * anew.  The beat looks for that before it looks at the time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "rpc/probe.h"

#include <stdlib.h>
#include <unistd.h>

#include "loop/stream.h"

#define BEAT_MAX_MS   250
#define STOPPED_MS    1000 /* later than this by so much: we were not running */
#define ADDRESS_BYTES 512

#define FRAME_HEAD_BYTES 9u
#define FRAME_DATA       0u
#define FRAME_HEADERS    1u

struct cg_rpc_probe {
	struct cg_loop *loop;
	struct cg_rpc_probe_config config;
	char address[ADDRESS_BYTES];
	struct cg_timer *beat;
	uint64_t beat_ms;
	uint64_t beaten_at_ms;
	uint64_t next_at_ms;      /* RESTING */
	struct cg_stream *stream; /* LOOKING; else NULL */
	bool is_connected;
	uint64_t until_ms;
	uint64_t accepted_before; /* when the last look ended */
	uint32_t failures_in_row;
	bool is_dead;
	uint64_t looks;
	uint64_t failures;
	/* What is read of the frames that come. */
	unsigned char head[FRAME_HEAD_BYTES];
	size_t head_len;
	size_t skip;
	void (*on_dead)(void *owner);
	void *owner;
};

/* The client's preface, no settings, POST /grpc.health.v1.Health/Check, an empty message. */
static const char request[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                              "\0\0\0\x04\0\0\0\0\0"
                              "\0\0\x4B\x01\x04\0\0\0\x01"
                              "\x83\x86"
                              "\x04\x1C/grpc.health.v1.Health/Check"
                              "\x01\x09localhost"
                              "\x0F\x10\x10"
                              "application/grpc"
                              "\0\x02te\x08trailers"
                              "\0\0\x05\0\x01\0\0\0\x01"
                              "\0\0\0\0\0";

static void look_away(struct cg_rpc_probe *p)
{
	if (p->stream != NULL) {
		cg_stream_close(p->stream);
		p->stream = NULL;
	}
}

static void rest(struct cg_rpc_probe *p)
{
	look_away(p);
	p->next_at_ms = cg_loop_now_ms(p->loop) + p->config.interval_ms;
	p->accepted_before = *p->config.accepted;
}

static void on_alive(struct cg_rpc_probe *p)
{
	p->failures_in_row = 0;
	rest(p);
}

/* Where even a copy of a descriptor cannot be had, it is we who cannot look. */
static bool is_able_to_look(void)
{
	int fd = dup(STDERR_FILENO);

	if (fd < 0) {
		return false;
	}
	(void)close(fd);
	return true;
}

static void on_failed(struct cg_rpc_probe *p, const char *why)
{
	/*
	 * A crowd before the door is no proof against the doorkeeper who lets them in.  Where
	 * no more can wait before it we are refused at once: it counts since the last look.
	 */
	bool is_progress = *p->config.accepted != p->accepted_before && !p->is_connected;
	bool says_something = !is_progress && is_able_to_look();

	rest(p);
	if (!says_something) {
		return;
	}
	p->failures++;
	p->failures_in_row++;
	cg_log(CG_LOG_WARN, "our own listener does not answer", "address", p->address, "why", why,
	    "times", cg_log_int(p->failures_in_row), NULL);
	if (p->failures_in_row >= p->config.failures_max) {
		p->is_dead = true;
		cg_timer_cancel(p->beat);
		p->on_dead(p->owner);
	}
}

static void on_open(void *owner)
{
	struct cg_rpc_probe *p = owner;

	p->is_connected = true;
	/* What does not fit into an empty socket, a hundred bytes, is not answered either. */
	(void)cg_stream_write(p->stream, (struct cg_view){request, sizeof request - 1}, NULL);
}

/* A frame of our one stream is the answer; whether it is a good one is others' concern. */
static bool has_answered(struct cg_rpc_probe *p, struct cg_view bytes)
{
	while (bytes.len > 0) {
		if (p->skip > 0) {
			size_t skipped = p->skip < bytes.len ? p->skip : bytes.len;
			p->skip -= skipped;
			bytes.data += skipped;
			bytes.len -= skipped;
			continue;
		}
		p->head[p->head_len++] = (unsigned char)*bytes.data;
		bytes.data++;
		bytes.len--;
		if (p->head_len == FRAME_HEAD_BYTES) {
			p->head_len = 0;
			p->skip = (size_t)p->head[0] << 16 | (size_t)p->head[1] << 8 | p->head[2];
			if (p->head[8] == 1 &&
			    (p->head[3] == FRAME_HEADERS || p->head[3] == FRAME_DATA)) {
				return true;
			}
		}
	}
	return false;
}

static void on_bytes(void *owner, struct cg_view bytes)
{
	struct cg_rpc_probe *p = owner;

	if (p->config.is_encrypted || has_answered(p, bytes)) {
		on_alive(p);
	}
}

static void on_end(void *owner, const char *why)
{
	struct cg_rpc_probe *p = owner;

	if (p->is_connected) {
		on_alive(p);
	} else {
		on_failed(p, why);
	}
}

static void look(struct cg_rpc_probe *p, uint64_t now_ms)
{
	const struct cg_stream_events events = {
	    .on_open = on_open, .on_bytes = on_bytes, .on_end = on_end, .owner = p};

	p->is_connected = false;
	p->head_len = 0;
	p->skip = 0;
	p->until_ms = now_ms + p->config.timeout_ms;
	p->looks++;
	/* The beat's limit comes first. */
	p->stream = cg_stream_connect(
	    p->loop, p->address, (uint64_t)p->config.timeout_ms * 2 + BEAT_MAX_MS, &events);
}

static void on_beat(void *owner)
{
	struct cg_rpc_probe *p = owner;
	uint64_t now_ms = cg_loop_now_ms(p->loop);
	bool was_stopped = now_ms - p->beaten_at_ms > p->beat_ms + STOPPED_MS;

	p->beaten_at_ms = now_ms;
	if (was_stopped) {
		p->failures_in_row = 0;
		rest(p);
	} else if (p->stream != NULL && now_ms >= p->until_ms) {
		on_failed(p, "no answer in time");
	} else if (p->stream == NULL && now_ms >= p->next_at_ms) {
		look(p, now_ms);
	}
	if (!p->is_dead) {
		cg_timer_start(p->beat, p->beat_ms);
	}
}

struct cg_rpc_probe *cg_rpc_probe_open(struct cg_loop *loop,
    const struct cg_rpc_probe_config *config, void (*on_dead)(void *owner), void *owner)
{
	struct cg_rpc_probe *p = calloc(1, sizeof *p);
	size_t len = strlen(config->address);

	CG_ASSERT(p != NULL && len < sizeof p->address && config->failures_max > 0);
	p->loop = loop;
	p->config = *config;
	memcpy(p->address, config->address, len + 1);
	p->config.address = p->address;
	p->on_dead = on_dead;
	p->owner = owner;
	p->beat_ms = config->timeout_ms / 4 < BEAT_MAX_MS ? config->timeout_ms / 4 : BEAT_MAX_MS;
	p->beat_ms = p->beat_ms == 0 ? 1 : p->beat_ms;
	p->beaten_at_ms = cg_loop_now_ms(loop);
	p->beat = cg_timer_create(loop, on_beat, p);
	rest(p);
	cg_timer_start(p->beat, p->beat_ms);
	return p;
}

const uint64_t *cg_rpc_probe_failures(const struct cg_rpc_probe *probe)
{
	return &probe->failures;
}

const uint64_t *cg_rpc_probe_looks(const struct cg_rpc_probe *probe)
{
	return &probe->looks;
}

void cg_rpc_probe_stop(struct cg_rpc_probe *probe)
{
	look_away(probe);
	cg_timer_cancel(probe->beat);
}

void cg_rpc_probe_close(struct cg_rpc_probe *probe)
{
	look_away(probe);
	cg_timer_close(probe->beat);
	free(probe);
}
