/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "edge/service/edge.h"

static void put_gauge(struct cg_buffer *out, const char *name, const char *help, uint64_t value)
{
	cg_buffer_printf(
	    out, "# HELP callgate_edge_%s %s\n# TYPE callgate_edge_%s gauge\n", name, help, name);
	cg_buffer_printf(out, "callgate_edge_%s %" PRIu64 "\n", name, value);
}

/* The text form of Prometheus. */
void cg_edge_answer_metrics(struct cg_edge *edge, struct cg_http_request *request)
{
	char memory[16384];
	struct cg_buffer out;

	cg_buffer_init(&out, memory, sizeof memory);
#define X(name, help)                                                                              \
	cg_buffer_printf(&out,                                                                     \
	    "# HELP callgate_edge_" #name "_total " help "\n# TYPE callgate_edge_" #name           \
	    "_total counter\ncallgate_edge_" #name "_total %" PRIu64 "\n",                         \
	    edge->counts.name);
	CG_EDGE_COUNTS(X)
#undef X
	put_gauge(
	    &out, "requests_open", "HTTP requests being answered", cg_http_open_count(edge->http));
	put_gauge(&out, "requests_late", "connections cut because a request did not come in time",
	    cg_http_late_count(edge->http));
	put_gauge(&out, "live_calls", "running calls known here", cg_live_count(edge->live));
	put_gauge(&out, "provider_requests", "requests to the provider under way",
	    cg_fetch_count(edge->fetch));
	put_gauge(&out, "store_connected", "Postgres is connected",
	    cg_edge_store_is_connected(edge->store) ? 1 : 0);
	CG_ASSERT(!out.overflow);
	cg_http_answer(request, 200, "text/plain; version=0.0.4", cg_buffer_view(&out));
}
