/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/stream.h"

#include <stdlib.h>

#include "loop/address.h"
#include "loop/loop_internal.h"

#define RECEIVE_BYTES 65536

/*
 *  CONNECTING --connected--> OPEN --EOF, error--> ENDED
 *      |  `--refused, timeout, no such host--------^
 *      `--close--> CLOSED <--close-- OPEN, ENDED
 *
 * CONNECTING waits for the resolver or for the kernel, and for the timer; OPEN for bytes,
 * and for room to write.  ENDED waits for the owner to close.
 */
enum state {
	CONNECTING,
	OPEN,
	ENDED,
	CLOSED
};

struct cg_stream {
	struct cg_loop_item item;
	enum state state;
	struct cg_stream_events events;
	struct cg_address address;
	struct cg_loop *loop;

	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_pipe_t pipe;
		uv_tcp_t tcp;
	} peer;
	uv_timer_t timer; /* the connect timeout; or an end that must not come too early */
	uv_connect_t connect;
	uv_getaddrinfo_t resolve;
	uv_write_t write;

	const char *failure; /* what the timer is to say */
	void (*on_written)(void *owner, bool ok);
	bool is_writing;
	bool is_resolving;
	unsigned users; /* handles and requests that still point here */
	char received[RECEIVE_BYTES];
};

static struct cg_stream *stream_of(void *item)
{
	return CG_CONTAINER_OF(item, struct cg_stream, item);
}

static void leave(struct cg_stream *s)
{
	if (--s->users == 0) {
		free(s);
	}
}

static void end(struct cg_stream *s, const char *why)
{
	if (s->state == ENDED || s->state == CLOSED) {
		return;
	}
	s->state = ENDED;
	(void)uv_timer_stop(&s->timer);
	(void)uv_read_stop(&s->peer.stream);
	if (s->is_writing) {
		s->is_writing = false;
		if (s->on_written != NULL) {
			s->on_written(s->events.owner, false);
		}
	}
	/* That callback may have closed us; our memory lasts until the turn ends. */
	if (s->state == ENDED) {
		s->events.on_end(s->events.owner, why);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct cg_stream *s = stream_of(timer->data);

	end(s, s->failure);
}

/* For failures that are known before the caller has his stream. */
static void end_soon(struct cg_stream *s, const char *why)
{
	s->failure = why;
	cg_loop__must(uv_timer_start(&s->timer, on_timer, 0, 0));
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct cg_stream *s = stream_of(handle->data);

	(void)suggested;
	*buf = uv_buf_init(s->received, sizeof s->received);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
	struct cg_stream *s = stream_of(stream->data);

	if (nread > 0) {
		s->events.on_bytes(s->events.owner, (struct cg_view){buf->base, (size_t)nread});
	} else if (nread < 0) {
		end(s, nread == UV_EOF ? "closed by the peer" : uv_strerror((int)nread));
	}
}

static void on_connect(uv_connect_t *connect, int status)
{
	struct cg_stream *s = stream_of(connect->data);

	if (s->state != CONNECTING) {
		return;
	}
	(void)uv_timer_stop(&s->timer);
	if (status == 0 && !s->address.is_unix) {
		status = uv_tcp_nodelay(&s->peer.tcp, 1);
	}
	if (status == 0) {
		status = uv_read_start(&s->peer.stream, give_room, on_read);
	}
	if (status != 0) {
		end(s, uv_strerror(status));
		return;
	}
	s->state = OPEN;
	s->events.on_open(s->events.owner);
}

static void connect_to(struct cg_stream *s, const struct sockaddr *address)
{
	int result = uv_tcp_connect(&s->connect, &s->peer.tcp, address, on_connect);

	if (result != 0) {
		end_soon(s, uv_strerror(result));
	}
}

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *found)
{
	struct cg_stream *s = stream_of(resolve->data);

	s->is_resolving = false;
	if (s->state == CONNECTING) {
		if (status != 0) {
			end(s, uv_strerror(status));
		} else {
			/* The first address alone: the owner tries again, and names move. */
			connect_to(s, found->ai_addr);
		}
	}
	uv_freeaddrinfo(found);
	leave(s);
}

static void resolve_host(struct cg_stream *s)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

	s->resolve.data = &s->item;
	int result = uv_getaddrinfo(
	    &s->loop->uv, &s->resolve, on_resolved, s->address.host, s->address.port, &hints);
	if (result != 0) {
		end_soon(s, uv_strerror(result));
		return;
	}
	s->is_resolving = true;
	s->users++;
}

static void begin(struct cg_stream *s)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address;

	if (s->address.is_unix) {
		uv_pipe_connect(&s->connect, &s->peer.pipe, s->address.host, on_connect);
		return;
	}
	int port = atoi(s->address.port); /* Checked when it was parsed. */
	if (uv_ip4_addr(s->address.host, port, &address.v4) == 0 ||
	    uv_ip6_addr(s->address.host, port, &address.v6) == 0) {
		connect_to(s, &address.any);
	} else {
		resolve_host(s);
	}
}

static void on_closed(uv_handle_t *handle)
{
	leave(stream_of(handle->data));
}

static void close_item(struct cg_loop_item *item)
{
	struct cg_stream *s = stream_of(item);

	CG_ASSERT(s->state != CLOSED);
	s->state = CLOSED;
	if (s->is_resolving) {
		/* Where a thread is at it already, on_resolved comes when it is done. */
		(void)uv_cancel((uv_req_t *)&s->resolve);
	}
	uv_close(&s->peer.handle, on_closed);
	uv_close((uv_handle_t *)&s->timer, on_closed);
}

struct cg_stream *cg_stream_connect(struct cg_loop *loop, const char *address, uint64_t timeout_ms,
    const struct cg_stream_events *events)
{
	struct cg_stream *s = cg_loop__take(sizeof *s);
	bool understood = cg_address_parse(address, &s->address);

	s->item.close = close_item;
	s->events = *events;
	s->loop = loop;
	s->users = 2;
	cg_loop__must(uv_timer_init(&loop->uv, &s->timer));
	s->timer.data = &s->item;
	if (s->address.is_unix) {
		cg_loop__must(uv_pipe_init(&loop->uv, &s->peer.pipe, 0));
	} else {
		cg_loop__must(uv_tcp_init(&loop->uv, &s->peer.tcp));
	}
	s->peer.handle.data = &s->item;
	s->connect.data = &s->item;
	s->write.data = &s->item;

	s->failure = "no connection in time";
	cg_loop__must(uv_timer_start(&s->timer, on_timer, timeout_ms, 0));
	if (understood) {
		begin(s);
	} else {
		end_soon(s, "an address is unix:/path or host:port");
	}
	return s;
}

static void on_write(uv_write_t *write, int status)
{
	struct cg_stream *s = stream_of(write->data);

	if (s->state != OPEN) {
		return;
	}
	if (status != 0) {
		end(s, uv_strerror(status));
		return;
	}
	s->is_writing = false;
	if (s->on_written != NULL) {
		s->on_written(s->events.owner, true);
	}
}

bool cg_stream_write(
    struct cg_stream *s, struct cg_view bytes, void (*on_written)(void *owner, bool ok))
{
	CG_ASSERT(s->state == OPEN || s->state == ENDED);
	CG_ASSERT(!s->is_writing);
	if (s->state == ENDED) {
		return false;
	}

	/* libuv takes lengths of 32 bits, and only reads what it writes. */
	CG_ASSERT(bytes.len <= INT32_MAX);
	union {
		const char *given;
		char *base;
	} data = {.given = bytes.data};
	uv_buf_t rest = uv_buf_init(data.base, (unsigned)bytes.len);
	int written = uv_try_write(&s->peer.stream, &rest, 1);

	if (written == (int)bytes.len) {
		return true;
	}
	if (written > 0) {
		rest.base += written;
		rest.len -= (size_t)written;
	}
	/* Also where trying failed: then this fails alike, but in a later turn. */
	s->is_writing = true;
	s->on_written = on_written;
	int result = uv_write(&s->write, &s->peer.stream, &rest, 1, on_write);
	if (result != 0) {
		end_soon(s, uv_strerror(result));
	}
	return false;
}

void cg_stream_close(struct cg_stream *s)
{
	close_item(&s->item);
}
