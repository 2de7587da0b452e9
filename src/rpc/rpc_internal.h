/*
 * The server's inside, shared by server.c, slots.c, watches.c, sessions.c, health.c and listing.c.
 *
 * A slot is a call as gRPC sees it, a body what the gate needs for one:
 *
 *   FREE --post--> POSTED --headers came--> RECEIVING --message--> SERVING --answered--> REPLYING
 *                    |                                              |                      |
 *                    '---the server ends---> FREE <--became a stream'      FREE <---sent---'
 *
 * POSTED waits for `arrivals`, RECEIVING for the peer to go on, SERVING for the gate (and has a
 * body), REPLYING for the peer to read, the latter two noticed by `replies`.  There are always
 * slots left to refuse with: refusing takes no body, and a stream (a watch, a session), which may
 * last for days, takes its call along and leaves the slot.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_RPC_INTERNAL_H
#define CG_RPC_RPC_INTERNAL_H

#include <grpc/grpc.h>

#include "events/events.h"
#include "rpc/bans.h"
#include "rpc/bridge.h"
#include "rpc/channel_args.h"
#include "rpc/connections.h"
#include "rpc/counters.h"
#include "rpc/credentials.h"
#include "rpc/decode.h"
#include "rpc/door.h"
#include "rpc/failure.h"
#include "rpc/greeting.h"
#include "rpc/inflight.h"
#include "rpc/listener.h"
#include "rpc/peers.h"
#include "rpc/rate.h"
#include "rpc/roles.h"
#include "rpc/server.h"
#include "rpc/tls.h"
#include "rpc/trace.h"

/* A refused request holds a slot until its answer is sent: this many at once. */
#define CG_SLOTS_SPARE 64

/* A call whose message has not come by then is ended. */
#define CG_MESSAGE_MAX_MS 5000

/* A peer that does not read its answer for this long is cut off. */
#define CG_REPLY_MAX_MS 10000

/* Either, of a connection that has more than its share of the slots while few are free. */
#define CG_SCARCE_MAX_MS 50

/* Ended at once for either, before everything else has its turn: each costs gRPC some 30 us. */
#define CG_ENDED_PER_TURN 16

/* A watch that ends may say why for this long, behind the message that is under way. */
#define CG_WATCH_ENDING_MAX_MS 1000

/* What is under way of a call that has ended: a peer that takes nothing off its connection for so
 * long loses it, since gRPC would keep the call until then. */
#define CG_UNREAD_MAX_MS 5000

/* At the very end: what is still connected so long after all calls were cancelled is cut. */
#define CG_CUT_AFTER_MS 500

/*
 * gRPC answers what arrives while it shuts down with CANCELLED, which callers do not retry.
 * So a server that closes refuses first, with UNAVAILABLE, until nothing has come for this
 * long, counted from the last answer, since whoever has it may ask again; a caller whose machine
 * is busy takes tens of milliseconds for that.  Callers that never stop asking are waited for no
 * longer than the second.
 */
#define CG_QUIET_MS      50
#define CG_LINGER_MAX_MS 500

/* What one listing, and all of them together, may take from the heap. */
#define CG_LISTING_MAX_BYTES  ((size_t)4032 * 1024) /* below the 4 MiB that clients take */
#define CG_LISTINGS_MAX_BYTES ((size_t)64 * 1024 * 1024)

struct cg_rpc_slot;

/* One method as it is served at one door. */
struct cg_rpc_line {
	struct cg_rpc_server *server;
	struct cg_rpc_door *door;
	const char *path; /* NULL: whatever has no line of its own, or the line is not served */
	/* The stream reads its messages, as they come; its calls are on the bridge's streams. */
	bool reads_itself;
	enum cg_method method;
	void *registered;
	uint32_t posted_wanted;
	uint32_t posted_count;
	void (*on_request)(struct cg_rpc_slot *slot);
};

/* Those up to CG_LINE_HEALTH have one answer, the others are streams. */
#define CG_LINE_HEALTH           CG_METHOD_COUNT
#define CG_LINE_WATCH            (CG_METHOD_COUNT + 1)
#define CG_LINE_SESSION          (CG_METHOD_COUNT + 2)
#define CG_LINE_HEALTH_WATCH     (CG_METHOD_COUNT + 3)
#define CG_LINE_REFLECTION       (CG_METHOD_COUNT + 4)
#define CG_LINE_REFLECTION_ALPHA (CG_METHOD_COUNT + 5)
#define CG_LINE_UNKNOWN          (CG_METHOD_COUNT + 6)
#define CG_LINE_COUNT            (CG_METHOD_COUNT + 7)

/* Health watches and reflections at once, of all connections. */
#define CG_STREAMS_MAX            1024
#define CG_CONNECTION_STREAMS_MAX 256 /* they need no credential */

/* gRPC's status codes, GRPC_STATUS_OK to GRPC_STATUS_UNAUTHENTICATED. */
#define CG_CODE_COUNT 17

/* See door.h. */
struct cg_rpc_door {
	struct cg_rpc_server *server;
	uint32_t index;
	struct cg_door_config config;
	struct cg_rpc_listener *listener;
	struct cg_rpc_tls *tls; /* NULL: plaintext */
	grpc_server *grpc;
	struct cg_rpc_line lines[CG_LINE_COUNT];
	struct cg_rpc_op shutdown;
	bool connections_ended;
	uint64_t accepted; /* those that were closed at once too */
};

/* Who has sent a call, as far as it matters.  Of the snapshot that was in force when it came. */
struct cg_rpc_caller {
	unsigned roles;
	const struct cg_credential *credential; /* NULL: one that is bound to no company */
};

/* A page of calls as it grows. */
struct cg_rpc_listing {
	char *bytes; /* the heap's; NULL: none yet */
	size_t len;
	size_t capacity;
	bool too_large;
	bool no_room; /* all listings together are at their limit */
};

struct cg_session_entry;

struct cg_rpc_body {
	struct cg_request req;
	struct cg_rpc_slot *slot;       /* NULL: it is one of a session's, */
	struct cg_session_entry *entry; /* this one */
	bool caller_has_deadline;
	uint64_t caller_deadline_at_ms;
	struct cg_credentials *credentials; /* whose companies a listing is bound to; else NULL */
	struct cg_rpc_listing listing;
	char traceparent[CG_TRACE_BYTES + 1]; /* the caller's; empty: none */
	char text[CG_RPC_TEXT_BYTES];
};

enum cg_slot_state {
	CG_SLOT_FREE,
	CG_SLOT_POSTED,
	CG_SLOT_RECEIVING,
	CG_SLOT_SERVING,
	CG_SLOT_REPLYING,
};

struct cg_rpc_slot {
	struct cg_rpc_op op;
	enum cg_slot_state state;
	struct cg_rpc_server *server;
	struct cg_rpc_line *line;
	struct cg_rpc_body *body; /* while the gate has the request; else NULL */
	grpc_call *call;
	gpr_timespec deadline;
	uint64_t arrived_at_ns;
	grpc_metadata_array metadata; /* kept from call to call */
	grpc_call_details details;    /* of the line for unknown methods */
	grpc_byte_buffer *payload;
	int cancelled; /* written by core when the call ends */
	uint64_t replied_at_ms;
	uint64_t arrived_at_ms;      /* RECEIVING */
	bool is_cancelled;           /* RECEIVING or REPLYING, for too long */
	uint64_t peer;               /* the connection, against which it counts */
	struct cg_rpc_caller caller; /* SERVING, and only until the request is submitted */
	struct cg_list link;         /* in free_slots, in receiving, or in replying */
};

/* See watches.c. */
enum cg_watch_state {
	CG_WATCH_OPEN,
	CG_WATCH_ENDING,
	CG_WATCH_LEAVING,
	CG_WATCH_GONE,
};

struct cg_rpc_watch {
	struct cg_rpc_op closed;
	struct cg_rpc_op sent;
	enum cg_watch_state state;
	bool has_begun;  /* the answer's headers have been sent */
	bool is_sending; /* `sent` is under way: a message, or the status */
	struct cg_rpc_server *server;
	grpc_call *call;
	struct cg_watcher *watcher; /* OPEN */
	enum cg_watch_end why;      /* ENDING */
	uint64_t ending_at_ms;      /* ENDING: since when; GONE: likewise */
	uint64_t peer;              /* the connection */
	int cancelled;              /* written by core when the call ends */
	struct cg_list link; /* in watches_open, in watches_ending, in watches_gone, or in none */
	/* Where it came with a credential: that, and the snapshot that it is of; else NULL. */
	struct cg_credentials *credentials;
	const struct cg_credential *credential;
};

enum cg_server_state {
	CG_SERVER_OPEN,
	CG_SERVER_LINGERING, /* refuses until nothing is in flight and callers have turned away */
	CG_SERVER_CLOSING,   /* waits for what was accepted, and for the connections to end */
	CG_SERVER_STOPPING,  /* waits for the thread */
};

enum cg_refusal {
	CG_REFUSAL_IN_FLIGHT,
	CG_REFUSAL_CONNECTION_IN_FLIGHT,
	CG_REFUSAL_RATE,
	CG_REFUSAL_UNAUTHENTICATED,
	CG_REFUSAL_PERMISSION,
	CG_REFUSAL_PEER,
	CG_REFUSAL_CONNECTIONS,
	CG_REFUSAL_BANNED,
	CG_REFUSAL_COMPRESSED,
	CG_REFUSAL_CLOSING,
	CG_REFUSAL_LISTING,
	CG_REFUSAL_WATCHERS,
	CG_REFUSAL_SESSIONS,
	CG_REFUSAL_UNREADING,
	CG_REFUSAL_RUBBISH,
	CG_REFUSAL_FLOOD,
	CG_REFUSAL_STALLED,
	CG_REFUSAL_CONNECTION_STREAMS,
	CG_REFUSAL_STREAMS,
	CG_REFUSAL_COUNT
};

struct cg_rpc_counts {
	uint64_t ended[CG_LINE_COUNT][CG_CODE_COUNT];
	struct cg_metric_histogram latency[CG_LINE_HEALTH + 1]; /* nanoseconds */
};

struct cg_rpc_server {
	struct cg_loop *loop;
	struct cg_gate *gate;
	struct cg_events *events; /* NULL: Watch is not served */
	struct cg_rpc_config config;
	struct cg_rpc_door doors[CG_DOORS_MAX];
	uint32_t door_count;
	struct cg_rpc_bridge *bridge;
	grpc_server_credentials *plaintext;
	enum cg_server_state state;
	bool serving;           /* as the daemon says */
	bool draining;          /* new requests are refused */
	uint64_t request_at_ms; /* when the last one came, or was answered */

	/* The guard at the doors. */
	struct cg_crypto *crypto;
	struct cg_credentials *credentials; /* NULL: none are asked for */
	struct cg_peers peers;
	struct cg_connections connections;
	struct cg_bans bans;
	struct cg_greetings greetings;
	int next_fd;                 /* see doors.c */
	struct cg_inflight inflight; /* slots */
	struct cg_inflight held;     /* sessions, and their unanswered requests */
	struct cg_rate rate;
	struct cg_rpc_counters counters;

	struct cg_rpc_slot *slots;
	uint32_t slot_count;
	uint32_t free_count;
	struct cg_list free_slots;
	struct cg_list receiving; /* oldest first */
	struct cg_list replying;  /* likewise */
	struct cg_slab bodies;
	struct cg_slab watches;
	struct cg_list watches_open;
	struct cg_slab streams; /* see streams.h */
	struct cg_list streams_open;
	struct cg_list streams_ending; /* oldest first */
	struct cg_list streams_gone;   /* likewise */
	struct cg_list watches_ending; /* oldest first */
	struct cg_list watches_gone;   /* whose last message is under way all the same; likewise */
	struct cg_list sessions;
	struct cg_list sessions_due;     /* have something to send at the end of the turn */
	struct cg_list sessions_sending; /* oldest first */
	uint32_t session_count;
	struct cg_rpc_decoder decoder;
	size_t listings_bytes;
	struct cg_log_limit refusals[CG_REFUSAL_COUNT];
	struct cg_rpc_counts counts;
	struct cg_log_limit failures;

	bool has_cancelled;
	struct cg_timer *closing; /* the next look while lingering, then the end of the grace */
	uint64_t linger_until_ms;
	uint64_t grace_until_ms;
	void (*on_closed)(void *owner);
	void *owner;
};

/* lines.c: what is served at a door; doors.c tells gRPC of it. */
void cg_lines__set_up(struct cg_rpc_door *door);

/* slots.c: the lines must be set up. */
void cg_slots__init(struct cg_rpc_server *server);
void cg_slots__deinit(struct cg_rpc_server *server);
/* Asks gRPC for as many requests of every line as the slots admit. */
void cg_slots__post(struct cg_rpc_server *server);
/* Cuts off peers that do not read. */
void cg_slots__cancel_stuck(struct cg_rpc_server *server);
/* Whether so few are free that connections have a share each. */
bool cg_slots__are_scarce(const struct cg_rpc_server *server);

/* What a call ends with where it fails; `op` points into the rest until deinit. */
struct cg_rpc_ending {
	grpc_slice message;
	grpc_metadata trailer;
	grpc_op op;
};

void cg_ending__init(
    struct cg_rpc_ending *ending, const struct cg_rpc_failure *failure, struct cg_arena *arena);
void cg_ending__deinit(struct cg_rpc_ending *ending);

/* The one answer of a slot; nothing may follow that touches its call.  Takes `message`. */
void cg_slot__reply(struct cg_rpc_slot *slot, grpc_slice message);
void cg_slot__fail(struct cg_rpc_slot *slot, const struct cg_rpc_failure *failure);

/*
 * The call, for good: it is the caller's, who answers and unreferences it, and the slot goes
 * back, its payload with it.
 */
grpc_call *cg_slot__hand_over(struct cg_rpc_slot *slot);

/* A message's bytes in one piece; *ret_whole is to be unreferenced after use. */
struct cg_view cg_slot__bytes(grpc_byte_buffer *message, grpc_slice *ret_whole);
/* The request's. */
struct cg_view cg_slot__payload(struct cg_rpc_slot *slot, grpc_slice *ret_whole);

/*
 * It comes to nothing through its peer's doing: notes that.  True: its connection has had so many
 * lately that it is to be cut.
 */
bool cg_slot__is_waste(struct cg_rpc_slot *slot);

/* Failures in words of their own. */
void cg_slot__refuse(struct cg_rpc_slot *slot, enum cg_status status, enum cg_reason reason);
void cg_slot__refuse_field(struct cg_rpc_slot *slot, const char *field, const char *bound);

/*
 * Notes that a request came, and refuses it where that needs no look inside: the server
 * drains, the caller has none of `roles` (0: anybody may), there is no message (of the type that
 * is named), or it is compressed.
 */
bool cg_calls__refuse_unread(struct cg_rpc_slot *slot, unsigned roles, const char *message_name);

/* watches.c */
void cg_watches__on_request(struct cg_rpc_slot *slot);
/* Cuts off watches that end and whose peer does not read. */
void cg_watches__cancel_stuck(struct cg_rpc_server *server);

/* sessions.c */
void cg_sessions__on_request(struct cg_rpc_slot *slot);
/* Sends what has gathered in this turn, and cuts off peers that do not read. */
void cg_sessions__on_turn(struct cg_rpc_server *server);
/* Every session ends once what it has begun is answered; those whose credential is gone likewise. */
void cg_sessions__drain(struct cg_rpc_server *server);
void cg_sessions__end_revoked(struct cg_rpc_server *server);

/*
 * calls.c, for the operations of sessions too: a body, all zeros but its text, or NULL; when the
 * request ends, by the caller's deadline and our own, false where that has passed; how a request
 * that did not end CG_OK is answered; and its line in the log, where it is to have one.
 */
struct cg_rpc_body *cg_calls__take_body(struct cg_rpc_server *server);
bool cg_calls__set_deadline(
    struct cg_rpc_server *server, gpr_timespec deadline, struct cg_rpc_body *body);
struct cg_rpc_failure cg_calls__failure_of(
    struct cg_rpc_server *server, const struct cg_rpc_body *body);
void cg_calls__log(
    struct cg_rpc_server *server, const struct cg_rpc_body *body, uint64_t arrived_at_ns);

/* streams.c */
void cg_streams__drain(struct cg_rpc_server *server);
/* Cuts off streams that end and whose peer does not read. */
void cg_streams__cancel_stuck(struct cg_rpc_server *server);

/*
 * measure.c: a slot's one answer is about to be sent; a stream has ended; an operation of a
 * session has its answer (CG_METHOD_COUNT: it was none of the contract).
 */
void cg_rpc_measure__answered(struct cg_rpc_slot *slot, grpc_status_code code);
void cg_rpc_measure__ended(struct cg_rpc_server *server, size_t line, grpc_status_code code);
void cg_rpc_measure__operation(struct cg_rpc_server *server, enum cg_method method,
    grpc_status_code code, uint64_t arrived_at_ns);

/* reflection.c */
void cg_reflection__on_request(struct cg_rpc_slot *slot);

/* calls.c, health.c */
void cg_calls__on_request(struct cg_rpc_slot *slot);
void cg_calls__on_unknown(struct cg_rpc_slot *slot);
void cg_health__on_request(struct cg_rpc_slot *slot);
void cg_health__on_watch(struct cg_rpc_slot *slot);
/* Tells those who watch. */
void cg_health__changed(struct cg_rpc_server *server);

/* listing.c */
void cg_listing__on_call(struct cg_request *req, const struct cg_call *call);
/* The page as the answer's bytes; the listing is empty afterwards. */
grpc_slice cg_listing__take(struct cg_rpc_body *body, const ProtobufCMessage *rest);
void cg_listing__drop(struct cg_rpc_body *body);

/*
 * The connection that this call came on, see cg_peer_hash(); gRPC knows no more once the call has
 * ended.
 */
uint64_t cg_server__peer(const struct cg_rpc_line *line, grpc_call *call);

/*
 * Cuts a connection, and with it whatever is on it.  Something of a call on it must be under
 * way, or it might be somebody else's by now.
 */
void cg_server__cut_peer(struct cg_rpc_server *server, uint64_t peer, enum cg_refusal why);

/* doors.c: binds the addresses of the configuration; CG_OK, or nothing is left behind. */
enum cg_status cg_doors__open(
    struct cg_rpc_server *server, const struct cg_rpc_config *config, struct cg_error *err);
/* Creates gRPC's server, with its lines set up, and begins to serve; connections wait. */
enum cg_status cg_doors__start_grpc(struct cg_rpc_door *door, struct cg_error *err);
/* Begins to accept. */
void cg_doors__start(struct cg_rpc_server *server);
void cg_doors__stop(struct cg_rpc_server *server);
void cg_doors__close(struct cg_rpc_server *server);
/* How often accepting had to wait, at all of them. */
uint64_t cg_doors__pauses(const struct cg_rpc_server *server);

/*
 * guard.c: who has sent this call, into slot->caller; refuses it where he has no credential, or
 * none of `roles`.
 */
bool cg_guard__refuse(struct cg_rpc_slot *slot, unsigned roles);
/* Whether this caller may not see this company: notes that; *ret_failure is what he is told. */
bool cg_guard__denies(struct cg_rpc_server *server, const struct cg_rpc_caller *caller,
    const struct cg_uuid *company, struct cg_rpc_failure *ret_failure);
/* Likewise whether a request is for another's company, or one of too many Authorizes. */
bool cg_guard__denies_request(struct cg_rpc_server *server, const struct cg_rpc_caller *caller,
    const struct cg_request *req, struct cg_rpc_failure *ret_failure);
/* Whether what let somebody in is not there any more, or is another; NULL: nothing did. */
bool cg_guard__is_revoked(
    const struct cg_rpc_server *server, const struct cg_credential *credential);
/* Takes what the files hold now; streams whose credential is gone, or changed, end. */
void cg_guard__reload(struct cg_rpc_server *server);

/* One line in the log per second and kind. */
void cg_server__note_refusal(struct cg_rpc_server *server, enum cg_refusal refusal);

#endif /* CG_RPC_RPC_INTERNAL_H */
