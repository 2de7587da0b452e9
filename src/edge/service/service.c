/*
 *  STARTING --bound--> SERVING --signal--> ANSWERING --all answered, or drain_ms--> ENDED
 *
 * ANSWERING waits for accepted requests and for what is under way beside them; no new ones are taken
 * on.  What is left behind then Postgres and the gate know of: another edge, or this one after a
 * restart, does it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "edge/service/edge.h"

#define DRAIN_TICK_MS 20
/* A COMMITTED settle waits for a flush, behind whatever Postgres is doing. */
#define BOOKS_MS           12000
#define GATE_IN_FLIGHT_MAX 8192
#define FETCHES_MAX        2048

int64_t cg_edge_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void on_gate_ready(void *owner, unsigned events)
{
	(void)events;
	(void)callgate_client_dispatch(owner);
}

static const char *unless_empty(const char *text)
{
	return text[0] == '\0' ? NULL : text;
}

static enum cg_status open_gate(struct cg_edge *edge, int64_t deadline_ms,
    struct callgate_client **ret_client, struct cg_watch **ret_watch, struct cg_error *err)
{
	struct callgate_options options;
	char why[200] = "";

	callgate_options_init(&options);
	options.address = edge->settings.gate_address;
	options.token = unless_empty(edge->settings.gate_token);
	options.tls_ca_file = unless_empty(edge->settings.gate_ca_file);
	options.tls_cert_file = unless_empty(edge->settings.gate_cert_file);
	options.tls_key_file = unless_empty(edge->settings.gate_key_file);
	options.tls_server_name = unless_empty(edge->settings.gate_server_name);
	options.deadline_ms = (uint32_t)deadline_ms;
	options.in_flight_max = GATE_IN_FLIGHT_MAX;
	struct callgate_client *client = callgate_client_create(&options, why, sizeof why);
	if (client == NULL) {
		cg_error_set(err, "gate %.80s: %s", edge->settings.gate_address, why);
		return CG_INVALID;
	}
	*ret_client = client;
	*ret_watch =
	    cg_watch_create(edge->loop, callgate_client_descriptor(client), on_gate_ready, client);
	cg_watch_set(*ret_watch, CG_WATCH_READ);
	return CG_OK;
}

static void close_gate(struct callgate_client *client, struct cg_watch *watch)
{
	if (client != NULL) {
		cg_watch_close(watch);
		callgate_client_close(client);
	}
}

static void on_settings(void *owner, enum cg_status status, int64_t version, struct cg_view numbers,
    struct cg_view sentences)
{
	struct cg_edge *edge = owner;
	struct cg_error err = {{0}};

	if (status == CG_CLOSING) {
		return;
	}
	if (status == CG_OK && version != cg_directory_version(edge->directory)) {
		if (cg_directory_load(edge->directory, version, numbers, sentences, &err) ==
		    CG_OK) {
			cg_log(CG_LOG_INFO, "numbers read", "version", cg_log_int(version), NULL);
		} else {
			cg_log(CG_LOG_ERROR, "numbers cannot be read", "why", err.text, NULL);
		}
	}
	cg_timer_start(edge->settings_timer, (uint64_t)edge->settings.settings_ms);
}

static void read_settings(void *owner)
{
	struct cg_edge *edge = owner;

	cg_edge_store_settings(
	    edge->store, cg_directory_version(edge->directory), on_settings, edge);
}

static bool is_idle(const struct cg_edge *edge)
{
	return cg_http_open_count(edge->http) == 0 && cg_fetch_count(edge->fetch) == 0 &&
	    callgate_client_in_flight(edge->gate) == 0 &&
	    callgate_client_in_flight(edge->books) == 0 && cg_looks_are_idle(edge->looks) &&
	    cg_edge_store_is_idle(edge->store);
}

static void on_drain_tick(void *owner)
{
	struct cg_edge *edge = owner;

	if (is_idle(edge) || cg_loop_now_ms(edge->loop) >= edge->drain_at_ms) {
		cg_loop_stop(edge->loop);
		return;
	}
	cg_timer_start(edge->drain_timer, DRAIN_TICK_MS);
}

static void on_end_signal(void *owner)
{
	struct cg_edge *edge = owner;

	if (edge->is_ending) {
		return;
	}
	edge->is_ending = true;
	cg_log(CG_LOG_INFO, "ending", "open", cg_log_int(cg_http_open_count(edge->http)), NULL);
	edge->drain_at_ms = cg_loop_now_ms(edge->loop) + (uint64_t)edge->settings.drain_ms;
	cg_http_drain(edge->http);
	cg_gate_events_stop(edge->gate_events);
	cg_live_stop(edge->live);
	cg_looks_stop(edge->looks);
	on_drain_tick(edge);
}

static void create_rooms(struct cg_edge *edge)
{
	struct cg_edge_store_config store = {
	    .database_url = edge->settings.database_url,
	    .connections = (uint32_t)edge->settings.store_connections,
	    .connect_timeout_ms = (uint32_t)edge->settings.store_ms,
	    .timeout_ms = (uint32_t)edge->settings.store_ms,
	};
	struct cg_fetch_config fetch = {
	    .ca_file = edge->settings.ca_file,
	    .allow_private = edge->settings.allow_private != 0,
	    .in_flight_max = FETCHES_MAX,
	};

	edge->auth = (struct cg_auth_config){
	    .mode = edge->settings.auth_mode,
	    .secrets = {edge->settings.webhook_secret,
	        edge->settings.webhook_secret_next[0] == '\0' ? NULL
	                                                      : edge->settings.webhook_secret_next},
	    .signature_prefix = edge->settings.signature_prefix,
	    .tolerance_ms = edge->settings.tolerance_ms,
	};
	edge->loop = cg_loop_create();
	edge->directory = cg_directory_create();
	edge->store = cg_edge_store_create(edge->loop, &store);
	edge->fetch = cg_fetch_create(edge->loop, &fetch);
	edge->settings_timer = cg_timer_create(edge->loop, read_settings, edge);
	edge->drain_timer = cg_timer_create(edge->loop, on_drain_tick, edge);
	edge->live = cg_live_create(edge);
	edge->gate_events = cg_gate_events_create(edge);
	edge->looks = cg_looks_create(edge);
}

static enum cg_status open_doors(struct cg_edge *edge, struct cg_error *err)
{
	struct cg_http_config http = {
	    .listen = edge->settings.listen,
	    .connections_max = (uint32_t)edge->settings.connections_max,
	    .connections_per_ip_max = (uint32_t)edge->settings.connections_per_ip_max,
	    .header_bytes_max = (uint32_t)edge->settings.header_bytes_max,
	    .request_ms = (uint32_t)edge->settings.request_ms,
	    .idle_ms = (uint32_t)edge->settings.idle_ms,
	    .body_bytes_max = cg_edge_body_bytes_max,
	    .on_request = cg_edge_on_request,
	    .owner = edge,
	};
	enum cg_status status =
	    open_gate(edge, edge->settings.gate_ms, &edge->gate, &edge->gate_watch, err);

	if (status == CG_OK) {
		status = open_gate(edge, BOOKS_MS, &edge->books, &edge->books_watch, err);
	}
	return status == CG_OK ? cg_http_open(edge->loop, &http, &edge->http, err) : status;
}

static void start(struct cg_edge *edge)
{
	cg_edge_store_start(edge->store);
	cg_gate_events_start(edge->gate_events);
	cg_looks_start(edge->looks);
	cg_timer_start(edge->settings_timer, 1);
	edge->terminate = cg_signal_create(edge->loop, SIGTERM, on_end_signal, edge);
	edge->interrupt = cg_signal_create(edge->loop, SIGINT, on_end_signal, edge);
	cg_log(CG_LOG_INFO, "started", "version", CG_VERSION, "pid", cg_log_int(getpid()), "listen",
	    edge->settings.listen, "gate", edge->settings.gate_address, "provider",
	    edge->settings.vapi_url, NULL);
	if (edge->settings.allow_private != 0) {
		cg_log(CG_LOG_WARN, "requests may go to private addresses", NULL);
	}
}

/* Nothing is under way any more but readings of Postgres, which end CG_CLOSING. */
static void destroy_rooms(struct cg_edge *edge)
{
	if (!edge->is_ending) { /* It could not start. */
		cg_gate_events_stop(edge->gate_events);
		cg_live_stop(edge->live);
		cg_looks_stop(edge->looks);
	}
	close_gate(edge->gate, edge->gate_watch);
	close_gate(edge->books, edge->books_watch);
	cg_fetch_close(edge->fetch);
	cg_timer_close(edge->settings_timer);
	cg_timer_close(edge->drain_timer);
	cg_edge_store_close(edge->store);
	if (edge->http != NULL) {
		cg_http_close(edge->http);
	}
	cg_loop_destroy(edge->loop);
	cg_edge_store_destroy(edge->store);
	cg_looks_destroy(edge->looks);
	cg_gate_events_destroy(edge->gate_events);
	cg_live_destroy(edge->live);
	cg_directory_destroy(edge->directory);
}

enum cg_status cg_edge_run(const struct cg_edge_settings *settings, struct cg_error *err)
{
	static struct cg_edge edge; /* large */

	edge = (struct cg_edge){.settings = *settings};
	/* A peer that closes early must be an error code, not the end of the process. */
	(void)signal(SIGPIPE, SIG_IGN);
	create_rooms(&edge);
	enum cg_status status = open_doors(&edge, err);
	if (status == CG_OK) {
		start(&edge);
		cg_loop_run(edge.loop);
		cg_signal_close(edge.terminate);
		cg_signal_close(edge.interrupt);
		if (!is_idle(&edge)) {
			/* Whatever is still under way may call back into what would be freed. */
			cg_log(CG_LOG_WARN, "ended before all was answered", "open",
			    cg_log_int(cg_http_open_count(edge.http)), NULL);
			_exit(EXIT_SUCCESS);
		}
	}
	destroy_rooms(&edge);
	return status;
}
