/*
 * libcallgate: an asynchronous client of callgated.
 *
 * No event loop is imposed.  A client has a thread of its own that waits for answers; the
 * caller watches one descriptor, and whenever it is readable calls
 * callgate_client_dispatch(), which runs the callbacks on the caller's thread:
 *
 *     callgate_options_init(&options);
 *     options.address = "unix:/run/callgate/gate.sock";
 *     client = callgate_client_create(&options, text, sizeof(text));
 *     ... watch callgate_client_descriptor(client) for reading ...
 *     callgate_authorize(client, &request, on_authorized, context);
 *
 * True of everything here:
 *  - a client is used by one thread at a time;
 *  - whatever is passed in is copied before the function returns;
 *  - a callback runs exactly once for every operation that was accepted, never before the
 *    submitting call has returned, and only inside callgate_client_dispatch(), _wait(),
 *    _close() or a *_sync() call;
 *  - what a callback is given is valid until it returns;
 *  - a callback may submit operations, but must not dispatch, wait, use *_sync() or close.
 *
 * Every operation is idempotent by its natural key, so one that ends UNAVAILABLE is tried
 * again with the same key, a bounded number of times, within its deadline.  One that still
 * ends UNAVAILABLE, DEADLINE_EXCEEDED or CANCELLED may have happened: submit it again with
 * the same key, now or later, to learn what was decided or charged.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CALLGATE_CLIENT_H
#define CALLGATE_CLIENT_H

#include <callgate/messages.h>

#if defined(__GNUC__)
#define CALLGATE_API __attribute__((visibility("default")))
#else
#define CALLGATE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* How an operation ended: gRPC's codes. */
enum callgate_status {
	CALLGATE_STATUS_OK = 0,
	CALLGATE_STATUS_CANCELLED = 1, /* the client was closed */
	CALLGATE_STATUS_UNKNOWN = 2,
	CALLGATE_STATUS_INVALID_ARGUMENT = 3,
	CALLGATE_STATUS_DEADLINE_EXCEEDED = 4,
	CALLGATE_STATUS_NOT_FOUND = 5,
	CALLGATE_STATUS_ALREADY_EXISTS = 6,
	CALLGATE_STATUS_PERMISSION_DENIED = 7,
	CALLGATE_STATUS_RESOURCE_EXHAUSTED = 8,
	CALLGATE_STATUS_FAILED_PRECONDITION = 9,
	CALLGATE_STATUS_ABORTED = 10,
	CALLGATE_STATUS_OUT_OF_RANGE = 11,
	CALLGATE_STATUS_UNIMPLEMENTED = 12,
	CALLGATE_STATUS_INTERNAL = 13, /* also: an answer that cannot be read */
	CALLGATE_STATUS_UNAVAILABLE = 14,
	CALLGATE_STATUS_DATA_LOSS = 15,
	CALLGATE_STATUS_UNAUTHENTICATED = 16
};

/* Whether an operation was taken on. */
enum callgate_submit {
	CALLGATE_ACCEPTED = 0, /* its callback will run, once */
	CALLGATE_FULL = 1,     /* in_flight_max are under way; nothing happened, no callback */
	CALLGATE_CLOSING = 2   /* the client is being closed; nothing happened, no callback */
};

/* Why an operation did not end OK. */
struct callgate_error {
	enum callgate_status status; /* never OK */
	const char *message;         /* for people; never NULL */
	int attempts;                /* how often it was sent; >= 1 once accepted */
	bool has_detail;             /* the server said more than a code */
	struct callgate_error_detail detail;
};

struct callgate_client;

struct callgate_options {
	const char *address;  /* "unix:/path" or "host:port" */
	const char *token;    /* sent as `authorization: Bearer <token>`; NULL: none */
	uint32_t deadline_ms; /* of one operation with all its attempts; default 2 000 */
	uint32_t retries_max; /* further attempts on UNAVAILABLE; 0: none; default 4 */
	uint32_t backoff_ms; /* before the first retry, doubled for each, with jitter; default 25 */
	uint32_t in_flight_max; /* operations accepted and not yet called back; default 1 024 */
	/* Of a watch's server, until it is asked again; default 15 000: three heartbeats. */
	uint32_t watch_silence_ms;
	/*
	 * No thread: answers are read inside callgate_client_dispatch() and _wait(), and
	 * the descriptor is -1.  For programs that do nothing but wait, such as a load
	 * generator: it spares every answer a hand-over between threads.
	 */
	bool poll_inline;
	/*
	 * The token, where `token` is NULL, in a file of its own: read once, when the client is
	 * created.  NULL: none.
	 */
	const char *token_file;
	/*
	 * TLS, for addresses of another machine: PEM files, read when the client is created.
	 * `tls_ca_file` holds whom to trust (NULL: no TLS); the other two, which callgated requires,
	 * the client's own certificate and key.
	 */
	const char *tls_ca_file;
	const char *tls_cert_file;
	const char *tls_key_file;
	/* The server's name in its certificate, where it is not the address's; NULL: it is. */
	const char *tls_server_name;
};

/* Sets every default; the address is left NULL. */
CALLGATE_API void callgate_options_init(struct callgate_options *options);

/*
 * A client, not yet connected: the first operation connects, and what it meets is its
 * result.  NULL where the options are out of their bounds or the process is out of
 * descriptors or threads; then `error_text`, if not NULL, says why.
 */
CALLGATE_API struct callgate_client *callgate_client_create(
    const struct callgate_options *options, char *error_text, size_t error_text_bytes);

/* Readable while callbacks are due.  The client's: watch it, do not read or close it. */
CALLGATE_API int callgate_client_descriptor(const struct callgate_client *client);

/* Runs the callbacks that are due, without waiting.  How many ran. */
CALLGATE_API size_t callgate_client_dispatch(struct callgate_client *client);

/* Waits at most `timeout_ms` (-1: no limit) until a callback is due, then dispatches. */
CALLGATE_API size_t callgate_client_wait(struct callgate_client *client, int timeout_ms);

/* Operations accepted whose callbacks have not run. */
CALLGATE_API size_t callgate_client_in_flight(const struct callgate_client *client);

/*
 * Cancels what is in flight (CANCELLED: it may have happened), runs the callbacks that are
 * still owed, and frees the client.  NULL is allowed.
 */
CALLGATE_API void callgate_client_close(struct callgate_client *client);

/* "ok", "invalid_argument", ...: lower case, for output; never NULL. */
CALLGATE_API const char *callgate_status_name(enum callgate_status status);
CALLGATE_API const char *callgate_decision_name(enum callgate_decision decision);
CALLGATE_API const char *callgate_call_state_name(enum callgate_call_state state);
CALLGATE_API const char *callgate_durability_name(enum callgate_durability durability);
CALLGATE_API const char *callgate_duration_basis_name(enum callgate_duration_basis basis);
CALLGATE_API const char *callgate_entry_type_name(enum callgate_entry_type type);
CALLGATE_API const char *callgate_error_reason_name(enum callgate_error_reason reason);
CALLGATE_API const char *callgate_event_type_name(enum callgate_event_type type);

/* The type of that name ("top_up", ...); UNSPECIFIED where there is none. */
CALLGATE_API enum callgate_entry_type callgate_entry_type_of(const char *name);

/*
 * The operations.  For each, with its own request and response:
 *
 * callgate_NAME() submits.  In its callback exactly one of `error` and `response` is NULL.
 *
 * callgate_NAME_sync() submits, waits for the end (callbacks of other operations run
 * meanwhile) and says how it ended.  Exactly one of *ret_response and *ret_error is set to
 * NULL; the other is valid until the next *_sync() call or the close of this client.  Where
 * the client is full it ends RESOURCE_EXHAUSTED, with 0 attempts.
 */
#define CALLGATE_OPERATION(name)                                                                   \
	typedef void (*callgate_##name##_done)(void *context, const struct callgate_error *error,  \
	    const struct callgate_##name##_response *response);                                    \
	CALLGATE_API enum callgate_submit callgate_##name(struct callgate_client *client,          \
	    const struct callgate_##name##_request *request, callgate_##name##_done done,          \
	    void *context);                                                                        \
	CALLGATE_API enum callgate_status callgate_##name##_sync(struct callgate_client *client,   \
	    const struct callgate_##name##_request *request,                                       \
	    const struct callgate_##name##_response **ret_response,                                \
	    const struct callgate_error **ret_error);

CALLGATE_OPERATION(authorize)
CALLGATE_OPERATION(start)
CALLGATE_OPERATION(stop)
CALLGATE_OPERATION(settle)
CALLGATE_OPERATION(cancel)
CALLGATE_OPERATION(adopt)
CALLGATE_OPERATION(create_wallet)
CALLGATE_OPERATION(get_wallet)
CALLGATE_OPERATION(update_wallet)
CALLGATE_OPERATION(get_balance)
CALLGATE_OPERATION(get_call)
CALLGATE_OPERATION(list_calls)
CALLGATE_OPERATION(credit)
CALLGATE_OPERATION(charge)

#undef CALLGATE_OPERATION

/*
 * Wallets.Watch: what happens to calls and balances, as it happens, at least once, in order
 * per company.
 *
 * A watch that ends UNAVAILABLE, or whose sidecar falls silent for three heartbeats, is
 * opened again with the last token, after a delay with jitter, for ever: `on_message` may
 * then see an event twice (drop by its id).  Every other end is final: OUT_OF_RANGE (the
 * token is older than what is kept), RESOURCE_EXHAUSTED (too slow), UNAUTHENTICATED, ...
 *
 * The next message is read once the one before was delivered: a caller that does not
 * dispatch holds up its server, never fills its own memory.
 *
 * Not counted by in_flight_max.  Its callbacks run where those of operations run.
 */
struct callgate_watch;
typedef void (*callgate_watch_on_message)(
    void *context, const struct callgate_watch_response *message);
/* The last callback; the watch is gone when it returns. */
typedef void (*callgate_watch_on_end)(void *context, const struct callgate_error *error);

/*
 * *ret_watch is set where the answer is CALLGATE_ACCEPTED; CALLGATE_FULL where there is no
 * memory.  The error's `attempts` are the streams that were begun.
 */
CALLGATE_API enum callgate_submit callgate_watch_open(struct callgate_client *client,
    const struct callgate_watch_request *request, callgate_watch_on_message on_message,
    callgate_watch_on_end on_end, void *context, struct callgate_watch **ret_watch);

/* The last token received; "" before the first.  Valid until the next callback. */
CALLGATE_API const char *callgate_watch_token(const struct callgate_watch *watch);

/* No callback runs for it any more.  Allowed inside any callback, also its own. */
CALLGATE_API void callgate_watch_close(struct callgate_watch *watch);

/*
 * Gate.Session: many operations on one stream, at a fraction of what each costs as a call of its
 * own.  They are the operations above, with the same requests, callbacks and bounds, and count in
 * in_flight_max; answers come in any order, operations on one call take effect in theirs.
 *
 * An operation that is refused is its own error and no more.  Where the stream ends, whatever is
 * unanswered ends with its status: unless that is a refusal of the stream (UNAUTHENTICATED,
 * UNIMPLEMENTED, ...), it may have happened.  Nothing is tried again: open another session, or
 * submit it as a call of its own, with the same key.  A stream whose oldest operation is unanswered
 * for deadline_ms is cancelled, and they end DEADLINE_EXCEEDED.
 */
struct callgate_session;
/* The last callback, behind those of its operations; `error` is NULL where it ended well. */
typedef void (*callgate_session_on_end)(void *context, const struct callgate_error *error);

/*
 * `window`: operations unanswered at once, 1..65536; a sidecar reads 256 (unless configured) and
 * lets more wait.  CALLGATE_FULL where it is out of bounds or there is no memory.
 */
CALLGATE_API enum callgate_submit callgate_session_open(struct callgate_client *client,
    uint32_t window, callgate_session_on_end on_end, void *context,
    struct callgate_session **ret_session);

/* CALLGATE_FULL also where the window is; CALLGATE_CLOSING once it ends. */
#define CALLGATE_SESSION_OPERATION(name)                                                           \
	CALLGATE_API enum callgate_submit callgate_session_##name(                                 \
	    struct callgate_session *session, const struct callgate_##name##_request *request,     \
	    callgate_##name##_done done, void *context);

CALLGATE_SESSION_OPERATION(authorize)
CALLGATE_SESSION_OPERATION(start)
CALLGATE_SESSION_OPERATION(stop)
CALLGATE_SESSION_OPERATION(settle)
CALLGATE_SESSION_OPERATION(cancel)
CALLGATE_SESSION_OPERATION(adopt)

#undef CALLGATE_SESSION_OPERATION

/* Operations that no callback is due for yet. */
CALLGATE_API size_t callgate_session_unanswered(const struct callgate_session *session);

/* Nothing more is submitted: it ends once all is answered. */
CALLGATE_API void callgate_session_finish(struct callgate_session *session);

/* It ends at once: what is unanswered ends CANCELLED, and may have happened. */
CALLGATE_API void callgate_session_close(struct callgate_session *session);

#ifdef __cplusplus
}
#endif

#endif /* CALLGATE_CLIENT_H */
