/*
 * What the server counts: requests by method and status, how long each method takes from the
 * arrival of a request until its answer is handed to gRPC, and what ran into a limit.
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
				int len = put_method(&server->doors[0].lines[line], labels, sizeof labels);
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

	cg_metrics_put(out, NULL, cg_connections_count(&server->connections));
}

static void add_limits(struct cg_rpc_server *server, struct cg_metrics *metrics)
{
	const struct cg_rpc_counters *counters = &server->counters;

	cg_metrics_add_limit(metrics, "limit=\"in_flight\"", &counters->refused_in_flight);
	cg_metrics_add_limit(metrics, "limit=\"listings\"", &counters->refused_listings);
	cg_metrics_add_limit(metrics, "limit=\"watchers\"", &counters->refused_watchers);
	cg_metrics_add_limit(metrics, "limit=\"unread_answers\"", &counters->connections_cut);
	cg_metrics_add_limit(metrics, "limit=\"streams\"", &counters->refused_streams);
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
	static const struct cg_metric_family accepted = {
	    .name = "callgate_connections_accepted_total",
	    .help = "Connections that callers made.",
	    .kind = CG_METRIC_COUNTER};
	static const struct cg_metric_family connections = {.name = "callgate_connections",
	    .help = "Connections of callers, now.",
	    .kind = CG_METRIC_GAUGE};

	cg_metrics_add(metrics, &requests, put_requests, server);
	cg_metrics_add(metrics, &latency, put_latency, server);
	cg_metrics_add_value(metrics, &accepted, NULL, &server->counters.connections_accepted);
	cg_metrics_add(metrics, &connections, put_connections, server);
	add_limits(server, metrics);
}
