/*
 * A connected byte stream, unix socket or TCP.
 *
 * Its life: created -> connecting -> open -> closed.  `on_open` or `on_end` comes first;
 * after `on_end` nothing more comes, and the owner closes the stream.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_LOOP_STREAM_H
#define CG_LOOP_STREAM_H

#include "loop/loop.h"

struct cg_stream;

struct cg_stream_events {
	void (*on_open)(void *owner);
	/* Some bytes arrived; they are gone when this returns.  Closing in here is allowed. */
	void (*on_bytes)(void *owner, struct cg_view bytes);
	/* The peer, the network or the connect timeout ended it; `why` is for people. */
	void (*on_end)(void *owner, const char *why);
	void *owner;
};

/*
 * Begins to connect.  `address`: "unix:/path", or "host:port" with a numeric IPv4 or
 * "[IPv6]" host; a name is resolved on libuv's thread pool.  Whatever goes wrong arrives
 * in on_end, never from here.
 */
struct cg_stream *cg_stream_connect(struct cg_loop *loop, const char *address, uint64_t timeout_ms,
    const struct cg_stream_events *events);

/*
 * True: every byte has left, there will be no callback, the next write may follow.
 * False: the bytes must stay unchanged until on_written (may be NULL) has run, which it
 * does exactly once, with false where the stream ended first; not after close.  At most
 * one such write at a time: the owner keeps the next bytes until on_written.
 * Only once it is open; after on_end it is false and nothing happens.
 */
bool cg_stream_write(
    struct cg_stream *stream, struct cg_view bytes, void (*on_written)(void *owner, bool ok));

/* Ends it without a callback.  Bytes being written may or may not have left. */
void cg_stream_close(struct cg_stream *stream);

#endif /* CG_LOOP_STREAM_H */
