/*
 *  STARTING --bound--> SERVING --signal--> ANSWERING --all answered--> FLUSHING --drained--> ENDED
 *
 * ANSWERING waits for gRPC: accepted requests are answered, those that are not within
 * drain_ms are cancelled.  The store and the flush go on meanwhile, since COMMITTED
 * answers wait for them.  FLUSHING waits for the ledger, at most drain_ms: what stays
 * behind is in the store, and any other sidecar flushes it.  Watchers are told at the signal
 * to go elsewhere; due work goes on until all is answered, and is then left to the others.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "daemon/daemon.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/overview.h"
#include "rpc/shutdown.h"

#define TICK_MS      100
#define LATE_TICK_MS 10
/* Of the time in which a request is answered, the share that the answer needs itself. */
#define ANSWERING_SHARE 16
/* Beside connections: the stores, gRPC, the log, what is read at a reload. */
#define DESCRIPTORS_RESERVED 256
/* With a limit that leaves less than this, it is the reserve that shrinks. */
#define CONNECTIONS_LEAST 16
/* Beyond twice drain_ms, for the end of a server whose listener is dead. */
#define ALARM_SPARE_S 10
/* Readings under way for watchers that catch up; src/events/ has fewer. */
#define CATCHING_UP_MAX 64
/* By then every request is answered and the ledger flushed: nobody waits for what gRPC keeps. */
#define GRPC_SHUTDOWN_MS 1000

struct daemon {
	struct cg_clock_port clock;
	struct cg_loop *loop;
	struct cg_store *store;
	struct cg_store
	    *timely; /* ticks and events: a cut-off does not wait behind a thousand calls */
	struct cg_ledger *ledger;
	struct cg_gate *gate;
	struct cg_events *events;
	struct cg_rpc_server *server;
	struct cg_timer *tick;
	struct cg_timer *late_tick; /* the gate's: ends what waited too long */
	struct cg_timer *soon;      /* the gate's: answers that need no port, and not to wait */
	struct cg_signal *terminate;
	struct cg_signal *interrupt;
	struct cg_signal *hang_up;
	uint32_t drain_ms;
	struct cg_overview overview;
	bool is_dead; /* its own listener does not answer */
};

/* Not the loop's time, which stands still during a turn: deadlines are reckoned from here. */
static uint64_t now_ms(struct cg_clock_port *self)
{
	(void)self;
	return cg_loop_clock_ns() / 1000000;
}

static void on_tick(void *owner)
{
	struct daemon *d = owner;

	cg_gate_tick(d->gate);
	if (cg_overview_look(&d->overview) && d->server != NULL) {
		cg_rpc_server_set_serving(d->server, d->overview.is_serving);
	}
	cg_timer_start(d->tick, TICK_MS);
}

static void on_late_tick(void *owner)
{
	struct daemon *d = owner;

	cg_gate_end_late(d->gate);
	cg_timer_start(d->late_tick, LATE_TICK_MS);
}

static void on_soon(void *owner)
{
	struct daemon *d = owner;

	cg_gate_tick(d->gate);
}

static void wake_gate(void *owner)
{
	struct daemon *d = owner;

	/* NULL at the very end: then cg_gate_destroy() gives what was put off. */
	if (d->soon != NULL) {
		cg_timer_start(d->soon, 0);
	}
}

static void poke_events(void *owner, uint32_t partition)
{
	struct daemon *d = owner;

	cg_events_poke(d->events, partition);
}

static void on_drained(void *owner)
{
	struct daemon *d = owner;

	cg_log(CG_LOG_INFO, "ledger flushed", NULL);
	cg_loop_stop(d->loop);
}

static void on_server_closed(void *owner)
{
	struct daemon *d = owner;

	d->server = NULL; /* Freed when this returns; the tick goes on until the flush is done. */
	cg_overview_close(&d->overview); /* What it tells is of the server, too. */
	cg_events_close(d->events);
	cg_log(CG_LOG_INFO, "requests answered", NULL);
	cg_ledger_drain(d->ledger, cg_loop_now_ms(d->loop) + d->drain_ms, on_drained, d);
}

static void on_end_signal(void *owner)
{
	struct daemon *d = owner;

	if (d->overview.is_ending) {
		return; /* drain_ms bounds the wait; SIGKILL is safe at any time. */
	}
	d->overview.is_ending = true;
	cg_overview_end_probe(&d->overview);
	cg_log(
	    CG_LOG_INFO, "ending", "inflight", cg_log_int(cg_gate_inflight_count(d->gate)), NULL);
	cg_rpc_server_drain(d->server);
	cg_rpc_server_close(d->server, d->drain_ms, on_server_closed, d);
}

static void on_hang_up(void *owner)
{
	struct daemon *d = owner;

	if (d->server != NULL) {
		cg_rpc_server_reload(d->server);
	}
}

/*
 * Who is connected may still be answered, so it ends in order; but what does not accept may not
 * end either, and then the kernel ends it.
 */
static void on_dead(void *owner)
{
	struct daemon *d = owner;

	cg_log(CG_LOG_ERROR, "our own listener is dead: ending, to be started anew", NULL);
	d->is_dead = true;
	(void)alarm(2 * (d->drain_ms / 1000) + ALARM_SPARE_S);
	on_end_signal(d);
}

static struct cg_events *create_events(struct daemon *d, const struct cg_config *config)
{
	struct cg_events_config events = {
	    .tick_ms = (uint32_t)config->tick_ms,
	    .kept_max = (uint32_t)config->watch_kept,
	    .kept_bytes = (uint32_t)config->watch_kept_bytes,
	    .events_keep = (uint32_t)config->events_keep,
	    .watchers_max = (uint32_t)config->watchers_max,
	    .heartbeat_ms = (uint32_t)config->heartbeat_ms,
	    .slow_ms = (uint32_t)config->watch_slow_ms,
	};

	return cg_events_create(d->loop, &events, cg_store_events_port(d->timely));
}

static void create_rooms(struct daemon *d, const struct cg_config *config)
{
	struct cg_store_config store = {
	    .address = config->redis.address,
	    .username = config->redis.username[0] == '\0' ? NULL : config->redis.username,
	    .password = config->redis.password[0] == '\0' ? NULL : config->redis.password,
	    .database = config->redis.database,
	    .partition_count = (uint32_t)config->partitions,
	    .inflight_max = (uint32_t)config->store_inflight_max,
	    .connect_timeout_ms = (uint32_t)config->store_connect_ms,
	    .stall_ms = (uint32_t)config->store_timeout_ms,
	    .outbox_max = (uint64_t)config->outbox_max,
	    .allow_volatile = config->allow_volatile_store != 0,
	};
	struct cg_ledger_config ledger = {
	    .database_url = config->database_url,
	    .partition_count = (uint32_t)config->partitions,
	    .connections = (uint32_t)config->ledger_connections,
	    .requests_max = (uint32_t)config->ledger_requests_max,
	    .flush_interval_ms = (uint32_t)config->flush_interval_ms,
	    .flush_batch_max = (uint32_t)config->flush_batch_max,
	    .trim_margin_ms = config->trim_margin_ms,
	    .terms_poll_ms = (uint32_t)config->terms_poll_ms,
	    .receipt_after_ms = (uint32_t)config->receipt_after_ms,
	    .connect_timeout_ms = (uint32_t)config->ledger_connect_ms,
	    .clock_skew_max_ms = config->clock_skew_max_ms,
	};
	struct cg_gate_config gate = {
	    .wallets_max = (uint32_t)config->wallets_max,
	    .store_timeout_ms =
	        (uint32_t)(config->store_timeout_ms - config->store_timeout_ms / ANSWERING_SHARE),
	    .ledger_timeout_ms = (uint32_t)config->ledger_timeout_ms,
	    .receipts_max = (uint32_t)config->receipts_max,
	    .degraded_calls_max = (uint32_t)config->degraded_calls_max,
	    .lifecycle_events = config->lifecycle_events != 0,
	    .wake = wake_gate,
	    .wrote = poke_events,
	    .wake_owner = d,
	};

	d->loop = cg_loop_create();
	d->soon = cg_timer_create(d->loop, on_soon, d);
	d->store = cg_store_create(d->loop, &store);
	store.leader = d->store;
	store.inflight_max =
	    2 * store.partition_count + CATCHING_UP_MAX; /* a tick and a reading each */
	d->timely = cg_store_create(d->loop, &store);
	d->ledger = cg_ledger_create(d->loop, &ledger, cg_store_partition_port(d->store));
	d->gate =
	    cg_gate_create(&gate, cg_store_port(d->store), cg_ledger_port(d->ledger), &d->clock);
	d->events = create_events(d, config);

	struct cg_partition_listener of_store = cg_ledger_partition_listener(d->ledger);
	struct cg_ledger_listener of_ledger = cg_gate_listener(d->gate);
	cg_store_listen(d->store, &of_store);
	cg_ledger_listen(d->ledger, &of_ledger);
}

/*
 * Descriptors for every connection, and a reserve for the stores, files and gRPC itself: where
 * the limit does not admit both, there are fewer connections.  Returns how many.
 */
static uint32_t reserve_descriptors(const struct cg_config *config)
{
	rlim_t wanted = (rlim_t)config->connections_max + DESCRIPTORS_RESERVED;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
		return (uint32_t)config->connections_max;
	}
	if (limit.rlim_cur < wanted) {
		struct rlimit raised = limit;
		raised.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
		limit = setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised : limit;
	}
	if (limit.rlim_cur >= wanted) {
		return (uint32_t)config->connections_max;
	}
	rlim_t left = limit.rlim_cur > DESCRIPTORS_RESERVED + CONNECTIONS_LEAST
	    ? limit.rlim_cur - DESCRIPTORS_RESERVED
	    : CONNECTIONS_LEAST;
	cg_log(CG_LOG_WARN, "fewer connections than --connections-max: descriptors are too few",
	    "connections", cg_log_int((int64_t)left), "descriptors",
	    cg_log_int((int64_t)limit.rlim_cur), "wanted", cg_log_int((int64_t)wanted), NULL);
	return (uint32_t)left;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static const char *text_or_null(const char *text)
{
	return text[0] == '\0' ? NULL : text;
}

static enum cg_status open_server(
    struct daemon *d, const struct cg_config *config, struct cg_error *err)
{
	uint32_t connections_max = reserve_descriptors(config);
	uint32_t door_max = (uint32_t)config->address_connections_max;
	struct cg_rpc_config rpc = {
	    .listen = config->listen,
	    .peers = config->peers,
	    .credentials_file = text_or_null(config->credentials_file),
	    .tls_certificate = text_or_null(config->tls_cert_file),
	    .tls_key = text_or_null(config->tls_key_file),
	    .tls_client_authorities = text_or_null(config->tls_client_ca_file),
	    .connections_max = connections_max,
	    /* Where there are fewer in all, the others' doors keep their quarter. */
	    .door_connections_max = connections_max < config->connections_max
	        ? least(door_max, connections_max - connections_max / 4)
	        : door_max,
	    .connection_age_ms = (uint32_t)config->connection_age_ms,
	    .connection_grace_ms = (uint32_t)config->connection_grace_ms,
	    .connection_idle_ms = (uint32_t)config->connection_idle_ms,
	    .authorizes_per_second = (uint32_t)config->authorizes_per_second,
	    .authorizes_burst =
	        (uint32_t)(config->authorizes_burst != 0 ? config->authorizes_burst
	                                                 : config->authorizes_per_second),
	    .calls_max = (uint32_t)config->calls_max,
	    .message_bytes_max = (uint32_t)config->message_bytes_max,
	    .metadata_bytes_max = (uint32_t)config->metadata_bytes_max,
	    .streams_max = (uint32_t)config->streams_max,
	    .watchers_max = (uint32_t)config->watchers_max,
	    .sessions_max = (uint32_t)config->sessions_max,
	    .session_window = (uint32_t)config->session_window,
	    .deadline_max_ms = (uint32_t)config->deadline_max_ms,
	    .reflection = config->reflection != 0,
	    .waits_in_thread = strcmp(config->grpc_wait, "thread") == 0,
	};

	return cg_rpc_server_open(d->loop, &rpc, d->gate, d->events, &d->server, err);
}

static enum cg_status open_overview(
    struct daemon *d, const struct cg_config *config, struct cg_error *err)
{
	d->overview = (struct cg_overview){
	    .loop = d->loop,
	    .store = d->store,
	    .timely = d->timely,
	    .ledger = d->ledger,
	    .gate = d->gate,
	    .events = d->events,
	};
	return cg_overview_open(&d->overview, config, d->server, on_dead, d, err);
}

static void start(struct daemon *d, const struct cg_config *config)
{
	cg_store_start(d->store);
	cg_store_start(d->timely);
	cg_ledger_start(d->ledger);
	cg_gate_start(d->gate);
	cg_events_start(d->events);
	d->tick = cg_timer_create(d->loop, on_tick, d);
	d->late_tick = cg_timer_create(d->loop, on_late_tick, d);
	d->terminate = cg_signal_create(d->loop, SIGTERM, on_end_signal, d);
	d->interrupt = cg_signal_create(d->loop, SIGINT, on_end_signal, d);
	d->hang_up = cg_signal_create(d->loop, SIGHUP, on_hang_up, d);
	cg_timer_start(d->tick, 1);
	cg_timer_start(d->late_tick, LATE_TICK_MS);
	cg_log(CG_LOG_INFO, "started", "version", CG_VERSION, "pid", cg_log_int(getpid()), "listen",
	    config->listen, "store", config->redis.address, "partitions",
	    cg_log_int(config->partitions), NULL);
}

/* The ledger before the store: its last flush reads from there. */
static void destroy_rooms(struct daemon *d)
{
	cg_timer_close(d->soon);
	d->soon = NULL;
	cg_ledger_close(d->ledger);
	cg_store_close(d->timely);
	cg_store_close(d->store);
	cg_loop_destroy(d->loop);
	cg_gate_destroy(d->gate);
	cg_events_destroy(d->events);
	cg_ledger_destroy(d->ledger);
	cg_store_destroy(d->timely);
	cg_store_destroy(d->store);
}

enum cg_status cg_daemon_run(const struct cg_config *config, struct cg_error *err)
{
	struct daemon d = {.clock = {.now_ms = now_ms}, .drain_ms = (uint32_t)config->drain_ms};

	/* A peer that closes early must be an error code, not the end of the process. */
	(void)signal(SIGPIPE, SIG_IGN);
	create_rooms(&d, config);
	enum cg_status status = open_server(&d, config, err);
	if (status == CG_OK) {
		status = open_overview(&d, config, err);
		start(&d, config);
		if (strcmp(config->grpc_wait, "spin") == 0) {
			cg_loop_keep_awake(d.loop);
		}
		if (status != CG_OK) {
			on_end_signal(&d); /* The server ends in order, or not at all. */
		}
		cg_loop_run(d.loop);
		cg_timer_close(d.tick);
		cg_timer_close(d.late_tick);
		cg_signal_close(d.terminate);
		cg_signal_close(d.interrupt);
		cg_signal_close(d.hang_up);
	} else {
		cg_events_close(d.events); /* Else the end of the server has closed it. */
	}
	destroy_rooms(&d);
	if (d.is_dead) {
		cg_error_set(err, "its own listener was dead");
		status = CG_UNAVAILABLE;
	}
	return status;
}

void cg_daemon_exit(int exit_status)
{
	bool is_over = cg_rpc_shutdown(GRPC_SHUTDOWN_MS);

	cg_log(CG_LOG_INFO, "ended", "grpc", is_over ? "ended" : "left behind", NULL);
	if (!is_over) {
		_exit(exit_status);
	}
	exit(exit_status);
}
