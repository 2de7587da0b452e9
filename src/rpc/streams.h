/*
 * A call that outlives its slot: the streams of the small services, health and reflection.
 *
 *   OPEN --cg_stream__end--> ENDING --its status is on the way--> LEAVING
 *     |                        |                                    |
 *     '------the peer is gone--+------------------------------------'--> GONE
 *
 * OPEN has at most one message on its way out and, where it is asked for, one on its way in.
 * ENDING waits for the message that is under way, no longer than CG_WATCH_ENDING_MAX_MS; then
 * the call is cancelled.  LEAVING waits for the end of the call, GONE for whatever is under
 * way, no longer than CG_UNREAD_MAX_MS: then the connection is cut; and it is given back.  There
 * are CG_STREAMS_MAX at most, CG_CONNECTION_STREAMS_MAX of one connection.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_STREAMS_H
#define CG_RPC_STREAMS_H

#include "rpc/rpc_internal.h"

struct cg_rpc_stream;

struct cg_rpc_stream_kind {
	size_t line; /* CG_LINE_*: what it is counted as */
	/* OPEN: the message has left. */
	void (*on_sent)(struct cg_rpc_stream *stream);
	/* OPEN: what cg_stream__receive() asked for; its bytes go when this returns. */
	void (*on_received)(struct cg_rpc_stream *stream, struct cg_view bytes);
	/* OPEN: the peer has said all. */
	void (*on_received_all)(struct cg_rpc_stream *stream);
	/* OPEN: the server drains; it must end the stream, now or soon. */
	void (*on_drain)(struct cg_rpc_stream *stream);
	/* ENDING: the message has left; it may send a last one.  NULL: it never does. */
	void (*on_ending)(struct cg_rpc_stream *stream);
};

enum cg_rpc_stream_state {
	CG_STREAM_OPEN,
	CG_STREAM_ENDING,
	CG_STREAM_LEAVING,
	CG_STREAM_GONE,
};

struct cg_rpc_stream {
	struct cg_rpc_op closed;
	struct cg_rpc_op sent;
	struct cg_rpc_op received;
	const struct cg_rpc_stream_kind *kind;
	enum cg_rpc_stream_state state;
	struct cg_rpc_server *server;
	grpc_call *call;
	grpc_byte_buffer *message; /* as received */
	struct cg_rpc_failure why; /* ENDING; its status CG_OK: all is well */
	uint64_t ending_at_ms;     /* ENDING: since when; GONE: likewise */
	uint64_t peer;             /* the connection */
	bool reads_itself;         /* as its line does */
	bool has_begun;            /* the answer's headers have been sent */
	bool is_sending;
	bool is_receiving;
	bool is_cancelled;
	int cancelled; /* written by core when the call ends */
	struct cg_list
	    link; /* in streams_open, streams_ending, streams_gone of the server, or in none */
	/* The kinds' own. */
	struct {
		bool is_known; /* the service that is watched */
		int told;      /* the status that was sent last; -1: none yet */
	} health;
	struct {
		bool owes_end; /* the peer has said all; the last answer is under way */
	} reflection;
};

/* Takes the slot's call; NULL, and answered, where there are too many streams. */
struct cg_rpc_stream *cg_stream__begin(
    struct cg_rpc_slot *slot, const struct cg_rpc_stream_kind *kind);

/* OPEN, or in on_ending(), and nothing is being sent.  Takes `message`. */
void cg_stream__send(struct cg_rpc_stream *stream, grpc_slice message);

/* OPEN, and nothing is being received. */
void cg_stream__receive(struct cg_rpc_stream *stream);

/* OPEN: with a failure, or NULL: well. */
void cg_stream__end(struct cg_rpc_stream *stream, const struct cg_rpc_failure *failure);

#endif /* CG_RPC_STREAMS_H */
