/*
 * The contract, served: gRPC in, requests to the gate, answers out.
 *
 * Everything happens on the loop thread, which watches gRPC's descriptor beside its own;
 * where that cannot be found, a thread waits for gRPC and notes down what arrived.  Every
 * accepted request is answered exactly once, or its connection is gone.  A request whose
 * caller hung up goes on in the gate: only its answer is dropped.  A watch takes nothing
 * from the requests' limits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_SERVER_H
#define CG_RPC_SERVER_H

#include "base/base.h"
#include "gate/gate.h"
#include "loop/loop.h"

struct cg_rpc_config {
	/* "unix:/path", "127.0.0.1:port" / "[::1]:port" (0: any port), "tls:host:port"; see door.h. */
	const char *listen;
	const char *peers; /* who may connect to a unix socket; see peers.h; NULL: "group" */
	const char *credentials_file; /* see credentials.h; NULL: none are asked for */
	/* PEM files, of "tls:" addresses; see tls.h. */
	const char *tls_certificate;
	const char *tls_key;
	const char *tls_client_authorities;
	uint32_t connections_max;      /* in all; one more is closed at once */
	uint32_t door_connections_max; /* at one address */
	uint32_t connection_age_ms;    /* then no new requests; gRPC adds or takes a tenth */
	uint32_t connection_grace_ms;  /* and then, after this, it is closed */
	uint32_t connection_idle_ms;   /* one without a request is closed */
	uint32_t
	    authorizes_per_second;   /* of one company; 0: no limit; beyond: RESOURCE_EXHAUSTED */
	uint32_t authorizes_burst;   /* at once, of a company that was quiet */
	uint32_t calls_max;          /* requests in flight; beyond: RESOURCE_EXHAUSTED */
	uint32_t message_bytes_max;  /* 64 KiB */
	uint32_t metadata_bytes_max; /* 8 KiB */
	uint32_t streams_max;        /* requests and sessions of one connection; likewise */
	uint32_t watchers_max;       /* of all connections; beyond: RESOURCE_EXHAUSTED */
	uint32_t sessions_max;       /* likewise */
	uint32_t session_window;     /* unanswered requests of one; beyond, it is not read */
	uint32_t deadline_max_ms;    /* where the caller set none, or a later one: 30 000 */
	bool reflection;             /* tell tools what is served */
	bool waits_in_thread;        /* for gRPC, instead of in the loop: slower; for comparison */
};

struct cg_events;
struct cg_rpc_counters; /* rpc/counters.h */
struct cg_rpc_server;

/*
 * Binds and begins to serve.
 *
 * A unix socket is 0660, and its path is held by a lock on "<path>.lock" for as long as
 * the server lives: CG_WRONG_STATE where another server holds it.  A plaintext TCP address
 * that is not loopback is CG_INVALID.  Texts of `config` must outlive the server.  The health check answers NOT_SERVING until
 * cg_rpc_server_set_serving().  `events`: where Watch listens; NULL: it is UNIMPLEMENTED.
 */
enum cg_status cg_rpc_server_open(struct cg_loop *loop, const struct cg_rpc_config *config,
    struct cg_gate *gate, struct cg_events *events, struct cg_rpc_server **ret_server,
    struct cg_error *err);

/*
 * Reads credentials and certificates anew.  What cannot be used is said in the log, and what was
 * there before stays.  Watches whose credential is gone, or changed, end UNAUTHENTICATED, and so
 * do sessions, once what they have begun is answered.
 */
void cg_rpc_server_reload(struct cg_rpc_server *server);

/* What was counted until now; valid until the next call. */
const struct cg_rpc_counters *cg_rpc_server_counters(struct cg_rpc_server *server);

/* The first TCP port that was bound; 0 where there is none. */
uint16_t cg_rpc_server_port(const struct cg_rpc_server *server);

/* A door as a caller finds it. */
struct cg_rpc_outside {
	char address[160]; /* "unix:/path" or "host:port", with the port that was bound */
	bool is_encrypted;
	const uint64_t *accepted; /* how many connections it has taken so far: it moves */
};

uint32_t cg_rpc_server_door_count(const struct cg_rpc_server *server);
void cg_rpc_server_look(
    const struct cg_rpc_server *server, uint32_t index, struct cg_rpc_outside *ret_outside);

/* Registers what it counts: requests, how long they take, connections, limits. */
void cg_rpc_server_measure(struct cg_rpc_server *server, struct cg_metrics *metrics);

/* What the health check answers, and health watches are told. */
void cg_rpc_server_set_serving(struct cg_rpc_server *server, bool serving);

/*
 * NOT_SERVING in health; new requests are refused UNAVAILABLE/SHUTTING_DOWN, and every watch
 * is ended so; every session too, once what it has begun is answered.
 */
void cg_rpc_server_drain(struct cg_rpc_server *server);

/*
 * Stops accepting, lets accepted requests be answered until `grace_ms`, cancels the rest,
 * drains the queues, joins the thread; then on_closed, once, and the server is gone.  It
 * waits for every request that the gate has: gate and events must be alive until then.  What
 * gRPC keeps for itself is given back by cg_rpc_shutdown().
 */
void cg_rpc_server_close(
    struct cg_rpc_server *server, uint32_t grace_ms, void (*on_closed)(void *owner), void *owner);

#endif /* CG_RPC_SERVER_H */
