/*
 * What the server counts: requests by method and status, how long each method takes from the
 * arrival of a request until its answer is handed to gRPC (one of a session: to its stream), and
 * what ran into a limit.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include "rpc/rpc_internal.h"

static const char *const code_names[CG_CODE_COUNT] = {"OK", "CANCELLED", "UNKNOWN",
    "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"};

void cg_rpc_measure__ended(struct cg_rpc_server *server, size_t line, grpc_status_code code)
{
	CG_ASSERT(line < CG_LINE_COUNT && (unsigned)code < CG_CODE_COUNT);
	server->counts.ended[line][code]++;
}

void cg_rpc_measure__answered(struct cg_rpc_slot *slot, grpc_status_code code)
{
	struct cg_rpc_server *server = slot->server;
	size_t line = (size_t)(slot->line - slot->line->door->lines);

	cg_rpc_measure__ended(server, line, code);
	if (line <= CG_LINE_HEALTH) { /* A stream that is refused is no request of one answer. */
		cg_metric_observe(&server->counts.latency[line], &cg_metric_latency_ns,
		    cg_loop_clock_ns() - slot->arrived_at_ns);
	}
}

void cg_rpc_measure__operation(struct cg_rpc_server *server, enum cg_method method,
    grpc_status_code code, uint64_t arrived_at_ns)
{
	server->counters.session_requests++;
	if (method != CG_METHOD_COUNT) { /* Methods are the first of the lines. */
		cg_rpc_measure__ended(server, (size_t)method, code);
		cg_metric_observe(&server->counts.latency[method], &cg_metric_latency_ns,
		    cg_loop_clock_ns() - arrived_at_ns);
	}
}

/* "/callgate.v1.Gate/Authorize" is told as it is written in Prometheus' circles. */
static int put_method(const struct cg_rpc_line *line, char *labels, size_t size)
{
	const char *path = line->path != NULL ? line->path + 1 : "other";

	return snprintf(labels, size, "method=\"%s\"", path);
}

static void put_requests(void *owner, struct cg_metrics_out *out)
{
	const struct cg_rpc_server *server = owner;
	char labels[160];

	for (size_t line = 0; line < CG_LINE_COUNT; line++) {
		for (size_t code = 0; code < CG_CODE_COUNT; code++) {
			uint64_t count = server->counts.ended[line][code];
			/* A series that has never counted says nothing, but that there is one. */
			if (count > 0 || (code == 0 && server->doors[0].lines[line].path != NULL)) {
				int len = put_method(
				    &server->doors[0].lines[line], labels, sizeof labels);
				(void)snprintf(labels + len, sizeof labels - (size_t)len,
				    ",code=\"%s\"", code_names[code]);
				cg_metrics_put(out, labels, (int64_t)count);
			}
		}
	}
}

static void put_latency(void *owner, struct cg_metrics_out *out)
{
	const struct cg_rpc_server *server = owner;
	char labels[160];

	for (size_t line = 0; line <= CG_LINE_HEALTH; line++) {
		(void)put_method(&server->doors[0].lines[line], labels, sizeof labels);
		cg_metrics_put_histogram(
		    out, labels, &server->counts.latency[line], &cg_metric_latency_ns);
	}
}

static void put_connections(void *owner, struct cg_metrics_out *out)
{
	struct cg_rpc_server *server = owner;

	cg_metrics_put(
	    out, NULL, cg_connections_count(&server->connections, cg_loop_now_ms(server->loop)));
}

static void put_sessions(void *owner, struct cg_metrics_out *out)
{
	const struct cg_rpc_server *server = owner;

	cg_metrics_put(out, NULL, server->session_count);
}

static void put_pauses(void *owner, struct cg_metrics_out *out)
{
	const struct cg_rpc_server *server = owner;

	cg_metrics_put(out, NULL, (int64_t)cg_doors__pauses(server));
}

static void add_limits(struct cg_rpc_server *server, struct cg_metrics *metrics)
{
	const struct cg_rpc_counters *c = &server->counters;
	const struct {
		const char *labels;
		const uint64_t *hits;
	} limits[] = {
	    {"limit=\"in_flight\"", &c->refused_in_flight},
	    {"limit=\"connection_in_flight\"", &c->refused_connection_in_flight},
	    {"limit=\"connection_flood\"", &c->connections_cut_flood},
	    {"limit=\"company_authorizes\"", &c->refused_rate},
	    {"limit=\"listings\"", &c->refused_listings},
	    {"limit=\"watchers\"", &c->refused_watchers},
	    {"limit=\"sessions\"", &c->refused_sessions},
	    {"limit=\"streams\"", &c->refused_streams},
	    {"limit=\"connection_streams\"", &c->refused_connection_streams},
	    {"limit=\"stalled_calls\"", &c->calls_stalled},
	    {"limit=\"unread_answers\"", &c->connections_cut},
	    {"limit=\"connections\"", &c->connections_refused_full},
	    {"limit=\"banned\"", &c->connections_refused_banned},
	};

	for (size_t i = 0; i < CG_COUNT_OF(limits); i++) {
		cg_metrics_add_limit(metrics, limits[i].labels, limits[i].hits);
	}
}

/* Who was turned away, and not for any limit. */
static void add_refusals(struct cg_rpc_server *server, struct cg_metrics *metrics)
{
	static const struct cg_metric_family turned_away = {.name = "callgate_turned_away_total",
	    .help = "Requests and connections refused for who sent them, or how.",
	    .kind = CG_METRIC_COUNTER};
	const struct cg_rpc_counters *c = &server->counters;
	const struct {
		const char *labels;
		const uint64_t *count;
	} whys[] = {
	    {"why=\"unauthenticated\"", &c->unauthenticated},
	    {"why=\"permission\"", &c->permission_denied},
	    {"why=\"peer\"", &c->connections_refused_peer},
	    {"why=\"rubbish\"", &c->connections_refused_rubbish},
	    {"why=\"compressed\"", &c->refused_compressed},
	    {"why=\"no_message\"", &c->refused_no_message},
	    {"why=\"closing\"", &c->refused_closing},
	    {"why=\"credential_revoked\"", &c->watches_revoked},
	    {"why=\"session_revoked\"", &c->sessions_revoked},
	};

	for (size_t i = 0; i < CG_COUNT_OF(whys); i++) {
		cg_metrics_add_value(metrics, &turned_away, whys[i].labels, whys[i].count);
	}
}

static void add_connections(struct cg_rpc_server *server, struct cg_metrics *metrics)
{
	static const struct cg_metric_family accepted = {
	    .name = "callgate_connections_accepted_total",
	    .help = "Connections that callers made.",
	    .kind = CG_METRIC_COUNTER};
	static const struct cg_metric_family connections = {.name = "callgate_connections",
	    .help = "Connections of callers, now.",
	    .kind = CG_METRIC_GAUGE};
	static const struct cg_metric_family pauses = {.name = "callgate_accept_pauses_total",
	    .help = "How often connections had to wait: out of descriptors or memory.",
	    .kind = CG_METRIC_COUNTER};
	static const struct cg_metric_family reloads = {.name = "callgate_reloads_total",
	    .help = "Files of credentials and certificates read anew, by what became of it.",
	    .kind = CG_METRIC_COUNTER};
	static const struct cg_metric_family ended = {.name = "callgate_connections_ended_total",
	    .help = "Connections that ended: for their age, idle for too long, silent from the "
	            "beginning, or without ever having asked anything.",
	    .kind = CG_METRIC_COUNTER};
	const struct cg_rpc_counters *c = &server->counters;

	cg_metrics_add_value(metrics, &ended, "why=\"age\"", &c->connections_ended_old);
	cg_metrics_add_value(metrics, &ended, "why=\"idle\"", &c->connections_ended_idle);
	cg_metrics_add_value(metrics, &ended, "why=\"silent\"", &c->connections_ended_silent);
	cg_metrics_add_value(metrics, &ended, "why=\"unused\"", &c->connections_ended_unused);
	cg_metrics_add_value(metrics, &accepted, NULL, &c->connections_accepted);
	cg_metrics_add(metrics, &connections, put_connections, server);
	cg_metrics_add(metrics, &pauses, put_pauses, server);
	cg_metrics_add_value(metrics, &reloads, "result=\"taken\"", &c->reloads);
	cg_metrics_add_value(metrics, &reloads, "result=\"failed\"", &c->reloads_failed);
}

static void add_sessions(struct cg_rpc_server *server, struct cg_metrics *metrics)
{
	static const struct cg_metric_family sessions = {.name = "callgate_sessions",
	    .help = "Sessions that are open, or whose operations have not ended yet.",
	    .kind = CG_METRIC_GAUGE};
	static const struct cg_metric_family requests = {.name = "callgate_session_requests_total",
	    .help = "Requests that came within sessions, refused ones included.",
	    .kind = CG_METRIC_COUNTER};

	cg_metrics_add(metrics, &sessions, put_sessions, server);
	cg_metrics_add_value(metrics, &requests, NULL, &server->counters.session_requests);
}

void cg_rpc_server_measure(struct cg_rpc_server *server, struct cg_metrics *metrics)
{
	static const struct cg_metric_family requests = {.name = "callgate_requests_total",
	    .help = "Requests and streams that ended, by method and gRPC status.",
	    .kind = CG_METRIC_COUNTER};
	static const struct cg_metric_family latency = {.name = "callgate_request_duration_seconds",
	    .help = "From a request's arrival until its answer was handed to gRPC, by method.",
	    .kind = CG_METRIC_HISTOGRAM,
	    .decimals = 9};

	cg_metrics_add(metrics, &requests, put_requests, server);
	cg_metrics_add(metrics, &latency, put_latency, server);
	add_connections(server, metrics);
	add_sessions(server, metrics);
	add_limits(server, metrics);
	add_refusals(server, metrics);
}
